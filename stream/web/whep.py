"""WHEP: a browser, or another player, gets a stream's video by WebRTC (draft-ietf-wish-whep)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .api import open_feed
from .audience import Audience
from .body import read_body
from .messages import as_json
from .peers import CLOCK
from .served import ServedStreams

if TYPE_CHECKING:
    from .av_rtp import WebRtcPeer

SDP, JSON = "application/sdp", "application/json"
LONGEST = 32_768
"""Maximum bytes of an offer."""
ASKED = 5.0
"""Maximum seconds that a page waits for the first frame's timestamp."""


class Whep:
    """The routes. An offer is answered with all of this machine's addresses, and there is no trickling (PATCH)."""

    def __init__(self, streams: ServedStreams) -> None:
        self._streams = streams
        self.routes = [
            Route("/api/streams/{name}/whep", self.offer, methods=["POST"]),
            Route("/api/streams/{name}/whep/{peer}", self.viewer, methods=["GET", "DELETE"]),
        ]

    async def offer(self, request: Request) -> Response:
        feed = open_feed(self._streams, request)
        if not feed.about.web_rtc:
            raise HTTPException(404, "this stream is not sent by WebRTC: it was started without --web-rtc")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != SDP:
            raise HTTPException(415, f"an offer is {SDP}")
        audience = feed.audience
        if audience.peers.is_full or audience.is_full:
            raise HTTPException(503, "there are too many viewers by WebRTC", {"Retry-After": "10"})
        offer = _text(await read_body(request, LONGEST))
        from .av_rtp import OfferError, WebRtcPeer  # the output has imported it, so that nobody waits for it here

        peer = WebRtcPeer(feed.want_key, lambda peer: _changed(audience, peer))
        audience.peers.add(peer)
        try:
            answer = await peer.answer(offer)
        except OfferError as error:
            await peer.close()
            raise HTTPException(400, str(error)) from None
        except BaseException:
            await peer.close()
            raise
        headers = {"Location": f"/api/streams/{feed.name}/whep/{peer.name}"}
        return Response(answer, 201, headers, SDP)

    async def viewer(self, request: Request) -> Response:
        """Ends a viewer, or tells a page by which timestamps it knows the frames."""
        peer = open_feed(self._streams, request).audience.peers.get(request.path_params["peer"])
        if peer is None:
            raise HTTPException(404, "there is no such viewer, or he has left")
        if request.method == "DELETE":
            await peer.close()
            return Response(status_code=204)
        return Response(as_json({"origin": await peer.wait_for_origin(ASKED), "clock": CLOCK}) + "\n", media_type=JSON)


def _changed(audience: Audience, peer: WebRtcPeer) -> None:
    if peer.ended:
        audience.peers.drop(peer)
    else:
        audience.peers.connect(peer)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise HTTPException(400, "an offer is text in UTF-8") from None

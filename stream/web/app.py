"""The routes of the web server: the page, pictures, and the WebSocket."""

from __future__ import annotations

import asyncio
import mimetypes
from hashlib import sha256
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .api import NONE, Api, open_feed, say_wrong
from .audience import Viewer
from .bulletin import Bulletin
from .doorway import ROLE, Doorway
from .feed import WebFeed
from .logins import Logins, Role
from .messages import MessageError, read_request
from .mjpeg import Mjpeg
from .served import ServedStreams
from .signin import SIGN_IN, SignIn
from .whep import Whep

SILENCE = 5.0
"""Seconds without a new picture after which the last one is sent again, which also shows which viewers have left; and
the longest that is waited for a first one."""
PAUSE = 0.1
"""Seconds between two messages of one page: each may make work for all."""
STATIC = Path(__file__).parent / "static"
"""what the page is made of; built from page/"""
VIOLATION = 1008
"""WebSocket close code of a message that breaks the rules, RFC 6455, section 7.4.1."""


def make_app(streams: ServedStreams, bulletin: Bulletin, logins: Logins, names: frozenset[str]) -> Doorway:
    """The application. names: see `access.is_own_name`."""
    app = Starlette(routes=routes(streams, bulletin, logins), exception_handlers={HTTPException: _say_error})
    app.router.redirect_slashes = False
    doorway = Doorway(app, names, logins)
    sign_in = SignIn(logins, doorway.fail)
    app.router.routes.append(Route(SIGN_IN, sign_in.answer, methods=["GET", "POST"]))
    return doorway


def routes(streams: ServedStreams, bulletin: Bulletin, logins: Logins) -> list[Route | WebSocketRoute]:
    """Everything but where one signs in."""
    site, api = Site(streams), Api(streams, bulletin, logins, SILENCE)
    return [
        Route("/", site.page),
        Route("/static/{name}", site.static),
        Route("/streams/{name}.jpg", site.picture),
        Route("/streams/{name}.mjpeg", site.pictures),
        WebSocketRoute("/api/streams/{name}/live", site.live),
        *api.routes,
        *Whep(streams).routes,
    ]


class Site:
    """What is served to browsers."""

    def __init__(self, streams: ServedStreams) -> None:
        self._streams = streams
        self._files = {path.name: _file(path) for path in sorted(STATIC.iterdir()) if path.is_file()}

    async def page(self, request: Request) -> Response:
        return self._send_file("index.html", request)

    async def static(self, request: Request) -> Response:
        return self._send_file(request.path_params["name"], request)

    def _send_file(self, name: str, request: Request) -> Response:
        if name not in self._files:  # by its name and not by a path: nothing else can be reached
            raise HTTPException(404, "there is no such file")
        data, kind, tag = self._files[name]
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=kind, headers=headers)

    async def picture(self, request: Request) -> Response:
        audience = self._feed(request).audience
        found = await audience.next(self._feed(request).before_newest, SILENCE)
        if found is None:
            raise HTTPException(503, "there is no picture yet", {"Retry-After": "1"})
        return Response(found[1], media_type="image/jpeg")

    async def pictures(self, request: Request) -> Mjpeg:
        audience = self._feed(request).audience
        if audience.is_full:
            raise HTTPException(503, "there are too many viewers", {"Retry-After": "10"})
        return Mjpeg(audience, SILENCE)

    async def live(self, websocket: WebSocket) -> None:
        feed = self._streams.feed(websocket.path_params["name"])
        if feed is None or feed.audience.is_full:
            code, why = (404, NONE) if feed is None else (503, "there are too many viewers")
            await websocket.send_denial_response(say_wrong(code, why))
            return
        await websocket.accept()
        video = websocket.query_params.get("video")
        viewer = Viewer(wants_video=video != "none", by_rtp=video == "webrtc" and feed.about.web_rtc)
        feed.audience.join(viewer)
        try:
            viewer.say(feed.hello(viewer.wants_video, operator=websocket.scope[ROLE] is Role.OPERATOR))
            feed.audience.play(viewer, feed.history.message)
            await _first_of(_send(websocket, viewer), _receive(websocket, viewer, feed))
        except WebSocketDisconnect:
            pass  # it has left
        finally:
            feed.audience.leave(viewer)

    def _feed(self, request: Request) -> WebFeed:
        return open_feed(self._streams, request)


async def _send(websocket: WebSocket, viewer: Viewer) -> None:
    while True:
        message = await viewer.take()
        if isinstance(message, str):
            await websocket.send_text(message)
        else:
            await websocket.send_bytes(message)


async def _receive(websocket: WebSocket, viewer: Viewer, feed: WebFeed) -> None:
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        try:
            asked = read_request(message.get("text") or message.get("bytes") or "")
        except MessageError as error:
            await websocket.close(VIOLATION, str(error))
            return
        if asked.type == "pause":
            feed.audience.pause(viewer)
        elif asked.type == "play":
            feed.audience.play(viewer, feed.history.message)
        else:
            viewer.behind = asked.seconds
        await asyncio.sleep(PAUSE)


async def _first_of(*works: object) -> None:
    """Runs them until the first has ended, and raises its error."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _file(path: Path) -> tuple[bytes, str, str]:
    """A file's bytes, media type and tag."""
    data = path.read_bytes()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return data, kind, f'"{sha256(data).hexdigest()[:32]}"'


async def _say_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return say_wrong(error.status_code, error.detail, error.headers)

"""WebRTC: sends the packets of a stream's one encoder to a peer, through aiortc. It lives in the server's thread.

Of a picture by WebRTC a browser knows the RTP timestamp, and no other name. It is the frame's media time in ticks of
CLOCK from an origin that the sender draws by lot. Here the origin is read from the packets that are sent, so that the
browser can tell exactly which frame it shows.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from typing import Any

import av
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)

from .fmp4 import TIMESCALE
from .media import Media
from .peers import CLOCK

PATIENCE = 10.0
"""Maximum seconds from an offer to the connection."""
WAITING = 60
"""Maximum frames that wait to be sent; then all are dropped up to the next key frame."""
_TIME_BASE = Fraction(1, CLOCK)
_WRAP = 1 << 32


class OfferError(ValueError):
    """An offer that cannot be answered; why, in one line."""


def check_offer(offer: str) -> str:
    """The offer without addresses of its sender: the sender finds this machine by those in the answer, and this machine
    sends nothing to addresses that anybody may write into an offer. Raises OfferError."""
    lines = offer.splitlines()
    sections = [line for line in lines if line.startswith("m=")]
    if len(sections) != 1 or not sections[0].startswith("m=video "):
        raise OfferError("an offer has one section, of video")
    left_out = ("a=candidate:", "a=end-of-candidates")
    return "".join(f"{line}\r\n" for line in lines if line and not line.startswith(left_out))


def ticks(time: int) -> int:
    """Media time in ticks of fmp4.TIMESCALE -> of CLOCK."""
    return (time * CLOCK + TIMESCALE // 2) // TIMESCALE


class PacketTrack(MediaStreamTrack):  # type: ignore[misc]
    """Encoded frames, in the order in which they are sent. The first is a key frame, also after some were dropped."""

    kind = "video"

    def __init__(self, want_key: Callable[[], None]) -> None:
        super().__init__()
        self.newest = 0
        """time in ticks of CLOCK of the frame that was given last"""
        self._want_key = want_key
        self._waiting: deque[Media] = deque()
        self._came = asyncio.Event()
        self._needs_key = True

    def put(self, media: Media) -> None:
        if self._needs_key and not media.key:
            self._want_key()
            return
        self._needs_key = len(self._waiting) >= WAITING
        if self._needs_key:
            self._waiting.clear()
            return
        self._waiting.append(media)
        self._came.set()

    async def recv(self) -> av.Packet[Any]:
        while not self._waiting:
            self._came.clear()
            await self._came.wait()
        media = self._waiting.popleft()
        packet = av.Packet(media.packet)
        packet.pts, packet.time_base = ticks(media.time), _TIME_BASE
        self.newest = packet.pts
        return packet


class _Wire:
    """A peer's transport, which also reads the timestamps of what is sent: aiortc tells them to nobody."""

    def __init__(self, transport: Any, sent: Callable[[int], None]) -> None:
        self._transport, self._sent = transport, sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    async def _send_rtp(self, data: bytes) -> None:
        if not 192 <= data[1] <= 223:  # those are of RTCP (RFC 5761, section 4)
            self._sent(struct.unpack_from(">I", data, 4)[0])
        await self._transport._send_rtp(data)


class WebRtcPeer:
    """One connection. It ends by itself when the other side does, or when that does not connect in time."""

    def __init__(self, want_key: Callable[[], None], changed: Callable[[WebRtcPeer], None]) -> None:
        """want_key: asks the encoder for a key frame. changed: is called when the peer has connected, and when it has
        ended."""
        self.name = secrets.token_urlsafe(12)
        self.connected = False
        self.ended = False
        self.origin: int | None = None
        """the RTP timestamp of media time 0; None before the first frame has been sent"""
        self._want_key, self._changed = want_key, changed
        # No server is asked for addresses: aiortc's default is one on the internet.
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._connection.on("connectionstatechange", self._look)
        self._track = PacketTrack(want_key)
        self._sent = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._deadline = asyncio.get_running_loop().call_later(PATIENCE, self._give_up)

    async def answer(self, offer: str) -> str:
        """The answer to an offer, both SDP. Raises OfferError."""
        connection = self._connection
        try:
            transceiver = connection.addTransceiver(self._track, "sendonly")
            transceiver.setCodecPreferences(_h264())
            await connection.setRemoteDescription(RTCSessionDescription(check_offer(offer), "offer"))
            sender = transceiver.sender
            sender.setTransport(_Wire(sender.transport, self._note))
            sender._send_keyframe = self._want_key  # what it does when the other side asks for one
            await connection.setLocalDescription(await connection.createAnswer())
        except OfferError:
            raise
        except Exception as error:  # aiortc raises whatever it stumbles over in an offer
            raise OfferError(
                f"the offer cannot be answered: {type(error).__name__}: {error}".splitlines()[0]
            ) from error
        return str(connection.localDescription.sdp)

    async def wait_for_origin(self, timeout: float) -> int | None:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._sent.wait(), timeout)
        return self.origin

    def take(self, media: Media) -> None:
        if media.packet:
            self._track.put(media)
        else:  # the encoder gives what no peer has agreed to
            self._end()

    async def close(self) -> None:
        self._end()
        assert self._ending is not None
        await self._ending

    def _note(self, timestamp: int) -> None:
        if self.origin is None:
            self.origin = (timestamp - self._track.newest) % _WRAP
            self._sent.set()

    def _look(self) -> None:
        state = self._connection.connectionState
        if state == "connected" and not self.connected:
            self._deadline.cancel()
            self.connected = True
            self._changed(self)
        elif state in ("failed", "closed"):
            self._end()

    def _give_up(self) -> None:
        if not self.connected:
            self._end()

    def _end(self) -> None:
        if self._ending is None:
            self._deadline.cancel()
            self.connected, self.ended = False, True
            self._sent.set()
            self._changed(self)
            self._ending = asyncio.ensure_future(self._connection.close())


def _h264() -> list[Any]:
    """The codecs that may be agreed on: H.264, first of the profile that is sent, and what repeats lost packets."""
    known = RTCRtpSender.getCapabilities("video").codecs
    usable = [codec for codec in known if codec.mimeType.lower() in ("video/h264", "video/rtx")]
    return sorted(usable, key=lambda codec: not codec.parameters.get("profile-level-id", "").startswith("42e0"))

"""Cameras and servers, through PyAV (FFmpeg)."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...engine.errors import UsageError
from ..media.av_limits import decoder_options, limit_decoder, refused_size, small_blocks
from ..media.av_planes import PictureReader, reason, time_of
from ..media.av_times import FrameTimes
from ..media.damage import Damage
from ..media.info import first_rate
from ..media.limits import Size, exceeds
from ..net.guard import FLOOD, PLAYLIST_FLOOD, Guard
from ..net.redact import scrub
from ..net.tls import checks
from .base import ENDLESS, SourceOptions
from .feed import REFUSALS, Connect, FeedEnded, FeedFrame, FeedLost, FeedRefused, FeedTooLarge, failure
from .rtsp_redirect import led_to

# FFmpeg would otherwise collect seconds of video to learn its rate, and hand them out late, in one burst. An RTSP
# server describes its streams beforehand; in a transport stream the description has to be found first.
_QUICK = {"probesize": "32", "fpsprobesize": "0", "analyzeduration": "0"}
# A transport stream whose encoder starts anew may go on under other numbers.
_ON = {"merge_pmt_versions": "1"}
_BROADCAST = {"probesize": "500000", "fpsprobesize": "0", "analyzeduration": "0", **_ON}
_WEB = {"fpsprobesize": "0", "analyzeduration": "500000", **_ON}
_RTSP = {"allowed_media_types": "video", **_QUICK}
_BUFFER = str(4 << 20)
"""bytes of the UDP sockets' buffers: one large key frame overruns the system's default"""
_REFUSED = {
    av.HTTPUnauthorizedError: 401,
    av.HTTPForbiddenError: 403,
    av.HTTPNotFoundError: 404,
}
OVER = 30.0
"""seconds after which HLS that was live and has ended is over, and not only its encoder started anew"""
_REACHES = {
    **dict.fromkeys(("http", "https"), "http,https,httpproxy,tls,tcp,crypto,data"),
    **dict.fromkeys(("rtsp", "rtsps"), "rtp,srtp,udp,tcp,tls,http,https,httpproxy"),
    **dict.fromkeys(("rtmp", "rtmps"), "rtmp,rtmps,ffrtmphttp,http,tcp,tls"),
    "udp": "udp",
    "srt": "srt",
}
"""scheme -> protocols that may be used for it: what comes may be a list that names a file of this machine"""
_POLL = 100
"""milliseconds that a camera is waited for at once"""
BLOCK = 256 << 20
"""bytes of the largest block of memory that FFmpeg takes once an input is open; a part of MJPEG without end is one"""
_TIMELESS = {"mpjpeg", "mjpeg"}
"""containers without timestamps: FFmpeg makes some up from a rate of 25"""


def connector(uri: str, options: SourceOptions, stall: float) -> Connect:
    """How to connect to the URI, again and again. stall: seconds a read may take. Raises UsageError."""
    address, container, settings = _address(uri, options)
    timeout = (options.open_timeout, stall)
    was_live, over = False, None
    """whether there was something without an end; and since when it has one"""

    def connect() -> AvFeed:
        nonlocal was_live, over
        place = address
        if address.partition("://")[0].lower() in ("rtsp", "rtsps") and "@" in address:
            place = led_to(address, options.open_timeout, options.tls_ca)
        feed = AvFeed(place, uri, container, settings, timeout, options.tls_ca, options.max_size)
        if not feed.ends:
            was_live, over = True, None
        elif was_live:
            # HLS that has come to its end: FFmpeg would begin with its first segment again. Its encoder may be back.
            feed.close()
            over = time.monotonic() if over is None else over
            if time.monotonic() - over < OVER:
                raise FeedLost("it has ended, for now")
            raise FeedEnded("it has ended")
        return feed

    return connect


class AvFeed:
    """The main video of one connection."""

    dropped = 0
    """FFmpeg drops none: what a late reader leaves waits in the system's buffers, for seconds (`feed.Backlog`)"""

    def __init__(
        self,
        address: str,
        uri: str,
        container: str | None,
        settings: dict[str, str],
        timeout: tuple[float, float],
        tls_ca: str | None = None,
        max_size: Size = SourceOptions.max_size,
    ) -> None:
        """timeout: seconds to open, and for one read. Raises FeedLost, FeedRefused or UsageError."""
        self.errors, self.idle = 0, 0.0
        self._uri, self._tls_ca, self._most, self._damage = uri, tls_ca, max_size, Damage()
        self._guard = Guard(address, PLAYLIST_FLOOD if ".m3u8" in uri else FLOOD, timeout[0])
        self._bounds = ExitStack()
        self._bounds.enter_context(small_blocks(max_size, BLOCK))
        self._bounds.callback(self._guard.close)
        try:
            self._open(address, uri, container, settings, timeout)
        except BaseException:
            self._bounds.close()
            raise

    def _open(
        self, address: str, uri: str, container: str | None, settings: dict[str, str], timeout: tuple[float, float]
    ) -> None:
        start = time.monotonic()
        options = {**settings, **decoder_options(self._most)}
        try:
            with small_blocks(self._most):
                self._container = av.open(
                    address, "r", container, options=options, timeout=timeout, metadata_errors="ignore"
                )
            self._guard.opened()
        except (av.FFmpegError, OSError, ValueError) as error:
            if self._guard.reason:
                raise FeedLost(self._guard.reason) from None
            if time.monotonic() - start >= timeout[0]:  # whatever FFmpeg calls it then
                raise FeedLost(f"no answer within {timeout[0]:g} s") from None
            ours = isinstance(error, ValueError) and not isinstance(error, av.FFmpegError)
            web = uri.lower().startswith("http")  # a playlist there may name what is known nowhere
            if ours or (isinstance(error, av.ProtocolNotFoundError) and not web):
                raise UsageError(scrub(f"{uri}: {reason(error)}", uri)) from None
            raise self._failure(error, timeout[0]) from None
        self._stall = timeout[1]
        self._reader: PictureReader | None = None
        self._format = ""
        self._ahead: float | None = None
        """seconds that the camera's clock is ahead of the stream's pts"""
        try:
            self._stream = self._video()
        except BaseException:
            self.close()
            raise
        self._timeless = bool(_TIMELESS & set(self._container.format.name.split(",")))
        self.ends = bool(self._container.duration) and uri.partition("://")[0].lower() not in ENDLESS
        """whether it is something that has an end"""
        self._device = _watch(address) if container == "v4l2" else None
        self.bursts = uri.lower().startswith("http") and (self.ends or "hls" in self._container.format.name)
        self._times = FrameTimes(self._container)
        self._decoded = self._decode()

    def read(self, timeout: float) -> FeedFrame | None:
        start = time.monotonic()
        for frame in self._decoded:
            if frame is not None:
                return self._make(frame)
            if time.monotonic() - start >= timeout:
                return None
        if self._guard.reason:
            raise FeedLost(self._guard.reason)
        raise FeedEnded("it has ended") if self.ends else FeedLost("the server ended the stream")

    def close(self) -> None:
        # FFmpeg tells an RTSP server goodbye; a frozen one costs nothing, for no answer is waited for.
        self._guard.closing()
        self._container.close()
        self._bounds.close()

    def _decode(self) -> Iterator[VideoFrame | None]:
        """Frames, and None for each packet that gave none. Raises FeedLost, FeedRefused."""
        packets = self._container.demux(self._stream)
        while True:
            start = time.monotonic()
            while self._device is not None and not self._device.poll(_POLL):
                if time.monotonic() - start >= self._stall:
                    raise FeedLost(f"nothing came for {self._stall:g} s")
                yield None
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                raise self._failure(error, self._stall) from None
            # When time is up, FFmpeg first hands out the frame whose end it was waiting for, and would then wait again.
            now = time.monotonic()
            silent = now - start >= self._stall
            self.idle += now - start
            if packet is not None:
                self._times.sent(packet)
                self._note_sent(packet)
            try:
                frames = packet.decode() if packet is not None else []
            except av.EOFError:
                return
            except (av.FFmpegError, OSError):
                self._undecoded(packet)
                frames = []
            if packet is not None and packet.is_corrupt:  # as the container says: a part of it was lost
                self._damage.lost(self._time(packet))
            yield from frames
            if not frames:
                yield None
            if packet is None:
                return
            if silent:
                raise FeedLost(f"nothing came for {self._stall:g} s")

    def _undecoded(self, packet: Packet[Any] | None) -> None:
        """A packet could not be decoded. Raises FeedTooLarge where its picture is the reason."""
        if packet is not None and packet.is_keyframe:
            size = refused_size(self._stream, packet, self._most)
            if size is not None:
                raise FeedTooLarge(size, self._most)
        if self._reader is not None:  # before the first key frame nothing can be decoded, and nothing is wrong
            self.errors += 1
            self._damage.lost(None if packet is None else self._time(packet))

    def _time(self, coded: Packet[Any] | VideoFrame) -> float | None:
        return None if self._timeless else time_of(coded)

    def _make(self, frame: VideoFrame) -> FeedFrame | None:
        if exceeds((frame.width, frame.height), self._most):
            raise FeedTooLarge((frame.width, frame.height), self._most)
        self._guard.picture()
        self.errors += frame.is_corrupt
        pts = None if self._timeless else self._times.of(frame)
        damaged = self._damage.shown_in(self._time(frame), frame.key_frame, frame.is_corrupt)
        if self._reader is None or not self._reader.fits(frame) or frame.format.name != self._format:
            self._reader, self._format = PictureReader(frame), frame.format.name
        try:
            picture = self._reader.read(frame)
        except (av.FFmpegError, OSError):
            self.errors += 1
            return None
        aspect = self._stream.sample_aspect_ratio
        aspect = aspect if aspect and aspect > 0 else Fraction(1)
        return FeedFrame(
            picture,
            time.monotonic(),
            pts,
            self._stream.time_base or Fraction(1, 90_000),
            1 / aspect if self._reader.orientation.transpose else aspect,
            None if self._timeless else self._rate(),
            frame.colorspace,
            frame.color_primaries,
            frame.color_trc,
            self._reader.notes,
            self._sent(frame),
            damaged,
        )

    def _note_sent(self, packet: Packet[VideoStream]) -> None:
        """Remembers what the camera's last report (RTCP) says of its clock: FFmpeg puts it beside the packets."""
        if packet.pts is not None and packet.has_sidedata("prft"):
            microseconds = int.from_bytes(bytes(packet.get_sidedata("prft"))[:8], sys.byteorder, signed=True)
            self._ahead = microseconds / 1e6 - float(packet.pts * packet.time_base)

    def _sent(self, frame: VideoFrame) -> float | None:
        if self._ahead is None or frame.pts is None or frame.time_base is None:
            return None
        return self._ahead + float(frame.pts * frame.time_base)

    def _rate(self) -> Fraction | None:
        """Frames a second as the container or the codec says; FFmpeg's own guess may be of fields, twice as many."""
        stream = self._stream
        return first_rate(stream.average_rate, stream.codec_context.framerate, stream.guessed_rate)

    def _video(self) -> VideoStream:
        cover = av.stream.Disposition.attached_pic
        streams = [
            one
            for one in self._container.streams.video
            if one.codec_context is not None and not one.disposition & cover
        ]
        if not streams:
            raise FeedLost("there is no video in it")
        best = self._container.streams.best("video")
        stream = max(streams, key=lambda one: (one.width * one.height, best is not None and one.index == best.index))
        for other in self._container.streams:
            if other.index != stream.index:
                # PyAV would pass over their packets for as long as they come, and the video's silence not be noticed;
                # of a playlist with several sizes, all would be fetched.
                other.discard = av.stream.Discard.all
        stream.thread_type = "SLICE"  # by frames, each thread would hold one back
        if stream.codec_context.name == "h264":
            stream.codec_context.thread_count = 1  # by slices, FFmpeg's decoder would neither mend nor mark damage
        limit_decoder(stream, self._most)
        return stream

    def _failure(self, error: Exception, waited: float) -> Exception:
        if self._guard.reason:
            return FeedLost(self._guard.reason)
        for kind, status in _REFUSED.items():
            if isinstance(error, kind):
                return FeedRefused(*REFUSALS[status])
        if isinstance(error, av.ExitError):
            return FeedLost(f"nothing came for {waited:g} s")
        if isinstance(error, av.InvalidDataError):
            return FeedLost("the connection broke, or what came is no video")
        if isinstance(error, ValueError):  # EINVAL: at the first time the user's, such as a format no camera has
            return FeedRefused(scrub(reason(error), self._uri))
        known = failure(self._uri, self._tls_ca) if isinstance(error, OSError) else None
        return known or FeedLost(scrub(reason(error), self._uri))


def _address(uri: str, options: SourceOptions) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg is to open: address, container format, options."""
    scheme, _, rest = uri.partition("://")
    make: Callable[[], dict[str, str]] = {
        "rtsp": lambda: {"rtsp_transport": options.transport, "buffer_size": _BUFFER, **_RTSP},
        "rtsps": lambda: {"rtsp_transport": "tcp", **_RTSP, **checks(options.tls_ca)},
        "udp": lambda: {"buffer_size": _BUFFER, **_BROADCAST},
        "srt": lambda: _BROADCAST,
        **dict.fromkeys(("http", "rtmp"), lambda: _WEB),
        **dict.fromkeys(("https", "rtmps"), lambda: {**_WEB, **checks(options.tls_ca)}),
        "v4l2": lambda: _camera(options),
    }.get(scheme.lower(), dict)
    if scheme.lower() == "v4l2":
        return rest, "v4l2", make()
    return uri, None, {"protocol_whitelist": _REACHES[scheme.lower()], **make()}


def _watch(device: str) -> select.poll | None:
    """Tells when an open V4L2 device has a frame: FFmpeg waits for one for ever, and asks nobody."""
    watched = select.poll()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one of this list is closed by now
            if os.path.realpath(one) == os.path.realpath(device):
                watched.register(int(one.name), select.POLLIN)
                return watched
    return None


def _camera(options: SourceOptions) -> dict[str, str]:
    asked = {
        "video_size": "{}x{}".format(*options.size) if options.size else None,
        "framerate": str(options.rate) if options.rate else None,
        "input_format": options.format,
    }
    return {name: value for name, value in asked.items() if value is not None}

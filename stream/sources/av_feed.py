"""Cameras and servers, through PyAV (FFmpeg)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...engine.errors import ModelError, UsageError
from ...engine.place import Place
from ..media.av_limits import decoder_options, limit_decoder, refused_size, small_blocks
from ..media.av_nvc import Decoding, DeviceFrame
from ..media.av_planes import PictureReader, reason, time_of
from ..media.av_times import FrameTimes
from ..media.damage import Damage
from ..media.info import first_rate
from ..media.limits import Size, exceeds
from ..net.address import Address
from ..net.guard import FLOOD, PLAYLIST_FLOOD, Guard
from .av_opening import opening
from .base import ENDLESS, SourceOptions
from .feed import REFUSALS, Connect, FeedEnded, FeedFrame, FeedLost, FeedRefused, FeedTooLarge, failure
from .rtsp_redirect import led_to
from .v4l2 import watch_device

_REFUSED = {
    av.HTTPUnauthorizedError: 401,
    av.HTTPForbiddenError: 403,
    av.HTTPNotFoundError: 404,
}
OVER = 30.0
"""Seconds after which live HLS that has ended is over; before that, its encoder may just be restarting."""
_POLL = 100
"""Milliseconds of one wait for a camera's frame, after which `stop` is looked at."""
BLOCK = 256 << 20
"""Maximum bytes of one block of memory that FFmpeg takes once an input is open; an MJPEG part without end would grow
beyond any limit."""
_TIMELESS = {"mpjpeg", "mjpeg"}
"""Containers without timestamps: FFmpeg makes them up from a rate of 25."""


def connector(address: Address, options: SourceOptions, stall: float, place: Place | None = None) -> Connect:
    """A function that opens a connection to the address. stall: maximum seconds of one read. place: the one that
    pictures are wanted in; None: the host's. Raises UsageError."""
    container, settings = opening(address, options)
    timeout = (options.open_timeout, stall)
    was_live, over = False, None
    """whether the playlist has been a live one, and since when it has had an end"""

    def connect() -> AvFeed:
        nonlocal was_live, over
        target = address
        if address.scheme in ("rtsp", "rtsps") and address.login is not None:
            target = led_to(address, options.open_timeout, options.tls_ca)
        feed = AvFeed(target, address, container, settings, timeout, options.tls_ca, options.max_size, place)
        if not feed.ends:
            was_live, over = True, None
        elif was_live:
            # Live HLS has ended: FFmpeg would begin with its first segment again. Its encoder may come back.
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
    """FFmpeg drops no frames: if the reader is late, packets wait in the system's buffers (see `feed.Backlog`)"""

    def __init__(
        self,
        target: Address,
        address: Address,
        container: str | None,
        settings: dict[str, str],
        timeout: tuple[float, float],
        tls_ca: str | None = None,
        max_size: Size = SourceOptions.max_size,
        place: Place | None = None,
    ) -> None:
        """target: what is opened: where the server of `address` leads to. timeout: maximum seconds to open, and of one
        read. place: the one that pictures are wanted in; None: the host's. Raises FeedLost, FeedRefused or UsageError.
        """
        self.errors, self.idle = 0, 0.0
        self._address, self._tls_ca, self._most, self._damage = address, tls_ca, max_size, Damage()
        self._place = place
        self._guard = Guard(target, PLAYLIST_FLOOD if address.is_playlist else FLOOD, timeout[0])
        self._bounds = ExitStack()
        self._bounds.enter_context(small_blocks(max_size, BLOCK))
        self._bounds.callback(self._guard.close)
        try:
            self._open(target, container, settings, timeout)
        except BaseException:
            self._bounds.close()
            raise

    def _open(
        self, address: Address, container: str | None, settings: dict[str, str], timeout: tuple[float, float]
    ) -> None:
        target = (address.rest if container == "v4l2" else address.full).reveal()
        start = time.monotonic()
        options = {**settings, **decoder_options(self._most)}
        try:
            with small_blocks(self._most):
                self._container = av.open(
                    target, "r", container, options=options, timeout=timeout, metadata_errors="ignore"
                )
            self._guard.opened()
        except (av.FFmpegError, OSError, ValueError) as error:
            if self._guard.reason:
                raise FeedLost(self._guard.reason) from None
            if time.monotonic() - start >= timeout[0]:  # whichever error FFmpeg reports then
                raise FeedLost(f"no answer within {timeout[0]:g} s") from None
            ours = isinstance(error, ValueError) and not isinstance(error, av.FFmpegError)
            web = self._address.scheme in ("http", "https")  # a playlist may name a server that is not known here
            if ours or (isinstance(error, av.ProtocolNotFoundError) and not web):
                raise UsageError(self._address.scrub(f"{self._address}: {reason(error)}")) from None
            raise self._failure(error, timeout[0]) from None
        self._stall = timeout[1]
        self._reader: PictureReader | None = None
        self._format, self._decoded_any = "", False
        self._ahead: float | None = None
        """seconds that the camera's clock is ahead of the stream's pts; None if it has not told its time"""
        try:
            self._stream = _main_video(self._container, self._most)
        except BaseException:
            self.close()
            raise
        self._decoding = Decoding(self._stream, self._place)
        self._timeless = bool(_TIMELESS & set(self._container.format.name.split(",")))
        self.ends = bool(self._container.duration) and self._address.scheme not in ENDLESS
        """whether the stream has an end, as a file on a web server"""
        self.device = watch_device(target) if container == "v4l2" else None
        self.bursts = self._address.scheme in ("http", "https") and (self.ends or "hls" in self._container.format.name)
        self._times = FrameTimes(self._container)
        self._decoded = self._decode()

    def read(self, timeout: float) -> FeedFrame | None:
        start = time.monotonic()
        for frame in self._decoded:
            if frame is not None:
                self._decoded_any = True
                return self._make(frame) if isinstance(frame, VideoFrame) else self._made_there(frame)
            if time.monotonic() - start >= timeout:
                return None
        if self._guard.reason:
            raise FeedLost(self._guard.reason)
        raise FeedEnded("it has ended") if self.ends else FeedLost("the server ended the stream")

    def close(self) -> None:
        # FFmpeg sends TEARDOWN to an RTSP server and does not wait for an answer, so a frozen server costs no time.
        self._guard.closing()
        self._decoding.close()
        self._container.close()
        self._bounds.close()

    def _decode(self) -> Iterator[VideoFrame | DeviceFrame | None]:
        """Yields frames, and None for each packet that gave no frame. Raises FeedLost and FeedRefused."""
        packets = self._container.demux(self._stream)
        while True:
            start = time.monotonic()
            while self.device is not None and not self.device.poll(_POLL):
                if time.monotonic() - start >= self._stall:
                    raise FeedLost(f"nothing came for {self._stall:g} s")
                yield None
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                raise self._failure(error, self._stall) from None
            # When its time is up, FFmpeg first gives out the frame whose end it waited for, and would then wait again.
            now = time.monotonic()
            silent = now - start >= self._stall
            self.idle += now - start
            if packet is not None:
                self._times.sent(packet)
                self._note_sent(packet)
            if packet is not None and packet.is_corrupt:  # the container marks it: a part of it was lost
                self._damage.lost(self._time(packet))
            try:
                yield from self._frames_of(packet)
            except av.EOFError:
                return
            if packet is None:
                return
            if silent:
                raise FeedLost(f"nothing came for {self._stall:g} s")

    def _frames_of(self, packet: Packet[Any] | None) -> Iterator[VideoFrame | DeviceFrame | None]:
        """Decodes a packet. None: it gave no frame. Raises av.EOFError at the decoder's end."""
        gave = False
        try:
            for frame in self._decoding.decode(packet) if packet is not None else ():
                gave = True
                yield frame
        except av.EOFError:
            raise
        except (av.FFmpegError, OSError, ModelError):
            self._undecoded(packet)
        if not gave:
            yield None

    def _undecoded(self, packet: Packet[Any] | None) -> None:
        """A packet could not be decoded. Raises FeedTooLarge where its picture is the reason."""
        if packet is not None and packet.is_keyframe:
            size = refused_size(self._stream, packet, self._most)
            if size is not None:
                raise FeedTooLarge(size, self._most)
        if self._decoded_any:  # before the first key frame failing to decode is normal
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
            self._decoding.words,
        )

    def _made_there(self, frame: DeviceFrame) -> FeedFrame:
        """As `_make`, of a picture on a GPU."""
        if exceeds((frame.picture.width, frame.picture.height), self._most):
            raise FeedTooLarge((frame.picture.width, frame.picture.height), self._most)
        self._guard.picture()
        base = self._stream.time_base or Fraction(1, 90_000)
        pts = None if self._timeless else self._times.of(frame)
        seconds = None if self._timeless or frame.pts is None else float(frame.pts * base)
        aspect = self._stream.sample_aspect_ratio
        return FeedFrame(
            frame.picture,
            time.monotonic(),
            pts,
            base,
            aspect if aspect and aspect > 0 else Fraction(1),
            None if self._timeless else self._rate(),
            frame.like.colorspace,
            frame.like.color_primaries,
            frame.like.color_trc,
            (),
            None if self._ahead is None or seconds is None else self._ahead + seconds,
            self._damage.shown_in(seconds, frame.key_frame, False),
            self._decoding.words,
        )

    def _note_sent(self, packet: Packet[VideoStream]) -> None:
        """Remembers the camera's clock from its last report (RTCP), which FFmpeg attaches to packets."""
        if packet.pts is not None and packet.has_sidedata("prft"):
            microseconds = int.from_bytes(bytes(packet.get_sidedata("prft"))[:8], sys.byteorder, signed=True)
            self._ahead = microseconds / 1e6 - float(packet.pts * packet.time_base)

    def _sent(self, frame: VideoFrame) -> float | None:
        if self._ahead is None or frame.pts is None or frame.time_base is None:
            return None
        return self._ahead + float(frame.pts * frame.time_base)

    def _rate(self) -> Fraction | None:
        """Frames a second as the container or the codec tells. FFmpeg's own guess may count fields, twice as many."""
        stream = self._stream
        return first_rate(stream.average_rate, stream.codec_context.framerate, stream.guessed_rate)

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
        if isinstance(error, ValueError):  # EINVAL: at first the user's mistake, such as an unknown format
            return FeedRefused(self._address.scrub(reason(error)))
        known = failure(self._address, self._tls_ca) if isinstance(error, OSError) else None
        return known or FeedLost(self._address.scrub(reason(error)))


def _main_video(container: InputContainer, most: Size) -> VideoStream:
    """The largest video of a connection, whose decoder refuses larger pictures than `most`. Raises FeedLost."""
    cover = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if one.codec_context is not None and not one.disposition & cover]
    if not streams:
        raise FeedLost("there is no video in it")
    best = container.streams.best("video")
    stream = max(streams, key=lambda one: (one.width * one.height, best is not None and one.index == best.index))
    for other in container.streams:
        if other.index != stream.index:
            # Otherwise PyAV would skip their packets for as long as they come, and nobody would notice that the
            # video is silent; and of a playlist with several sizes all would be fetched.
            other.discard = av.stream.Discard.all
    stream.thread_type = "SLICE"  # with threads by frame, each thread would hold one frame back
    if stream.codec_context.name == "h264":
        stream.codec_context.thread_count = 1  # with several threads this decoder neither conceals nor marks damage
    limit_decoder(stream, most)
    return stream

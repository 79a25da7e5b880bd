"""Streams pushed to a server, through PyAV: rtsp:// (ANNOUNCE and RECORD, over TCP) and rtmp://."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction

import av
from av.container import OutputContainer

from ...engine.errors import ModelError, SinkError, UsageError
from ...engine.picture import HOST
from ...engine.types import Frame, Shown
from ..media.av_encoder import H264, VideoTrack, WrongSizeError, choose_encoder, near
from ..media.av_planes import reason
from ..media.info import VideoInfo
from ..media.live_clock import LiveClock
from ..net.address import Address
from ..net.diagnose import diagnose
from ..net.tls import SCHEMES, checks
from .base import RefusedError, Sink, SinkOptions

TIMEOUT = 4.0
"""Maximum seconds that the network may take for one write, or to connect; then the connection is given up."""
QUEUE = 8
"""Number of encoded frames that may wait in FFmpeg. When it has taken more, the connection works."""
TICKS = 90_000
"""Ticks a second: RTP's unit for video."""
RTMP_SECONDS = 20 * 86_400.0
"""Maximum seconds of one RTMP connection: FLV's times are milliseconds in 31 bits, which overflow after 24.8 days."""

_REFUSED = tuple(
    error
    for error in (
        getattr(av.error, name, None) for name in ("HTTPUnauthorizedError", "HTTPForbiddenError", "PermissionError")
    )
    if error is not None
)


class AvPushSink(Sink):
    """Sends H.264 to a server. Every call may wait for the network, TIMEOUT seconds at most: run it in `Threaded`.

    `open` may be called again after `close`, and connects again. Times are those of the frames' arrival, smoothed
    (LiveClock), because a server expects times near its own.
    """

    reconnects = True
    shows_outages = True
    keeps = 2  # also the newest one, which is sent again at the end

    def __init__(self, address: Address, options: SinkOptions) -> None:
        """Raises UsageError for an address without a host, a port that is none, an encoder that does not work here."""
        super().__init__(address.shown)
        if not address.host:
            raise UsageError(f"{self.name}: names no host to push to")
        if options.encoder != "auto":
            choose_encoder(options.encoder)
        self._scheme = address.scheme
        self._address, self._options = address, options
        self._output: OutputContainer | None = None
        self._behind = ExitStack()
        """what is done once the container is gone"""
        self._newest: Frame | None = None
        self._unsure = 0
        """frames given to FFmpeg since `open`, until it is known that the connection works"""

    def open(self, info: VideoInfo) -> None:
        chosen = choose_encoder(self._options.encoder)
        low = self._options.latency == "low"
        settings = H264(
            crf=max(self._options.crf, 23) if low else self._options.crf,
            preset=self._options.preset or "superfast",
            threads=2,
            keyframe_seconds=1.0,
            encoder=chosen.name,
            bitrate=self._options.bitrate,
            low_latency=low,
            global_header=True,
        )
        self._clock = LiveClock()
        # Players of RTMP and RTP count in milliseconds and 1/90000 s, whatever the source's unit.
        info = replace(info, time_base=Fraction(1, TICKS), audio=None)
        settings, way = near(settings, info)
        self.takes = frozenset({HOST, settings.where})
        try:
            output = self._open_container()
            self._output = output
            self._track = VideoTrack(output, info, settings)
            self._behind.callback(self._track.close)
            self.description = f"{self._track.description} {way}".strip()
            self.notes = (*chosen.notes, *self._track.notes)
            self._track.start()
        except (av.FFmpegError, OSError, ValueError, ModelError) as error:
            raise self._failure(error) from None  # FFmpeg's error contains the address, and so the password
        self.state = "connecting"
        self._since_open = 0
        self._last = -1

    def write(self, shown: Shown) -> None:
        frame, output = shown.frame, self._output
        if output is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        # Times start at 0: those since boot would be too large for RTMP.
        now = time.monotonic()
        if self._last < 0:
            self._zero = now
        pts = max(self._last + 1, round(self._clock.stamp(frame.time, now - self._zero) * TICKS))
        if pts > RTMP_SECONDS * TICKS and self._scheme.startswith("rtmp"):
            raise SinkError(f"{self.name}: RTMP counts no more than 24 days: it is connected anew")
        self._last = pts
        try:
            output.mux(self._track.encode(replace(frame, pts=pts, time_base=Fraction(1, TICKS))))
        except WrongSizeError as error:
            raise SinkError(f"{self.name}: {error}") from None
        except (av.FFmpegError, OSError, ModelError) as error:
            raise self._failure(error) from None
        self._newest = frame
        self._unsure += not shown.outage
        self._since_open += 1
        if self._since_open > QUEUE:
            self._sent()
            self.state = "running"

    def close(self) -> None:
        output, self._output = self._output, None
        if output is None:
            return
        try:
            if self.state != "failed":
                self._push_through(output)
                output.mux(self._track.encode(None))
            output.close()
            self._sent()
        except (av.FFmpegError, OSError) as error:
            if self.state != "failed":
                raise self._failure(error) from None
        finally:
            output = None  # and with it the encoder, which uses memory of the track's
            self._behind.close()
            self._newest, self.state = None, "closed"

    def _sent(self) -> None:
        """What FFmpeg was given counts as written from here on: the connection works."""
        self.frames_written, self._unsure = self.frames_written + self._unsure, 0

    def _push_through(self, output: OutputContainer) -> None:
        """Sends the last frame again until all frames before it are sent; raises the error that prevents it.

        PyAV's `close` would hold Python's lock while it waits for that; `mux` does not.
        """
        for _ in range(QUEUE + 1 if self._newest is not None else 0):
            self._last += TICKS // 500
            assert self._newest is not None
            output.mux(self._track.encode(replace(self._newest, pts=self._last, time_base=Fraction(1, TICKS))))

    def _open_container(self) -> OutputContainer:
        # PyAV holds Python's lock while it connects, which would stop every other thread for that time. FFmpeg's fifo
        # muxer connects in a thread of its own. It also takes options and a time limit, for which PyAV has no argument.
        # An error in it is raised by the next write.
        microseconds = str(round(TIMEOUT * 1e6))
        if self._scheme.startswith("rtsp"):
            kind, muxer = "rtsp", {"rtsp_transport": "tcp", "timeout": microseconds}
        else:
            kind, muxer = "flv", {"flvflags": "no_duration_filesize", "rw_timeout": microseconds}
        if self._scheme in SCHEMES:
            muxer |= checks(self._options.tls_ca)
        options = {"fifo_format": kind, "format_opts": _joined(muxer), "queue_size": str(QUEUE)}
        return av.open(self._address.full.reveal(), "w", "fifo", container_options=options)

    def _failure(self, error: Exception) -> SinkError:
        self.state = "failed"
        if self._unsure:
            self._drop("not connected", self._unsure)
            self._unsure = 0
        kind = RefusedError if isinstance(error, _REFUSED) else SinkError
        text = "the server refuses the user name or password" if kind is RefusedError else reason(error)
        if isinstance(error, av.InvalidDataError):  # FFmpeg's only error for an RTSP server that does not answer
            text = "the server does not answer, or not as one"
        if self._scheme in SCHEMES and kind is SinkError:
            # Only here: it asks the server once more, and some servers accept one connection and then no other.
            trouble = diagnose(self._address, self._options.tls_ca)
            text = trouble.words if trouble is not None and trouble.distrusted else text
        return kind(f"{self.name}: {text}")


def _joined(options: dict[str, str]) -> str:
    """Several options as one option of FFmpeg's, with the characters escaped that would end one."""
    escaped = {name: re.sub(r"([\\:'=])", r"\\\1", value) for name, value in options.items()}
    return ":".join(f"{name}={value}" for name, value in escaped.items())

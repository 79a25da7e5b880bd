"""The protocol of sources, and the options that they are opened with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ...engine.options import check_options, option, read_size
from ...engine.types import Frame
from ..media.info import VideoInfo, parse_rate
from ..net.tls import TLS_CA

BACKENDS = ("auto", "av", "gst")
TRANSPORTS = ("tcp", "udp")
NETWORK = {"rtsp", "rtsps", "http", "https", "udp", "srt", "rtmp", "rtmps"}
ENDLESS = (NETWORK - {"http", "https"}) | {"v4l2", "csi"}
"""Schemes of streams that end only when they are stopped, whatever duration a server names: otherwise the connection
was lost."""

SKIPPING = "skipping"
"""The beginning of a source's state after it fell behind, while it connects again."""
OVERLOADED = "this machine is short of time: fewer streams, smaller pictures, a lower rate or --frames 16 would help"


def read_rate(text: str) -> Fraction:
    """Frames a second. Raises ValueError."""
    try:
        return parse_rate(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"frames a second, as 25 or 30000/1001, got {text!r}") from None


@dataclass(frozen=True)
class SourceOptions:
    """Options of inputs; each input uses those that concern it."""

    option_group = "inputs"

    backend: str = option(
        "auto",
        "what reads the input: av is PyAV, gst is GStreamer; auto is GStreamer for csi://, gst:// and srt://, and "
        "PyAV for everything else",
        choices=BACKENDS,
    )
    transport: str = option(
        "tcp", "how RTSP packets travel: tcp loses nothing, udp never waits for lost packets", choices=TRANSPORTS
    )
    size: tuple[int, int] | None = option(
        None,
        "width and height asked of a camera",
        metavar="WxH",
        default="the camera's own",
        at_least=1,
        read=read_size,
    )
    max_size: tuple[int, int] = option(
        (4096, 2304),
        "a picture of more pixels than this product is refused before it is decoded",
        more="See [What may be sent](live.md#what-may-be-sent).",
        metavar="WxH",
        at_least=1,
        read=read_size,
    )
    rate: Fraction | None = option(
        None,
        "frames a second asked of a camera, as 25 or 30000/1001",
        metavar="FPS",
        default="the camera's own",
        more_than=0,
        read=read_rate,
    )
    format: str | None = option(
        None,
        "pixel or stream format asked of a V4L2 camera, as FFmpeg names it: mjpeg, yuyv422, h264",
        metavar="NAME",
        default="the camera's own",
    )
    realtime: bool = option(False, "play a file at its own speed, as a camera would")
    loop: bool = option(False, "start a file again at its end")
    stall: float | None = option(
        None,
        "a connection without a frame for so long counts as dead, and is made again",
        metavar="S",
        unit="seconds",
        default="2; HLS: 10",
        more_than=0,
    )
    open_timeout: float = option(
        5.0, "how long one attempt to connect may take", metavar="S", unit="seconds", more_than=0
    )
    first_timeout: float = option(
        10.0,
        "how long to wait for the stream's first frame",
        more="Then a run of one stream fails. Where the server refuses, it fails at once.",
        metavar="S",
        unit="seconds",
        more_than=0,
    )
    wait: bool = option(False, "wait for the first frame for ever, even if the password is wrong")
    tls_ca: str | None = option(None, TLS_CA)
    retries: int | None = option(
        None,
        "attempts in a row to connect again, once frames have come, before the stream fails; 0: none",
        metavar="N",
        default="it never gives up",
        at_least=0,
    )

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class SourceHealth:
    """A source at one moment. The defaults are those of a file, which is never away and loses nothing."""

    errors: int = 0
    """number of errors of the decoder, and of frames that it had to guess, so far"""
    dropped: int = 0
    """number of frames that came and were dropped because nobody read them in time"""
    can_be_away: bool = False
    """whether it has a connection that can be lost, to a camera or a server"""
    connected: bool = True
    """whether frames come at the moment"""
    state: str = "running"
    """for people; for sources that can be away, see `LiveSource.state`"""
    reconnects: int = 0
    """number of connections after the first one that gave a frame"""
    skips: int = 0
    """how often it fell behind the camera and started at the present again"""
    lag: float = math.nan
    """seconds that frames come later than the promptest one of this connection; nan if that has no meaning"""
    overloaded: bool = False
    """whether this machine is too slow for it"""

    @property
    def skipping(self) -> bool:
        """Whether it fell behind the camera and is about to start at the present again."""
        return self.state.startswith(SKIPPING)


class Source(Protocol):
    """A stream of frames, read once and by one thread at a time: a second `iter()` goes on where the first stopped.

    Frames have an index without gaps from 0, strictly increasing pts, one layout, one size unless the source is live
    (another one comes with a gap), and planes that belong to the receiver. Iterating raises SourceError only where
    nothing more can come and that is not the stream's end.
    """

    @property
    def info(self) -> VideoInfo: ...

    @property
    def name(self) -> str:
        """Safe to print: passwords are replaced."""
        ...

    @property
    def live(self) -> bool:
        """True where frames come at their own pace and late ones are better dropped than waited for."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What went wrong while reading, so far, one line each; empty if nothing did."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def health(self) -> SourceHealth:
        """How it is at this moment. From any thread; cheap enough to be asked at every frame."""
        ...

    def stop(self) -> None:
        """Ends the stream, from any thread: a reader that waits for a frame leaves soon, and no further frame comes."""
        ...

    def close(self) -> None:
        """Ends the stream; may be called twice. Not while another thread is inside the iterator."""
        ...

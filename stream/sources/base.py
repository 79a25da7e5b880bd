"""What a source promises, and how one is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ...engine.errors import UsageError
from ...engine.types import Frame
from ..media.info import VideoInfo
from ..net.tls import holds_certificates

BACKENDS = ("auto", "av", "gst")
TRANSPORTS = ("tcp", "udp")
NETWORK = {"rtsp", "rtsps", "http", "https", "udp", "srt", "rtmp", "rtmps"}
ENDLESS = (NETWORK - {"http", "https"}) | {"v4l2", "csi"}
"""schemes of what is over only when it is stopped, whatever duration a server names: it is connected to again"""

SKIPPING = "skipping"
"""How the state of a source begins that fell behind and connects again, until a frame comes or the camera is away."""
OVERLOADED = "this machine is short of time: fewer streams, smaller pictures, a lower rate or --frames 16 would help"


@dataclass(frozen=True)
class SourceOptions:
    """How an input is to be opened; what does not concern it is ignored."""

    backend: str = "auto"
    """av: PyAV; gst: GStreamer; auto: PyAV, but for what only GStreamer can"""
    transport: str = "tcp"
    """of RTSP: tcp loses nothing, udp waits for nothing"""
    size: tuple[int, int] | None = None
    """width, height asked of a camera"""
    max_size: tuple[int, int] = (4096, 2304)
    """width, height: a picture of more pixels than their product is refused before it is decoded"""
    rate: Fraction | None = None
    """frames a second asked of a camera"""
    format: str | None = None
    """pixel or stream format asked of a V4L2 camera, as FFmpeg names it: mjpeg, yuyv422, h264"""
    realtime: bool = False
    """a file plays at its own speed, as if it were a camera"""
    loop: bool = False
    """a file starts again at its end"""
    stall: float | None = None
    """seconds without a frame after which a connection is taken for dead; None: 2, for HLS 10"""
    open_timeout: float = 5.0
    """seconds for one attempt to connect"""
    first_timeout: float = 10.0
    """seconds to wait for the first frame of all"""
    wait: bool = False
    """wait for the first frame for ever"""
    retries: int | None = None
    """attempts to connect again, in a row, before giving up; None: never give up"""

    tls_ca: str | None = None
    """who has to have signed the certificates of rtsps:// and https://: a file; None: whom the system trusts; any"""

    def __post_init__(self) -> None:
        for name, value, accepted in (
            ("backend", self.backend, BACKENDS),
            ("transport", self.transport, TRANSPORTS),
        ):
            if value not in accepted:
                raise UsageError(f"{name} must be one of {', '.join(accepted)}, got {value!r}")
        for name, size in (("size", self.size), ("max-size", self.max_size)):
            if size is not None and min(size) < 1:
                raise UsageError(f"{name} must be 1x1 or more, got {size[0]}x{size[1]}")
        for name in ("rate", "stall", "open_timeout", "first_timeout"):
            value = getattr(self, name)
            if value is not None and not value > 0:  # nan is not
                raise UsageError(f"{name.replace('_', '-')} must be more than 0, got {float(value):g}")
        if self.retries is not None and self.retries < 0:
            raise UsageError(f"retries must be 0 or more, got {self.retries}")
        if not holds_certificates(self.tls_ca):
            raise UsageError(f"tls-ca must be a file of certificates, or any, got {self.tls_ca!r}")


@dataclass(frozen=True)
class SourceHealth:
    """A source at one moment. The defaults are those of a file, which is never away and loses nothing."""

    errors: int = 0
    """how often the decoder failed or had to guess, so far"""
    dropped: int = 0
    """frames that came and were lost before they were read, because nobody asked for them in time"""
    can_be_away: bool = False
    """whether it has a connection that can be lost, to a camera or a server"""
    connected: bool = True
    """whether frames come at the moment"""
    state: str = "running"
    """for people; for one that can be away as `LiveSource.state` says"""
    reconnects: int = 0
    """connections that were made after the first one, and gave a frame"""
    skips: int = 0
    """how often it fell behind the camera, and began at the present again"""
    lag: float = math.nan
    """seconds that frames come later than the promptest of this connection did; nan where that says nothing"""
    overloaded: bool = False
    """whether this machine is short of time for it"""

    @property
    def skipping(self) -> bool:
        """Whether it fell behind the camera, and is about to begin at the present again."""
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

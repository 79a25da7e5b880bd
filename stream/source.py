"""Where frames come from: what a source promises, and which source a URI means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from ..engine.errors import UsageError
from ..engine.picture import Color, Layout
from ..engine.types import Frame
from .redact import redact as redact
from .tls import holds_certificates
from .uri import PORTS, check_server, split

UNSPECIFIED = 2
"""what ITU-T H.273 calls a matrix, primaries or transfer that the stream does not name"""

FALLBACK_RATE = Fraction(25)
"""frames a second, to make missing timestamps where a stream does not even name its rate"""
CLOCK_RATE = 1000
"""as many a second are ticks of a clock, which is what FFmpeg calls the rate of a stream that names none"""

ACCEPTED = "give a video file, rtsp://, http://, /dev/videoN, csi://N, gst://PIPELINE or test://"
BACKENDS = ("auto", "av", "gst")
TRANSPORTS = ("tcp", "udp")
NETWORK = {"rtsp", "rtsps", "http", "https", "udp", "srt", "rtmp", "rtmps"}
ENDLESS = (NETWORK - {"http", "https"}) | {"v4l2", "csi"}
"""schemes of what is over only when it is stopped, whatever duration a server names: it is connected to again"""


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
class VideoInfo:
    """What is known of a video once its first frame is decoded: all that an encoder needs to make one like it."""

    width: int
    """pixels of the frames as they come out, upright"""
    height: int
    time_base: Fraction
    """seconds; the unit of every frame's pts"""
    rate: Fraction | None
    """frames a second, on average; None where the file does not say"""
    frames: int | None = None
    """an estimate of how many frames will come"""
    pixel_aspect: Fraction = Fraction(1)
    """width / height of one pixel as it is to be shown"""
    layout: Layout = Layout.I420
    """of every frame's picture"""
    color: Color = field(default_factory=Color)
    """how to read Y, U and V; guessed by size where the stream does not say"""
    matrix: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 4: 0 for RGB"""
    primaries: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 2"""
    transfer: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 3"""
    duration: float | None = None
    """seconds, as the container says"""
    audio: Path | None = None
    """the file whose audio may be copied through; None if there is none"""
    notes: tuple[str, ...] = ()
    """one-line remarks for the user"""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"width and height must be 1 or more, got {self.width}x{self.height}")
        if self.time_base <= 0 or self.pixel_aspect <= 0:
            raise ValueError(f"time_base and pixel_aspect must be positive, got {self.time_base}, {self.pixel_aspect}")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate must be positive or None, got {self.rate}")


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
    def errors(self) -> int:
        """How often the decoder failed or had to guess, so far."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What went wrong while reading, so far, one line each; empty if nothing did."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def stop(self) -> None:
        """Ends the stream, from any thread: a reader that waits for a frame leaves soon, and no further frame comes."""
        ...

    def close(self) -> None:
        """Ends the stream; may be called twice. Not while another thread is inside the iterator."""
        ...


def parse_rate(text: str) -> Fraction:
    """Frames a second, as 25, 29.97 or 30000/1001. Raises ValueError, or ZeroDivisionError."""
    if not re.fullmatch(r"\d{1,9}(\.\d{0,9}|/\d{1,9})?", text):  # Fraction would compute 1e999999999, for hours
        raise ValueError(f"not frames a second: {text!r}")
    rate = Fraction(text)
    return rate.limit_denominator(100_000) or rate  # a container's time base has 31 bits


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def file_path(uri: str) -> Path | None:
    """The path that `uri` means: a plain path or file://; None for any other scheme.

    Raises UsageError for file://host/, and for a name that holds a NUL, which no file can have.
    """
    match = _SCHEME.match(uri)
    if match is None:
        return _named(uri)
    if match[1].lower() != "file":
        return None
    parts = split(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{uri}: a file:// address names no host; write file:///{parts.netloc}{parts.path}")
    # A '#' or '?' cannot be told from a fragment or a query here, and files are called both.
    rest = uri[match.end() :]
    return _named(unquote(rest[len(parts.netloc) :]))


def _named(path: str) -> Path:
    if "\0" in path:  # of the calls of the system some say so, and some that there is no such file
        raise UsageError(f"{path!r}: no file can have a NUL in its name")
    return Path(path)


def first_rate(*rates: Fraction | None) -> Fraction | None:
    """The first that can be frames a second; None where none can."""
    return next((rate for rate in rates if rate is not None and 0 < rate < CLOCK_RATE), None)


def open_source(
    uri: str,
    options: SourceOptions | None = None,
    *,
    stream: str = "",
    given_up: Callable[[], bool] = lambda: False,
) -> Source:
    """Opens the input and waits for its first frame. stream: what it is called in the log, where there are several.
    given_up: asked between two attempts to connect: whether there is to be none after it.

    `uri`: a path or file://, rtsp(s)://, http(s)://, udp://, srt://, rtmp://, /dev/videoN or v4l2:///dev/videoN,
    csi://N, gst://PIPELINE, test://?size=1280x720&rate=30&frames=300.

    Raises UsageError for what is no input, SourceError for what cannot be read or does not answer.
    """
    options = options or SourceOptions()
    if not uri:
        raise UsageError(f"the input is empty; {ACCEPTED}")
    if uri == "-":
        raise UsageError(f"{uri}: standard input is not an input of this version; {ACCEPTED}")
    path = file_path(uri)
    if uri.startswith("/dev/video"):
        return _open_live(f"v4l2://{uri}", uri, options, stream, given_up)
    if path is not None:
        return _open_file(path, redact(uri), options)
    scheme = uri.split("://")[0].lower()
    if scheme == "test":
        from .pattern import open_pattern

        return open_pattern(uri, options.realtime)
    if scheme in NETWORK or scheme in ("v4l2", "csi", "gst"):
        return _open_live(uri, redact(uri), options, stream, given_up)
    raise UsageError(f"{redact(uri)}: {scheme}:// is not an input of this version; {ACCEPTED}")


def _open_file(path: Path, name: str, options: SourceOptions) -> Source:
    def once() -> Source:
        if options.backend == "gst":
            from .gst_file import open_file

            return open_file(path, name, options)
        from .av_source import AvSource

        return AvSource(path, name, options.max_size)

    if not (options.realtime or options.loop):
        return once()
    from .replay import Replay

    return Replay(once, options.realtime, options.loop)


def _open_live(uri: str, name: str, options: SourceOptions, stream: str, given_up: Callable[[], bool]) -> Source:
    from .live import LiveSource
    from .patience import Patience

    scheme = uri.split("://")[0].lower()
    if scheme in PORTS:
        check_server(uri, name)
    web = scheme in ("http", "https")
    # Servers of HLS hand out seconds at once, and nothing between.
    segments = web and split(uri).path.lower().endswith(".m3u8")
    stall = options.stall or (10.0 if segments else 2.0)
    if scheme in ("csi", "gst") and options.backend == "av":
        raise UsageError(f"{name}: {scheme}:// needs GStreamer: leave out the backend, or say gst")
    # FFmpeg in PyAV's wheels has no SRT.
    if scheme in ("csi", "gst") or options.backend == "gst" or (scheme == "srt" and options.backend == "auto"):
        from .gst_feed import connector
    else:
        from .av_feed import connector
    patience = Patience(stall, options.first_timeout, options.wait, options.retries)
    return LiveSource(connector(uri, options, stall), name, patience, stream=stream, given_up=given_up)

"""Where frames come from: what a source promises, and which source a URI means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from ..engine.errors import UsageError
from ..engine.picture import Color, Layout
from ..engine.types import Frame

UNSPECIFIED = 2
"""what ITU-T H.273 calls a matrix, primaries or transfer that the stream does not name"""

ACCEPTED = "give the path of a video file, or file:///its/path"


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

    Frames have an index without gaps from 0, strictly increasing pts, one size and one layout, and planes that belong
    to the receiver. Iterating raises SourceError only where nothing more can come and that is not the stream's end.
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

    def close(self) -> None:
        """Ends the stream; may be called twice. Not while another thread is inside the iterator."""
        ...


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOGIN = re.compile(r"(://[^/?#@:\s]*):([^/?#\s]*)@")
# A password with an unescaped slash ends the authority early. Anything after "user:" that is no port number hides up to
# the last @: rather too much than a password in a log.
_LOOSE_LOGIN = re.compile(r"(://[^/?#@:\s]+):(?!\d+(?:[/?#\s]|$))(?!\*\*\*@)(\S*)@")
_SECRET = re.compile(r"\b([\w-]*(?:pass|passwd|password|pwd|pw|token|secret|key))=([^&#\s]+)", re.IGNORECASE)


def redact(uri: str) -> str:
    """The URI with every password and token in it replaced by ***. Plain paths come back as they are."""
    if "://" not in uri and "=" not in uri:
        return uri
    hidden = _LOOSE_LOGIN.sub(r"\1:***@", _LOGIN.sub(r"\1:***@", uri))
    return _SECRET.sub(r"\1=***", hidden) if _SCHEME.search(hidden) else hidden


def file_path(uri: str) -> Path | None:
    """The path that `uri` means: a plain path or file://; None for any other scheme. UsageError for file://host/."""
    match = _SCHEME.match(uri)
    if match is None:
        return Path(uri)
    if match[1].lower() != "file":
        return None
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{uri}: a file:// address names no host; write file:///{parts.netloc}{parts.path}")
    # A '#' or '?' cannot be told from a fragment or a query here, and files are called both.
    rest = uri[match.end() :]
    return Path(unquote(rest[len(parts.netloc) :]))


def open_source(uri: str) -> Source:
    """Opens the video and decodes its first frame. `uri`: a path, or file://.

    Raises UsageError for a scheme this version does not know, SourceError for a file that cannot be read.
    """
    if not uri:
        raise UsageError(f"the input is empty; {ACCEPTED}")
    path = file_path(uri)
    if path is None:
        scheme = uri.split("://")[0]
        raise UsageError(f"{redact(uri)}: {scheme}:// is not an input of this version; {ACCEPTED}")
    if uri == "-" or uri.startswith("/dev/video"):
        what = "standard input" if uri == "-" else "a camera"
        raise UsageError(f"{uri}: {what} is not an input of this version; {ACCEPTED}")
    from .av_source import AvSource

    return AvSource(path, redact(uri))

"""What is known about a video: size, rate, colours."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ...engine.picture import HOST, Color, Layout

UNSPECIFIED = 2
"""The number in ITU-T H.273 for a matrix, primaries or transfer that the stream does not name."""
FALLBACK_RATE = Fraction(25)
"""Frames a second that missing timestamps are made from if a stream does not tell its rate."""
CLOCK_RATE = 1000
"""Minimum frames a second that are not believed: FFmpeg reports the ticks of the clock as the rate of a stream that
does not tell its rate."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video once its first frame is decoded: all that an encoder needs to make a similar one."""

    width: int
    """pixels, of the frames as the source gives them: upright"""
    height: int
    time_base: Fraction
    """seconds; the unit of every frame's pts"""
    rate: Fraction | None
    """frames a second, on average; None if the file does not tell"""
    expected_frames: int | None = None
    """estimated number of frames in the video; None if unknown"""
    pixel_aspect: Fraction = Fraction(1)
    """width / height of one pixel as it is to be shown"""
    layout: Layout = Layout.I420
    """of every frame's picture"""
    color: Color = field(default_factory=Color)
    """what Y, U and V mean; guessed from the size if the stream does not tell"""
    matrix: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 4; 0 for RGB"""
    primaries: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 2"""
    transfer: int = UNSPECIFIED
    """as coded in the stream, ITU-T H.273 table 3"""
    duration: float | None = None
    """seconds, as the container tells"""
    audio: Path | None = None
    """the file whose audio may be copied through; None if there is none"""
    decoder: str = ""
    """what decodes it and where its pictures lie then, for people; empty if that is the CPU and nothing else was
    possible"""
    where: str = HOST
    """the place of the frames, as `Image.where`"""
    stored: str = ""
    """how their samples lie there, as `Image.stored`; empty: as in the layout"""
    notes: tuple[str, ...] = ()
    """one-line remarks for the user"""

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"width and height must be 1 or more, got {self.width}x{self.height}")
        if self.time_base <= 0 or self.pixel_aspect <= 0:
            raise ValueError(f"time_base and pixel_aspect must be positive, got {self.time_base}, {self.pixel_aspect}")
        if self.rate is not None and self.rate <= 0:
            raise ValueError(f"rate must be positive or None, got {self.rate}")


def parse_rate(text: str) -> Fraction:
    """Frames a second, as 25, 29.97 or 30000/1001. Raises ValueError, or ZeroDivisionError."""
    if not re.fullmatch(r"\d{1,9}(\.\d{0,9}|/\d{1,9})?", text):  # Fraction would compute 1e999999999 for hours
        raise ValueError(f"not frames a second: {text!r}")
    rate = Fraction(text)
    return rate.limit_denominator(100_000) or rate  # the numbers of a container's time base have 31 bits


def first_rate(*rates: Fraction | None) -> Fraction | None:
    """The first of the given rates that is plausible as frames a second; None if none is."""
    return next((rate for rate in rates if rate is not None and 0 < rate < CLOCK_RATE), None)

"""What is known of a video before its frames are looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from ...engine.picture import Color, Layout

UNSPECIFIED = 2
"""what ITU-T H.273 calls a matrix, primaries or transfer that the stream does not name"""
FALLBACK_RATE = Fraction(25)
"""frames a second, to make missing timestamps where a stream does not even name its rate"""
CLOCK_RATE = 1000
"""as many a second are ticks of a clock, which is what FFmpeg calls the rate of a stream that names none"""


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


def parse_rate(text: str) -> Fraction:
    """Frames a second, as 25, 29.97 or 30000/1001. Raises ValueError, or ZeroDivisionError."""
    if not re.fullmatch(r"\d{1,9}(\.\d{0,9}|/\d{1,9})?", text):  # Fraction would compute 1e999999999, for hours
        raise ValueError(f"not frames a second: {text!r}")
    rate = Fraction(text)
    return rate.limit_denominator(100_000) or rate  # a container's time base has 31 bits


def first_rate(*rates: Fraction | None) -> Fraction | None:
    """The first that can be frames a second; None where none can."""
    return next((rate for rate in rates if rate is not None and 0 < rate < CLOCK_RATE), None)

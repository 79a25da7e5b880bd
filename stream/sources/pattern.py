"""A moving test pattern that says which frame it is: to measure loss, latency and alignment in the picture itself."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from ...engine.errors import UsageError
from ...engine.picture import U8, Color, Layout, Picture
from ...engine.types import Frame
from ..media.info import VideoInfo, parse_rate
from ..net.address import Address
from .base import SourceHealth, SourceOptions

BITS = 32
CHECK = 8
CELLS = BITS + CHECK
"""Number of cells across the picture. There are two lines of them: the frame's number, and below it the time."""
DARK, BRIGHT = 50, 170
"""Luma of a cell's two halves; darker than the mark, so that the mark is always the brightest thing in the picture."""
MARK = 235
WIDEST = 8
"""Maximum of width / height: in wider pictures there is no room for the mark below the barcode."""
SMALLEST = (160, 96)
"""Minimum width and height in pixels: in smaller pictures a cell does not survive an encoder."""
LARGEST = (8192, 8192)
"""Maximum width and height in pixels: encoders of H.264 and H.265 accept no more."""
RATES = (Fraction(1, 100), Fraction(1000))
"""Minimum and maximum frames a second."""
MOST_FRAMES = 10**9
_MASK = (1 << BITS) - 1


def draw(number: int, milliseconds: int, size: tuple[int, int]) -> Picture:
    """Frame `number` of the pattern, I420, BT.601 limited range. size: width, height. Pure.

    Each bit of the barcode is a cell whose upper half is brighter than its lower half for 1, and darker for 0. So it
    can still be read if an overlay or a bad encoder tints or dims the picture as a whole.
    """
    wide, chroma = _background(size)
    width = size[0]
    shift = 2 * (number % width)
    luma = wide[:, shift // 2 % width :][:, :width].copy()
    lines, mask = lines_of(width), _disc(size)
    for line, word in enumerate((number, milliseconds)):
        bits = np.array(bits_of(word), np.uint8)
        upper = np.where(bits, BRIGHT, DARK).astype(np.uint8)[_columns(width)]
        top, middle, end = lines[2 * line : 2 * line + 3]
        luma[top:middle] = upper
        luma[middle:end] = DARK + BRIGHT - upper
    x, y = mark_at(number, size)
    left, top = round(x) - mask.shape[1] // 2, round(y) - mask.shape[0] // 2
    luma[top : top + mask.shape[0], left : left + mask.shape[1]][mask] = MARK
    return Picture(Layout.I420, (luma, chroma[0].copy(), chroma[1].copy()), Color("bt601"))


def mark_at(number: int, size: tuple[int, int]) -> tuple[float, float]:
    """Where the centre of the bright mark is in frame `number`: x, y in pixels. It never touches the barcode."""
    width, height = size
    top = lines_of(width)[-1]
    room = height - top
    x = width * (0.5 + 0.38 * math.sin(2 * math.pi * number / 149))
    y = top + room * (0.5 + 0.36 * math.sin(2 * math.pi * number / 97))
    return x, y


def now_ms() -> int:
    """Milliseconds of the wall clock, modulo 2**32, as they are drawn into patterns in real time."""
    return time.time_ns() // 1_000_000 & _MASK


@dataclass(frozen=True)
class PatternSpec:
    """The parameters of a test:// address."""

    size: tuple[int, int] = (640, 480)
    rate: Fraction = Fraction(30)
    frames: int | None = None
    realtime: bool = False

    @classmethod
    def parse(cls, address: Address) -> PatternSpec:
        """test://?size=1280x720&rate=30&frames=300&realtime=1, all optional. Raises UsageError.

        Without `frames` it never ends, and is in real time unless realtime=0 says otherwise.
        """
        try:
            values = {name: _value(name, text) for name, text in address.parameters}
            values.setdefault("realtime", "frames" not in values)
            return cls(**values)
        except ValueError as error:
            raise UsageError(f"{address}: {error}; an example: test://?size=1280x720&rate=30&frames=300") from None

    def __post_init__(self) -> None:
        if any(not low <= side <= high for low, side, high in zip(SMALLEST, self.size, LARGEST, strict=True)):
            raise ValueError("size must be {}x{} to {}x{}, got {}x{}".format(*SMALLEST, *LARGEST, *self.size))
        if self.size[0] > WIDEST * self.size[1]:
            raise ValueError("size must be at most {} times as wide as high, got {}x{}".format(WIDEST, *self.size))
        if not RATES[0] <= self.rate <= RATES[1]:
            raise ValueError("rate must be {:g} to {:g}, got {:g}".format(*map(float, (*RATES, self.rate))))
        if self.frames is not None and not 1 <= self.frames <= MOST_FRAMES:
            raise ValueError(f"frames must be 1 to {MOST_FRAMES}, got {self.frames}")


class PatternSource:
    """The source for test://. The number drawn is the frame's index. The time drawn is the wall clock in real time, and
    otherwise the frame's own time."""

    remarks: tuple[str, ...] = ()

    def __init__(
        self,
        spec: PatternSpec,
        name: str = "test://",
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """clock, wait: see LiveSource."""
        self.name, self.live = name, spec.realtime
        self._spec, self._clock = spec, clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        duration = float(spec.frames / spec.rate) if spec.frames else None
        width, height = spec.size
        self.info = VideoInfo(
            width, height, 1 / spec.rate, spec.rate, spec.frames, color=Color("bt601"), matrix=6, duration=duration
        )
        self._frames = self._read()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def health(self) -> SourceHealth:
        return SourceHealth()

    def stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._stop.set()

    def _read(self) -> Iterator[Frame]:
        index, start = 0, self._clock()
        while index != self._spec.frames:
            time_of = float(index * self.info.time_base)
            ahead = start + time_of - self._clock()
            if self.live and ahead > 0:
                self._wait(ahead)
            if self._stop.is_set():
                return
            stamp = now_ms() if self.live else round(time_of * 1000) & _MASK
            yield Frame(index, index, self.info.time_base, draw(index, stamp, self._spec.size))
            index += 1


def open_pattern(address: Address, options: SourceOptions) -> PatternSource:
    """Opens a test:// address. Raises UsageError for parameters that test:// does not have."""
    spec = PatternSpec.parse(address)
    if options.realtime and not spec.realtime:
        spec = PatternSpec(spec.size, spec.rate, spec.frames, True)
    return PatternSource(spec, address.shown)


def _value(name: str, text: str) -> Any:
    """The value of one parameter. Raises ValueError."""
    if name not in _READERS:
        raise ValueError(f"{name!r} is not one of {', '.join(_READERS)}")
    read, accepted = _READERS[name]
    try:
        return read(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{name} must be {accepted}, got {text!r}") from None


def _size(text: str) -> tuple[int, int]:
    width, height = text.lower().split("x")
    return int(width), int(height)


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "size": (_size, "WxH in pixels"),
    "rate": (parse_rate, "frames a second, as 25 or 30000/1001"),
    "frames": (int, "a whole number"),
    "realtime": (lambda text: bool(("0", "1").index(text)), "0 or 1"),
}
"""Parameter of test:// -> the function that reads it, and the values it may have, in words."""


def lines_of(width: int) -> list[int]:
    """Rows at which the four half-lines of cells begin, and the row at which the last one ends. A cell is a square, in
    two halves."""
    return [round(i * max(4.0, width / CELLS / 2)) for i in range(5)]


def bits_of(word: int) -> list[int]:
    """The cells of a line: the number's 32 bits, the highest first, and 8 of a checksum."""
    word &= _MASK
    # Fletcher's two checksums over nibbles: a flipped bit or two swapped ones change them.
    one = two = 0
    for place in range(0, BITS, 4):
        one = (one + (word >> place & 15) + 1) % 15
        two = (two + one) % 15
    whole = word << CHECK | one << 4 | two
    return [whole >> place & 1 for place in reversed(range(CELLS))]


@lru_cache(8)
def _columns(width: int) -> Any:
    return np.arange(width) * CELLS // width


@lru_cache(8)
def _disc(size: tuple[int, int]) -> Any:
    radius = max(4, min(size) // 14)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


@lru_cache(8)
def _background(size: tuple[int, int]) -> tuple[U8, tuple[U8, U8]]:
    """A luma plane twice as wide as the picture, of which each frame cuts out its part, and both chroma planes."""
    width, height = size
    x, y = np.arange(2 * width), np.arange(height)[:, None]
    luma = 60 + 25 * np.sin(2 * np.pi * 4 * x / width) + 15 * np.cos(2 * np.pi * 3 * y / height)
    half = Layout.I420.shapes(size)[1]
    ramp = np.linspace(96, 160, half[1])[None, :].repeat(half[0], 0)
    return luma.astype(np.uint8), (ramp.astype(np.uint8), ramp[:, ::-1].astype(np.uint8))

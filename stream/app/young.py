"""How long a window may be so that tubes are young enough to be drawn live. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...engine.manifest import Manifest, WindowSpec

SPARE = 1.5
"""times as long as measured that the model may take: decoder, encoder and other programs want the processor as well"""


def worst_age(window: WindowSpec, frames: int, stride: int, rate: float, seconds: float) -> float:
    """Seconds that live evidence is old at the worst: just before the next window's takes its place.

    It lies at the newest slice that can be trusted, some frames before the window's end. The window waits for the model
    for a frame at most, is explained, and its evidence is drawn until the next window has been explained as well.
    frames: T. rate: frames a second. seconds: that the model takes for a window of this stream, the turns of others
    included.
    """
    slices, end = len(window.slice_weights), window.trusted[1]
    behind = (frames - 0.5 - (end - 0.5) * frames / slices) * stride  # as `Span.slice_center`
    return (behind + 1) / rate + 2 * seconds


@dataclass(frozen=True)
class Fit:
    """The length of a window that was chosen."""

    frames: int
    """T"""
    age: float
    """seconds that its tubes are old at the worst"""
    max_age: float
    longer: tuple[int, float] | None = None
    """the next longer window and its tubes' age, where that is too old"""

    @property
    def in_words(self) -> str:
        """ "a tube is 1.3 s old at the worst; 64 frames would make it 2.6 s, older than max-age 2 s" """
        limit = f"older than max-age {self.max_age:g} s"
        age = _rounded(self.age, self.max_age)
        if self.age > self.max_age:
            return f"a tube may be {age} s old, {limit}: the model is too slow here, and tubes will fade"
        if self.longer is None:
            return f"a tube is {age} s old at the worst"
        frames, older = self.longer
        would = _rounded(older, self.max_age)
        return f"a tube is {age} s old at the worst; {frames} frames would make it {would} s, {limit}"


def fit(manifest: Manifest, stride: int, rate: float, max_age: float, seconds: Mapping[int, float]) -> Fit:
    """The longest window whose tubes stay within `max_age`, SPARE included; the shortest where none does.

    seconds: that a window of this stream takes, by T, measured; those of other windows are taken to be in proportion.
    """
    ages = {
        frames: worst_age(window, frames, stride, rate, SPARE * _estimate(seconds, frames))
        for frames, window in sorted(manifest.windows.items())
    }
    young = [frames for frames, age in ages.items() if age <= max_age]
    chosen = max(young, default=min(ages))
    longer = next(((frames, age) for frames, age in ages.items() if frames > chosen), None)
    return Fit(chosen, ages[chosen], max_age, longer)


def _estimate(seconds: Mapping[int, float], frames: int) -> float:
    nearest = min(seconds, key=lambda measured: abs(measured - frames))
    return seconds[nearest] * frames / nearest


def _rounded(age: float, max_age: float) -> str:
    """To a tenth of a second; finer where that would hide on which side of `max_age` it is."""
    return f"{age:.1f}" if abs(age - max_age) > 0.05 else f"{age:.2f}"

"""Chooses the longest window whose tubes are young enough to be drawn live. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...engine.manifest import Manifest, WindowSpec

SPARE, MOST_SPARE = 1.5, 5.0
"""Minimum and maximum of `spare_for`."""
PICTURE = 0.5
"""Cores that a live stream takes beside the model: 720p30 that is decoded, drawn on and encoded by the processor takes
18 ms of its time for each frame."""


def spare_for(streams: int, cores: float) -> float:
    """Factor on the time of the model, which is measured before the streams are open: decoders, encoders and other
    programs use the same cores, and go first. streams: number of streams beside the model. cores: that all may use."""
    free = 1 - PICTURE * streams / cores
    return min(MOST_SPARE, max(SPARE, 1 / free)) if free > 0 else MOST_SPARE


def worst_age(window: WindowSpec, clip_length: int, stride: int, rate: float, seconds: float) -> float:
    """Maximum age of live evidence in seconds: just before the evidence of the next window replaces it.

    Evidence is taken from the newest slice that can be trusted, some frames before the window's end. The window waits
    for the model for one frame at most, is explained, and its evidence is drawn until the next window has been
    explained. frames: T. rate: frames a second. seconds: time of the model for a window of this stream, with the turns
    of others.
    """
    slices, end = len(window.slice_weights), window.trusted[1]
    behind = (clip_length - 0.5 - (end - 0.5) * clip_length / slices) * stride  # as `Span.slice_center`
    return (behind + 1) / rate + 2 * seconds


@dataclass(frozen=True)
class Fit:
    """The chosen length of windows."""

    clip_length: int
    """T"""
    age: float
    """maximum age of its tubes in seconds"""
    max_age: float
    longer: tuple[int, float] | None = None
    """the next longer window and the age of its tubes, which is too high; None if there is no longer window"""

    @property
    def in_words(self) -> str:
        """Such as "a tube is 1.3 s old at the worst; 64 frames would make it 2.6 s, older than max-age 2 s"."""
        limit = f"older than max-age {self.max_age:g} s"
        age = _rounded(self.age, self.max_age)
        if self.age > self.max_age:
            return f"a tube may be {age} s old, {limit}: the model is too slow here, and tubes will fade"
        if self.longer is None:
            return f"a tube is {age} s old at the worst"
        clip_length, older = self.longer
        would = _rounded(older, self.max_age)
        return f"a tube is {age} s old at the worst; {clip_length} frames would make it {would} s, {limit}"


def fit(
    manifest: Manifest,
    stride: int,
    rate: float,
    max_age: float,
    seconds: Mapping[int, float],
    spare: float = SPARE,
) -> Fit:
    """The longest window whose tubes are never older than `max_age`; if there is none, the shortest window.

    seconds: T -> measured time of a window of this stream; the time of other windows is estimated in proportion. spare:
    factor on it (`spare_for`).
    """
    ages = {
        clip_length: worst_age(window, clip_length, stride, rate, spare * _estimate(seconds, clip_length))
        for clip_length, window in sorted(manifest.windows.items())
    }
    young = [clip_length for clip_length, age in ages.items() if age <= max_age]
    chosen = max(young, default=min(ages))
    longer = next(((clip_length, age) for clip_length, age in ages.items() if clip_length > chosen), None)
    return Fit(chosen, ages[chosen], max_age, longer)


def _estimate(seconds: Mapping[int, float], clip_length: int) -> float:
    nearest = min(seconds, key=lambda measured: abs(measured - clip_length))
    return seconds[nearest] * clip_length / nearest


def _rounded(age: float, max_age: float) -> str:
    """The age rounded to a tenth of a second, or finer if that would hide on which side of `max_age` it is."""
    return f"{age:.1f}" if abs(age - max_age) > 0.05 else f"{age:.2f}"

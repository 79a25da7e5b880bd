"""Resizing as weights: how much of each sample of a plane goes into each pixel of the model's input, along one axis.

The rules are those of `picture.Picture.rgb`: a plane that shrinks along both axes is averaged over areas; otherwise
values are interpolated linearly between the centres of samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .picture import F32, F64


@dataclass(frozen=True, eq=False)
class Filter:
    """The weights along one axis."""

    first: npt.NDArray[np.int32]
    """[n]: the first sample that counts for each pixel; -1 where the pixel lies in a black bar"""
    weights: F32
    """[n, taps]: the weights of the samples from `first` on; those of one pixel add up to 1"""


def filter_axis(source: int, scaled: int, offset: int, pixels: int, shrinks: bool) -> Filter:
    """The weights for pixels [offset, offset + pixels) of an axis of `source` samples that is resized to `scaled`.

    Pixels outside 0..scaled are black bars. shrinks: whether the plane shrinks along both axes, which chooses the rule.
    """
    index = np.arange(offset, offset + pixels)
    inside = (index >= 0) & (index < scaled)
    start, band = (_areas if shrinks else _between)(source, scaled, index[inside])
    lead = (band != 0).argmax(axis=1)
    first = np.full(pixels, -1, np.int32)
    first[inside] = start + lead
    taps = max(1, int((band != 0).sum(axis=1).max(initial=1)))
    columns = lead[:, None] + np.arange(taps)
    weights = np.zeros((pixels, taps), np.float32)
    last = band.shape[1] - 1
    weights[inside] = np.where(columns <= last, np.take_along_axis(band, np.minimum(columns, last), axis=1), 0)
    return Filter(first, weights)


_Band = tuple[npt.NDArray[np.int_], F64]
"""[n]: a sample for each pixel, and [n, samples]: the weights of the samples from there on; all others weigh nothing"""


def _areas(source: int, scaled: int, index: npt.NDArray[np.int_]) -> _Band:
    """The part of each pixel's area that each sample fills."""
    step = source / scaled
    low, high = index * step, (index + 1) * step
    start = np.floor(low).astype(int)
    samples = start[:, None] + np.arange(int(step) + 3)
    covered = np.maximum(0, np.minimum(high[:, None], samples + 1) - np.maximum(low[:, None], samples))
    covered[covered < 1e-9] = 0  # left by rounding
    return start, np.asarray(covered / covered.sum(axis=1, keepdims=True))


def _between(source: int, scaled: int, index: npt.NDArray[np.int_]) -> _Band:
    """Linear interpolation between the centres of samples."""
    position = np.clip((index + 0.5) * source / scaled - 0.5, 0, source - 1)
    start = np.floor(position).astype(int)
    samples = start[:, None] + np.arange(2)
    return start, np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - samples)))

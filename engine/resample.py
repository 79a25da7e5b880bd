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
    dense = np.zeros((pixels, source))
    index = np.arange(offset, offset + pixels)
    inside = (index >= 0) & (index < scaled)
    dense[inside] = (_areas if shrinks else _between)(source, scaled, index[inside])
    first = np.where(inside, (dense != 0).argmax(axis=1), -1).astype(np.int32)
    taps = max(1, int((dense != 0).sum(axis=1).max(initial=1)))
    columns = np.maximum(first, 0)[:, None] + np.arange(taps)
    weights = np.where(columns < source, np.take_along_axis(dense, np.minimum(columns, source - 1), axis=1), 0)
    return Filter(first, weights.astype(np.float32))


def _areas(source: int, scaled: int, index: npt.NDArray[np.int_]) -> F64:
    """[n, source]: the part of each pixel's area that each sample fills."""
    step = source / scaled
    low, high = index[:, None] * step, (index[:, None] + 1) * step
    samples = np.arange(source)
    covered = np.maximum(0, np.minimum(high, samples + 1) - np.maximum(low, samples))
    covered[covered < 1e-9] = 0  # left by rounding
    return np.asarray(covered / covered.sum(axis=1, keepdims=True))


def _between(source: int, scaled: int, index: npt.NDArray[np.int_]) -> F64:
    """[n, source]: linear interpolation between the centres of samples."""
    position = np.clip((index + 0.5) * source / scaled - 0.5, 0, source - 1)
    return np.asarray(np.maximum(0, 1 - np.abs(position[:, None] - np.arange(source))))

"""Planes resized and converted in one step: the part of a picture that the network sees, as RGB; and for fit.py.

By the compiled kernels/sample.h; without the compiled module by OpenCV, which converts the whole picture and is slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .picture import F32, U8, Color, Layout, Picture
from .resample import filter_axis

try:
    from . import _overlay as _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]

Box = tuple[int, int, int, int]
"""left, top, width, height"""
_Axis = tuple[npt.NDArray[np.int32], F32]


def resize(picture: Picture, size: tuple[int, int], box: Box) -> U8:
    """The part `box` of the picture resized to `size` = (width, height): RGB [h, w, 3] uint8, in memory of its own.

    In memory the channels lie one after the other, as a network takes them. Every compiled path gives the same bytes.
    `picture.rgb(size)`, which the path by OpenCV uses, rounds after resizing and again after the colour conversion, and
    differs by up to 3 levels.
    """
    left, top, width, height = box
    if _compiled is None:
        part = picture.rgb(size)[top : top + height, left : left + width]
        return np.ascontiguousarray(part.transpose(2, 0, 1)).transpose(1, 2, 0)
    out = resampled(picture.planes, size, box, _matrix(picture.layout, picture.color))
    return np.asarray(out.transpose(1, 2, 0), np.uint8)


def has_compiled() -> bool:
    """Whether `resampled` works here."""
    return _compiled is not None


def resampled(planes: Sequence[U8], size: tuple[int, int], box: Box, matrix: F32) -> U8:
    """The part `box` of planes that are resized to `size` = (width, height): [n, h, w] uint8, in memory of its own.

    planes: [H, W] or [H, W, channels] uint8, of up to three channels together, which count as a, b and c. matrix:
    [n, 4] float32: what is made of (a, b, c, 1), to the nearest and limited to 0..255. Needs the compiled module.
    """
    assert _compiled is not None
    left, top, width, height = box
    out = np.empty((len(matrix), height, width), np.uint8)
    sources = []
    for plane in planes:
        samples = plane.shape[:2]
        shrinks = size[0] <= samples[1] and size[1] <= samples[0]
        rows = _axis(samples[0], size[1], top, height, shrinks)
        sources.append((plane, *rows, *_axis(samples[1], size[0], left, width, shrinks)))
    _compiled.sample(0, tuple(sources), matrix, out)
    return out


@lru_cache(maxsize=64)
def _axis(samples: int, scaled: int, first: int, count: int, shrinks: bool) -> _Axis:
    """A filter of which all taps lie within the axis: for the last pixels it starts earlier, with weights of 0."""
    made = filter_axis(samples, scaled, first, count, shrinks)
    taps = made.weights.shape[1]
    start = np.minimum(made.first, samples - taps)
    place = np.arange(taps) - (made.first - start)[:, None]
    moved = np.where(place >= 0, np.take_along_axis(made.weights, np.maximum(place, 0), axis=1), 0)
    return start, np.ascontiguousarray(moved, np.float32)


@lru_cache(maxsize=16)
def _matrix(layout: Layout, color: Color) -> F32:
    exact = np.eye(3, 4) if layout is Layout.RGB else color.yuv_to_rgb()
    return np.ascontiguousarray(exact, np.float32)

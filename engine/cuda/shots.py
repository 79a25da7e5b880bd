"""The records that kernels/preprocess.cu and kernels/gather.cu read: a frame and the weights along each axis of its
planes; and the samples of clips. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..draw.fixed import Record
from ..manifest import InputSpec
from ..picture import F32
from ..preprocess import Placement
from ..resample import Filter, filter_axis
from .jobs import PLANES, Format, Surface
from .memory import View

MOST_SAMPLES = 256
"""Maximum number of samples of one launch of kernels/gather.cu."""
STEP_PIXELS = 4 * 4 * 256
"""Number of pixels that one of its blocks takes."""

FILTER = np.dtype([("first", "u8"), ("weights", "u8"), ("taps", "i4"), ("unused", "i4")])
SOURCE = np.dtype(
    [("data", "u8"), ("pitch", "i8"), ("across", FILTER), ("down", FILTER), ("step", "i4"), ("unused", "i4")]
)
SHOT = np.dtype(
    [
        ("planes", SOURCE, 3),
        ("out", "u8"),
        *((name, "i4") for name in ("width", "height", "plane_count", "sample_bytes")),
        ("matrix", "f4", (3, 4)),
    ]
)
"""The structs Filter and PlaneSource of kernels/resample.h, and Shot of kernels/preprocess.cu."""
GATHERED = np.dtype(
    [("samples", "u8", MOST_SAMPLES), ("out", "u8"), ("table", "u8")]
    + [(name, "i4") for name in ("first", "clip_length", "pixels", "half")]
)
"""The struct Gathered of kernels/gather.cu."""

filter_of = lru_cache(maxsize=64)(filter_axis)
"""`filter_axis`, cached."""


def check_sample(surface: Surface, out: View, spec: InputSpec, device: int) -> None:
    """Raises ValueError for memory that does not fit the spec, or that is on another GPU."""
    if out.shape != (3, *spec.size) or out.dtype != np.uint8 or not out.contiguous or out.read_only:
        raise ValueError(f"out must be writable uint8 {(3, *spec.size)} without gaps, got {out.dtype} {out.shape}")
    if any(other not in (None, device) for other in (out.device, *surface.devices)):
        raise ValueError(f"the surface and the sample must be on GPU {device}, got {surface.devices}, {out.device}")


def check_clips(out: View, count: int, spec: InputSpec, clip_length: int, device: int) -> None:
    """Raises ValueError for memory that does not hold `count` clips."""
    expected = (count, 3, clip_length, *spec.size)
    if out.shape != expected or out.dtype not in (np.dtype("f4"), np.dtype("f2")):
        raise ValueError(f"out must be float32 or float16 {expected}, got {out.dtype} {out.shape}")
    if not out.contiguous or out.read_only or out.device not in (None, device):
        raise ValueError(f"out must be writable, without gaps and on GPU {device}, got {out.strides}, {out.device}")


def filters_of(surface: Surface, placed: Placement, spec: InputSpec) -> list[tuple[tuple[Any, ...], Filter]]:
    """For the columns and rows of the first plane, then of the second, if there is one: a key and the weights."""
    made = []
    height, width = spec.size
    for form in PLANES[surface.format][:2]:
        rows, columns = surface.size_of(form)
        shrinks = placed.size[0] <= columns and placed.size[1] <= rows
        for key in (
            (columns, placed.size[0], placed.left, width, shrinks),
            (rows, placed.size[1], placed.top, height, shrinks),
        ):
            made.append((key, filter_of(*key)))
    return made


def numbers(spec: InputSpec) -> F32:
    """[3, 256]: the number that each byte of a channel becomes, as in preprocess.tensor."""
    values = np.arange(256) / 255
    return np.array([(values - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True)], np.float32)


def matrix_of(surface: Surface) -> F32:
    """[3, 4]: from the channels of a surface, in their order in memory, to RGB."""
    if surface.format in (Format.RGB, Format.RGBA):
        return np.eye(3, 4, dtype=np.float32)
    if surface.format in (Format.BGR, Format.BGRA):
        return np.ascontiguousarray(np.eye(3, 4, dtype=np.float32)[::-1])
    return surface.color.yuv_to_rgb().astype(np.float32)


def shot_of(surface: Surface, spec: InputSpec, filters: Sequence[tuple[int, int, int]]) -> Record:
    """The record for frames like this one; the addresses of planes and of the sample are 0.

    filters: for each of `filters_of` the addresses of its two arrays, and the number of taps.
    """
    shot: Record = np.zeros((), SHOT)
    for index, (form, place) in enumerate(zip(PLANES[surface.format], surface.places, strict=True)):
        across, down = filters[2 * min(index, 1) : 2 * min(index, 1) + 2]
        shot["planes"][index] = (0, place.pitch, (*across, 0), (*down, 0), form.channels, 0)
    shot["height"], shot["width"] = spec.size
    shot["plane_count"], shot["matrix"] = len(surface.places), matrix_of(surface)
    shot["sample_bytes"] = PLANES[surface.format][0].sample_bytes
    return shot

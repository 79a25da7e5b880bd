"""The records that kernels/preprocess.cu reads: a frame, the weights along each axis of its planes, and the slot of the
clip to fill. Pure."""

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

FILTER = np.dtype([("first", "u8"), ("weights", "u8"), ("taps", "i4"), ("unused", "i4")])
SOURCE = np.dtype(
    [("data", "u8"), ("pitch", "i8"), ("across", FILTER), ("down", FILTER), ("step", "i4"), ("unused", "i4")]
)
SHOT = np.dtype(
    [
        ("planes", SOURCE, 3),
        ("out", "u8"),
        ("channel_stride", "i8"),
        *((name, "i4") for name in ("width", "height", "half", "unused")),
        ("matrix", "f4", (3, 4)),
        ("table", "u8"),
    ]
)
"""The structs Filter, Source and Shot of kernels/preprocess.cu."""

_filter = lru_cache(maxsize=64)(filter_axis)


def check_shot(surface: Surface, clip: View, slot: int, spec: InputSpec, device: int) -> None:
    """Raises ValueError for a frame, a clip or a slot that do not fit the spec or each other."""
    if surface.format not in (Format.NV12, Format.I420):
        raise ValueError(f"the surface must be nv12 or i420, got {surface.format.value}")
    shape = clip.shape[1:] if len(clip.shape) == 5 and clip.shape[0] == 1 else clip.shape
    if len(shape) != 4 or (shape[0], *shape[2:]) != (3, *spec.size):
        raise ValueError(f"clip must be [3, T, {spec.size[0]}, {spec.size[1]}], got {clip.shape}")
    if clip.dtype not in (np.dtype("f4"), np.dtype("f2")) or not clip.contiguous or clip.read_only:
        raise ValueError(f"clip must be writable float32 or float16 without gaps, got {clip.dtype} {clip.strides}")
    if not 0 <= slot < shape[1]:
        raise ValueError(f"slot must be 0 to {shape[1] - 1}, got {slot}")
    if any(other not in (None, device) for other in (clip.device, *surface.devices)):
        raise ValueError(f"the surface and the clip must be on GPU {device}, got {surface.devices}, {clip.device}")


def filters_of(surface: Surface, placed: Placement, spec: InputSpec) -> list[tuple[tuple[Any, ...], Filter, int]]:
    """For the luma's columns and rows, then the chroma's: a key for the cache, the weights, and the number of taps."""
    made = []
    height, width = spec.size
    for form in PLANES[surface.format][:2]:
        rows, columns = surface.size_of(form)
        shrinks = placed.size[0] <= columns and placed.size[1] <= rows
        for key in (
            (columns, placed.size[0], placed.left, width, shrinks),
            (rows, placed.size[1], placed.top, height, shrinks),
        ):
            weights = _filter(*key)
            made.append((key, weights, weights.weights.shape[1]))
    return made


def numbers(spec: InputSpec) -> F32:
    """[3, 256]: the number that each byte of a channel becomes, as in preprocess.tensor."""
    values = np.arange(256) / 255
    return np.array([(values - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True)], np.float32)


def shot_of(
    surface: Surface, clip: View, slot: int, spec: InputSpec, filters: Sequence[tuple[int, int, int]], table: int
) -> Record:
    """The record for one frame. filters: for each of `filters_of` the addresses of its two arrays and the number of
    taps. table: the address of `numbers`."""
    shot: Record = np.zeros((), SHOT)
    places = [surface.places[0], surface.places[1], surface.places[-1]]
    for index, place in enumerate(places):
        interleaved = index > 0 and surface.format is Format.NV12
        across, down = filters[2 * min(index, 1) : 2 * min(index, 1) + 2]
        data = place.pointer + (index - 1 if interleaved else 0)
        shot["planes"][index] = (data, place.pitch, (*across, 0), (*down, 0), 1 + interleaved, 0)
    height, width = spec.size
    clip_length = clip.shape[-3]
    shot["out"] = clip.pointer + slot * height * width * clip.dtype.itemsize
    shot["channel_stride"], shot["width"], shot["height"] = clip_length * height * width, width, height
    shot["half"] = clip.dtype == np.float16
    shot["matrix"], shot["table"] = surface.color.yuv_to_rgb(), table
    return shot

"""Frames as a GPU's decoder leaves them, in memory of the host: for the CUDA kernels' tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from gpu_double.double import DeviceArray, Double
from saliency_tubes.engine.cuda.jobs import PLANES, Format, RawPlane, Surface
from saliency_tubes.engine.draw.overlay_ref import CHANNELS
from saliency_tubes.engine.draw.style import Style, palette
from saliency_tubes.engine.geometry import plane_weights
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.types import Crop

ORDER = {Format.RGB: (0, 1, 2), Format.BGR: (2, 1, 0), Format.RGBA: (0, 1, 2), Format.BGRA: (2, 1, 0)}


@dataclass
class GpuFrame:
    surface: Surface
    memory: list[DeviceArray]

    def restore(self, saved: list[np.ndarray]) -> None:
        for array, before in zip(self.memory, saved, strict=True):
            array.values[...] = before

    def close(self) -> None:
        for array in self.memory:
            array.close()


@dataclass
class HostFrame:
    surface: Surface
    planes: list[np.ndarray]
    """[rows, columns, channels], views of `memory`"""
    memory: list[np.ndarray]

    def on_gpu(self, double: Double) -> GpuFrame:
        """A copy in the memory of a GPU that is not there, with the same gaps."""
        arrays = [double.array(memory) for memory in self.memory]
        offsets = [
            place.pointer - memory.ctypes.data for place, memory in zip(self.surface.places, self.memory, strict=True)
        ]
        places = [
            RawPlane(array.pointer + offset, place.pitch)
            for array, offset, place in zip(arrays, offsets, self.surface.places, strict=True)
        ]
        surface = self.surface
        return GpuFrame(Surface(surface.format, places, surface.width, surface.height, surface.color), arrays)

    def restore(self, saved: list[np.ndarray]) -> None:
        for plane, before in zip(self.memory, saved, strict=True):
            plane[...] = before


def host_frame(
    format: Format, height: int, width: int, seed: int = 0, pad: int = 0, skew: int = 0, color: Color | None = None
) -> HostFrame:
    """Noise. pad: samples between rows; skew: samples before the first."""
    rng = np.random.default_rng(seed)
    planes, memory, raw = [], [], []
    for form in PLANES[format]:
        dtype = np.dtype(f"u{form.sample_bytes}")
        rows, columns = ((height + 1) // 2, (width + 1) // 2) if form.subsampled else (height, width)
        pitch = columns * form.channels + pad
        whole = rng.integers(0, np.iinfo(dtype).max, skew + rows * pitch + 64, dtype, endpoint=True)
        plane = whole[skew : skew + rows * pitch].reshape(rows, pitch)[:, : columns * form.channels]
        planes.append(plane.reshape(rows, columns, form.channels) if not pad else _split(plane, columns, form.channels))
        memory.append(whole)
        raw.append(RawPlane(plane.ctypes.data, pitch * dtype.itemsize))
    return HostFrame(Surface(format, raw, width, height, color or Color()), planes, memory)


def _split(plane: np.ndarray, columns: int, channels: int) -> np.ndarray:
    strides = (plane.strides[0], channels * plane.itemsize, plane.itemsize)
    return np.lib.stride_tricks.as_strided(plane, (len(plane), columns, channels), strides)


def drawn_ref(frame: HostFrame, cells: np.ndarray, crop: Crop, style: Style) -> list[np.ndarray]:
    """What overlay_ref would make of the frame, in float64, whatever its format."""
    surface = frame.surface
    layout, ten = surface.layout, surface.format is Format.P010
    table = palette(style, layout, surface.color)
    half = 0.5 if layout is not Layout.RGB or style.soft else 0.0
    add = (table.add - half) * 4 + half if ten else table.add
    if ten and style.add:
        add = np.floor(add)
    made = []
    for index, plane in enumerate(frame.planes):
        out = plane.copy()
        size = (surface.height, surface.width)
        (top, down), (left, across) = plane_weights(style.geometry, cells.shape, crop, size, layout, index)
        evidence = np.clip(np.nan_to_num(down @ cells @ across.T), 0, 1)
        level = np.floor(255 * evidence + table.level_bias).astype(int)
        part: Any = out[top : top + level.shape[0], left : left + level.shape[1]]
        columns = ORDER.get(surface.format, CHANNELS[layout][index])
        for channel, column in enumerate(columns):
            samples = part[..., channel] >> 6 if ten else part[..., channel]
            value = np.floor(table.keep[level] * samples + add[level, column])
            value = np.clip(value, 0, 1023 if ten else 255).astype(out.dtype)
            part[..., channel] = np.where(level < table.first, part[..., channel], value << 6 if ten else value)
        made.append(out)
    return made

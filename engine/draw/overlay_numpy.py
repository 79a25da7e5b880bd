"""The overlay by NumPy and OpenCV, for machines without the compiled one.

Two small matrices interpolate rows and columns; their product with the cells is the level of each sample. A table gives
`keep` and `offset` for each level, and `(sample * keep + offset) >> 8` is the new sample. Only the box of samples that
evidence can reach is touched.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..geometry import plane_weights
from ..picture import F64, U8, Layout, Picture
from ..types import Crop
from .fixed import Record
from .overlay_ref import CHANNELS

BLAS_ALONE = 1 << 17
"""Maximum number of multiplications in one matrix product. OpenBLAS hands larger products (from 2^18 on) to threads and
waits for all of them: if another thread has the core, that takes 10 ms for 0.3 ms of work."""

Table = npt.NDArray[np.uint16] | npt.NDArray[np.int32]


class NumPyOverlay:
    """Keeps memory between calls; not for several threads at once."""

    def __init__(self, geometry: str) -> None:
        self._geometry = geometry
        self._scratch = _Scratch()

    def draw(self, picture: Picture, cells: F64, crop: Crop, table: Record) -> None:
        """Draws finite evidence [h, w] over the crop, in place. table: `fixed.table` of the picture's kind."""
        first, bias = int(table["first"]), float(table["bias"]) / 256
        # Offsets of styles that add rather than blend can be negative; everything else fits 16 bits.
        dtype = np.int32 if table["offset"].min() < 0 else np.uint16
        keep, offset = table["keep"].astype(dtype), table["offset"].astype(dtype)
        keep[:first], offset[:, :first] = 256, 0
        size = (picture.height, picture.width)
        for index, plane in enumerate(picture.planes):
            grid = _grid(self._geometry, cells.shape, crop, size, picture.layout, index)
            box = grid.reach(cells, (first - bias) / 255) if first < 256 else None
            if box is not None:
                rows, columns = box
                level = grid.levels(cells, rows, columns, bias, self._scratch)
                part = plane[
                    grid.top + rows.start : grid.top + rows.stop, grid.left + columns.start : grid.left + columns.stop
                ]
                channels = CHANNELS[picture.layout][index]
                _blend(part, level, keep, [offset[channel] for channel in channels], self._scratch)


class _Grid:
    """The two interpolation matrices of one plane."""

    def __init__(self, top: int, down: F64, left: int, across: F64, paper: bool) -> None:
        self.top, self.left, self.paper = top, left, paper
        self.down, self.across = down.astype(np.float32), across.astype(np.float32)

    def reach(self, cells: F64, least: float) -> tuple[slice, slice] | None:
        """The rows and columns that evidence of `least` or more can reach; None if there is no such evidence."""
        strong = cells >= least
        if self.paper:  # a spline reaches everywhere
            strong[...] = True
        rows = np.flatnonzero((self.down[:, strong.any(axis=1)] != 0).any(axis=1))
        columns = np.flatnonzero((self.across[:, strong.any(axis=0)] != 0).any(axis=1))
        if not len(rows) or not len(columns):
            return None
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def levels(self, cells: F64, rows: slice, columns: slice, bias: float, scratch: _Scratch) -> U8:
        """[rows, columns] uint8: floor(255 evidence + bias)."""
        scaled = (255 * cells @ self.across[columns].T).astype(np.float32) + np.float32(bias)
        down = self.down[rows]
        height, width = len(down), scaled.shape[1]
        step = max(1, BLAS_ALONE // scaled.size)
        evidence = scratch.take("evidence", (step, width), np.float32)
        level = scratch.take("level", (height, width), np.uint8)
        for top in range(0, height, step):
            part = down[top : top + step]
            some = np.matmul(part, scaled, out=evidence[: len(part)])
            # Sums of float32 weights can exceed 1 by a rounding step: limit before the cast, which would wrap around.
            np.clip(some, 0, 255, out=some)
            np.copyto(level[top : top + step], some, casting="unsafe")
        return level


class _Scratch:
    """Arrays kept between calls: asking the system for memory of a frame's size takes longer than the arithmetic."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, np.dtype[Any]], npt.NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array with unspecified content, valid until the next `take` of the same name and dtype."""
        key, size = (name, np.dtype(dtype)), math.prod(shape)
        if key not in self._buffers or self._buffers[key].size < size:
            self._buffers[key] = np.empty(size, dtype)
        return self._buffers[key][:size].reshape(shape)


@lru_cache(maxsize=64)
def _grid(
    geometry: str, cells: tuple[int, ...], crop: Crop, size: tuple[int, int], layout: Layout, plane: int
) -> _Grid:
    (top, down), (left, across) = plane_weights(geometry, cells, crop, size, layout, plane)
    return _Grid(top, down, left, across, geometry == "paper")


def _blend(part: U8, level: U8, keep: Table, add: list[Table], scratch: _Scratch) -> None:
    """part = (part * keep[level] + add[level]) >> 8, limited to 0..255. `part` is [h, w] or [h, w, channels]."""
    kept = cv2.LUT(level, keep, dst=scratch.take("keep", level.shape, keep.dtype))
    if part.ndim == 3:
        kept = cv2.merge([kept] * len(add), dst=scratch.take("keeps", part.shape, keep.dtype))
    # `total` uses the memory of `kept`; everything below is computed in place.
    total = np.multiply(part, kept, out=kept, casting="unsafe")
    added = [cv2.LUT(level, table, dst=scratch.take(f"add{i}", level.shape, keep.dtype)) for i, table in enumerate(add)]
    cv2.add(total, added[0] if part.ndim == 2 else cv2.merge(added), dst=total)  # saturates at 65535
    if total.dtype != np.uint16:
        np.clip(total, 0, 65535, out=total)
    np.right_shift(total, 8, out=part, casting="unsafe")

"""The overlay by CUDA for frames in the CPU's memory: each is copied to the GPU, drawn on there, and copied back.

The two copies take longer than the compiled path on the CPU takes to draw, so this is never chosen automatically. It is
for comparison, and for machines whose CPU has other work to do. `work.CudaOverlay` draws on frames that are on the GPU
already, without a copy.
"""

from __future__ import annotations

import numpy as np

from ..draw.style import Style
from ..errors import UsageError
from ..picture import F32, F64, U8, Picture
from ..types import Crop
from .jobs import MOST_CELLS
from .work import CudaOverlay, Driver, Format, Part, RawPlane, Surface


class StagedOverlay:
    """Draws in one style. Raises UsageError, in one line, if there is no GPU or cuda-bindings is not installed."""

    def __init__(self, style: Style) -> None:
        self._driver = Driver()
        self._overlay = CudaOverlay(style, driver=self._driver)
        self._linear = style.geometry == "linear"
        self._memory: list[tuple[int, int]] = []
        """for each plane, the address and the size in bytes of its memory on the GPU"""

    def draw(self, picture: Picture, cells: F32 | F64, crop: Crop) -> None:
        """Draws finite evidence [h, w] over the crop, in place, and waits until that is done. Raises UsageError for too
        many cells."""
        if max(cells.shape) > MOST_CELLS:
            raise UsageError(
                f"--overlay cuda draws from at most {MOST_CELLS} cells on an axis, this network has "
                f"{'x'.join(map(str, cells.shape))}: leave it out"
            )
        planes = [np.ascontiguousarray(plane) for plane in picture.planes]
        with self._driver.entered():
            places = [RawPlane(self._send(index, plane), plane.strides[0]) for index, plane in enumerate(planes)]
        surface = Surface(Format(picture.layout.value), places, picture.width, picture.height, picture.color)
        evidence = [Part(np.ascontiguousarray(cells[None], np.float32), 0.0, 0.0, 1.0)] if self._linear else cells
        self._overlay.draw([surface], [evidence], [crop])
        with self._driver.entered():
            for place, plane, target in zip(places, planes, picture.planes, strict=True):
                self._driver.read(place.pointer, plane, 0)
                if plane is not target:
                    target[...] = plane

    def _send(self, index: int, plane: U8) -> int:
        if index == len(self._memory):
            self._memory.append((0, 0))
        pointer, size = self._memory[index]
        if size < plane.nbytes:
            if size:
                self._driver.wait(0)  # copies of other planes may still use this memory
                self._driver.free(pointer)
            pointer = self._driver.allocate(plane.nbytes)
            self._memory[index] = (pointer, plane.nbytes)
        self._driver.write(pointer, plane, 0)
        return pointer

    def close(self) -> None:
        """Frees the GPU's memory."""
        self._driver.close()

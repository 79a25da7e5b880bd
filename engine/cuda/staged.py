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
from .resources import Memory
from .work import CudaOverlay, Format, Part, RawPlane, Surface


class StagedOverlay:
    """Draws in one style. Raises UsageError, in one line, if there is no GPU or cuda-bindings is not installed."""

    def __init__(self, style: Style) -> None:
        self._overlay = CudaOverlay(style)
        self._gpu = self._overlay.gpu
        self._linear = style.geometry == "linear"
        self._memory: list[Memory] = []
        """of each plane"""

    def draw(self, picture: Picture, cells: F32 | F64, crop: Crop) -> None:
        """Draws finite evidence [h, w] over the crop, in place, and waits until that is done. Raises UsageError for too
        many cells."""
        if max(cells.shape) > MOST_CELLS:
            raise UsageError(
                f"--overlay cuda draws from at most {MOST_CELLS} cells on an axis, this network has "
                f"{'x'.join(map(str, cells.shape))}: leave it out"
            )
        planes = [np.ascontiguousarray(plane) for plane in picture.planes]
        with self._gpu.entered():
            places = [RawPlane(self._send(index, plane), plane.strides[0]) for index, plane in enumerate(planes)]
        surface = Surface(Format(picture.layout.value), places, picture.width, picture.height, picture.color)
        evidence = [Part(np.ascontiguousarray(cells[None], np.float32), 0.0, 0.0, 1.0)] if self._linear else cells
        self._overlay.draw([surface], [evidence], [crop])
        with self._gpu.entered():
            for place, plane, target in zip(places, planes, picture.planes, strict=True):
                self._gpu.read(place.pointer, plane, 0)
                if plane is not target:
                    target[...] = plane

    def _send(self, index: int, plane: U8) -> int:
        if index == len(self._memory):
            self._memory.append(self._gpu.allocate(plane.nbytes))
        elif self._memory[index].size < plane.nbytes:
            self._memory[index] = self._gpu.allocate(plane.nbytes)  # every draw waits: nothing uses the old one
        self._gpu.write(self._memory[index].pointer, plane, 0)
        return self._memory[index].pointer

    def close(self) -> None:
        """Frees the GPU's memory."""
        while self._memory:
            self._memory.pop().close()

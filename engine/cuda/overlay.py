"""The overlay on frames in a GPU's memory: what kernels/overlay.cu is told, and `CudaOverlay`, which draws many frames
at a time on a stream of the caller's. The painter of a `CudaPlace` (painter.py) tells it the same.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..draw.fixed import cubic_cells
from ..draw.style import Style
from ..types import Crop
from .driver import Gpu, stream_of
from .jobs import (
    JOB,
    MOST_CELLS,
    MOST_JOBS,
    MOST_PARTS,
    PART,
    PLANE_JOB,
    PLANES,
    Part,
    PartNumbers,
    Surface,
    axes_of,
    axis,
    plane_job,
    ring_of,
    table_of,
)
from .kernel import BatchKernel, KernelJob
from .memory import View

MOST_PLANS = 16
"""kinds of surfaces that an overlay remembers"""
_FIELDS: Any = JOB.fields
_PARTS, _COEFFICIENTS, _ODD, _COUNT = (_FIELDS[name][1] for name in ("parts", "coefficients", "odd", "part_count"))
_ADDRESS, _NUMBER, _PART = struct.Struct("<Q"), struct.Struct("<i"), struct.Struct("<QQ5f4x")

Evidence = Sequence[Part] | npt.NDArray[Any]
"""What is drawn on one frame: parts; or, for a style with geometry `paper`, the cells [h, w] of
`geometry.blend_cells`."""


@dataclass(frozen=True, eq=False)
class OverlayPlan:
    """What the kernel is told of all surfaces of one kind: everything but addresses of planes, and evidence."""

    record: bytes
    """one of `jobs.JOB`"""
    offsets: tuple[int, ...]
    """of each plane: bytes from its first sample to the first one in the crop"""
    tiles: int
    views: tuple[View, ...]
    """what the record holds addresses of"""

    def job(
        self,
        surface: Surface,
        parts: Sequence[tuple[int, int, PartNumbers]] = (),
        coefficients: int = 0,
        odd: int = 0,
    ) -> KernelJob:
        """What the kernel is told of one surface. parts: the addresses of two slices, and what `Part` knows.
        coefficients, odd: addresses, as in the kernel's struct Job."""
        data, at = bytearray(self.record), 0
        for place, offset in zip(surface.places, self.offsets, strict=True):
            _ADDRESS.pack_into(data, at, place.pointer + offset)
            at += PLANE_JOB.itemsize
        at = _PARTS
        for first, second, numbers in parts:
            _PART.pack_into(data, at, first, second, *numbers)
            at += PART.itemsize
        _NUMBER.pack_into(data, _COUNT, len(parts))
        if coefficients:
            _ADDRESS.pack_into(data, _COEFFICIENTS, coefficients)
        if odd:
            _ADDRESS.pack_into(data, _ODD, odd)
        return KernelJob(data, self.tiles)


class OverlayPlans:
    """The plans of one style on one GPU, each made once; the last few are kept."""

    def __init__(self, gpu: Gpu, style: Style) -> None:
        self._gpu, self._style = gpu, style
        self._made = OrderedDict[tuple[Any, ...], OverlayPlan]()

    def of(self, surface: Surface, crop: Crop, cells: tuple[int, int], stream: int) -> OverlayPlan:
        """cells: h and w of the evidence over the crop. A new kind of surface uploads its tables and waits for that."""
        key = (surface.kind, crop, cells)
        plan = self._made.get(key)
        if plan is None:
            if len(self._made) == MOST_PLANS:
                self._made.popitem(last=False)
            with self._gpu.entered():
                self._gpu.trim()
                plan = self._made[key] = self._plan(surface, crop, cells, stream)
        return plan

    def for_graph(self, surface: Surface, crop: Crop, cells: tuple[int, int], stream: int) -> OverlayPlan:
        """As `of`, for a CUDA graph that is being captured, which keeps the tables alive as long as the GPU is used."""
        return self._plan(surface, crop, cells, stream)

    def _plan(self, surface: Surface, crop: Crop, cells: tuple[int, int], stream: int) -> OverlayPlan:
        job: Any = np.zeros((), JOB)
        gpu, style, forms = self._gpu, self._style, PLANES[surface.format]
        offsets, views = [], []
        for index, (place, form) in enumerate(zip(surface.places, forms, strict=True)):
            found = []
            for key in axes_of(style.geometry, cells, crop, surface, form):
                first, data = axis(*key)
                view = gpu.kept(key, partial(_same, data), stream) if data.shape[1] else None
                views += [view] if view else []
                found.append((first, (view.pointer if view else 0, data.shape[1])))
            (top, down), (left, across) = found
            record: Any = plane_job(place, form, top, left, down, across)
            offsets.append(int(record["data"]) - place.pointer)
            job["planes"][index] = record
            job["planes"][index]["data"] = 0
        key = ("table", style, surface.format, surface.color)
        table = gpu.kept(key, lambda: table_of(style, surface.format, surface.layout, surface.color), stream)
        job["table"], job["plane_count"] = table.pointer, len(forms)
        job["height"], job["width"] = cells
        job["above"], job["below"], job["before"], job["after"] = ring_of(style.geometry, crop, surface)
        return OverlayPlan(job.tobytes(), tuple(offsets), int(job["planes"]["tiles"].sum()), (*views, table))


def _same(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return data


def kernel_of(style: Style) -> str:
    """The name of the kernel that draws in this style."""
    return "overlay_linear" if style.geometry == "linear" else "overlay_cubic"


class CudaOverlay:
    """Draws in one style on frames in a GPU's memory, in place, many at a time. The result has the bytes of `Overlay`.

    device: the number of the GPU. Raises UsageError where `why_not` names a reason.
    """

    path = "CUDA"

    def __init__(self, style: Style, device: int = 0) -> None:
        self.style = style
        self.gpu = Gpu.of(device)
        self._plans, self._kernel = OverlayPlans(self.gpu, style), BatchKernel(self.gpu, kernel_of(style))
        self._counter: View | None = None
        self._cubic = style.geometry != "linear"
        self._odd = 0

    def draw(
        self, surfaces: Sequence[Surface], evidence: Sequence[Evidence], crops: Sequence[Crop], stream: Any = None
    ) -> None:
        """Queues the drawing of one evidence on each surface, over its crop: one launch for up to 8 surfaces.

        evidence: for each surface up to 4 `Part`s, all with the same [h, w] of at most 64 x 64; a surface without parts
        is left as it is. For geometry `paper`: cells [h, w], 0..1, of which those that are not finite numbers draw
        nothing. Arrays on the GPU must be kept until the stream has done this work.
        """
        if not len(surfaces) == len(evidence) == len(crops):
            given = (len(surfaces), len(evidence), len(crops))
            raise ValueError(f"surfaces, evidence and crops must be as many, got {given}")
        handle = stream_of(stream)
        drawn = [item for item in zip(surfaces, evidence, crops, strict=True) if len(item[1])]
        cells = [self._check(*item[:2]) for item in drawn]
        with self.gpu.entered():
            for start in range(0, len(drawn), MOST_JOBS):
                end = start + MOST_JOBS
                self._draw(drawn[start:end], cells[start:end], handle)

    def _draw(
        self, drawn: Sequence[tuple[Surface, Evidence, Crop]], cells: Sequence[tuple[int, int]], stream: int
    ) -> None:
        for surface, evidence, _ in drawn:
            self._follow(surface, evidence, stream)
        sent = [self._sent(evidence) for _, evidence, _ in drawn]
        odd = 0 if self._cubic else self._counted(stream)
        plan_of = self._plans.for_graph if self.gpu.is_capturing(stream) else self._plans.of
        jobs = []
        with self.gpu.staged(b"".join(sent), stream) as pointer:
            for (surface, evidence, crop), size, data in zip(drawn, cells, sent, strict=True):
                plan = plan_of(surface, crop, size, stream)
                if self._cubic:
                    jobs.append(plan.job(surface, coefficients=pointer))
                else:
                    jobs.append(plan.job(surface, _records(evidence, pointer), odd=odd))
                pointer += len(data)
            self._kernel.launch(jobs, stream)

    def _follow(self, surface: Surface, evidence: Evidence, stream: int) -> None:
        """Lets the stream wait for the work of other libraries that makes these arrays."""
        for view in surface.views:
            self.gpu.follow(view, stream)
        for part in evidence:
            if isinstance(part, Part) and isinstance(part.evidence, View):
                self.gpu.follow(part.evidence, stream)

    def _sent(self, evidence: Evidence) -> bytes:
        """What is not on the GPU yet: coefficients, or the slices of parts, one after the other."""
        if not self._cubic:
            return b"".join(part.sent for part in evidence)
        values = np.asarray(evidence, np.float64)
        finite = np.isfinite(values)
        self._odd += int(values.size - np.count_nonzero(finite))
        return cubic_cells(np.where(finite, values, 0)).tobytes()

    def _counted(self, stream: int) -> int:
        if self._counter is None:
            self._counter = self.gpu.upload(np.zeros(1, np.uint32), stream)
        return self._counter.pointer

    def not_finite(self, stream: Any = None) -> int:
        """The number of cells so far whose evidence was not a finite number, counted for each frame and part; they are
        drawn as no evidence. Waits for the stream."""
        if self._counter is None:
            return self._odd
        count = np.zeros(1, np.uint32)
        with self.gpu.entered():
            self.gpu.read(self._counter.pointer, count, stream_of(stream))
        return self._odd + int(count[0])

    def _check(self, surface: Surface, evidence: Evidence) -> tuple[int, int]:
        """The size of the evidence, [h, w]."""
        index = self.gpu.device.index
        shapes: set[tuple[int, ...]]
        if self._cubic:
            if not isinstance(evidence, np.ndarray):
                raise TypeError("the geometry paper is drawn from cells [h, w] in NumPy: geometry.blend_cells")
            shapes = {evidence.shape}
        else:
            if isinstance(evidence, np.ndarray) or not all(isinstance(part, Part) for part in evidence):
                raise TypeError("linear geometry is drawn from Parts")
            if len(evidence) > MOST_PARTS:
                raise ValueError(f"a frame may have {MOST_PARTS} parts, got {len(evidence)}")
            shapes = {tuple(part.evidence.shape[1:]) for part in evidence}
            views = [part.evidence for part in evidence if isinstance(part.evidence, View)]
            if any(view.device not in (None, index) for view in views):
                raise ValueError(f"evidence must be on GPU {index}")
        (shape, *others) = shapes
        if others or len(shape) != 2 or not all(1 <= size <= MOST_CELLS for size in shape):
            raise ValueError(f"evidence must be [h, w], 1 to {MOST_CELLS} cells each and alike, got {sorted(shapes)}")
        if any(device not in (None, index) for device in surface.devices):
            raise ValueError(f"the surface must be on GPU {index}, got {surface.devices}")
        return shape[0], shape[1]


def _records(parts: Any, pointer: int) -> list[tuple[int, int, PartNumbers]]:
    """For each part the addresses of its two slices and its numbers. pointer: where `Part.sent` of all of them lies."""
    made = []
    for part in parts:
        before, after, _ = part.slices
        step = 4 * int(np.prod(part.evidence.shape[1:]))
        if isinstance(part.evidence, View):
            first = part.evidence.pointer + before * step
        else:
            first, pointer = pointer, pointer + len(part.sent)
        made.append((first, first + (after - before) * step, part.numbers))
    return made

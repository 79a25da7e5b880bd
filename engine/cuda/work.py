"""The explainer's work around the network on an NVIDIA GPU: making the clip, the evidence and the overlay, for frames
in the GPU's memory.

Three kernels (kernels/*.cu) are queued on a stream of the caller's; none waits for it. Frames and tensors may come from
any library, as addresses or as arrays with `__cuda_array_interface__` or DLPack (memory.py). Arguments that do not fit
raise ValueError or TypeError before anything is launched. The first call compiles the kernels, which takes a second or
two, and keeps them on disk; the first call for each size of frame uploads its tables and waits for that. After such a
call a CUDA graph can capture CudaPreprocess, and CudaOverlay with evidence on the GPU; all other calls copy from host
memory that no longer exists when the graph is replayed. A failure of CUDA is a ModelError with CUDA's message. None of
the classes may be used by several threads at once. `why_not` says whether they can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..draw.fixed import Record, cubic_cells
from ..draw.style import Style
from ..manifest import InputSpec
from ..picture import F32
from ..preprocess import place
from ..types import Crop
from .driver import Gpu, scalar, stream_of, why_not
from .jobs import (
    JOB,
    MOST_CELLS,
    MOST_JOBS,
    MOST_PARTS,
    PLANES,
    Format,
    Part,
    RawPlane,
    Surface,
    axes_of,
    axis,
    plane_job,
    ring_of,
    table_of,
)
from .memory import View, view_of
from .shots import SHOT, check_shot, filters_of, numbers, shot_of

__all__ = [
    "CudaEvidence",
    "CudaOverlay",
    "CudaPreprocess",
    "Format",
    "Gpu",
    "Part",
    "RawPlane",
    "Surface",
    "View",
    "why_not",
]

_THREADS = 256
_CELLS, _LANES = 8, 64
"""Constants of kernels/evidence.cu: cells for each block, threads for each cell."""

Evidence = Sequence[Part] | npt.NDArray[Any]
"""What is drawn on one frame: parts; or, for a style with geometry `paper`, the cells [h, w] of
`geometry.blend_cells`."""


@dataclass(frozen=True)
class _Staged:
    """A job, the bytes that are sent with it, and which of its addresses are offsets into these bytes."""

    job: Record
    data: bytes
    fields: tuple[tuple[int | None, str], ...]
    tables: tuple[View, ...] = ()
    """what the job reads, which must live until it is queued"""


class CudaOverlay:
    """Draws in one style on frames in a GPU's memory, in place, many at a time. The result has the bytes of `Overlay`.

    device: the number of the GPU, from 0. Raises UsageError if it cannot be used.
    """

    path = "CUDA"

    def __init__(self, style: Style, device: int = 0) -> None:
        self.style = style
        self.gpu = Gpu.of(device)
        self._counter: View | None = None
        self._cubic = style.geometry != "linear"
        self._odd = 0

    def draw(
        self, surfaces: Sequence[Surface], evidence: Sequence[Evidence], crops: Sequence[Crop], stream: Any = None
    ) -> None:
        """Queues the drawing of one evidence on each surface, over its crop: one launch for up to 8 surfaces.

        evidence: for each surface up to 4 `Part`s, all with the same [h, w] of at most 32 x 32; a surface without parts
        is left as it is. For geometry `paper`: cells [h, w], 0..1, of which those that are not finite numbers draw
        nothing. Arrays on the GPU must be kept until the stream has done this work.
        """
        if not len(surfaces) == len(evidence) == len(crops):
            given = (len(surfaces), len(evidence), len(crops))
            raise ValueError(f"surfaces, evidence and crops must be as many, got {given}")
        handle, gpu = stream_of(stream), self.gpu
        drawn = [item for item in zip(surfaces, evidence, crops, strict=True) if len(item[1])]
        cells = [self._check(*item[:2]) for item in drawn]
        with gpu.entered():
            gpu.trim()
            function = gpu.function("overlay", "overlay_cubic" if self._cubic else "overlay_linear")
            for surface, parts, _ in drawn:
                for view in (*surface.views, *(part.evidence for part in parts if isinstance(part, Part))):
                    if isinstance(view, View):
                        gpu.follow(view, handle)
            staged = [self._job(*item, size, handle) for item, size in zip(drawn, cells, strict=True)]
            for start in range(0, len(staged), MOST_JOBS):
                self._launch(function, staged[start : start + MOST_JOBS], handle)

    def not_finite(self, stream: Any = None) -> int:
        """The number of cells so far whose evidence was not a finite number, counted for each frame and part; they are
        drawn as no evidence. Waits for the stream."""
        if self._counter is None:
            return self._odd
        count, handle = np.zeros(1, np.uint32), stream_of(stream)
        with self.gpu.entered():
            self.gpu.read(self._counter.pointer, count, handle)
        return self._odd + int(count[0])

    def _check(self, surface: Surface, evidence: Evidence) -> tuple[int, int]:
        """The size of the evidence, [h, w]."""
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
            if any(view.device not in (None, self.gpu.device.index) for view in views):
                raise ValueError(f"evidence must be on GPU {self.gpu.device.index}")
        (shape, *others) = shapes
        if others or len(shape) != 2 or not all(1 <= size <= MOST_CELLS for size in shape):
            raise ValueError(f"evidence must be [h, w], 1 to {MOST_CELLS} cells each and alike, got {sorted(shapes)}")
        if any(device not in (None, self.gpu.device.index) for device in surface.devices):
            raise ValueError(f"the surface must be on GPU {self.gpu.device.index}, got {surface.devices}")
        return shape[0], shape[1]

    def _job(self, surface: Surface, evidence: Evidence, crop: Crop, cells: tuple[int, int], stream: int) -> _Staged:
        gpu, geometry = self.gpu, self.style.geometry
        job: Any = np.zeros((), JOB)
        forms, tables = PLANES[surface.format], list[View]()
        for index, (plane, form) in enumerate(zip(surface.places, forms, strict=True)):
            keys = axes_of(geometry, cells, crop, surface, form)
            firsts, axes = zip(*(self._axis(key, tables, stream) for key in keys), strict=True)
            job["planes"][index] = plane_job(plane, form, *firsts, *axes)
        key = ("table", self.style, surface.format, surface.color)
        made = gpu.kept(key, lambda: table_of(self.style, surface.format, surface.layout, surface.color), stream)
        tables.append(made)
        job["table"], job["plane_count"] = made.pointer, len(forms)
        job["height"], job["width"] = cells
        job["above"], job["below"], job["before"], job["after"] = ring_of(geometry, crop, surface)
        if self._cubic:
            values = np.asarray(evidence, np.float64)
            finite = np.isfinite(values)
            self._odd += int(values.size - np.count_nonzero(finite))
            data = cubic_cells(np.where(finite, values, 0)).tobytes()
            return _Staged(job, data, ((None, "coefficients"),), tuple(tables))
        if self._counter is None:
            self._counter = gpu.upload(np.zeros(1, np.uint32), stream)
        job["odd"], job["part_count"] = self._counter.pointer, len(evidence)
        return replace(_with_parts(job, evidence), tables=tuple(tables))

    def _axis(self, key: tuple[Any, ...], tables: list[View], stream: int) -> tuple[int, tuple[int, int]]:
        """An axis' first sample in the crop; its address on the GPU and its number of samples."""
        first, data = axis(*key)
        if not data.shape[1]:
            return first, (0, 0)
        tables.append(self.gpu.kept(key, lambda: data, stream))
        return first, (tables[-1].pointer, data.shape[1])

    def _launch(self, function: Any, staged: Sequence[_Staged], stream: int) -> None:
        jobs: Any = np.zeros(MOST_JOBS, JOB)
        with self.gpu.staged(b"".join(item.data for item in staged), stream) as pointer:
            for index, item in enumerate(staged):
                jobs[index] = item.job
                for part, field in item.fields:
                    record = jobs[index] if part is None else jobs[index]["parts"][part]
                    record[field] += np.uint64(pointer)
                pointer += len(item.data)
            tiles = int(jobs["planes"]["tiles"].sum(axis=1).max())
            if tiles:
                jobs = jobs.reshape(1, MOST_JOBS)
                self.gpu.launch(function, (tiles, len(staged), 1), (_THREADS, 1, 1), [jobs], stream)


def _with_parts(job: Any, parts: Any) -> _Staged:
    """Writes the parts into a job. Slices that are NumPy arrays are laid one after the other, to be sent with it."""
    data, fields = b"", list[tuple[int | None, str]]()
    for index, part in enumerate(parts):
        before, after = part.slices
        if isinstance(part.evidence, View):
            step = part.evidence.shape[1] * part.evidence.shape[2] * 4
            pointers = (part.evidence.pointer + before * step, part.evidence.pointer + after * step)
        else:
            slices = np.ascontiguousarray(part.evidence[before : after + 1])
            pointers = (len(data), len(data) + slices.nbytes // len(slices) * (after - before))
            data += slices.tobytes()
            fields += [(index, "slice"), (index, "next")]
        job["parts"][index] = part.record(*pointers)
    return _Staged(job, data, tuple(fields))


class CudaEvidence:
    """Computes the evidence of a class from an activation in the GPU's memory, where a TensorRT plan left it."""

    def __init__(self, device: int = 0) -> None:
        self.gpu = Gpu.of(device)

    def compute(self, activation: Any, weights: F32, out: Any, stream: Any = None) -> None:
        """Queues out[t, y, x] = sum over k of weights[k] activation[k, t, y, x].

        activation: [C, t, h, w] or [1, C, t, h, w], float32 or float16, contiguous, on the GPU. weights: [C] float32 in
        NumPy; for one class against another the difference of their rows. out: [t, h, w] float32, on the GPU. Products
        and sums are float32; 64 partial sums are added in pairs, always in the same order.
        """
        gpu, handle = self.gpu, stream_of(stream)
        source, target = view_of(activation), view_of(out)
        shape = source.shape[1:] if len(source.shape) == 5 and source.shape[0] == 1 else source.shape
        if len(shape) != 4 or source.dtype not in (np.dtype("f4"), np.dtype("f2")) or not source.contiguous:
            text = f"{source.dtype} {source.shape}, strides {source.strides}"
            raise ValueError(f"activation must be float32 or float16 [C, t, h, w] without gaps, got {text}")
        if target.shape != shape[1:] or target.dtype != np.float32 or not target.contiguous or target.read_only:
            raise ValueError(f"out must be writable float32 {shape[1:]}, got {target.dtype} {target.shape}")
        if not isinstance(weights, np.ndarray) or weights.shape != shape[:1] or weights.dtype != np.float32:
            raise ValueError(f"weights must be float32 [{shape[0]}] in NumPy, got {getattr(weights, 'shape', weights)}")
        if any(view.device not in (None, gpu.device.index) for view in (source, target)):
            raise ValueError(f"activation and out must be on GPU {gpu.device.index}")
        cells = int(np.prod(shape[1:]))
        name = "evidence_half" if source.dtype == np.float16 else "evidence_float"
        with gpu.entered():
            gpu.follow(source, handle)
            gpu.follow(target, handle)
            function = gpu.function("evidence", name)
            with gpu.staged(weights.tobytes(), handle) as pointer:
                addresses = [scalar(value, "u8") for value in (source.pointer, pointer, target.pointer)]
                sizes = [scalar(value, "i4") for value in (shape[0], cells)]
                grid = (-(-cells // _CELLS), 1, 1)
                gpu.launch(function, grid, (_CELLS * _LANES, 1, 1), [*addresses, *sizes], handle)


class CudaPreprocess:
    """Writes frames on the GPU into the model's clip, as `preprocess.sample` and `preprocess.tensor` do on the CPU."""

    def __init__(self, spec: InputSpec, device: int = 0) -> None:
        self.spec = spec
        self.gpu = Gpu.of(device)

    def fill(self, surface: Surface, clip: Any, slot: int, pixel_aspect: Any = 1, stream: Any = None) -> Crop:
        """Queues the conversion of the frame into slot `slot` of the clip. Returns where in the frame the model looks.

        surface: NV12 or I420. clip: [3, T, H, W] or [1, 3, T, H, W] on the GPU, float32 or float16, contiguous, with
        H, W = spec.size. pixel_aspect: width / height of one pixel as it is to be shown.
        """
        gpu, handle, view = self.gpu, stream_of(stream), view_of(clip)
        check_shot(surface, view, slot, self.spec, gpu.device.index)
        placed = place(surface.width, surface.height, pixel_aspect, self.spec)
        with gpu.entered():
            gpu.trim()
            function = gpu.function("preprocess", "preprocess")
            filters = [
                (self._kept(key, "first", made.first, handle), self._kept(key, "weights", made.weights, handle), taps)
                for key, made, taps in filters_of(surface, placed, self.spec)
            ]
            table = gpu.kept(("numbers", self.spec), lambda: numbers(self.spec), handle).pointer
            shot = shot_of(surface, view, slot, self.spec, filters, table)
            height, width = self.spec.size
            grid = (-(-width // 32), -(-height // 8), 1)
            gpu.launch(function, grid, (32, 8, 1), [np.array([shot], SHOT)], handle)
        return placed.crop(self.spec)

    def _kept(self, key: tuple[Any, ...], name: str, array: npt.NDArray[Any], stream: int) -> int:
        return self.gpu.kept((*key, name), lambda: array, stream).pointer

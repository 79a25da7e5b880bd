"""The explainer's work around the network on an NVIDIA GPU: making the clip, the evidence and the overlay, for frames
in the GPU's memory.

Kernels (kernels/*.cu) are queued on a stream of the caller's; none waits for it. Frames and tensors may come from
any library, as addresses or as arrays with `__cuda_array_interface__` or DLPack (memory.py). Arguments that do not fit
raise ValueError or TypeError before anything is launched. The first call compiles the kernels, which takes a second or
two, and keeps them on disk; the first call for each size of frame uploads its tables and waits for that. After such a
call a CUDA graph can capture CudaOverlay with evidence on the GPU, and CudaEvidence with weights there; all other calls
copy from host memory that no longer exists when the graph is replayed. A failure of CUDA is a ModelError with CUDA's
message. None of the classes may be used by several threads at once. `why_not` says whether they can run.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np

from .driver import Arguments, Gpu, stream_of, why_not
from .jobs import Format, Part, RawPlane, Surface
from .memory import View, view_of
from .overlay import CudaOverlay

__all__ = [
    "CudaEvidence",
    "CudaOverlay",
    "Format",
    "Gpu",
    "Part",
    "RawPlane",
    "Surface",
    "View",
    "why_not",
]

_CELLS, _LANES = 8, 64
"""Constants of kernels/evidence.cu: cells for each block, threads for each cell."""


class CudaEvidence:
    """Computes the evidence of a class from an activation in the GPU's memory, where a TensorRT plan left it."""

    def __init__(self, device: int = 0) -> None:
        self.gpu = Gpu.of(device)

    def compute(self, activation: Any, weights: Any, out: Any, stream: Any = None) -> None:
        """Queues out[t, y, x] = sum over k of weights[k] activation[k, t, y, x].

        activation: [C, t, h, w] or [1, C, t, h, w], float32 or float16, contiguous, on the GPU. weights: [C] float32,
        in NumPy, from which they are copied, or contiguous on the GPU; for one class against another the difference of
        their rows. out: [t, h, w] float32, on the GPU. Products and sums are float32; 64 partial sums are added in
        pairs, always in the same order.
        """
        gpu, handle = self.gpu, stream_of(stream)
        source, target = view_of(activation), view_of(out)
        given = None if isinstance(weights, np.ndarray) else view_of(weights)
        shape = source.shape[1:] if len(source.shape) == 5 and source.shape[0] == 1 else source.shape
        if len(shape) != 4 or source.dtype not in (np.dtype("f4"), np.dtype("f2")) or not source.contiguous:
            text = f"{source.dtype} {source.shape}, strides {source.strides}"
            raise ValueError(f"activation must be float32 or float16 [C, t, h, w] without gaps, got {text}")
        if target.shape != shape[1:] or target.dtype != np.float32 or not target.contiguous or target.read_only:
            raise ValueError(f"out must be writable float32 {shape[1:]}, got {target.dtype} {target.shape}")
        if weights.shape != shape[:1] or weights.dtype != np.float32 or not (given is None or given.contiguous):
            raise ValueError(f"weights must be float32 [{shape[0]}] without gaps, got {weights.dtype} {weights.shape}")
        on_gpu = [source, target] if given is None else [source, target, given]
        if any(view.device not in (None, gpu.device.index) for view in on_gpu):
            raise ValueError(f"activation, out and weights must be on GPU {gpu.device.index}")
        cells = int(np.prod(shape[1:]))
        name = "evidence_half" if source.dtype == np.float16 else "evidence_float"
        with gpu.entered():
            for view in on_gpu:
                gpu.follow(view, handle)
            function = gpu.function("evidence", name)
            with gpu.staged(weights.tobytes(), handle) if given is None else nullcontext(given.pointer) as pointer:
                addresses = [np.array([value], "u8") for value in (source.pointer, pointer, target.pointer)]
                sizes = [np.array([value], "i4") for value in (shape[0], cells)]
                grid, arguments = (-(-cells // _CELLS), 1, 1), Arguments(*addresses, *sizes)
                gpu.launch(function, grid, (_CELLS * _LANES, 1, 1), arguments, handle)

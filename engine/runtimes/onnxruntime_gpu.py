"""Runs ONNX by onnxruntime on an NVIDIA GPU: for those who have pip and no TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..cuda.driver import Gpu
from ..errors import UsageError
from ..manifest import Manifest
from .base import ArrayAt
from .gpu_runner import GpuRunner, TensorOnGpu
from .onnxruntime import choices
from .onnxruntime_session import Session, gpu_options, provider_for, split_device


class OnnxRuntimeGpuRunner(GpuRunner):
    """A Runner in float32 by CUDA's provider, or by TensorRT-RTX's where this onnxruntime has it."""

    def __init__(
        self, path: Path, manifest: Manifest, clip_length: int, precision: str, device: str, batch: int
    ) -> None:
        """device: cuda:N, or rtx:N for TensorRT-RTX on that GPU. Raises UsageError if it cannot run there, ModelError
        for a file that cannot be run or where the GPU fails."""
        kind, index = split_device(device)
        provider = provider_for(kind)
        if precision != "f32":
            raise UsageError(f"onnxruntime runs in f32, got precision {precision!r}")
        gpu = Gpu.of(index)
        super().__init__(gpu, manifest, clip_length)
        clip = TensorOnGpu(manifest.input.name, (3, clip_length, *manifest.input.size), np.dtype(np.float32))
        with gpu.entered():
            options = gpu_options(kind, index, self.stream.handle)
            self._session = Session(path, manifest, clip_length, provider, options, ("cuda", index))
            self.at_end.append(self._session.close)
            names, found = manifest.outputs, self._session.outputs
            outputs = {role: TensorOnGpu(names[role], *found[role]) for role in names}
            self.prepare(self._session.takes(batch), clip, outputs)
        self.warm_up()
        self.description = f"{choices(device).title}, {gpu.device.name}, f32"

    def queue(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        """As `GpuRunner.queue`."""
        self._session.run(given, wanted)

"""Runs ONNX by onnxruntime: the reference, and the fallback where OpenVINO is not installed."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from .errors import ModelError, UsageError
from .manifest import Manifest
from .picture import F32
from .runner import check_outputs
from .types import Outputs

PROVIDERS = {"CPU": "CPUExecutionProvider", "CUDA": "CUDAExecutionProvider"}


class OnnxRuntimeRunner:
    """A Runner in float32 on the CPU or on CUDA."""

    def __init__(self, path: Path, manifest: Manifest, frames: int, precision: str, device: str) -> None:
        provider = PROVIDERS.get(device.upper())
        if provider is None:
            raise UsageError(f"onnxruntime runs on {' or '.join(PROVIDERS)}, got device {device!r}")
        if precision != "f32":
            raise UsageError(f"onnxruntime runs in f32, got precision {precision!r}")
        self.manifest, self.frames = manifest, frames
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[provider])
        except Exception as error:  # its classes derive from nothing narrower
            raise ModelError(f"onnxruntime says: {str(error).splitlines()[0]}") from None
        # a provider that cannot load is replaced by the CPU's with no more than a log line
        if provider not in self._session.get_providers():
            raise UsageError(f"onnxruntime cannot run on {device}: it has {', '.join(self._session.get_providers())}")
        names = {value.name for value in self._session.get_outputs()}
        missing = set(manifest.outputs.values()) - names
        if missing:
            raise ModelError(f"the graph has no output {', '.join(sorted(missing))}: it has {', '.join(sorted(names))}")
        self._checked = False
        self.description = f"onnxruntime {ort.__version__} on {device.upper()}, f32"

    def run(self, clip: F32) -> Outputs:
        names = [self.manifest.outputs[name] for name in ("logits", "activation")]
        logits, activation = self._session.run(names, {self.manifest.input.name: clip})
        if not self._checked:
            check_outputs(self.manifest, self.frames, logits.shape, activation.shape)
            self._checked = True
        return Outputs(logits[0], activation[0])

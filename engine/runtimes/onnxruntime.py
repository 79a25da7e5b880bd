"""Runs ONNX by onnxruntime: the reference, and the fallback where OpenVINO is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from ..errors import ModelError, UsageError, one_line
from ..manifest import Manifest
from ..picture import F32
from ..types import Outputs
from .base import Choices, HostRunner, check_shapes, inputs, outputs

LONGEST = 240
"""Maximum number of characters of onnxruntime's own message that an error quotes."""
PROVIDERS = {"CPU": "CPUExecutionProvider", "CUDA": "CUDAExecutionProvider"}


def provider_of(device: str) -> tuple[str, dict[str, str]]:
    """The execution provider of a device, cpu, cuda or cuda:N, and its options. Raises UsageError for anything else.

    CUDA multiplies float32 as TF32, with 10 bits of mantissa, unless it is told not to: what is called f32 here is f32.
    """
    name, colon, number = device.upper().partition(":")
    known = name in PROVIDERS and not (colon and (name == "CPU" or not number.isdecimal() or len(number) > 3))
    if not known:
        raise UsageError(f"onnxruntime runs on CPU, cuda or cuda:N, the GPU number N, got device {device!r}")
    options = {"device_id": str(int(number or 0)), "use_tf32": "0"} if name == "CUDA" else {}
    return PROVIDERS[name], options


class OnnxRuntimeRunner(HostRunner):
    """A Runner in float32 on the CPU or on CUDA."""

    def __init__(
        self, path: Path, manifest: Manifest, clip_length: int, precision: str, device: str, batch: int
    ) -> None:
        provider, settings = provider_of(device)
        if precision == "bf16":
            raise UsageError(f"onnxruntime runs in f32, got precision {precision!r}")
        if provider not in ort.get_available_providers():
            raise UsageError(
                f"this onnxruntime cannot run on {device}: it has {', '.join(ort.get_available_providers())}"
            )
        self.manifest, self.clip_length = manifest, clip_length
        options = ort.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=[(provider, settings)])
        except Exception as error:  # its classes derive from nothing narrower
            raise ModelError(f"onnxruntime says: {one_line(error)[:LONGEST]}") from None
        # onnxruntime replaces a provider that cannot load by the CPU's, and only logs it.
        if provider not in self._session.get_providers():
            raise UsageError(f"onnxruntime cannot run on {device}: its libraries did not load")
        names = {value.name for value in self._session.get_outputs()}
        missing = set(manifest.outputs.values()) - names
        if missing:
            raise ModelError(f"the graph has no output {', '.join(sorted(missing))}: it has {', '.join(sorted(names))}")
        # The shapes in the graph may be open: running a clip of zeros shows them, before any output is opened.
        found = self._run(self._nothing(1), None)
        check_shapes(manifest, clip_length, {name: value.shape for name, value in found.items()})
        self.batch = batch if batch > 1 and self._takes_batches() else 1
        self.description = f"{_title(device)}, f32"

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        return outputs(self.manifest, self._run(data, class_ids))

    def _run(self, clips: F32, class_ids: Sequence[int | None] | None) -> dict[str, F32]:
        names = self.manifest.outputs
        given = inputs(self.manifest, clips, class_ids)
        try:
            values = self._session.run(list(names.values()), given)
        except Exception as error:  # its classes derive from nothing narrower
            raise ModelError(f"onnxruntime says: {one_line(error)[:LONGEST]}") from None
        return dict(zip(names, values, strict=True))

    def _nothing(self, clips: int) -> F32:
        return np.zeros((clips, 3, self.clip_length, *self.manifest.input.size), np.float32)

    def _takes_batches(self) -> bool:
        """Whether the file leaves the batch size open, and gives two results for two clips."""
        if any(not value.shape or isinstance(value.shape[0], int) for value in self._session.get_inputs()):
            return False
        try:
            found = self._run(self._nothing(2), None)
        except ModelError:  # some size inside the graph is fixed
            return False
        return all(len(value) == 2 for value in found.values())


def choices(device: str) -> Choices:
    """The precisions that a model can be computed in on a device."""
    return Choices(_title(device), ("f32",))


def _title(device: str) -> str:
    return f"onnxruntime {ort.__version__} on {device.upper()}"

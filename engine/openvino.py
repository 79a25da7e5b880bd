"""Runs ONNX by OpenVINO: the default on CPUs."""

from __future__ import annotations

import sys
from pathlib import Path

from .errors import ModelError, UsageError
from .manifest import Manifest
from .picture import F32
from .runner import check_shapes
from .types import Outputs

# OpenVINO reports its import to its maker's web analytics, without asking, wherever it can import this package. What
# watches people's rooms talks to nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: "cannot be imported"

import openvino as ov  # noqa: E402


class OpenVinoRunner:
    """A Runner on any OpenVINO device (CPU, GPU, NPU), in the precision asked for by name.

    OpenVINO's own default on a CPU with bfloat16 is bfloat16, which moves the activation by 0.7 %.
    """

    def __init__(self, path: Path, manifest: Manifest, frames: int, precision: str, device: str) -> None:
        core = ov.Core()
        device = device.upper()
        if device.split(".")[0] not in core.available_devices:
            raise UsageError(f"OpenVINO has no device {device!r} here: it has {', '.join(core.available_devices)}")
        if precision == "bf16" and "BF16" not in core.get_property(device, "OPTIMIZATION_CAPABILITIES"):
            raise UsageError(f"{device} does not compute in bf16: use --precision f32")
        self.manifest, self.frames = manifest, frames
        try:
            model = core.read_model(str(path))
            model.reshape({manifest.input.name: [1, 3, frames, *manifest.input.size]})
            shapes = [tuple(model.output(manifest.outputs[name]).shape) for name in ("logits", "activation")]
            check_shapes(manifest, frames, *shapes)
            config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            self._request = core.compile_model(model, device, config).create_infer_request()
        except (RuntimeError, ValueError) as error:  # ValueError: its own message is not UTF-8
            raise ModelError(f"OpenVINO says: {_first_reason(error)}") from None
        version = ov.get_version().split("-")[0]
        self.description = f"OpenVINO {version} on {device}, {precision}"

    def run(self, clip: F32) -> Outputs:
        self._request.infer({self.manifest.input.name: clip}, share_inputs=True)
        logits, activation = (
            self._request.get_tensor(self.manifest.outputs[name]).data[0].copy() for name in ("logits", "activation")
        )
        return Outputs(logits, activation)


def _first_reason(error: Exception) -> str:
    """OpenVINO's messages are a stack of 'Exception from ...' and 'Check ... failed at ...' lines around one reason."""
    lines = [line.strip() for line in str(error).splitlines()]
    summary = [line.removeprefix("-- ") for line in lines if line.startswith("-- No conversion rule")]
    reasons = summary or [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (reasons or lines or ["no reason given"])[0]

"""Runs ONNX by OpenVINO: the default on CPUs."""

from __future__ import annotations

import sys
from pathlib import Path

from .errors import ModelError, UsageError
from .manifest import Manifest
from .picture import F32
from .runner import check_shapes, inputs, outputs
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
            shapes: dict[str, list[int]] = {manifest.input.name: [1, 3, frames, *manifest.input.size]}
            if manifest.head is None:
                shapes[manifest.class_input] = [1]
            names = [port.get_any_name() for port in model.inputs]
            if set(names) != set(shapes):  # an input that is never set holds whatever memory holds
                raise ModelError(f"the graph's inputs are {', '.join(names)}; its manifest names {', '.join(shapes)}")
            model.reshape(shapes)
            tensors = manifest.outputs.items()
            check_shapes(manifest, frames, {name: tuple(model.output(tensor).shape) for name, tensor in tensors})
            config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            self._request = core.compile_model(model, device, config).create_infer_request()
        except (RuntimeError, ValueError) as error:  # ValueError: its own message is not UTF-8
            raise ModelError(f"OpenVINO says: {_first_reason(error)}") from None
        version = ov.get_version().split("-")[0]
        self.description = f"OpenVINO {version} on {device}, {precision}"

    def run(self, clip: F32, class_id: int | None = None) -> Outputs:
        self._request.infer(inputs(self.manifest, clip, class_id), share_inputs=True)
        tensors = self.manifest.outputs.items()
        return outputs(self.manifest, {name: self._request.get_tensor(tensor).data.copy() for name, tensor in tensors})


def _first_reason(error: Exception) -> str:
    """OpenVINO's messages are a stack of 'Exception from ...' and 'Check ... failed at ...' lines around one reason."""
    lines = [line.strip() for line in str(error).splitlines()]
    summary = [line.removeprefix("-- ") for line in lines if line.startswith("-- No conversion rule")]
    reasons = summary or [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return (reasons or lines or ["no reason given"])[0]

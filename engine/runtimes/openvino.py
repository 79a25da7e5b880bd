"""Runs ONNX by OpenVINO: the default on CPUs."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..cores import cores
from ..errors import ModelError, UsageError
from ..manifest import Manifest
from ..picture import F32
from ..processor import processor_features
from ..types import Outputs
from .base import Choices, HostRunner, check_shapes, inputs, outputs

# OpenVINO reports its import to its maker's web analytics, without asking, if it can import this package. A program
# that watches people's rooms must not report to anybody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: "cannot be imported"

import openvino as ov  # noqa: E402

from .openvino_stem import widen_stems  # noqa: E402


class OpenVinoRunner(HostRunner):
    """A Runner on any OpenVINO device (CPU, GPU, NPU), in the precision asked for by name.

    OpenVINO's own default on a CPU with bfloat16 is bfloat16, which moves the activation by 0.7 %.
    """

    def __init__(
        self, path: Path, manifest: Manifest, clip_length: int, precision: str, device: str, batch: int
    ) -> None:
        core, device = open_core(), device.upper()
        has_bf16 = _has_bf16(device)  # raises UsageError if there is no such device
        if precision == "bf16" and not has_bf16:
            raise UsageError(f"{device} does not compute in bf16: use --precision f32")
        self.manifest, self.clip_length = manifest, clip_length
        try:
            model = core.read_model(str(path))
            inner: dict[str, list[int]] = {manifest.input.name: [3, clip_length, *manifest.input.size]}
            if manifest.head is None:
                inner[manifest.class_input] = []
            names = [port.get_any_name() for port in model.inputs]
            if set(names) != set(inner):  # an input that is never set has random content
                raise ModelError(f"the graph's inputs are {', '.join(names)}; its manifest names {', '.join(inner)}")
            if not model.input(manifest.input.name).element_type.is_real():
                raise ModelError(f"the graph's {manifest.input.name} must be of floating point numbers")
            self.batch = batch if batch > 1 and _takes_batches(model, inner, manifest) else 1
            _reshape(model, inner, 1)
            shapes = {role: tuple(model.output(name).shape) for role, name in manifest.outputs.items()}
            check_shapes(manifest, clip_length, shapes)
            self.cells = shapes["activation"][3], shapes["activation"][4]
            if self.batch > 1:
                _reshape(model, inner, ov.Dimension(1, self.batch))
            if device == "CPU" and precision == "bf16" and "amx_bf16" in processor_features():
                widen_stems(model)
            config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            if device == "CPU" and cores().limited:  # by itself it takes a thread for each core that it sees
                config["INFERENCE_NUM_THREADS"] = cores().threads
            compiled = core.compile_model(model, device, config)
            self._request = compiled.create_infer_request()
        except (RuntimeError, ValueError) as error:  # ValueError: OpenVINO's message is not UTF-8
            raise ModelError(f"OpenVINO says: {_first_reason(error)}") from None
        self.description = f"{_title(device)}, {precision}{' by AMX' if _uses_amx(compiled) else ''}"
        if device != "CPU":  # OpenVINO shares memory with OpenCL and VA, and none with what decodes and draws here
            self.description += "; pictures and windows stay in the host's memory"

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        given = inputs(self.manifest, data, class_ids)
        try:
            self._request.infer(given, share_inputs=True)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO says: {_first_reason(error)}") from None
        tensors = self.manifest.outputs.items()
        return outputs(self.manifest, {name: self._request.get_tensor(tensor).data.copy() for name, tensor in tensors})


@cache
def open_core() -> ov.Core:
    """The process's only Core. A Core gives the thread that makes it a stack for signals, and frees that stack at its
    end even if another Core was made since: the next signal, such as Ctrl-C, would then be handled on freed memory.
    """
    return ov.Core()


def choices(device: str) -> Choices:
    """The precisions that a model can be computed in on a device. Raises UsageError if there is no such device.

    OpenVINO offers bfloat16 on all x86 with AVX-512, and emulates it on some: whether it is faster must be measured.
    """
    device = device.upper()
    has_bf16 = _has_bf16(device)
    return Choices(_title(device), ("f32", "bf16") if device == "CPU" and has_bf16 else ("f32",))


def _has_bf16(device: str) -> bool:
    core = open_core()
    try:  # with several GPUs the list has GPU.0 and GPU.1, and "GPU" means the first
        if device.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
            raise RuntimeError
        return "BF16" in core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:
        raise UsageError(
            f"OpenVINO has no device {device!r} here: it has {', '.join(core.available_devices)}"
        ) from None


def _title(device: str) -> str:
    return f"OpenVINO {ov.get_version().split('-')[0]} on {device}"


def _uses_amx(compiled: ov.CompiledModel) -> bool:
    """Whether OpenVINO really uses AMX: the operating system may not allow what the processor offers."""
    told = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    return any("_amx" in info["primitiveType"].astype(str) for info in told if "primitiveType" in info)


def _reshape(model: ov.Model, inner: Mapping[str, Sequence[int]], batch: int | ov.Dimension) -> None:
    model.reshape({name: [batch, *sizes] for name, sizes in inner.items()})


def _takes_batches(model: ov.Model, inner: Mapping[str, Sequence[int]], manifest: Manifest) -> bool:
    """Whether the file leaves the batch size open, and gives two results for two clips."""
    if any(port.get_partial_shape()[0].is_static for port in model.inputs):
        return False
    try:
        _reshape(model, inner, 2)
    except RuntimeError:  # some size inside the graph is fixed
        return False
    return all(tuple(model.output(tensor).partial_shape)[:1] == (2,) for tensor in manifest.outputs.values())


def _first_reason(error: Exception) -> str:
    """The line of an OpenVINO message that says what is wrong.

    The other lines are 'Exception from ...', 'Check ... failed at ...', and headings for what it was doing.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    summary = [line.removeprefix("-- ") for line in lines if line.startswith("-- No conversion rule")]
    said = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    reasons = summary or [line for line in said if line != "Loading input model" and not line.endswith(":")]
    return (reasons or said or lines or ["no reason given"])[0]

"""Runs ONNX by onnxruntime on the CPU: the reference, and the fallback where OpenVINO is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..manifest import Manifest
from ..picture import F32
from ..types import Outputs
from .base import ArrayAt, Choices, HostRunner, inputs, outputs
from .onnxruntime_session import TITLE, Session, provider_for, split_device


class OnnxRuntimeRunner(HostRunner):
    """A Runner in float32 on the CPU."""

    def __init__(
        self, path: Path, manifest: Manifest, clip_length: int, precision: str, device: str, batch: int
    ) -> None:
        if split_device(device)[0] != "cpu":
            raise UsageError(f"a GPU is named cuda or cuda:N, got device {device!r}")
        if precision == "bf16":
            raise UsageError(f"onnxruntime runs in f32, got precision {precision!r}")
        self.manifest, self.clip_length = manifest, clip_length
        self._session = Session(path, manifest, clip_length, provider_for("cpu"), {})
        self.batch = self._session.takes(batch)
        _, _, *cells = self._session.outputs["activation"][0]
        self.cells = cells[0], cells[1]
        self.description = f"{choices(device).title}, f32"

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        feed = {name: np.ascontiguousarray(one) for name, one in inputs(self.manifest, data, class_ids).items()}
        found = {role: np.empty((len(data), *shape), dtype) for role, (shape, dtype) in self._session.outputs.items()}
        names = self.manifest.outputs
        self._session.run(
            {name: _at(one) for name, one in feed.items()}, {names[role]: _at(one) for role, one in found.items()}
        )
        return outputs(self.manifest, {role: np.asarray(one, np.float32) for role, one in found.items()})


def _at(array: npt.NDArray[Any]) -> ArrayAt:
    return ArrayAt(array.ctypes.data, array.shape, array.dtype)


def choices(device: str) -> Choices:
    """The precisions that a model can be computed in on a device: cpu, cuda:N, or rtx:N, TensorRT-RTX on that GPU.

    Raises UsageError if this onnxruntime cannot run there.
    """
    kind, index = split_device(device)
    provider_for(kind)
    where = "CPU" if kind == "cpu" else f"cuda:{index}{' by TensorRT-RTX' if kind == 'rtx' else ''}"
    return Choices(f"{TITLE} on {where}", ("f32",))

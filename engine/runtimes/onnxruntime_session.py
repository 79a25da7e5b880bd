"""A session of onnxruntime whose inputs and outputs lie where the caller says: on the host, or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from ..cores import cores
from ..errors import ModelError, UsageError, one_line
from ..manifest import Manifest
from ..picture import F32
from .base import ArrayAt, check_shapes, inputs

LONGEST = 240
"""Maximum number of characters of onnxruntime's own message that an error quotes."""
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "rtx": ("NvTensorRTRTXExecutionProvider", "NvTensorRtRtxExecutionProvider"),
}
"""The execution providers of a device, under all names that packages of onnxruntime give them. rtx: TensorRT-RTX, in
packages that NVIDIA's users build or get from it."""
TITLE = f"onnxruntime {ort.__version__}"


def split_device(device: str) -> tuple[str, int]:
    """The kind of a device, a key of PROVIDERS, and the number of the GPU. Raises UsageError for anything else."""
    name, colon, number = device.lower().partition(":")
    if name not in PROVIDERS or (colon and (name == "cpu" or not number.isdecimal() or len(number) > 3)):
        raise UsageError(f"onnxruntime runs on CPU, cuda or cuda:N, the GPU number N, got device {device!r}")
    return name, int(number or 0)


def provider_for(kind: str) -> str:
    """The execution provider of a kind of device. Raises UsageError if this onnxruntime has none."""
    offered = ort.get_available_providers()
    for name in PROVIDERS[kind]:
        if name in offered:
            return name
    what = "TensorRT-RTX" if kind == "rtx" else kind.upper()
    raise UsageError(f"this onnxruntime has no {what}: it has {', '.join(offered)}")


def gpu_options(kind: str, index: int, stream: int) -> dict[str, str]:
    """The options of a provider on a GPU. stream: the handle of the stream that all work is queued on, never 0.

    CUDA multiplies float32 as TF32, with 10 bits of mantissa, unless it is told not to: what is called f32 here is f32.
    """
    options = {"device_id": str(index), "user_compute_stream": str(stream)}
    return options | ({"use_tf32": "0"} if kind == "cuda" else {"has_user_compute_stream": "1"})


class Session:
    """An ONNX file, loaded for clips of one length. For one thread at a time."""

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        clip_length: int,
        provider: str,
        options: Mapping[str, str],
        memory: tuple[str, int] = ("cpu", 0),
    ) -> None:
        """memory: where the arrays lie that `run` is given, in onnxruntime's words: ("cpu", 0) or ("cuda", N).

        Raises UsageError if the provider cannot be loaded, ModelError if the file cannot be run.
        """
        self._manifest, self._clip_length, self._memory = manifest, clip_length, memory
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        if cores().limited:  # by itself it takes a thread for each core that it sees
            settings.intra_op_num_threads = cores().threads
        try:
            self._session: Any = ort.InferenceSession(str(path), settings, providers=[(provider, dict(options))])
        except Exception as error:  # its classes derive from nothing narrower
            raise _refused(error) from None
        # onnxruntime replaces a provider that cannot load by the CPU's, and only logs it.
        if provider not in self._session.get_providers():
            raise UsageError(f"onnxruntime cannot run on {memory[0]}: the libraries of {provider} did not load")
        names = {value.name for value in self._session.get_outputs()}
        missing = set(manifest.outputs.values()) - names
        if missing:
            raise ModelError(f"the graph has no output {', '.join(sorted(missing))}: it has {', '.join(sorted(names))}")
        # The shapes in the graph may be open: running a clip of zeros shows them.
        found = self._run_zeros(1)
        self.outputs = {role: (value.shape[1:], value.dtype) for role, value in found.items()}
        """by role, the shape for one clip, without the batch, and the dtype"""
        check_shapes(manifest, clip_length, {role: value.shape for role, value in found.items()})
        self._binding: Any = self._session.io_binding()
        # The caller waits, and for an event, in which a thread sleeps; onnxruntime's own wait keeps a core busy.
        self._run_options = ort.RunOptions()
        if memory[0] != "cpu":
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

    def takes(self, batch: int) -> int:
        """`batch`, or 1 if the file takes no more: it must leave the batch size open, and give two results for two."""
        if batch == 1 or any(
            not value.shape or isinstance(value.shape[0], int) for value in self._session.get_inputs()
        ):
            return 1
        try:
            found = self._run_zeros(2)
        except ModelError:  # some size inside the graph is fixed
            return 1
        return batch if all(len(value) == 2 for value in found.values()) else 1

    def run(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        """Runs the graph on inputs and outputs, by name, in the memory that the session was told of. On a GPU it is
        only queued. The memory must stay until that is done. Raises ModelError."""
        kind, index = self._memory
        try:
            for name, array in given.items():
                self._binding.bind_input(name, kind, index, array.dtype.type, array.shape, array.pointer)
            for name, array in wanted.items():
                self._binding.bind_output(name, kind, index, array.dtype.type, array.shape, array.pointer)
            self._session.run_with_iobinding(self._binding, self._run_options)
        except Exception as error:  # its classes derive from nothing narrower
            raise _refused(error) from None

    def close(self) -> None:
        """Frees the network."""
        self._binding = self._session = None

    def _run_zeros(self, clips: int) -> dict[str, F32]:
        names: Sequence[str] = list(self._manifest.outputs.values())
        zeros = np.zeros((clips, 3, self._clip_length, *self._manifest.input.size), np.float32)
        try:
            values = self._session.run(names, inputs(self._manifest, zeros, None))
        except Exception as error:  # its classes derive from nothing narrower
            raise _refused(error) from None
        return dict(zip(self._manifest.outputs, values, strict=True))


def _refused(error: Exception) -> ModelError:
    return ModelError(f"onnxruntime says: {one_line(error)[:LONGEST]}")

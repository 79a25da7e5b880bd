"""onnxruntime's CUDA provider on the GPU that is not there (tests/gpu_double): its real sessions and bindings on the
CPU, given the GPU's memory, as work queued on the stream that the provider was given."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
from gpu_double import Double

OPTIONS = {
    "CUDAExecutionProvider": {"device_id", "user_compute_stream", "use_tf32"},
    "NvTensorRTRTXExecutionProvider": {"device_id", "user_compute_stream", "has_user_compute_stream"},
}
"""The options that each provider must be given."""


class FakeSession:
    """An InferenceSession whose provider is CUDA's or TensorRT-RTX's."""

    def __init__(self, double: Double, path: str, options: Any, providers: list[tuple[str, dict[str, str]]]) -> None:
        ((self.provider, given),) = providers
        assert set(given) == OPTIONS[self.provider], given
        assert given.get("use_tf32", "0") == "0"
        self.double, self.stream, self.index = double, int(given["user_compute_stream"]), int(given["device_id"])
        assert self.stream, "0 means that there is none"
        self.real = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.get_inputs, self.get_outputs, self.run = self.real.get_inputs, self.real.get_outputs, self.real.run

    def get_providers(self) -> list[str]:
        return [self.provider, "CPUExecutionProvider"]

    def io_binding(self) -> FakeBinding:
        return FakeBinding(self)

    def run_with_iobinding(self, iobinding: FakeBinding, run_options: ort.RunOptions | None = None) -> None:
        config = "disable_synchronize_execution_providers"
        assert run_options is not None
        assert run_options.get_run_config_entry(config) == "1", "onnxruntime would keep a core busy while it waits"
        given, wanted, double, real = dict(iobinding.given), dict(iobinding.wanted), self.double, self.real

        def run() -> None:
            """By the real binding, which is given the same memory by the address that the test has for it."""
            binding = real.io_binding()
            for bound, bind in ((given, binding.bind_input), (wanted, binding.bind_output)):
                for name, (dtype, shape, pointer) in bound.items():
                    bind(name, "cpu", 0, dtype, shape, double.memory(pointer, shape, dtype).ctypes.data)
            real.run_with_iobinding(binding)

        def ranges(bound: dict[str, Any]) -> list[tuple[int, int]]:
            return [
                (pointer, int(np.prod(shape)) * np.dtype(dtype).itemsize) for dtype, shape, pointer in bound.values()
            ]

        code = double.work(self.stream, run, ranges(given), ranges(wanted), "the network")
        if code:
            raise RuntimeError(f"CUDA failure {code}: the GPU has failed")


class FakeBinding:
    """With the real one's parameters."""

    def __init__(self, session: FakeSession) -> None:
        self.session = session
        self.given: dict[str, Any] = {}
        self.wanted: dict[str, Any] = {}

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: Any, shape: Any, buffer_ptr: int
    ) -> None:
        assert (device_type, device_id) == ("cuda", self.session.index)
        self.given[name] = (element_type, shape, buffer_ptr)

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: Any = None,
        shape: Any = None,
        buffer_ptr: int | None = None,
    ) -> None:
        assert (device_type, device_id) == ("cuda", self.session.index)
        self.wanted[name] = (element_type, shape, buffer_ptr)


def install(monkeypatch: Any, double: Double | None, *providers: str) -> None:
    """An onnxruntime that has these providers, beside the CPU's."""
    from saliency_tubes.engine.runtimes import onnxruntime_session

    def session(path: str, options: Any, providers: list[Any]) -> Any:
        if providers[0][0] == "CPUExecutionProvider":
            return ort.InferenceSession(path, options, providers=providers)
        assert double is not None
        return FakeSession(double, path, options, providers)

    names = {name: getattr(ort, name) for name in ("__version__", "SessionOptions", "RunOptions")}
    offered = [*providers, "CPUExecutionProvider"]
    fake = SimpleNamespace(**names, InferenceSession=session, get_available_providers=lambda: offered)
    monkeypatch.setattr(onnxruntime_session, "ort", fake)

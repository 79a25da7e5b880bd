"""TensorRT's runtime on the GPU that is not there (tests/gpu_double), strict about what it is given.

A plan is the ONNX file behind a header, and onnxruntime runs it on the GPU's memory, as work queued on a stream.
"""

from __future__ import annotations

import enum
import json
import sys
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
from gpu_double import Double
from saliency_tubes.engine.runtimes.models import read_manifest
from saliency_tubes.engine.runtimes.onnxfile import read_metadata
from saliency_tubes.engine.runtimes.planfile import PlanInfo, Range, TensorInfo, json_path, sha256

MAGIC = b"a plan\n"
ORIN = {"kind": "integrated", "name": "Orin", "capability": "8.7"}
"""What `gpu_double` is to be told."""


class DataType(enum.Enum):
    FLOAT, HALF, INT64, BF16 = range(4)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


class TensorLocation(enum.Enum):
    DEVICE, HOST = range(2)


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

    def __init__(self) -> None: ...


class Dims:
    """Neither a tuple nor a list, as TensorRT's."""

    def __init__(self, sizes: Any) -> None:
        self._sizes = tuple(sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, index: int) -> int:
        return self._sizes[index]


TYPES = {"float32": DataType.FLOAT, "float16": DataType.HALF, "int64": DataType.INT64, "bfloat16": DataType.BF16}


class FakeTensorRt(ModuleType):
    """The module `tensorrt`, or tensorrt_rtx. `made` is what was made of it."""

    ILogger, DataType, TensorIOMode, TensorLocation = ILogger, DataType, TensorIOMode, TensorLocation

    def __init__(self, name: str, version: str, double: Double, events: list[str]) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__version__, self.double, self.events, self.made = version, double, events, list[str]()
        self.refuse = set[str]()
        """what fails: "runtime", "context", "run", "address\""""
        trt = self

        class Runtime(FakeRuntime):
            def __init__(self, logger: ILogger) -> None:
                super().__init__(trt, logger)

        self.Runtime = Runtime


class FakeRuntime:
    engine_host_code_allowed = False

    def __init__(self, trt: FakeTensorRt, logger: ILogger) -> None:
        if not isinstance(logger, ILogger):
            raise TypeError("__init__(): incompatible constructor arguments")
        trt.made.append("runtime")
        self.trt, self.logger = trt, logger
        if "runtime" in trt.refuse:
            self.say("CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def __del__(self) -> None:
        self.trt.events.append("runtime")

    def say(self, text: str) -> None:
        self.logger.log(
            ILogger.ERROR, f"IRuntime: Error Code 1: Internal Error ({text}. In f at /_src/runtime/api.cpp:7)"
        )

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> FakeEngine | None:
        memoryview(serialized_engine)  # a TypeError where it is not a buffer
        if not serialized_engine.startswith(MAGIC):
            self.say("Serialization assertion magic failed")
            return None
        header, _, network = serialized_engine[len(MAGIC) :].partition(b"\n")
        told = json.loads(header)
        if told["version_compatible"] and not self.engine_host_code_allowed:
            self.say("Engine contains host code, which is not allowed")
            return None
        return FakeEngine(self, told, network)


class FakeEngine:
    def __init__(self, runtime: FakeRuntime, told: dict[str, Any], network: bytes) -> None:
        self.runtime, self.told = runtime, told
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.session = ort.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        self.fed = {value.name: {"tensor(float)": "f4", "tensor(int64)": "i8"}[value.type]
                    for value in self.session.get_inputs()}  # fmt: skip
        self.names = [*told["inputs"], *told["outputs"]]
        self.num_io_tensors = len(self.names)

    def __del__(self) -> None:
        self.runtime.trt.events.append("engine")

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.told["inputs"] else TensorIOMode.OUTPUT

    def get_tensor_location(self, name: str) -> TensorLocation:
        return TensorLocation.HOST if name in self.told["on_host"] else TensorLocation.DEVICE

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims({**self.told["inputs"], **self.told["outputs"]}[name][0])

    def get_tensor_dtype(self, name: str) -> DataType:
        return TYPES[{**self.told["inputs"], **self.told["outputs"]}[name][1]]

    def create_execution_context(self) -> FakeContext | None:
        if "context" in self.runtime.trt.refuse:
            self.runtime.say("OutOfMemory")
            return None
        return FakeContext(self)


class FakeContext:
    def __init__(self, engine: FakeEngine) -> None:
        self.engine, self.say = engine, engine.runtime.say
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}

    def __del__(self) -> None:
        self.engine.runtime.trt.events.append("execution context")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        if not (isinstance(name, str) and isinstance(shape, tuple) and all(type(size) is int for size in shape)):
            raise TypeError("set_input_shape(): incompatible function arguments")
        if name not in self.engine.told["inputs"]:
            self.say(f"{name} is not an input")
            return False
        low, high = self.engine.told["profile"][name]
        if len(low) != len(shape) or not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            self.say(f"Static dimension mismatch while setting input shape for {name}")
            return False
        self.shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self.engine.told["inputs"]:
            return Dims(self.shapes.get(name, self.engine.get_tensor_shape(name)))
        known = set(self.shapes) == set(self.engine.told["inputs"])
        batch = next(iter(self.shapes.values()))[0] if known else -1
        first, *rest = self.engine.get_tensor_shape(name)
        return Dims([batch if first == -1 else first, *rest])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if not (isinstance(name, str) and type(memory) is int):
            raise TypeError("set_tensor_address(): incompatible function arguments")
        if name not in self.engine.names or "address" in self.engine.runtime.trt.refuse:
            self.say(f"{name} has no address to set")
            return False
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if type(stream_handle) is not int:
            raise TypeError("execute_async_v3(): incompatible function arguments")
        told, double = self.engine.told, self.engine.runtime.trt.double
        missing = [name for name in told["inputs"] if name not in self.shapes]
        missing += [name for name in self.engine.names if name not in self.addresses]
        if missing or "run" in self.engine.runtime.trt.refuse:
            self.say(f"neither shape nor address of {missing}")
            return False
        # Shapes and addresses are those of this moment: they may be set anew before the work is done.
        shapes = {name: tuple(self.get_tensor_shape(name)) for name in self.engine.names}
        types = {name: np.dtype(dtype) for name, (_, dtype) in {**told["inputs"], **told["outputs"]}.items()}
        tensors = {name: (self.addresses[name], shapes[name], types[name]) for name in self.engine.names}
        touched = {name: (pointer, int(np.prod(shape)) * dtype.itemsize)
                   for name, (pointer, shape, dtype) in tensors.items()}  # fmt: skip

        session, fed = self.engine.session, self.engine.fed  # the double keeps `run`, which must not keep the context

        def run() -> None:
            feed = {name: double.memory(*tensors[name]).astype(fed[name]) for name in told["inputs"]}
            found = session.run(list(told["outputs"]), feed)
            for name, value in zip(told["outputs"], found, strict=True):
                double.memory(*tensors[name])[...] = value

        reads, writes = ([touched[name] for name in told[kind]] for kind in ("inputs", "outputs"))
        return double.work(stream_handle, run, reads, writes, "the network") == 0


@dataclass
class Here:
    """A machine with a GPU, and what is installed on it."""

    double: Double
    events: list[str] = field(default_factory=list)
    """what of TensorRT was given back, in order"""

    def install(self, monkeypatch: Any, name: str = "tensorrt", version: str = "10.3.0") -> FakeTensorRt:
        """Puts a TensorRT, and no other, where it is imported from."""
        from saliency_tubes.engine.runtimes import tensorrt as runner

        trt = FakeTensorRt(name, version, self.double, self.events)
        monkeypatch.setitem(sys.modules, name, trt)
        others = {"tensorrt", "tensorrt_lean", "tensorrt_dispatch", "tensorrt_rtx"} - {name}
        monkeypatch.setattr(runner, "find_spec", lambda wanted: None if wanted in others else find_spec(wanted))
        return trt


def write_plan(
    onnx: Path, plan: Path, *, batch: tuple[int, int] = (1, 1), clip_length: int | None = None, **changes: Any
) -> Path:
    """A plan of an ONNX file, with its JSON, as `saliency-tubes build` would write them.

    changes: fields of PlanInfo; `on_host`, `halves`: names of tensors; `engine`: what the plan itself says
    otherwise
    """
    manifest = read_manifest(onnx)
    clip_length, low_high = clip_length or manifest.default_clip_length, sorted({*batch})
    engine, on_host, halves = changes.pop("engine", {}), changes.pop("on_host", []), changes.pop("halves", ())
    rest = {manifest.input.name: ((3, clip_length, *manifest.input.size), "float32")}
    if manifest.head is None:
        rest[manifest.class_input] = ((), "int64")
    first = batch[0] if len(low_high) == 1 else -1
    session = ort.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    feed = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in rest.items()}
    names = [value.name for value in session.get_outputs()]
    shapes = {name: value.shape[1:] for name, value in zip(names, session.run(names, feed), strict=True)}

    def tensor(name: str, shape: tuple[int, ...], dtype: str = "float32") -> TensorInfo:
        return TensorInfo(name, (first, *shape), "float16" if name in halves else dtype)

    inputs = tuple(tensor(name, *told) for name, told in rest.items())
    outputs = tuple(tensor(name, shape) for name, shape in shapes.items())
    profile = {name: Range(*((n, *shape) for n in (batch[0], batch[0], batch[1]))) for name, (shape, _) in rest.items()}
    options = changes.pop("options", {})
    told = {
        "version_compatible": bool(options.get("version_compatible")),
        "inputs": {one.name: (one.shape, one.dtype) for one in inputs},
        "outputs": {one.name: (one.shape, one.dtype) for one in outputs},
        "profile": {name: (span.min, span.max) for name, span in profile.items()},
        "on_host": on_host,
        **engine,
    }
    plan.write_bytes(MAGIC + json.dumps(told).encode() + b"\n" + onnx.read_bytes())
    values = {
        "builder": "tensorrt",
        "version": "10.3.0",
        "compute_capability": (ORIN["capability"],),
        "device": ORIN["name"],
        "clip_length": clip_length,
        "inputs": inputs,
        "outputs": outputs,
        "profile": profile,
        "options": {"batch": list(batch), "tf32": True, **options},
        "onnx_sha256": sha256(onnx),
        "plan_sha256": sha256(plan),
        "plan_bytes": plan.stat().st_size,
        "metadata": {key: text for key, text in read_metadata(onnx).items() if key.startswith("saliency_tubes.")},
    }
    json_path(plan).write_text(PlanInfo(**{**values, **changes}).to_json(), encoding="utf-8")
    return plan

"""A GPU that is not there: doubles of TensorRT's runtime and of cuda-bindings, strict about what they are given.

Device memory is memory of the host. What is queued on a stream is done when the stream is waited for, and not before,
so whoever forgets to wait gets rubbish. A plan is the ONNX file behind a header, and onnxruntime runs it.
"""

from __future__ import annotations

import ctypes
import enum
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime as ort
from saliency_tubes.engine.runtimes.device import Device
from saliency_tubes.engine.runtimes.models import read_manifest
from saliency_tubes.engine.runtimes.onnxfile import read_metadata
from saliency_tubes.engine.runtimes.planfile import PlanInfo, Range, TensorInfo, json_path, sha256

MAGIC = b"a plan\n"
ORIN = Device("Orin", "8.7")
RUBBISH = 0xA5


class CUresult(enum.IntEnum):
    SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, INVALID_CONTEXT, ILLEGAL_ADDRESS = 0, 1, 2, 3, 201, 700


class CUstream_flags(enum.IntEnum):
    CU_STREAM_DEFAULT, CU_STREAM_NON_BLOCKING = 0, 1


class Handle:
    """As cuda-bindings gives them: objects that `int` takes, and that no arithmetic does."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


class CUdevice(Handle): ...


class CUcontext(Handle): ...


class CUstream(Handle): ...


class CUdeviceptr(Handle): ...


class FakeCuda(ModuleType):
    """cuda.bindings.driver: what a driver refuses is refused; memory gone wrong is an AssertionError."""

    CUresult, CUstream_flags = CUresult, CUstream_flags

    def __init__(self, events: list[str]) -> None:
        super().__init__("cuda.bindings.driver")
        self.events, self.fail = events, dict[str, CUresult]()
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.contexts: dict[int, int] = {}
        """how often each device's is retained"""
        self.current: dict[int, int] = {}
        """context by thread"""
        self.ready = False

    @property
    def holds_nothing(self) -> bool:
        return not (self.device or self.pinned or self.queues or any(self.contexts.values()))

    def answer(self, function: str, needs_context: bool = True) -> CUresult:
        if function in self.fail:
            return self.fail[function]
        if not self.ready:
            return CUresult.NOT_INITIALIZED
        context = self.current.get(threading.get_ident())
        return CUresult.INVALID_CONTEXT if needs_context and self.contexts.get(context, 0) < 1 else CUresult.SUCCESS

    def cuInit(self, Flags: int) -> tuple[CUresult]:
        assert Flags == 0
        self.ready = True
        return (self.answer("cuInit", needs_context=False),)

    def cuGetErrorString(self, error: CUresult) -> tuple[CUresult, bytes]:
        assert isinstance(error, CUresult)
        return CUresult.SUCCESS, error.name.lower().replace("_", " ").encode()

    def cuDeviceGet(self, ordinal: int) -> tuple[CUresult, CUdevice]:
        assert type(ordinal) is int
        return self.answer("cuDeviceGet", needs_context=False), CUdevice(ordinal)

    def cuDevicePrimaryCtxRetain(self, dev: CUdevice) -> tuple[CUresult, CUcontext]:
        assert isinstance(dev, CUdevice)
        code = self.answer("cuDevicePrimaryCtxRetain", needs_context=False)
        if not code:
            self.contexts[int(dev)] = self.contexts.get(int(dev), 0) + 1
        return code, CUcontext(int(dev))

    def cuDevicePrimaryCtxRelease(self, dev: CUdevice) -> tuple[CUresult]:
        assert self.contexts[int(dev)] > 0, "released more often than retained"
        self.contexts[int(dev)] -= 1
        self.events.append("context of the GPU")
        return (CUresult.SUCCESS,)

    def cuCtxSetCurrent(self, ctx: CUcontext) -> tuple[CUresult]:
        assert isinstance(ctx, CUcontext)
        code = self.answer("cuCtxSetCurrent", needs_context=False)
        if not code:
            self.current[threading.get_ident()] = int(ctx)
        return (code,)

    def cuStreamCreate(self, Flags: int) -> tuple[CUresult, CUstream | None]:
        assert type(Flags) is int
        if code := self.answer("cuStreamCreate"):
            return code, None
        handle = 0x5000 + len(self.queues)
        self.queues[handle] = []
        return CUresult.SUCCESS, CUstream(handle)

    def cuStreamDestroy(self, hStream: CUstream) -> tuple[CUresult]:
        assert isinstance(hStream, CUstream)
        assert not self.queues.pop(int(hStream)), "destroyed with work in it"
        return (CUresult.SUCCESS,)

    def cuStreamSynchronize(self, hStream: CUstream) -> tuple[CUresult]:
        assert isinstance(hStream, CUstream)
        queue = self.queues[int(hStream)]
        if code := self.answer("cuStreamSynchronize"):
            queue.clear()
            return (code,)
        while queue:
            queue.pop(0)()
        return (CUresult.SUCCESS,)

    def cuMemAlloc(self, bytesize: int) -> tuple[CUresult, CUdeviceptr | None]:
        code, address = self._allocate("cuMemAlloc", self.device, bytesize)
        return code, None if code else CUdeviceptr(address)

    def cuMemHostAlloc(self, bytesize: int, Flags: int) -> tuple[CUresult, int | None]:
        assert Flags == 0
        code, address = self._allocate("cuMemHostAlloc", self.pinned, bytesize)
        return code, None if code else address

    def _allocate(self, function: str, held: dict[int, Any], size: int) -> tuple[CUresult, int]:
        assert type(size) is int
        if (code := self.answer(function)) or size < 1:
            return code or CUresult.INVALID_VALUE, 0
        memory = (ctypes.c_ubyte * size)(*[RUBBISH] * min(size, 64))
        held[ctypes.addressof(memory)] = memory
        return CUresult.SUCCESS, ctypes.addressof(memory)

    def cuMemFree(self, dptr: Any) -> tuple[CUresult]:
        assert int(dptr) in self.device, "freed twice, or never allocated"
        assert self.answer("cuMemFree") == CUresult.SUCCESS
        del self.device[int(dptr)]
        self.events.append("memory")
        return (CUresult.SUCCESS,)

    def cuMemFreeHost(self, p: int) -> tuple[CUresult]:
        assert type(p) is int
        del self.pinned[p]
        return (CUresult.SUCCESS,)

    def cuMemcpyHtoDAsync(self, dstDevice: Any, srcHost: int, ByteCount: int, hStream: CUstream) -> tuple[CUresult]:
        return self._copy("cuMemcpyHtoDAsync", self.device, int(dstDevice), self.pinned, srcHost, ByteCount, hStream)

    def cuMemcpyDtoHAsync(self, dstHost: int, srcDevice: Any, ByteCount: int, hStream: CUstream) -> tuple[CUresult]:
        return self._copy("cuMemcpyDtoHAsync", self.pinned, dstHost, self.device, int(srcDevice), ByteCount, hStream)

    def _copy(self, function: str, to: dict, target: int, of: dict, source: int, size: int, stream: CUstream) -> Any:
        assert type(size) is int
        assert isinstance(stream, CUstream)
        for held, address in ((to, target), (of, source)):
            assert type(address) is int
            assert address in held, f"{function}: no such memory"
            assert size <= ctypes.sizeof(held[address]), f"{function}: beyond its end"
        if code := self.answer(function):
            return (code,)
        self.queues[int(stream)].append(lambda: ctypes.memmove(target, source, size))
        return (CUresult.SUCCESS,)


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

    def __init__(self, name: str, version: str, cuda: FakeCuda) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)
        self.__version__, self.cuda, self.made = version, cuda, list[str]()
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
        self.trt.cuda.events.append("runtime")

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
        self.names = [*told["inputs"], *told["outputs"]]
        self.num_io_tensors = len(self.names)

    def __del__(self) -> None:
        self.runtime.trt.cuda.events.append("engine")

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
        self.engine.runtime.trt.cuda.events.append("execution context")

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
        engine, cuda = self.engine, self.engine.runtime.trt.cuda
        assert not cuda.answer("execute_async_v3"), "the GPU is not this thread's"
        assert stream_handle in cuda.queues, "no such stream"
        missing = [name for name in engine.told["inputs"] if name not in self.shapes]
        missing += [name for name in engine.names if name not in self.addresses]
        if missing or "run" in engine.runtime.trt.refuse:
            self.say(f"neither shape nor address of {missing}")
            return False
        cuda.queues[stream_handle].append(self._run)
        return True

    def _run(self) -> None:
        told, feed = self.engine.told, {}
        for name, (_, dtype) in told["inputs"].items():
            feed[name] = self._memory(name, self.shapes[name], dtype).copy()
        found = self.engine.session.run(list(told["outputs"]), feed)
        for name, value in zip(told["outputs"], found, strict=True):
            self._memory(name, value.shape, str(value.dtype))[...] = value

    def _memory(self, name: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        held = self.engine.runtime.trt.cuda.device[self.addresses[name]]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        assert size <= ctypes.sizeof(held), f"{name} does not fit the memory it was given"
        return np.frombuffer(held, dtype, int(np.prod(shape))).reshape(shape)


@dataclass
class Here:
    """A machine with a GPU, and what is installed on it."""

    events: list[str] = field(default_factory=list)
    """what was given back, in order"""

    def __post_init__(self) -> None:
        self.cuda = FakeCuda(self.events)

    def install(self, monkeypatch: Any, name: str = "tensorrt", version: str = "10.3.0") -> FakeTensorRt:
        """Puts cuda-bindings and a TensorRT where they are imported from, and a GPU where it is looked for."""
        from saliency_tubes.engine.runtimes import tensorrt as runner

        modules = {"cuda.bindings.driver": self.cuda, name: FakeTensorRt(name, version, self.cuda)}
        for module, double in modules.items():
            monkeypatch.setitem(sys.modules, module, double)
        others = {"tensorrt", "tensorrt_lean", "tensorrt_dispatch", "tensorrt_rtx"} - {name}
        monkeypatch.setattr(runner, "find_spec", lambda wanted: None if wanted in others else find_spec(wanted))
        monkeypatch.setattr(runner, "find_device", lambda index=0: replace(ORIN, index=index))
        return modules[name]


def write_plan(
    onnx: Path, plan: Path, *, batch: tuple[int, int] = (1, 1), clip_length: int | None = None, **changes: Any
) -> Path:
    """A plan of an ONNX file, with its JSON, as `saliency-tubes build` would write them.

    changes: fields of PlanInfo; `on_host`: names of tensors; `engine`: what the plan itself says otherwise than it
    """
    manifest = read_manifest(onnx)
    clip_length, low_high = clip_length or manifest.default_clip_length, sorted({*batch})
    engine, on_host = changes.pop("engine", {}), changes.pop("on_host", [])
    rest = {manifest.input.name: ((3, clip_length, *manifest.input.size), "float32")}
    if manifest.head is None:
        rest[manifest.class_input] = ((), "int64")
    first = batch[0] if len(low_high) == 1 else -1
    session = ort.InferenceSession(str(onnx), providers=["CPUExecutionProvider"])
    feed = {name: np.zeros((1, *shape), dtype) for name, (shape, dtype) in rest.items()}
    names = [value.name for value in session.get_outputs()]
    shapes = {name: value.shape[1:] for name, value in zip(names, session.run(names, feed), strict=True)}
    inputs = tuple(TensorInfo(name, (first, *shape), dtype) for name, (shape, dtype) in rest.items())
    outputs = tuple(TensorInfo(name, (first, *shape), "float32") for name, shape in shapes.items())
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
        "compute_capability": (ORIN.compute_capability,),
        "device": ORIN.name,
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

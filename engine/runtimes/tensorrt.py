"""Runs plans by TensorRT 10, TensorRT 11 or TensorRT-RTX: one runner for all three.

Their Python API is the same, but for what only builders need. Tests compare every name used below with the real classes
of each.
"""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError, UsageError
from ..picture import F32
from ..types import Outputs
from .base import HostRunner, check_shapes, inputs, outputs
from .device import Buffer, Device, Gpu, find_device
from .plan_checks import check_inputs, check_outputs, most_clips, shape_of_one
from .planfile import BUILDERS, PlanInfo, Shape, TensorInfo, check_runtime, read_bytes

MODULES = {"tensorrt": ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"), "tensorrt-rtx": ("tensorrt_rtx",)}
"""Modules by builder. The first one runs all plans of the builder; the others run version-compatible ones only."""
OLDEST = {"tensorrt": 10, "tensorrt-rtx": 1}
INSTALL = (
    "on x86 'pip install tensorrt-rtx' (GeForce RTX and RTX PRO; builds without a GPU) or 'pip install tensorrt'; on a "
    "Jetson JetPack brings it (apt install python3-libnvinfer), and a virtual environment sees it if made with "
    "--system-site-packages"
)
DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32"}
WIDEST = 8
"""Maximum bytes of one number, for outputs that nobody reads: they need memory too, whatever their type."""
_SOURCE = re.compile(r"\.?\s*\bIn (?:node -?\d+ |function )?\w+ at [\w./]*/_src/[^\s)]*")
"""The part of an error message that says where in TensorRT's own source it was raised."""
_NO_DRIVER = "catchCudaError"
"""TensorRT-RTX adds to many errors that there is no driver, which is true and not the reason."""
MOST_REASONS = 3


@dataclass(frozen=True)
class Kit:
    """An installed TensorRT."""

    name: str
    """tensorrt or tensorrt-rtx"""
    version: str
    trt: Any
    """the imported module"""

    @property
    def is_rtx(self) -> bool:
        return self.name == "tensorrt-rtx"

    @property
    def title(self) -> str:
        """TensorRT 10.3.0"""
        return f"{BUILDERS[self.name]} {self.version}"


def load_kit(name: str, module: str) -> Kit:
    """Imports a TensorRT, creating none of its objects. Raises UsageError if it cannot be imported or is too old."""
    try:
        trt = import_module(module)
        version = str(trt.__version__)
    except Exception as error:  # a library is missing or has another version: TensorRT may raise anything
        raise UsageError(f"{name} is installed but cannot be loaded: {one_line(str(error))}") from None
    if int(version.split(".")[0]) < OLDEST[name]:
        raise UsageError(f"{BUILDERS[name]} {OLDEST[name]} or newer is needed, here is {version}")
    return Kit(name, version, trt)


def find_place(info: PlanInfo, index: int = 0) -> tuple[Kit, Device]:
    """The installed TensorRT and the GPU that can run a plan. Creates none of TensorRT's objects.

    Raises UsageError if there is no GPU or no TensorRT, ModelError if the plan was built by or for another.
    """
    device = find_device(index)
    if isinstance(device, str):
        raise UsageError(f"a TensorRT plan runs on an NVIDIA GPU, and here is {device}")
    # The other builder's modules come last: that one is installed and cannot read this plan is the better message.
    candidates = [
        (builder, module)
        for builder in sorted(MODULES, key=lambda name: name != info.builder)
        for module in (MODULES[builder] if info.options.get("version_compatible") else MODULES[builder][:1])
        if find_spec(module)
    ]
    if not candidates:
        raise UsageError(f"the plan was built by {info.made_by}, and no TensorRT is installed here: {INSTALL}")
    kit = load_kit(*candidates[0])
    check_runtime(info, kit.name, kit.version, device.compute_capability)
    return kit, device


class TensorRtRunner(HostRunner):
    """A Runner for a plan. Inputs and outputs are float32; inside, the plan computes in the types it was built with."""

    def __init__(self, path: Path, info: PlanInfo, device: str, batch: int) -> None:
        kit, found = find_place(info, gpu_index(device))
        self.batch = batch = min(batch, most_clips(info))
        plan = read_bytes(path, info)
        self.manifest = manifest = info.served
        self.clip_length = info.clip_length
        self._loaded = loaded = _Loaded(Gpu(found.index), logger(kit.trt))
        # Also called at exit, while the driver is still there.
        weakref.finalize(self, loaded.close)
        expected: dict[str, tuple[Shape, str]] = {
            manifest.input.name: ((batch, 3, info.clip_length, *manifest.input.size), "float32")
        }
        if manifest.head is None:
            expected[manifest.class_input] = ((batch,), "int64")
        with uncollected(), loaded.log.listening():
            loaded.load(kit, info, plan)
            found_inputs, found_outputs = _tensors(kit.trt, loaded.engine)
            check_inputs(found_inputs, expected)
            check_outputs(found_outputs, manifest)
            shapes = loaded.fix_shapes({name: shape for name, (shape, _) in expected.items()}, found_outputs)
            one = {role: shape_of_one(shapes[name], batch) for role, name in manifest.outputs.items()}
            check_shapes(manifest, info.clip_length, one)
            wanted = set(manifest.outputs.values())
            for name, shape in shapes.items():
                expected[name] = (shape, "float32") if name in wanted else ((*shape, WIDEST), "uint8")
            loaded.allocate(expected)
        self._memory = loaded.buffers[manifest.input.name].host  # clips are made where they are sent from
        # Kernels are loaded when they first run: a failure shows here, and the first clip need not wait for them.
        self.infer(np.zeros(expected[manifest.input.name][0], np.float32))
        self.description = f"{kit.title} on {found.name}, plan {path.name}, float32 I/O"

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `HostRunner.infer`. Raises ModelError where the GPU fails."""
        loaded, gpu, count = self._loaded, self._loaded.gpu, len(data)
        buffers = {name: _first(buffer, count) for name, buffer in loaded.buffers.items()}
        gpu.enter()  # the calling thread may be another one than last time
        feed = inputs(self.manifest, data, class_ids)
        for name, value in feed.items():
            host = buffers[name].host
            if value.shape != host.shape:
                raise ValueError(f"{name} must be of shape {host.shape}, got {value.shape}")
            if not np.may_share_memory(host, value):
                np.copyto(host, value)
            gpu.upload(buffers[name])
        loaded.set_shapes({name: value.shape for name, value in feed.items()})
        loaded.execute()
        # A kernel that draws on the GPU could read the activation here, at its buffer's pointer on the GPU's stream.
        names = self.manifest.outputs.values()
        for name in names:
            gpu.download(buffers[name])
        gpu.wait()
        return outputs(self.manifest, {name: buffers[name].host.copy() for name in names})


@dataclass(eq=False)
class _Loaded:
    """A plan on a GPU. `close` frees TensorRT's objects, in the order it needs, and then the memory that they use."""

    gpu: Gpu
    log: Any
    runtime: Any = None
    engine: Any = None
    context: Any = None
    buffers: dict[str, Buffer] = field(default_factory=dict)
    """by tensor"""
    shapes: dict[str, Shape] = field(default_factory=dict)
    """of the inputs, as they are set"""

    def load(self, kit: Kit, info: PlanInfo, plan: bytes) -> None:
        with raising(f"{kit.title} cannot be used", self.log):
            self.runtime = runtime = kit.trt.Runtime(self.log)
            if info.options.get("version_compatible"):  # such a plan contains its own runtime, which is code
                runtime.engine_host_code_allowed = True
            self.engine = engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ModelError(f"{kit.title} cannot read it: {self.log.reason()}")
        self.context = engine.create_execution_context()
        if self.context is None:
            raise ModelError(f"{kit.title} cannot prepare it: {self.log.reason()}")

    def fix_shapes(self, given: Mapping[str, Shape], found: Mapping[str, TensorInfo]) -> dict[str, Shape]:
        """Sets the shapes of the inputs. Returns those of the outputs, by tensor."""
        self.set_shapes(given)
        shapes = {name: _sizes(self.context.get_tensor_shape(name)) for name in found}
        for name, shape in shapes.items():
            if min(shape, default=0) < 0:
                raise ModelError(f"the shape of the plan's output {name} cannot be told before it runs: {list(shape)}")
        return shapes

    def set_shapes(self, given: Mapping[str, Shape]) -> None:
        """Sets the shapes of the inputs, if they differ from those of the run before."""
        for name, shape in given.items():
            if self.shapes.get(name) == shape:
                continue
            if not self.context.set_input_shape(name, shape):
                raise ModelError(f"the plan does not take {name} of shape {shape}: {self.log.reason()}")
            self.shapes[name] = shape

    def allocate(self, tensors: Mapping[str, tuple[Shape, str]]) -> None:
        """Allocates memory for every tensor: TensorRT wants an address for each, also for outputs that nobody reads."""
        context = self.context
        for name, (shape, dtype) in tensors.items():
            self.buffers[name] = buffer = self.gpu.allocate(shape, dtype)
            if not context.set_tensor_address(name, buffer.pointer):
                raise ModelError(f"the plan takes no memory for {name}: {self.log.reason()}")

    def execute(self) -> None:
        context = self.context
        with self.log.listening():
            if not context.execute_async_v3(self.gpu.stream):
                raise ModelError(f"TensorRT cannot run the plan: {self.log.reason()}")

    def close(self) -> None:
        with suppress(ModelError):  # a GPU that has failed fails again here
            self.gpu.enter()
            self.gpu.wait()
        self.context = None
        self.engine = None
        self.runtime = None
        self.buffers.clear()
        self.gpu.close()


def gpu_index(device: str) -> int:
    """0 for "auto" and "cuda", 1 for "cuda:1". Raises UsageError for anything else."""
    name, colon, number = device.lower().partition(":")
    if (name == "auto" and not colon) or (name == "cuda" and (not colon or (number.isdecimal() and len(number) < 4))):
        return int(number or 0)
    raise UsageError(f"TensorRT runs on cuda or cuda:N, the GPU number N, got device {device!r}")


def _first(buffer: Buffer, count: int) -> Buffer:
    """The part of a buffer that holds the first `count` clips."""
    return Buffer(buffer.host[:count], buffer.pointer)


def _tensors(trt: Any, engine: Any) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """The inputs and the outputs of a plan, by name. Raises ModelError for one that is not on the GPU."""
    found: dict[bool, dict[str, TensorInfo]] = {True: {}, False: {}}
    for index in range(engine.num_io_tensors):
        name = str(engine.get_tensor_name(index))
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            raise ModelError(f"the plan wants {name} on the host, where this runner has nothing")
        dtype = engine.get_tensor_dtype(name)
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        found[is_input][name] = TensorInfo(name, _sizes(engine.get_tensor_shape(name)), dtype_name(dtype))
    return found[True], found[False]


def dtype_name(dtype: Any) -> str:
    """float32 for DataType.FLOAT"""
    kind = str(dtype.name)
    return DTYPES.get(kind, kind.lower())


def _sizes(dims: Any) -> Shape:
    return tuple(int(size) for size in dims)


@contextmanager
def raising(what: str, log: Any) -> Iterator[None]:
    """Raises ModelError with the reason from TensorRT's log where its bindings raise errors that say nothing."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{what}: {log.reason(one_line(str(error)))}") from None


@contextmanager
def uncollected() -> Iterator[None]:
    """Makes Python collect reference cycles before the block and not while it lasts.

    Python may collect cycles in any call. When a process has two loggers, TensorRT logs that while it holds a lock, and
    the end of a builder takes the same lock: a builder collected in the logger's call would wait for ever.
    """
    gc.collect()
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@cache
def logger(trt: Any) -> Any:
    """The process's only logger: TensorRT keeps the first one it is given, and may call it at any time."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the base class is known only once trt is imported
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.heard: Callable[[str, str], None] | None = None

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)
            if self.heard is not None:
                self.heard(severity.name, msg)

        @contextmanager
        def listening(self, heard: Callable[[str, str], None] | None = None) -> Iterator[None]:
            """Forgets the errors so far. heard: told the severity and the text of each message."""
            self.errors, self.heard = [], heard
            try:
                yield
            finally:
                self.heard = None

        def reason(self, otherwise: str = "it gave no reason") -> str:
            return reason(self.errors) or otherwise

    return Log()


def reason(errors: list[str]) -> str:
    """TensorRT's last errors in one line, without the places in its source where they were raised."""
    lines = [one_line(_SOURCE.sub("", line)) for line in errors]
    telling = [line for line in lines if _NO_DRIVER not in line] or lines
    return "; ".join(dict.fromkeys(telling[-MOST_REASONS:]))


def one_line(text: str) -> str:
    return " ".join(text.split())

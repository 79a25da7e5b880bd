"""Runs plans by TensorRT 10, TensorRT 11 or TensorRT-RTX: one runner for all three.

Their Python API is the same, but for what only builders need. Tests compare every name used below with the real classes
of each.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..cuda.driver import Gpu
from ..cuda.resources import Memory, Stream
from ..errors import ModelError, UsageError
from .base import ArrayAt, check_shapes
from .device import Device, cuda_index, find_device
from .gpu_runner import GpuRunner, TensorOnGpu
from .plan_checks import FLOATS, check_inputs, check_outputs, most_clips, shape_of_one
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


class TensorRtRunner(GpuRunner):
    """A Runner for a plan. It computes in the types that the plan was built with; clips and outputs are float32, or
    float16 where the plan has them so."""

    def __init__(self, path: Path, info: PlanInfo, device: str, batch: int) -> None:
        """Raises UsageError where there is no GPU, no TensorRT or no kernel, ModelError for a plan that cannot run."""
        kit, found = find_place(info, cuda_index(device))
        batch = min(batch, most_clips(info))
        plan = read_bytes(path, info)
        manifest = info.served
        super().__init__(Gpu.of(found.index), manifest, info.clip_length)
        self._loaded = loaded = _Loaded(self.gpu, self.stream, logger(kit.trt))
        self.at_end.append(loaded.close)
        clip = (batch, 3, info.clip_length, *manifest.input.size)
        expected: dict[str, tuple[Shape, tuple[str, ...]]] = {manifest.input.name: (clip, FLOATS)}
        if manifest.head is None:
            expected[manifest.class_input] = ((batch,), ("int64",))
        with self.gpu.entered(), uncollected(), loaded.log.listening():
            loaded.load(kit, info, plan)
            found_inputs, found_outputs = _tensors(kit.trt, loaded.engine)
            check_inputs(found_inputs, expected)
            check_outputs(found_outputs, manifest)
            shapes = loaded.fix_shapes({name: shape for name, (shape, _) in expected.items()}, found_outputs)
            one = {role: shape_of_one(shapes[name], batch) for role, name in manifest.outputs.items()}
            check_shapes(manifest, info.clip_length, one)
            loaded.place_the_rest({name: shapes[name] for name in shapes if name not in manifest.outputs.values()})
            outputs: dict[str, TensorOnGpu] = {
                role: TensorOnGpu(name, one[role][1:], np.dtype(found_outputs[name].dtype))
                for role, name in manifest.outputs.items()
            }
            dtype = np.dtype(found_inputs[manifest.input.name].dtype)
            self.prepare(batch, TensorOnGpu(manifest.input.name, clip[1:], dtype), outputs)
        self.warm_up()
        types = " and ".join(sorted({str(dtype), *(str(output.dtype) for output in outputs.values())}))
        self.description = f"{kit.title} on {found.name}, plan {path.name}, {types} I/O"

    def queue(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        """As `GpuRunner.queue`."""
        self._loaded.set_shapes({name: array.shape for name, array in given.items()})
        self._loaded.set_addresses({name: array.pointer for name, array in (*given.items(), *wanted.items())})
        self._loaded.execute()


@dataclass(eq=False)
class _Loaded:
    """A plan on a GPU. `close` frees TensorRT's objects, in the order it needs."""

    gpu: Gpu
    stream: Stream
    log: Any
    runtime: Any = None
    engine: Any = None
    context: Any = None
    rest: list[Memory] = field(default_factory=list)
    """of the outputs that nobody reads"""
    shapes: dict[str, Shape] = field(default_factory=dict)
    """of the inputs, as they are set"""
    addresses: dict[str, int] = field(default_factory=dict)
    """of inputs and outputs, as they are set"""

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

    def place_the_rest(self, outputs: Mapping[str, Shape]) -> None:
        """Takes memory for the outputs that nobody reads: TensorRT wants an address for those too."""
        for name, shape in outputs.items():
            self.rest.append(self.gpu.allocate(max(1, prod(shape)) * WIDEST))
            self.set_addresses({name: self.rest[-1].pointer})

    def set_addresses(self, tensors: Mapping[str, int]) -> None:
        """Sets where inputs and outputs lie, if they do not lie there already."""
        for name, pointer in tensors.items():
            if self.addresses.get(name) == pointer:
                continue
            if not self.context.set_tensor_address(name, pointer):
                raise ModelError(f"the plan takes no memory for {name}: {self.log.reason()}")
            self.addresses[name] = pointer

    def execute(self) -> None:
        context = self.context
        with self.log.listening():
            if not context.execute_async_v3(self.stream.handle):
                raise ModelError(f"TensorRT cannot run the plan: {self.log.reason()}")

    def close(self) -> None:
        """To be called when the stream is done."""
        with suppress(ModelError), self.gpu.entered():
            self.context = None
            self.engine = None
            self.runtime = None
        self.rest.clear()


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

"""From ONNX to a plan, by TensorRT 10, TensorRT 11 or TensorRT-RTX: one function, `build`, for all three.

They share one Python API but for a few names. Of it only what all of them have is used here, and each exception has its
`kit.is_rtx`; tests hold every name below against the real classes of each. Networks are strongly typed: what is float16
in the ONNX file is float16 in the plan, and the same file serves every version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..engine.errors import ModelError, UsageError
from ..engine.manifest import Manifest
from ..engine.planfile import AMPERE_PLUS, BUILDERS, NOT_COMPATIBLE, SAME_CAPABILITY, Range, Shape, TensorInfo
from ..engine.runner import check_shapes
from .build_device import Device, find_device
from .build_options import Cancelled, Options, Watch

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""by builder; the first that is installed is taken. tensorrt_lean and tensorrt_dispatch run plans, and build none"""
OLDEST = {"tensorrt": 10, "tensorrt-rtx": 1}
INSTALL = (
    "building needs TensorRT: on x86 'pip install tensorrt-rtx' (GeForce RTX and RTX PRO; builds without a GPU) or "
    "'pip install tensorrt'; on a Jetson JetPack brings it (apt install python3-libnvinfer), and a virtual environment "
    "sees it if made with --system-site-packages"
)
DTYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32"}
MIB = 1 << 20
_SOURCE = re.compile(r"\.?\s*\bIn (?:node -?\d+ |function )?\w+ at [\w./]*/_src/[^\s)]*")
"""where in TensorRT's own source an error was raised"""
_NO_DRIVER = "catchCudaError"
"""TensorRT-RTX says at many an error that there is no driver: true, and not the reason"""
_MOST_REASONS = 3


@dataclass(frozen=True)
class Kit:
    """A builder that is installed."""

    name: str
    """tensorrt or tensorrt-rtx"""
    version: str
    trt: Any
    """its module"""

    @property
    def is_rtx(self) -> bool:
        return self.name == "tensorrt-rtx"

    @property
    def title(self) -> str:
        """TensorRT 10.3.0"""
        return f"{BUILDERS[self.name]} {self.version}"


@dataclass(frozen=True)
class Engine:
    """A plan, as the builder gave it."""

    data: memoryview
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profile: dict[str, Range]
    frames: int


def find_kit(builder: str = "auto") -> Kit:
    """The builder of that name, or the first that is installed. Raises UsageError, saying what to install."""
    if builder not in ("auto", *MODULES):
        raise UsageError(f"builder must be one of auto, {', '.join(MODULES)}, got {builder!r}")
    installed = [name for name, module in MODULES.items() if find_spec(module)]
    if builder not in ("auto", *installed):
        raise UsageError(f"{builder} is not installed; {INSTALL}")
    if not installed:
        raise UsageError(INSTALL)
    name = installed[0] if builder == "auto" else builder
    try:
        trt = import_module(MODULES[name])
        version = str(trt.__version__)
    except Exception as error:  # a library that is missing or of another version: what is raised is TensorRT's business
        raise UsageError(f"{name} is installed but cannot be loaded: {_one_line(str(error))}") from None
    if int(version.split(".")[0]) < OLDEST[name]:
        raise UsageError(f"{BUILDERS[name]} {OLDEST[name]} or newer is needed, here is {version}")
    return Kit(name, version, trt)


def target(kit: Kit, options: Options) -> Device | None:
    """The GPU a plan is built on; None: on none. Raises UsageError where the options cannot be met by this builder.

    TensorRT builds by trying, on the very GPU; TensorRT-RTX builds from what it knows, and leaves the rest to the GPU.
    """
    if kit.is_rtx:
        known = [_capability(name) for name in sorted(_capabilities(kit.trt), key=_sm_number)]
        for value in options.compute_capability:
            if value not in known:
                raise UsageError(f"{kit.title} builds for compute capability {', '.join(known)}, got {value}")
        if options.hardware_compatibility != NOT_COMPATIBLE:
            raise UsageError(
                "hardware compatibility is TensorRT's: TensorRT-RTX has --compute-capability, of several GPUs"
            )
        return None
    if options.compute_capability:
        raise UsageError("TensorRT builds for the GPU it runs on: --compute-capability is for --builder tensorrt-rtx")
    device = find_device()
    if isinstance(device, str):
        raise UsageError(
            f"{kit.title} builds on the GPU that will run the plan, and here is {device}; tensorrt-rtx needs no GPU"
        )
    return device


def build(
    kit: Kit, onnx: Path, manifest: Manifest, options: Options, watch: Watch, timing_cache: Path | None = None
) -> Engine:
    """Builds. `target` must have passed. timing_cache: read if there, and written; TensorRT-RTX has none.

    Raises ModelError, with TensorRT's own reason, if it cannot parse or build the network or if the network is not what
    the manifest says; Cancelled if `watch.cancelled` became true.
    """
    trt, log = kit.trt, _logger(kit.trt)
    with log.told(watch):
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        _parse(trt, network, onnx, log)
        frames = manifest.default_frames if options.frames is None else options.frames
        profile = _profile(network, manifest, frames, options.batch)
        with _raising(f"cannot build {onnx} for these shapes", log):
            _fix_shapes(network, profile)
            outputs = _outputs(network)
        _check_outputs(outputs, manifest, frames)
        config = builder.create_builder_config()
        _configure(kit, config, options)
        config.progress_monitor = monitor = _monitor(trt, watch)
        if any(-1 in given.shape for given in _inputs(network)):
            _add_profile(builder, config, profile, onnx, log)
        if timing_cache is not None and not kit.is_rtx:
            _use_cache(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        del monitor  # TensorRT holds no reference of its own: it must have lived until here
    if plan is None:
        if watch.cancelled:
            raise Cancelled
        raise ModelError(f"{kit.title} cannot build {onnx}: {log.reason()}")
    if timing_cache is not None and not kit.is_rtx:
        _save_cache(config, timing_cache)
    return Engine(memoryview(plan), _inputs(network), outputs, profile, frames)


def _parse(trt: Any, network: Any, onnx: Path, log: Any) -> None:
    """The network must outlive the parser: the caller holds it."""
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(str(onnx)):
        return
    reasons = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        try:
            where = f"node {error.node_name()} ({error.node_operator()}): " if error.node_name() else ""
            reasons.append(where + _one_line(error.desc()))
        except UnicodeDecodeError:
            reasons.append("the file is damaged: it names things in what is not UTF-8")
    first = "; ".join([*dict.fromkeys(reasons)][:_MOST_REASONS])
    raise ModelError(f"TensorRT cannot read {onnx}: {first or log.reason()}")


def _inputs(network: Any) -> tuple[TensorInfo, ...]:
    return tuple(_info(network.get_input(index)) for index in range(network.num_inputs))


def _outputs(network: Any) -> tuple[TensorInfo, ...]:
    return tuple(_info(network.get_output(index)) for index in range(network.num_outputs))


def _info(tensor: Any) -> TensorInfo:
    kind = str(tensor.dtype.name)
    return TensorInfo(str(tensor.name), tuple(int(size) for size in tensor.shape), DTYPES.get(kind, kind.lower()))


def _profile(network: Any, manifest: Manifest, frames: int, batch: tuple[int, int, int]) -> dict[str, Range]:
    """The shapes of every input. Raises ModelError where the network's inputs are not the manifest's."""
    manifest.window(frames)
    expected: dict[str, tuple[Shape, str]] = {manifest.input.name: ((3, frames, *manifest.input.size), "float32")}
    if manifest.head is None:
        expected[manifest.class_input] = ((), "int64")
    found = {given.name: given for given in _inputs(network)}
    if set(found) != set(expected):
        raise ModelError(f"the graph's inputs are {', '.join(found)}; the manifest says {', '.join(expected)}")
    for name, (rest, dtype) in expected.items():
        given = found[name]
        shape = (-1, *rest)
        fits = len(given.shape) == len(shape) and all(
            size in (-1, wanted) for size, wanted in zip(given.shape[1:], rest, strict=True)
        )
        if not fits or given.dtype != dtype:
            text = f"{list(given.shape)} {given.dtype}; the manifest says {list(shape)} {dtype}"
            raise ModelError(f"the graph's input {name} is {text}")
        if given.shape[0] != -1 and set(batch) != {given.shape[0]}:
            raise UsageError(f"the graph takes batches of {given.shape[0]} only, got {':'.join(map(str, batch))}")
    return {name: Range(*((count, *rest) for count in batch)) for name, (rest, _) in expected.items()}


def _fix_shapes(network: Any, profile: dict[str, Range]) -> None:
    """Makes constant what the profile leaves no choice in: TensorRT then knows more, and says shapes of outputs."""
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        span = profile[tensor.name]
        tensor.shape = [low if low == high else -1 for low, high in zip(span.min, span.max, strict=True)]


def _check_outputs(outputs: tuple[TensorInfo, ...], manifest: Manifest, frames: int) -> None:
    """Raises ModelError where the network's outputs are not the manifest's."""
    found = {given.name: given for given in outputs}
    shapes: dict[str, Shape] = {}
    for role, name in manifest.outputs.items():
        if name not in found:
            raise ModelError(f"the graph has no output {name}: it has {', '.join(found)}")
        if found[name].dtype != "float32":
            raise ModelError(f"the graph's output {name} is {found[name].dtype}, and should be float32")
        shapes[role] = (1, *found[name].shape[1:])
    check_shapes(manifest, frames, shapes)


def _configure(kit: Kit, config: Any, options: Options) -> None:
    trt = kit.trt
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * MIB)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatibility == AMPERE_PLUS:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    elif options.hardware_compatibility == SAME_CAPABILITY:
        level = getattr(trt.HardwareCompatibilityLevel, "SAME_COMPUTE_CAPABILITY", None)
        if level is None:
            raise UsageError(f"{kit.title} has no hardware compatibility {SAME_CAPABILITY!r}")
        config.hardware_compatibility_level = level
    if options.compute_capability:
        config.num_compute_capabilities = len(options.compute_capability)
        by_value = {_capability(name): value for name, value in _capabilities(trt).items()}
        for index, value in enumerate(options.compute_capability):
            config.set_compute_capability(by_value[value], index)


def _capabilities(trt: Any) -> dict[str, Any]:
    """By name: SM86."""
    return {name: value for name, value in vars(trt.ComputeCapability).items() if re.fullmatch(r"SM\d{2,}", name)}


def _sm_number(name: str) -> int:
    return int(name[2:])


def _capability(name: str) -> str:
    """8.6 of SM86, 12.0 of SM120."""
    return f"{name[2:-1]}.{name[-1]}"


def _add_profile(builder: Any, config: Any, profile: dict[str, Range], onnx: Path, log: Any) -> None:
    optimization = builder.create_optimization_profile()
    for name, span in profile.items():
        optimization.set_shape(name, span.min, span.opt, span.max)
    if config.add_optimization_profile(optimization) < 0:
        raise ModelError(f"cannot build {onnx} for these shapes: {log.reason()}")


def _use_cache(config: Any, path: Path) -> None:
    """What earlier builds measured; of no use, and left alone, if by another GPU or version."""
    try:
        old = path.read_bytes()
    except OSError:
        old = b""
    timings = config.create_timing_cache(old)
    if timings is None or not config.set_timing_cache(timings, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _save_cache(config: Any, path: Path) -> None:
    """Another process may be reading the old one: it is replaced, never written into."""
    part = path.with_name(path.name + ".part")
    timings = config.get_timing_cache()
    try:
        part.write_bytes(memoryview(timings.serialize()))
        part.replace(path)
    except OSError as failure:
        raise UsageError(f"cannot write the timing cache {path}: {failure.strerror}") from None


@contextmanager
def _raising(what: str, log: Any) -> Iterator[None]:
    """The bindings raise errors of no meaning where TensorRT gives nothing: the log has the reason."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{what}: {log.reason(_one_line(str(error)))}") from None


def _monitor(trt: Any, watch: Watch) -> Any:
    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.phase_start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            watch.step_complete(phase_name, step)
            return not watch.cancelled

        def phase_finish(self, phase_name: str) -> None:
            watch.phase_finish(phase_name)

    return Monitor()


@cache
def _logger(trt: Any) -> Any:
    """One for the life of the process: TensorRT keeps the first it is given, and calls it whenever it likes."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.watch: Watch | None = None

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(msg)
            if self.watch is not None:
                self.watch.log(severity.name, msg)

        @contextmanager
        def told(self, watch: Watch) -> Iterator[None]:
            self.errors, self.watch = [], watch
            try:
                yield
            finally:
                self.watch = None

        def reason(self, otherwise: str = "it gave no reason") -> str:
            return reason(self.errors) or otherwise

    return Log()


def reason(errors: list[str]) -> str:
    """What TensorRT said, in one line: its last errors, less where in its source they were raised."""
    lines = [_one_line(_SOURCE.sub("", line)) for line in errors]
    telling = [line for line in lines if _NO_DRIVER not in line] or lines
    return "; ".join(dict.fromkeys(telling[-_MOST_REASONS:]))


def _one_line(text: str) -> str:
    return " ".join(text.split())

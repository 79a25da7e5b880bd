"""From ONNX to a plan, by TensorRT 10, TensorRT 11 or TensorRT-RTX: one function, `build`, for all three.

They share one Python API but for a few names. Of it only what all of them have is used here, and each exception has its
`kit.is_rtx`; tests hold every name below against the real classes of each. Networks are strongly typed: what is float16
in the ONNX file is float16 in the plan, and the same file serves every version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ModelError, UsageError
from ..files import write_whole
from ..manifest import Manifest
from .base import check_shapes
from .build_options import BuildOptions, BuildWatch, Cancelled
from .device import Device, find_device
from .planfile import AMPERE_PLUS, NOT_COMPATIBLE, SAME_CAPABILITY, Range, Shape, TensorInfo
from .tensorrt import INSTALL as ANYWHERE
from .tensorrt import MOST_REASONS, Kit, dtype_name, load_kit, logger, one_line, raising, uncollected

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""by builder; the first that is installed is taken. tensorrt_lean and tensorrt_dispatch run plans, and build none"""
INSTALL = f"building needs TensorRT: {ANYWHERE}"
MIB = 1 << 20


@dataclass(frozen=True)
class Engine:
    """A plan, as the builder gave it."""

    data: memoryview
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    profile: dict[str, Range]
    clip_length: int


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
    return load_kit(name, MODULES[name])


class FixedBatch(UsageError):
    """The graph takes another number of clips at a time than was asked for, and no other."""

    def __init__(self, size: int, asked: tuple[int, int, int]) -> None:
        super().__init__(f"the graph takes batches of {size} only, got {':'.join(map(str, asked))}")
        self.size = size


def kit_for(device: Device) -> Kit:
    """The TensorRT that builds plans for a GPU and runs them there. Raises UsageError if there is none."""
    reasons = []
    for name in [name for name, module in MODULES.items() if find_spec(module)]:
        try:
            kit = load_kit(name, MODULES[name])
        except UsageError as error:
            reasons.append(str(error))
            continue
        if not kit.is_rtx or device.compute_capability in capabilities(kit):
            return kit
        reasons.append(f"{kit.title} has nothing for compute capability {device.compute_capability}")
    raise UsageError("; ".join(reasons) or "TensorRT is not installed")


def target(kit: Kit, options: BuildOptions, index: int = 0) -> Device | None:
    """The GPU a plan is built on; None: on none. Raises UsageError where the options cannot be met by this builder.

    TensorRT builds by trying, on the very GPU; TensorRT-RTX builds from what it knows, and leaves the rest to the GPU.
    """
    if kit.is_rtx:
        known = capabilities(kit)
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
    device = find_device(index)
    if isinstance(device, str):
        raise UsageError(
            f"{kit.title} builds on the GPU that will run the plan, and here is {device}; tensorrt-rtx needs no GPU"
        )
    return device


def build(
    kit: Kit, onnx: Path, manifest: Manifest, options: BuildOptions, watch: BuildWatch, timing_cache: Path | None = None
) -> Engine:
    """Builds. `target` must have passed. timing_cache: read if there, and written; TensorRT-RTX has none.

    Raises ModelError, with TensorRT's own reason, if it cannot parse or build the network or if the network is not what
    the manifest says; Cancelled if `watch.cancelled` became true.
    """
    trt, log = kit.trt, logger(kit.trt)
    with uncollected(), log.listening(watch.log):
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        _parse(trt, network, onnx, log)
        clip_length = manifest.default_clip_length if options.clip_length is None else options.clip_length
        profile = _profile(network, manifest, clip_length, options.batch)
        with raising(f"cannot build {onnx} for these shapes", log):
            _fix_shapes(network, profile)
            outputs = _outputs(network)
        _check_outputs(outputs, manifest, clip_length)
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
    return Engine(memoryview(plan), _inputs(network), outputs, profile, clip_length)


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
            reasons.append(where + one_line(error.desc()))
        except UnicodeDecodeError:
            reasons.append("the file is damaged: it names things in what is not UTF-8")
    first = "; ".join([*dict.fromkeys(reasons)][:MOST_REASONS])
    raise ModelError(f"TensorRT cannot read {onnx}: {first or log.reason()}")


def _inputs(network: Any) -> tuple[TensorInfo, ...]:
    return tuple(_info(network.get_input(index)) for index in range(network.num_inputs))


def _outputs(network: Any) -> tuple[TensorInfo, ...]:
    return tuple(_info(network.get_output(index)) for index in range(network.num_outputs))


def _info(tensor: Any) -> TensorInfo:
    return TensorInfo(str(tensor.name), tuple(int(size) for size in tensor.shape), dtype_name(tensor.dtype))


def _profile(network: Any, manifest: Manifest, clip_length: int, batch: tuple[int, int, int]) -> dict[str, Range]:
    """The shapes of every input. Raises ModelError where the network's inputs are not the manifest's."""
    manifest.window(clip_length)
    expected: dict[str, tuple[Shape, str]] = {manifest.input.name: ((3, clip_length, *manifest.input.size), "float32")}
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
            raise FixedBatch(given.shape[0], batch)
    return {name: Range(*((count, *rest) for count in batch)) for name, (rest, _) in expected.items()}


def _fix_shapes(network: Any, profile: dict[str, Range]) -> None:
    """Makes constant what the profile leaves no choice in: TensorRT then knows more, and says shapes of outputs."""
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        span = profile[tensor.name]
        tensor.shape = [low if low == high else -1 for low, high in zip(span.min, span.max, strict=True)]


def _check_outputs(outputs: tuple[TensorInfo, ...], manifest: Manifest, clip_length: int) -> None:
    """Raises ModelError where the network's outputs are not the manifest's."""
    found = {given.name: given for given in outputs}
    shapes: dict[str, Shape] = {}
    for role, name in manifest.outputs.items():
        if name not in found:
            raise ModelError(f"the graph has no output {name}: it has {', '.join(found)}")
        if found[name].dtype != "float32":
            raise ModelError(f"the graph's output {name} is {found[name].dtype}, and should be float32")
        shapes[role] = (1, *found[name].shape[1:])
    check_shapes(manifest, clip_length, shapes)


def _configure(kit: Kit, config: Any, options: BuildOptions) -> None:
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


def capabilities(kit: Kit) -> list[str]:
    """The compute capabilities that TensorRT-RTX builds for."""
    return [_capability(name) for name in sorted(_capabilities(kit.trt), key=_sm_number)]


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
    part = path.with_name(path.name + ".part")
    try:  # before the minutes that a build takes
        part.touch()
        part.unlink()
    except OSError as failure:
        raise UsageError(f"cannot write the timing cache {path}: {failure.strerror}") from None
    timings = config.create_timing_cache(old)
    if timings is None or not config.set_timing_cache(timings, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _save_cache(config: Any, path: Path) -> None:
    """Another process may be reading the old one: it is replaced, never written into."""
    timings = config.get_timing_cache()
    try:
        write_whole(path, memoryview(timings.serialize()))
    except OSError as failure:
        raise UsageError(f"cannot write the timing cache {path}: {failure.strerror}") from None


def _monitor(trt: Any, watch: BuildWatch) -> Any:
    class BuildMonitor(trt.IProgressMonitor):  # type: ignore[misc]  # the base class is known only once trt is imported
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watch.phase_start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            watch.step_complete(phase_name, step)
            return not watch.cancelled

        def phase_finish(self, phase_name: str) -> None:
            watch.phase_finish(phase_name)

    return BuildMonitor()

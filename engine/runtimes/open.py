"""Runs a model file. One protocol, one file a runtime, chosen once and said by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelError, TubesError, UsageError
from ..lazy import lazily
from ..picture import HOST
from ..precision import RUN_PRECISIONS, check_precision
from .base import ONNX_RUNTIMES, ONNXRUNTIME_RTX, RUNTIMES, Choices, TensorRunner
from .device import DOCTOR, Device, cuda_index, find_device
from .models import find_model, is_plan, read_manifest
from .planfile import read_plan

if TYPE_CHECKING:
    from .own_plan import Attend

ON_CUDA = ("tensorrt", "onnxruntime")
"""What runs ONNX files on an NVIDIA GPU, the fastest first: TensorRT by a plan that is built on the way."""
INSTALL_ON_CUDA = (
    "pip install 'saliency-tubes[cuda,tensorrt]' or onnxruntime-gpu; 'saliency-tubes doctor' says which fits"
)


def open_runner(
    model: str | Path = "i3d",
    *,
    clip_length: int | None = None,
    runtime: str = "auto",
    precision: str = "f32",
    device: str = "auto",
    batch: int = 1,
) -> TensorRunner:
    """Loads a model for clips of `clip_length` frames (None: the manifest's default), `batch` at a time if it can.

    runtime: openvino, onnxruntime, onnxruntime-rtx, tensorrt, or auto: tensorrt for a plan; for an ONNX file on a GPU
    by CUDA the first of tensorrt and onnxruntime that can run it, elsewhere the first of openvino and onnxruntime that
    is installed. tensorrt builds a plan of an ONNX file when it is opened for the first time, which takes seconds to
    minutes, and keeps it. precision: f32, or bf16, off by 1 % of a tube's strongest evidence in the median; a plan has
    its own. device: auto (the CPU; for a plan and for tensorrt the first GPU), cuda or cuda:N, or what the runtime
    calls one. Raises UsageError for an option that nothing here can serve, ModelError for a file that cannot be used.
    """
    return open_attended(model, clip_length, runtime, precision, device, batch)


def open_attended(
    model: str | Path,
    clip_length: int | None,
    runtime: str,
    precision: str,
    device: str,
    batch: int,
    attend: Attend | None = None,
) -> TensorRunner:
    """As `open_runner`. attend: calls what builds a plan, and shows how far that is."""
    _check_runtime(runtime)
    precision = check_precision(precision, RUN_PRECISIONS)
    if batch < 1:
        raise UsageError(f"batch must be 1 or more, got {batch}")
    path = find_model(model)
    if is_plan(path):
        return _open_plan(path, clip_length, runtime, precision, device, batch)
    index = _onnx_on_cuda(runtime, device)
    if index is None:
        return _open_onnx(path, clip_length, runtime, precision, device, batch)
    return _open_onnx_on_cuda(path, clip_length, runtime, precision, index, batch, attend)


def choices(model: str | Path, *, runtime: str = "auto", device: str = "auto") -> Choices:
    """What `open_runner` could open a model in, for those who may take the quickest. Raises as it does.

    A plan has the types it was built with, and is asked for f32, as everything on CUDA is. What the file was too far
    off in when it was exported (`Manifest.missed`) is left out, though `open_runner` takes it.
    """
    _check_runtime(runtime)
    path = find_model(model)
    if is_plan(path):
        return Choices("TensorRT", ("f32",))
    index = _onnx_on_cuda(runtime, device)
    if index is not None:
        return Choices(" or ".join(_titles_on_cuda(runtime, _gpu(index))), ("f32",))
    chosen = _onnx_runtime(path, runtime)
    offered: Choices = lazily(__package__, f"{chosen}:choices")(_onnx_device(device))
    missed = read_manifest(path).missed_precisions(chosen)
    return replace(offered, precisions=tuple(name for name in offered.precisions if name not in missed))


def place_of(model: str | Path, *, runtime: str = "auto", device: str = "auto") -> str:
    """`Runner.place` of a model that is not loaded yet. Raises as `open_runner` does."""
    index = cuda_index(device) if is_plan(find_model(model)) else _onnx_on_cuda(runtime, device)
    return HOST if index is None else f"cuda:{index}"


def _open_onnx(
    path: Path, clip_length: int | None, runtime: str, precision: str, device: str, batch: int
) -> TensorRunner:
    chosen = _onnx_runtime(path, runtime)
    return _open_by(f"{chosen}:{ONNX_RUNTIMES[chosen]}", path, clip_length, precision, _onnx_device(device), batch)


def _open_by(runner: str, path: Path, clip_length: int | None, precision: str, device: str, batch: int) -> TensorRunner:
    """runner: the module here and the class that runs ONNX files."""
    manifest = read_manifest(path)
    clip_length = manifest.default_clip_length if clip_length is None else clip_length
    manifest.window(clip_length)
    try:
        opened: TensorRunner = lazily(__package__, runner)(path, manifest, clip_length, precision, device, batch)
        return opened
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


def _onnx_runtime(path: Path, runtime: str) -> str:
    installed = [name for name in ONNX_RUNTIMES if find_spec(name)]
    chosen = (installed or ["openvino"])[0] if runtime == "auto" else runtime
    if chosen not in installed:
        raise UsageError(f"{chosen} is not installed: pip install {chosen}")
    return chosen


def _check_runtime(runtime: str) -> None:
    if runtime not in ("auto", *RUNTIMES):
        raise UsageError(f"runtime must be one of auto, {', '.join(RUNTIMES)}, got {runtime!r}")


def _onnx_device(device: str) -> str:
    return "CPU" if device.lower() == "auto" else device


def _open_plan(
    path: Path, clip_length: int | None, runtime: str, precision: str, device: str, batch: int
) -> TensorRunner:
    if runtime not in ("auto", "tensorrt"):
        raise UsageError(f"{runtime} runs ONNX files, and {path} is a TensorRT plan: use --runtime tensorrt")
    if precision == "bf16":
        raise UsageError(f"a plan computes in the types it was built with: {precision!r} cannot be asked of {path}")
    info = read_plan(path, verify=False)
    if clip_length not in (None, info.clip_length):
        raise ModelError(
            f"{path} takes clips of {info.clip_length} frames, got {clip_length}: a plan serves one length"
        )
    from .tensorrt import TensorRtRunner

    try:
        return TensorRtRunner(path, info, device, batch)
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


# An ONNX file on an NVIDIA GPU


def _onnx_on_cuda(runtime: str, device: str) -> int | None:
    """The number of the GPU that is asked for by CUDA; None: something else is asked for."""
    if runtime == "openvino":
        return None
    if runtime in ("tensorrt", ONNXRUNTIME_RTX):
        return cuda_index(device)
    return cuda_index(device) if device.lower().partition(":")[0] == "cuda" else None


def _gpu(index: int) -> Device:
    found = find_device(index)
    if isinstance(found, str):
        raise UsageError(f"a model runs by CUDA on an NVIDIA GPU, and here is {found}: leave out the device; {DOCTOR}")
    return found


def _titles_on_cuda(runtime: str, device: Device) -> list[str]:
    """What would be tried, by name and version. Raises UsageError if that is nothing."""
    titles, reasons = [], []
    for name in ON_CUDA if runtime == "auto" else (runtime,):
        try:
            if name == "tensorrt":
                kit = lazily(__package__, "tensorrt_builder:kit_for")(device)
                titles.append(f"{kit.title} on {device.name}")
            else:
                titles.append(_onnxruntime_on_cuda(name, device.index).title)
        except UsageError as error:
            reasons.append(f"not by {name}: {error}")
    if not titles:
        raise UsageError(f"nothing here runs ONNX files on {device.name}: {'; '.join(reasons)} ({INSTALL_ON_CUDA})")
    return titles


def _onnxruntime_on_cuda(runtime: str, index: int) -> Choices:
    if find_spec("onnxruntime") is None:
        raise UsageError("onnxruntime is not installed")
    device = f"{'rtx' if runtime == ONNXRUNTIME_RTX else 'cuda'}:{index}"
    offered: Choices = lazily(__package__, "onnxruntime:choices")(device)
    return offered


def _open_onnx_on_cuda(
    path: Path, clip_length: int | None, runtime: str, precision: str, index: int, batch: int, attend: Attend | None
) -> TensorRunner:
    if precision == "bf16":
        raise UsageError(f"on CUDA a model runs in f32, or in what its file was exported in, got {precision!r}")
    device = _gpu(index)
    _titles_on_cuda(runtime, device)  # raises an error that names all ways, if there is none
    by_onnxruntime = partial(_open_by, "onnxruntime_gpu:OnnxRuntimeGpuRunner", path, clip_length, precision)
    open_by: dict[str, Callable[[], TensorRunner]] = {
        "tensorrt": partial(_open_own_plan, path, clip_length, device, batch, attend),
        "onnxruntime": partial(by_onnxruntime, f"cuda:{index}", batch),
        ONNXRUNTIME_RTX: partial(by_onnxruntime, f"rtx:{index}", batch),
    }
    if runtime != "auto":
        return open_by[runtime]()
    reasons: list[str] = []
    for name in ON_CUDA:
        try:
            runner = open_by[name]()
        except TubesError as error:
            reasons.append(f"not by {name}: {error}")
            continue
        if reasons:
            runner.description += f"; {'; '.join(reasons)}"
        return runner
    raise ModelError(f"nothing here runs {path} on {device.name}: {'; '.join(reasons)}")


def _open_own_plan(
    path: Path, clip_length: int | None, device: Device, batch: int, attend: Attend | None
) -> TensorRunner:
    from .own_plan import OwnPlan, unattended

    kit = lazily(__package__, "tensorrt_builder:kit_for")(device)
    manifest = read_manifest(path)
    clip_length = manifest.default_clip_length if clip_length is None else clip_length
    manifest.window(clip_length)
    on_host = partial(_open_onnx, path, clip_length, "auto", "f32", "auto", 1)
    reference = on_host if any(map(find_spec, ONNX_RUNTIMES)) else None
    return OwnPlan(path, manifest, clip_length, batch, kit, device).open(reference, attend or unattended)

"""Runs a model file. One protocol, one file a runtime, chosen once and said by name."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ..errors import ModelError, UsageError
from ..lazy import lazily
from ..picture import HOST
from ..precision import RUN_PRECISIONS, check_precision
from .base import ONNX_RUNTIMES, RUNTIMES, SAMPLES_ON_GPU, Choices, HostRunner
from .models import find_model, is_plan, read_manifest
from .planfile import read_plan


def open_runner(
    model: str | Path = "i3d",
    *,
    clip_length: int | None = None,
    runtime: str = "auto",
    precision: str = "f32",
    device: str = "auto",
    batch: int = 1,
) -> HostRunner:
    """Loads a model for clips of `clip_length` frames (None: the manifest's default), `batch` at a time if it can.

    runtime: openvino, onnxruntime, tensorrt, or auto (tensorrt for a plan; for an ONNX file the first of the others
    that is installed). precision: f32, or bf16, off by 1 % of a tube's strongest evidence in the median; a plan has its
    own. device: auto (the CPU; for a plan the first GPU), or what the runtime calls one. Raises UsageError
    for an option that nothing here can serve, ModelError for a file that cannot be used.
    """
    _check_runtime(runtime)
    precision = check_precision(precision, RUN_PRECISIONS)
    if batch < 1:
        raise UsageError(f"batch must be 1 or more, got {batch}")
    path = find_model(model)
    open_it = _open_plan if is_plan(path) else _open_onnx
    return open_it(path, clip_length, runtime, precision, device, batch)


def choices(model: str | Path, *, runtime: str = "auto", device: str = "auto") -> Choices:
    """What `open_runner` could open a model in, for those who may take the quickest. Raises as it does.

    A plan has the types it was built with, and is asked for f32. What the file was too far off in when it was exported
    (`Manifest.missed`) is left out, though `open_runner` takes it.
    """
    _check_runtime(runtime)
    path = find_model(model)
    if is_plan(path):
        return Choices("TensorRT", ("f32",))
    chosen = _onnx_runtime(path, runtime)
    offered: Choices = lazily(__package__, f"{chosen}:choices")(_onnx_device(device))
    missed = read_manifest(path).missed_precisions(chosen)
    return replace(offered, precisions=tuple(name for name in offered.precisions if name not in missed))


def place_of(model: str | Path, *, runtime: str = "auto", device: str = "auto") -> str:
    """`Runner.place` of a model that is not loaded yet. Raises as `open_runner` does."""
    path = find_model(model)
    name, _, number = device.lower().partition(":")
    if not is_plan(path) and name != "cuda":
        return HOST
    chosen = "tensorrt" if is_plan(path) else _onnx_runtime(path, runtime)
    return f"cuda:{number if number.isdecimal() else 0}" if chosen in SAMPLES_ON_GPU else HOST


def _open_onnx(
    path: Path, clip_length: int | None, runtime: str, precision: str, device: str, batch: int
) -> HostRunner:
    chosen = _onnx_runtime(path, runtime)
    manifest = read_manifest(path)
    clip_length = manifest.default_clip_length if clip_length is None else clip_length
    manifest.window(clip_length)
    device = _onnx_device(device)
    try:
        open_it = lazily(__package__, f"{chosen}:{ONNX_RUNTIMES[chosen]}")
        runner: HostRunner = open_it(path, manifest, clip_length, precision, device, batch)
        return runner
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


def _onnx_runtime(path: Path, runtime: str) -> str:
    if runtime == "tensorrt":
        raise UsageError(f"TensorRT runs plans, and {path} is an ONNX file: make one by 'saliency-tubes build'")
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
) -> HostRunner:
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

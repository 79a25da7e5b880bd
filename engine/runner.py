"""Runs a model file. One protocol, one file a runtime, chosen once and said by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from .errors import ModelError, UsageError
from .manifest import Manifest
from .onnxfile import read_metadata
from .picture import F32
from .planfile import read_plan
from .types import Outputs

ASSETS = Path(__file__).parent / "assets"
ONNX_RUNTIMES = ("openvino", "onnxruntime")
RUNTIMES = (*ONNX_RUNTIMES, "tensorrt")
PRECISIONS = ("f32", "bf16")
PLAN_SUFFIXES = (".plan", ".engine")


@dataclass(frozen=True)
class Choices:
    """What a model could be computed in."""

    title: str
    """runtime, version and device"""
    precisions: tuple[str, ...]
    """of PRECISIONS, f32 first: what is quickest among them only measuring tells"""


class Runner(Protocol):
    """A network ready to run clips of one length, one or several at a time."""

    manifest: Manifest
    frames: int
    """T"""
    batch: int
    """N, the most clips one run takes: as many as were asked for, or 1 where the file takes no more"""
    description: str
    """runtime, version, device and precision, as printed at start-up"""

    def run(self, clips: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """Clips [1..N, 3, T, H, W] float32, already normalised (`preprocess.tensor`); what is said of each.

        What a clip gives does not depend on its neighbours, but for float noise where a runtime chooses other kernels.
        class_ids: for each clip, whose weights a graph with gradients gives; None: the top class's.
        """
        ...


def find_model(model: str | Path) -> Path:
    """The file of a model shipped with the package ("i3d"), or the path itself. Raises ModelError if there is none."""
    shipped = {file.stem: file for file in sorted(ASSETS.glob("*.onnx"))}
    if model in shipped:
        return shipped[str(model)]
    path = Path(model)
    try:
        found = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise ModelError(f"no model {str(model)[:80]!r}: {error.strerror}") from None
    if not found:
        raise ModelError(f"no model {str(model)!r}: neither a file nor one of those shipped: {', '.join(shipped)}")
    return path


def read_manifest(path: Path) -> Manifest:
    """The manifest of an ONNX file, or of a plan: then with the plan's clip length alone.

    Raises ModelError, naming the file, if it has none or a wrong one.
    """
    if is_plan(path):
        return read_plan(path, verify=False).served
    properties = read_metadata(path)
    try:
        return Manifest.from_properties(properties)
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


def is_plan(path: Path) -> bool:
    """Whether a file is a TensorRT plan, by its name."""
    return path.suffix in PLAN_SUFFIXES


def open_runner(
    model: str | Path = "i3d",
    *,
    frames: int | None = None,
    runtime: str = "auto",
    precision: str = "f32",
    device: str = "auto",
    batch: int = 1,
) -> Runner:
    """Loads a model for clips of `frames` frames (None: as the manifest says), `batch` of them at a time if it can.

    runtime: openvino, onnxruntime, tensorrt, or auto (tensorrt for a plan; for an ONNX file the first of the others
    that is installed). precision: f32, or bf16, off by 1 % of a tube's strongest evidence in the median; a plan has its
    own. device: auto (the CPU; for a plan the first GPU), or what the runtime calls one. Raises UsageError
    for an option that nothing here can serve, ModelError for a file that cannot be used.
    """
    _check_runtime(runtime)
    if precision not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if batch < 1:
        raise UsageError(f"batch must be 1 or more, got {batch}")
    path = find_model(model)
    open_it = _open_plan if is_plan(path) else _open_onnx
    return open_it(path, frames, runtime, precision, device, batch)


def choices(model: str | Path, *, runtime: str = "auto", device: str = "auto") -> Choices:
    """What `open_runner` could open a model in, for those who may take the quickest. Raises as it does.

    A plan has the types it was built with, and is asked for f32. What the file was too far off in when it was exported
    (`Manifest.missed`) is left out, though `open_runner` takes it.
    """
    _check_runtime(runtime)
    path = find_model(model)
    if is_plan(path):
        return Choices("TensorRT", ("f32",))
    if _onnx_runtime(path, runtime) == "openvino":
        from . import openvino

        found, missed = openvino.choices(_onnx_device(device)), read_manifest(path).missed_precisions("openvino")
        return replace(found, precisions=tuple(name for name in found.precisions if name not in missed))
    from . import onnxruntime

    return onnxruntime.choices(_onnx_device(device))


def _open_onnx(path: Path, frames: int | None, runtime: str, precision: str, device: str, batch: int) -> Runner:
    chosen = _onnx_runtime(path, runtime)
    manifest = read_manifest(path)
    frames = manifest.default_frames if frames is None else frames
    manifest.window(frames)
    device = _onnx_device(device)
    try:
        if chosen == "openvino":
            from .openvino import OpenVinoRunner

            return OpenVinoRunner(path, manifest, frames, precision, device, batch)
        from .onnxruntime import OnnxRuntimeRunner

        return OnnxRuntimeRunner(path, manifest, frames, precision, device, batch)
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


def _open_plan(path: Path, frames: int | None, runtime: str, precision: str, device: str, batch: int) -> Runner:
    if runtime not in ("auto", "tensorrt"):
        raise UsageError(f"{runtime} runs ONNX files, and {path} is a TensorRT plan: use --runtime tensorrt")
    if precision == "bf16":
        raise UsageError(f"a plan computes in the types it was built with: {precision!r} cannot be asked of {path}")
    info = read_plan(path, verify=False)
    if frames not in (None, info.frames):
        raise ModelError(f"{path} takes clips of {info.frames} frames, got {frames}: a plan serves one length")
    from .tensorrt import TensorRtRunner

    try:
        return TensorRtRunner(path, info, device, batch)
    except ModelError as error:
        raise ModelError(f"cannot use model {path}: {error}") from None


def inputs(manifest: Manifest, clips: F32, class_ids: Sequence[int | None] | None) -> dict[str, npt.NDArray[Any]]:
    """What to feed a graph, by name."""
    feed: dict[str, npt.NDArray[Any]] = {manifest.input.name: clips}
    if manifest.head is None:
        chosen = [-1 if one is None else one for one in class_ids or [None] * len(clips)]
        feed[manifest.class_input] = np.array(chosen, np.int64)
    return feed


def outputs(manifest: Manifest, values: Mapping[str, F32]) -> list[Outputs]:
    """What a graph gave for each clip, by the names in `manifest.outputs`."""
    names = tuple(manifest.outputs)
    rows = zip(*(values[name] for name in names), strict=True)
    return [Outputs(**dict(zip(names, row, strict=True))) for row in rows]


def check_shapes(manifest: Manifest, frames: int, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises ModelError where the shapes a graph gives for one clip, by output, contradict its manifest."""
    classes, channels = len(manifest.labels), manifest.channels
    logits, activation = shapes["logits"], shapes["activation"]
    slices = len(manifest.window(frames).slice_weights)
    if logits != (1, classes):
        raise ModelError(f"logits of shape {logits} do not fit the manifest's {classes} labels")
    if len(activation) != 5 or activation[:3] != (1, channels, slices):
        expected = f"(1, {channels}, {slices}, h, w)"
        raise ModelError(f"activation of shape {activation} does not fit the manifest, which needs {expected}")
    if "weights" in shapes and shapes["weights"] != (1, channels):
        raise ModelError(f"weights of shape {shapes['weights']} do not fit the manifest's {channels} channels")
    manifest.window(frames).pool(*activation[3:])

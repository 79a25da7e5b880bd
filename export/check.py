"""Whether a model file says what its reference says, whatever runs it, and whether its tubes add up to the logits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engine.errors import ModelError, TubesError, UsageError
from ..engine.manifest import Manifest
from ..engine.missed import OWN
from ..engine.noise import smooth_noise
from ..engine.picture import F32
from ..engine.precision import precision_word
from ..engine.runtimes.base import TensorRunner
from ..engine.runtimes.bounds import BF16, BOUNDS, TF32, Errors, read_precision
from ..engine.runtimes.build_plan import onnx_sha256
from ..engine.runtimes.compare import compare
from ..engine.runtimes.models import read_manifest
from ..engine.runtimes.open import open_runner
from ..engine.runtimes.planfile import PlanInfo, read_plan
from ..engine.runtimes.tensorrt import find_place
from ..engine.types import HostOutputs, Outputs
from .report import CheckReport, Row

if TYPE_CHECKING:
    from torch import nn

RUNTIMES = (("onnxruntime", "f32"), ("openvino", "f32"), ("openvino", "bf16"))


def check(
    path: Path,
    model: nn.Module | None = None,
    manifest: Manifest | None = None,
    *,
    reference: Path | None = None,
    plan: Path | None = None,
    clips: Sequence[F32] = (),
    precision: str | None = None,
    force: bool = False,
    seed: int = 0,
) -> CheckReport:
    """Runs a file wherever it can be run, and compares it with `model` in PyTorch, or with the file `reference` in
    onnxruntime, or, given neither, with itself in onnxruntime.

    On `clips` [1, 3, T, H, W] of lengths the manifest serves, and on seeded noise for the lengths that have none.
    `plan`: a TensorRT plan of the file; None: the one of its name beside it, if it can run here. `manifest`: the file's
    own unless given. `precision` chooses the bounds (BOUNDS); None: as the file says. Raises ModelError, the table in
    its message, if a bound is missed, a runtime refuses the file or `plan` cannot be run, unless `force`; UsageError
    for clips that do not fit. What a run can do without, bfloat16, is no reason to refuse a file: `CheckReport.missed`.
    """
    manifest = manifest or read_manifest(path)
    precision = precision_word(precision) if precision else read_precision(path)
    groups = _grouped(manifest, clips, seed)
    built = _find_plan(path, plan)
    rows: list[Row] = []
    for clip_length, group in groups.items():
        source = _reference(path, model, reference, manifest, clip_length)
        expected, milliseconds = _timed(source.run, group.clips, None)
        if not source.checked:
            rows.append(Row(source.name, clip_length, BOUNDS[precision], milliseconds=milliseconds))
        judge = _Judge(manifest, clip_length, group, expected)
        rows.extend(judge.row(path, *how, BOUNDS[precision]) for how in RUNTIMES)
        if isinstance(built, PlanInfo) and built.clip_length == clip_length:
            bounds = BOUNDS[precision].loosened(TF32) if built.options.get("tf32", True) else BOUNDS[precision]
            rows.append(judge.row(plan or path.with_suffix(".plan"), "tensorrt", "f32", bounds))
    if isinstance(built, str):
        rows.append(Row("TensorRT", 0, BOUNDS[precision], remark=f"not run: {built}", failed=plan is not None))
    report = CheckReport(
        manifest.name,
        precision,
        source.name,
        _said_once(rows),
        {clip_length: one.what for clip_length, one in groups.items()},
    )
    misses = report.misses()
    if misses and not force:
        raise ModelError(f"{misses[0]}{f' and {len(misses) - 1} more' if misses[1:] else ''}\n{report.table}")
    return report


def _find_plan(onnx: Path, named: Path | None) -> PlanInfo | str:
    """The plan named, or that of the file's own name, if it can run here; else in a few words why it cannot."""
    plan = named or onnx.with_suffix(".plan")
    if named is None and not plan.is_file():
        return f"there is no {plan.name} beside it ('saliency-tubes build' makes one, --plan names another)"
    try:
        info = read_plan(plan, verify=False)
        if info.onnx_sha256 != onnx_sha256(onnx):
            return f"{plan.name} was built from another file, or before {onnx.name} has changed"
        find_place(info)
    except TubesError as error:
        return str(error)
    return info


@dataclass(frozen=True, eq=False)
class _Group:
    """The clips of one length."""

    clips: list[F32]
    real: bool

    @property
    def what(self) -> str:
        return f"{len(self.clips)} clip{'s' * (len(self.clips) > 1)}" if self.real else "noise"


def _grouped(manifest: Manifest, clips: Sequence[F32], seed: int) -> dict[int, _Group]:
    groups: dict[int, list[F32]] = {clip_length: [] for clip_length in sorted(manifest.windows)}
    for clip in clips:
        if clip.ndim != 5 or clip.shape != (1, 3, clip.shape[2], *manifest.input.size) or clip.dtype != np.float32:
            raise UsageError(f"clips must be float32 [1, 3, T, H, W] of {manifest.input.size}, got {clip.shape}")
        manifest.window(clip.shape[2])
        groups[clip.shape[2]].append(clip)
    return {
        clip_length: _Group(given or [smooth_noise(manifest.input, clip_length, seed)], bool(given))
        for clip_length, given in groups.items()
    }


@dataclass(frozen=True, eq=False)
class _Reference:
    name: str
    run: Callable[[F32, int | None], Outputs]
    checked: bool = False
    """it is the file itself: the rows of the runtimes hold it too"""


def _reference(
    path: Path, model: nn.Module | None, reference: Path | None, manifest: Manifest, clip_length: int
) -> _Reference:
    if model is not None:
        return _Reference(f"PyTorch {version('torch')}", _torch(model, manifest))
    runner = open_runner(reference or path, clip_length=clip_length, runtime="onnxruntime")
    if reference is None or reference == path:
        return _Reference(f"itself in {runner.description}", partial(_infer, runner), checked=True)
    return _Reference(f"{reference.name} in {runner.description}", partial(_infer, runner))


def _infer(runner: TensorRunner, clip: F32, class_id: int | None) -> Outputs:
    (outputs,) = runner.infer(clip, [class_id])
    return outputs


def _torch(model: nn.Module, manifest: Manifest) -> Callable[[F32, int | None], Outputs]:
    """The network itself; where its head is not linear, weights are the gradient of the class's logit, by autograd."""
    import torch

    from .tap import Tapped, cut, evaluating, find_logits

    def linear(clip: F32, class_id: int | None) -> Outputs:
        with torch.no_grad(), evaluating(model):
            logits, activation = Tapped(model, manifest.tap)(torch.from_numpy(clip))
        return HostOutputs(logits[0].numpy(), activation[0].numpy())

    def gradient(clip: F32, class_id: int | None) -> Outputs:
        with torch.enable_grad(), evaluating(model), cut(model, manifest.tap) as kept:
            logits, _ = find_logits(model(torch.from_numpy(clip)))
            chosen = int(logits[0].argmax()) if class_id is None else class_id
            (slopes,) = torch.autograd.grad(logits[0, chosen], kept[0])
        weights = slopes[0].sum((1, 2, 3)).numpy()
        return HostOutputs(logits[0].detach().numpy(), kept[0][0].detach().numpy(), weights)

    return gradient if manifest.head is None else linear


def _timed(
    run: Callable[[F32, int | None], Outputs], clips: Sequence[F32], classes: Sequence[int] | None
) -> tuple[list[Outputs], float]:
    """The outputs for each clip, and the median of the times in milliseconds."""
    found, times = [], []
    for i, clip in enumerate(clips):
        start = time.perf_counter()
        found.append(run(clip, classes[i] if classes else None))
        times.append((time.perf_counter() - start) * 1e3)
    return found, float(np.median(times))


@dataclass(frozen=True, eq=False)
class _Judge:
    """Compares runtimes on the clips of one length with what the reference said of them."""

    manifest: Manifest
    clip_length: int
    group: _Group
    expected: list[Outputs]
    tops: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tops", [int(np.argmax(one.logits)) for one in self.expected])

    def row(self, path: Path, runtime: str, precision: str, bounds: Errors) -> Row:
        if precision == "bf16":
            bounds = bounds.loosened(BF16)
        title = f"{runtime}, {precision}"
        spare = (runtime, precision) if precision != OWN else None
        try:
            runner = open_runner(path, clip_length=self.clip_length, runtime=runtime, precision=precision)
            found, milliseconds = _timed(partial(_infer, runner), self.group.clips, self.tops)
        except UsageError as error:
            return Row(title, 0, bounds, remark=f"not run: {error}")
        except ModelError as error:
            return Row(title, self.clip_length, bounds, remark=f"failed: {error}", failed=True, spare=spare)
        pairs = zip(found, self.expected, strict=True)
        errors = Errors.worst([compare(one, other, self.manifest, self.clip_length) for one, other in pairs])
        agreed = sum(int(np.argmax(one.logits)) == top for one, top in zip(found, self.tops, strict=True))
        held = self.group.real and precision != "bf16"
        return Row(
            runner.description, self.clip_length, bounds, errors, agreed, len(found), milliseconds, held, spare=spare
        )


def _said_once(rows: Sequence[Row]) -> tuple[Row, ...]:
    """What was not run, whatever the length, once and at the end."""
    return tuple(sorted(dict.fromkeys(rows), key=lambda row: row.clip_length == 0))

"""Activation x class weights = the tube: which class is explained, its evidence, and how that is scaled for drawing.

The method: Stergiou et al., "Saliency Tubes: Visual Explanations for Spatio-Temporal Convolutions", arXiv 1902.01078.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import ModelError, UsageError
from .manifest import LinearHead, Manifest
from .picture import F32, F64
from .spline import zoom_weights
from .types import ClassScore, Clip, Explanation, Outputs, Scale, Tube


@dataclass(frozen=True)
class Target:
    """Which class to explain."""

    first: int | None = None
    """class index; None: the most probable class of each window"""
    against: int | None = None
    """class index; if given, the tube is the evidence for `first` less the evidence for this class"""


def parse_target(text: str, labels: Sequence[str]) -> Target:
    """top1, a class name or index, or two of them as A:B. Raises UsageError, naming near ones, for an unknown class."""
    if text == "top1":
        return Target()
    lowered = {label.lower() for label in labels}
    if text.strip().lower() in lowered or ":" not in text:
        return Target(_class_id(text, labels))
    pairs = [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == ":"]
    # A class name may contain a colon: split at the first colon that has a class name before it.
    first, against = next((pair for pair in pairs if pair[0].strip().lower() in lowered), pairs[0])
    target = Target(_class_id(first, labels), _class_id(against, labels))
    if target.first == target.against:
        raise UsageError(f"cannot explain {first!r} against itself")
    return target


def _class_id(text: str, labels: Sequence[str]) -> int:
    name = text.strip()
    lowered = [label.lower() for label in labels]
    if name.lower() in lowered:
        return lowered.index(name.lower())
    if name.isascii() and name.isdigit():
        if len(name) < 10 and int(name) < len(labels):
            return int(name)
        raise UsageError(f"no class {name}: classes go from 0 to {len(labels) - 1}")
    near = (
        difflib.get_close_matches(name.lower(), lowered, 3, 0.5) or [one for one in lowered if name.lower() in one][:3]
    )
    hint = f"; did you mean {' or '.join(repr(labels[lowered.index(one)]) for one in near)}?" if near else ""
    raise UsageError(f"no class {name!r} among the model's {len(labels)}{hint}")


def softmax(logits: F32) -> F64:
    """[K] -> [K], float64, summing to 1."""
    powers = np.exp(logits.astype(np.float64) - np.max(logits))
    return np.asarray(powers / powers.sum())


def scores(logits: F32, ids: Sequence[int], labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """The named classes' probabilities and logits."""
    probabilities = softmax(logits)
    return tuple(ClassScore(i, labels[i], float(probabilities[i]), float(logits[i])) for i in ids)


def top_classes(logits: F32, count: int) -> list[int]:
    """The `count` most probable classes, best first; of equally probable ones the lower index first."""
    return [int(i) for i in np.argsort(-logits, kind="stable")[:count]]


Run = Callable[[Clip, int | None], Outputs]
"""Asks a network about one clip. The class is the one whose weights a graph with gradients is to give;
None: the top class."""


def run_target(run: Run, head: LinearHead | None, clip: Clip, target: Target) -> tuple[Outputs, F32]:
    """Runs one clip. Returns its outputs and the weights [C] of the target's tube.

    head: the network's linear head; None where the graph gives weights.

    Weights are the head's own where it is linear, and the gradient of the class's logit with respect to the activation,
    summed over all cells, where it is not (Grad-CAM, arXiv 1610.02391, eq. 1, times the number of cells). Both are
    linear in the logit, so A against B is the difference of the two.
    """
    outputs = run(clip, target.first)
    if head is not None:
        first = top_classes(outputs.logits, 1)[0] if target.first is None else target.first
        weights = head.class_weights[first]
        return outputs, weights if target.against is None else weights - head.class_weights[target.against]
    weights = _gradient(outputs)
    if target.against is not None:
        weights = weights - _gradient(run(clip, target.against))
    return outputs, weights


def _gradient(outputs: Outputs) -> F32:
    if outputs.weights is None:
        raise ModelError("the graph gives no weights, and its manifest has no linear head")
    return outputs.weights


def make_explanation(
    outputs: Outputs,
    weights: F32,
    manifest: Manifest,
    clip: Clip,
    target: Target,
    *,
    window: int,
    normalize: Normalize,
    geometry: str = "linear",
    previous: Scale | None = None,
    classes: int = 0,
) -> Explanation:
    """Everything one window says. `weights`: the target's, [C]; `previous`: the scale to smooth with (live mode);
    `classes`: for how many of the most probable classes it has evidence in `others`, if the head is linear."""
    spec = manifest.window(clip.span.clip_length)
    cells = outputs.evidence(weights)
    tube = Tube(cells, clip.span, clip.crop, spec.pool(*cells.shape[1:]), spec.trusted)
    first = top_classes(outputs.logits, 1)[0] if target.first is None else target.first
    ids = [first] if target.against is None else [first, target.against]
    explained = scores(outputs.logits, ids, manifest.labels)
    volume = (clip.span.clip_length, *manifest.input.size) if geometry == "paper" else None
    scale = smooth(previous, scale_of(tube, normalize, volume))
    top = scores(outputs.logits, top_classes(outputs.logits, 5), manifest.labels)
    own = ids if target.against is None else []  # the tube is this class's evidence already
    asked = [*ids, *(score.id for score in top[:classes])] if classes and manifest.head else []
    others = _others(outputs, manifest, [i for i in dict.fromkeys(asked) if i not in own])
    facts = (clip.pts, clip.time_base, clip.repeated, clip.wall, clip.damaged)
    return Explanation(window, explained, top, tube, scale, *facts, others)


def _others(outputs: Outputs, manifest: Manifest, ids: Sequence[int]) -> tuple[tuple[ClassScore, F32], ...]:
    """These classes, each with its evidence. The head must be linear."""
    if manifest.head is None:
        return ()
    weights = manifest.head.class_weights
    return tuple((score, outputs.evidence(weights[score.id])) for score in scores(outputs.logits, ids, manifest.labels))


def finite(evidence: F32) -> F64:
    """The evidence in float64, with 0 for what is not a finite number."""
    return np.where(np.isfinite(evidence), evidence, 0).astype(np.float64)


def pooled(tube: Tube) -> float:
    """The tube as the head pools it: plus the class's bias it is the logit, exactly, where the head is linear."""
    return float((tube.pool * tube.evidence.astype(np.float64)).sum())


@dataclass(frozen=True)
class Normalize:
    """How evidence becomes 0..1.

    positive: 0 is no evidence for the class, 1 is the strongest evidence in the slices that can be trusted; stronger
    evidence in the other slices is drawn as 1. volume: 0 and 1 are minimum and maximum of the whole window, slices that
    cannot be trusted included, as the paper defines it. fixed: 0 and 1 are `low` and `high`, in logits, so that windows
    and videos can be compared.
    """

    mode: str = "positive"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in ("positive", "volume", "fixed"):
            raise UsageError(f"normalize must be positive, volume or fixed:LOW:HIGH, got {self.mode!r}")
        if self.mode == "fixed" and not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise UsageError(f"normalize fixed needs LOW < HIGH, got {self.low:g} and {self.high:g}")

    @classmethod
    def parse(cls, text: str) -> Normalize:
        """positive, volume, or fixed:LOW:HIGH."""
        mode, *limits = text.split(":")
        try:
            numbers = [float(limit) for limit in limits]
        except ValueError:
            numbers = []
        if len(limits) != (2 if mode == "fixed" else 0) or len(numbers) != len(limits):
            raise UsageError(f"normalize must be positive, volume or fixed:LOW:HIGH, got {text!r}")
        return cls(mode, *numbers)


def scale_of(tube: Tube, normalize: Normalize, volume: tuple[int, int, int] | None = None) -> Scale:
    """The scale of one window, for drawing.

    volume: (T, H, W) for the paper's geometry, None for the linear one. The paper's scripts do not ask which slices can
    be trusted, so with their geometry every slice counts, and the mode `volume` takes minimum and maximum after their
    cubic zoom, which overshoots.
    """
    if normalize.mode == "fixed":
        return Scale(normalize.low, normalize.high)
    whole = volume is not None or normalize.mode == "volume"
    cells = finite(tube.evidence if whole else tube.trusted_evidence)
    if normalize.mode == "positive":
        low, high = 0.0, float(cells.max())
    else:
        for axis, count in enumerate(volume or ()):
            cells = np.moveaxis(np.tensordot(zoom_weights(cells.shape[axis], count), cells, (1, axis)), 0, axis)
        low, high = float(cells.min()), float(cells.max())
    # If no cell has evidence for the class, or all cells are equal, nothing must be drawn.
    return Scale(low, high) if high > low else Scale(low, low + max(1.0, abs(low)))


def smooth(previous: Scale | None, current: Scale, keep: float = 0.6) -> Scale:
    """An exponential mean over windows, so that a live picture does not flicker with each window's own maximum."""
    if previous is None:
        return current
    return Scale(
        keep * previous.low + (1 - keep) * current.low,
        keep * previous.high + (1 - keep) * current.high,
    )

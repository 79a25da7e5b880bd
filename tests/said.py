"""What a network on a GPU said of clips, kept and said again by one on the host.

Two networks never give the same floats. So the run on the CPU that a run on a GPU is compared with is given what the
GPU's network said: then everything else must be equal to the byte, the samples that go in and the pictures and events
that come out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from saliency_tubes.engine.picture import F32, HOST
from saliency_tubes.engine.runtimes.base import Runner
from saliency_tubes.engine.types import Clip, Outputs, Span


@dataclass
class Said:
    """Answers, by the clip's span."""

    samples: dict[Span, str] = field(default_factory=dict)
    """digest of the samples' bytes"""
    logits: dict[Span, F32] = field(default_factory=dict)
    evidence: dict[tuple[Span, bytes], F32] = field(default_factory=dict)
    """span and weights -> evidence"""


def digest(clip: Clip) -> str:
    """Of the samples' bytes, wherever they lie."""
    made = hashlib.sha256()
    for sample in clip.samples:
        made.update(np.ascontiguousarray(sample.pixels).tobytes())
    return made.hexdigest()


class KeepingRunner:
    """A `Runner` whose answers are kept."""

    def __init__(self, runner: Runner, said: Said) -> None:
        self.manifest, self.clip_length, self.batch = runner.manifest, runner.clip_length, runner.batch
        self.description, self.place = runner.description, runner.place
        self._runner, self._said = runner, said

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`."""
        found = self._runner.run(clips, class_ids)
        for clip, outputs in zip(clips, found, strict=True):
            self._said.samples[clip.span], self._said.logits[clip.span] = digest(clip), outputs.logits
        return [_Kept(outputs, self._said, clip.span) for clip, outputs in zip(clips, found, strict=True)]


class _Kept:
    def __init__(self, outputs: Outputs, said: Said, span: Span) -> None:
        self.logits, self.weights = outputs.logits, outputs.weights
        self._outputs, self._said, self._span = outputs, said, span

    @property
    def activation(self) -> F32:
        return self._outputs.activation

    def evidence(self, weights: F32) -> F32:
        found = self._outputs.evidence(weights)
        self._said.evidence[self._span, np.asarray(weights).tobytes()] = found
        return found


class RecalledRunner:
    """A `Runner` on the host that says again what was said of the same clips, and refuses clips of other samples."""

    place = HOST

    def __init__(self, runner: Runner, said: Said) -> None:
        """runner: the one that was kept; its head is linear."""
        assert runner.manifest.head is not None
        self.manifest, self.clip_length, self.batch = runner.manifest, runner.clip_length, 1
        self.description = "what was said on the GPU"
        self._said = said

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`."""
        for clip in clips:
            if self._said.samples[clip.span] != digest(clip):
                raise AssertionError(f"the samples of {clip.span} are not those of the GPU")
        return [_Recalled(self._said, clip.span) for clip in clips]


class _Recalled:
    weights = None

    def __init__(self, said: Said, span: Span) -> None:
        self.logits = said.logits[span]
        self._said, self._span = said, span

    @property
    def activation(self) -> Any:
        raise AssertionError("nobody needs the activation itself")

    def evidence(self, weights: F32) -> F32:
        return self._said.evidence[self._span, np.asarray(weights).tobytes()]

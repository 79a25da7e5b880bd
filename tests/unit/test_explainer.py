"""What is explained from window to window: the class is held, the scale smoothed, and both start anew at a gap."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.manifest import WindowSpec
from saliency_tubes.engine.runtimes.base import run_one
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Clip, Crop, Explanation, HostOutputs, HostSample, Outputs, Scale, Span
from saliency_tubes.stream.pipeline.explainer import Explainer, Look
from saliency_tubes.stream.pipeline.sync import Gaps
from saliency_tubes.stream.telemetry.stopwatch import Stopwatch
from stubs import StubRunner, make_manifest

LOOK = Look()
NAMES = {name: name for name in ("logits", "activation", "weights")}


class Told(StubRunner):
    """Says at each call what it is told to: the probability of class 0."""

    def __init__(self, *probabilities: float, linear: bool = True) -> None:
        manifest = make_manifest()
        super().__init__(manifest if linear else replace(manifest, head=None, outputs=NAMES))
        self.probabilities = list(probabilities)
        self.asked: list[int | None] = []

    def run(self, clips, class_ids=None) -> list[Outputs]:
        (class_id,) = class_ids or [None]
        self.asked.append(class_id)
        p = self.probabilities[0]
        self.probabilities = self.probabilities[1:] or self.probabilities
        logits = np.log(np.array([p, 1 - p], np.float32))
        best = int(logits.argmax()) if class_id is None else class_id
        weights = None if self.manifest.head is not None else np.array([(10.0, -10.0)[best]], np.float32)
        return [HostOutputs(logits, np.full((1, 2, 4, 4), 1.0, np.float32), weights)]


class Padded(Told):
    """Evidence 10 where it can be trusted, and of class 0 what padding makes of the other slice, window by window."""

    def __init__(self, *spikes: float) -> None:
        super().__init__(0.9)
        window = WindowSpec((0.5, 0.5), (0, 1))
        self.manifest = replace(self.manifest, windows={8: window})
        self.spikes = list(spikes)

    def run(self, clips, class_ids=None) -> list[Outputs]:
        (outputs,) = super().run(clips, class_ids)
        outputs.activation[0, 1, 0, 0] = self.spikes.pop(0)
        return [outputs]


def clip(start: int = 0) -> Clip:
    samples = (HostSample(np.zeros((32, 32, 3), np.uint8)),) * 8
    return Clip(samples, Span(start, 8), Crop(), (start, start + 7), Fraction(1, 25))


class Explaining:
    """An explainer, and the network it asks."""

    def __init__(self, runner: StubRunner, gaps: Gaps, steady: bool) -> None:
        self._run = partial(run_one, runner)
        self._explainer = Explainer(runner.manifest, Stopwatch(), gaps, steady=steady)

    def explain(self, clip: Clip, look: Look) -> Explanation:
        return self._explainer.explain(self._run, clip, look)


def explainer(runner: StubRunner, gaps: Gaps | None = None, steady: bool = True) -> Explaining:
    return Explaining(runner, gaps or Gaps(), steady)


def test_a_flicker_is_not_followed():
    made = explainer(Told(0.55, 0.45, 0.55, 0.45, 0.45, 0.45))
    explanations = [made.explain(clip(i), LOOK) for i in range(6)]
    assert [one.explained[0].id for one in explanations] == [0, 0, 0, 0, 0, 1]
    # the tube is of the class that is named: class 1 has the opposite weights
    assert [float(one.tube.evidence[0, 0, 0]) for one in explanations] == [10, 10, 10, 10, 10, -10]
    assert [one.top[0].id for one in explanations] == [0, 1, 0, 1, 1, 1]  # what is most probable is told all the same


def test_without_steadiness_every_window_has_its_own():
    made = explainer(Told(0.55, 0.45, 0.55), steady=False)
    assert [made.explain(clip(i), LOOK).explained[0].id for i in range(3)] == [0, 1, 0]


def test_a_class_asked_for_stays():
    made = explainer(Told(0.1, 0.1))
    assert made.explain(clip(), Look(Target(0))).explained[0].id == 0


def test_a_gap_starts_anew():
    gaps = Gaps()
    made = explainer(Told(0.55, 0.45, 0.45), gaps)
    assert made.explain(clip(0), LOOK).explained[0].id == 0
    gaps.add(5)
    after = made.explain(clip(5), LOOK)
    assert after.explained[0].id == 1
    assert after.scale == explainer(Told(0.45)).explain(clip(5), LOOK).scale  # not smoothed with the one before


def test_spikes_in_spoiled_slices_do_not_move_a_smoothed_scale():
    made = explainer(Padded(1, 30, 2, 0.5))
    assert {made.explain(clip(i), LOOK).scale for i in range(4)} == {Scale(0, 10)}


def test_a_scale_of_the_papers_geometry_is_not_smoothed_into_another():
    """Both looks have the same name for their scale, but the published script's counts the spoiled slices too."""
    made = explainer(Padded(30, 1))
    assert made.explain(clip(0), Look(style=PRESETS["paper-keras"])).scale == Scale(0, 300)
    assert made.explain(clip(1), LOOK).scale == Scale(0, 10)


def test_another_question_starts_anew():
    made = explainer(Told(0.9, 0.9))
    made.explain(clip(), LOOK)
    fresh = made.explain(clip(1), Look(Target(1), Style()))
    assert fresh.scale == explainer(Told(0.9)).explain(clip(1), Look(Target(1))).scale


@pytest.mark.parametrize("linear", [True, False])
def test_a_new_class_has_weights_of_its_own(linear):
    """A graph with gradients is asked again, for the class that is explained."""
    runner = Told(0.9, 0.1, 0.1, linear=linear)
    made = explainer(runner)
    first, second = made.explain(clip(0), LOOK), made.explain(clip(1), LOOK)
    assert (first.explained[0].id, second.explained[0].id) == (0, 1)
    assert float(first.tube.evidence[0, 0, 0]) == 10
    assert float(second.tube.evidence[0, 0, 0]) == -10
    assert runner.asked == ([None, 0] if linear else [None, 0, 1])

"""What happens to one clip: it goes through the network and becomes an explanation. Used by one thread; the look may
change between two clips."""

from __future__ import annotations

from dataclasses import dataclass

from ...engine.draw.style import Style
from ...engine.manifest import Manifest
from ...engine.picture import F32
from ...engine.saliency import Normalize, Run, Target, make_explanation, run_target
from ...engine.types import Clip, Explanation, Outputs, Scale
from ..telemetry.stopwatch import Stopwatch
from .hysteresis import Hysteresis
from .sync import Gaps


@dataclass(frozen=True)
class Look:
    """What may change while a stream runs."""

    target: Target = Target()
    style: Style = Style()
    max_age: float = 2.0
    """seconds; live evidence older than that fades away"""
    hold: int = 3
    """live mode: number of windows in a row that another class must lead for, to be explained"""


class Explainer:
    """Explains clip after clip.

    steady: for live streams. The scale is smoothed over windows, and the explained class changes only after another
    one has led for `Look.hold` windows, so that the picture does not flicker. Both start anew after a gap.
    """

    def __init__(
        self,
        manifest: Manifest,
        watch: Stopwatch,
        gaps: Gaps,
        *,
        steady: bool,
    ) -> None:
        self.windows = 0
        """explained so far"""
        self._manifest, self._watch, self._gaps, self._steady = manifest, watch, gaps, steady
        self._hysteresis = Hysteresis() if steady else None
        self._scale: Scale | None = None
        self._last: int | None = None
        self._look: Look | None = None

    def explain(self, run: Run, clip: Clip, look: Look, classes: int = 0) -> Explanation:
        """run: asks the network. It is called twice where the answer shows that another class is to be explained.
        classes: as for `make_explanation`."""
        manifest, style = self._manifest, look.style
        self._settle(clip.span.start, look)
        outputs, weights, target = self._run(run, clip, look.target)
        with self._watch("tube"):
            explanation = make_explanation(
                outputs,
                weights,
                manifest,
                clip,
                target,
                window=self.windows,
                normalize=style.normalize,
                geometry=style.geometry,
                previous=self._scale,
                classes=classes,
            )
        if self._steady:
            self._scale = explanation.scale
        self.windows += 1
        return explanation

    def _settle(self, start: int, look: Look) -> None:
        """Forgets scale and class after a gap, and where something else is to be explained than before."""
        before = self._look
        changed = before is not None and _question(before) != _question(look)
        if changed or (self._last is not None and self._gaps.between(self._last, start)):
            self._scale = None
            if self._hysteresis is not None:
                self._hysteresis.reset()
        if self._hysteresis is not None:
            self._hysteresis.windows = look.hold
        self._last, self._look = start, look

    def _run(self, run: Run, clip: Clip, target: Target) -> tuple[Outputs, F32, Target]:
        if self._hysteresis is None or target.first is not None:
            return *run_target(run, self._manifest.head, clip, target), target
        held = self._hysteresis.held
        head = self._manifest.head
        outputs, weights = run_target(run, head, clip, Target(held))
        chosen = self._hysteresis.choose(outputs.logits)
        if held is not None and chosen != held:
            if head is not None:
                weights = head.class_weights[chosen]
            else:  # the gradient in the outputs is that of the class that was asked for
                outputs, weights = run_target(run, head, clip, Target(chosen))
        return outputs, weights, Target(chosen)


def _question(look: Look) -> tuple[Target, Normalize, str]:
    """What a scale depends on: scales that differ in it must not be smoothed together."""
    return look.target, look.style.normalize, look.style.geometry

"""The stream as its outputs see it: how it is, what it explains, and what of that they may change."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...engine.draw.style import Style
from ...engine.errors import UsageError
from ...engine.runtimes.base import Runner
from ...engine.saliency import Target, parse_target
from ..telemetry.stats import Snapshot
from .explainer import Look
from .stages import Stages

LONGEST_HOLD, LONGEST_AGE = 1000, 3600.0
"""Maximum number of windows, and of seconds, that may be asked for."""


class PipelineView:
    """A `StreamView`. From any thread."""

    def __init__(self, stages: Stages, runner: Runner, snapshot: Callable[[], Snapshot]) -> None:
        self._stages, self._runner, self._snapshot = stages, runner, snapshot

    @property
    def model(self) -> str:
        return self._runner.manifest.title

    @property
    def labels(self) -> Sequence[str]:
        return self._runner.manifest.labels

    @property
    def linear(self) -> bool:
        return self._runner.manifest.head is not None

    @property
    def window(self) -> tuple[int, int]:
        return self._runner.clip_length, self._stages.window.stride

    @property
    def sync(self) -> str:
        return self._stages.options.sync

    @property
    def style(self) -> Style:
        return self._stages.look.style

    @property
    def controls(self) -> Mapping[str, object]:
        look = self._stages.look
        return {"explain": _words(look.target, self.labels), "hold": look.hold, "max_age": look.max_age}

    def change(self, explain: str | None = None, hold: int | None = None, max_age: float | None = None) -> None:
        """As `StreamView.change`."""
        look = self._stages.look
        if explain is not None:
            look = replace(look, target=parse_target(explain, self.labels))
        if hold is not None:
            if not 1 <= hold <= LONGEST_HOLD:
                raise UsageError(f"hold must be 1 to {LONGEST_HOLD} windows, got {hold}")
            look = replace(look, hold=hold)
        if max_age is not None:
            if not (math.isfinite(max_age) and 0 < max_age <= LONGEST_AGE):
                raise UsageError(f"max_age must be more than 0 and at most {LONGEST_AGE:g} seconds, got {max_age:g}")
            look = replace(look, max_age=max_age)
        self._stages.look = look

    def set_look(self, look: Look) -> None:
        """Takes a whole look. Raises UsageError for a style that cannot be drawn where the frames live."""
        self._stages.place.painter(look.style).close()  # raises an error here and not in a stage
        self._stages.look = look

    def snapshot(self) -> Snapshot:
        return self._snapshot()


def _words(target: Target, labels: Sequence[str]) -> str:
    """What `parse_target` reads as this target."""
    if target.first is None:
        return "top1"
    first = labels[target.first]
    return first if target.against is None else f"{first}:{labels[target.against]}"

"""null://: takes everything and keeps nothing, for measuring."""

from __future__ import annotations

from ...engine.types import Shown
from ..telemetry.events import Event
from .base import Sink


class NullSink(Sink):
    """Takes everything and keeps nothing: for measuring."""

    def write(self, shown: Shown) -> None:
        self.frames_written += 1

    def event(self, event: Event) -> None:
        self.events += 1

"""A file that is explained live plays at its own speed."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

from ..media import pace
from ..media.timeline import leap


class Pace(pace.Pace):
    """Holds frames back until they are due, counted from the first one."""

    def __init__(self, stopping: threading.Event, rate: Fraction | None = None) -> None:
        """rate: of the file, frames a second."""
        super().__init__(leap(rate))
        self._stopping = stopping

    def wait(self, seconds: float) -> None:
        """Returns when the frame with this presentation time is due, or at once when stopping."""
        self._stopping.wait(self.delay(seconds, time.monotonic()))

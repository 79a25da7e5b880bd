"""Time: how long each stage takes, and when a file's next frame is due if it is to play at its own speed."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

from ..media.timeline import leap


class Pace:
    """Holds frames back until they are due, counted from the first one."""

    def __init__(self, stopping: threading.Event, rate: Fraction | None = None) -> None:
        """rate: of the file, frames a second."""
        self._stopping, self._leap = stopping, leap(rate)
        self._start: float | None = None

    def wait(self, seconds: float) -> None:
        """Returns when the frame with this presentation time is due, or at once when stopping."""
        now = time.monotonic()
        if self._start is None or self._start + seconds - now > self._leap:
            self._start = now - seconds
        self._stopping.wait(max(0.0, self._start + seconds - now))

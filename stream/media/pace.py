"""When a frame is due that comes too early, so that a video plays at its own speed. Pure: who calls does the waiting.

For frames that are taken as they come, and only stamped, see `live_clock`.
"""

from __future__ import annotations

import math


class Pace:
    """Frames are due as far apart as their presentation times are, counted from the first one."""

    def __init__(self, leap: float = math.inf, forgives: bool = False) -> None:
        """leap: a frame that is more than so many seconds early has a clock that was set, and is due at once.
        forgives: a late frame delays all later frames; else they make up for it."""
        self._leap, self._forgives = leap, forgives
        self._offset: float | None = None
        """the caller's clock less the presentation time of a frame that comes when it is due"""
        self.leapt = False
        """whether the newest frame's clock was set"""

    def delay(self, seconds: float, now: float, anew: bool = False) -> float:
        """Seconds until the frame with this presentation time, in seconds, is due; 0 for one that is late.

        now: seconds of any clock that never goes back. anew: all before this frame is forgotten.
        """
        early = None if self._offset is None or anew else self._offset + seconds - now
        self.leapt = early is not None and early > self._leap
        if early is None or self.leapt or (self._forgives and early < 0):
            self._offset, early = now - seconds, 0.0
        return max(0.0, early)

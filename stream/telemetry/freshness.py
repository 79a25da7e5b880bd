"""Whether evidence is as young as it should be, and how many frames have some. Pure: it is told the time."""

from __future__ import annotations

import math
from collections import deque

BEGIN = 0.25
"""seconds in one piece for which evidence must be too old before that is told: a hiccup is no news"""
END = 10.0
"""seconds for which none must have been too old before all is well again: else it would be told window by window"""
OVER = 60
"""seconds over which the share of frames drawn is taken"""


class Freshness:
    """Watches the frames that leave. One thread's; what it found may be read by any.

    max_age: seconds. window: seconds of video that a window spans.
    """

    def __init__(self, max_age: float = math.inf, window: float = 0.0) -> None:
        self.max_age = max_age
        self.frames_drawn = 0
        """frames that evidence was drawn on, faded or not"""
        self.too_old = False
        self.window = window
        """seconds; may be changed between two frames, as where a camera changes its rate"""
        self._begun: float | None = None
        """when the first frame left since the start, or since the last gap"""
        self._age = math.nan
        self._moment: float | None = None
        """of the evidence drawn last"""
        self._late_since: float | None = None
        self._late_last = -math.inf
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=OVER + 1)
        """whole second, frames in it, and those drawn"""

    def show(self, now: float, age: float | None, drawn: bool, gap: bool = False) -> None:
        """A frame left. now: seconds, never decreasing. age: of its evidence, drawn or too old to be; None: there is
        none of these frames. gap: frames are missing before this one.

        Evidence that should be there by now and is not counts as old as it would be.
        """
        if gap or self._begun is None:
            self._begun = now
        if age is not None:
            self._moment = now - age
        self._age = age if drawn and age is not None else math.nan
        self.frames_drawn += drawn
        second, frames, counted = self._seconds.pop() if self._seconds else (int(now), 0, 0)
        if second != int(now):
            self._seconds.append((second, frames, counted))
            second, frames, counted = int(now), 0, 0
        self._seconds.append((second, frames + 1, counted + drawn))
        self._judge(now, (now - self._begun - self.window if age is None else age) > self.max_age)

    def tube_age(self, now: float) -> float:
        """Seconds from the newest evidence there was to the last frame, or to now where none was drawn on that; nan
        before the first."""
        age, moment = self._age, self._moment
        if not math.isnan(age):
            return age
        return math.nan if moment is None else now - moment

    def drawn_ratio(self, now: float) -> float:
        """The share of frames that evidence was drawn on, over the last OVER seconds; nan where there were none."""
        recent = [one for one in self._seconds.copy() if one[0] > now - OVER]
        frames = sum(one[1] for one in recent)
        return sum(one[2] for one in recent) / frames if frames else math.nan

    def _judge(self, now: float, late: bool) -> None:
        if late:
            self._late_since = now if self._late_since is None else self._late_since
            self._late_last = now
            self.too_old = self.too_old or now - self._late_since >= BEGIN
        else:
            self._late_since = None
            self.too_old = self.too_old and now - self._late_last < END

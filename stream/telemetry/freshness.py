"""Watches the age of the evidence drawn, and the share of frames that have any. Pure: the caller tells the time."""

from __future__ import annotations

import math
from collections import deque

BEGIN = 0.25
"""Minimum seconds without a break for which evidence must be too old before that is reported: short delays are not."""
END = 10.0
"""Minimum seconds for which no evidence was too old before the end of it is reported; otherwise there would be a report
with every window."""
OVER = 60
"""Seconds over which the share of frames with evidence is computed."""


class Freshness:
    """Watches the frames that leave. One thread calls it; any thread may read the results.

    max_age: maximum age of evidence in seconds. window: seconds of video that a window spans.
    """

    def __init__(self, max_age: float = math.inf, window: float = 0.0) -> None:
        self.max_age = max_age
        self.frames_drawn = 0
        """number of frames that evidence was drawn on, faded or not"""
        self.too_old = False
        self.window = window
        """seconds of video that a window spans; may be changed between two frames, if a camera changes its rate"""
        self._begun: float | None = None
        """when the first frame since the start, or since the last gap, left; seconds"""
        self._age = math.nan
        self._moment: float | None = None
        """time of the evidence that was drawn last; seconds"""
        self._late_since: float | None = None
        self._late_last = -math.inf
        self._seconds: deque[tuple[int, int, int]] = deque(maxlen=OVER + 1)
        """for each whole second: the second, the number of frames, and the number of those with evidence"""

    def show(self, now: float, age: float | None, drawn: bool, gap: bool = False) -> None:
        """To be called for each frame that leaves.

        now: seconds, never decreasing. age: seconds, of the frame's evidence, also if that is too old to be drawn; None
        if there is none since the last gap. gap: frames are missing before this one. Without evidence, the age counts
        from the moment when the first evidence should have come.
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
        """Seconds from the newest evidence to the last frame, or to now if none was drawn on that frame; nan before the
        first evidence."""
        age, moment = self._age, self._moment
        if not math.isnan(age):
            return age
        return math.nan if moment is None else now - moment

    def drawn_ratio(self, now: float) -> float:
        """The share of frames that evidence was drawn on, over the last OVER seconds; nan if there were no frames."""
        recent = [second for second in self._seconds.copy() if second[0] > now - OVER]
        frames = sum(second[1] for second in recent)
        return sum(second[2] for second in recent) / frames if frames else math.nan

    def _judge(self, now: float, late: bool) -> None:
        if late:
            self._late_since = now if self._late_since is None else self._late_since
            self._late_last = now
            self.too_old = self.too_old or now - self._late_since >= BEGIN
        else:
            self._late_since = None
            self.too_old = self.too_old and now - self._late_last < END

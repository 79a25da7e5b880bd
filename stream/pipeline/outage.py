"""While a camera is away: frames that say so, for those who watch, and word of it for those who listen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from ...engine.draw.notice import notice
from ...engine.picture import Picture
from ...engine.types import Shown
from ..sources.base import Source
from ..telemetry.stats import Stats

EVERY = 0.25
"""seconds between two frames: players and servers do not take the stream for dead, and it costs little"""
GRACE = 1.0
"""seconds without a frame before anything is said: most connections that break are there again at once"""


class Outage:
    """Watches a source that can lose its connection, in a thread of the caller's.

    The frames show the last picture in grey and "no signal since 10:41:37", in local time. Their pts go on as the wall
    clock does, as those of the frames will that come after. They carry the last frame's index, and count as no frames.
    """

    def __init__(
        self,
        source: Source,
        stats: Stats,
        tell: Callable[[float | None], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """tell: is called with when the outage began, in seconds since 1970, and with None when it is over. clock: that
        of `stats`. wall: seconds since 1970.
        """
        self.last: Shown | None = None
        """the last frame that was written; whoever writes sets it"""
        self._source, self._stats, self._tell = source, stats, tell
        self._clock, self._wall = clock, wall
        self._since: float | None = None
        self._drawn: tuple[str, Picture] | None = None

    def watch(self, over: Callable[[float], bool]) -> Iterator[Shown]:
        """The frames to show, until the stream ends. over: waits so many seconds, or until the stream has ended, and
        says whether it has.
        """
        while not over(EVERY):
            shown = self.look()
            if shown is not None:
                yield shown

    def look(self) -> Shown | None:
        """The frame to show at this moment, where there is one; tells what there is to tell."""
        now = self._clock()  # before the question: a frame that comes meanwhile is later than what is made here
        away, health = now - self._stats.arrived, self._source.health()
        # A connection may have come, given frames and gone since the last look: what follows is another outage.
        # A source that skips to the present has a camera: what is short is time, here.
        if health.connected or away < GRACE or health.skipping:
            if self._since is not None:
                self._since = self._drawn = None
                self._tell(None)
            return None
        if self._since is None:  # read once: a clock that is set meanwhile changes nothing
            self._since = self._wall() - away
            self._tell(self._since)
        last = self.last
        if last is None or last.frame.index != self._stats.frames_fetched - 1:  # one is still on its way
            return None
        pts = last.frame.pts + round(away / last.frame.time_base)
        picture = self._picture(last, self._since)
        return Shown(replace(last.frame, pts=pts, picture=picture, gap=False, rate=None), (), outage=True)

    def _picture(self, last: Shown, since: float) -> Picture:
        """Drawn once, and again when the day has changed."""
        text = no_signal(since, self._wall())
        if self._drawn is None or self._drawn[0] != text:
            self._drawn = text, notice(last.frame.picture, text, float(last.frame.pixel_aspect))
        return self._drawn[1]


def no_signal(since: float, now: float) -> str:
    """What is written into the picture: in local time, with the date where that is not today's. Pure but for the zone.

    since, now: seconds since 1970.
    """
    begun, today = datetime.fromtimestamp(since), datetime.fromtimestamp(now).date()
    return (
        f"no signal since {begun:%H:%M:%S}" if begun.date() == today else f"no signal since {begun:%Y-%m-%d %H:%M:%S}"
    )

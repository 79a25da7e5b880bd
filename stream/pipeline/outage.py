"""While a camera is away: makes frames that say so, for viewers, and tells outputs that report it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

from ...engine.draw.notice import notice
from ...engine.picture import Picture
from ...engine.types import Shown
from ..media.downloads import Downloads
from ..sources.base import Source
from ..telemetry.stats import Stats

EVERY = 0.25
"""Seconds between two such frames: often enough for players and servers not to give up the stream, and cheap."""
GRACE = 1.0
"""Seconds without a frame before the outage is shown: most broken connections are back at once."""


class Outage:
    """Watches a source that can lose its connection, in a thread of the caller's.

    The frames show the last picture in grey and "no signal since 10:41:37", in local time. Their pts advance with the
    wall clock, as will those of the frames that come afterwards. They have the last frame's index, and are not counted.
    """

    def __init__(
        self,
        source: Source,
        stats: Stats,
        downloads: Downloads,
        tell: Callable[[float | None], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """tell: called with the time when the outage began, in seconds since 1970, and with None when it is over.
        clock: the clock of `stats`. wall: seconds since 1970.
        """
        self.last: Shown | None = None
        """the last frame that was written; the writing thread sets it"""
        self._source, self._stats, self._downloads, self._tell = source, stats, downloads, tell
        self._clock, self._wall = clock, wall
        self._since: float | None = None
        self._drawn: tuple[str, Picture] | None = None

    def watch(self, over: Callable[[float], bool]) -> Iterator[Shown]:
        """Yields the frames to show, until the stream ends. over: waits so many seconds or until the stream has ended,
        and returns whether it has.
        """
        while not over(EVERY):
            shown = self.look()
            if shown is not None:
                yield shown

    def look(self) -> Shown | None:
        """The frame to show now, or None. Calls `tell` when an outage begins or ends."""
        now = self._clock()  # read first: a frame that comes meanwhile must have a later time than the one made here
        away, health = now - self._stats.arrived, self._source.health()
        # Since the last look a connection may have come, given frames and gone: that is a new outage. A source that
        # skips to the present has its camera; it is this machine that is too slow.
        if health.connected or away < GRACE or health.skipping:
            if self._since is not None:
                self._since = self._drawn = None
                self._tell(None)
            return None
        if self._since is None:  # the wall clock is read once, so that setting it has no effect
            self._since = self._wall() - away
            self._tell(self._since)
        last = self.last
        if last is None or last.frame.index != self._stats.frames_fetched - 1:  # a frame is still on its way
            return None
        pts = last.frame.pts + round(away / last.frame.time_base)
        picture = self._picture(last, self._since)
        return Shown(replace(last.frame, pts=pts, image=picture, gap=False, rate=None), (), outage=True)

    def _picture(self, last: Shown, since: float) -> Picture:
        """The picture of the outage; it is drawn once, and again when the day changes."""
        text = no_signal(since, self._wall())
        if self._drawn is None or self._drawn[0] != text:
            self._drawn = text, notice(self._downloads.picture(last.frame.image), text, float(last.frame.pixel_aspect))
        return self._drawn[1]


def no_signal(since: float, now: float) -> str:
    """The text in the picture: in local time, with the date if it is not today. Pure but for the time zone.

    since, now: seconds since 1970.
    """
    begun, today = datetime.fromtimestamp(since), datetime.fromtimestamp(now).date()
    return (
        f"no signal since {begun:%H:%M:%S}" if begun.date() == today else f"no signal since {begun:%Y-%m-%d %H:%M:%S}"
    )

"""The connections of a live source, one after the other: watched, given up, and made again. No thread of its own."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

from .base import SKIPPING
from .feed import KEY_FRAME, Backlog, Connect, Feed, FeedBehind, FeedEnded, FeedError, FeedFrame, FeedRefused
from .patience import Patience, backoff

POLL = 0.25
"""Maximum seconds until a waiting reader notices `stop`, if FFmpeg or GStreamer returns in time."""
OVERLOADED_FOR = 60.0
"""Seconds after falling behind for which a stream counts as one that this machine is too slow for."""
STEADY = 5.0
"""Minimum seconds that a connection must have lasted for the next failure to count as the first one again."""


class FeedSilent(FeedError):
    """The connection exists, and no frame comes."""


class GivenUp(Exception):
    """So many attempts in a row have failed that there is to be no other. The message says how many, and why."""


class _Past(NamedTuple):
    """The connections so far. It is replaced as a whole, so that another thread that counts errors meanwhile counts
    every connection exactly once."""

    feed: Feed | None = None
    """the current connection"""
    errors: int = 0
    """errors of the connections before it"""
    dropped: int = 0


class Connections:
    """Gives frames of the current connection, and makes the next one when that is lost."""

    def __init__(
        self,
        connect: Connect,
        patience: Patience,
        clock: Callable[[], float],
        stopping: threading.Event,
        wait: Callable[[float], bool],
        seed: int | None = None,
    ) -> None:
        """clock, wait: as for LiveSource. stopping: whether the stream is to end. seed: of the pauses' chance."""
        self.last_error = ""
        self.skips = 0
        """how often the source fell behind the camera and started at the present again"""
        self.bursts = False
        """whether the current connection's frames come faster than they are to be shown"""
        self.waiting_for_first = True
        """whether the stream's first frame is still to come: until then `lose` does not count attempts"""
        self._connect, self._patience, self._clock = connect, patience, clock
        self._stopping, self._wait, self._backoff = stopping, wait, backoff(seed)
        self._past = _Past()
        self._backlog = Backlog()
        self._skipped_at = -math.inf
        self._failures = 0
        self._since = clock()
        self._fresh = True
        """whether the current connection has given no frame yet"""
        self._said = "connecting"

    @property
    def connected(self) -> bool:
        """Whether frames come at the moment."""
        return self._past.feed is not None and not self._fresh

    @property
    def state(self) -> str:
        """As `SourceHealth.state`: "connecting", "live", "waiting 1.2 s: wrong user or password", then "connecting:
        wrong user or password", "stopped"; "skipping: ..." where the stream fell behind the camera.
        """
        if self._stopping.is_set():
            return "stopped"
        return "live" if self.connected else self._said

    @property
    def errors(self) -> int:
        """Number of errors of decoders, and of frames that they had to guess, over all connections."""
        feed, past, _ = self._past
        return past + (feed.errors if feed is not None else 0)

    @property
    def dropped(self) -> int:
        """Number of decoded frames that were lost because nobody fetched them in time, over all connections."""
        feed, _, past = self._past
        return past + (feed.dropped if feed is not None else 0)

    @property
    def overloaded(self) -> bool:
        """Whether this machine is too slow for the stream: it fell behind the camera within the last minute."""
        return self._clock() - self._skipped_at < OVERLOADED_FOR

    def next_frame(self) -> FeedFrame:
        """The next frame of the current connection; connects if there is none. Raises FeedError."""
        feed = self._past.feed
        if feed is None:
            self._fresh = True
            feed = self._connect()
            self._past = self._past._replace(feed=feed)
            self._since, self.bursts, self._backlog = self._clock(), feed.bursts, Backlog()
        asked = self._clock()  # silence counts only while somebody reads
        while not self._stopping.is_set():
            frame = feed.read(min(POLL, self._patience.stall))
            now = self._clock()
            if frame is not None:
                if self._fresh:
                    self._fresh = False
                    self._backoff.admitted()
                if now - self._since >= STEADY:
                    self._backoff.reset()
                return frame
            # Packets may come although no frame does; if no packets come, the feed itself reports it.
            patience = max(self._patience.stall, KEY_FRAME if self._fresh else 0.0)
            if now - asked >= patience:
                raise FeedSilent(f"no frame for {now - asked:.1f} s")
        raise FeedEnded("stopped")

    def note(self, lag: float, arrived: float) -> bool:
        """As `Backlog.note`, of the current connection; False where frames come in bursts, and are late for nothing."""
        feed = self._past.feed
        return feed is not None and not self.bursts and self._backlog.note(lag, arrived, feed.idle)

    def lose(self, error: FeedError) -> None:
        """Ends the connection and waits before the next. Raises GivenUp if there is to be none."""
        self._failures = self._failures + 1 if self._fresh else 0
        self.last_error = str(error)
        retries = None if self.waiting_for_first else self._patience.retries
        if retries is not None and self._failures >= retries:
            self._said = f"gave up after {self._failures} attempts: {error}"
            self.drop()
            raise GivenUp(self._said)
        refused = isinstance(error, FeedRefused) and error.credentials
        delay, behind = self._backoff.next(refused), isinstance(error, FeedBehind)
        if behind:
            self.skips, self._skipped_at = self.skips + 1, self._clock()
        # The state tells the reason from before the connection is closed, which may take some time, until the next one
        # gives a frame. While the source skips to the present the state stays "skipping" throughout.
        self._said = f"{SKIPPING}: {error}" if behind else f"waiting {delay:.1f} s: {error}"
        self.drop()
        self._wait(delay)
        if not behind:
            self._said = f"connecting: {error}"

    def drop(self) -> None:
        """Closes the current connection, if there is one."""
        self._fresh = True
        feed, errors, dropped = self._past
        if feed is not None:
            self._past = _Past(None, errors + feed.errors, dropped + feed.dropped)
            feed.close()

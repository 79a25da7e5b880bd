"""A sink in a thread of its own: what it writes to may stall, break and come back, and nobody else notices."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from contextlib import suppress

from ...engine.errors import TubesError, UsageError
from ...engine.types import Shown
from ..media.gst_load import Missing
from ..media.info import VideoInfo
from ..telemetry.events import Event
from .base import RefusedError, Sink, freeze
from .condition import works_again

FRAMES = 8
"""frames that wait; the oldest is lost for a new one. At 30 a second a quarter of a second, at 1080p 25 MB"""
EVENTS = 256
"""events that wait"""
DELAYS = (0.25, 10.0)
"""seconds between two attempts to connect: doubled from the first to the second, a fifth up or down by chance"""
REFUSED_DELAYS = (10.0, 600.0)
"""where the login is refused: asking on looks like an attack"""
STEADY_SECONDS = 10.0
"""a connection that held so long was a good one: the pauses start anew"""
DRAIN_SECONDS = 3.0
"""what still waits at the end is written for so long; and after the sink's own `close_seconds` it is given up"""


def delay(failures: int, refusals: int) -> float:
    """Seconds before the next attempt, after so many failures in a row, the last ones of them refused logins. Pure."""
    first, longest = REFUSED_DELAYS if refusals else DELAYS
    return min(longest, first * 2.0 ** min((refusals or failures) - 1, 10))


def counted(item: Shown | Event) -> int:
    """1 for an event and for a frame of the source's, 0 for one that is shown while the camera is away."""
    return 0 if isinstance(item, Shown) and item.outage else 1


class Threaded(Sink):
    """Runs `sink` behind a bounded queue. Newest wins: what the sink is too slow for is lost, and counted by reason.

    `write` and `event` return at once and raise nothing, and `close` at most BrokenPipeError. An error of the sink
    becomes a note and a state; where the sink can reconnect it is opened again, with growing pauses, for as long as it
    takes, and opened first in the thread as well: the other side may not be there yet. Frames are not copied, nor kept
    for a sink that takes no pictures.
    """

    never_waits = True

    def __init__(self, sink: Sink, frames: int = FRAMES, drain_seconds: float = DRAIN_SECONDS) -> None:
        if frames < 1:
            raise ValueError(f"frames must be 1 or more, got {frames}")
        super().__init__(sink.name)
        self.inner = sink
        self.reopened = 0
        """how often the sink came back"""
        self._capacity, self._drain = frames, drain_seconds
        self._frames: deque[Shown] = deque()
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._closing: float | None = None
        self._ready = self._dead = False
        """open; lost for good"""
        self._failures = self._refusals = 0
        self._ready_since = 0.0
        self._busy = 0
        """1 while the sink has an item in hand that counts"""
        self._lost_here: dict[str, int] = {}
        self._own_note = self._wrong = ""
        self._left: BrokenPipeError | None = None
        """whoever read the sink's output has left: the run ends by that, and so does the program"""
        self._thread: threading.Thread | None = None

    @property
    def shows_outages(self) -> bool:  # type: ignore[override]
        return self.inner.shows_outages

    @property
    def follows_size(self) -> bool:  # type: ignore[override]
        return self.inner.follows_size

    @property
    def queued(self) -> int:
        return len(self._frames) + len(self._events) + self.inner.queued

    @property
    def viewers(self) -> int | None:
        return self.inner.viewers

    def open(self, info: VideoInfo) -> None:
        self._info = info
        self.state = "connecting"
        if not self.inner.reconnects:
            self.inner.open(info)
            self._ready, self.state = True, "running"
        self._copy_facts()
        self._thread = threading.Thread(target=self._work, name=f"saliency-tubes {self.name[:40]}", daemon=True)
        self._thread.start()

    def write(self, shown: Shown) -> None:
        if not self.inner.takes_pictures:
            return
        freeze(shown)
        with self._changed:
            if self._gone(counted(shown)):
                return
            if len(self._frames) == self._capacity:
                self._drop("too slow" if self.state == "running" else "not connected", counted(self._frames.popleft()))
            self._frames.append(shown)
            self._changed.notify_all()

    def event(self, event: Event) -> None:
        with self._changed:
            if self._gone():
                return
            if len(self._events) == EVENTS:
                self._events.popleft()
                self._drop("too slow" if self.state == "running" else "not connected")
            self._events.append(event)
            self._changed.notify_all()

    def signal(self, since: float | None) -> None:
        self.inner.signal(since)

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._changed:
            self._closing = time.monotonic() + self._drain
            self._changed.notify_all()
        thread.join(self._drain + self.inner.close_seconds)
        if thread.is_alive():
            self._own_note = "it did not end in time and was given up"
            self._drop("at the end", self._busy)
        with self._changed:
            self._drop_queued("at the end")
        self._copy_facts()
        self.state = "closed"
        if self._left is not None:
            raise self._left

    # the thread

    def _work(self) -> None:
        while self._ready or self._connect():
            item = self._take()
            if item is None:
                break
            self._busy = counted(item)
            try:
                if isinstance(item, Event):
                    self.inner.event(item)
                else:
                    self.inner.write(item)
            except Exception as error:  # a thread that dies would take the output with it, in silence
                self._lost(error, counted(item))
                self._busy = 0  # it is lost, and counted
                if self._dead:
                    break
                self._pause()
            self._busy = 0
            self._copy_facts()
        self._finish()

    def _connect(self) -> bool:
        """Opens the sink, however long it takes; once at least. False: the run ends first."""
        while True:
            try:
                self.inner.open(self._info)
            except Exception as error:
                self._lost(error)
                if not self._dead:
                    self._pause()
                if self._dead or self._closing is not None:
                    return False
                continue
            self.reopened += self._failures > 0
            self._own_note = works_again(self._wrong) if self._wrong else ""
            self._ready, self._ready_since, self.state = True, time.monotonic(), "running"
            self._copy_facts()
            return True

    def _take(self) -> Shown | Event | None:
        """The next event or frame. None: the end, with nothing left or no time left."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing is not None or self._events or self._frames)
            if self._closing is not None and time.monotonic() > self._closing:
                return None
            if self._events:
                return self._events.popleft()
            return self._frames.popleft() if self._frames else None

    def _lost(self, error: Exception, count: int = 0) -> None:
        told = isinstance(error, TubesError | Missing)
        text = str(error) if told else f"{type(error).__name__}: {error}"
        text = text.removeprefix(f"{self.name}: ").splitlines()[0]
        if self._ready:
            self._drop("error", count)  # the item that failed
            # A server that takes a connection only to drop it is not asked four times a second.
            if time.monotonic() - self._ready_since > STEADY_SECONDS:
                self._failures = 0
        self._failures += 1
        self._refusals = self._refusals + 1 if isinstance(error, RefusedError) else 0
        # What is wrong with the request stays wrong, however often it is tried.
        self._dead = not self.inner.reconnects or isinstance(error, UsageError | Missing)
        self._ready = False
        self._wrong = text
        self._own_note = f"{text}; {'nothing more is written' if self._dead else 'tried again until it works'}"
        self._copy_facts()  # before the state, which makes others look for the reason
        self.state = "failed" if self._dead else "retrying"
        if self.inner.reconnects:
            with suppress(Exception):  # what failed may fail to close
                self.inner.close()
        self._copy_facts()

    def _pause(self) -> None:
        """Waits before the next attempt."""
        seconds = delay(self._failures, self._refusals) * random.uniform(0.8, 1.2)
        with self._changed:
            self._changed.wait_for(lambda: self._closing is not None, seconds)

    def _finish(self) -> None:
        if self._dead:
            with self._changed:
                self._drop_queued("failed")
        try:
            self.inner.close()
        except BrokenPipeError as error:
            self._left = error
        except Exception as error:
            if self._ready or not self._own_note:
                self._own_note = str(error).removeprefix(f"{self.name}: ")
        self._copy_facts()

    # both sides

    def _gone(self, count: int = 1) -> bool:
        """Whether nobody will take what comes; it is counted."""
        if self._dead or self._closing is not None or self._thread is None:
            self._drop("failed" if self._dead else "at the end", count)
            return True
        return False

    def _drop_queued(self, reason: str) -> None:
        left = len(self._events) + sum(counted(shown) for shown in self._frames)
        self._frames.clear()
        self._events.clear()
        self._drop(reason, left)

    def _drop(self, reason: str, count: int = 1) -> None:
        with self._counting:
            if count:
                self._lost_here[reason] = self._lost_here.get(reason, 0) + count
        self._add_drops()

    def _add_drops(self) -> None:
        with self._counting:
            lost = dict(self._lost_here)
            for reason, count in tuple(self.inner.drops.items()):
                lost[reason] = lost.get(reason, 0) + count
            self.drops, self.dropped = lost, sum(lost.values())

    def _copy_facts(self) -> None:
        """What the sink says of itself, as if this were it."""
        inner = self.inner
        self._add_drops()
        self.name, self.frames, self.events = inner.name, inner.frames, inner.events
        self.description, self.wants_stop = inner.description, inner.wants_stop
        self.notes = (*inner.notes, *([self._own_note] if self._own_note else []))
        if self._ready and inner.state != "new":
            self.state = inner.state

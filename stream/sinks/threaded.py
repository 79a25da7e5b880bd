"""Runs a sink in a thread of its own: what it writes to may stall, break and come back without delaying the stream."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ...engine.errors import TubesError, UsageError, one_line, unforeseen
from ...engine.types import Shown
from ..media.gst_load import Missing
from ..media.info import VideoInfo
from ..net.address import Address
from ..net.backoff import Backoff, Delays
from ..telemetry.events import Event
from .base import RefusedError, Sink, freeze
from .condition import works_again
from .mailbox import Mailbox
from .stream_view import StreamView

FRAMES = 8
"""Maximum number of frames that wait; then the oldest is dropped for a new one. At 30 a second they are a quarter of a
second, at 1080p 25 MB."""
EVENTS = 256
"""Maximum number of events that wait."""
DELAYS = Delays(0.25, 10.0)
"""Seconds between two attempts to connect."""
REFUSED_DELAYS = Delays(10.0, 600.0)
"""The same if the login is refused: frequent attempts would look like an attack."""
SPREAD = (0.8, 1.2)
"""Minimum and maximum of the random factor on each delay."""
STEADY_SECONDS = 10.0
"""Minimum seconds that a connection must have lasted for the next delay to be the shortest one again."""
DRAIN_SECONDS = 3.0
"""Seconds at the end of a run for writing the items that still wait. The sink then has `close_seconds` to close."""
EVENT_LANE, FRAME_LANE = 0, 1
OF_INNER = frozenset({"name", "description", "frames_written", "events", "failed_logins", "wants_stop"})
"""Attributes for which the sink inside is asked."""


def counted(item: Shown | Event) -> int:
    """1 for an event or a frame of the source, 0 for a frame that is shown while the camera is away."""
    return 0 if isinstance(item, Shown) and item.outage else 1


class Threaded(Sink):
    """Runs `sink` behind a queue of limited length. If the sink is too slow, the oldest items are dropped and counted.

    `write` and `event` return at once and raise nothing; `close` raises at most BrokenPipeError. An error of the sink
    becomes a note and a state. A sink that can reconnect is opened again, with growing pauses, until it works; the
    first opening is in the thread too, because the other side may not be there yet. Frames are not copied, and
    neither frames nor events are kept for a sink that takes none.
    """

    never_waits = True

    def __init__(self, sink: Sink, frames: int = FRAMES, drain_seconds: float = DRAIN_SECONDS) -> None:
        """frames: maximum number that wait. drain_seconds: see DRAIN_SECONDS."""
        # Sink.__init__ is not called: it would set the attributes OF_INNER, which would hide those of the sink inside.
        self.inner = sink
        self.reopened = 0
        """how often the sink was opened again"""
        self._lost, self._counting = {}, threading.Lock()
        self._box: Mailbox[Shown | Event] = Mailbox(EVENTS, frames, lost=self._drop, weigh=counted)
        self._drain, self._frames = drain_seconds, frames
        self._backoff = Backoff(DELAYS, REFUSED_DELAYS, SPREAD)
        self._ready = self._dead = False
        """ready: the sink is open. dead: it will never work again"""
        self._ready_since = 0.0
        self._busy = 0
        """1 while the sink is writing an item that counts"""
        self._own_note = self._wrong = ""
        self._left: BrokenPipeError | None = None
        """set when the reader of the sink's output has left, which ends the run and the program"""

    if not TYPE_CHECKING:  # type checkers go by what Sink declares

        def __getattr__(self, name):
            if name not in OF_INNER:
                raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
            return getattr(self.inner, name)

    @property
    def shows_outages(self) -> bool:  # type: ignore[override]
        return self.inner.shows_outages

    @property
    def follows_size(self) -> bool:  # type: ignore[override]
        return self.inner.follows_size

    @property
    def takes_pictures(self) -> bool:  # type: ignore[override]
        return self.inner.takes_pictures

    @property
    def wants_plain(self) -> bool:  # type: ignore[override]
        return self.inner.wants_plain

    @property
    def wants_classes(self) -> int:  # type: ignore[override]
        return self.inner.wants_classes

    @property
    def takes_events(self) -> bool:
        return self.inner.takes_events

    @property
    def takes(self) -> frozenset[str]:  # type: ignore[override]
        return self.inner.takes

    @property
    def keeps(self) -> int:  # type: ignore[override]
        return self._frames + self.inner.keeps

    @property
    def queued(self) -> int:
        return len(self._box) + self.inner.queued

    @property
    def viewers(self) -> int | None:
        return self.inner.viewers

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        return (*self.inner.notes, *([self._own_note] if self._own_note else []))

    @property
    def drops(self) -> dict[str, int]:
        """What was dropped in the queue, and what the sink dropped itself."""
        here, there = super().drops, self.inner.drops
        return {reason: here.get(reason, 0) + there.get(reason, 0) for reason in (*here, *there)}

    def attach(self, stream: StreamView) -> None:
        self.inner.attach(stream)

    def open(self, info: VideoInfo) -> None:
        self._info = info
        self.state = "connecting"
        if not self.inner.reconnects:
            self.inner.open(info)
            self._ready, self.state = True, "running"
        self._follow_state()
        self._box.start(self._work, self.name)

    def write(self, shown: Shown) -> None:
        if self.inner.takes_pictures:
            freeze(shown)
            self._put(shown, FRAME_LANE)

    def event(self, event: Event) -> None:
        if self.inner.takes_events:
            self._put(event, EVENT_LANE)

    def reconfigure(self, address: Address) -> None:
        self.inner.reconfigure(address)

    def signal(self, since: float | None) -> None:
        self.inner.signal(since)

    def close(self) -> None:
        if not self._box.started:
            return
        if not self._box.close(self._drain, self.inner.close_seconds):
            self._own_note = "it did not end in time and was given up"
            if self._busy:
                self._drop("at the end")
        self._box.lose_all("at the end")
        self.state = "closed"
        if self._left is not None:
            raise self._left

    def _put(self, item: Shown | Event, lane: int) -> None:
        with self._box.changed:
            if not self._dead:
                self._box.put(item, "too slow" if self.state == "running" else "not connected", lane)
            elif counted(item):
                self._drop("failed")

    # the thread

    def _work(self) -> None:
        while self._ready or self._connect():
            item = self._box.take()
            if item is None:
                break
            self._busy = counted(item)
            try:
                if isinstance(item, Event):
                    self.inner.event(item)
                else:
                    self.inner.write(item)
                self._follow_state()
            except Exception as error:  # if the thread died, the output would stop without a word
                if self._busy:
                    self._drop("error")
                self._busy = 0  # the item is lost, and counted
                self._break(error)
                if self._dead:
                    break
            self._busy = 0
        self._finish()

    def _connect(self) -> bool:
        """Opens the sink, however long it takes, with at least one attempt. Returns False if the run ends first, or if
        it can never work."""
        while True:
            try:
                self.inner.open(self._info)
            except Exception as error:
                self._break(error)
                if self._dead or self._box.ending:
                    return False
                continue
            self.reopened += self._backoff.failures > 0
            self._backoff.admitted()
            self._own_note = works_again(self._wrong) if self._wrong else ""
            self._ready, self._ready_since, self.state = True, time.monotonic(), "running"
            self._follow_state()
            return True

    def _break(self, error: Exception) -> None:
        """Notes what is wrong, and waits before the next attempt, if there is to be one."""
        told = isinstance(error, TubesError | Missing)
        self._wrong = (one_line(error) if told else unforeseen(error)).removeprefix(f"{self.name}: ")
        # A server that accepts a connection and drops it at once must not be asked four times a second.
        if self._ready and time.monotonic() - self._ready_since > STEADY_SECONDS:
            self._backoff.reset()
        # A wrong request stays wrong, however often it is tried.
        self._dead = not self.inner.reconnects or isinstance(error, UsageError | Missing)
        self._ready = False
        # Set the note before the state: when others see the state, they look for the reason.
        self._own_note = f"{self._wrong}; {'nothing more is written' if self._dead else 'tried again until it works'}"
        self.state = "failed" if self._dead else "retrying"
        if self.inner.reconnects:
            with suppress(Exception):  # a sink that has failed may also fail to close
                self.inner.close()
        if not self._dead:
            self._box.pause(self._backoff.next(refused=isinstance(error, RefusedError)))

    def _finish(self) -> None:
        if self._dead:
            self._box.lose_all("failed")
        try:
            self.inner.close()
        except BrokenPipeError as error:
            self._left = error
        except Exception as error:
            if self._ready or not self._own_note:
                self._own_note = one_line(error).removeprefix(f"{self.name}: ")
        self._follow_state()

    def _follow_state(self) -> None:
        """Takes over the sink's own state while it is open."""
        if self._ready and self.inner.state != "new":
            self.state = self.inner.state

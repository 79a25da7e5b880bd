"""One model for several streams: their windows go through it together, each stream's as often as the others'.

It has no thread: a batch runs in the thread of a stream that is in it, so a stream alone waits for nobody.
"""

from __future__ import annotations

import threading
import time
from bisect import insort
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...engine.runtimes.base import Runner
from ...engine.types import Clip, Outputs
from ..telemetry.stopwatch import Stopwatch
from .channel import Stopped

LEAD = 0.03
"""seconds before the end of a run when the next clips are chosen: they are ready in time, and a frame old at most"""
PATIENCE = 0.08
"""seconds from being chosen in which a clip must be ready, or else others go first: longer than any takes"""
GRACE, GRACE_SHARE = 0.05, 0.2
"""Maximum seconds, and maximum share of the run's own time, that the free model waits for the streams of its last run
to come back. Otherwise one of several equal cameras would be served alone, then all the others together, in turn."""


@dataclass(eq=False)
class Ticket:
    """One window's way through the model."""

    stream: Hashable
    turn: int = 0
    """how often its stream has been served"""
    called: float | None = None
    """when its stream was told to choose its clip"""
    clip: Clip | None = None
    """once it is chosen"""
    class_id: int | None = None
    begun: float = 0.0
    """when its run began"""
    ended: float | None = None
    """when its run ended"""
    size: int = 0
    """clips in its run"""
    outputs: Outputs | None = None
    error: BaseException | None = None


class Schedule:
    """Who goes through the model next. Pure: no thread and no clock, `now` is in seconds.

    Every stream has one ticket at most. First is who has had the fewest turns, then who came first. The first `batch`
    are called, to choose their clips, when the model is free or will be in LEAD, and it then runs with all of them that
    are ready. It waits for those that are called and not ready, and for those that it has just served and whose turn
    it would be if they came back, but for neither long. So equal cameras go together, and equally often.

    Turns are counted as in start-time fair queueing (Goyal et al., SIGCOMM 1996): who comes after a pause starts with
    as many as are being served, and is owed nothing.
    """

    def __init__(self, batch: int) -> None:
        if batch < 1:
            raise ValueError(f"batch must be 1 or more, got {batch}")
        self.batch = batch
        self.waiting: list[Ticket] = []
        self._running: list[Ticket] = []
        self._ends = 0.0
        """when the run is expected to end"""
        self.takes: dict[int, float] = {}
        """seconds of the last run, by its size"""
        self._turn = 0
        """the fewest turns in the last run"""
        self.away: dict[Hashable, int] = {}
        """those served last that are not back yet, and their next turns"""
        self.away_until = 0.0
        """when they are waited for no more"""

    def join(self, ticket: Ticket, now: float) -> None:
        ticket.turn = max(ticket.turn, self._turn)
        insort(self.waiting, ticket, key=lambda one: one.turn)
        self.away.pop(ticket.stream, None)
        self._call(now)

    def called(self, ticket: Ticket, now: float) -> bool:
        """Whether it is time for its stream to choose a clip."""
        self._call(now)
        return ticket.called is not None

    def leave(self, ticket: Ticket) -> None:
        """It has been served, or is wanted no more."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    def begin(self, ticket: Ticket, now: float) -> list[Ticket]:
        """The batch to run now, where it is time and `ticket` is in it; else nothing."""
        self._call(now)
        head = self._head(now)
        if self._running or any(one.clip is None for one in head) or ticket not in head or self._expects(now):
            return []
        for one in head:
            self.waiting.remove(one)
            one.begun, one.size = now, len(head)
        self._running, self._turn = head, head[0].turn
        self._ends = now + self.takes.get(len(head), 0.0)
        return list(head)

    def end(self, now: float) -> None:
        """The run has ended."""
        self.away = {one.stream: one.turn + 1 for one in self._running}
        for one in self._running:
            one.ended = now
            self.takes[one.size] = took = now - one.begun
            self.away_until = now + min(GRACE, GRACE_SHARE * took)
        self._running = []
        self._call(now)

    def due(self, now: float) -> float | None:
        """Seconds after which something changes though nobody does anything; None: nothing will."""
        if self._running:
            uncalled = any(one.called is None for one in self._head(now))
            return max(0.0, self._ends - LEAD - now) if uncalled and now < self._ends - LEAD else None
        left = [one.called + PATIENCE - now for one in self._head(now) if one.clip is None and one.called is not None]
        if self._expects(now):
            left.append(self.away_until - now)
        return min(left, default=None)

    def _expects(self, now: float) -> bool:
        """Whether one that may be back soon would be among the next."""
        if now >= self.away_until:
            return False
        head = self._head(now)
        return any(len(head) < self.batch or turn < head[-1].turn for turn in self.away.values())

    def _head(self, now: float) -> list[Ticket]:
        """The next ones, less those that were called and have not come in time."""
        late = (one.clip is None and one.called is not None and now >= one.called + PATIENCE for one in self.waiting)
        return [one for one, is_late in zip(self.waiting, late, strict=True) if not is_late][: self.batch]

    def _call(self, now: float) -> None:
        if not self._running or now >= self._ends - LEAD:
            for one in self._head(now):
                one.called = now if one.called is None else one.called


class Batcher:
    """A model, and the streams that share it. An error of the model reaches every stream whose clip was in the run."""

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.monotonic) -> None:
        self.runner, self.clock = runner, clock
        self.schedule = Schedule(runner.batch)
        self._changed = threading.Condition()

    def seat(self, watch: Stopwatch | None = None) -> Seat:
        """A place for one stream. watch: told the seconds of its waiting, "wait", and of its runs, "infer"."""
        return Seat(self, watch or Stopwatch())

    def join(self, ticket: Ticket) -> None:
        with self._changed:
            self.schedule.join(ticket, self.clock())

    def leave(self, ticket: Ticket) -> None:
        with self._changed:
            self.schedule.leave(ticket)
            self._changed.notify_all()

    def wake(self) -> None:
        """Whoever waits looks whether it still should."""
        with self._changed:
            self._changed.notify_all()

    def until_called(self, ticket: Ticket, stopped: threading.Event) -> None:
        """Raises Stopped."""
        with self._changed:
            while not self.schedule.called(ticket, self.clock()):
                self._pause(stopped)

    def serve(self, ticket: Ticket, stopped: threading.Event) -> Outputs:
        """What the model says of the ticket's clip, run in this thread or in that of another stream in the batch.

        Raises Stopped, or what the model raises.
        """
        batch: list[Ticket] = []
        with self._changed:
            self._changed.notify_all()  # this clip is ready
            while ticket.ended is None:
                batch = self.schedule.begin(ticket, self.clock())
                if batch:
                    self._changed.notify_all()  # those who come next know only now when they are to choose their clips
                    break
                self._pause(stopped)
        if batch:
            self._run(batch)
        if ticket.error is not None:
            raise ticket.error
        assert ticket.outputs is not None
        return ticket.outputs

    def _run(self, batch: list[Ticket]) -> None:
        try:
            clips = [one.clip for one in batch if one.clip is not None]
            found = self.runner.run(clips, [one.class_id for one in batch])
            for one, outputs in zip(batch, found, strict=True):
                one.outputs = outputs
        except BaseException as error:  # raised by each in its own thread
            for one in batch:
                one.error = error
        with self._changed:
            self.schedule.end(self.clock())
            self._changed.notify_all()

    def _pause(self, stopped: threading.Event) -> None:
        if stopped.is_set():
            raise Stopped
        self._changed.wait(self.schedule.due(self.clock()))


class Seat:
    """One stream's place at a model. For one thread; `stop` is for any."""

    def __init__(self, batcher: Batcher, watch: Stopwatch) -> None:
        self.size = 0
        """clips that went through the model in its last run, its own included"""
        self._batcher, self._watch = batcher, watch
        self._turns = 0
        """how often it has been served"""
        self._stopped = threading.Event()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits until the model is free, or soon will be: the clip is chosen there, so that it does not age in a queue.

        Raises Stopped.
        """
        batcher, asked = self._batcher, self._batcher.clock()
        ticket = self._join()
        try:
            batcher.until_called(ticket, self._stopped)
            yield Turn(self, ticket, batcher.clock() - asked)
        finally:
            batcher.leave(ticket)

    def stop(self) -> None:
        """Who waits here gets Stopped, and so does who comes to wait; the other streams go on."""
        self._stopped.set()
        self._batcher.wake()

    def _join(self) -> Ticket:
        ticket = Ticket(self, self._turns)
        self._batcher.join(ticket)
        return ticket

    def _serve(self, ticket: Ticket, clip: Clip, class_id: int | None, waited: float) -> Outputs:
        """waited: seconds, until the clip was chosen."""
        asked = self._batcher.clock()
        ticket.class_id = class_id
        ticket.clip = clip  # last: with its clip another thread may take it along
        try:
            outputs = self._batcher.serve(ticket, self._stopped)
        finally:
            self._batcher.leave(ticket)
        self._watch.add("wait", waited + ticket.begun - asked)
        self._watch.add("infer", (ticket.ended or 0.0) - ticket.begun)
        self.size, self._turns = ticket.size, ticket.turn + 1
        return outputs


class Turn:
    """What a stream may ask of the model when it is called."""

    def __init__(self, seat: Seat, ticket: Ticket, waited: float) -> None:
        """ticket: called, without a clip. waited: seconds, for that."""
        self._seat, self._waited = seat, waited
        self._ticket: Ticket | None = ticket

    def run(self, clip: Clip, class_id: int | None = None) -> Outputs:
        """What the model says of a clip; class_id: as for `Runner.run`.

        A second run waits behind the other streams: one that has had its turn is no better than they. Raises Stopped,
        or what the model raises.
        """
        ticket, waited = self._ticket, self._waited
        self._ticket, self._waited = None, 0.0
        return self._seat._serve(ticket or self._seat._join(), clip, class_id, waited)

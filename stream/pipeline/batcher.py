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
"""Seconds before the expected end of a run at which the next clips are chosen. By its end they are ready, and their
newest frame is one frame interval old at most."""
PATIENCE = 0.08
"""Maximum seconds between a stream's call and its clip; after that the other streams go first. Making a clip takes
less."""
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

    Every stream has one ticket at most. The stream that has had the fewest turns goes first; of streams with equally
    many, the one that came first. When the model is free, or will be free within LEAD seconds, the first `batch`
    streams are called: each then chooses its newest clip. The model runs with the clips of all that are ready. For a
    short time it also waits for streams that were called and are not ready, and for streams that it has just served
    and that would be among the next if they came back. So equal cameras go together, and equally often.

    Turns are counted as in start-time fair queueing (Goyal et al., SIGCOMM 1996): a stream that comes after a pause
    starts with the turns of those that are being served, and cannot claim the turns that it missed.
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
        insort(self.waiting, ticket, key=lambda other: other.turn)
        self.away.pop(ticket.stream, None)
        self._call(now)

    def called(self, ticket: Ticket, now: float) -> bool:
        """Whether it is time for its stream to choose a clip."""
        self._call(now)
        return ticket.called is not None

    def leave(self, ticket: Ticket) -> None:
        """Takes back a ticket that has been served, or whose stream does not want to be served any more."""
        if ticket in self.waiting:
            self.waiting.remove(ticket)

    def begin(self, ticket: Ticket, now: float) -> list[Ticket]:
        """The batch to run now, where it is time and `ticket` is in it; else nothing."""
        self._call(now)
        head = self._head(now)
        if self._running or any(called.clip is None for called in head) or ticket not in head or self._expects(now):
            return []
        for called in head:
            self.waiting.remove(called)
            called.begun, called.size = now, len(head)
        self._running, self._turn = head, head[0].turn
        self._ends = now + self.takes.get(len(head), 0.0)
        return list(head)

    def end(self, now: float) -> None:
        """The run has ended."""
        self.away = {ticket.stream: ticket.turn + 1 for ticket in self._running}
        for ticket in self._running:
            ticket.ended = now
            self.takes[ticket.size] = took = now - ticket.begun
            self.away_until = now + min(GRACE, GRACE_SHARE * took)
        self._running = []
        self._call(now)

    def due(self, now: float) -> float | None:
        """Seconds after which the schedule changes by the passing of time alone; None: it will not."""
        if self._running:
            uncalled = any(ticket.called is None for ticket in self._head(now))
            return max(0.0, self._ends - LEAD - now) if uncalled and now < self._ends - LEAD else None
        left = [
            ticket.called + PATIENCE - now
            for ticket in self._head(now)
            if ticket.clip is None and ticket.called is not None
        ]
        if self._expects(now):
            left.append(self.away_until - now)
        return min(left, default=None)

    def _expects(self, now: float) -> bool:
        """Whether a stream that was just served, and may be back soon, would be among the next."""
        if now >= self.away_until:
            return False
        head = self._head(now)
        return any(len(head) < self.batch or turn < head[-1].turn for turn in self.away.values())

    def _head(self, now: float) -> list[Ticket]:
        """The tickets of the next batch, without those that were called and have not chosen a clip in time."""
        late = (
            ticket.clip is None and ticket.called is not None and now >= ticket.called + PATIENCE
            for ticket in self.waiting
        )
        return [ticket for ticket, is_late in zip(self.waiting, late, strict=True) if not is_late][: self.batch]

    def _call(self, now: float) -> None:
        if not self._running or now >= self._ends - LEAD:
            for ticket in self._head(now):
                ticket.called = now if ticket.called is None else ticket.called


class Batcher:
    """A model, and the streams that share it. An error of the model reaches every stream whose clip was in the run."""

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.monotonic, *, most: int | None = None) -> None:
        """most: the most clips of a run; None: as many as the runner takes."""
        self.runner, self.clock = runner, clock
        self.schedule = Schedule(min(runner.batch, most or runner.batch))
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
        """Makes every waiting thread check again whether it is to stop."""
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
            clips = [ticket.clip for ticket in batch if ticket.clip is not None]
            results = self.runner.run(clips, [ticket.class_id for ticket in batch])
            for ticket, outputs in zip(batch, results, strict=True):
                ticket.outputs = outputs
        except BaseException as error:  # raised by each in its own thread
            for ticket in batch:
                ticket.error = error
        with self._changed:
            self.schedule.end(self.clock())
            self._changed.notify_all()

    def _pause(self, stopped: threading.Event) -> None:
        if stopped.is_set():
            raise Stopped
        self._changed.wait(self.schedule.due(self.clock()))


class Seat:
    """One stream's place at a model. One thread uses it; any thread may call `stop`."""

    def __init__(self, batcher: Batcher, watch: Stopwatch) -> None:
        self.size = 0
        """clips that went through the model in its last run, its own included"""
        self._batcher, self._watch = batcher, watch
        self._turns = 0
        """how often it has been served"""
        self._stopped = threading.Event()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Waits until the model is free, or soon will be. Only then the caller chooses its clip: none ages in a queue.

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
        """Raises Stopped in the thread that waits here, and in every later wait; the other streams go on."""
        self._stopped.set()
        self._batcher.wake()

    def _join(self) -> Ticket:
        ticket = Ticket(self, self._turns)
        self._batcher.join(ticket)
        return ticket

    def _serve(self, ticket: Ticket, clip: Clip, class_id: int | None, waited: float) -> Outputs:
        """waited: seconds until the clip was chosen."""
        asked = self._batcher.clock()
        ticket.class_id = class_id
        ticket.clip = clip  # set last: from here on another stream's thread may run this ticket in its batch
        try:
            outputs = self._batcher.serve(ticket, self._stopped)
        finally:
            self._batcher.leave(ticket)
        self._watch.add("wait", waited + ticket.begun - asked)
        self._watch.add("infer", (ticket.ended or 0.0) - ticket.begun)
        self.size, self._turns = ticket.size, ticket.turn + 1
        return outputs


class Turn:
    """What a stream may do when it is called: run the model on the clip that it chooses now."""

    def __init__(self, seat: Seat, ticket: Ticket, waited: float) -> None:
        """ticket: has been called and has no clip yet. waited: seconds until it was called."""
        self._seat, self._waited = seat, waited
        self._ticket: Ticket | None = ticket

    def run(self, clip: Clip, class_id: int | None = None) -> Outputs:
        """What the model says of a clip; class_id: as for `Runner.run`.

        A second run in the same turn waits like any other: the stream has been served, so others go first. Raises
        Stopped, or what the model raises.
        """
        ticket, waited = self._ticket, self._waited
        self._ticket, self._waited = None, 0.0
        return self._seat._serve(ticket or self._seat._join(), clip, class_id, waited)

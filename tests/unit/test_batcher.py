"""Several streams around one model: who goes together, in which order, and what befalls one without the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.preprocess import black_clip
from saliency_tubes.engine.types import Clip, HostSample, Outputs
from saliency_tubes.stream.app import model_choice
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.model_choice import share_model, youngest
from saliency_tubes.stream.pipeline import batcher
from saliency_tubes.stream.pipeline.batcher import GRACE, GRACE_SHARE, LEAD, PATIENCE, Batcher, Schedule, Seat, Ticket
from saliency_tubes.stream.pipeline.channel import Stopped
from saliency_tubes.stream.telemetry.stopwatch import Stopwatch
from stubs import SIDE, StubRunner, make_manifest
from waiting import wait_for

SPEC = make_manifest().input
CLIP = black_clip(SPEC, 8)
LEVEL = 0.003
"""more than half a level of 255, as a part of 1"""


class Played:
    """A schedule, and streams that do as they are told, on a clock of their own."""

    def __init__(self, batch: int) -> None:
        self.now = 0.0
        self.schedule = Schedule(batch)
        self.names: dict[Ticket, str] = {}
        self.turns: dict[str, int] = {}

    def join(self, name: str) -> Ticket:
        ticket = Ticket(name, self.turns.get(name, 0))
        self.names[ticket] = name
        self.schedule.join(ticket, self.now)
        return ticket

    def ready(self, *tickets: Ticket) -> None:
        for ticket in tickets:
            ticket.clip = CLIP

    def begin(self, ticket: Ticket) -> str:
        """The names of those whose run begins."""
        run = self.schedule.begin(ticket, self.now)
        self.turns |= {self.names[one]: one.turn + 1 for one in run}
        return "".join(self.names[one] for one in run)

    def end(self, seconds: float) -> None:
        self.now += seconds
        self.schedule.end(self.now)


class TestSchedule:
    def test_one_alone_goes_at_once(self):
        played = Played(4)
        one = played.join("a")
        assert one.called == 0
        played.ready(one)
        assert played.begin(one) == "a"

    def test_those_that_wait_go_together_in_the_order_of_asking(self):
        played = Played(3)
        for names in ("", "bcdef"):  # the first run tells how long they take
            first = played.join("a")
            played.ready(first)
            played.begin(first)
            others = [played.join(name) for name in names]
            played.end(1)
        assert [one.called is not None for one in others] == [True, True, True, False, False]
        played.ready(*others[:3])
        assert played.begin(others[4]) == ""  # it is not among them
        assert played.begin(others[1]) == "bcd"
        assert [one.size for one in others[:3]] == [3, 3, 3]

    def test_one_that_chooses_its_clip_is_waited_for(self):
        """But none that has not been called."""
        played = Played(4)
        one, two = played.join("a"), played.join("b")
        played.ready(one)
        assert played.begin(one) == ""
        played.ready(two)
        assert played.begin(one) == "ab"

    def test_but_not_for_long(self):
        played = Played(1)
        stuck, other = played.join("a"), played.join("b")
        assert other.called is None
        assert played.schedule.due(played.now) == PATIENCE
        played.now = PATIENCE
        assert played.schedule.called(other, played.now)
        played.ready(other)
        assert played.begin(other) == "b"
        other = played.join("c")
        played.end(1)
        played.ready(stuck, other)
        assert played.begin(stuck) == "a"  # it has lost its place to nobody else

    def test_the_next_are_called_shortly_before_a_run_ends(self):
        """Their clips are ready when it does, and do not age meanwhile."""
        played = Played(2)
        for expected in (None, 1.0):  # how long it takes is known from the one before
            one = played.join("a")
            played.ready(one)
            assert played.begin(one) == "a"
            other = played.join("b")
            assert (other.called is None) == (expected is not None)
            if expected:
                wait = played.schedule.due(played.now)
                assert wait == pytest.approx(expected - LEAD)
                assert not played.schedule.called(other, played.now + wait - 0.01)
                assert played.schedule.called(other, played.now + wait + 0.001)
                assert played.schedule.due(played.now + wait + 0.001) is None
            played.schedule.leave(other)
            played.end(1.0)

    def test_those_just_served_are_waited_for_to_come_back(self):
        """But a fifth of what the run took, or 50 ms: a camera may be slower than the model."""
        for seconds, grace in ((0.1, 0.02), (1.0, 0.05)):
            played = Played(3)
            first = [played.join("a"), played.join("b")]
            played.ready(*first)
            assert played.begin(first[1]) == "ab"
            played.end(seconds)
            one = played.join("a")
            played.ready(one)
            assert played.begin(one) == ""
            assert played.schedule.due(played.now) == pytest.approx(grace)
            played.now += grace + 1e-6
            assert played.begin(one) == "a"
            played.end(seconds)
            one, two = played.join("a"), played.join("b")  # both are back: they go at once
            played.ready(one, two)
            assert played.begin(one) == "ba"

    def test_a_full_batch_waits_for_nobody(self):
        played = Played(1)
        one = played.join("a")
        played.ready(one)
        played.begin(one)
        two = played.join("b")
        played.end(1)
        played.ready(two)
        assert played.begin(two) == "b"

    def test_one_that_leaves_is_waited_for_no_more(self):
        played = Played(4)
        one, two = played.join("a"), played.join("b")
        played.ready(one)
        played.schedule.leave(two)
        played.schedule.leave(two)
        assert played.begin(one) == "a"

    def test_it_takes_one_or_more(self):
        with pytest.raises(ValueError, match="batch must be 1 or more, got 0"):
            Schedule(0)

    def test_the_place_left_over_is_for_who_has_had_fewer_turns(self):
        """Not for who is back first: of three streams, two at a time, it would go every time."""
        played = Played(2)
        runs = []
        first = [played.join(name) for name in "abc"]
        played.ready(*first)
        runs.append(played.begin(first[0]))
        for back in ("ab", "ac", "bc"):  # "a" is always the first to be back
            played.end(1)
            tickets = [played.join(name) for name in back]
            played.ready(*tickets)
            run = "".join(played.begin(one) for one in [*first, *tickets, *played.names])
            runs.append(run)
        assert runs == ["ab", "ca", "bc", "ab"]

    def test_who_comes_after_a_pause_is_owed_nothing(self):
        played = Played(1)
        for _ in range(50):
            one = played.join("a")
            played.ready(one)
            assert played.begin(one) == "a"
            played.end(0.0)
        late, one = played.join("b"), played.join("a")
        played.ready(late, one)
        assert played.begin(late) == "b"
        played.end(0.0)
        late = played.join("b")
        played.ready(late)
        assert played.begin(one) == "a"

    @given(
        st.integers(1, 5),
        st.lists(st.floats(0, 0.9), min_size=1, max_size=7),
        st.floats(0.01, 2),
    )
    def test_streams_that_come_back_in_time_are_served_alike(self, batch, delays, seconds):
        """However unequal they are: each takes its own part of the grace to be back."""
        played, grace = Played(batch), min(GRACE, GRACE_SHARE * seconds)
        names = [f"<{number}>" for number in range(len(delays))]
        back = dict.fromkeys(names, 0.0)  # when each is back
        waiting: dict[str, Ticket] = {}
        served = dict.fromkeys(names, 0)
        for _ in range(60):
            run = ""
            while not run:
                for name in sorted(set(names) - set(waiting), key=back.__getitem__):
                    if back[name] <= played.now:
                        waiting[name] = played.join(name)
                        played.ready(waiting[name])
                run = next((run for one in waiting.values() if (run := played.begin(one))), "")
                if not run:
                    coming = [back[name] for name in names if name not in waiting]
                    due = played.schedule.due(played.now)
                    played.now = min([*coming, *([] if due is None else [played.now + due + 1e-9])])
            played.end(seconds)
            for name in run.strip("<>").split("><"):
                name = f"<{name}>"
                del waiting[name]
                served[name] += 1
                back[name] = played.now + delays[names.index(name)] * grace
        assert max(served.values()) - min(served.values()) <= 1

    @given(st.integers(1, 5), st.integers(1, 9), st.lists(st.integers(0, 8), max_size=60), st.data())
    def test_whoever_leaves_or_dawdles_nobody_is_lost(self, batch, streams, order, data):
        """Streams ask, get ready, leave and come again in any order."""
        schedule, now = Schedule(batch), 0.0
        tickets: dict[int, Ticket] = {}
        for step in order:
            who, now = step % streams, now + 0.1  # nobody is waited for so long
            ticket = tickets.get(who)
            if ticket is None or ticket.ended is not None:
                tickets[who] = Ticket(who, 0 if ticket is None else ticket.turn + 1)
                schedule.join(tickets[who], now)
            elif data.draw(st.booleans(), "leaves"):
                schedule.leave(tickets.pop(who))
            else:
                ticket.clip = CLIP
                run = schedule.begin(ticket, now)
                assert len(run) <= batch
                schedule.end(now)
        waiting = [one for one in tickets.values() if one.ended is None]
        for one in waiting:
            one.clip = CLIP
        for _ in range(len(waiting)):  # with no more than that all are served
            now += 0.1
            run = next((run for one in waiting if one.ended is None and (run := schedule.begin(one, now))), [])
            assert len(run) == min(batch, sum(one.ended is None for one in waiting))
            schedule.end(now)
        assert all(one.ended is not None for one in waiting)


class Gated(StubRunner):
    """Runs when it is let."""

    def __init__(self, batch: int) -> None:
        super().__init__(batch=batch)
        self.begun, self.gate = threading.Semaphore(0), threading.Semaphore(0)
        self.fail = False
        self.threads: list[int] = []

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        self.threads.append(threading.get_ident())
        self.begun.release()
        assert self.gate.acquire(timeout=30)
        if self.fail:
            raise RuntimeError("the network failed")
        return super().run(clips, class_ids)


def clip_of(brightness: float) -> Clip:
    """All its pixels are of that brightness, 0 to 1, to half a level of 255."""
    sample = HostSample(np.full((SIDE, SIDE, 3), round(255 * brightness), np.uint8))
    return replace(CLIP, samples=(sample,) * 8)


class Threads:
    """Streams in threads of their own; what each got, or what befell it."""

    def __init__(self, batch: int) -> None:
        self.runner = Gated(batch)
        self.batcher = Batcher(self.runner, clock=lambda: 0.0)  # nobody is ever late
        self.got: dict[str, float | BaseException] = {}
        self.seats: dict[str, Seat] = {}
        self.threads: list[threading.Thread] = []

    def start(self, name: str, choose: Callable[[], Clip]) -> None:
        """One window. Comes back when it waits, or runs."""
        seat = self.seats[name] = self.batcher.seat()
        entered = threading.Event()

        def work() -> None:
            try:
                with seat.turn() as turn:
                    entered.set()
                    outputs = turn.run(choose())
                self.got[name] = float(outputs.activation.mean())
            except BaseException as error:
                self.got[name] = error

        thread = threading.Thread(target=work)
        waiting = len(self.batcher.schedule.waiting)
        thread.start()
        self.threads.append(thread)
        wait_for(lambda: entered.is_set() or len(self.batcher.schedule.waiting) > waiting)

    def begin(self) -> None:
        """Until a run has begun."""
        assert self.runner.begun.acquire(timeout=30)

    def let(self) -> None:
        self.runner.gate.release()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def threads() -> Threads:
    return Threads(3)


def start_four(threads: Threads) -> None:
    """The first runs alone, the others wait for it."""
    threads.start("a", lambda: clip_of(0.1))
    threads.begin()
    for name, brightness in (("b", 0.2), ("c", 0.3), ("d", 0.4)):
        threads.start(name, lambda value=brightness: clip_of(value))


class TestBatcher:
    def test_each_gets_what_is_said_of_its_own_clip(self, threads):
        start_four(threads)
        threads.let()
        threads.begin()
        threads.let()
        threads.join()
        assert threads.got == pytest.approx({"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4}, abs=LEVEL)
        assert threads.runner.sizes == [1, 3]
        assert [seat.size for seat in threads.seats.values()] == [1, 3, 3, 3]

    def test_one_alone_runs_in_its_own_thread(self):
        runner = Gated(4)
        runner.gate.release()
        with Batcher(runner).seat().turn() as turn:
            outputs = turn.run(clip_of(0.5))
        assert outputs.activation.mean() == pytest.approx(0.5, abs=LEVEL)
        assert runner.threads == [threading.get_ident()]

    def test_an_error_reaches_all_whose_clip_was_in_it_and_nobody_else(self, threads):
        start_four(threads)
        threads.let()
        threads.begin()
        wait_for(lambda: "a" in threads.got)
        threads.start("e", lambda: clip_of(0.5))
        threads.runner.fail = True
        threads.let()
        wait_for(lambda: len(threads.got) == 4)
        threads.runner.fail = False
        threads.let()
        threads.join()
        assert all(str(threads.got[name]) == "the network failed" for name in "bcd")
        assert (threads.got["a"], threads.got["e"]) == pytest.approx((0.1, 0.5), abs=LEVEL)

    def test_one_that_is_stopped_while_it_waits(self, threads):
        start_four(threads)
        threads.seats["c"].stop()
        wait_for(lambda: "c" in threads.got)
        assert isinstance(threads.got.pop("c"), Stopped)
        threads.let()
        threads.let()
        threads.join()
        assert threads.got == pytest.approx({"a": 0.1, "b": 0.2, "d": 0.4}, abs=LEVEL)
        assert threads.runner.sizes == [1, 2]

    def test_one_that_is_stopped_while_another_runs_its_clip(self, threads):
        start_four(threads)
        threads.let()
        threads.begin()
        leader = threads.runner.threads[-1]
        started = zip("bcd", threads.threads[1:], strict=True)
        follower = next(name for name, thread in started if thread.ident != leader)
        threads.seats[follower].stop()
        wait_for(lambda: follower in threads.got)  # at once, though the run goes on
        assert isinstance(threads.got[follower], Stopped)
        threads.let()
        threads.join()
        assert threads.runner.sizes == [1, 3]
        assert [name for name, one in threads.got.items() if isinstance(one, BaseException)] == [follower]

    def test_one_that_dies_while_it_chooses(self, threads):
        def choose() -> Clip:
            raise OSError("no clip")

        threads.start("a", lambda: clip_of(0.1))
        threads.begin()
        threads.start("b", choose)
        threads.start("c", lambda: clip_of(0.3))
        threads.let()
        threads.let()
        threads.join()
        assert str(threads.got.pop("b")) == "no clip"
        assert threads.got == pytest.approx({"a": 0.1, "c": 0.3}, abs=LEVEL)

    def test_the_clip_is_chosen_when_its_turn_comes(self, threads):
        newest = [0.2]
        threads.batcher.schedule.takes[1] = 100.0  # so long does a run take
        threads.start("a", lambda: clip_of(0.1))
        threads.begin()
        threads.start("b", lambda: clip_of(newest[-1]))
        newest.append(0.7)
        threads.let()
        threads.let()
        threads.join()
        assert threads.got["b"] == pytest.approx(0.7, abs=LEVEL)

    def test_those_who_come_next_are_woken_when_a_run_begins(self):
        """One that found nothing to wait for just before would sleep until the run's end, and its clip come late."""
        held, gate, asleep = threading.Event(), threading.Event(), threading.Event()

        class Held(Batcher):
            def _pause(self, stopped: threading.Event) -> None:
                if threading.current_thread() is first:  # it sleeps until the gate opens, and nobody wakes it
                    held.set()
                    self._changed.release()
                    assert gate.wait(30)
                    self._changed.acquire()
                else:
                    assert self.schedule.due(0.0) is None
                    asleep.set()
                    super()._pause(stopped)

        runner = Gated(1)
        shared, one, other = Held(runner, clock=lambda: 0.0), Ticket("a", 1), Ticket("b", 1)
        schedule = shared.schedule
        schedule.away, schedule.away_until = {"somebody": 0}, 1.0  # who was just served is waited for
        shared.join(one)
        one.clip = CLIP
        first = threading.Thread(target=shared.serve, args=(one, threading.Event()))
        second = threading.Thread(target=shared.until_called, args=(other, threading.Event()))
        first.start()
        assert held.wait(30)
        schedule.away_until = 0.0  # but not for ever
        shared.join(other)
        second.start()
        assert asleep.wait(30)
        gate.set()
        runner_has_begun = runner.begun.acquire(timeout=30)
        second.join(5)
        came = not second.is_alive()
        runner.gate.release()
        first.join(30)
        second.join(30)
        assert runner_has_begun
        assert came

    def test_a_clip_is_seen_with_its_class_alone(self, monkeypatch):
        """Another thread may take it along as soon as it is there."""
        seen: list[int | None] = []

        class Watched(Ticket):
            def __setattr__(self, name: str, value: object) -> None:
                super().__setattr__(name, value)
                if name == "clip" and value is not None:
                    seen.append(self.class_id)

        monkeypatch.setattr(batcher, "Ticket", Watched)
        with Batcher(StubRunner()).seat().turn() as turn:
            turn.run(CLIP, 1)
        assert seen == [1]

    def test_a_second_run_in_a_turn_goes_behind_the_others(self):
        """As for a class that has changed, where the graph gives the gradient."""
        threads = Threads(1)
        order: list[str] = []
        seat = threads.batcher.seat()

        def twice() -> None:
            with seat.turn() as turn:
                for name in ("first", "second"):
                    turn.run(CLIP, 0)
                    order.append(name)

        thread = threading.Thread(target=twice)
        thread.start()
        threads.begin()
        threads.start("b", lambda: order.append("other") or clip_of(0.2))
        for _ in range(3):
            threads.let()
        thread.join(30)
        threads.join()
        assert order.index("second") == 2

    def test_waiting_is_told_apart_from_running(self):
        now, watch = [0.0], Stopwatch()

        class Slow(StubRunner):
            def run(self, clips, class_ids=None):
                now[0] += 0.25
                return super().run(clips, class_ids)

        seat = Batcher(Slow(), clock=lambda: now[0]).seat(watch)
        with seat.turn() as turn:
            now[0] += 0.01  # to make the clip ready is neither
            turn.run(CLIP)
        assert watch.totals() == pytest.approx({"wait": 0.0, "infer": 0.25})


class TestHowMany:
    def test_where_a_batch_takes_as_long_as_its_windows_one_goes_at_a_time(self):
        assert youngest({1: 0.24, 2: 0.47, 4: 0.93}, 4) == 1

    def test_where_it_takes_as_long_as_one_all_go_together(self):
        assert youngest({1: 0.01, 2: 0.01, 4: 0.011}, 4) == 4

    def test_noise_is_no_reason(self):
        assert youngest({1: 1.0, 2: 1.6}, 4) == 1  # 5 s and 4.8 s

    def test_in_between(self):
        # 5 x 10, 3 x 13, 2 x 22 ms
        assert youngest({1: 0.010, 2: 0.013, 4: 0.022}, 4) == 2

    @pytest.mark.parametrize(
        ("takes", "asked", "size", "seconds", "words"),
        [
            ({1: 1, 2: 2}, None, 1, 4, "one window at a time: more at once would make tubes no younger"),
            ({1: 1, 2: 1, 4: 1}, None, 4, 1, "4 windows at a time"),
            ({1: 1, 2: 2, 4: 4}, 4, 4, 4, "4 windows at a time"),
            ({1: 1, 2: 2, 3: 3}, 3, 3, 6, "3 windows at a time"),
            ({1: 1, 2: 2, 4: 4}, 9, 4, 4, "4 windows at a time: there are no more streams"),
        ],
    )
    def test_what_four_streams_share(self, takes, asked, size, seconds, words, monkeypatch):
        opened = []
        monkeypatch.setattr(model_choice, "run_takes", lambda runner, clips: takes[clips])
        monkeypatch.setattr(model_choice, "model_speeds", lambda *_: None)
        monkeypatch.setattr(model_choice, "load_runner", loading(lambda clip_length, batch: opened.append(batch)))
        shared = share_model([Config("test://", batch=asked, clip_length=8)] * 4)
        assert shared.batcher.runner.batch == opened[-1] == size
        assert shared.seconds == seconds
        assert shared.remark == f"4 streams: a window of 8 frames every {seconds:.1f} s each, {words}"

    def test_a_model_on_a_gpu_is_opened_once_whatever_is_measured(self, monkeypatch):
        """Its plan is for a number of clips: another one would be another plan, which takes minutes to build."""
        opened = []

        def load(config, speeds=None, *, behind=False, batch=1, clip_length=None):
            opened.append(batch)
            runner = StubRunner(batch=batch)
            runner.place = "cuda:0"
            return runner

        monkeypatch.setattr(model_choice, "run_takes", lambda runner, clips: clips)
        monkeypatch.setattr(model_choice, "model_speeds", lambda *_: None)
        monkeypatch.setattr(model_choice, "load_runner", load)
        shared = share_model([Config("test://", clip_length=8)] * 4)
        assert opened == [4]
        assert (shared.batcher.runner.batch, shared.batcher.schedule.batch, shared.seconds) == (4, 1, 4)
        assert shared.remark.endswith("one window at a time: more at once would make tubes no younger")

    def test_that_is_said_before_and_measured_for_two_seconds_at_most(self, monkeypatch, caplog):
        sizes = []
        monkeypatch.setattr(model_choice, "BUDGET", 0.0)
        monkeypatch.setattr(model_choice, "run_takes", lambda runner, clips: sizes.append(clips) or 1.0)
        monkeypatch.setattr(model_choice, "model_speeds", lambda *_: None)
        monkeypatch.setattr(model_choice, "load_runner", loading(lambda clip_length, batch: None))
        with caplog.at_level("INFO", "saliency_tubes"):
            shared = share_model([Config("test://", clip_length=8)] * 4)
        assert (sizes, shared.batcher.runner.batch) == ([1], 1)
        assert "what this machine can do for 4 streams is being measured" in caplog.text

    def test_a_model_that_takes_one_at_a_time(self, monkeypatch):
        monkeypatch.setattr(model_choice, "model_speeds", lambda *_: None)
        monkeypatch.setattr(model_choice, "load_runner", lambda *_, **__: StubRunner(batch=1))
        remark = share_model([Config("test://", clip_length=8)] * 4).remark
        assert remark.endswith("one window at a time: the model takes no more at once")

    @pytest.mark.parametrize(
        ("a_frame_takes", "streams", "clip_length", "says"),
        [
            (0.002, 2, 64, "2 streams: a window of 64 frames every 0.3 s each, "),
            (0.008, 4, 16, "4 streams: a window of 16 frames every 0.5 s each, "),
            (0.016, 4, 16, "older than max-age 2 s: the model is too slow here, and tubes will fade"),
        ],
    )
    def test_windows_are_as_short_as_the_number_of_streams_asks(
        self, a_frame_takes, streams, clip_length, says, monkeypatch
    ):
        """As for one stream alone, to which a window takes as long as those of all."""
        monkeypatch.setattr(model_choice, "run_takes", lambda runner, clips: clips * runner.clip_length * a_frame_takes)
        monkeypatch.setattr(model_choice, "model_speeds", lambda *_: None)
        monkeypatch.setattr(model_choice, "load_runner", loading(lambda clip_length, batch: None))
        shared = share_model([Config("test://")] * streams)
        assert shared.batcher.runner.clip_length == clip_length
        assert says in shared.remark

    def test_files_alone_have_the_models_own_windows(self, monkeypatch):
        monkeypatch.setattr(model_choice, "run_takes", lambda runner, clips: 9.0)
        monkeypatch.setattr(model_choice, "load_runner", loading(lambda clip_length, batch: None))
        shared = share_model([Config("a.mp4"), Config("b.mp4")])
        assert shared.remark == "2 streams share it, one window at a time"


def loading(tell):
    """In the place of model_choice.load_runner: tells the T and the batch that it is asked for."""

    def load(config, speeds=None, *, behind=False, batch=1, clip_length=None):
        tell(clip_length, batch)
        runner = StubRunner(batch=batch)
        runner.clip_length = config.clip_length or clip_length or 8
        return runner

    return load

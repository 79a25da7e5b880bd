"""How far a build is: what is shown of TensorRT's phases, and how a build is stopped."""

import io
import os
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.runtimes.build_options import Cancelled
from saliency_tubes.stream.app import build_progress
from saliency_tubes.stream.app.build_progress import LINE_EVERY, BuildProgress, attended, stopped_by_signals


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(build_progress, "time", clock)
    return clock


def last(stream):
    return stream.getvalue().split("\r\x1b[K")[-1]


class TestOnATerminal:
    def test_nested_phases_and_steps_on_one_line(self, clock):
        stream = Terminal()
        progress = BuildProgress(stream)
        progress.draw()
        assert last(stream) == "0:00  Reading the network"
        progress.phase_start("Building engine", None, 6)
        progress.step_complete("Building engine", 1)
        progress.phase_start("Timing tactics", "Building engine", 120)
        progress.step_complete("Timing tactics", 16)
        clock.now += 75
        progress.draw()
        assert last(stream) == "1:15  Building engine 2/6 > Timing tactics 17/120"
        progress.phase_finish("Timing tactics")
        progress.draw()
        assert last(stream) == "1:15  Building engine 2/6"
        progress.phase_finish("Building engine")
        progress.draw()
        assert last(stream) == "1:15  Writing the plan"
        progress.close()
        assert last(stream) == ""
        assert "\n" not in stream.getvalue()

    def test_deep_nesting_keeps_the_first_and_the_last(self, clock):
        stream = Terminal()
        progress = BuildProgress(stream)
        names = ["one", "two", "three", "four", "five"]
        for above, name in zip([None, *names], names, strict=False):
            progress.phase_start(name, above, 1)
        progress.draw()
        assert last(stream) == "0:00  one > ... > four > five"

    @pytest.mark.parametrize(
        ("width", "text"),
        [
            (80, "0:00  Building engine > Optimizing graph > Timing tactics 0/120"),
            (51, "0:00  Building engine > ... > Timing tactics 0/120"),
            (40, "0:00  Timing tactics 0/120"),
            (20, "0:00  Timing tactic"),
        ],
    )
    def test_a_narrow_line_keeps_what_moves(self, width, text, clock, monkeypatch):
        monkeypatch.setattr(build_progress.shutil, "get_terminal_size", lambda **_: os.terminal_size((width, 24)))
        stream = Terminal()
        progress = BuildProgress(stream)
        progress.phase_start("Building engine", None, 1)
        progress.phase_start("Optimizing graph", "Building engine", 1)
        progress.phase_start("Timing tactics", "Optimizing graph", 120)
        progress.draw()
        assert last(stream) == text

    def test_a_line_is_no_wider_than_the_terminal(self, clock, monkeypatch):
        monkeypatch.setattr(build_progress.shutil, "get_terminal_size", lambda **_: os.terminal_size((20, 24)))
        stream = Terminal()
        progress = BuildProgress(stream)
        progress.phase_start("x" * 50, None, 1)
        progress.draw()
        assert len(last(stream)) == 19

    def test_log_lines_stand_above(self, clock):
        stream = Terminal()
        progress = BuildProgress(stream, verbose=True)
        progress.log("WARNING", "something")
        progress.draw()
        assert stream.getvalue() == "\r\x1b[K[warning] something\n\r\x1b[K0:00  Reading the network"


class TestElsewhere:
    def test_a_line_per_outer_phase_and_one_now_and_then(self, clock):
        stream = io.StringIO()
        progress = BuildProgress(stream)
        progress.phase_start("Building engine", None, 2)
        progress.phase_start("Optimizing", "Building engine", 30)
        progress.phase_start("Timing", "Optimizing", 9)
        for _ in range(3):
            progress.draw()
        assert stream.getvalue() == "0:00  Building engine\n0:00    Optimizing\n"
        clock.now += LINE_EVERY
        progress.step_complete("Timing", 3)
        progress.draw()
        progress.draw()
        assert stream.getvalue().splitlines()[2:] == ["0:05  Building engine 0/2 > Optimizing 0/30 > Timing 4/9"]

    def test_its_log_is_kept_quiet_unless_asked_for(self, clock):
        stream = io.StringIO()
        progress = BuildProgress(stream)
        progress.log("WARNING", "something")
        progress.draw()
        assert stream.getvalue() == ""


@given(st.lists(st.tuples(st.sampled_from("sde"), st.sampled_from("abc"), st.sampled_from("abc"), st.integers(-1, 9))))
def test_whatever_it_is_told_it_can_be_drawn(events):
    """TensorRT tells from several threads: a phase may end before it began, or twice."""
    for stream in (io.StringIO(), Terminal()):
        progress = BuildProgress(stream)
        for kind, name, parent, number in events:
            if kind == "s":
                progress.phase_start(name, parent, number)
            elif kind == "d":
                progress.step_complete(name, number)
            else:
                progress.phase_finish(name)
            progress.draw()
        progress.close()


class TestAttended:
    def test_the_result_and_the_error_are_the_works_own(self):
        assert attended(lambda: 42, BuildProgress(io.StringIO())) == 42
        with pytest.raises(ValueError, match="wrong"):
            attended(lambda: int("wrong"), BuildProgress(io.StringIO()))

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_stops_it(self, number):
        progress, before = BuildProgress(io.StringIO()), signal.getsignal(number)

        def work():
            os.kill(os.getpid(), number)
            while not progress.cancelled:
                time.sleep(0.01)
            raise Cancelled

        with pytest.raises(Cancelled), stopped_by_signals(progress) as received:
            attended(work, progress)
        assert received == [number]
        assert signal.getsignal(number) is before

    def test_twice_leaves_at_once(self):
        progress, done = BuildProgress(io.StringIO()), threading.Event()

        def work():
            os.kill(os.getpid(), signal.SIGINT)
            while not progress.cancelled:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)
            done.wait(30)

        with pytest.raises(KeyboardInterrupt), stopped_by_signals(progress):
            attended(work, progress)
        done.set()

    def test_a_build_that_ended_all_the_same_is_a_build(self):
        progress = BuildProgress(io.StringIO())

        def work():
            os.kill(os.getpid(), signal.SIGINT)
            while not progress.cancelled:
                time.sleep(0.01)
            return "a plan"

        with stopped_by_signals(progress):
            assert attended(work, progress) == "a plan"

    def test_an_exception_of_the_waiting_thread_cancels_it_and_waits(self):
        """As a run's signal handler raises."""
        progress, ended = BuildProgress(io.StringIO()), []

        def work():
            while not progress.cancelled:
                time.sleep(0.01)
            ended.append(True)

        progress.draw = lambda: 1 / 0
        with pytest.raises(ZeroDivisionError):
            attended(work, progress)
        assert ended == [True]

    def test_given_up_elsewhere_it_ends(self):
        """As when the waiting thread is not the one that hears signals."""
        progress = BuildProgress(io.StringIO())

        def work():
            while not progress.cancelled:
                time.sleep(0.01)
            raise Cancelled

        with pytest.raises(Cancelled):
            attended(work, progress, lambda: True)

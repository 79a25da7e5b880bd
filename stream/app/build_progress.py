"""How far a build is: on a terminal one line that is written over, otherwise a plain line now and then.

TensorRT tells of phases within phases, each of so many steps, from its own threads. What it tells is only noted there;
it is drawn by the thread that waits for the build, which is also the one that Ctrl-C reaches.
"""

from __future__ import annotations

import io
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TextIO, TypeVar

from ...engine.runtimes.build_options import BuildWatch
from ...engine.runtimes.build_plan import Built
from ..telemetry.log import LOGGER, say

LINE_EVERY = 5.0
"""seconds between plain lines, within a phase"""
DRAW_EVERY = 0.1
MOST_COLUMNS = 120
"""of a plain line"""
SHOWN_PHASES = 3
"""levels of nesting on one line"""

T = TypeVar("T")


@dataclass
class Phase:
    """One of TensorRT's phases, open."""

    name: str
    depth: int
    steps: int
    done: int = 0

    def __str__(self) -> str:
        return f"{self.name} {min(self.done, self.steps)}/{self.steps}" if self.steps > 1 else self.name


class BuildProgress:
    """A `BuildWatch` that shows on `stream` what it is told. May be told from any thread; `draw` is for one."""

    def __init__(self, stream: TextIO, verbose: bool = False) -> None:
        self.cancelled = False
        self._stream, self._verbose = stream, verbose
        self._terminal = stream.isatty()
        self._lock = threading.Lock()
        self._open: dict[str, Phase] = {}
        self._lines: list[str] = []
        self._built = False
        self._start = self._said = time.monotonic()

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            above = self._open.get(parent or "")
            depth = 0 if above is None else above.depth + 1
            self._open.pop(name, None)  # opened again, it goes to the end
            self._open[name] = Phase(name, depth, steps)
            if not self._terminal and depth <= 1:
                self._lines.append(f"{self._clock()}  {'  ' * depth}{name}")

    def step_complete(self, name: str, step: int) -> None:
        with self._lock:
            if name in self._open:
                self._open[name].done = step + 1

    def phase_finish(self, name: str) -> None:
        with self._lock:
            self._open.pop(name, None)
            self._built = True

    def log(self, severity: str, message: str) -> None:
        if self._verbose:
            with self._lock:
                self._lines.append(f"[{severity.lower()}] {message}")

    def draw(self) -> None:
        """Shows where the build is."""
        now = time.monotonic()
        with self._lock:
            lines, self._lines = self._lines, []
            width = shutil.get_terminal_size().columns - 1 if self._terminal else MOST_COLUMNS
            clock = f"{self._clock()}  "
            where = clock + self._where(width - len(clock))
        if self._terminal:
            self._stream.write("".join(f"\r\x1b[K{line}\n" for line in lines))
            self._stream.write(f"\r\x1b[K{where[:width]}")
        elif lines:
            self._said = now
            self._stream.write("".join(f"{line}\n" for line in lines))
        elif now - self._said >= LINE_EVERY:
            self._said = now
            self._stream.write(f"{where}\n")
        self._stream.flush()

    def close(self) -> None:
        """Says what is left to say, and clears the line."""
        self.draw()
        if self._terminal:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def _where(self, width: int) -> str:
        """The phases that are open, outermost first; of many, or on a narrow line, the first and the innermost ones."""
        if self.cancelled:
            return "stopping: TensorRT finishes its step (Ctrl-C again leaves at once)"
        if not self._open:
            return "Writing the plan" if self._built else "Reading the network"
        deepest = {phase.depth: phase for phase in self._open.values()}
        phases = [str(phase) for _, phase in sorted(deepest.items())]
        shortened = [phases] if len(phases) <= SHOWN_PHASES else [[phases[0], "...", *phases[1 - SHOWN_PHASES :]]]
        shortened += [[phases[0], "...", phases[-1]]] * (len(phases) > 2)
        texts = [" > ".join(parts) for parts in (*shortened, phases[-1:])]
        return next((text for text in texts if len(text) <= width), texts[-1])

    def _clock(self) -> str:
        minutes, seconds = divmod(round(time.monotonic() - self._start), 60)
        return f"{minutes}:{seconds:02}"


class _Work(threading.Thread, Generic[T]):
    """A call on a thread of its own. A daemon, so that leaving at once does not wait for TensorRT."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name="saliency-build", daemon=True)
        self._work = work
        self.result: list[T] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.result.append(self._work())
        except BaseException as error:
            self.error = error


def attended(work: Callable[[], T], progress: BuildProgress, given_up: Callable[[], bool] = lambda: False) -> T:
    """Calls `work` in a thread of its own, shows `progress` meanwhile, and returns what the work returns.

    TensorRT keeps the thread that calls it, so this one stays free for signals and for the picture of the progress. An
    exception here, such as a signal's, and `given_up` cancel the work, which is waited for; a second exception leaves
    it. Raises what the work raises, Cancelled among it.
    """
    thread = _Work(work)
    thread.start()
    try:
        while thread.is_alive():
            progress.cancelled = progress.cancelled or given_up()
            progress.draw()
            thread.join(DRAW_EVERY)
    except BaseException:
        if not progress.cancelled:  # otherwise it is the second signal, which leaves at once
            progress.cancelled = True
            thread.join()
        raise
    finally:
        progress.close()
    if thread.error is not None:
        raise thread.error
    return thread.result[0]


def attended_in_a_run(work: Callable[[BuildWatch], Built]) -> Built:
    """Shows how far a plan is that a run builds for itself: on a terminal as `build` does, elsewhere in the run's log.

    Raises Cancelled if RUN_ENDS is set meanwhile, by the thread that hears signals.
    """
    say("model", "TensorRT builds a plan for this GPU, once: that takes seconds to minutes")
    progress = BuildProgress(sys.stderr if sys.stderr.isatty() and LOGGER.handlers else _Log())
    return attended(lambda: work(progress), progress, RUN_ENDS.is_set)


RUN_ENDS = threading.Event()
"""Set when a run is to end before it has begun."""


class _Log(io.StringIO):
    """A stream whose lines go to the log."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            say("model", line)
        return len(text)


@contextmanager
def stopped_by_signals(progress: BuildProgress) -> Iterator[list[int]]:
    """For the main thread: while the block lasts, Ctrl-C and SIGTERM cancel the build; again, they end the process.

    Yields the list of the signals that came.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            raise KeyboardInterrupt
        progress.cancelled = True

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

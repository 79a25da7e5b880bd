"""Runs what was asked for: one stream in the caller's thread, several in threads of their own around one model."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType

from ...engine.errors import SourceError
from ...engine.types import Shown
from ..sources.open import comes_live
from ..telemetry.log import say
from ..telemetry.metrics import Reloaded
from ..telemetry.monitor import StreamMonitor
from ..telemetry.stats import Snapshot
from .build_progress import RUN_ENDS
from .config import Config, label_of
from .job import Job, open_job
from .model_choice import SharedModel, share_model
from .reload import take_over
from .report import Report
from .roster import Roster
from .settings import Settings
from .signals import calling_at_sighup, leaving_at

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_SIGNAL = 3
"""the one that nothing is finished after"""


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end; the outputs are finished. What catches errors must not catch this."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Fleet:
    """The streams of one process. Each has its own source, window, state and outputs; the model is shared."""

    def __init__(
        self, settings: Settings, reread: Callable[[], Settings] | None = None, *, quiet: bool = False
    ) -> None:
        """reread: gives the settings anew, for SIGHUP. quiet: whether progress and classes are left out, because people
        see the stream itself."""
        self._roster, self._reread = Roster(settings), reread
        self.reloaded = None if reread is None else Reloaded(True, time.time())
        """how the file was last read; None where there is none"""
        self._quiet = quiet
        self._stopping = threading.Event()
        self._received: list[int] = []
        self._main_opening = False

    # from outside

    def stop(self) -> None:
        """Every stream reads no further frame, and finishes what it has."""
        self._stopping.set()
        for job in self._roster.running.values():
            job.pipeline.stop()

    @property
    def running(self) -> Mapping[str, Job]:
        """The streams that are open, by label."""
        return self._roster.running

    def snapshots(self) -> Mapping[str, Snapshot | str | None]:
        """As `Roster.snapshots`."""
        return self._roster.snapshots()

    def reload(self) -> None:
        """Reads the settings anew and applies what can change while streams run; says what needs a restart."""
        if self._reread is None:
            say("reload", "there is no --config file to read", level=logging.WARNING)
            return
        before, accepted = self.reloaded or Reloaded(True, 0.0), False
        try:
            accepted = take_over(self._roster, self._reread)
        finally:
            self.reloaded = Reloaded(accepted, time.time() if accepted else before.accepted)

    # running

    def run(self, each: Callable[[Shown], None] | None = None) -> None:
        """To the end, or to a signal. each: is given every frame, of one stream.

        Raises Interrupted after a signal, and the first error once all streams have ended.
        """
        RUN_ENDS.clear()
        try:
            self._main_opening = True
            if len(self._roster.settings.streams) == 1:
                self._run_one(self._roster.settings.streams[0], None, each)
            else:
                self._run_several()
        except Exception:
            # A library that is being loaded or that connects when the signal comes turns the handler's exception into
            # an error of its own: "initialization failed", or no answer. The signal is what ended the run.
            if not self._given_up():
                raise
        if self._received:
            raise Interrupted(self._received[0])

    def _run_one(self, config: Config, shared: SharedModel | None, each: Callable[[Shown], None] | None) -> None:
        label = label_of(config)
        if self._stopping.is_set():
            return
        try:
            self._run_job(label, config, shared, each)
        finally:
            self._roster.closed(label)

    def _run_job(
        self, label: str, config: Config, shared: SharedModel | None, each: Callable[[Shown], None] | None
    ) -> None:
        with open_job(config, shared, self._given_up) as job, ExitStack() as stack:
            self._main_opening = False
            self._roster.opened(label, config, job)
            if self._stopping.is_set():
                job.pipeline.stop()
            stack.enter_context(
                StreamMonitor(job.pipeline.snapshot, config.name, classes=job.source.live and not self._quiet)
            )
            process = self._roster.settings.process
            plain = process.log_format == "text" and process.log_level in ("debug", "info") and shared is None
            report = Report(job, sys.stderr if plain and not self._quiet else None)
            report.begin()
            try:
                _follow(job, report, each)
            finally:
                final = job.pipeline.snapshot()  # one for both: the summary and /metrics say the same
                report.end(final)
                self._roster.ended(label, final.ended())

    def _run_several(self) -> None:
        shared = share_model(self._roster.settings.streams)
        self._main_opening = False
        say("model", shared.remark)
        errors: list[Exception] = []

        def run(config: Config) -> None:
            try:
                self._run_patiently(config, shared)
            except Exception as error:  # the others go on
                say("stream", f"failed: {error}", stream=config.name, level=logging.ERROR)
                errors.append(error)
                self._roster.failed(label_of(config), error)

        threads = {
            label_of(config): threading.Thread(
                target=run, args=(config,), name=f"saliency-tubes {config.name}", daemon=True
            )
            for config in self._roster.settings.streams
        }
        for thread in threads.values():
            thread.start()
        for own, thread in threads.items():
            # Bit by bit, so that signals are heard; one that still waits for its first frame is not waited for.
            while thread.is_alive() and not (self._stopping.is_set() and own not in self._roster.running):
                thread.join(0.2)
                alive = [label for label, other in threads.items() if other.is_alive()]
                errors += self._roster.give_up(alive, self._stopping)
            thread.join(1.0)
        if errors:
            if not self._roster.came_up:
                say("stream", "no stream came up", level=logging.ERROR)
            raise errors[0]

    def _run_patiently(self, config: Config, shared: SharedModel) -> None:
        """As one of several: a camera that is away at the start is waited for, as long as others run."""
        label = label_of(config)
        try:
            self._run_one(config, shared, None)
        except SourceError as error:
            if self._roster.has_ended(label) or not comes_live(config.input, config.source):
                raise
            words = f"{error}; tried again while other streams run"
            with self._roster.away(label, error):
                say("stream", words, stream=config.name, level=logging.WARNING)
                self._run_one(replace(config, source=replace(config.source, wait=True)), shared, None)

    # signals

    @contextmanager
    def signals(self) -> Iterator[None]:
        """In the main thread, while the block lasts: SIGTERM and SIGINT end the streams, SIGHUP reloads.

        The third of them ends the process at once, whatever the main thread does.
        """
        previous = {number: signal.signal(number, self._interrupt) for number in SIGNALS}
        reload = self.reload if self._reread is not None else None
        with leaving_at(LAST_SIGNAL, SIGNALS), calling_at_sighup(reload):
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._received.append(number)
        if self._main_opening:  # nothing to finish yet, and a camera may keep us waiting
            RUN_ENDS.set()
            raise Interrupted(number)
        # Halting takes locks that this thread may hold. To raise instead would break what it waits in: a thread whose
        # join() is left by an exception counts as ended.
        work = self.stop if len(self._received) == 1 else self.halt
        threading.Thread(target=work, name="saliency-tubes signal", daemon=True).start()

    def _given_up(self) -> bool:
        """Whether the main thread is to open nothing any more. A library that it is in when the signal comes may lose
        the exception, as FFmpeg's binding does where it turns an error into one of Python's."""
        return self._main_opening and bool(self._received)

    def halt(self) -> None:
        """As `stop`, and what was read is lost."""
        self.stop()
        for job in self._roster.running.values():
            job.pipeline.halt()


def _follow(job: Job, report: Report, each: Callable[[Shown], None] | None) -> None:
    """Takes every frame of the stream, and has let go of the last one when it returns. each: is given the frame on the
    host."""
    for shown in job.pipeline:
        report.frame(shown)
        if each is not None:
            each(job.pipeline.on_host(shown))
        del shown  # it is let go before the next one is waited for

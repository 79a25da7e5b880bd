"""Runs what was asked for: one stream in the caller's thread, several in threads of their own around one model."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import FrameType

from ...engine.errors import SourceError, TubesError
from ...engine.runtimes.models import find_model, read_manifest
from ...engine.types import Shown
from ..sources.open import comes_live
from ..telemetry.log import Redacting, say
from ..telemetry.metrics import Reloaded
from ..telemetry.monitor import Monitor
from ..telemetry.stats import Snapshot
from .config import Config
from .job import Job, open_job
from .model_choice import SharedModel, share_model
from .options import differences as different_options
from .reload import StreamChange, check_streams, label_of, pairs_of, update
from .report import Report
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

    def __init__(self, settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
        """reread: gives the settings anew, for SIGHUP."""
        self.settings, self._reread = settings, reread
        self.reloaded = None if reread is None else Reloaded(True, time.time())
        """how the file was last read; None where there is none"""
        self._jobs: dict[str, Job] = {}
        self._absent: dict[str, SourceError] = {}
        """why those streams gave no first frame in time that are tried again, while others run"""
        self._came_up = False
        """whether any stream ever did"""
        self._ended: dict[str, Snapshot | str] = {}
        """the last snapshot; of one that could not be opened, why"""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._received: list[int] = []
        self._main_opening = False

    # from outside

    def stop(self) -> None:
        """Every stream reads no further frame, and finishes what it has."""
        self._stopping.set()
        for job in tuple(self._jobs.values()):
            job.pipeline.stop()

    @property
    def running(self) -> Mapping[str, Job]:
        """The streams that are open, by label."""
        with self._lock:
            return dict(self._jobs)

    def snapshots(self) -> Mapping[str, Snapshot | str | None]:
        """Every stream's, by label: None where it is not open yet, "waited for: ..." where that takes longer than it
        should, the last one where it has ended, "failed: ..." where it could not be opened.
        """
        with self._lock:
            jobs, ended = dict(self._jobs), {**self._waited_for(), **self._ended}
        found: dict[str, Snapshot | str | None] = {}
        for config in self.settings.streams:
            label = label_of(config)
            running = label in jobs and label not in ended
            found[label] = jobs[label].pipeline.snapshot() if running else ended.get(label)
        return found

    def reload(self) -> None:
        """Reads the settings anew and applies what can change while streams run; says what needs a restart."""
        if self._reread is None:
            say("reload", "there is no --config file to read", level=logging.WARNING)
            return
        before, accepted = self.reloaded or Reloaded(True, 0.0), False
        try:
            accepted = self._take_over(self._reread)
        finally:
            self.reloaded = Reloaded(accepted, time.time() if accepted else before.accepted)

    def _take_over(self, reread: Callable[[], Settings]) -> bool:
        """Whether all was accepted."""
        try:
            asked = reread()
            check_streams(asked.streams, self._labels())
        except TubesError as error:
            say("reload", f"refused, nothing changes: {error}", level=logging.ERROR)
            return False
        pairs = pairs_of(self.settings.streams, asked.streams)
        changes = [StreamChange.between(old, new) for old, new in pairs if label_of(old) not in self._ended]
        if not len(pairs) == len(self.settings.streams) == len(asked.streams):
            say("reload", "streams were added, removed or renamed: that needs a restart", level=logging.WARNING)
        for entry in different_options(self.settings.process, asked.process):
            say("reload", f"needs a restart: {entry.name}", level=logging.WARNING)
        accepted = True
        for change in changes:
            try:
                self._apply(change)
            except TubesError as error:
                say("reload", f"refused: {error}", stream=change.old.name, level=logging.ERROR)
                accepted = False
        return accepted

    # running

    def run(self, each: Callable[[Shown], None] | None = None) -> None:
        """To the end, or to a signal. each: is given every frame, of one stream.

        Raises Interrupted after a signal, and the first error once all streams have ended.
        """
        try:
            self._main_opening = True
            if len(self.settings.streams) == 1:
                self._run_one(self.settings.streams[0], None, each)
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
            with self._lock:
                self._jobs.pop(label, None)  # not before the outputs are closed

    def _run_job(
        self, label: str, config: Config, shared: SharedModel | None, each: Callable[[Shown], None] | None
    ) -> None:
        with open_job(config, shared, self._given_up) as job, ExitStack() as stack:
            self._main_opening = False
            with self._lock:
                self._came_up = True
                self._absent.pop(label, None)
                newest = self._config(label)
                if newest is not config:  # read anew while this one waited for its first frame
                    update(job, newest)
                self._jobs[label] = job
            if self._stopping.is_set():
                job.pipeline.stop()
            stack.enter_context(Monitor(job.pipeline.snapshot, config.name, classes=job.source.live))
            told = self.settings.process.log_format == "text" and self.settings.process.log_level in ("debug", "info")
            plain = told and shared is None
            report = Report(job, sys.stderr if plain else None)
            report.begin()
            try:
                for shown in job.pipeline:
                    report.frame(shown)
                    if each is not None:
                        each(shown)
            finally:
                final = job.pipeline.snapshot()  # one for both: the summary and /metrics say the same
                report.end(final)
                with self._lock:
                    self._ended[label] = final.ended()

    def _run_several(self) -> None:
        shared = share_model(self.settings.streams)
        self._main_opening = False
        say("model", shared.remark)
        errors: list[Exception] = []

        def run(config: Config) -> None:
            try:
                self._run_patiently(config, shared)
            except Exception as error:  # the others go on
                say("stream", f"failed: {error}", stream=config.name, level=logging.ERROR)
                errors.append(error)
                self._failed(label_of(config), error)

        threads = {
            label_of(config): threading.Thread(
                target=run, args=(config,), name=f"saliency-tubes {config.name}", daemon=True
            )
            for config in self.settings.streams
        }
        for thread in threads.values():
            thread.start()
        for own, thread in threads.items():
            # Bit by bit, so that signals are heard; one that still waits for its first frame is not waited for.
            while thread.is_alive() and not (self._stopping.is_set() and own not in self._jobs):
                thread.join(0.2)
                with self._lock:  # as one: a camera that comes up meanwhile would be given up all the same
                    # Nobody is left who runs, or may yet: those that are only waited for end as well.
                    if not self._stopping.is_set() and not any(
                        other.is_alive() and label not in self._absent for label, other in threads.items()
                    ):
                        errors.extend(self._absent.values())
                        self._stopping.set()
            thread.join(1.0)
        if errors:
            if not self._came_up:
                say("stream", "no stream came up", level=logging.ERROR)
            raise errors[0]

    def _run_patiently(self, config: Config, shared: SharedModel) -> None:
        """As one of several: a camera that is away at the start is waited for, as long as others run."""
        label = label_of(config)
        try:
            self._run_one(config, shared, None)
        except SourceError as error:
            if label in self._ended or not comes_live(config.input, config.source):
                raise
            with self._lock:
                self._absent[label] = error
            say("stream", f"{error}; tried again while other streams run", stream=config.name, level=logging.WARNING)
            try:
                self._run_one(replace(config, source=replace(config.source, wait=True)), shared, None)
            finally:
                with self._lock:
                    self._absent.pop(label, None)

    def _waited_for(self) -> dict[str, str]:
        clean = Redacting(self.settings.addresses).clean
        return {label: clean(f"waited for: {error}") for label, error in self._absent.items()}

    def _failed(self, label: str, error: Exception) -> None:
        state = Redacting(self.settings.addresses).clean(f"failed: {error}")
        with self._lock:
            last = self._ended.get(label)
            self._ended[label] = replace(last, state=state) if isinstance(last, Snapshot) else state

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
        for job in tuple(self._jobs.values()):
            job.pipeline.halt()

    # changes

    def _config(self, label: str) -> Config:
        return next(config for config in self.settings.streams if label_of(config) == label)

    def _labels(self) -> Sequence[str]:
        """The model's classes."""
        job = next(iter(tuple(self._jobs.values())), None)
        model = self.settings.streams[0].model
        return (job.runner.manifest if job else read_manifest(find_model(model))).labels

    def _apply(self, change: StreamChange) -> None:
        name = change.old.name
        if change.restart:
            say("reload", f"needs a restart: {', '.join(change.restart)}", stream=name, level=logging.WARNING)
        with self._lock:
            job = self._jobs.get(label_of(change.old))
            if job is not None:  # else as soon as it is open
                update(job, change.new)
            streams = tuple(change.new if one is change.old else one for one in self.settings.streams)
            self.settings = replace(self.settings, streams=streams)
        say("reload", f"changed: {', '.join(change.live) or 'nothing'}", stream=name)

"""Which streams there are, and how each of them is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ...engine.errors import SourceError
from ...engine.runtimes.models import find_model, read_manifest
from ..telemetry.log import Redacting, say
from ..telemetry.stats import Snapshot
from .config import Config, label_of
from .job import Job
from .settings import Settings
from .stream_change import StreamChange, update


class Roster:
    """The streams of one process, by label. Every thread may ask, and tell."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        """as they are now: what was changed while streams run included"""
        self._jobs: dict[str, Job] = {}
        self._absent: dict[str, SourceError] = {}
        """why those streams gave no first frame in time that are tried again, while others run"""
        self._came_up = False
        self._ended: dict[str, Snapshot | str] = {}
        """the last snapshot; of one that could not be opened, why"""
        self._lock = threading.Lock()

    # how they are

    @property
    def running(self) -> Mapping[str, Job]:
        """The streams that are open."""
        with self._lock:
            return dict(self._jobs)

    @property
    def came_up(self) -> bool:
        """Whether any stream ever was open."""
        return self._came_up

    def has_ended(self, label: str) -> bool:
        """Whether a stream was open and is not any more, or failed."""
        return label in self._ended

    def snapshots(self) -> Mapping[str, Snapshot | str | None]:
        """Every stream's: None where it is not open yet, "waited for: ..." where that takes longer than it should, the
        last one where it has ended, "failed: ..." where it could not be opened.
        """
        clean = Redacting(self.settings.addresses).clean
        with self._lock:
            waited_for = {label: clean(f"waited for: {error}") for label, error in self._absent.items()}
            jobs, ended = dict(self._jobs), {**waited_for, **self._ended}
        found: dict[str, Snapshot | str | None] = {}
        for config in self.settings.streams:
            label = label_of(config)
            running = label in jobs and label not in ended
            found[label] = jobs[label].pipeline.snapshot() if running else ended.get(label)
        return found

    def classes(self) -> Sequence[str]:
        """The names of the model's classes."""
        job = next(iter(self.running.values()), None)
        model = self.settings.streams[0].model
        return (job.runner.manifest if job else read_manifest(find_model(model))).labels

    # what becomes of them

    def opened(self, label: str, asked: Config, job: Job) -> None:
        """A stream is open. asked: as it was when its opening began; what has changed since then is applied."""
        with self._lock:
            self._came_up = True
            self._absent.pop(label, None)
            newest = next(config for config in self.settings.streams if label_of(config) == label)
            if newest is not asked:  # read anew while this one waited for its first frame
                update(job, newest)
            self._jobs[label] = job

    def ended(self, label: str, last: Snapshot) -> None:
        """A stream is over, but for its outputs, which are closed next."""
        with self._lock:
            self._ended[label] = last

    def closed(self, label: str) -> None:
        """A stream's outputs are closed."""
        with self._lock:
            self._jobs.pop(label, None)

    def failed(self, label: str, error: Exception) -> None:
        """A stream could not be opened, or ended by an error."""
        state = Redacting(self.settings.addresses).clean(f"failed: {error}")
        with self._lock:
            last = self._ended.get(label)
            self._ended[label] = replace(last, state=state) if isinstance(last, Snapshot) else state

    @contextmanager
    def away(self, label: str, error: SourceError) -> Iterator[None]:
        """While the block lasts, or until it is open, a stream counts as one whose camera is waited for."""
        with self._lock:
            self._absent[label] = error
        try:
            yield
        finally:
            with self._lock:
                self._absent.pop(label, None)

    def give_up(self, alive: Collection[str], stopping: threading.Event) -> list[SourceError]:
        """Where nobody is left who runs, or may yet, those that are only waited for end as well: sets `stopping`.

        alive: the labels of streams whose threads have not ended. Gives why the others were waited for.
        """
        with self._lock:  # as one: a camera that comes up meanwhile would be given up all the same
            if stopping.is_set() or any(label not in self._absent for label in alive):
                return []
            stopping.set()
            return list(self._absent.values())

    def apply(self, change: StreamChange) -> None:
        """Gives a stream what a new file changes while it runs, now or as soon as it is open, and says it."""
        name = change.old.name
        if change.restart:
            say("reload", f"needs a restart: {', '.join(change.restart)}", stream=name, level=logging.WARNING)
        with self._lock:
            job = self._jobs.get(label_of(change.old))
            if job is not None:
                update(job, change.new)
            streams = tuple(change.new if one is change.old else one for one in self.settings.streams)
            self.settings = replace(self.settings, streams=streams)
        say("reload", f"changed: {', '.join(change.live) or 'nothing'}", stream=name)

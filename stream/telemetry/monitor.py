"""Watches a running pipeline and logs what changes: connected, lost, another class, old tubes, an output in trouble."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType

from ..sources.base import OVERLOADED
from .log import say
from .stats import Snapshot, Spread

EVERY = 0.25
"""Seconds between two looks at the pipeline."""
CLASS_EVERY = 1.0
"""Minimum seconds between two lines about the class of one stream: an undecided network changes it all the time."""


@dataclass(frozen=True)
class LogEntry:
    """One line for the log."""

    event: str
    message: str
    level: int = logging.INFO
    fields: Mapping[str, object] = field(default_factory=dict)
    """the facts of the line, for programs"""


def changes(before: Snapshot | None, after: Snapshot) -> list[LogEntry]:
    """The differences that are worth a line. Pure. before: None at the first look."""
    found = []
    was = before.connected if before else None
    if before and after.alive and after.overloaded != before.overloaded:
        found.append(_of_overload(after))
    if before and (before if after.connected else after).skipping:
        pass  # the whole of the overload is one line, or there would be a line for every skip
    elif after.alive and was is not None and after.connected != was:
        if after.connected:
            found.append(LogEntry("source", f"connected again, {after.reconnects} times so far"))
        else:
            found.append(LogEntry("source", f"lost: {after.state}", logging.WARNING))
    elif before and after.alive and not after.connected and _reason(after.state) not in ("", _reason(before.state)):
        found.append(LogEntry("source", after.state, logging.WARNING))
    if after.label and after.label != (before.label if before else None):
        found.append(LogEntry("class", f"{after.label} {after.probability:.2f}", fields=_of_class(after)))
    if before is not None and after.alive and after.tubes_too_old != before.tubes_too_old:
        found.append(_of_age(after))
    known = {sink.name: sink for sink in before.sinks} if before else {}
    for sink in after.sinks:
        old = known[sink.name].state if sink.name in known else "new"
        if sink.name in known and sink.description and not known[sink.name].description:
            found.append(LogEntry("sink", f"{sink.name}: {sink.description}"))  # it was opened just now
        if sink.state != old and {sink.state, old} & TROUBLE:
            bad = sink.state in TROUBLE
            why = f": {sink.note}" if bad and sink.note else ""
            found.append(LogEntry("sink", f"{sink.name}: {sink.state}{why}", logging.WARNING if bad else logging.INFO))
    return found


def _of_overload(after: Snapshot) -> LogEntry:
    if not after.overloaded:
        return LogEntry("source", f"keeps up with the camera again, after {after.skips} skips so far")
    return LogEntry(
        "source", f"falls behind the camera, and begins at the present again: {OVERLOADED}", logging.WARNING
    )


TROUBLE = {"retrying", "failed", "disk full", "refused", "lost"}
"""The states of an output that somebody should know about."""


def _of_class(snapshot: Snapshot) -> dict[str, object]:
    p = snapshot.probability
    return {"class": snapshot.label, "p": round(p, 6) if math.isfinite(p) else None}


def _of_age(snapshot: Snapshot) -> LogEntry:
    age, limit = snapshot.tube_age, snapshot.max_age
    fields = {"tube_age": round(age, 3) if math.isfinite(age) else None, "max_age": limit}
    if not snapshot.tubes_too_old:
        old = f": {age:.1f} s old" if math.isfinite(age) else ", and none is there at the moment"
        return LogEntry("tube", f"young enough again{old}", fields=fields)
    spent = snapshot.stages.get("infer", Spread()).p50
    why = f"; the model takes {spent:.2g} s for a window" if math.isfinite(spent) else ""
    known = f"{age:.1f} s old, and faded out beyond max-age {limit:g} s"
    there = known if math.isfinite(age) else f"none yet, later than max-age {limit:g} s allows"
    return LogEntry("tube", f"{there}{why}", logging.WARNING, fields)


def _reason(state: str) -> str:
    """The reason in a source's state: "why" from "waiting 1.2 s: why" and from "connecting: why"."""
    return state.partition(": ")[2]


class StreamMonitor:
    """Watches a pipeline while the block lasts, in a thread of its own."""

    def __init__(self, snapshot: Callable[[], Snapshot], name: str = "", classes: bool = True) -> None:
        """name: of the stream, if there are several. classes: whether a change of class is logged."""
        self._snapshot, self._name, self._classes = snapshot, name, classes
        self._done = threading.Event()
        self._before: Snapshot | None = None
        self._class_said = -math.inf
        self._thread = threading.Thread(target=self._work, name="saliency-tubes monitor", daemon=True)

    def __enter__(self) -> StreamMonitor:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._done.wait(EVERY):
            self.look()

    def look(self) -> None:
        """Logs what changed since the last look."""
        now, moment = self._snapshot(), time.monotonic()
        if not self._classes:
            now = replace(now, label="")
        elif moment - self._class_said < CLASS_EVERY:
            # Keep the class that was logged last, so that the next look finds the difference again, if it lasts.
            now = replace(now, label=self._before.label if self._before else "")
        for change in changes(self._before, now):
            if change.event == "class":
                self._class_said = moment
            say(change.event, change.message, stream=self._name, level=change.level, **change.fields)
        self._before = now

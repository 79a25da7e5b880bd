"""Time: how long each stage takes, and when a file's next frame is due if it is to play at its own speed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

from .histogram import Histogram, Tally
from .timeline import leap

RECENT = 256
"""measurements kept of each stage: seconds to minutes of a live stream"""


class Stopwatch:
    """Sums the seconds spent under each name, and keeps the last ones. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, Tally] = {}
        self._reported: dict[str, float] = {}
        self._recent: dict[str, deque[float]] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """So many seconds were spent, by whoever measured them."""
        with self._lock:
            self._tallies.setdefault(name, Tally()).add(seconds)
            self._recent.setdefault(name, deque(maxlen=RECENT)).append(seconds)

    def totals(self) -> dict[str, float]:
        with self._lock:
            return {name: tally.sum for name, tally in self._tallies.items()}

    def histograms(self) -> dict[str, Histogram]:
        """All durations spent under each name, by how long they were."""
        with self._lock:
            return {name: tally.histogram for name, tally in self._tallies.items()}

    def recent(self) -> dict[str, list[float]]:
        """The last seconds spent under each name, at most RECENT of each."""
        with self._lock:
            return {name: list(values) for name, values in self._recent.items()}

    def since_last(self) -> dict[str, float]:
        """The seconds spent under each name since the last call."""
        totals = self.totals()
        spent = {name: seconds - self._reported.get(name, 0.0) for name, seconds in totals.items()}
        self._reported = totals
        return spent


class Pace:
    """Holds frames back until they are due, counted from the first one."""

    def __init__(self, stopping: threading.Event, rate: Fraction | None = None) -> None:
        """rate: of the file, frames a second."""
        self._stopping, self._leap = stopping, leap(rate)
        self._start: float | None = None

    def wait(self, seconds: float) -> None:
        """Returns when the frame with this presentation time is due, or at once when stopping."""
        now = time.monotonic()
        if self._start is None or self._start + seconds - now > self._leap:
            self._start = now - seconds
        self._stopping.wait(max(0.0, self._start + seconds - now))

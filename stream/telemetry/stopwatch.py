"""How long each stage takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from .histogram import Buckets, Histogram

RECENT = 256
"""Number of measurements that are kept for each stage: seconds to minutes of a live stream."""


class Stopwatch:
    """Sums the seconds spent under each name, and keeps the newest durations. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, Buckets] = {}
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
        """Adds a duration that was measured elsewhere."""
        with self._lock:
            self._tallies.setdefault(name, Buckets()).add(seconds)
            self._recent.setdefault(name, deque(maxlen=RECENT)).append(seconds)

    def totals(self) -> dict[str, float]:
        with self._lock:
            return {name: tally.sum for name, tally in self._tallies.items()}

    def histograms(self) -> dict[str, Histogram]:
        """Histograms of all durations spent under each name."""
        with self._lock:
            return {name: tally.histogram for name, tally in self._tallies.items()}

    def recent(self) -> dict[str, list[float]]:
        """The newest durations under each name in seconds, at most RECENT for each."""
        with self._lock:
            return {name: list(values) for name, values in self._recent.items()}

    def since_last(self) -> dict[str, float]:
        """The seconds spent under each name since the last call."""
        totals = self.totals()
        spent = {name: seconds - self._reported.get(name, 0.0) for name, seconds in totals.items()}
        self._reported = totals
        return spent

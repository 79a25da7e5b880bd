"""Totals of many durations as a Prometheus histogram: a count for each bucket, and the sum."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
"""Seconds: the longest duration that each bucket counts. One more bucket counts all longer ones."""


@dataclass(frozen=True)
class Histogram:
    """All durations since the start: counts and sum never decrease."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """for each bucket; each duration is counted in one bucket only"""
    sum: float = 0.0
    """seconds"""

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def cumulative(self) -> list[tuple[float, int]]:
        """For each bucket its bound, and the number of durations up to it; the last bound is infinite."""
        return list(zip((*BOUNDS, float("inf")), accumulate(self.counts), strict=True))


class Buckets:
    """Counts durations. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts, self._sum = [0] * (len(BOUNDS) + 1), 0.0

    def add(self, seconds: float) -> None:
        with self._lock:
            self._counts[bisect_left(BOUNDS, seconds)] += 1
            self._sum += seconds

    @property
    def sum(self) -> float:
        """The sum of all durations so far, in seconds."""
        return self._sum

    @property
    def histogram(self) -> Histogram:
        """The durations counted so far."""
        with self._lock:
            return Histogram(tuple(self._counts), self._sum)

"""Totals of many durations, by how long they were, as Prometheus sums them up: a count by bucket, and the sum."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
"""seconds; the longest duration that each bucket counts. One more bucket counts whatever is longer"""


@dataclass(frozen=True)
class Histogram:
    """All durations since the start: no count and no sum ever goes down."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """by bucket, each duration in one alone"""
    sum: float = 0.0
    """seconds"""

    @property
    def count(self) -> int:
        return sum(self.counts)

    @property
    def cumulative(self) -> list[tuple[float, int]]:
        """By bucket its bound, and how many were no longer; the last bound is infinite."""
        return list(zip((*BOUNDS, float("inf")), accumulate(self.counts), strict=True))


class Tally:
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
        """seconds so far"""
        return self._sum

    @property
    def histogram(self) -> Histogram:
        """What was counted so far."""
        with self._lock:
            return Histogram(tuple(self._counts), self._sum)

"""What is measured: values, and what they are called in JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Timing:
    """How long a stage takes for one frame or window."""

    stage: str
    """decode, upload, sample, inference, evidence, overlay, download, encode, or a whole run"""
    what: str
    """of what: size, precision, path"""
    unit: str
    """frame or window"""
    seconds: float
    """median over the rounds"""
    slowest: float
    """the slowest round"""
    rounds: int = 1
    """number of rounds; on a GPU a round is a graph of many launches"""
    cpu: float = math.nan
    """seconds of processor time, of all threads together; the median over the rounds"""
    of_bound: float = math.nan
    """share of what the memory's bandwidth allows, for kernels on a GPU"""

    @classmethod
    def of(
        cls,
        stage: str,
        what: str,
        unit: str,
        rounds: Sequence[float],
        count: int = 1,
        *,
        cpu: Sequence[float] = (),
        of_bound: float = math.nan,
    ) -> Timing:
        """rounds: seconds of each round, each for `count` frames or windows. cpu: processor time of each."""
        spent = median(cpu) / count if cpu else math.nan
        return cls(stage, what, unit, median(rounds) / count, max(rounds) / count, len(rounds), spent, of_bound)

    @property
    def per_second(self) -> float:
        return 1 / self.seconds

    def record(self) -> dict[str, Any]:
        """For JSON: milliseconds, and how many in a second."""
        return {
            "stage": self.stage,
            "what": self.what,
            "unit": self.unit,
            "milliseconds": _short(1e3 * self.seconds),
            "slowest_milliseconds": _short(1e3 * self.slowest),
            "rounds": self.rounds,
            "processor_milliseconds": None if math.isnan(self.cpu) else _short(1e3 * self.cpu),
            "per_second": _short(self.per_second),
            "share_of_bandwidth": None if math.isnan(self.of_bound) else _short(self.of_bound),
        }


@dataclass(frozen=True)
class Streams:
    """A short run of the real pipeline with so many live streams, each decoded, explained, drawn and encoded."""

    size: str
    """720p, 1080p"""
    count: int
    """number of streams"""
    seconds: float
    """seconds that were measured"""
    fps: float
    """frames a second of the slowest stream"""
    tube_age: float
    """seconds; the median over time of the oldest stream's"""
    drawn: float
    """share of the frames that evidence was drawn on, of the stream with the fewest"""
    cores: float
    """seconds of processor time in a second"""
    watts: float = math.nan
    """mean, where the system tells"""

    RATE = 30
    """frames a second that each stream has"""
    ENOUGH, DRAWN = 0.98, 0.95
    """shares of the frames that must leave, and that must have a tube, for a stream to count as held"""

    @property
    def held(self) -> bool:
        return self.fps >= self.ENOUGH * self.RATE and self.drawn >= self.DRAWN

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "size": self.size,
            "rate": self.RATE,
            "streams": self.count,
            "held": self.held,
            "seconds": _short(self.seconds),
            "fps": _short(self.fps),
            "tube_age_seconds": None if math.isnan(self.tube_age) else _short(self.tube_age),
            "drawn": _short(self.drawn),
            "cores": _short(self.cores),
            "watts": None if math.isnan(self.watts) else _short(self.watts),
        }


@dataclass(frozen=True)
class Results:
    """Everything that one run of the benchmark found."""

    version: str
    """of saliency-tubes"""
    device: str
    """processor, and GPU where there is one"""
    model: str
    runtime: str
    timings: tuple[Timing, ...] = ()
    streams: tuple[Streams, ...] = ()
    """every run, in the order in which they were made"""
    power: str = ""
    """what told the watts; empty where nothing does"""
    took: float = 0.0
    """seconds of the whole benchmark"""

    def most(self, size: str) -> Streams | None:
        """The run with the most streams that were held; None if not even one was."""
        held = [run for run in self.streams if run.size == size and run.held]
        return max(held, key=lambda run: run.count, default=None)

    def fastest(self, stage: str, part: str = "") -> Timing | None:
        """The fastest of a stage, among those whose `what` has this in it."""
        found = [timing for timing in self.timings if timing.stage == stage and part in timing.what]
        return min(found, key=lambda timing: timing.seconds, default=None)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "version": self.version,
            "device": self.device,
            "model": self.model,
            "runtime": self.runtime,
            "seconds": _short(self.took),
            "power": self.power,
            "timings": [timing.record() for timing in self.timings],
            "streams": [run.record() for run in self.streams],
        }


def _short(value: float) -> float:
    """Four digits: more were never measured."""
    return float(f"{value:.4g}")

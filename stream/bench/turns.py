"""Callables timed in turns, so that a machine that slows down for a while does so for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from .results import Timing

Times = dict[str, list[float]]
"""name -> seconds, one for each round"""


class Metered:
    """A callable, and the processor time of each of its calls."""

    def __init__(self, work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> None:
        """clock: tells the processor time of all threads of this process, in seconds."""
        self.cpu: list[float] = []
        """seconds, one for each call, warm-up rounds included"""
        self._work, self._clock = work, clock

    def __call__(self) -> None:
        begun = self._clock()
        self._work()
        self.cpu.append(self._clock() - begun)


def interleave(
    work: Mapping[str, Callable[[], object]],
    rounds: int,
    *,
    warmup: int = 1,
    budget: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Times every callable once in each round. No round begins that would likely end after `budget` seconds, but for
    the first.

    Every second round goes backwards: none always follows the same neighbour. Warm-up rounds are not in the result.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be 1 or more, got {rounds}")
    times: Times = {name: [] for name in work}
    begun = last = clock()
    for number in range(-warmup, rounds):
        begin = clock() if budget < math.inf else begun
        if number > 0 and begin - begun + (begin - last) > budget:
            break
        last = begin
        for name in list(work)[:: -1 if number % 2 else 1]:
            start = clock()
            work[name]()
            spent = clock() - start
            if number >= 0:
                times[name].append(spent)
    return times


def timed(
    work: Mapping[tuple[str, str], tuple[Callable[[], object], int]],
    unit: str,
    rounds: int,
    *,
    budget: float = math.inf,
) -> list[Timing]:
    """Times the calls in turns. work: stage and of what -> the call, and how many frames or windows it is for."""
    metered = {" ".join(key): Metered(call) for key, (call, _) in work.items()}
    times = interleave(metered, rounds, budget=budget)
    return [
        Timing.of(*key, unit, times[name], count, cpu=metered[name].cpu)
        for (key, (_, count)), name in zip(work.items(), metered, strict=True)
    ]

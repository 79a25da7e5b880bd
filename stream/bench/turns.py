"""Callables timed in turns, so that a machine that slows down for a while does so for all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

Times = dict[str, list[float]]
"""name -> seconds, one for each round"""


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

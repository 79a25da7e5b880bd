"""How many live streams the machine holds: found by running them, each decoded, explained, drawn and encoded.

The streams run in a process of their own, as they would for a user. The first number to be tried is derived from the
stages' times; what is reported was run.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from ...engine.errors import TubesError
from . import running
from .film import Film
from .power import Meter
from .results import Results, Streams, Timing
from .stages import Asked

MEASURED, QUICK_MEASURED = 6.0, 3.0
"""Seconds that are measured, once every stream has explained its first windows."""
MOST = 64
"""Maximum number of streams that are tried."""
FOR_PICTURES = 0.6
"""Share of the processor that decoding, drawing and encoding may take in the first run that is tried; the rest is for
the network."""


def hold(film: Film, first: int, asked: Asked, meter: Meter, say: Callable[[str], None]) -> list[Streams]:
    """Runs with more and more streams, or fewer, until it is known how many are held. first: what to begin with."""
    found: dict[int, Streams] = {}
    count = first
    while 1 <= count <= MOST and count not in found:
        found[count] = run = _run(film, count, asked, meter)
        verdict = "held" if run.held else "not held"
        say(f"{count} x {film.size}30: {run.fps:.1f} fps, tube age {run.tube_age:.2f} s: {verdict}")
        held = [number for number, one in found.items() if one.held]
        failed = [number for number, one in found.items() if not one.held]
        count = next_count(max(held, default=0), min(failed, default=None), asked.quick)
    return list(found.values())


def next_count(held: int, failed: int | None, quick: bool) -> int:
    """The number of streams to try next; 0 if it is known well enough. Pure.

    held: the most that were held. failed: the fewest that were not; None: all were held. quick: whether a bound is
    enough that is a fourth too low.
    """
    if failed is None:
        return held + max(1, held // 2)
    if failed - held <= (max(1, held // 4) if quick else 1):
        return 0
    return (held + failed) // 2


def first_count(timings: Sequence[Timing], size: str, cores: float) -> int:
    """About how many streams the processor should be able to decode, sample, draw and encode. Pure.

    It goes by processor time: decoders and encoders have several threads, and while one film is decoded alone it takes
    several cores. cores: that this process may use.
    """
    wanted = {"decode": size, "sample": size, "overlay": size, "encode": f"{size} live"}
    results = Results("", "", "", "", tuple(timings))
    costs = [results.fastest(stage, part) for stage, part in wanted.items()]
    spent = Streams.RATE * sum(cost.cpu for cost in costs if cost is not None and not math.isnan(cost.cpu))
    return max(1, min(MOST, int(FOR_PICTURES * cores / spent))) if spent else 1


def _run(film: Film, count: int, asked: Asked, meter: Meter) -> Streams:
    with tempfile.TemporaryDirectory(prefix="streams-", dir=film.path.parent) as folder:
        streams = running.Wanted(
            str(film.path),
            tuple((str(Path(folder, f"{number}.mkv")),) for number in range(count)),
            {"realtime": True, "loop": True, "overwrite": True, "model": asked.model, "runtime": asked.runtime,
             "device": asked.device, "memory": asked.memory},
            QUICK_MEASURED if asked.quick else MEASURED,
        )  # fmt: skip
        log = Path(folder, "log")
        with log.open("wb") as said:
            process = running.Running(streams, said)
        try:
            found = _measured(process, meter)
        finally:
            process.close()
        if found is None:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise TubesError(f"{count} streams of {film.size} ended by themselves: {(lines or ['without a word'])[-1]}")
    return Streams(
        film.size,
        count,
        found.seconds,
        min(found.fps, default=0.0),
        median(found.ages) if found.ages else math.nan,
        min(found.drawn, default=0.0),
        found.cpu,
        meter.watts,
    )


def _measured(process: running.Running, meter: Meter) -> running.Found | None:
    if not process.is_ready():
        return None
    with meter.measured():
        process.begin()
        return process.found()

"""How many live streams the machine holds: found by running them, each decoded, explained, drawn and encoded.

The streams run in a process of their own, as they would for a user. The first number to be tried is derived from the
stages' times; what is reported was run.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from ...engine.errors import TubesError
from ..app.config import Config
from ..app.fleet import Fleet
from ..app.settings import Settings
from ..sinks.base import SinkOptions
from ..sources.base import SourceOptions
from ..telemetry.stats import Snapshot
from .film import Film
from .power import Meter
from .results import Results, Streams, Timing
from .stages import Asked

MEASURED, QUICK_MEASURED = 6.0, 3.0
"""Seconds that are measured, once every stream has explained its first windows."""
PATIENCE = 40.0
"""Maximum seconds until every stream has explained WARM windows; then its tubes are too old to count."""
WARM = 2
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
    seconds = QUICK_MEASURED if asked.quick else MEASURED
    with tempfile.TemporaryDirectory(prefix="streams-", dir=film.path.parent) as folder:
        told = {"film": str(film.path), "folder": folder, "count": count, "seconds": seconds, "asked": vars(asked)}
        log = Path(folder, "log")
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        try:
            answer = _ask(process, meter)
        finally:
            process.kill()
            process.communicate()
        if not answer:
            lines = log.read_text(errors="replace").strip().splitlines()
            raise TubesError(f"{count} streams of {film.size} ended by themselves: {(lines or ['without a word'])[-1]}")
    return Streams(film.size, count, **{**json.loads(answer), "watts": meter.watts})


def _ask(process: subprocess.Popen[str], meter: Meter) -> str:
    """What the process found, as JSON; empty if it ended before."""
    assert process.stdin is not None
    assert process.stdout is not None
    if not process.stdout.readline():
        return ""
    with meter.measured(), suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline()
    return ""


# in the process that is measured


def _measure(film: str, folder: str, count: int, seconds: float, asked: Mapping[str, Any]) -> None:
    config = Config(
        film,
        model=asked["model"],
        runtime=asked["runtime"],
        device=asked["device"],
        memory=asked["memory"],
        source=SourceOptions(realtime=True, loop=True),
        sink=SinkOptions(overwrite=True),
    )
    streams = [
        replace(config, outputs=(str(Path(folder, f"{number}.mkv")),), name=f"camera {number}")
        for number in range(count)
    ]
    fleet = Fleet(Settings(tuple(streams)))
    watcher = threading.Thread(target=watch, args=(fleet, count, seconds), daemon=True)
    watcher.start()
    try:
        fleet.run()
    finally:
        watcher.join(timeout=1)


def watch(fleet: Fleet, count: int, seconds: float) -> None:
    """Prints what the fleet's streams do in so many seconds, for whoever asks on standard input; then the fleet stops,
    also if nobody is there any more."""
    try:
        _report(fleet, count, seconds)
    except BrokenPipeError:
        pass  # whoever asked is gone
    finally:
        fleet.stop()


def _report(fleet: Fleet, count: int, seconds: float) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE:
        running = _running(fleet)
        if len(running) == count and min(one.windows for one in running.values()) >= WARM:
            break
        time.sleep(0.05)
    print("ready", flush=True)
    sys.stdin.readline()
    before, start, cpu = _running(fleet), time.monotonic(), _cpu()
    ages: list[float] = []
    while time.monotonic() - start < seconds:
        time.sleep(0.1)
        ages.append(max((one.tube_age for one in _running(fleet).values()), default=math.nan))
    after, elapsed = _running(fleet), time.monotonic() - start
    spent = _cpu() - cpu
    out = [(after[name].frames_out - one.frames_out, after[name].frames_drawn - one.frames_drawn)
           for name, one in before.items() if name in after]  # fmt: skip
    known = [age for age in ages if not math.isnan(age)]
    found = {
        "seconds": elapsed,
        "fps": min((frames for frames, _ in out), default=0) / elapsed,
        "tube_age": median(known) if known else math.nan,
        "drawn": min((drawn / frames if frames else 0.0 for frames, drawn in out), default=0.0),
        "cores": spent / elapsed,
    }
    print(json.dumps(found), flush=True)


def _running(fleet: Fleet) -> dict[str, Snapshot]:
    return {name: one for name, one in fleet.snapshots().items() if isinstance(one, Snapshot)}


def _cpu() -> float:
    """Processor time of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    _measure(**json.loads(sys.argv[1]))

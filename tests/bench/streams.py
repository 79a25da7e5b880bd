"""Streams: cameras of 480p15 around one I3D, against as many processes, and against cores.

In live mode the model takes all the time there is, so what a stream costs is told by window; in aligned mode the work
is fixed, and it is told by second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import median
from typing import Any

from harness import Row, Setup, Target
from saliency_tubes.stream.bench.running import Found, Running, Wanted

CAMERA, FRAMES = "test://?size=640x480&rate=15", 16
STRIDE, HOP = 2, 30
"""where the work is fixed: a window every two seconds, which two cores can do for four streams"""
ROUNDS, SECONDS = 3, 12
"""seconds: whole windows where the work is fixed"""
MAX_AGE = 60.0
"""so that old tubes are told of, and not faded away"""
CHEAPER, FAIR = Target(1.0), Target(0.95, at_most=False)


def rows(setup: Setup) -> list[Row]:
    """Cost, rates and ages of four cameras in one process and in four, in turns; then windows against cores."""
    return [*_against_processes(setup), *_against_cores(setup)]


def _against_processes(setup: Setup) -> list[Row]:
    seconds, streams = setup.pick(SECONDS), setup.pick(4, 2)
    ways: dict[str, tuple[list[int], dict[str, Any]]] = {
        "one": ([streams], {}),
        "apart": ([1] * streams, {}),
        "batched": ([streams], {"batch": streams}),
        "fixed": ([streams], {"sync": "aligned"}),
        "fixed apart": ([1] * streams, {"sync": "aligned"}),
    }
    rounds = [
        {way: _measure(processes, seconds, **options) for way, (processes, options) in ways.items()}
        for _ in range(setup.pick(ROUNDS))
    ]

    def mid(way: str, of: Callable[[list[Found]], float]) -> float:
        """The median over the rounds."""
        return median(of(found[way]) for found in rounds)

    def row(name: str, value: float, unit: str, target: Target | None = None) -> Row:
        return Row(f"streams: {name}", value, unit, None if setup.quick else target)

    def pair(name: str, unit: str, together: float, each: float, target: Target | None = None) -> list[Row]:
        return [
            row(f"{name}, {streams} in one process", together, unit),
            row(f"{name}, {streams} processes", each, unit),
            row(f"{name}, one process / {streams}", together / each, "x", target),
        ]

    return [
        *pair(f"CPU of a stream, a window every {HOP} frames", "s/s", *(
            mid(way, lambda run: _cpu(run) / streams) for way in ("fixed", "fixed apart")), target=CHEAPER),
        *pair("CPU for a window", "s", *(mid(way, _cpu_of_window) for way in ("one", "apart")),
              target=CHEAPER),
        *pair("memory", "MiB", *(mid(way, lambda run: sum(found.memory for found in run)) for way in ("one", "apart")),
              target=CHEAPER),
        *pair("windows of all", "1/s", *(mid(way, _rate) for way in ("one", "apart"))),
        row("windows, slowest stream / fastest", mid("one", lambda run: min(run[0].windows) / max(run[0].windows)),
            "x", FAIR),
        row(f"CPU for a window, {streams} at a time", mid("batched", _cpu_of_window), "s"),
        row(f"windows of all, {streams} at a time", mid("batched", _rate), "1/s"),
        row("oldest tube, at a time as measured best", mid("one", _oldest), "s"),
        row(f"oldest tube, {streams} at a time", mid("batched", _oldest), "s"),
    ]  # fmt: skip


def _cpu(run: list[Found]) -> float:
    return sum(found.cpu for found in run)


def _rate(run: list[Found]) -> float:
    return sum(sum(found.windows) for found in run)


def _cpu_of_window(run: list[Found]) -> float:
    return _cpu(run) / _rate(run)


def _oldest(run: list[Found]) -> float:
    return max(max(found.ages) for found in run)


def _against_cores(setup: Setup) -> list[Row]:
    found = []
    for cores in range(1, setup.pick(2) + 1):
        for streams in (1, 2, 4)[: setup.pick(3)]:
            (one,) = _measure([streams], setup.pick(SECONDS), cores=cores)
            what = f"{streams} stream{'s' * (streams > 1)} on {cores} core{'s' * (cores > 1)}"
            found.append(Row(f"streams: windows of each, {what}", sum(one.windows) / streams, "1/s"))
            found.append(Row(f"streams: tube age, median, {what}", median(one.ages), "s"))
    return found


def _measure(
    processes: list[int], seconds: int, *, cores: int = 0, batch: int | None = None, sync: str = "live"
) -> list[Found]:
    """processes: how many streams each has. They begin to measure together. cores: that they may use; 0: all."""
    options = {"frames": FRAMES, "stride": STRIDE, "hop": HOP, "sync": sync, "max_age": MAX_AGE, "realtime": True}
    if batch is not None:
        options["batch"] = batch
    running = [
        Running(Wanted(CAMERA, (("null://",),) * streams, options, seconds, math.inf, every_window=True, cores=cores))
        for streams in processes
    ]
    try:
        ready = [one.is_ready() for one in running]
        for one in running:
            one.begin()
        found = [one.found() for one in running]
    finally:
        for one in running:
            one.close()
    if not all(ready) or None in found:
        raise RuntimeError("the streams ended before they were measured")
    return [one for one in found if one is not None]

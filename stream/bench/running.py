"""Live streams in a process of their own, as they would run for a user, and what is measured of them there."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import IO, Any

from ..app.arguments import config_of_keywords
from ..app.fleet import Fleet
from ..app.settings import Settings
from ..telemetry.stats import Snapshot, resident_bytes

PATIENCE = 40.0
"""Maximum seconds until every stream has explained WARM windows; after that it is measured as it is."""
WARM = 2
LOOKS = 0.1
"""Seconds between two looks at the age of tubes."""


@dataclass(frozen=True)
class Wanted:
    """Streams to run, and for how long."""

    input: str
    outputs: tuple[tuple[str, ...], ...]
    """of each stream"""
    options: Mapping[str, Any]
    """of all streams: keywords of a run"""
    seconds: float
    """measured, once the streams are warm"""
    patience: float = PATIENCE
    every_window: bool = False
    """whether it is measured for longer, until each stream has explained a window"""
    cores: int = 0
    """that the process may use; 0: all"""


@dataclass(frozen=True)
class Found:
    """What was measured. A tuple has a number for each stream, unless it says otherwise."""

    seconds: float
    """that were measured"""
    windows: tuple[float, ...]
    """explained a second"""
    fps: tuple[float, ...]
    """frames that left a second"""
    drawn: tuple[float, ...]
    """share of these that evidence was drawn on"""
    ages: tuple[float, ...]
    """of the oldest of all streams' tubes, in seconds, from time to time; without times at which there was none"""
    cpu: float
    """seconds of processor time in a second"""
    memory: float
    """MiB resident"""


class Running:
    """The process. It begins to measure when it is told to, so that several can do so together."""

    def __init__(self, wanted: Wanted, log: IO[bytes] | int = subprocess.DEVNULL) -> None:
        """log: what the streams say."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps(asdict(wanted))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._told, self._says = self._process.stdin, self._process.stdout

    def is_ready(self) -> bool:
        """Waits until the streams are warm; False if they have ended before."""
        return bool(self._says.readline())

    def begin(self) -> None:
        """Measures from now on."""
        with suppress(BrokenPipeError):  # it has ended: `found` tells
            self._told.write("\n")
            self._told.flush()

    def found(self) -> Found | None:
        """Waits for what was measured; None if the streams have ended before."""
        line = self._says.readline()
        return Found(**json.loads(line)) if line else None

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


# in the process that is measured


def run(wanted: Wanted) -> None:
    """Runs the streams until they are measured."""
    if wanted.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: wanted.cores])
    streams = [
        replace(config_of_keywords(wanted.input, outputs, wanted.options), name=f"camera {number}")
        for number, outputs in enumerate(wanted.outputs)
    ]
    fleet = Fleet(Settings(tuple(streams)))
    watcher = threading.Thread(target=watch, args=(fleet, wanted), daemon=True)
    watcher.start()
    try:
        fleet.run()
    finally:
        watcher.join(timeout=1)


def watch(fleet: Fleet, wanted: Wanted) -> None:
    """Prints what the fleet's streams do, for whoever asks on standard input; then the fleet stops, also if nobody is
    there any more."""
    try:
        _report(fleet, wanted)
    except BrokenPipeError:
        pass  # whoever asked is gone
    finally:
        fleet.stop()


def _report(fleet: Fleet, wanted: Wanted) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < wanted.patience:
        running = _running(fleet)
        if len(running) == len(wanted.outputs) and min(one.windows for one in running.values()) >= WARM:
            break
        time.sleep(0.05)
    print("ready", flush=True)
    sys.stdin.readline()
    before, start, cpu = _running(fleet), time.monotonic(), _cpu()
    ages: list[float] = []
    after = before
    while time.monotonic() - start < wanted.seconds or (wanted.every_window and not _each_has_more(before, after)):
        time.sleep(LOOKS)
        after = _running(fleet)
        ages.append(max((one.tube_age for one in after.values()), default=math.nan))
    after, elapsed = _running(fleet), time.monotonic() - start
    spent = _cpu() - cpu
    pairs = [(one, after[name]) for name, one in before.items() if name in after]
    frames = [new.frames_out - old.frames_out for old, new in pairs]
    drawn = [new.frames_drawn - old.frames_drawn for old, new in pairs]
    found = Found(
        elapsed,
        tuple((new.windows - old.windows) / elapsed for old, new in pairs),
        tuple(count / elapsed for count in frames),
        tuple(some / count if count else 0.0 for some, count in zip(drawn, frames, strict=True)),
        tuple(age for age in ages if not math.isnan(age)),
        spent / elapsed,
        resident_bytes() / 2**20,
    )
    print(json.dumps(asdict(found)), flush=True)


def _each_has_more(before: Mapping[str, Snapshot], after: Mapping[str, Snapshot]) -> bool:
    return all(name in after and after[name].windows > one.windows for name, one in before.items())


def _running(fleet: Fleet) -> dict[str, Snapshot]:
    return {name: one for name, one in fleet.snapshots().items() if isinstance(one, Snapshot)}


def _cpu() -> float:
    """Processor time of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _wanted(told: Mapping[str, Any]) -> Wanted:
    return Wanted(**{**told, "outputs": tuple(map(tuple, told["outputs"]))})


if __name__ == "__main__":
    run(_wanted(json.loads(sys.argv[1])))

"""Measures how long a model takes for a window on this machine in each precision, once, and keeps that on disk."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...engine.cachefile import cache_folder, key_of, read_cached, write_cached
from ...engine.cores import cores
from ...engine.errors import ModelError
from ...engine.preprocess import black_clip
from ...engine.processor import processor_identity
from ...engine.runtimes.base import Choices, Runner

BUDGET = 2.0
"""Maximum seconds of all runs together; the first run of each precision is made in any case."""
ROUNDS = 5
"""Maximum number of runs of each precision after the first one. The shortest counts; more runs do not make it
shorter."""
GAIN = 0.9
"""Maximum share of f32's time for another precision to be chosen: it is less accurate, and a measurement is not
exact."""
_MAGIC = b"saliency-tubes speeds 1\n"

Seconds = Mapping[str, float]
"""Precision -> seconds of one window."""


@dataclass(frozen=True)
class Speeds:
    """How long a window of `clip_length` frames takes in each precision."""

    clip_length: int
    seconds: Seconds = field(default_factory=dict)
    kept: bool = False
    """whether it was measured at an earlier start"""

    @property
    def quickest(self) -> str:
        """The precision to compute in: f32, unless another one is faster by a tenth."""
        exact = self.seconds.get("f32", math.inf)
        best = min(self.seconds, key=lambda name: self.seconds[name])
        return best if best == "f32" or self.seconds[best] < GAIN * exact else "f32"

    @property
    def in_words(self) -> str:
        """Such as "277 ms a window of 32 against 500 ms in f32, measured"; empty if there was nothing to choose."""
        if len(self.seconds) < 2:
            return ""
        others = " and ".join(
            f"{milliseconds(spent)} in {name}" for name, spent in self.seconds.items() if name != self.quickest
        )
        how = "kept from an earlier start" if self.kept else "measured"
        return f"{milliseconds(self.seconds[self.quickest])} a window of {self.clip_length} against {others}, {how}"


def speeds_of(
    model: Path,
    choices: Choices,
    clip_length: int,
    load: Callable[[str], Runner],
    *,
    folder: Path | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Speeds:
    """How long a window of `clip_length` frames takes in each precision, from the cache, or measured and kept there.

    load: opens the model in a precision. If another precision than the first cannot be run, the first is measured
    alone. A measurement is used only for the same processor, number of cores, runtime, model and precisions. Raises
    ModelError.
    """
    kept = kept_speeds(model, choices, clip_length, folder=folder)
    if kept is not None:
        return kept
    seconds = _measured(choices.precisions, load, clock)
    write_cached(*_kept_at(model, choices, clip_length, folder), json.dumps(seconds).encode())
    return Speeds(clip_length, seconds)


def kept_speeds(model: Path, choices: Choices, clip_length: int, *, folder: Path | None = None) -> Speeds | None:
    """What `speeds_of` measured at an earlier start, and would take now; None if it would measure."""
    kept = _parse(read_cached(*_kept_at(model, choices, clip_length, folder)), choices.precisions)
    return None if kept is None else Speeds(clip_length, kept, kept=True)


def _kept_at(model: Path, choices: Choices, clip_length: int, folder: Path | None) -> tuple[Path, bytes]:
    """The file of a measurement, and its head."""
    key = key_of(
        processor_identity(),
        f"{cores().usable:g}",
        choices.title,
        *choices.precisions,
        _digest(model),
        str(clip_length),
    )
    path = (folder or cache_folder("speeds")) / f"{model.stem[:40]}-{key[:32]}.json"
    return path, _MAGIC + key.encode() + b"\n"


def race(runners: Mapping[str, Runner], clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Seconds that each runner takes for a window: the shortest of its runs. The runners run in turns.

    So if the machine is busy for a while, that affects all of them. First runs, which allocate memory, count only if
    there is no time for others.
    """
    start = clock()
    first = _round(runners, clock)
    rounds: list[dict[str, float]] = []
    while len(rounds) < ROUNDS and clock() - start + sum((rounds or [first])[-1].values()) <= BUDGET:
        rounds.append(_round(runners, clock))
    return {name: min(one[name] for one in rounds or [first]) for name in runners}


def run_takes(runner: Runner, size: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds for a run of `size` windows: those of the second run, because the first allocates memory, unless the
    first takes long."""
    clips = [black_clip(runner.manifest.input, runner.clip_length)] * size
    spent = 0.0
    for _ in range(2):
        start = clock()
        runner.run(clips)
        spent = clock() - start
        if spent > BUDGET:
            break
    return spent


def _round(runners: Mapping[str, Runner], clock: Callable[[], float]) -> dict[str, float]:
    spent = {}
    for name, runner in runners.items():
        clip = black_clip(runner.manifest.input, runner.clip_length)
        begun = clock()
        runner.run([clip])
        spent[name] = clock() - begun
    return spent


def _measured(precisions: Sequence[str], load: Callable[[str], Runner], clock: Callable[[], float]) -> dict[str, float]:
    first, *others = precisions
    runners = {first: load(first)}
    try:
        return race(runners | {precision: load(precision) for precision in others}, clock)
    except ModelError:  # the runtime cannot do what it offers
        return race(runners, clock)


def _parse(body: bytes | None, precisions: Sequence[str]) -> dict[str, float] | None:
    """The seconds by precision in a cached file; None for anything else."""
    try:
        seconds = json.loads(body or b"")
    except ValueError:
        return None
    if not isinstance(seconds, dict) or precisions[0] not in seconds or not set(seconds) <= set(precisions):
        return None
    if not all(isinstance(spent, float) and 0 < spent < math.inf for spent in seconds.values()):
        return None
    return seconds


def _digest(model: Path) -> str:
    digest = hashlib.sha256()
    with model.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def milliseconds(seconds: float) -> str:
    """ "277 ms", "4.2 ms" """
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.1f} ms"

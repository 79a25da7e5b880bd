"""Live: a camera by RTSP, explained, out by RTSP, all on this machine: what leaves, and how late.

The camera's pictures say when they were drawn (stream/sources/pattern.py), and a client of the output reads it there.
What explains runs by its own settings, the length of its windows included. The same pipeline with a network that never
answers is the pass-through that the latency is compared with, once for each library that can read the camera. Longer
than make bench has time for:

    python tests/bench/live.py 300     # seconds of each, in one piece
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import median

import numpy as np
from harness import Row, Setup, Target, exit_code, table
from saliency_tubes.engine.errors import TubesError, UsageError
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.types import Clip, Outputs
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.sources.pattern import now_ms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from barcodes import read_barcode, read_time

SIZE, RATE = "1280x720", 30
SECONDS, ROUNDS, WARM = 20, 3, 6
"""measured in each round, and before that"""
FPS = Target(29.5, at_most=False)
MEDIAN, P95, AGE = Target(35.0), Target(70.0), Target(2.0)
"""milliseconds that explaining may add; seconds that a tube may be old"""
DRAWN = Target(0.99, at_most=False)
"""share of the frames that a tube is drawn on"""
CORES = 2
"""that all of it may use, where this runs by itself"""
CAMERA, OUTPUT, METRICS = 18651, 18652, 18653
"""ports"""


@dataclass(frozen=True)
class Seen:
    """What a client of the output saw."""

    seconds: float
    drawn: list[tuple[int, float]]
    """number of each picture, and when it was decoded; ms"""
    stamps: list[tuple[int, float]]
    """number of each picture whose time can be read, and that time; ms"""
    ages: list[float]
    """of the tube, once a second; s"""
    tubes: tuple[float, float] = (0.0, 0.0)
    """frames handed to the outputs meanwhile, and those of them that a tube was drawn on"""

    @property
    def lost(self) -> int:
        """Numbers that never came."""
        numbers = [number for number, _ in self.drawn]
        return numbers[-1] - numbers[0] + 1 - len(set(numbers)) if numbers else 0

    def latencies(self, zero: float) -> list[float]:
        """Milliseconds from a picture's drawing to its being decoded. zero: when the camera drew its first picture."""
        return [at - zero - number * 1000 / RATE for number, at in self.drawn]


def rows(setup: Setup) -> list[Row]:
    """Frames a second out, the latency of all, and what explaining adds; no row where GStreamer is not to be had."""
    rounds = setup.pick(ROUNDS)
    try:
        seen = measure(rounds, setup.pick(SECONDS, 2), setup.pick(WARM, 1))
    except UsageError as error:
        print(f"live: not measured: {error}", file=sys.stderr)
        return []
    return _rows(seen, targets=not setup.quick)


def measure(rounds: int, seconds: float, warm: float) -> dict[str, list[Seen]]:
    """What a client saw of each, in turns."""
    work: dict[str, tuple[Callable[..., None], tuple[object, ...]]] = {
        "passed on, PyAV": (_pass, ("av",)),
        "passed on, GStreamer": (_pass, ("gst",)),
        "explained": (_explain, ()),
    }
    seen: dict[str, list[Seen]] = {name: [] for name in work}
    with _running(_camera):
        for number in range(rounds):
            for name in list(work)[:: -1 if number % 2 else 1]:
                role, words = work[name]
                with _running(role, *words):
                    told = _told if role is _explain else None
                    seen[name].append(_watch(seconds, warm, told))
    return seen


def _rows(seen: dict[str, list[Seen]], targets: bool) -> list[Row]:
    what = f"{SIZE.split('x')[1]}p{RATE} RTSP to RTSP"

    def row(name: str, value: float, unit: str, target: Target | None = None) -> Row:
        return Row(f"live: {name}, {what}", float(value), unit, target if targets else None)

    found: list[Row] = []
    # Evidence may hide a picture's time, never its number, which lies outside what the network looks at: the camera's
    # clock is read off those that show both.
    stamps = [stamp for many in seen.values() for one in many for stamp in one.stamps]
    zero = median(time - number * 1000 / RATE for number, time in stamps)
    late = {name: [value for one in many for value in one.latencies(zero)] for name, many in seen.items()}
    for name, many in seen.items():
        # By their numbers: a picture that is sent again to fill a silence is none.
        fps = sum(len({number for number, _ in one.drawn}) for one in many) / sum(one.seconds for one in many)
        found += [
            row(f"frames out, {name}", fps, "fps", FPS if name == "explained" else None),
            row(f"frames lost, {name}", sum(one.lost for one in many), ""),
            row(f"latency, {name}, median", median(late[name]), "ms"),
            row(f"latency, {name}, p95", _p95(late[name]), "ms"),
        ]
    passed, explained = late["passed on, PyAV"], late["explained"]
    ages = [age for one in seen["explained"] for age in one.ages]
    out, drawn = (sum(counts) for counts in zip(*(one.tubes for one in seen["explained"]), strict=True))
    return [
        *found,
        row("latency added by I3D, median", median(explained) - median(passed), "ms", MEDIAN),
        row("latency added by I3D, p95", _p95(explained) - _p95(passed), "ms", P95),
        row("tube, median age", median(ages), "s"),
        row("tube, oldest", max(ages), "s", AGE),
        row("frames with a tube", drawn / out if out else 0.0, "x", DRAWN),
    ]


def _p95(values: Sequence[float]) -> float:
    return float(np.quantile(values, 0.95))


def _address(port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/live"


@contextmanager
def _running(role: Callable[..., None], *arguments: object) -> Iterator[None]:
    """A process that does one of the roles below. They share the machine with what is measured, as cameras do not."""
    words = [sys.executable, __file__, role.__name__, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


Told = Callable[[], dict[str, float]]


def _watch(seconds: float, warm: float, told: Told | None) -> Seen:
    """told: asked once a second."""
    source = open_source(_address(OUTPUT), SourceOptions(backend="gst", first_timeout=60.0))
    try:
        return _measure(source, seconds, warm, told)
    finally:
        source.close()


def _measure(source: Source, seconds: float, warm: float, told: Told | None) -> Seen:
    start = time.monotonic() + warm
    drawn: list[tuple[int, float]] = []
    stamps: list[tuple[int, float]] = []
    ages: list[float] = []
    counts: list[tuple[float, float]] = []
    for frame in source:
        now, luma = float(now_ms()), frame.picture.planes[0]
        elapsed = time.monotonic() - start
        if elapsed >= seconds:
            break
        if elapsed < 0:
            continue
        number, stamp = read_barcode(luma), read_time(luma)
        if number is not None:
            drawn.append((number, now))
            if stamp is not None:
                stamps.append((number, float(stamp)))
        if told is not None and elapsed >= len(ages):
            values = told()
            value = values["tube_age_seconds"]
            ages.append(elapsed + warm if isnan(value) else value)  # none: as old as all this
            counts.append((values["frames_out_total"], values["frames_drawn_total"]))
    (out, tubes), (last_out, last_tubes) = (counts[0], counts[-1]) if counts else ((0.0, 0.0), (0.0, 0.0))
    return Seen(seconds, drawn, stamps, ages, (last_out - out, last_tubes - tubes))


def _told() -> dict[str, float]:
    """What the one stream's metrics without further labels are."""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    found = (re.fullmatch(r"saliency_tubes_(\w+)\{stream=\S+\} (\S+)", line) for line in lines)
    return {match[1]: float(match[2]) for match in found if match}


# roles


def _camera() -> None:
    source = open_source(f"test://?size={SIZE}&rate={RATE}")
    # A camera costs the machine that watches it nothing: this one costs as little as it can.
    with Pipeline(source, _Silent(), [_server(CAMERA, "ultrafast")], Options(sync="live")) as pipeline:
        for _ in pipeline:
            pass


def _pass(backend: str) -> None:
    source = open_source(_address(CAMERA), SourceOptions(backend=backend, first_timeout=60.0))
    with Pipeline(source, _Silent(), [_server(OUTPUT)], Options(sync="live")) as pipeline:
        for _ in pipeline:
            pass


def _explain() -> None:
    from saliency_tubes.stream.app.cli import main

    output = f"rtsp://@:{OUTPUT}/live"
    words = ["run", _address(CAMERA), output, "--metrics", str(METRICS)]
    sys.exit(main([*words, "--first-timeout", "60"]))


def _server(port: int, preset: str | None = None) -> Sink:
    return open_sink(f"rtsp://@:{port}/live", SinkOptions(live=True, preset=preset))


class _Silent:
    """A network that never answers, and takes no time not to."""

    def __init__(self) -> None:
        self.manifest = read_manifest(find_model("i3d"))
        self.clip_length, self.batch = self.manifest.default_clip_length, 1
        self.description = "never answers"

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        threading.Event().wait()
        raise TubesError("waited for ever")


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {role.__name__: role for role in (_camera, _pass, _explain)}
    if sys.argv[1] in roles:
        roles[sys.argv[1]](*sys.argv[2:])
    else:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        found = _rows(measure(1, float(sys.argv[1]), WARM), targets=True)
        print(table(found))
        sys.exit(exit_code(found, strict=True))

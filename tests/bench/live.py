"""Live: a camera by RTSP, explained, out by RTSP, all on this machine: what leaves, and how late.

The camera's pictures say when they were drawn (stream/pattern.py), and a client of the output reads it there. The same
pipeline with a network that never answers is the pass-through that the latency is compared with.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from statistics import median

import numpy as np
from harness import Row, Setup, Target
from saliency_tubes.engine.errors import TubesError, UsageError
from saliency_tubes.engine.picture import F32
from saliency_tubes.engine.runner import find_model, read_manifest
from saliency_tubes.engine.types import Outputs
from saliency_tubes.stream.pattern import now_ms, read_barcode, read_time
from saliency_tubes.stream.pipeline import Options, Pipeline
from saliency_tubes.stream.sink import SinkOptions, open_sink
from saliency_tubes.stream.source import Source, SourceOptions, open_source

SIZE, RATE, FRAMES = "1280x720", 30, 32
SECONDS, WARM = 60, 8
"""measured, and before that"""
FPS = Target(29.5, at_most=False)
MEDIAN, P95, AGE = Target(35.0), Target(70.0), Target(1.5)
"""milliseconds that explaining may add; seconds that a tube may be old"""


@dataclass(frozen=True)
class Seen:
    """What a client of the output saw."""

    fps: float
    """pictures a second, the evidence drawn on some of which hides the barcode"""
    latencies: list[float]
    """milliseconds from a picture's drawing to its being decoded"""

    def at(self, share: float) -> float:
        return float(np.quantile(self.latencies, share))


def rows(setup: Setup) -> list[Row]:
    """Frames a second out, the latency of both, and what explaining adds; no row where GStreamer is not to be had."""
    seconds = setup.pick(SECONDS, 2)
    camera, output, metrics = 18651, 18652, 18653
    try:
        with _running(_camera, camera):
            with _running(_pass, camera, output):
                passed = _watch(output, seconds, setup.pick(WARM, 1))
            with _running(_explain, camera, output, metrics):
                ages: list[float] = []
                explained = _watch(output, seconds, setup.pick(WARM, 1), lambda: ages.append(_tube_age(metrics)))
    except UsageError as error:
        print(f"live: not measured: {error}", file=sys.stderr)
        return []
    what = f"{SIZE.split('x')[1]}p{RATE} RTSP to RTSP"

    def row(name: str, value: float, unit: str, target: Target | None = None) -> Row:
        return Row(f"live: {name}, {what}", value, unit, None if setup.quick else target)

    return [
        row("frames out, passed on", passed.fps, "fps"),
        row(f"frames out, I3D T={FRAMES}", explained.fps, "fps", FPS),
        row("latency, passed on, median", median(passed.latencies), "ms"),
        row("latency, passed on, p95", passed.at(0.95), "ms"),
        row("latency, explained, median", median(explained.latencies), "ms"),
        row("latency, explained, p95", explained.at(0.95), "ms"),
        row("latency added, median", median(explained.latencies) - median(passed.latencies), "ms", MEDIAN),
        row("latency added, p95", explained.at(0.95) - passed.at(0.95), "ms", P95),
        row("oldest tube", max(seconds if isnan(age) else age for age in ages), "s", AGE),  # none: as old as all this
    ]


def _address(port: int) -> str:
    return f"rtsp://127.0.0.1:{port}/live"


@contextmanager
def _running(role: Callable[..., None], *arguments: int) -> Iterator[None]:
    """A process that does one of the roles below. They share the machine with what is measured, as cameras do not."""
    words = [sys.executable, __file__, role.__name__, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _watch(port: int, seconds: float, warm: float, tick: Callable[[], object] = int) -> Seen:
    """tick: called once a second."""
    source = open_source(_address(port), SourceOptions(backend="gst", first_timeout=60.0))
    try:
        return _measure(source, seconds, warm, tick)
    finally:
        source.close()


def _measure(source: Source, seconds: float, warm: float, tick: Callable[[], object]) -> Seen:
    start, seen, latencies, ticks = time.monotonic(), 0, [], 0
    for frame in source:
        now, luma = now_ms(), frame.picture.planes[0]
        elapsed = time.monotonic() - start
        if elapsed >= warm + seconds:
            break
        if elapsed - warm >= ticks:
            ticks += 1
            tick()
        number, drawn = read_barcode(luma), read_time(luma)
        if elapsed < warm:
            continue
        seen += 1
        if number is not None and drawn is not None:
            latencies.append(float((now - drawn) % 2**32))
    return Seen(seen / seconds, latencies)


def _tube_age(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith("saliency_tubes_tube_age_seconds"))


# roles


def _camera(port: str) -> None:
    source = open_source(f"test://?size={SIZE}&rate={RATE}")
    with Pipeline(source, _Silent(), [_server(port)], Options(sync="live")) as pipeline:
        for _ in pipeline:
            pass


def _pass(camera: str, port: str) -> None:
    source = open_source(_address(int(camera)), SourceOptions(first_timeout=60.0))
    with Pipeline(source, _Silent(), [_server(port)], Options(sync="live")) as pipeline:
        for _ in pipeline:
            pass


def _explain(camera: str, port: str, metrics: str) -> None:
    from saliency_tubes.stream.cli import main

    output = f"rtsp://@:{port}/live"
    words = ["run", _address(int(camera)), output, "--frames", str(FRAMES), "--metrics", metrics]
    sys.exit(main([*words, "--first-timeout", "60"]))


def _server(port: str) -> object:
    return open_sink(f"rtsp://@:{port}/live", SinkOptions(live=True))


class _Silent:
    """A network that never answers, and takes no time not to."""

    def __init__(self) -> None:
        self.manifest = read_manifest(find_model("i3d"))
        self.frames = FRAMES
        self.description = "never answers"

    def run(self, clip: F32, class_id: int | None = None) -> Outputs:
        threading.Event().wait()
        raise TubesError("waited for ever")


if __name__ == "__main__":
    {"_camera": _camera, "_pass": _pass, "_explain": _explain}[sys.argv[1]](*sys.argv[2:])

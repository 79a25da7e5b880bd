"""The whole pipeline on a GPU: upload, I3D in PyTorch, overlay, download, against the same on the CPU.

Also eight streams at a time, and a soak. `SALIENCY_TUBES_SOAK` is its number of seconds, 600 by default. On a GPU that
is not there (tests/gpu_double) a small network takes I3D's place, computed by PyTorch's CPU in the stream's turn.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from promises import missing
from said import KeepingRunner, RecalledRunner, Said
from saliency_tubes.engine.cuda.driver import Gpu, why_not
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.runtimes.base import Runner
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.app.demo import DEMO_CLIP
from saliency_tubes.stream.pipeline.batcher import Batcher
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.telemetry.events import Event

pytest.importorskip("torch", reason="the network runs by it")

SOAK = float(os.environ.get("SALIENCY_TUBES_SOAK", "600"))
LEAK = 64 << 20
"""bytes of the GPU's memory that a soak may take after its first tenth"""
REAL = "GPU_DOUBLE" not in os.environ
FRAMES = 64 if REAL else 32
CAMERA = "test://?size=1280x720&rate=30" if REAL else "test://?size=320x240&rate=10"
RATE = 25 if REAL else 0.1
"""frames a second that each camera of a soak must have; what is not there computes slowly"""


@pytest.fixture(scope="module")
def here(gpu: Any) -> Gpu:
    reason = why_not(gpu.index)
    return missing(reason, "cuda") if reason is not None else Gpu.of(gpu.index)


@pytest.fixture(scope="module")
def made_runner(here: Gpu) -> Callable[[int], Runner]:
    """Makes a runner for so many clips at a time."""
    import torch_networks

    if not REAL:
        from gpu_double.double import Double
        from graphs import manifest_of, network

        small = network(linear=True)
        call = torch_networks.tapped(small, linear=True)
        return lambda batch: torch_networks.TorchDoubleRunner(Double(None), call, manifest_of(small), 8, batch=batch)
    import torch

    if not torch.cuda.is_available():
        missing("this PyTorch has no CUDA, or not for this GPU")
    from saliency_tubes.export.zoo.i3d_weights import load_i3d

    try:
        module = load_i3d().eval().to(here.name)
    except Exception as error:  # the weights are another package's
        missing(f"I3D's weights: {error}")
    torch.backends.cudnn.allow_tf32 = False  # so that a larger batch changes logits by rounding only
    manifest = read_manifest(find_model("i3d"))
    call = torch_networks.tapped(module, linear=True, tap=manifest.tap)
    return lambda batch: torch_networks.TorchGpuRunner(call, manifest, 16, here.device.index, batch)


@pytest.fixture
def place(here: Gpu) -> Iterator[Place]:
    made = CudaPlace(here)
    yield made
    made.close()


class Kept(Sink):
    """Digests of what it is given, which lies on the host."""

    def __init__(self) -> None:
        super().__init__("kept://")
        self.pictures: list[str] = []
        self.lines: list[dict[str, Any]] = []

    def write(self, shown: Shown) -> None:
        made = hashlib.sha256()
        for plane in shown.frame.picture.planes:
            made.update(plane.tobytes())
        self.pictures.append(made.hexdigest())
        self.frames_written += 1

    def event(self, event: Event) -> None:
        self.lines.append(json.loads(event.json))


def run(source: Any, runner: Runner, place: Place | None, options: Options, batcher: Batcher | None = None) -> Kept:
    kept = Kept()
    try:
        with Pipeline(source, runner, [kept], options, batcher, place) as pipeline:
            for _ in pipeline:
                pass
    finally:
        source.close()
    return kept


OPTIONS = Options(hop=4, limit=FRAMES)


def test_the_same_pictures_and_events_as_on_the_cpu(made_runner: Callable[[int], Runner], place: Place) -> None:
    said, runner = Said(), made_runner(1)
    on_gpu = run(open_source(str(DEMO_CLIP)), KeepingRunner(runner, said), place, OPTIONS)
    on_cpu = run(open_source(str(DEMO_CLIP)), RecalledRunner(runner, said), None, OPTIONS)
    assert len(on_gpu.pictures) == FRAMES
    assert on_gpu.pictures == on_cpu.pictures
    assert on_gpu.lines == on_cpu.lines
    assert len(on_gpu.lines) >= FRAMES // 6
    # each frame goes up once and comes down once
    assert (place.uploads, place.host_copies) == (FRAMES, FRAMES)
    assert place.leases == 0


def test_eight_streams_at_a_time(here: Gpu, made_runner: Callable[[int], Runner]) -> None:
    """Each says what it says alone, but for the noise of floats in a larger batch: spans, logits, all frames."""
    runner = made_runner(8)
    places = [CudaPlace(here) for _ in range(9)]
    alone = run(open_source(str(DEMO_CLIP)), runner, places[8], OPTIONS)
    batcher, found, errors = Batcher(runner), dict[int, Kept](), list[BaseException]()

    def stream(number: int) -> None:
        try:
            found[number] = run(open_source(str(DEMO_CLIP)), runner, places[number], OPTIONS, batcher)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert errors == []
    assert not any(thread.is_alive() for thread in threads)
    for kept in found.values():
        assert len(kept.pictures) == FRAMES
        assert [line["frames"] for line in kept.lines] == [line["frames"] for line in alone.lines]
        for one, other in zip(kept.lines, alone.lines, strict=True):
            assert one["top"][0]["logit"] == pytest.approx(other["top"][0]["logit"], abs=0.05)
    for made in places:
        assert made.leases == 0
        made.close()


@pytest.mark.slow
def test_a_soak(here: Gpu, made_runner: Callable[[int], Runner], capsys: pytest.CaptureFixture[str]) -> None:
    """Four cameras, live, for SOAK seconds: nothing grows, nothing is kept, frames leave at the rate they come."""
    runner = made_runner(4)
    batcher, pipelines, errors = Batcher(runner), list[Pipeline](), list[BaseException]()
    places = [CudaPlace(here) for _ in range(4)]
    counts: Counter[int] = Counter()

    def stream(number: int) -> None:
        source = open_source(CAMERA, SourceOptions(realtime=True))
        try:
            with Pipeline(source, runner, [Kept()], Options(sync="live"), batcher, places[number]) as pipeline:
                pipelines.append(pipeline)
                for _ in pipeline:
                    counts[number] += 1
        except BaseException as error:
            errors.append(error)
        finally:
            source.close()

    threads = [threading.Thread(target=stream, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    begun, free = time.monotonic(), list[int]()
    while (spent := time.monotonic() - begun) < SOAK and not errors:
        time.sleep(min(1.0, SOAK / 20))
        if spent > SOAK / 10:
            with here.entered():
                free.append(here.memory_left()[0])
    rates = {number: count / spent for number, count in counts.items()}
    for pipeline in pipelines:
        pipeline.stop()
    for thread in threads:
        thread.join(60)
    assert errors == []
    with capsys.disabled():
        print(f"\nsoak: {spent:.0f} s, frames a second {rates}, memory taken {(free[0] - min(free)) / 2**20:.1f} MiB")
    assert free[0] - min(free) <= LEAK
    assert min(rates.values()) >= RATE
    for made in places:
        assert made.leases == 0
        made.close()

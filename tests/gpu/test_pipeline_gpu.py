"""The whole pipeline on a GPU: upload, I3D in PyTorch, overlay, download, against the same on the CPU.

Also eight streams at a time, and a soak. `SALIENCY_TUBES_SOAK` is its number of seconds, 600 by default.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from promises import missing
from saliency_tubes.engine.cuda.driver import Gpu, why_not
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.runtimes.base import Runner
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.app.demo import DEMO_CLIP
from saliency_tubes.stream.pipeline.batcher import Batcher
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.telemetry.events import Event

pytest.importorskip("torch", reason="the network runs by it")

T, FRAMES = 16, 64
SOAK = float(os.environ.get("SALIENCY_TUBES_SOAK", "600"))
LEAK = 64 << 20
"""bytes of the GPU's memory that a soak may take after its first tenth"""


@pytest.fixture(scope="module")
def here(gpu: Any) -> Gpu:
    reason = why_not(gpu.index)
    return missing(reason, "cuda") if reason is not None else Gpu.of(gpu.index)


@pytest.fixture(scope="module")
def network(here: Gpu) -> Any:
    import torch
    from torch_runner import i3d

    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA, or not for this GPU")
    try:
        return i3d()
    except Exception as error:  # the weights are another package's
        pytest.skip(f"I3D's weights: {error}")


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


def test_the_same_pictures_and_events_as_on_the_cpu(here: Gpu, network: Any, place: Place) -> None:
    from torch_runner import RecalledRunner, Said, TorchRunner

    said, (module, manifest) = Said(), network
    runner = TorchRunner(module, manifest, here, T, said=said)
    on_gpu = run(open_source(str(DEMO_CLIP)), runner, place, OPTIONS)
    on_cpu = run(open_source(str(DEMO_CLIP)), RecalledRunner(manifest, T, said), None, OPTIONS)
    assert len(on_gpu.pictures) == FRAMES
    assert on_gpu.pictures == on_cpu.pictures
    assert on_gpu.lines == on_cpu.lines
    assert len(on_gpu.lines) > 10
    # each frame goes up once and comes down once
    assert (place.uploads, place.host_copies) == (FRAMES, FRAMES)
    assert place.leases == 0


def test_eight_streams_at_a_time(here: Gpu, network: Any) -> None:
    """Each says what it says alone, but for the noise of floats in a larger batch: classes, spans, all frames."""
    from torch_runner import TorchRunner

    module, manifest = network
    runner = TorchRunner(module, manifest, here, T, batch=8)
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
def test_a_soak(here: Gpu, network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four cameras, live, for SOAK seconds: nothing grows, nothing is kept, frames leave at the rate they come."""
    from torch_runner import TorchRunner

    module, manifest = network
    runner = TorchRunner(module, manifest, here, T, batch=4)
    batcher, pipelines, errors = Batcher(runner), list[Pipeline](), list[BaseException]()
    places = [CudaPlace(here) for _ in range(4)]
    counts: Counter[int] = Counter()

    def stream(number: int) -> None:
        source = open_source("test://?size=1280x720&rate=30", SourceOptions(realtime=True))
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
    assert min(rates.values()) >= 25
    for made in places:
        assert made.leases == 0
        made.close()

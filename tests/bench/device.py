"""What a frame and a window on a GPU cost the host: Python and calls of the driver, on a GPU that is not there.

The GPU carries out nothing until it is waited for, which is not measured: so this is the time of the threads that read
and draw, and of the one that explains, whatever the GPU is. The driver's own time is that of a double.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from harness import Row, Setup, Target

TESTS = Path(__file__).parents[1]
MOST = 8
"""streams at a time: as many frames as one launch takes"""
TARGETS = {"1 stream": Target(150), f"{MOST} streams in one launch": Target(80)}
"""microseconds of a frame of each stream"""
SIZE, FRAMES, SAMPLES, ROUNDS = (160, 96), 8, 64, 15
SEEN = (32, 32)
"""what the network sees: small, because the double computes it, and no call depends on it"""


def rows(setup: Setup) -> list[Row]:
    """Microseconds of the host for a frame's sample and drawing, and for gathering a window."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, str(setup.folder), str(setup.pick(ROUNDS, 1))]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        print(f"device: not measured: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return []
    found = json.loads(done.stdout)
    named = [
        Row(f"device: host time of a frame, {name}", value, "us", None if setup.quick else TARGETS.get(name))
        for name, value in found["frame"].items()
    ]
    return [*named, Row(f"device: host time of a window of {SAMPLES} samples", found["window"], "us")]


def measured(folder: Path, rounds: int) -> dict[str, object]:
    """The numbers, in a process of their own, where the double is the driver."""
    from gpu_double.double import Double
    from gpu_double.nvrtc import StubNvrtc

    sys.modules["cuda.bindings.nvrtc"] = StubNvrtc()  # type: ignore[assignment]
    double = Double(folder, seed=0)
    found = {"frame": _frames(double, rounds), "window": _windows(rounds)}
    double.close()
    return found


def _frames(double: Any, rounds: int) -> dict[str, float]:
    """Microseconds of the processor for one frame of each stream: its sample is taken, evidence and caption are drawn.

    The ways take turns: one stream alone; eight whose frames come one by one; eight whose frames come while another
    thread is queuing, so that each kernel is launched once for all of them. What a stream's thread does then is the
    same in whichever thread it runs, and so is what the other one does at the end: one thread does all here, since
    threads that start and wake would be measured with it.
    """
    streams = [_Stream() for _ in range(MOST)]
    frames = streams[0].place.frames

    def alone(index: int, chosen: Sequence[_Stream]) -> float:
        begun = time.thread_time()
        for stream in chosen:
            stream.put(index)
            stream.paint(index)
        return time.thread_time() - begun

    def together(index: int) -> float:
        before, begun = double.launches, time.thread_time()
        for work in (_Stream.put, _Stream.paint):
            with frames.combiner.busy():
                events = [work(stream, index) for stream in streams]
            frames.settle()
            for event in events:
                event.check()
        spent = time.thread_time() - begun
        assert {count - before.get(kernel, 0) for kernel, count in double.launches.items()} == {1}
        return spent

    alone(0, streams)  # compiles, uploads tables
    ways: dict[str, tuple[int, Callable[[int], float]]] = {
        "1 stream": (1, lambda index: alone(index, streams[:1])),
        f"{MOST} streams, one by one": (MOST, lambda index: alone(index, streams)),
        f"{MOST} streams in one launch": (MOST, together),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (count, way) in ways.items():
            for stream in streams:
                stream.place.synchronize()
            spent[name].append(sum(map(way, range(FRAMES))) / (FRAMES * count))
    for stream in streams:
        stream.close()
    return {name: 1e6 * median(values) for name, values in spent.items()}


class _Stream:
    """One stream with its frames on the GPU."""

    def __init__(self) -> None:
        from saliency_tubes.engine.cuda.driver import Gpu
        from saliency_tubes.engine.cuda.place import CudaPlace
        from saliency_tubes.engine.draw.caption import Caption
        from saliency_tubes.engine.draw.style import Style
        from saliency_tubes.engine.manifest import InputSpec
        from saliency_tubes.engine.picture import Layout
        from saliency_tubes.engine.place import Needs
        from saliency_tubes.stream.sources.open import open_source
        from stubs import make_event

        spec, style = InputSpec(SEEN, (0.0,) * 3, (1.0,) * 3, resize="stretch"), Style()
        self.place = CudaPlace(Gpu.of(0))
        self.place.reserve(Needs(SIZE, Layout.I420, FRAMES, FRAMES + 2, spec))
        self._sampler, self._painter = self.place.sampler(spec), self.place.painter(style)
        source = open_source(f"test://?size={SIZE[0]}x{SIZE[1]}&frames={FRAMES}")
        self._frames = [replace(frame, image=self.place.bring(frame.image)) for frame in source]
        self._explanation = make_event().explanation
        self._caption = Caption.of(self._explanation, style)

    def put(self, index: int) -> Any:
        return self._sampler.put(self._frames[index]).ready

    def paint(self, index: int) -> Any:
        self._painter.paint(self._frames[index].image, ((self._explanation, 1.0),), at=float(index), opacity=1.0,
                            outline=None, caption=self._caption, pixel_aspect=1.0)  # fmt: skip
        return self._frames[index].image.ready

    def close(self) -> None:
        self._frames = []
        self._painter.close()
        self.place.close()


def _windows(rounds: int) -> float:
    """Microseconds of a window: its clip is gathered from samples on the GPU."""
    import numpy as np
    from saliency_tubes.engine.cuda.clips import Gather
    from saliency_tubes.engine.cuda.driver import Gpu
    from saliency_tubes.engine.cuda.memory import View, contiguous
    from saliency_tubes.engine.cuda.place import CudaPlace
    from saliency_tubes.engine.manifest import InputSpec
    from saliency_tubes.engine.picture import Layout
    from saliency_tubes.engine.place import Needs
    from saliency_tubes.stream.pipeline.window import Window
    from saliency_tubes.stream.sources.open import open_source

    spec = InputSpec(SEEN, (0.0,) * 3, (1.0,) * 3, resize="stretch")
    gpu = Gpu.of(0)
    place, gather = CudaPlace(gpu), Gather(gpu, spec, SAMPLES)
    place.reserve(Needs(SIZE, Layout.I420, 4, SAMPLES + 2, spec))
    window, clip = Window(place.sampler(spec), SAMPLES, 1, SAMPLES), None
    for frame in open_source(f"test://?size={SIZE[0]}x{SIZE[1]}&frames={SAMPLES}"):
        clip = window.push(replace(frame, image=place.bring(frame.image)))
    assert clip is not None
    shape, kind = (1, 3, SAMPLES, *spec.size), np.dtype("f2")
    spent = []
    with gpu.entered():
        stream = gpu.stream("low")
        memory = gpu.allocate(2 * int(np.prod(shape)))
        out = View(memory.pointer, shape, contiguous(kind, shape), kind)
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            gather.write([clip], out, stream)
            spent.append(time.perf_counter() - begun)
            stream.synchronize()
    place.close()
    return 1e6 * median(spent[1:])


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), int(sys.argv[2]))))

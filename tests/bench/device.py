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
from pathlib import Path
from statistics import median

from harness import Row, Setup, Target

TESTS = Path(__file__).parents[1]
FRAME = {1: Target(150), 8: Target(80)}
"""number of streams -> microseconds of a frame of each stream"""
SIZE, SAMPLES, ROUNDS = (320, 240), 64, 9
SEEN = (64, 64)
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
        Row(f"device: host time of a frame, {streams} streams" if int(streams) > 1 else
            "device: host time of a frame, 1 stream", value, "us", None if setup.quick else FRAME[int(streams)])
        for streams, value in found["frame"].items()
    ]  # fmt: skip
    return [*named, Row(f"device: host time of a window of {SAMPLES} samples", found["window"], "us")]


def measured(folder: Path, rounds: int) -> dict[str, object]:
    """The numbers, in a process of their own, where the double is the driver."""
    from gpu_double.double import Double
    from gpu_double.nvrtc import StubNvrtc

    sys.modules["cuda.bindings.nvrtc"] = StubNvrtc()  # type: ignore[assignment]
    double = Double(folder, seed=0)
    found = {"frame": {str(streams): _frames(streams, rounds) for streams in FRAME}, "window": _windows(rounds)}
    double.close()
    return found


def _frames(streams: int, rounds: int) -> float:
    """Microseconds of a frame: its sample is taken, evidence and caption are drawn. Streams take turns."""
    from itertools import islice

    from saliency_tubes.engine.cuda.driver import Gpu
    from saliency_tubes.engine.cuda.place import CudaPlace
    from saliency_tubes.engine.draw.caption import Caption
    from saliency_tubes.engine.draw.style import Style
    from saliency_tubes.engine.manifest import InputSpec
    from saliency_tubes.engine.picture import Layout
    from saliency_tubes.engine.place import Needs
    from saliency_tubes.stream.sources.open import open_source
    from stubs import make_event

    spec = InputSpec(SEEN, (0.0,) * 3, (1.0,) * 3, resize="stretch")
    gpu, style, count = Gpu.of(0), Style(), 8
    places = [CudaPlace(gpu) for _ in range(streams)]
    frames = list(islice(open_source(f"test://?size={SIZE[0]}x{SIZE[1]}&frames={count}"), count))
    taken = []
    for place in places:
        place.reserve(Needs(SIZE, Layout.I420, count, count + 2, spec))
        taken.append((place.sampler(spec), place.painter(style), [place.bring(frame.image) for frame in frames]))
    explanation = make_event().explanation
    caption, spent = Caption.of(explanation, style), []
    for _ in range(rounds + 1):
        for place in places:
            place.synchronize()
        begun = time.perf_counter()
        for index, frame in enumerate(frames):
            for sampler, painter, pictures in taken:
                lying = _in(frame, pictures[index])
                sampler.put(lying)
                painter.paint(lying.image, ((explanation, 1.0),), at=float(frame.index), opacity=1.0, outline=None,
                              caption=caption, pixel_aspect=1.0)  # fmt: skip
        spent.append((time.perf_counter() - begun) / (count * streams))
    for place, (_, painter, _) in zip(places, taken, strict=True):
        painter.close()
        place.close()
    return 1e6 * median(spent[1:])


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
    place.reserve(Needs((320, 240), Layout.I420, 4, SAMPLES + 2, spec))
    window, clip = Window(place.sampler(spec), SAMPLES, 1, SAMPLES), None
    for frame in open_source(f"test://?size=320x240&frames={SAMPLES}"):
        clip = window.push(_in(frame, place.bring(frame.image)))
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


def _in(frame: object, image: object) -> object:
    from dataclasses import replace

    return replace(frame, image=image)  # type: ignore[type-var]


if __name__ == "__main__":
    print(json.dumps(measured(Path(sys.argv[1]), int(sys.argv[2]))))

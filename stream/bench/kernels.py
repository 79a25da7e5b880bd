"""Times the CUDA kernels by themselves on frames in the GPU's memory, against a copy of as many bytes there; and a
stream's place on a GPU.

Such a copy is the bound: a kernel that reads and writes every byte once cannot be faster than the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from statistics import median

import numpy as np

from ...engine.cuda.driver import Gpu
from ...engine.cuda.memory import View
from ...engine.cuda.place import CudaPlace
from ...engine.cuda.samples import CudaPreprocess
from ...engine.cuda.timing import seconds_of, seconds_of_a_copy
from ...engine.cuda.work import CudaOverlay, Format, Part, RawPlane, Surface
from ...engine.draw.style import Style
from ...engine.manifest import InputSpec
from ...engine.picture import Image
from ...engine.types import Crop, Explanation
from .film import Film
from .results import Timing
from .turns import timed

SIZES = {"1080p": (1920, 1080), "2160p": (3840, 2160)}
"""width, height; pixels"""
FRAMES = 8
"""frames of a launch, more than a GPU's cache holds"""
HELD = 8
"""pictures that a place holds at a time"""
TIMES, ROUNDS = 50, 20
"""of each kernel in a graph, and launches of the graph"""


def time_kernels(index: int, spec: InputSpec) -> list[Timing]:
    """Overlay and sample on GPU `index`, with the share of the memory's bandwidth.

    Raises UsageError if the kernels cannot run there, ModelError where the GPU fails.
    """
    gpu = Gpu.of(index)
    found = []
    for stage, what, unit, count, size, work in _kernels(gpu, spec):
        rounds = seconds_of(gpu, work, TIMES, ROUNDS)
        share = median(seconds_of_a_copy(gpu, size, TIMES, ROUNDS)) / median(rounds) if size else float("nan")
        found.append(Timing.of(stage, what, unit, rounds, count, of_bound=share))
    return found


_Kernel = tuple[str, str, str, int, int, Callable[[int], object]]
"""stage, of what, unit, units of one call, bytes that it changes in place (0: not told), the call"""


def _kernels(gpu: Gpu, spec: InputSpec) -> Iterator[_Kernel]:
    with gpu.entered():
        strong = gpu.upload(np.ones((1, 7, 7), np.float32), 0)
        seen = gpu.upload(np.zeros((3, *spec.size), np.uint8), 0)
    overlay, preprocess = CudaOverlay(Style(threshold=0.0), gpu.device.index), CudaPreprocess(spec, gpu.device.index)
    parts, crops = [[Part(strong, 0.0, 0.0, 1.0)]] * FRAMES, [Crop()] * FRAMES
    for size, (width, height) in SIZES.items():
        memory, surfaces = _surfaces(gpu, width, height)

        def draw(stream: int, surfaces: list[Surface] = surfaces) -> None:
            overlay.draw(surfaces, parts, crops, stream)

        def sample(stream: int, surface: Surface = surfaces[0]) -> None:
            preprocess.sample(surface, seen, stream=stream)

        total = sum(view.shape[0] for view in memory)
        yield "overlay", f"{size} NV12 CUDA, {FRAMES} at a time", "frame", FRAMES, total, draw
        yield "sample", f"{size} NV12 CUDA", "frame", 1, 0, sample


def _surfaces(gpu: Gpu, width: int, height: int) -> tuple[list[View], list[Surface]]:
    """Grey frames of NV12 in the GPU's memory."""
    grey = np.full(width * height * 3 // 2, 128, np.uint8)
    with gpu.entered():
        memory = [gpu.upload(grey, 0) for _ in range(FRAMES)]
    surfaces = [
        Surface(
            Format.NV12, [RawPlane(view.pointer, width), RawPlane(view.pointer + width * height, width)], width, height
        )
        for view in memory
    ]
    return memory, surfaces


def time_place(film: Film, spec: InputSpec, explanation: Explanation, index: int, rounds: int) -> list[Timing]:
    """What a frame of a film costs from its decoder in the host's memory to there again, by a stream's place on GPU
    `index`: the time until the GPU is done, Python included.

    Raises UsageError if the kernels cannot run there, ModelError where the GPU fails.
    """
    place, frames = CudaPlace(Gpu.of(index)), film.frames[:HELD]
    sampler, painter = place.sampler(spec), place.painter(Style())
    images, samples = list[Image](), list[object]()

    def settled(work: Callable[[], object]) -> None:
        work()
        place.synchronize()

    def bring() -> None:
        images[:] = []
        images[:] = [place.bring(frame.image) for frame in frames]

    def sample() -> None:
        samples[:] = [sampler.put(replace(frame, image=image)) for frame, image in zip(frames, images, strict=True)]

    def draw() -> None:
        for image in images:
            painter.paint(image, ((explanation, 1.0),), at=float(explanation.tube.span.center), opacity=1.0,
                          outline=None, caption=None, pixel_aspect=1.0)  # fmt: skip

    def fetch() -> None:
        for image in images:
            place.host(image)

    what = f"{film.size} {place.name}"
    works = {"upload": bring, "sample": sample, "overlay": draw, "download": fetch}
    try:
        bring()
        return timed(
            {(stage, what): (partial(settled, work), len(frames)) for stage, work in works.items()}, "frame", rounds
        )
    finally:
        images.clear()
        samples.clear()
        painter.close()
        place.close()

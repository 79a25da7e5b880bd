"""Times each stage of a run by itself, on this machine, with nothing beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from ...engine.draw.host import HostPlace
from ...engine.draw.overlay import paths
from ...engine.draw.style import Style
from ...engine.errors import TubesError
from ...engine.manifest import Manifest
from ...engine.preprocess import HostSampler
from ...engine.runtimes.base import Runner, run_one
from ...engine.runtimes.open import choices, open_runner
from ...engine.saliency import Target, make_explanation, run_target
from ...engine.types import Clip, Explanation, Frame, Shown
from ..app.config import Config
from ..app.job import open_job
from ..pipeline.window import Window
from ..sinks.base import SinkOptions
from ..sinks.open import open_sink
from ..sources.open import open_source
from .film import Film
from .results import Timing
from .turns import timed

ROUNDS, QUICK_ROUNDS = 5, 1
BUDGET = 20.0
"""seconds for all rounds of the network, and as many for all of the other stages; one round is made in any case"""
DECODED = 150
"""number of frames that are decoded in a round"""
RUN_FRAMES = 128
"""number of frames of a whole run"""
BATCH = 4
"""windows in the larger of the two runs that are timed"""
STYLE = Style()


@dataclass(frozen=True)
class Asked:
    """What is to be measured."""

    model: str
    runtime: str = "auto"
    device: str = "auto"
    memory: str = "auto"
    quick: bool = False
    """whether one round is enough"""

    @property
    def rounds(self) -> int:
        return QUICK_ROUNDS if self.quick else ROUNDS


Say = Callable[[str], None]


def time_stages(films: Sequence[Film], manifest: Manifest, explanation: Explanation, asked: Asked) -> list[Timing]:
    """Decode, sample, overlay by every path, drawing with the caption, and encode, for each film."""
    work: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    for film in films:
        decoded = min(DECODED, film.length)
        work["decode", film.size] = _Decode(film.path, decoded), decoded
        for key, call in _on_frames(film, manifest, explanation):
            work[key] = call, len(film.frames)
    return timed(work, "frame", asked.rounds, budget=BUDGET)


def _on_frames(
    film: Film, manifest: Manifest, explanation: Explanation
) -> Iterator[tuple[tuple[str, str], Callable[[], object]]]:
    sampler = HostSampler(manifest.input)
    yield ("sample", film.size), partial(_each, film.frames, sampler.put)
    # copies: an encoder may keep the memory of what it was given
    drawn = [replace(frame, image=frame.picture.copy()) for frame in film.frames]
    for path in paths():
        if path == "generic" and len(paths()) > 2:  # it is there to be compared with, and is never chosen
            continue
        painter = HostPlace(path).painter(STYLE)

        def draw(frame: Frame, paint: Callable[..., None] = painter.paint) -> None:
            at = float(explanation.tube.span.center)
            paint(frame.image, ((explanation, 1.0),), at=at, opacity=1.0, outline=None, caption=None, pixel_aspect=1.0)

        yield ("overlay", f"{film.size} {path}"), partial(_each, drawn, draw)
    for name, live in (("file", False), ("live", True)):
        yield ("encode", f"{film.size} {name}"), _Encode(film, live)


def _each(frames: Sequence[Frame], work: Callable[[Frame], object]) -> None:
    for frame in frames:
        work(frame)


@dataclass(frozen=True)
class _Decode:
    path: Path
    length: int

    def __call__(self) -> None:
        source = open_source(str(self.path))
        try:
            for _ in islice(source, self.length):
                pass
        finally:
            source.close()


@dataclass(frozen=True)
class _Encode:
    """Into a file, by the settings of files or of live recordings. The sink itself, without its thread."""

    film: Film
    live: bool

    def __call__(self) -> None:
        path = self.film.path.with_name(f"encoded-{self.film.size}.mkv")
        sink = open_sink(str(path), SinkOptions(overwrite=True, live=self.live))
        sink.open(self.film.info)
        try:
            for frame in self.film.frames:
                sink.write(Shown(frame))
        finally:
            sink.close()


def time_run(film: Film, asked: Asked) -> Timing:
    """A whole run from file to file, every frame drawn from the windows that saw it; opening is not counted."""
    output = film.path.with_name("run.mkv")
    length = min(film.length, RUN_FRAMES if not asked.quick else RUN_FRAMES // 2)
    config = Config(
        film.path,
        (output,),
        model=asked.model,
        runtime=asked.runtime,
        device=asked.device,
        memory=asked.memory,
        limit=length,
        sink=SinkOptions(overwrite=True),
    )
    with open_job(config) as job:
        begun, cpu = time.perf_counter(), time.process_time()
        frames = sum(1 for _ in job.pipeline)
        spent, cpu = time.perf_counter() - begun, time.process_time() - cpu
        what = f"{film.size} file, {job.runner.description}, frames on {job.pipeline.place.name}"
    return Timing.of("whole run", what, "frame", [spent], frames, cpu=[cpu])


# the network


def first_explanation(film: Film, asked: Asked) -> tuple[Explanation, Timing]:
    """The explanation of a film's first window, and how long it takes once the network has run: choosing the class, the
    tube, its scale."""
    runner = open_it(asked, "f32")
    clip = _clips(film, runner)[0]
    outputs, weights = run_target(partial(run_one, runner), runner.manifest.head, clip, Target())
    explain = partial(
        make_explanation, outputs, weights, runner.manifest, clip, Target(), window=0, normalize=STYLE.normalize
    )
    (timing,) = timed({("evidence", f"T={_length(runner)}"): (explain, 1)}, "window", asked.rounds * 4)
    return explain(), timing


def time_network(film: Film, manifest: Manifest, asked: Asked, say: Say) -> list[Timing]:
    """Inference by precision, window length and batch: the shortest window and the model's own."""
    work: dict[tuple[str, str], tuple[Callable[[], object], int]] = {}
    precisions = choices(asked.model, runtime=asked.runtime, device=asked.device).precisions
    lengths = sorted({min(manifest.windows), manifest.default_clip_length})[: 1 if asked.quick else 2]
    for precision in precisions:
        for length in lengths:
            batches = (1, BATCH) if length == lengths[0] else (1,)
            try:
                runner = open_it(asked, precision, length, batches[-1])
            except TubesError as error:  # the runtime cannot do what it offers
                say(f"not measured: T={length} in {precision}: {error}")
                continue
            (clip,) = _clips(film, runner)
            for batch in batches[: 1 if runner.batch == 1 else None]:
                name = f"T={length} {precision}" + (f", {batch} at a time" if batch > 1 else "")
                work["inference", name] = partial(runner.run, [clip] * batch), batch
    return timed(work, "window", asked.rounds, budget=BUDGET)


def open_it(asked: Asked, precision: str, length: int | None = None, batch: int = 1) -> Runner:
    """The model as it is asked for. length: T; None: the model's own."""
    return open_runner(
        asked.model,
        clip_length=length,
        runtime=asked.runtime,
        precision=precision,
        device=asked.device,
        batch=batch,
    )


def _clips(film: Film, runner: Runner) -> list[Clip]:
    """One window of the film: its frames forth and back."""
    window = Window(HostSampler(runner.manifest.input), _length(runner), 1, _length(runner))
    frames = film.frames
    order = np.abs((np.arange(_length(runner)) + len(frames) - 1) % (2 * len(frames) - 2) - (len(frames) - 1))
    clips = [window.push(replace(frames[place], index=index, pts=index)) for index, place in enumerate(order)]
    return [clip for clip in clips if clip is not None]


def _length(runner: Runner) -> int:
    return runner.clip_length

"""Whole runs: a plain transcode, the same with tubes drawn, the same with the model behind it; and who spends the time.

All decode the same clips and encode by the same settings. The runs take turns within each round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np
from clips import CLIP, scaled
from harness import Row, Setup, Target, Times, interleave, ratio
from overlay import blob
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.picture import F32
from saliency_tubes.engine.preprocess import black_clip
from saliency_tubes.engine.runtimes.base import HostRunner, Runner
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.types import HostOutputs, Outputs
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline, Summary
from saliency_tubes.stream.sinks.av_file import H264
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.open import open_source

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
FRAMES = 396
"""of a transcode: long enough that the first window, for which the encoder waits, is little of it"""
JOB_FRAMES = 132
QUICK_FRAMES = 16
ROUNDS = 3
HOPS = {64: 16, 32: 8}
"""T -> frames from one window to the next, as by default"""
TARGET = Target(0.02)
RENDER = Target(0.9, at_most=False)


def rows(setup: Setup) -> list[Row]:
    """Frames a second, what drawing leaves of a transcode's, and the explanation's time over the network's."""
    frames = setup.pick(FRAMES, QUICK_FRAMES)
    clips = {
        size: scaled(setup.folder / f"{size}.mp4", width, height, frames) for size, (width, height) in SIZES.items()
    }
    work: dict[str, Callable[[], object]] = {}
    for size, clip in clips.items():
        work[f"plain {size}"] = _Transcode(clip, setup.folder / f"plain-{size}.mp4", frames)
        work[f"render {size}"] = _Job(clip, setup.folder / f"render-{size}.mp4", StubRunner(64), frames)
    jobs: dict[int, _Job] = {}
    for length in HOPS:
        output = setup.folder / f"job-{length}.mp4"
        jobs[length] = _Job(CLIP, output, _ready(length), setup.pick(JOB_FRAMES, length))
        work[f"job {length}"] = jobs[length]
    times = interleave(work, setup.pick(ROUNDS), warmup=0)
    found = [row for size in clips for row in _transcode_rows(setup, size, times, frames)]
    for length, job in jobs.items():
        found.append(Row(f"video: whole job, I3D T={length}, 720p", job.frames / median(times[f"job {length}"]), "fps"))
        share = median(explanation_share(summary, HOPS[length]) for summary in job.summaries)
        found.append(Row(f"video: explanation / inference, T={length}, whole job", share, "x", _target(setup)))
    return found


def explanation_share(summary: Summary, hop: int) -> float:
    """The time of one tube and of drawing it on a window's `hop` frames, over the network's time for one window."""
    seconds = summary.seconds
    explained = seconds["tube"] / summary.windows + hop * seconds["draw"] / summary.frames_written
    return explained / (seconds["infer"] / summary.windows)


class StubRunner(HostRunner):
    """A network that takes no time and always finds the same evidence: one soft peak that comes and goes.

    It looks at what I3D looks at, in a few pixels: what is measured is decoding, drawing and encoding.
    """

    def __init__(self, clip_length: int) -> None:
        manifest = read_manifest(find_model("i3d"))
        self.manifest: Manifest = replace(manifest, input=replace(manifest.input, size=(28, 28), short_side=32))
        self.clip_length, self.batch = clip_length, 1
        self.description = "precomputed outputs"
        slices = len(self.manifest.window(clip_length).slice_weights)
        strength = np.sin(np.pi * (np.arange(slices) + 0.5) / slices)
        evidence = strength[:, None, None] * blob(7)
        if self.manifest.head is None:
            raise RuntimeError(f"{self.manifest.name} has no linear head")
        weights = self.manifest.head.class_weights[0]
        # made so that weights . activation is the evidence
        activation = np.tensordot(weights / (weights @ weights), evidence, 0).astype(np.float32)
        logits = np.zeros(len(self.manifest.labels), np.float32)
        logits[0] = 10
        self._outputs = HostOutputs(logits, activation)

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        return [self._outputs] * len(data)


class _Transcode:
    """Decode and encode, as anyone would write it with PyAV."""

    def __init__(self, clip: Path, output: Path, frames: int) -> None:
        self._clip, self._output, self._frames = clip, output, frames

    def __call__(self) -> None:
        settings = H264()
        with av.open(str(self._clip)) as source, av.open(str(self._output), "w") as output:
            video = source.streams.video[0]
            video.thread_type = "AUTO"
            options = {"crf": str(settings.crf), "preset": settings.preset}
            stream: Any = output.add_stream("libx264", rate=video.average_rate, options=options)
            stream.width, stream.height, stream.pix_fmt = video.width, video.height, "yuv420p"
            stream.codec_context.time_base = video.time_base
            stream.codec_context.thread_count = settings.threads
            stream.codec_context.gop_size = round(settings.keyframe_seconds * (video.average_rate or 25))
            for frame in islice(source.decode(video), self._frames):
                frame.pict_type = 0  # or the encoder repeats the decoder's choice of I, P and B
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))


class _Job:
    """The real pipeline from file to file. The model is loaded before, once."""

    def __init__(self, clip: Path, output: Path, runner: Runner, frames: int) -> None:
        self._clip, self._output, self._runner, self.frames = clip, output, runner, frames
        self.summaries: list[Summary] = []

    def __call__(self) -> None:
        options = Options(hop=HOPS[self._runner.clip_length], limit=self.frames)
        source = open_source(str(self._clip))
        try:
            with Pipeline(source, self._runner, [open_sink(str(self._output))], options) as pipeline:
                written = sum(1 for _ in pipeline)
            self.summaries.append(pipeline.summary)
        finally:
            source.close()
        if written != self.frames:
            raise RuntimeError(f"{self.frames} frames went in, {written} came out")


def _ready(clip_length: int) -> Runner:
    """A runner after its first run, which allocates."""
    runner = open_runner(clip_length=clip_length)
    runner.run([black_clip(runner.manifest.input, clip_length)])
    return runner


def _transcode_rows(setup: Setup, size: str, times: Times, frames: int) -> Iterator[Row]:
    plain, render = times[f"plain {size}"], times[f"render {size}"]
    yield Row(f"video: plain transcode, {size}", frames / median(plain), "fps")
    yield Row(f"video: render without inference, {size}", frames / median(render), "fps")
    yield Row(f"video: render / plain transcode, {size}", ratio(plain, render), "x", None if setup.quick else RENDER)


def _target(setup: Setup) -> Target | None:
    # the first window's frames alone do not tell
    return None if setup.quick else TARGET

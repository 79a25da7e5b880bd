"""From what a user asks for to a pipeline ready to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engine.errors import UsageError
from ..engine.manifest import InputSpec
from ..engine.overlay import Overlay
from ..engine.runner import Runner, find_model, open_runner, read_manifest
from ..engine.saliency import parse_target
from ..engine.style import Style
from ..engine.types import Shown
from .pipeline import Options, Pipeline
from .sink import Sink, check_outputs, open_sink
from .source import Source, VideoInfo, open_source

SYNCS = ("aligned", "live")


@dataclass(frozen=True)
class Config:
    """One run, as a user asks for it. None: chosen for the model and the video."""

    input: str
    outputs: tuple[str, ...] = ()
    model: str | Path = "i3d"
    """a model shipped with the package, an ONNX file with a manifest, or a TensorRT plan"""
    frames: int | None = None
    """T; None: the model's own default"""
    stride: int | None = None
    """frames between samples; None: so that the video comes near the rate the model was trained on"""
    hop: int | None = None
    """frames between windows; None: a quarter of the window"""
    explain: str = "top1"
    """top1, a class name or index, or A:B for what speaks for A rather than for B"""
    style: Style = Style()
    sync: str = "aligned"
    runtime: str = "auto"
    precision: str = "f32"
    device: str = "auto"
    max_age: float = 2.0
    limit: int | None = None
    timings: bool = False
    overlay: str = "auto"
    """what draws: auto, or one of `engine.overlay.paths()`"""
    overlay_threads: int = 1

    def __post_init__(self) -> None:
        for name in ("frames", "stride", "hop", "limit", "overlay_threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', '-')} must be 1 or more, got {value}")
        Overlay(self.style, self.overlay)  # says what is wrong with them
        if self.sync not in SYNCS:
            raise UsageError(f"sync must be one of {', '.join(SYNCS)}, got {self.sync!r}")
        if self.max_age <= 0:
            raise UsageError(f"max-age must be more than 0 seconds, got {self.max_age:g}")


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that is open while a run goes on."""

    source: Source
    runner: Runner
    sinks: list[Sink]
    options: Options
    pipeline: Pipeline


@contextmanager
def open_job(config: Config) -> Iterator[Job]:
    """Opens source, model and outputs, and starts the pipeline; whatever happens, all of it is closed again.

    Raises UsageError, SourceError, ModelError or SinkError, what costs least to check first.
    """
    check_outputs(config.input, config.outputs)
    sinks = [open_sink(uri) for uri in config.outputs]
    manifest = read_manifest(find_model(config.model))
    target = parse_target(config.explain, manifest.labels)
    with ExitStack() as stack:
        source = open_source(config.input)
        stack.callback(source.close)
        frames = config.frames or manifest.default_frames
        stride = config.stride or default_stride(manifest.input, source.info)
        hop = config.hop or max(1, frames * stride // 4)
        if config.sync == "aligned" and hop > frames * stride:
            raise UsageError(f"hop must be 1 to {frames * stride} so that a window sees every frame, got {hop}")
        options = Options(
            target,
            config.style,
            config.sync,
            stride,
            hop,
            config.max_age,
            config.limit,
            config.timings,
            config.overlay,
            config.overlay_threads,
        )
        runner = open_runner(
            config.model, frames=frames, runtime=config.runtime, precision=config.precision, device=config.device
        )
        pipeline = stack.enter_context(Pipeline(source, runner, sinks, options))
        yield Job(source, runner, sinks, options, pipeline)


def default_stride(spec: InputSpec, info: VideoInfo) -> int:
    """So many frames apart that samples come at about the rate of the video the model was trained on."""
    ratio = float(info.rate) / spec.rate if info.rate else 1.0
    return max(1, round(spec.stride * ratio))


def explain(video: str | Path, *outputs: str | Path, **options: Any) -> Iterator[Shown]:
    """Explains a video, frame by frame, and writes it to the outputs, if any.

        for shown in explain("clip.mp4", explain="juggling soccer ball"):
            shown.rgb           # [H, W, 3] uint8, the tube and a caption drawn
            shown.explanation   # class, probability and the tube [t, h, w] of the window it is drawn from

    options: the fields of Config, which are the options of `saliency-tubes run`. Frames come in order, each as soon as
    the windows that saw it are explained. Leaving the loop early stops the pipeline and finishes the outputs.
    Raises UsageError, SourceError, ModelError and SinkError, at the first frame asked for.
    """
    config = Config(str(video), tuple(map(str, outputs)), **options)
    with open_job(config) as job:
        yield from job.pipeline

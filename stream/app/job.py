"""From what a user asks for to a pipeline ready to run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from ...engine.errors import UsageError
from ...engine.preprocess import default_stride
from ...engine.runtimes.base import Runner
from ...engine.saliency import Target, parse_target
from ..media.info import FALLBACK_RATE
from ..pipeline.options import Options
from ..pipeline.pipeline import Pipeline
from ..sinks.base import Sink
from ..sinks.open import check_outputs, open_sink
from ..sinks.rules import check_rules
from ..sources.base import Source
from ..sources.open import open_source
from .config import Config
from .model_choice import OwnModel, SharedModel
from .placing import choose, open_place


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that is open while a run goes on."""

    config: Config
    source: Source
    runner: Runner
    sinks: list[Sink]
    options: Options
    pipeline: Pipeline
    young: str = ""
    """live mode: why the window has this length, for people"""
    placed: str = ""
    """why frames live where they do, for people"""


@contextmanager
def open_job(
    config: Config,
    shared: SharedModel | None = None,
    given_up: Callable[[], bool] = lambda: False,
    opened: Source | None = None,
) -> Iterator[Job]:
    """Opens source, model and outputs, and starts the pipeline; whatever happens, all of it is closed again.

    given_up: see `open_source`. opened: a source to read in place of the configuration's input.

    Raises UsageError, SourceError, ModelError or SinkError; what is checked fastest is checked first.
    """
    check_outputs(config.input, config.outputs, config.sink.listen)
    sinks = [open_sink(uri, config.sink) for uri in config.outputs]
    model = shared or OwnModel(config)
    target = parse_target(config.explain, model.manifest.labels)
    check_rules(config.outputs, model.manifest.labels)
    chosen = choose(config.memory, model.place)
    with ExitStack() as stack:
        place = open_place(chosen.name)
        if place is not None:
            stack.callback(place.close)
        model.measure()  # before the camera is connected: its frames would have to wait
        source = opened or open_source(config.input, config.source, stream=config.name, given_up=given_up, place=place)
        stack.callback(source.close)
        if source.live:  # known only now; sinks are cheap until `open`
            sinks = [open_sink(uri, replace(config.sink, live=True)) for uri in config.outputs]
        sync = config.sync if config.sync != "auto" else ("live" if source.live else "aligned")
        stride = config.stride or default_stride(model.manifest.input, source.info.rate)
        runner, young = model.load(sync, stride, _rate(source), source.live)
        options = _plan(config, model, target, source, runner, sync, stride)
        batcher = shared.batcher if shared else None
        pipeline = stack.enter_context(Pipeline(source, runner, sinks, options, batcher, place))
        yield Job(config, source, runner, sinks, options, pipeline, young, chosen.why)


def _plan(
    config: Config,
    model: SharedModel | OwnModel,
    target: Target,
    source: Source,
    runner: Runner,
    sync: str,
    stride: int,
) -> Options:
    """The pipeline's options: those of the user, and those chosen for this input and model. Raises UsageError."""
    reach = runner.clip_length * stride
    hop, delay = config.hop or max(1, reach // 4), 0.0
    if sync == "aligned" and hop > reach:
        raise UsageError(f"hop must be 1 to {reach} so that a window sees every frame, got {hop}")
    if sync == "aligned" and source.live:
        hop, delay = plan_delay(runner.clip_length, stride, hop, _rate(source), model.window_seconds(runner))
    follows = sync == "live" and config.stride is None
    return Options(
        target=target,
        style=config.style,
        sync=sync,
        stride=stride,
        hop=hop,
        max_age=config.max_age,
        limit=config.limit,
        timings=config.timings,
        overlay=config.overlay,
        overlay_threads=config.overlay_threads,
        hold=config.hold,
        delay=delay,
        replan=partial(default_stride, model.manifest.input) if follows else None,
        name=config.name,
    )


def _rate(source: Source) -> float:
    """Frames a second of a source."""
    return float(source.info.rate or FALLBACK_RATE)


def plan_delay(clip_length: int, stride: int, hop: int, rate: float, explaining: float) -> tuple[int, float]:
    """The hop that a model can keep up with, and the seconds that each frame of a live stream must be held. Pure.

    rate: frames a second. explaining: seconds that the model takes for a window. A frame just after a window's centre
    waits for the next window, whose last frame comes a hop and half a window later; then that window is explained. Half
    of `explaining` is added because the model may become slower, and a tenth of a second for everything else.
    """
    sustained = max(hop, math.ceil(1.15 * explaining * rate))
    reach = ((clip_length - 1) * stride + 1) / 2
    return sustained, (sustained + reach) / rate + 1.5 * explaining + 0.1

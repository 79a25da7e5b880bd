"""From what a user asks for to a pipeline ready to run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ...engine.draw.overlay import Overlay
from ...engine.draw.style import Style
from ...engine.errors import UsageError
from ...engine.manifest import Manifest
from ...engine.precision import RUN_PRECISIONS, check_precision
from ...engine.preprocess import default_stride
from ...engine.runtimes.base import Runner
from ...engine.runtimes.models import find_model, read_manifest
from ...engine.runtimes.open import choices, open_runner
from ...engine.saliency import parse_target
from ..media.info import FALLBACK_RATE
from ..net.address import escaped, file_path
from ..pipeline.batcher import Batcher
from ..pipeline.options import Options
from ..pipeline.pipeline import Pipeline
from ..pipeline.priority import made_behind
from ..sinks.base import Sink, SinkOptions
from ..sinks.open import check_outputs, open_sink
from ..sinks.rules import check_rules
from ..sources.base import Source, SourceOptions
from ..sources.open import open_source
from ..sources.pattern import PatternSpec
from ..telemetry.log import say
from .speed import BUDGET, Speeds, milliseconds, run_takes, speeds_of
from .young import fit

SYNCS = ("auto", "aligned", "live")


@dataclass(frozen=True)
class Config:
    """One run, as a user asks for it. None: chosen for the model and the video."""

    input: str
    outputs: tuple[str, ...] = ()
    model: str | Path = "i3d"
    """a model shipped with the package, an ONNX file with a manifest, or a TensorRT plan"""
    frames: int | None = None
    """T; None: the model's own default, live the longest whose tubes stay younger than `max_age`"""
    stride: int | None = None
    """frames between samples; None: so that the video comes near the rate the model was trained on"""
    hop: int | None = None
    """frames between windows; None: a quarter of the window"""
    explain: str = "top1"
    """top1, a class name or index, or A:B for what speaks for A rather than for B"""
    style: Style = Style()
    sync: str = "auto"
    """auto: live from what comes at its own pace, aligned from files"""
    runtime: str = "auto"
    precision: str | None = None
    """f32, bf16, or auto: what is quickest here, as measured at the first start. None: auto from what comes at its own
    pace, so that tubes are young; f32 from files, alike on all machines. Of streams that share a model: auto where one
    of them comes at its own pace"""
    device: str = "auto"
    batch: int | None = None
    """windows of several streams that go through the model together; None: as many as keep their tubes youngest, one
    where all are files"""
    max_age: float = 2.0
    hold: int = 3
    """live: windows that another class must lead for before it is explained instead"""
    limit: int | None = None
    timings: bool = False
    overlay: str = "auto"
    """what draws: auto, or one of `engine.overlay.paths()`"""
    overlay_threads: int = 1
    source: SourceOptions = SourceOptions()
    sink: SinkOptions = SinkOptions()
    name: str = ""
    """of the stream, where there are several"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "input", escaped(self.input))
        object.__setattr__(self, "outputs", tuple(map(escaped, self.outputs)))
        for name in ("frames", "stride", "hop", "limit", "overlay_threads", "hold", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name.replace('_', '-')} must be 1 or more, got {value}")
        Overlay(self.style, self.overlay).close()  # says what is wrong with them
        if self.precision is not None:
            object.__setattr__(self, "precision", check_precision(self.precision, ("auto", *RUN_PRECISIONS)))
        if self.sync not in SYNCS:
            raise UsageError(f"sync must be one of {', '.join(SYNCS)}, got {self.sync!r}")
        if not self.max_age > 0:  # nan is not
            raise UsageError(f"max-age must be more than 0 seconds, got {self.max_age:g}")


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
    """live: why the window is as long as it is, for people"""


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A model that several streams use."""

    batcher: Batcher
    seconds: float
    """that a window of each stream takes, all together"""
    remark: str
    """how they share it, for people"""


@contextmanager
def open_job(
    config: Config,
    shared: SharedModel | None = None,
    given_up: Callable[[], bool] = lambda: False,
    opened: Source | None = None,
) -> Iterator[Job]:
    """Opens source, model and outputs, and starts the pipeline; whatever happens, all of it is closed again.

    given_up: as in `open_source`. opened: a source to read in place of the configuration's input.

    Raises UsageError, SourceError, ModelError or SinkError, what costs least to check first.
    """
    check_outputs(config.input, config.outputs, config.sink.listen)
    sinks = [open_sink(uri, config.sink) for uri in config.outputs]
    manifest = shared.batcher.runner.manifest if shared else read_manifest(find_model(config.model))
    target = parse_target(config.explain, manifest.labels)
    check_rules(config.outputs, manifest.labels)
    # Before the camera is connected to: what it sends meanwhile would wait.
    chooses = config.frames is None and config.sync != "aligned" and len(manifest.windows) > 1
    speeds = None if shared else model_speeds(config, manifest, comes_live(config.input, config.source), chooses)
    with ExitStack() as stack:
        source = opened or open_source(config.input, config.source, stream=config.name, given_up=given_up)
        stack.callback(source.close)
        if source.live:  # known only now; until `open` a sink is a few words about one
            sinks = [open_sink(uri, replace(config.sink, live=True)) for uri in config.outputs]
        stride = config.stride or default_stride(manifest.input, source.info.rate)
        rate = float(source.info.rate or FALLBACK_RATE)
        sync = config.sync if config.sync != "auto" else ("live" if source.live else "aligned")
        if shared:
            runner = shared.batcher.runner
            young = f"in turns with other streams, every {_pace(shared.seconds)}" if sync == "live" else ""
        elif sync == "live" and chooses:
            runner, young = load_young(config, manifest, stride, rate, speeds, source.live)
        else:
            runner, young = load_runner(config, speeds, behind=source.live), ""
        frames = runner.frames
        hop = config.hop or max(1, frames * stride // 4)
        if sync == "aligned" and hop > frames * stride:
            raise UsageError(f"hop must be 1 to {frames * stride} so that a window sees every frame, got {hop}")
        delay = 0.0
        if sync == "aligned" and source.live:
            hop, delay = plan_delay(frames, stride, hop, rate, shared.seconds if shared else run_takes(runner, 1))
        options = Options(
            target,
            config.style,
            sync,
            stride,
            hop,
            config.max_age,
            config.limit,
            config.timings,
            config.overlay,
            config.overlay_threads,
            config.hold,
            delay,
            partial(default_stride, manifest.input) if sync == "live" and config.stride is None else None,
            config.name,
        )
        pipeline = stack.enter_context(Pipeline(source, runner, sinks, options, shared.batcher if shared else None))
        yield Job(config, source, runner, sinks, options, pipeline, young)


def model_speeds(config: Config, manifest: Manifest, live: bool, chooses: bool = False) -> Speeds | None:
    """What windows take by precision, where that decides something; else None. The first start measures, for seconds.

    live: what is explained comes at its own pace. chooses: and then the length of the windows is free as well.
    """
    asked = asked_precision(config, live)
    wanted = live and chooses
    if asked != "auto" and not wanted:
        return None
    there = choices(config.model, runtime=config.runtime, device=config.device)
    if asked != "auto":
        there = replace(there, precisions=(asked,))
    if len(there.precisions) < 2 and not wanted:
        return None
    # Of windows of one length the shortest is soonest measured, and whoever is quickest in it is so in longer ones.
    frames = config.frames or min(manifest.windows)
    manifest.window(frames)

    def measure() -> Speeds:
        load = partial(_open, config, batch=1, frames=frames)
        return speeds_of(find_model(config.model), there, frames, lambda precision: load(precision=precision))

    return made_behind(measure) if live else measure()


def load_runner(
    config: Config, speeds: Speeds | None = None, *, behind: bool = False, batch: int = 1, frames: int | None = None
) -> Runner:
    """The model that a run asks for, in the quickest precision where that was measured (`model_speeds`).

    behind: it may wait, for the picture must not. frames: T, unless the run asks for one.
    """
    named = None if config.precision == "auto" else config.precision
    precision = named or (speeds.quickest if speeds else "f32")
    load = partial(_open, config, precision=precision, batch=batch, frames=config.frames or frames)
    runner = made_behind(load) if behind else load()
    if speeds is not None and named is None:
        runner.description += f": {speeds.in_words or 'the only precision here'}"
    return runner


def load_young(
    config: Config,
    manifest: Manifest,
    stride: int,
    rate: float,
    speeds: Speeds | None,
    behind: bool,
    streams: int = 1,
    batch: int = 1,
) -> tuple[Runner, str]:
    """The model for the longest windows whose tubes stay young (`young.fit`), and why these, for people.

    What windows take is measured on the way, as things are now: `speeds` may be of an earlier start, and says only
    where to begin. streams: that take turns at it, one window at a time.
    """
    guessed = {speeds.frames: streams * speeds.seconds[speeds.quickest]} if speeds else {}
    seconds: dict[int, float] = {}
    runner: Runner | None = None
    while True:
        known = seconds or guessed
        chosen = fit(manifest, stride, rate, config.max_age, known) if known else None
        frames = chosen.frames if chosen else min(manifest.windows)
        if runner is None or runner.frames != frames:
            runner = None  # it gives back its memory before the next one takes some
            runner = load_runner(config, speeds, behind=behind, batch=batch, frames=frames)
        if chosen is not None and frames in seconds:
            return runner, chosen.in_words
        seconds[frames] = streams * run_takes(runner, 1)


def _open(config: Config, *, precision: str, batch: int, frames: int | None) -> Runner:
    return open_runner(
        config.model,
        frames=frames,
        runtime=config.runtime,
        precision=precision,
        device=config.device,
        batch=batch,
    )


def _pace(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else milliseconds(seconds)


def asked_precision(config: Config, live: bool) -> str:
    """f32, bf16, or auto. live: what is explained comes at its own pace."""
    return config.precision or ("auto" if live else "f32")


def share_model(configs: Sequence[Config]) -> SharedModel:
    """The model that these streams ask for, with `batch` windows in a run.

    None: where one of them is live, what runs take is measured, and decides (`youngest`). It decides on the length of
    the windows, too, for streams that are drawn live: what waits for its windows anyway has no use for short ones. From
    files alone one window goes at a time, in f32: what a file gives depends neither on the machine nor on the other
    files.
    """
    config, streams = configs[0], len(configs)
    cameras = [one for one in configs if comes_live(one.input, one.source)]
    drawn_live = [one for one in cameras if one.sync != "aligned"]
    live = bool(cameras)
    manifest = read_manifest(find_model(config.model))
    if live:
        say("model", f"what this machine can do for {streams} streams is being measured")
    chooses = bool(drawn_live) and config.frames is None and len(manifest.windows) > 1
    asked = config.batch or (streams if live else 1)
    most = min(asked, streams)
    speeds, young = model_speeds(config, manifest, live, chooses), ""
    if chooses:  # samples come as in the video it was trained on, whatever the cameras' rates are (`default_stride`)
        strictest = replace(config, max_age=min(one.max_age for one in drawn_live))
        seen = manifest.input
        runner, young = load_young(strictest, manifest, seen.stride, seen.rate, speeds, live, streams, most)
    else:
        runner = load_runner(config, speeds, behind=live, batch=most)
    frames, size = runner.frames, runner.batch
    why = "there are no more streams" if size == most else "the model takes no more at once"
    if config.batch or not live:
        takes = {size: run_takes(runner, size)}
    else:
        takes = _measured(runner, streams)
        size = youngest(takes, streams)
    if size < runner.batch:
        why = "more at once would make tubes no younger"
        del runner  # it gives back what larger runs have taken
        runner = load_runner(config, speeds, behind=live, batch=size, frames=frames)
    words = f"{size} windows at a time" if size > 1 else "one window at a time"
    if size < asked:
        words += f": {why}"
    seconds = takes[size] * math.ceil(streams / size)
    remark = f"{streams} streams share it, {words}"
    if live:
        remark = f"{streams} streams: a window of {frames} frames every {_pace(seconds)} each, {words}"
    return SharedModel(Batcher(runner), seconds, f"{remark}; {young}" if young else remark)


def comes_live(uri: str, options: SourceOptions) -> bool:
    """`Source.live` of an input that is not open yet; False where it never can be. Pure."""
    if uri.startswith("/dev/video"):
        return True
    try:
        if file_path(uri) is not None:
            return options.realtime
        if uri.lower().startswith("test://"):
            return options.realtime or PatternSpec.parse(uri).realtime
    except UsageError:  # told when it is opened, and of that stream alone
        return False
    return True


def youngest(takes: Mapping[int, float], streams: int) -> int:
    """How many windows should go through the model at once, so that the oldest tube shown is as young as can be. Pure.

    takes: seconds of a run, by how many windows it has. A stream's clip is chosen when its run begins, and its tube is
    shown until the end of its next one: for a run, and as many more as serve all streams once. More at once must make
    that shorter by a tenth: they take more memory, and one measurement says no more.
    """
    best, *larger = sorted(takes)
    ages = {size: takes[size] * (1 + math.ceil(streams / size)) for size in takes}
    for size in larger:
        if ages[size] < 0.9 * ages[best]:
            best = size
    return best


def _measured(runner: Runner, streams: int) -> dict[int, float]:
    """By size: one, two, four and so on, up to what the model takes, until more at once is no better, or time is up."""
    begun = time.monotonic()
    takes = {1: run_takes(runner, 1)}
    while (
        (size := max(takes)) < runner.batch and youngest(takes, streams) == size and time.monotonic() - begun < BUDGET
    ):
        larger = min(2 * size, runner.batch)
        takes[larger] = run_takes(runner, larger)
    return takes


def plan_delay(frames: int, stride: int, hop: int, rate: float, explaining: float) -> tuple[int, float]:
    """The hop that a model can keep up with, and the seconds that each frame of a live stream must be held. Pure.

    rate: frames a second. explaining: seconds that a window takes. A frame just after a window's centre waits for the
    next window, whose last frame comes a hop and half a window later; then that window is explained. Half as much again
    is for the model's bad days, and a tenth of a second for everything else.
    """
    sustained = max(hop, math.ceil(1.15 * explaining * rate))
    reach = ((frames - 1) * stride + 1) / 2
    return sustained, (sustained + reach) / rate + 1.5 * explaining + 0.1

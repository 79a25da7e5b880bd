"""Chooses the model's precision, the length of its windows, and how several streams share it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...engine.cores import cores
from ...engine.manifest import Manifest
from ...engine.picture import HOST
from ...engine.runtimes.base import Runner
from ...engine.runtimes.models import find_model, read_manifest
from ...engine.runtimes.open import choices, open_attended, place_of
from ..pipeline.batcher import Batcher
from ..pipeline.priority import made_behind
from ..sources.open import comes_live
from ..telemetry.log import say
from .build_progress import attended_in_a_run
from .config import Config
from .speed import BUDGET, Speeds, milliseconds, run_takes, speeds_of
from .young import SPARE, fit, spare_for


class OwnModel:
    """The model of a stream that shares it with no other."""

    def __init__(self, config: Config) -> None:
        """Raises ModelError."""
        self.manifest = read_manifest(find_model(config.model))
        self._config = config
        self._speeds: Speeds | None = None
        self._chooses = config.clip_length is None and config.sync != "aligned" and len(self.manifest.windows) > 1
        """whether the length of the windows may be chosen, if they are drawn live"""

    @property
    def place(self) -> str:
        """Where it will want its samples, as `Runner.place`."""
        config = self._config
        return place_of(config.model, runtime=config.runtime, device=config.device)

    def measure(self) -> None:
        """Measures what is needed for choices before the input is open. Takes seconds at the first start."""
        live = comes_live(self._config.input, self._config.source)
        self._speeds = model_speeds(self._config, self.manifest, live, self._chooses)

    def load(self, sync: str, stride: int, rate: float, live: bool) -> tuple[Runner, str]:
        """The model, and in words why its windows have their length; empty if that was not chosen.

        rate: frames a second. live: whether frames come at their own pace.
        """
        if sync == "live" and self._chooses:
            return load_young(self._config, self.manifest, stride, rate, self._speeds, live)
        return load_runner(self._config, self._speeds, behind=live), ""

    def window_seconds(self, runner: Runner) -> float:
        """Seconds that a window takes."""
        return run_takes(runner, 1)


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A model that several streams use. For each of them it has the methods of `OwnModel`."""

    batcher: Batcher
    seconds: float
    """seconds for one window of every stream, all together"""
    remark: str
    """how the streams share it, for people"""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the model."""
        return self.batcher.runner.manifest

    @property
    def place(self) -> str:
        """Where it wants its samples, as `Runner.place`."""
        return self.batcher.runner.place

    def measure(self) -> None:
        """Does nothing: it was measured before it was shared."""

    def load(self, sync: str, stride: int, rate: float, live: bool) -> tuple[Runner, str]:
        """See `OwnModel.load`."""
        young = f"in turns with other streams, every {in_words(self.seconds)}" if sync == "live" else ""
        return self.batcher.runner, young

    def window_seconds(self, runner: Runner) -> float:
        """Seconds that a window takes, with the turns of the other streams."""
        return self.seconds


def model_speeds(config: Config, manifest: Manifest, live: bool, chooses: bool = False) -> Speeds | None:
    """The time of a window in each precision, if a choice depends on it; else None. The first start measures for
    seconds.

    live: whether frames come at their own pace. chooses: whether the length of the windows may be chosen too.
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
    # The shortest window is measured fastest, and the precision that is fastest for it is so for longer ones.
    clip_length = config.clip_length or min(manifest.windows)
    manifest.window(clip_length)

    def measure() -> Speeds:
        load = partial(_open, config, batch=1, clip_length=clip_length)
        return speeds_of(find_model(config.model), there, clip_length, lambda precision: load(precision=precision))

    return made_behind(measure) if live else measure()


def load_runner(
    config: Config,
    speeds: Speeds | None = None,
    *,
    behind: bool = False,
    batch: int = 1,
    clip_length: int | None = None,
) -> Runner:
    """The model that a run asks for, in the fastest precision if that was measured (`model_speeds`).

    behind: whether its threads get a lower priority than those of the picture. frames: T, unless the run asks for one.
    """
    named = None if config.precision == "auto" else config.precision
    precision = named or (speeds.quickest if speeds else "f32")
    load = partial(_open, config, precision=precision, batch=batch, clip_length=config.clip_length or clip_length)
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
    """The model for the longest windows whose tubes stay young (`young.fit`), and in words why these.

    The time of a window is measured now; `speeds` may be from an earlier start and only tells where to begin. streams:
    number of streams that take turns, one window at a time.
    """
    guessed = {speeds.clip_length: streams * speeds.seconds[speeds.quickest]} if speeds else {}
    on_host = place_of(config.model, runtime=config.runtime, device=config.device) == HOST
    spare = spare_for(streams, cores().usable) if on_host else SPARE
    seconds: dict[int, float] = {}
    runner: Runner | None = None
    while True:
        known = seconds or guessed
        chosen = fit(manifest, stride, rate, config.max_age, known, spare) if known else None
        clip_length = chosen.clip_length if chosen else min(manifest.windows)
        if runner is None or runner.clip_length != clip_length:
            runner = None  # free its memory before the next one is loaded
            runner = load_runner(config, speeds, behind=behind, batch=batch, clip_length=clip_length)
        if chosen is not None and clip_length in seconds:
            return runner, chosen.in_words
        seconds[clip_length] = streams * run_takes(runner, 1)


def _open(config: Config, *, precision: str, batch: int, clip_length: int | None) -> Runner:
    return open_attended(
        config.model,
        clip_length=clip_length,
        runtime=config.runtime,
        precision=precision,
        device=config.device,
        batch=batch,
        attend=attended_in_a_run,
    )


def in_words(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.1 else milliseconds(seconds)


def asked_precision(config: Config, live: bool) -> str:
    """f32, bf16, or auto. live: whether frames come at their own pace."""
    return config.precision or ("auto" if live else "f32")


def share_model(configs: Sequence[Config]) -> SharedModel:
    """The model that these streams ask for, with `batch` windows in a run.

    If `batch` is None and one of the streams is live, the time of runs is measured and decides (`youngest`). For
    streams that are drawn live it also decides the length of the windows; the others wait for their windows anyway and
    gain nothing from short ones. If all inputs are files, one window goes at a time, in f32: the result for a file then
    depends neither on the machine nor on the other files.
    """
    config, streams = configs[0], len(configs)
    cameras = [one for one in configs if comes_live(one.input, one.source)]
    drawn_live = [one for one in cameras if one.sync != "aligned"]
    live = bool(cameras)
    manifest = read_manifest(find_model(config.model))
    if live:
        say("model", f"what this machine can do for {streams} streams is being measured")
    chooses = bool(drawn_live) and config.clip_length is None and len(manifest.windows) > 1
    asked = config.batch or (streams if live else 1)
    most = min(asked, streams)
    speeds, young = model_speeds(config, manifest, live, chooses), ""
    if chooses:  # samples come as in the video it was trained on, whatever the cameras' rates are (`default_stride`)
        strictest = replace(config, max_age=min(one.max_age for one in drawn_live))
        seen = manifest.input
        runner, young = load_young(strictest, manifest, seen.stride, seen.rate, speeds, live, streams, most)
    else:
        runner = load_runner(config, speeds, behind=live, batch=most)
    clip_length, size = runner.clip_length, runner.batch
    why = "there are no more streams" if size == most else "the model takes no more at once"
    if config.batch or not live:
        takes = {size: run_takes(runner, size)}
    else:
        takes = _measured(runner, streams)
        size = youngest(takes, streams)
    if size < runner.batch:
        why = "more at once would make tubes no younger"
        if runner.place == HOST:  # on a GPU another plan would be built for it, which takes minutes
            del runner  # free the memory that larger runs have taken
            runner = load_runner(config, speeds, behind=live, batch=size, clip_length=clip_length)
    words = f"{size} windows at a time" if size > 1 else "one window at a time"
    if size < asked:
        words += f": {why}"
    seconds = takes[size] * math.ceil(streams / size)
    remark = f"{streams} streams share it, {words}"
    if live:
        remark = f"{streams} streams: a window of {clip_length} frames every {in_words(seconds)} each, {words}"
    return SharedModel(Batcher(runner, most=size), seconds, f"{remark}; {young}" if young else remark)


def youngest(takes: Mapping[int, float], streams: int) -> int:
    """How many windows should go through the model at once, so that the oldest tube shown is as young as can be. Pure.

    takes: number of windows in a run -> its seconds. A stream's clip is chosen when its run begins, and its tube is
    shown until the end of the stream's next run: for one run, and for as many more as serve all streams once. A larger
    number must make that shorter by a tenth, because it takes more memory and a measurement is not exact.
    """
    best, *larger = sorted(takes)
    ages = {size: takes[size] * (1 + math.ceil(streams / size)) for size in takes}
    for size in larger:
        if ages[size] < 0.9 * ages[best]:
            best = size
    return best


def _measured(runner: Runner, streams: int) -> dict[int, float]:
    """Number of windows -> seconds of a run: for one, two, four and so on, up to the model's maximum, until more at
    once is no better, or the time is up."""
    begun = time.monotonic()
    takes = {1: run_takes(runner, 1)}
    while (
        (size := max(takes)) < runner.batch and youngest(takes, streams) == size and time.monotonic() - begun < BUDGET
    ):
        larger = min(2 * size, runner.batch)
        takes[larger] = run_takes(runner, larger)
    return takes

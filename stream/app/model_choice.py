"""Which model a run takes: its precision, the length of its windows, and how several streams share it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...engine.manifest import Manifest
from ...engine.runtimes.base import Runner
from ...engine.runtimes.models import find_model, read_manifest
from ...engine.runtimes.open import choices, open_runner
from ..pipeline.batcher import Batcher
from ..pipeline.priority import made_behind
from ..sources.open import comes_live
from ..telemetry.log import say
from .config import Config
from .speed import BUDGET, Speeds, milliseconds, run_takes, speeds_of
from .young import fit


class OwnModel:
    """The model of a stream that has one of its own."""

    def __init__(self, config: Config) -> None:
        """Raises ModelError."""
        self.manifest = read_manifest(find_model(config.model))
        self._config = config
        self._speeds: Speeds | None = None
        self._chooses = config.samples is None and config.sync != "aligned" and len(self.manifest.windows) > 1
        """whether the length of its windows is free, where they are drawn live"""

    def measure(self) -> None:
        """What can be chosen before the input is open. Takes seconds at the first start."""
        live = comes_live(self._config.input, self._config.source)
        self._speeds = model_speeds(self._config, self.manifest, live, self._chooses)

    def load(self, sync: str, stride: int, rate: float, live: bool) -> tuple[Runner, str]:
        """The model, and for people why its windows are as long as they are, empty where nothing was chosen.

        rate: frames a second. live: they come at their own pace.
        """
        if sync == "live" and self._chooses:
            return load_young(self._config, self.manifest, stride, rate, self._speeds, live)
        return load_runner(self._config, self._speeds, behind=live), ""

    def window_seconds(self, runner: Runner) -> float:
        """What a window takes."""
        return run_takes(runner, 1)


@dataclass(frozen=True, eq=False)
class SharedModel:
    """A model that several streams use. To one of them it is as an `OwnModel`."""

    batcher: Batcher
    seconds: float
    """that a window of each stream takes, all together"""
    remark: str
    """how they share it, for people"""

    @property
    def manifest(self) -> Manifest:
        """What the file says of the model."""
        return self.batcher.runner.manifest

    def measure(self) -> None:
        """Was done when it was shared."""

    def load(self, sync: str, stride: int, rate: float, live: bool) -> tuple[Runner, str]:
        """As of `OwnModel`."""
        young = f"in turns with other streams, every {in_words(self.seconds)}" if sync == "live" else ""
        return self.batcher.runner, young

    def window_seconds(self, runner: Runner) -> float:
        """What a window takes, the turns of other streams included."""
        return self.seconds


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
    frames = config.samples or min(manifest.windows)
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
    load = partial(_open, config, precision=precision, batch=batch, frames=config.samples or frames)
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


def in_words(seconds: float) -> str:
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
    chooses = bool(drawn_live) and config.samples is None and len(manifest.windows) > 1
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
        remark = f"{streams} streams: a window of {frames} frames every {in_words(seconds)} each, {words}"
    return SharedModel(Batcher(runner), seconds, f"{remark}; {young}" if young else remark)


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

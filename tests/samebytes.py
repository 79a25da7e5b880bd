"""What a run gives, as digests: of each JSON line, and of each picture that is shown.

The network is made of whole numbers, so that its outputs are the same on every processor, and live streams follow a
script in place of a clock. `tests/same_bytes.json` keeps the digests; integration/test_same_bytes.py compares.
To make that file anew, where outputs are meant to change: `python tests/samebytes.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import CLIPS
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from saliency_tubes.engine.picture import F32, Layout, Picture
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.saliency import Normalize, Target
from saliency_tubes.engine.types import Frame, HostOutputs, Outputs, Shown
from saliency_tubes.stream.pipeline.batcher import Batcher
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sinks.json_lines import JsonSink
from saliency_tubes.stream.sources.base import Source
from saliency_tubes.stream.sources.feed import FeedEnded, FeedFrame, FeedLost
from saliency_tubes.stream.sources.live import LiveSource
from saliency_tubes.stream.sources.open import open_source
from stubs import CELLS, SIDE, SLICES, StubRunner

FILM = Path(__file__).parents[1] / "stream" / "assets" / "bigbuckbunny.mp4"
SAVED = Path(__file__).with_name("same_bytes.json")
HANGS = 60.0
"""seconds: the most that a script waits for the pipeline before it counts as hanging"""
BEGUN = 1_700_000_000.0
"""seconds since 1970 when the scripted camera took its first frame"""
CAPTION = (0.28, 0.62)
"""The part of a picture's height and width, from its upper left corner, that the captions here stay within."""


@dataclass(frozen=True)
class Case:
    """One run to compare."""

    inputs: tuple[str, ...]
    """film, a name among the real clips, or an address; several share one model"""
    options: Options
    resize: str = "stretch"
    """the network's rule, one of manifest.RESIZE_RULES"""
    takes: int = 0
    """live: frames that come while the network runs once; 0: aligned"""
    loses: int | None = None
    """live: the frame before which the connection is lost, once"""

    @property
    def needs_clips(self) -> bool:
        return any(name.endswith(".mp4") for name in self.inputs)


PATTERN = "test://?size=320x240&rate=25&frames=60"
CASES = {
    "film, aligned": Case(("film",), Options(hop=4, limit=40)),
    "film, live": Case(("film",), Options(sync="live", max_age=0.5, limit=70), "center", takes=9),
    "film, live, evidence grows too old": Case(
        ("film",), Options(Target(0), sync="live", max_age=0.4, limit=70, stride=2), takes=23
    ),
    "clip, aligned, with black bars": Case(("arm_wrestling.mp4",), Options(hop=3, stride=2, limit=60), "letterbox"),
    "clip, aligned, one class against another": Case(
        ("bottle.mp4",), Options(Target(2, 4), Style("viridis", normalize=Normalize("fixed", -20, 60)), hop=8, limit=45)
    ),
    "clip, aligned, in the paper's look": Case(
        ("ego_washing_dishes.mp4",), Options(Target(1), PRESETS["paper-pytorch"], hop=2, limit=40), "center"
    ),
    "clip, live, the connection is lost once": Case(
        ("arm_wrestling.mp4",), Options(sync="live", hold=2, limit=90), takes=5, loses=41
    ),
    "pattern, aligned": Case((PATTERN,), Options(Target(0), hop=2)),
    "pattern, aligned, in the look of the paper's other script": Case(
        (PATTERN,), Options(Target(0), PRESETS["paper-keras"], hop=5)
    ),
    "pattern, live": Case((PATTERN,), Options(Target(0), Style(frame=True), sync="live"), "center", takes=3),
    "streams that share a model": Case(
        ("film", "arm_wrestling.mp4", PATTERN), Options(hop=4, limit=30, name="one of three"), "center"
    ),
    "streams that share a model, no clips": Case(("film", PATTERN), Options(Target(3), hop=2, limit=30)),
}


@dataclass(frozen=True)
class Digests:
    """Of one stream: eight hexadecimal digits for each item, in order."""

    lines: list[str]
    """each line of JSON"""
    pictures: list[str]
    """each picture's planes, but for CAPTION"""
    captions: list[str]
    """each picture's planes within CAPTION"""

    def __str__(self) -> str:
        return json.dumps({name: " ".join(items) for name, items in vars(self).items()}, indent=1)

    @classmethod
    def saved(cls, kept: dict[str, str]) -> Digests:
        return cls(**{name: items.split() for name, items in kept.items()})


def exact_manifest(resize: str) -> Manifest:
    """Six classes of three channels. Weights are multiples of 1/4, so that float32 holds every sum exactly."""
    weights = [[4, 0, 0], [-4, 0, 1], [0, 6, -1], [2, -3, 0], [0, 1, 8], [1, 1, -5]]
    return Manifest(
        name="exact",
        title="Exact",
        license="none",
        input=InputSpec((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3, resize=resize, short_side=SIDE + 8),
        windows={8: WindowSpec((1 / SLICES,) * SLICES, (0, SLICES))},
        default_clip_length=8,
        labels=("bright", "dark", "red", "moss", "moving", "still"),
        tap="pool",
        channels=3,
        head=LinearHead(np.array(weights, np.float32) / 4, np.array([0, 3, 1, 2, 0, 1], np.float32)),
    )


class ExactRunner(StubRunner):
    """Brightness, redness and change, each block's mean rounded down to whole levels, as sixteenths of a logit."""

    def _look_at(self, clip: F32) -> Outputs:
        levels = np.rint(clip * 255).astype(np.int64)
        change = np.abs(np.diff(levels.sum(axis=0), axis=0, append=0))
        change[-1] = change[-2]
        block, depth = SIDE // CELLS, self.clip_length // SLICES
        shown = np.stack([levels.sum(axis=0) // 3, levels[0] - levels[2], change])
        blocks = shown.reshape(3, SLICES, depth, CELLS, block, CELLS, block).sum(axis=(2, 4, 6))
        activation = (blocks // (depth * block * block)).astype(np.float32) / 16
        head = self.manifest.head
        assert head is not None
        logits = head.class_weights @ activation.reshape(3, -1).mean(axis=1) + head.bias
        return HostOutputs(logits.astype(np.float32), activation)


@dataclass
class Script:
    """Makes a live run the same every time: what happens is ordered by frames, not by seconds.

    A frame comes once the one before it has been written. The network is done with a clip once `takes` more frames
    have been written, and has begun with the next clip before another frame comes.
    """

    takes: int
    span: int
    """frames from a window's first to its last, both counted"""
    given: int = 0
    """frames that have come"""
    written: int = 0
    lines: int = 0
    begun: int = 0
    """runs of the network"""
    since_gap: int = 0
    newest_clip: int = -1
    """the frame that completed it"""
    taken: int = 0
    """frames that had come when the network began its newest run"""
    ended: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)

    def _wait(self, what: Any) -> None:
        assert self.changed.wait_for(what, HANGS), f"hangs: {self}"

    def before_frame(self) -> None:
        with self.changed:
            self._wait(lambda: self.written == self.given)
            begun = self.begun
            if begun and self.written < self.taken + self.takes:
                return
            self._wait(lambda: self.lines >= begun)
            if self.newest_clip >= self.taken:
                self._wait(lambda: self.begun > begun)

    def frame(self) -> None:
        with self.changed:
            self.since_gap += 1
            if self.since_gap >= self.span:
                self.newest_clip = self.given
            self.given += 1

    def gap(self) -> None:
        self.since_gap = 0

    def end(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def run(self) -> None:
        with self.changed:
            self.begun, self.taken = self.begun + 1, self.given
            self.changed.notify_all()
            self._wait(lambda: self.ended or self.written >= self.taken + self.takes)

    def note(self, frames: int = 0, lines: int = 0) -> None:
        with self.changed:
            self.written, self.lines = self.written + frames, self.lines + lines
            self.changed.notify_all()


class Noting(Sink):
    """Tells the script what has come out."""

    def __init__(self, script: Script) -> None:
        super().__init__("script")
        self._script = script

    def write(self, shown: Shown) -> None:
        self._script.note(frames=1)

    def event(self, line: Any) -> None:
        self._script.note(lines=1)


@dataclass
class ScriptedRunner(ExactRunner):
    script: Script | None = None

    def run(self, *arguments: Any, **named: Any) -> Any:
        assert self.script is not None
        outputs = super().run(*arguments, **named)
        self.script.run()
        return outputs


class ScriptedFeed:
    """A camera that sends the frames of a file, by the script."""

    dropped, errors, idle, bursts = 0, 0, 0.0, False

    def __init__(self, frames: Iterator[Frame], rate: Any, script: Script, limit: int, loses: int | None) -> None:
        self._frames, self._rate, self._script, self._limit, self._loses = frames, rate, script, limit, loses
        self.now = 0.0

    def connect(self) -> ScriptedFeed:
        self._script.gap()
        return self

    def clock(self) -> float:
        return self.now

    def read(self, timeout: float) -> FeedFrame:
        given = self._script.given
        self._script.before_frame()
        if given == self._loses:
            self._loses = None
            raise FeedLost("the script takes it away")
        frame = next(self._frames, None) if given < self._limit else None
        if frame is None:
            self._script.end()
            raise FeedEnded("the end")
        tells = self._script.since_gap == 0 or given % 10 == 0
        self._script.frame()
        self.now = frame.time
        return FeedFrame(
            frame.picture, frame.time, frame.pts, frame.time_base, frame.pixel_aspect, self._rate,
            sent=BEGUN + frame.time if tells else None,
        )  # fmt: skip

    def close(self) -> None:
        """There is nothing to close."""


class Way:
    """Where a case runs: here in the host's memory."""

    def runner(self, manifest: Manifest, batch: int = 1, script: Script | None = None) -> StubRunner:
        """The network of whole numbers; with a script, one that follows it."""
        if script is None:
            return ExactRunner(manifest, batch=batch)
        return ScriptedRunner(manifest, batch=batch, script=script)

    def place(self) -> Place | None:
        """A place for one stream."""
        return None

    def noting(self, script: Script) -> Noting:
        """The output that tells a script what has come out."""
        return Noting(script)

    def begun(self, pipeline: Pipeline) -> None:
        """Called when a stream begins."""

    def ended(self, pipeline: Pipeline, place: Place | None) -> None:
        """Called when a stream has ended, and all that it gave was let go."""


HERE = Way()


def look_at(case: Case, overlay: str = "auto", way: Way = HERE) -> list[Digests]:
    """Runs a case; for each stream what came out. overlay: what draws."""
    options = replace(case.options, overlay=overlay)
    if case.takes:
        return [_live(case, options, way)]
    runner = way.runner(exact_manifest(case.resize), batch=len(case.inputs))
    batcher = Batcher(runner) if len(case.inputs) > 1 else None
    with ExitStack() as stack:
        sources = [_open(name, stack) for name in case.inputs]
        found: dict[int, Digests] = {}

        def work(place: int) -> None:
            found[place] = run(sources[place], runner, options, [], batcher, way)

        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(sources))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [found[place] for place in range(len(sources))]


def _live(case: Case, options: Options, way: Way) -> Digests:
    script = Script(case.takes, 7 * options.stride + 1)
    with ExitStack() as stack:
        file = _open(case.inputs[0], stack)
        feed = ScriptedFeed(iter(file), file.info.rate, script, options.limit or sys.maxsize, case.loses)
        options = replace(options, limit=None)  # the script knows where it ends, and lets the network end there
        source = LiveSource(feed.connect, "camera", clock=feed.clock, wait=lambda seconds: False, seed=1)
        stack.callback(source.close)
        runner = way.runner(exact_manifest(case.resize), script=script)
        return run(source, runner, options, [way.noting(script)], None, way)


def _open(name: str, stack: ExitStack) -> Source:
    address = str(FILM) if name == "film" else str(CLIPS / name) if name.endswith(".mp4") else name
    source = open_source(address)
    stack.callback(source.close)
    return source


def run(
    source: Source, runner: Any, options: Options, sinks: list[Sink], batcher: Batcher | None = None, way: Way = HERE
) -> Digests:
    """Runs one stream to its end, and gives what came out."""
    pictures, captions, place = [], [], way.place()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        try:
            with Pipeline(source, runner, [JsonSink(path), *sinks], options, batcher, place) as pipeline:
                way.begun(pipeline)
                for shown in pipeline:
                    inside, outside = _parts(pipeline.on_host(shown).frame.picture)
                    captions.append(_digest(*inside))
                    pictures.append(_digest(*outside))
                    del shown
            way.ended(pipeline, place)
        finally:
            if place is not None:
                place.close()
        return Digests([_digest(line) for line in path.read_bytes().splitlines()], pictures, captions)


def _parts(picture: Picture) -> tuple[list[bytes], list[bytes]]:
    """The samples where captions are drawn, and all others."""
    inside, outside = [], []
    for place, plane in enumerate(picture.planes):
        step = 2 if place and picture.layout is not Layout.RGB else 1
        rows, columns = (int(side * part) // 2 * 2 // step for side, part in zip(
            (picture.height, picture.width), CAPTION, strict=True))  # fmt: skip
        inside.append(plane[:rows, :columns].tobytes())
        outside += [plane[:rows, columns:].tobytes(), plane[rows:].tobytes()]
    return inside, outside


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:8]


def saved() -> dict[str, list[Digests]]:
    kept = json.loads(SAVED.read_text())
    return {name: [Digests.saved(one) for one in streams] for name, streams in kept.items()}


def main() -> None:
    made = {name: [json.loads(str(one)) for one in look_at(case)] for name, case in CASES.items()}
    SAVED.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()

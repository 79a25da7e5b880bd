"""A small network that needs no file: its evidence is the picture's own brightness, so where it lies is known."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from saliency_tubes.engine.errors import SinkError, SourceError
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from saliency_tubes.engine.picture import F32, Color, Layout, Picture
from saliency_tubes.engine.runtimes.base import HostRunner
from saliency_tubes.engine.types import (
    ClassScore,
    Crop,
    Explanation,
    Frame,
    HostOutputs,
    Outputs,
    Scale,
    Shown,
    Span,
    Tube,
)
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import SourceHealth
from saliency_tubes.stream.telemetry.events import Event

SIDE, CELLS, SLICES = 32, 4, 2


def even_pool(cells: np.ndarray) -> F32:
    """The pool of a head that counts every cell of `cells` the same."""
    return np.full(cells.shape, 1 / cells.size, np.float32)


def make_manifest(clip_length: int = 8) -> Manifest:
    """Two classes: "bright", whose evidence is brightness, and "dark"."""
    return Manifest(
        name="stub",
        title="Stub",
        license="none",
        input=InputSpec((SIDE, SIDE), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), resize="stretch"),
        windows={clip_length: WindowSpec((1 / SLICES,) * SLICES, (0, SLICES))},
        default_clip_length=clip_length,
        labels=("bright", "dark"),
        tap="pool",
        channels=1,
        head=LinearHead(np.array([[10.0], [-10.0]], np.float32), np.zeros(2, np.float32)),
    )


@dataclass
class StubRunner(HostRunner):
    """The activation [1, 2, 4, 4] is a clip's mean brightness by blocks; the head is linear, so it is exact."""

    manifest: Manifest = field(default_factory=make_manifest)
    clip_length: int = 8
    batch: int = 1
    description: str = "stub"
    delay: float = 0.0
    """seconds that a run takes, whatever its size"""
    fail_at: int | None = None
    sizes: list[int] = field(default_factory=list)
    """how many clips each run was given"""

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        assert 1 <= len(data) <= self.batch
        assert data.shape[1:] == (3, self.clip_length, SIDE, SIDE)
        assert data.dtype == np.float32
        if len(self.sizes) == self.fail_at:
            raise RuntimeError("the network failed")
        self.sizes.append(len(data))
        time.sleep(self.delay)
        return [self._look_at(clip) for clip in data]

    def _look_at(self, clip: F32) -> Outputs:
        block = SIDE // CELLS
        blocks = clip.mean(axis=0).reshape(SLICES, self.clip_length // SLICES, CELLS, block, CELLS, block)
        activation = blocks.mean(axis=(1, 3, 5))[None]
        assert self.manifest.head is not None
        logits = self.manifest.head.class_weights @ activation.reshape(1, -1).mean(axis=1)
        return HostOutputs(logits.astype(np.float32), activation.astype(np.float32))


class StubSource:
    """Dark frames with a white block, a quarter wide, that moves from left to right, once across."""

    live = False
    name = "stub"
    remarks: tuple[str, ...] = ()

    def __init__(self, frames: int = 40, size: tuple[int, int] = (64, 48), fail_at: int | None = None) -> None:
        self.closed = False
        self._frames, self._size, self.fail_at = frames, size, fail_at
        self.info = VideoInfo(*size, Fraction(1, 25), Fraction(25), frames, layout=Layout.I420)

    def block(self, index: int) -> int:
        """The left edge of the block in a frame, in pixels."""
        return self._size[0] * 3 // 4 * index // max(1, self._frames - 1)

    def __iter__(self) -> Iterator[Frame]:
        width, height = self._size
        for index in range(self._frames):
            if index == self.fail_at:
                raise SourceError("stub: the source failed")
            luma = np.full((height, width), 20, np.uint8)
            luma[height // 2 : height * 3 // 4, self.block(index) : self.block(index) + width // 4] = 235
            chroma = [np.full((height // 2, width // 2), 128, np.uint8) for _ in range(2)]
            picture = Picture(Layout.I420, (luma, *chroma), Color())
            yield Frame(index, index, Fraction(1, 25), picture)

    def health(self) -> SourceHealth:
        return SourceHealth()

    def stop(self) -> None:
        """It never makes anybody wait."""

    def close(self) -> None:
        self.closed = True


def make_event(
    window: int = 0, end: float | None = None, p: float = 0.9, name: str = "yoga", explained: str | None = None
) -> Event:
    """Of class 7, `name`, with probability `p`, in the second up to `end`; without it, one window ends each second.

    explained: what the class explained is called; None: as the one on top.
    """
    last = round((window if end is None else end) * 1e6)
    cells = np.ones((SLICES, CELLS, CELLS), np.float32)
    tube = Tube(cells, Span(0, 8), Crop(), even_pool(cells), (0, SLICES))
    top, chosen = (ClassScore(7, called, p, 1.0) for called in (name, explained or name))
    pts = (last - 1_000_000, last)
    return Event(Explanation(window, (chosen,), (top,), tube, Scale(0, 1), pts, Fraction(1, 1_000_000)), 0.5, (64, 48))


class StubCamera(StubSource):
    """A source that can be away. Tests set how it is."""

    live = True

    def __init__(self, frames: int = 40, **how: Any) -> None:
        """how: fields of SourceHealth."""
        super().__init__(frames)
        self.now = SourceHealth(**{"can_be_away": True, "state": "live", "lag": 0.0} | how)

    def change(self, **how: Any) -> None:
        self.now = replace(self.now, **how)

    def health(self) -> SourceHealth:
        return self.now


class MemorySink(Sink):
    """Keeps what it is given."""

    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__("memory")
        self.pictures: list[tuple[bytes, ...]] = []
        self.indices: list[int] = []
        self.lines: list[str] = []
        self.opened, self.closed = 0, 0
        self.fail_at = fail_at

    def open(self, info: VideoInfo) -> None:
        self.opened += 1

    def write(self, shown: Shown) -> None:
        if len(self.indices) == self.fail_at:
            raise SinkError("memory: the sink failed")
        self.indices.append(shown.frame.index)
        self.pictures.append(tuple(plane.tobytes() for plane in shown.frame.picture.planes))

    def event(self, event: Event) -> None:
        self.lines.append(event.json)

    def close(self) -> None:
        self.closed += 1


class Slowed:
    """Wraps a source, a runner or a sink so that each of its steps takes a random while."""

    def __init__(self, inner: object, seed: int, longest: float = 0.004) -> None:
        self._inner, self._random, self._longest = inner, random.Random(seed), longest

    def _wait(self) -> None:
        if self._random.random() < 0.4:
            time.sleep(self._random.random() * self._longest)

    def __getattr__(self, name: str) -> object:
        value = getattr(self._inner, name)
        if name not in ("run", "write", "event"):
            return value

        def slowed(*arguments: object) -> object:
            self._wait()
            return value(*arguments)

        return slowed

    def __iter__(self) -> Iterator[Frame]:
        for frame in iter(self._inner):  # type: ignore[call-overload]
            self._wait()
            yield frame

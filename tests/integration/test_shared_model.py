"""Four cameras of 480p around one model: served alike, kept apart, and unharmed by the death of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.pipeline.batcher import Batcher
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.open import open_source
from stubs import StubRunner
from waiting import wait_for

WINDOWS = 40
"""of each stream, over which they are compared"""
ALIKE = 1.25
"""Largest ratio of the windows of two cameras that count as served alike. The batcher's own test is exact, by a clock
of its own; here real threads run late, and a camera that is not served alike gets half of what the others get."""
LEVELS = (40, 90, 140, 190)
"""the luma of each stream's pictures"""


class Tinted:
    """A source whose pictures are all of one luma; fails once it is told to."""

    def __init__(self, inner: Source, luma: int) -> None:
        self._inner, self._luma = inner, luma
        self.dead = threading.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._inner:
            if self.dead.is_set():
                raise SourceError("the camera is gone")
            luma, *chroma = frame.picture.planes
            gray = (np.full_like(luma, self._luma), *(np.full_like(plane, 128) for plane in chroma))
            yield replace(frame, image=replace(frame.picture, planes=gray))


class Camera:
    """A stream in a thread of its own, and all it ever said."""

    def __init__(self, batcher: Batcher, rate: int, luma: int) -> None:
        self._inner = open_source(f"test://?size=640x480&rate={rate}", SourceOptions(realtime=True))
        self.source = Tinted(self._inner, luma)
        self.pipeline = Pipeline(self.source, batcher.runner, [], Options(sync="live"), batcher)
        self.logits: set[float] = set()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)

    @property
    def windows(self) -> int:
        return self.pipeline.snapshot().windows

    def _run(self) -> None:
        try:
            with self.pipeline:
                for shown in self.pipeline:
                    self.logits |= {part.explained[0].logit for part, _ in shown.parts}
        except SourceError as error:
            self.error = error
        finally:
            self._inner.close()


def count(cameras: list[Camera]) -> list[int]:
    """Windows of each, until the slowest has WINDOWS more."""
    before = [one.windows for one in cameras]
    wait_for(lambda: min(one.windows - old for one, old in zip(cameras, before, strict=True)) >= WINDOWS, 120)
    return [one.windows - old for one, old in zip(cameras, before, strict=True)]


@pytest.mark.parametrize(
    ("batch", "rate"),
    [
        (4, 30),
        *(pytest.param(batch, rate, marks=pytest.mark.slow) for batch, rate in ((1, 30), (1, 15), (2, 15), (4, 15))),
    ],
)
def test_four_cameras_are_served_alike_and_one_dies_alone(batch, rate):
    # the model is what is short: a window of each camera takes as long as two of its frames
    runner = StubRunner(batch=batch, delay=2 / rate * batch / 4)
    batcher = Batcher(runner)
    cameras = [Camera(batcher, rate, luma) for luma in LEVELS]
    for one in cameras:
        one.thread.start()
    try:
        wait_for(lambda: all(one.windows > 3 for one in cameras), 30)
        before = len(runner.sizes)
        served = count(cameras)
        assert max(served) <= ALIKE * min(served), served
        assert np.mean(runner.sizes[before:]) > 0.8 * batch
        cameras[2].source.dead.set()
        cameras[2].thread.join(30)
        assert str(cameras[2].error) == "the camera is gone"
        left = [one for one in cameras if one is not cameras[2]]
        served = count(left)
        assert max(served) <= ALIKE * min(served), served
    finally:
        for one in cameras:
            one.pipeline.stop()
        for one in cameras:
            one.thread.join(30)
    assert [one.error for one in left] == [None] * 3
    # what each was told is of its own pictures: the logit is their brightness, ten times
    for one, luma in zip(cameras, LEVELS, strict=True):
        brightness = (luma - 16) / 219
        told = {10 * brightness, -10 * brightness}
        assert all(min(abs(logit - wanted) for wanted in told) < 0.1 for logit in one.logits), one.logits
        assert one.logits

"""Outputs that want the picture as it was before it was drawn on, of a stream whose frames live on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pages import WatchedSink
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.pipeline.pipeline import Options
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.open import open_source
from samebytes import exact_manifest
from stubs import MemorySink

from gpu_double.pipelines import OnGpu

FRAMES = 30
SOURCE = f"test://?size=320x240&rate=50&frames={FRAMES}"


class PlainSink(Sink):
    """Looks at plain pictures only, from one frame to another."""

    takes_pictures = False

    def __init__(self, first: int, end: int) -> None:
        super().__init__("plain")
        self._first, self._end = first, end
        self.plain: dict[int, tuple[bytes, ...]] = {}
        self.seen = 0

    @property
    def wants_plain(self) -> bool:  # type: ignore[override]
        return self._first <= self.seen < self._end

    def write(self, shown: Shown) -> None:
        self.seen += 1
        if shown.plain is not None:
            self.plain[shown.frame.index] = tuple(plane.tobytes() for plane in shown.plain.planes)


def run(way: OnGpu, *sinks: Sink) -> None:
    way.run(open_source(SOURCE), way.runner(exact_manifest("stretch")), Options(Target(0), hop=4), list(sinks))
    way.close()


def test_they_get_the_sources_bytes_by_one_copy_while_others_get_the_drawn_ones(gpu_double: Callable[..., Any]) -> None:
    way, sink, drawn = OnGpu(gpu_double(seed=1)), PlainSink(0, FRAMES), MemorySink()
    run(way, sink, drawn)
    source = {frame.index: tuple(plane.tobytes() for plane in frame.picture.planes) for frame in open_source(SOURCE)}
    assert sink.plain == source
    assert way.downloads == 2 * FRAMES  # each frame once as it was, and once drawn
    assert all(drawn.pictures[index] != source[index] for index in range(FRAMES))


@pytest.mark.parametrize("uri", ["plain", "web://:0"])
def test_nothing_is_copied_while_nobody_wants_them(uri: str, gpu_double: Callable[..., Any]) -> None:
    way = OnGpu(gpu_double(seed=1))
    run(way, PlainSink(FRAMES, FRAMES) if uri == "plain" else open_sink(uri))
    assert (way.uploads, way.downloads) == (FRAMES, 0)


def test_a_page_sees_what_the_camera_saw(gpu_double: Callable[..., Any]) -> None:
    way, sink = OnGpu(gpu_double(seed=1)), WatchedSink()
    run(way, sink)
    source = {frame.time: frame.picture.planes[0] for frame in open_source(SOURCE)}
    frames = sink.page.decoded()
    assert len(frames) + sink.dropped == FRAMES
    for frame in frames:
        luma = frame.to_ndarray(format="yuv420p")[: frame.height].astype(int)
        assert np.abs(luma - source[frame.time]).mean() < 4
    assert way.downloads == FRAMES  # of pictures that were drawn on, none

"""What a stream on a GPU copies, makes and waits for, as the GPU itself counts it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.resize import has_compiled
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.pipeline.pipeline import Options
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import Source
from saliency_tubes.stream.sources.open import open_source
from samebytes import HERE, exact_manifest, run
from stubs import MemorySink

from gpu_double.pipelines import OnGpu

FRAMES, WARM = 90, 45
SIZE = (320, 240)
FRAME_BYTES = SIZE[0] * SIZE[1] * 3 // 2
CLIP_BYTES = 3 * 8 * 32 * 32 * 4
MADE = ("allocations", "frees", "pinned_allocations", "pinned_frees", "modules_loaded", "contexts_made", "streams_made")
IN_F = ("read", "draw")
"""Stages that only queue work: the beginnings of their functions' names."""


class Counting(Sink):
    """Takes frames where they are, and keeps what the GPU has counted by the WARM-th one, and by the last one."""

    takes = frozenset({"cuda:0"})

    def __init__(self, way: OnGpu) -> None:
        super().__init__("counting")
        self._way, self.reports, self.seen = way, [], 0
        self.threads: set[int] = set()

    def write(self, shown: Shown) -> None:
        assert shown.frame.image.where == "cuda:0"
        self.seen += 1
        if self.seen == WARM:
            self.reports.append(self._way.double.report)
        self.threads |= {
            thread.native_id or 0
            for thread in threading.enumerate()
            if thread.name.startswith(tuple(f"saliency-tubes _{stage}" for stage in IN_F))
        }

    def close(self) -> None:
        if len(self.reports) == 1:
            self.reports.append(self._way.double.report)


def counted(way: OnGpu, sync: str, sinks: list[Sink]) -> Counting:
    counting = Counting(way)
    source = open_source(f"test://?size={SIZE[0]}x{SIZE[1]}&rate=50&frames={FRAMES}")
    runner = way.runner(exact_manifest("stretch"))
    way.run(source, runner, Options(Target(0), hop=4, sync=sync), [counting, *sinks])
    assert counting.seen == FRAMES or sync == "live"  # a slow machine drops some
    way.close()
    return counting


@pytest.mark.parametrize("kind", ["discrete", "integrated"])
@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_after_the_first_frames_nothing_is_made_and_no_frame_comes_back(
    sync: str, kind: str, gpu_double: Callable[..., Any]
) -> None:
    way = OnGpu(gpu_double(kind=kind, seed=1))
    counting = counted(way, sync, [])
    before, after = counting.reports
    assert {name: after["counts"][name] - before["counts"][name] for name in MADE} == dict.fromkeys(MADE, 0)
    assert after["live"]["device"] == before["live"]["device"]
    assert (way.uploads, way.downloads) == (FRAMES, 0)
    whole = counting.seen - WARM
    up, down = (after["copied_bytes"][way_] - before["copied_bytes"][way_] for way_ in ("HtoD", "DtoH"))
    assert sync == "live" or up <= (whole + 1) * FRAME_BYTES
    assert down % CLIP_BYTES == 0  # nothing but clips of this test's network, which computes on the host
    assert after["copies"].get("DtoD", 0) == 0


@pytest.mark.parametrize("sync", ["aligned", "live"])
def test_the_threads_that_read_and_draw_wait_for_nothing_on_the_gpu(sync: str, gpu_double: Callable[..., Any]) -> None:
    way = OnGpu(gpu_double(seed=1))
    counting = counted(way, sync, [])
    before, after = (report["waits"] for report in counting.reports)
    waits = {key: after[key] - before.get(key, 0) for key in after if int(key.split("|")[0]) in counting.threads}
    assert counting.threads
    assert {key: count for key, count in waits.items() if count and "|waited|" in key} == {}
    assert not [key for key in after if "|spins" in key and key not in before]


def test_outputs_on_the_host_share_one_copy_of_each_frame(gpu_double: Callable[..., Any]) -> None:
    way = OnGpu(gpu_double(seed=1))
    sinks = [MemorySink(), MemorySink(), MemorySink()]
    counted(way, "aligned", sinks)
    assert (way.uploads, way.downloads) == (FRAMES, FRAMES)
    assert sinks[0].pictures == sinks[1].pictures == sinks[2].pictures


def test_a_stream_stays_within_the_memory_that_it_said(gpu_double: Callable[..., Any]) -> None:
    way = OnGpu(gpu_double(seed=1))
    counting = counted(way, "aligned", [])
    (said,) = way.reserved
    megabytes = int(said.partition(" MB")[0])
    report = counting.reports[-1]
    rest = 4e6  # of the network here, of tables and captions
    assert report["live"]["device_bytes"] <= (megabytes + 1) * 1e6 + rest
    assert megabytes * 1e6 <= report["live"]["device_bytes"]


class Changing:
    """A source whose pictures get another size, and their first one again."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            image, other = frame.image, 20 <= frame.index < 40
            size = (200, 150) if other else (image.width, image.height)
            yield replace(frame, image=fit(image, size, image.layout, image.color), gap=frame.index in (20, 40))


@pytest.mark.skipif(not has_compiled(), reason="installed without a C++ compiler")
def test_pictures_that_change_are_made_alike_on_the_gpu_with_the_hosts_bytes(gpu_double: Callable[..., Any]) -> None:
    def source() -> Source:
        made: Any = Changing(open_source("test://?size=160x96&rate=50&frames=60"))
        return cast("Source", made)

    way, options = OnGpu(gpu_double(seed=1)), Options(Target(0), hop=4)
    counting = Counting(way)
    way.run(source(), way.runner(exact_manifest("stretch")), options, [counting])
    assert (counting.seen, way.uploads, way.downloads) == (60, 60, 0)
    found = run(source(), way.runner(exact_manifest("stretch")), options, [], None, way)
    assert found == run(source(), HERE.runner(exact_manifest("stretch")), options, [], None, HERE)
    way.close()

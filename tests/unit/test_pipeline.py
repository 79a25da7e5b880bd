"""The pipeline with a network and a source whose answers are known: order, bytes, errors, and no thread left."""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import SinkError, SourceError
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from stubs import MemorySink, Slowed, StubRunner, StubSource

BRIGHT = Options(target=Target(0), hop=2)


def run(
    source=None, runner=None, sink=None, options=BRIGHT, leave_after=None
) -> tuple[MemorySink, list[Shown], Pipeline]:
    sink = sink or MemorySink()
    shown = []
    with Pipeline(source or StubSource(), runner or StubRunner(), [sink], options) as pipeline:
        for one in pipeline:
            shown.append(one)
            if len(shown) == leave_after:
                break
    return sink, shown, pipeline


def test_every_frame_comes_out_once_in_order_and_drawn():
    sink, shown, pipeline = run()
    assert sink.indices == list(range(40)) == [one.frame.index for one in shown]
    assert all(one.parts for one in shown)
    summary = pipeline.summary
    assert (summary.frames_read, summary.frames_written, summary.frames_dropped) == (40, 40, 0)
    assert summary.windows == len(sink.lines) == 17
    assert (sink.opened, sink.closed) == (1, 1)


def test_the_tube_is_drawn_where_the_block_is():
    size, frames = (512, 384), 90
    source = StubSource(frames, size)
    _, shown, _ = run(source, options=Options(target=Target(0), hop=1, style=Style(threshold=0.6)))
    for one in shown:
        chroma = np.abs(one.frame.picture.planes[1].astype(int) - 128)  # the frames themselves have none
        chroma[: size[1] // 4] = 0  # the caption
        columns = np.flatnonzero(chroma.any(axis=0))
        assert len(columns), f"nothing drawn at frame {one.frame.index}"
        # beyond the outer cells' centres the picture says no more than "this cell"
        drawn, block = np.clip([2 * columns.mean(), source.block(one.frame.index) + size[0] / 8], 64, 448)
        assert abs(drawn - block) <= 64, f"off by more than half a cell at frame {one.frame.index}"


baseline = run()[0]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_queue_timing_changes_nothing(seed):
    source, runner = Slowed(StubSource(), seed), Slowed(StubRunner(), seed + 1)
    sink = MemorySink()
    run(source, runner, Slowed(sink, seed + 2))
    assert sink.lines == baseline.lines
    assert sink.pictures == baseline.pictures


def test_a_slow_reader_changes_nothing():
    sink = MemorySink()
    with Pipeline(StubSource(), StubRunner(), [sink], BRIGHT) as pipeline:
        for one in pipeline:
            time.sleep(0.005 if one.frame.index % 7 == 0 else 0)
    assert (sink.lines, sink.pictures) == (baseline.lines, baseline.pictures)


@pytest.mark.parametrize("frames", [1, 2, 5, 7])
def test_a_video_shorter_than_the_window_is_explained(frames):
    sink, shown, _ = run(StubSource(frames))
    assert len(shown) == frames
    assert all(one.explanation for one in shown)
    record = json.loads(sink.lines[0])
    assert len(sink.lines) == 1
    assert record["repeated"] == 8 - frames
    assert record["frames"] == [0, frames - 1]


def test_the_tail_is_seen_by_a_window_of_its_own():
    sink, _, _ = run(StubSource(43), options=Options(target=Target(0), hop=8))
    assert [json.loads(line)["frames"] for line in sink.lines][-2:] == [[32, 39], [35, 42]]


def test_limit():
    sink, shown, pipeline = run(options=Options(target=Target(0), hop=2, limit=11))
    assert len(shown) == pipeline.summary.frames_read == 11
    assert json.loads(sink.lines[-1])["frames"] == [3, 10]


def test_timings_only_on_request():
    sink, _, _ = run(options=Options(target=Target(0), hop=2, timings=True))
    records = [json.loads(line) for line in sink.lines]
    assert {"decode", "sample", "infer", "tube"} <= set(records[0]["timings"])
    assert {"draw", "write"} <= set(records[-1]["timings"])
    assert all("timings" not in json.loads(line) for line in baseline.lines)


@pytest.mark.parametrize("sync", ["aligned", "live"])
@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ({"source": StubSource(fail_at=20)}, SourceError),
        ({"runner": StubRunner(fail_at=2)}, RuntimeError),
        ({"sink": MemorySink(fail_at=5)}, SinkError),
    ],
    ids=["source", "runner", "sink"],
)
def test_the_first_error_ends_everything_and_finishes_the_outputs(broken, error, sync):
    fresh = {name: type(part)(fail_at=part.fail_at) for name, part in broken.items()}
    sink = fresh.setdefault("sink", MemorySink())
    with pytest.raises(error, match="failed"):
        run(**fresh, options=Options(target=Target(0), hop=2, sync=sync))
    assert sink.closed == 1


def test_leaving_early_stops_the_threads_and_finishes_the_outputs():
    sink, shown, _ = run(StubSource(10_000), leave_after=3)
    assert len(shown) == 3
    assert sink.closed == 1
    assert len(sink.indices) < 200
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("saliency")]


def test_stop_drains_what_was_read():
    sink = MemorySink()
    with Pipeline(StubSource(10_000), StubRunner(), [sink], BRIGHT) as pipeline:
        for one in pipeline:
            if one.frame.index == 10:
                pipeline.stop()
    summary = pipeline.summary
    assert summary.frames_read == summary.frames_written == len(sink.indices) < 300
    assert sink.indices == list(range(len(sink.indices)))
    assert json.loads(sink.lines[-1])["frames"][1] == summary.frames_read - 1


def test_a_file_that_is_explained_live_plays_at_its_own_speed():
    start = time.monotonic()
    _, shown, _ = run(StubSource(11), options=Options(target=Target(0), sync="live"))
    assert len(shown) == 11
    assert time.monotonic() - start >= 10 / 25


def test_an_output_that_cannot_be_opened_closes_those_that_were():
    class Unopenable(MemorySink):
        def open(self, info):
            raise SinkError("memory: no")

    first = MemorySink()
    with pytest.raises(SinkError, match="no"), Pipeline(StubSource(), StubRunner(), [first, Unopenable()], BRIGHT):
        pass
    assert first.closed == 1


def test_a_signal_while_it_starts_leaves_nothing_running(monkeypatch):
    start, started, sink = threading.Thread.start, [], MemorySink()

    def interrupted(thread):
        if len(started) == 2:
            raise KeyboardInterrupt
        start(thread)
        started.append(thread)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Pipeline(StubSource(), StubRunner(), [sink], BRIGHT).__enter__()
    assert [thread.is_alive() for thread in started] == [False, False]
    assert sink.closed >= 1


def test_every_sink_is_finished_though_one_cannot_be():
    class Unclosable(MemorySink):
        def close(self):
            super().close()
            raise SinkError("memory: cannot be finished")

    second = MemorySink()
    with (
        pytest.raises(SinkError, match="finished"),
        Pipeline(StubSource(), StubRunner(), [Unclosable(), second], BRIGHT) as p,
    ):
        list(p)
    assert second.closed == 1


class TestLive:
    OPTIONS = Options(target=Target(0), sync="live")

    def test_plays_in_real_time_and_counts_every_frame(self):
        start = time.monotonic()
        sink, shown, pipeline = run(StubSource(30), StubRunner(delay=0.02), options=self.OPTIONS)
        assert time.monotonic() - start >= 29 / 25  # the last frame is due then
        summary = pipeline.summary
        assert summary.frames_read == 30 == summary.frames_written + summary.frames_dropped
        assert sink.indices == sorted(sink.indices)
        assert any(one.parts for one in shown)
        assert all(one.age > 0 for one in shown if one.parts)

    def test_frames_never_wait_for_the_network(self):
        _, shown, pipeline = run(StubSource(30), StubRunner(delay=0.5), options=self.OPTIONS)
        assert pipeline.summary.windows <= 4  # it was busy nearly all the time, and yet:
        assert len(shown) + pipeline.summary.frames_dropped == 30
        assert len(shown) >= 20

    def test_evidence_that_is_too_old_is_told(self):
        """A window takes a second: its tube is old when it comes, older at each frame, and never drawn."""
        options = replace(self.OPTIONS, max_age=0.1)
        ages, told = [], []
        with Pipeline(StubSource(60), StubRunner(delay=1.0), [MemorySink()], options) as pipeline:
            for shown in pipeline:
                now = pipeline.snapshot()
                ages.append(now.tube_age)
                told.append(now.tubes_too_old)
                assert not shown.parts
        known = [age for age in ages if not math.isnan(age)]
        assert math.isnan(ages[0])
        assert len(known) > 5
        assert min(known) > 0.6
        assert not any(math.isnan(age) for age in ages[-len(known) :])  # never again, once there was one
        assert told[-1]
        assert not told[0]
        assert (now.frames_drawn, now.drawn_ratio, now.max_age) == (0, 0, 0.1)
        assert pipeline.summary.saw[0].windows == pipeline.summary.windows > 0  # they were seen, if never drawn

    def test_a_slow_output_loses_the_oldest_frames_and_counts_them(self):
        class Slow(MemorySink):
            def write(self, shown):
                time.sleep(0.1)
                super().write(shown)

        sink, _, pipeline = run(StubSource(40), sink=Slow(), options=self.OPTIONS)
        summary = pipeline.summary
        assert summary.frames_dropped > 0
        assert summary.frames_read == 40 == summary.frames_written + summary.frames_dropped
        assert sink.indices[-1] == 39

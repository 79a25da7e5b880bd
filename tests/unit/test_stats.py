"""What a running pipeline says of itself, and what that costs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import pytest
from holding import held
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.app.job import plan_delay
from saliency_tubes.stream.pipeline.explainer import Look
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.telemetry import stats
from saliency_tubes.stream.telemetry.stats import Rate, Snapshot, Spread, Stats, resident_bytes
from stubs import MemorySink, StubCamera, StubRunner, StubSource
from waiting import ends

PICTURE = next(iter(StubSource(1))).picture


class Endless(StubCamera):
    """A camera at 100 fps that ends only when it is stopped; silent from frame `silent` on."""

    live = True

    def __init__(self, silent: int | None = None) -> None:
        super().__init__(10_000, reconnects=2, skips=4, overloaded=True, dropped=4, errors=3, lag=0.25)
        self.info = replace(self.info, rate=Fraction(100))
        self._stop, self._silent = threading.Event(), silent

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if self._stop.wait(None if frame.index == self._silent else 0.01):
                return
            yield frame

    def stop(self) -> None:
        self._stop.set()


def test_a_spread_is_made_of_values_that_were_measured():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 3.0, 3)
    assert Spread.of(list(map(float, range(101)))) == Spread(50.0, 95.0, 101)
    assert math.isnan(Spread.of([]).p50)


def test_a_rate_is_of_the_last_seconds():
    rate = Rate()
    for number in range(100):
        rate.tick(number * 0.1)
    assert rate.per_second(9.9, since=0) == pytest.approx(10, rel=0.05)
    assert rate.per_second(14.0, since=0) == pytest.approx(9 / 5, abs=0.2)
    assert rate.per_second(30.0, since=0) == 0
    early = Rate()
    early.tick(0.5)
    assert early.per_second(1.0, since=0) == 1  # one in the one second there was


def test_frames_that_nobody_fetched_in_time_came_all_the_same():
    """In the rate as in the count."""
    told = Stats()
    for number in range(1, 41):
        told.frame_in(number, late=3 * (number // 4))  # seven come while four are fetched
    assert told.rates(told.started + stats.RATE_OVER)[0] == (40 + 30) / stats.RATE_OVER
    told.frame_in(41, late=10**9)
    before = held(told)
    told.frame_in(42, late=2 * 10**9)
    assert held(told) < before + 10


def shown(index: int) -> Shown:
    return Shown(Frame(index, index, Fraction(1, 25), PICTURE))


def test_nothing_grows():
    told, sizes = Stats(), []
    for index in range(21_000):
        told.frame_in(index)
        if index % 3:  # the others are dropped on their way
            told.frame_out(shown(index))
        if index in (13_999, 20_999):
            sizes.append(held(told))
    assert sizes[0] == sizes[1] > stats.KEPT
    told.frame_in(21_000)
    assert told.arrival(20_999) is not None
    assert told.arrival(0) is None


def test_what_an_output_tells_of_itself():
    class Served(MemorySink):
        viewers = 3

    sink = Served()
    sink.state, sink.failed_logins = "retrying", 2
    with Pipeline(StubSource(), StubRunner(), [sink], Options(hop=2)) as pipeline:
        list(pipeline)
        time.sleep(0.01)
        (told,) = pipeline.snapshot().sinks
    assert (told.viewers, told.failed_logins, told.state) == (3, 2, "retrying")
    assert told.trying > 0


def test_a_snapshot_of_a_running_pipeline():
    now = None
    with Pipeline(Endless(), StubRunner(delay=0.01), [MemorySink()], Options(sync="live")) as pipeline:
        for shown in pipeline:
            if shown.frame.index >= 60 and now is None:
                now = pipeline.snapshot()
                pipeline.stop()
    assert isinstance(now, Snapshot)
    assert (now.alive, now.connected, now.state) == (True, True, "live")
    assert (now.reconnects, now.decoder_errors, now.lag) == (2, 3, 0.25)
    assert (now.skips, now.overloaded) == (4, True)
    assert now.frames_in > 60
    assert now.frames_in >= now.frames_out + now.dropped[("read", "queue full")] > 30
    assert 20 < now.fps_in < 110
    assert now.windows > 0 < now.window_rate
    assert {"decode", "sample", "wait", "infer", "tube", "draw", "write"} == set(now.stages)
    assert now.stages["infer"].p50 >= 0.01
    assert 0 < now.latency.p50 <= now.latency.p95
    assert now.tube_age > 0
    assert now.batch == 1  # nobody shares the model
    assert now.label in ("bright", "dark")
    assert set(now.queues) == {"read", "clip", "explained", "drawn", "shown"}
    assert now.dropped[("clip", "newer window")] > 0
    assert now.sinks[0].name == "memory"
    assert (now.sinks[0].viewers, now.sinks[0].failed_logins) == (None, None)
    with pytest.raises(FrozenInstanceError):
        now.frames_in = 0  # type: ignore[misc]
    ended = pipeline.snapshot()
    assert (ended.alive, ended.connected, ended.state) == (False, False, "ended")
    assert ended.dropped[("source", "too late")] == 4
    assert ended.frames_in == ended.frames_out + ended.dropped[("read", "queue full")] + 4
    summary = pipeline.summary
    assert summary.frames_read == summary.frames_written + summary.frames_dropped == ended.frames_in


def test_drops_of_outputs_are_told_by_reason():
    class Losing(MemorySink):
        def write(self, shown):
            super().write(shown)
            self._drop("too slow")

    with Pipeline(StubSource(), StubRunner(), [Losing()], Options(hop=2)) as pipeline:
        list(pipeline)
    assert pipeline.snapshot().dropped[("sink memory", "too slow")] == 40


@pytest.mark.parametrize("leave", ["stop", "break"])
def test_a_reader_that_waits_for_a_silent_camera_comes_back(leave):
    sink = MemorySink()
    with ends(), Pipeline(Endless(silent=20), StubRunner(), [sink], Options(sync="live")) as pipeline:
        for shown in pipeline:
            if shown.frame.index == 15:
                threading.Timer(0.2, pipeline.stop).start() if leave == "stop" else None
                if leave == "break":
                    break
    assert sink.closed == 1


def test_an_output_may_ask_for_the_end():
    sink = MemorySink()
    with Pipeline(Endless(), StubRunner(), [sink], Options(sync="live")) as pipeline:
        for shown in pipeline:
            sink.wants_stop = shown.frame.index > 10
    assert sink.closed == 1


def test_the_delay_is_held():
    delay, now = 0.4, None
    sink = MemorySink()
    with Pipeline(Endless(), StubRunner(), [sink], Options(hop=4, delay=delay)) as pipeline:
        for shown in pipeline:
            if shown.frame.index >= 100 and now is None:
                now = pipeline.snapshot()
                pipeline.stop()
    assert now.latency.p50 >= delay
    assert now.queues["read"] < 61  # as many as come in that time, and no more
    assert sink.indices == list(range(len(sink.indices)))
    assert now.dropped[("read", "queue full")] == 0


def test_what_delay_a_model_needs():
    # half a window and a hop at 25 fps, half as much again as the model takes, and a tenth
    assert plan_delay(16, 1, 4, 25.0, 0.1) == (4, pytest.approx((4 + 8) / 25 + 0.15 + 0.1))
    hop, _ = plan_delay(16, 1, 4, 25.0, 1.0)
    assert hop == 29  # it cannot be asked more often


def test_a_new_look_counts_from_the_next_frame_on():
    """Alpha 0 draws nothing at all, captions aside."""
    source = StubSource(200, (512, 384))
    pictures = []
    with Pipeline(source, StubRunner(), [], Options(target=Target(0), hop=2)) as pipeline:
        before = pipeline.overlay
        for shown in pipeline:
            chroma = shown.frame.picture.planes[1][96:]
            pictures.append(bool((chroma != 128).any()))
            if shown.frame.index == 50:
                pipeline.look = Look(Target(0), Style(alpha=0.0), 2.0)
    assert all(pictures[:50])
    assert not any(pictures[100:])
    assert pipeline.overlay is not before


def test_a_snapshot_can_be_changed_only_by_making_another():
    with Pipeline(StubSource(), StubRunner(), [], Options(hop=2)) as pipeline:
        list(pipeline)
    assert replace(pipeline.snapshot(), state="x").state == "x"


def test_memory_of_the_process() -> None:
    assert resident_bytes() > 1e6


def test_outputs_whose_names_hide_the_same_are_told_apart() -> None:
    """Prometheus takes no page on which two lines have the same labels."""
    sinks = [MemorySink() for _ in range(4)]
    for sink in sinks[1:]:
        sink.name = "rtmp://host/app/***"
    with Pipeline(StubSource(), StubRunner(), sinks, Options(hop=2)) as pipeline:
        list(pipeline)
    names = [sink.name for sink in pipeline.snapshot().sinks]
    assert names == ["memory", "rtmp://host/app/***", "rtmp://host/app/*** (2)", "rtmp://host/app/*** (3)"]


@pytest.mark.parametrize(
    ("description", "runtime", "precision"),
    [
        ("stub", "stub", "stub"),
        ("OpenVINO 2026.4 on CPU, f32", "OpenVINO 2026.4 on CPU", "f32"),
        ("OpenVINO on CPU, bf16 by AMX: 45 ms against 213 ms in f32, kept", "OpenVINO on CPU", "bf16 by AMX"),
        ("TensorRT 10 on H100, f32, a plan of its own, made now", "TensorRT 10 on H100", "f32"),
        ("TensorRT 10 on H100, plan a.plan, f16 I/O", "TensorRT 10 on H100, plan a.plan", "f16 I/O"),
    ],
)
def test_the_facts_name_runtime_and_precision(description: str, runtime: str, precision: str) -> None:
    facts = stats.facts_of(StubRunner(description=description), "avx2")
    assert facts == {"model": "stub", "runtime": runtime, "precision": precision, "overlay": "avx2"}

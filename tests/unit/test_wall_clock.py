"""When frames were taken: steady from gap to gap, whatever is done to the clocks."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame, WallTime
from saliency_tubes.stream.media.wall_clock import CameraClock, LocalClock
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from stubs import MemorySink, StubRunner, StubSource

NOON = 1_767_268_800.0
"""2026-01-01 12:00 UTC"""


def frame(index: int = 0, gap: bool = False, wall: WallTime | None = None) -> Frame:
    half = np.zeros((2, 2), np.uint8)
    picture = Picture(Layout.I420, (np.zeros((4, 4), np.uint8), half, half.copy()), Color())
    return Frame(index, index, Fraction(1, 25), picture, gap=gap, wall=wall)


class TestCameraClock:
    def test_nothing_before_the_camera_has_told(self) -> None:
        clock = CameraClock()
        assert clock.at(0.0, None, False) is None
        assert clock.at(1.0, NOON, False) == WallTime(NOON, "camera")
        assert clock.at(2.0, None, False) == WallTime(NOON + 1, "camera")

    def test_a_camera_that_was_never_set_is_not_believed(self) -> None:
        assert CameraClock().at(0.0, 12.0, False) is None

    def test_a_clock_that_is_set_counts_after_the_next_gap(self) -> None:
        clock = CameraClock()
        clock.at(0.0, NOON, False)
        assert clock.at(1.0, NOON + 7200, False) == WallTime(NOON + 1, "camera")
        assert clock.at(2.0, NOON + 7200, True) == WallTime(NOON + 7200, "camera")
        assert clock.at(3.0, None, True) is None  # another connection, which has not told yet

    def test_a_clock_that_drifts_is_followed(self) -> None:
        clock = CameraClock()
        times = []
        for index in range(20_000):
            seconds = index / 25
            times.append(clock.at(seconds, NOON + seconds * 1.0001, False))
        seen = [time.seconds for time in times if time is not None]
        assert seen[-1] == pytest.approx(NOON + 19_999 / 25 * 1.0001, abs=0.01)
        assert np.all(np.diff(seen) > 0)


class TestLocalClock:
    def test_set_by_hours_it_goes_on_evenly_until_the_next_gap(self, caplog: pytest.LogCaptureFixture) -> None:
        now, ahead = 100.0, NOON
        clock = LocalClock(lambda: now, lambda: now + ahead)
        assert clock.stamped(frame()).wall == WallTime(100 + NOON, "local")
        ahead += 7200
        with caplog.at_level(logging.WARNING):
            for _ in range(10):
                now += 1
                assert clock.stamped(frame(1)).wall == WallTime(now + NOON, "local")
        assert [record.getMessage()[:46] for record in caplog.records] == [
            "the clock of this machine was set by +7200 s: "
        ]
        now += 1
        assert clock.stamped(frame(2, gap=True)).wall == WallTime(now + NOON + 7200, "local")

    def test_what_the_camera_said_stays(self) -> None:
        said = WallTime(NOON, "camera")
        assert LocalClock().stamped(frame(wall=said)).wall is said


class Live(StubSource):
    live = True


class Told(Live):
    """Its camera tells the time, from the fifth frame on."""

    def __iter__(self):
        for one in super().__iter__():
            said = WallTime(NOON + one.time, "camera") if one.index >= 5 else None
            yield replace(one, wall=said)


def lines(source: StubSource, **options: object) -> list[dict]:
    sink = MemorySink()
    with Pipeline(source, StubRunner(), [sink], Options(target=Target(0), hop=4, **options)) as pipeline:
        list(pipeline)
    return [json.loads(line) for line in sink.lines]


def test_events_of_live_inputs_say_when_and_of_which_stream() -> None:
    for event in lines(Told(), name="door", delay=0.2):
        assert (event["stream"], event["clock"], event["version"]) == (
            "door",
            "camera",
            lines(StubSource())[0]["version"],
        )
        first, last = event["frames"]
        assert event["utc"] == [f"2026-01-01T12:00:0{index / 25:.3f}Z" for index in (first, last)]


def test_without_the_camera_s_time_it_is_this_machine_s() -> None:
    events = lines(Live(), delay=0.2)
    assert events
    assert {event["clock"] for event in events} == {"local"}
    assert all("stream" not in event and event["utc"][0] < event["utc"][1] for event in events)


def test_events_of_files_say_neither() -> None:
    assert all(not {"stream", "clock", "utc"} & set(event) for event in lines(StubSource(), name="door"))

"""A sink behind a queue: slow, stuck and broken ones harm nobody, and every frame is accounted for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from saliency_tubes.engine.errors import SinkError, UsageError
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.gst_load import Missing
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.backoff import Delays
from saliency_tubes.stream.sinks import threaded as worker
from saliency_tubes.stream.sinks.base import RefusedError, Sink
from saliency_tubes.stream.sinks.condition import SinkHealth
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.telemetry.events import Event
from stubs import make_event
from videos import make_info, make_shown
from waiting import wait_for

INFO = make_info(width=16, height=16)


class Fake(Sink):
    """Does what the test says, and remembers."""

    def __init__(self, reconnects: bool = False) -> None:
        super().__init__("fake")
        self.reconnects = reconnects  # type: ignore[misc]
        self.gate = threading.Event()
        self.gate.set()
        self.taken: list[int] = []
        self.lines: list[str] = []
        self.opened = self.closed = 0
        self.on_open: Callable[[int], None] = lambda count: None
        self.on_write: Callable[[int], None] = lambda count: None

    def open(self, info: VideoInfo) -> None:
        self.opened += 1
        self.on_open(self.opened)

    def write(self, shown: Shown) -> None:
        self.gate.wait(10)
        self.on_write(shown.frame.index)
        self.taken.append(shown.frame.index)
        self.frames_written += 1

    def event(self, event: Event) -> None:
        self.lines.append(event.json)
        self.events += 1

    def close(self) -> None:
        self.closed += 1


def fails(when: Callable[[int], bool], error: Exception) -> Callable[[int], None]:
    def act(count: int) -> None:
        if when(count):
            raise error

    return act


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "DELAYS", Delays(0.01, 10.0))


def test_everything_arrives_in_order() -> None:
    fake = Fake()
    sink = Threaded(fake, frames=100)
    sink.open(INFO)
    for index in range(50):
        sink.write(make_shown(index, index, INFO))
        sink.event(make_event(index))
    sink.close()
    assert fake.taken == list(range(50))
    assert len(fake.lines) == 50
    assert (sink.frames_written, sink.events, sink.dropped, sink.state, fake.closed) == (50, 50, 0, "closed", 1)


def test_a_slow_sink_gets_the_newest_and_the_caller_never_waits() -> None:
    fake = Fake()
    sink = Threaded(fake, frames=4)
    sink.open(INFO)
    fake.gate.clear()
    for index in range(1000):  # the sink behind takes none of them
        sink.write(make_shown(0, index, INFO, draw=lambda i, size: np.zeros((16, 16, 3), np.uint8)))
    assert sink.queued == 4
    fake.gate.set()
    sink.close()
    assert sink.frames_written + sink.dropped == 1000
    assert sink.drops == {"too slow": sink.dropped}


def test_frames_are_not_copied_and_nobody_can_change_them() -> None:
    fake = Fake()
    given: list[Shown] = []
    fake.write = given.append  # type: ignore[method-assign]
    sink = Threaded(fake)
    sink.open(INFO)
    shown = make_shown(0, 0, INFO)
    sink.write(shown)
    sink.close()
    assert given == [shown]
    for plane in shown.frame.picture.planes:
        with pytest.raises(ValueError, match="read-only"):
            plane[:] = 255


def test_pictures_are_not_kept_for_a_sink_that_takes_none() -> None:
    fake = Fake()
    fake.takes_pictures = False  # type: ignore[misc]
    sink = Threaded(fake, frames=4)
    sink.open(INFO)
    fake.gate.clear()
    shown = make_shown(0, 0, INFO)
    for _ in range(10):
        sink.write(shown)
        sink.event(make_event())
    assert (fake.taken, sink.dropped) == ([], 0)
    assert 9 <= sink.queued <= 10  # the lines, of which the first may be with the sink already, and no frame
    assert shown.frame.picture.planes[0].flags.writeable
    fake.gate.set()
    sink.close()
    assert (fake.taken, sink.events) == ([], 10)


def test_an_error_is_a_note_and_the_rest_is_counted() -> None:
    fake = Fake()
    fake.on_write = fails(lambda index: index == 3, SinkError("fake: the disk is gone"))
    sink = Threaded(fake, frames=100)
    sink.open(INFO)
    for index in range(10):
        sink.write(make_shown(index, index, INFO))
    wait_for(lambda: sink.state == "failed")
    sink.write(make_shown(10, 10, INFO))
    sink.close()
    assert sink.notes == ("the disk is gone; nothing more is written",)
    assert fake.taken == [0, 1, 2]
    assert sink.frames_written + sink.dropped == 11
    assert fake.closed == 1


def test_an_error_that_nobody_foresaw_does_not_kill_the_thread_in_silence() -> None:
    fake = Fake()
    fake.on_write = fails(lambda index: True, ZeroDivisionError("oh"))
    sink = Threaded(fake)
    sink.open(INFO)
    sink.write(make_shown(0, 0, INFO))
    wait_for(lambda: sink.state == "failed")
    sink.close()
    assert "ZeroDivisionError: oh" in sink.notes[0]


def test_a_file_that_cannot_be_made_is_told_at_once() -> None:
    fake = Fake()
    fake.on_open = fails(lambda count: True, SinkError("fake: no such folder"))
    sink = Threaded(fake)
    with pytest.raises(SinkError, match="no such folder"):
        sink.open(INFO)
    sink.close()


def test_a_server_that_is_not_there_yet() -> None:
    fake = Fake(reconnects=True)
    fake.on_open = fails(lambda count: count < 4, SinkError("fake: Connection refused"))
    sink = Threaded(fake, frames=4)
    sink.open(INFO)
    assert sink.state in ("connecting", "retrying")
    for index in range(20):
        sink.write(make_shown(index, index, INFO))
    wait_for(lambda: sink.state == "running" and sink.queued == 0)
    sink.close()
    assert (fake.opened, sink.reopened) == (4, 1)
    assert fake.taken[-1] == 19
    assert sink.frames_written + sink.dropped == 20
    assert set(sink.drops) == {"not connected"}
    assert sink.notes == ("it works again; what was wrong last: Connection refused",)


@pytest.mark.parametrize("every", [1, 7])
def test_a_hundred_breaks_in_a_row(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "DELAYS", Delays(0.002, 0.002))
    fake = Fake(reconnects=True)
    fake.on_write = fails(lambda index: index < 100 * every and index % every == 0, SinkError("fake: Broken pipe"))
    sink = Threaded(fake, frames=1000)
    sink.open(INFO)
    for index in range(100 * every + 5):
        sink.write(make_shown(index, index, INFO))
    wait_for(lambda: sink.queued == 0 and sink.state == "running")
    sink.close()
    assert sink.reopened == 100
    assert sink.drops == {"error": 100}
    assert sink.frames_written + sink.dropped == 100 * every + 5
    assert fake.opened - fake.closed == 0


@pytest.mark.parametrize("error", [UsageError("encoder must be x264, got 'nvnec'"), Missing("needs GStreamer")])
def test_what_can_never_work_is_not_tried_again(error: Exception) -> None:
    fake = Fake(reconnects=True)
    fake.on_open = fails(lambda count: True, error)
    sink = Threaded(fake)
    sink.open(INFO)
    wait_for(lambda: sink.state == "failed")
    time.sleep(0.1)
    sink.write(make_shown(0, 0, INFO))
    sink.close()
    assert fake.opened == 1
    assert sink.notes == (f"{error}; nothing more is written",)
    assert sink.drops == {"failed": 1}


def test_refused_credentials_are_not_tried_again_soon() -> None:
    fake = Fake(reconnects=True)
    fake.on_open = fails(lambda count: True, RefusedError("fake: the server refuses the password"))
    sink = Threaded(fake)
    sink.open(INFO)
    time.sleep(0.3)
    sink.close()
    assert fake.opened == 1
    assert "refuses" in sink.notes[0]


def test_a_refused_login_is_tried_ever_more_rarely() -> None:
    assert [worker.REFUSED_DELAYS.after(count) for count in range(1, 9)] == [10, 20, 40, 80, 160, 320, 600, 600]


def test_what_the_sink_says_of_itself_is_said_here() -> None:
    fake = Fake()
    fake.description, fake.failed_logins, fake.notes = "H.264", 3, ("one", "two")
    sink = Threaded(fake)
    sink.open(INFO)
    fake.name = "fake-1"  # as a file that got a number
    fake._drop("slow client", 2)
    sink.write(make_shown(0, 0, INFO))
    sink.event(make_event())
    wait_for(lambda: sink.frames_written == sink.events == 1)
    health = sink.health()
    assert (health.name, health.description, health.note) == ("fake-1", "H.264", "two")
    assert (health.frames_written, health.events, health.dropped, health.failed_logins) == (1, 1, 2, 3)
    sink.close()
    sink.event(make_event())
    assert sink.health().drops == {"slow client": 2, "at the end": 1}
    assert sink.health().dropped == sink.dropped == 3
    with pytest.raises(AttributeError, match="no attribute 'port'"):
        sink.port  # noqa: B018


def test_events_are_not_lost_by_an_output_that_takes_none() -> None:
    class Pictures(Sink):
        reconnects = True

        def open(self, info: VideoInfo) -> None:
            raise SinkError("pictures: nobody answers")

    sink = Threaded(Pictures("pictures"))
    sink.open(INFO)
    sink.event(make_event())
    sink.write(make_shown(0, 0, INFO))
    sink.close()
    assert (sink.takes_events, sink.health().dropped) == (False, 1)
    assert Threaded(Fake()).takes_events


def test_the_end_waits_for_what_is_queued_but_not_for_ever() -> None:
    fake = Fake()
    fake.on_write = lambda index: time.sleep(0.05)
    sink = Threaded(fake, frames=100, drain_seconds=0.2)
    sink.open(INFO)
    for index in range(100):
        sink.write(make_shown(0, index, INFO))
    sink.close()
    assert 1 <= sink.frames_written < 100
    assert sink.drops == {"at the end": 100 - sink.frames_written}


def test_a_stuck_sink_is_given_up() -> None:
    fake = Fake()
    fake.close_seconds = 0.1
    sink = Threaded(fake, drain_seconds=0.1)
    sink.open(INFO)
    fake.gate.clear()
    sink.write(make_shown(0, 0, INFO))
    sink.close()
    assert sink.state == "closed"
    assert "given up" in sink.notes[0]
    fake.gate.set()


def test_close_without_open_and_twice() -> None:
    sink = Threaded(Fake())
    sink.close()
    sink.open(INFO)
    sink.close()
    sink.close()


def test_the_wish_to_stop_comes_through() -> None:
    fake = Fake()
    fake.on_write = lambda index: setattr(fake, "wants_stop", True)
    sink = Threaded(fake)
    sink.open(INFO)
    sink.write(make_shown(0, 0, INFO))
    wait_for(lambda: sink.wants_stop)
    sink.close()


@pytest.mark.parametrize("wrong", [{"queued": -1}, {"drops": {"too slow": -1}}, {"trying": -0.1}])
def test_the_health_of_an_output_is_checked_when_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        SinkHealth("out.mp4", **wrong)

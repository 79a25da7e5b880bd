"""What is shown and told while a camera is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import pytest
from saliency_tubes.engine.draw.host import HostPlace
from saliency_tubes.engine.draw.notice import notice
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.downloads import Downloads
from saliency_tubes.stream.pipeline.outage import GRACE, Outage, no_signal
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.telemetry.stats import Stats
from stubs import MemorySink, StubCamera, StubRunner
from videos import make_info, make_shown
from waiting import LONG

NOON = datetime(2026, 3, 4, 10, 41, 37).timestamp()
INFO = make_info(width=320, height=240)


class Camera(StubCamera):
    """Gives its frames, is away for a while, and gives the rest, whose pts go on as the wall clock did."""

    def __init__(self, away: float = 0.0) -> None:
        super().__init__(40)
        self._away = away

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            if frame.index == 20 and self._away:
                self.change(connected=False)
                time.sleep(self._away)
                self.change(connected=True)
            late = round(self._away * 25) if frame.index >= 20 else 0
            time.sleep(0.01)
            yield Frame(frame.index, frame.pts + late, frame.time_base, frame.picture, gap=frame.index == 20)


class World:
    """An outage whose clocks the test moves."""

    def __init__(self) -> None:
        self.now, self.ahead = 1000.0, NOON - 1000.0
        self.source, self.stats = Camera(), Stats()
        self.shown: list[Shown] = []
        self.told: list[float | None] = []
        self.outage = Outage(
            self.source, self.stats, Downloads(HostPlace()), self.told.append,
            clock=lambda: self.now, wall=lambda: self.now + self.ahead,
        )  # fmt: skip
        for index in range(3):
            self.stats.frame_in(index)
        self.stats.arrived = self.now
        self.outage.last = make_shown(2, 2 * 512, INFO)

    def look(self, seconds: float = 0.25) -> None:
        self.now += seconds
        shown = self.outage.look()
        self.shown += [] if shown is None else [shown]


class TestOutage:
    def test_a_stream_that_skips_to_the_present_is_none(self) -> None:
        """However long its next key frame takes; a camera that cannot be reached then is one."""
        world = World()
        world.source.change(connected=False, state="skipping: fell 1.9 s behind the camera")
        for _ in range(20):
            world.look()
        assert (world.shown, world.told) == ([], [])
        world.source.change(state="waiting 0.2 s: gone")
        world.look()
        assert len(world.shown) == len(world.told) == 1

    def test_a_camera_that_is_there_is_none(self) -> None:
        world = World()
        for _ in range(40):
            world.look()
        assert (world.shown, world.told) == ([], [])

    def test_frames_go_on_four_a_second_and_end_with_it(self) -> None:
        world = World()
        world.source.change(connected=False)
        for _ in range(12):
            world.look()
        assert world.told == [NOON]
        assert [shown.frame.time for shown in world.shown] == [
            pytest.approx(2 / 25 + away / 4) for away in range(round(4 * GRACE), 13)
        ]
        assert all(shown.outage and shown.frame.index == 2 and not shown.parts for shown in world.shown)
        assert len({id(shown.frame.picture) for shown in world.shown}) == 1  # drawn once
        world.source.change(connected=True)
        count = len(world.shown)
        world.look()
        world.look()
        assert (world.told, len(world.shown)) == ([NOON, None], count)

    def test_one_that_is_back_at_once_is_none(self) -> None:
        world = World()
        world.source.change(connected=False)
        world.look(GRACE - 0.1)
        world.source.change(connected=True)
        world.look()
        assert (world.shown, world.told) == ([], [])

    def test_one_that_comes_and_goes_between_two_looks_begins_another(self) -> None:
        world = World()
        world.source.change(connected=False)
        world.look(2)
        world.stats.frame_in(3)
        world.stats.arrived = world.now + 0.1
        world.outage.last = make_shown(3, 3 * 512, INFO)
        for _ in range(6):
            world.look()
        assert world.told == [NOON, None, pytest.approx(NOON + 2.1)]
        assert world.shown[0].frame.picture is not world.shown[-1].frame.picture

    def test_frames_on_their_way_go_first(self) -> None:
        world = World()
        world.source.change(connected=False)
        world.stats.frame_in(3)
        world.stats.arrived = world.now
        world.look(5)
        assert (world.shown, world.told) == ([], [NOON])
        world.outage.last = make_shown(3, 3 * 512, INFO)
        world.look()
        assert len(world.shown) == 1

    def test_a_clock_that_is_set_changes_no_beginning(self) -> None:
        world = World()
        world.source.change(connected=False)
        world.look(2)
        world.ahead += 3600
        world.look(2)
        assert world.told == [NOON]
        assert world.shown[0].frame.picture is world.shown[1].frame.picture


def test_the_text_is_local_time_and_names_another_day() -> None:
    later = (datetime.fromtimestamp(NOON) + timedelta(days=1)).timestamp()
    assert no_signal(NOON, NOON + 5) == "no signal since 10:41:37"
    assert no_signal(NOON, later) == "no signal since 2026-03-04 10:41:37"


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("full", [False, True])
def test_the_picture_is_dark_grey_with_a_bright_line(layout: Layout, full: bool) -> None:
    info = make_info(width=320, height=240, layout=layout, color=Color("bt601", full))
    picture = make_shown(7, 0, info).frame.picture
    before = [plane.copy() for plane in picture.planes]
    made = notice(picture, "no signal since 10:41:37")
    assert (made.layout, made.color) == (picture.layout, picture.color)
    assert all(np.array_equal(a, b) for a, b in zip(before, picture.planes, strict=True))
    was, rgb = picture.rgb().astype(int), made.rgb().astype(int)
    assert np.ptp(rgb, axis=2).max() <= 3  # grey
    assert rgb[:80].mean() == pytest.approx(0.45 * was[:80].mean(), rel=0.25)
    assert rgb.max() >= 250
    assert rgb[115:125].max() >= 250
    assert rgb[:80].max() < 140


@pytest.mark.parametrize("size", [(16, 16), (64, 48), (1920, 1080), (96, 720)])
@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_any_size_has_room_for_it(size: tuple[int, int], aspect: float) -> None:
    picture = make_shown(0, 0, make_info(width=size[0], height=size[1])).frame.picture
    made = notice(picture, "no signal since 2026-03-04 10:41:37", aspect)
    assert [plane.shape for plane in made.planes] == [plane.shape for plane in picture.planes]


class Screen(MemorySink):
    shows_outages = True

    def __init__(self) -> None:
        super().__init__()
        self.outages: list[Shown] = []
        self.pts: list[int] = []
        self.signals: list[float | None] = []

    def write(self, shown: Shown) -> None:
        self.pts.append(shown.frame.pts)
        if shown.outage:
            self.outages.append(shown)
        else:
            super().write(shown)

    def signal(self, since: float | None) -> None:
        self.signals.append(since)


@pytest.mark.parametrize("sync", ["live", "aligned"])
def test_through_the_pipeline(sync: str) -> None:
    screen, film = Screen(), MemorySink()
    options = Options(target=Target(0), hop=4, sync=sync, delay=0.2 if sync == "aligned" else 0.0)
    with Pipeline(Camera(2.2), StubRunner(), [screen, film], options) as pipeline:
        shown = list(pipeline)
    assert len(screen.outages) >= 3
    assert film.indices == screen.indices == [one.frame.index for one in shown]
    assert screen.pts == sorted(set(screen.pts))
    assert screen.signals[0] is not None
    assert abs(time.time() - screen.signals[0]) < LONG
    assert screen.signals[1:] == [None]
    snapshot = pipeline.snapshot()
    assert snapshot.outage_frames == len(screen.outages)
    assert snapshot.frames_in == 40 == snapshot.frames_out + snapshot.frames_dropped
    assert snapshot.frames_out == len(shown)


def test_behind_a_queue_they_are_in_no_count() -> None:
    class Slow(Screen):
        def write(self, shown: Shown) -> None:
            time.sleep(0.02)
            super().write(shown)
            self.frames_written += not shown.outage

    sink = Threaded(Slow(), frames=2)
    assert sink.shows_outages
    sink.open(INFO)
    for index in range(60):
        frame = make_shown(index // 3, index, INFO).frame
        sink.write(Shown(frame, (), outage=index % 3 > 0))
    sink.close()
    sink.write(Shown(make_shown(0, 0, INFO).frame, (), outage=True))
    assert sink.frames_written + sink.dropped == 20


def test_behind_a_queue_they_are_told_at_once() -> None:
    told: list[float | None] = []

    class Told(MemorySink):
        def signal(self, since: float | None) -> None:
            told.append(since)

    sink = Threaded(Told())
    sink.open(INFO)
    sink.signal(NOON)
    sink.signal(None)
    assert told == [NOON, None]
    sink.close()


def test_what_is_in_hand_when_it_is_given_up_is_counted() -> None:
    class Stuck(MemorySink):
        close_seconds = 0.1

        def write(self, shown: Shown) -> None:
            time.sleep(1.0)

    sink = Threaded(Stuck(), frames=2, drain_seconds=0.1)
    sink.open(INFO)
    for index in range(2):
        sink.write(make_shown(index, index, INFO))
    sink.close()
    assert sink.dropped == 2
    time.sleep(1.0)  # its thread ends

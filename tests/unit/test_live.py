"""Staying alive, without time and without a network: scripted connections and a clock that only waiting moves."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.engine.fit import fit, from_rgb
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.stream.media.info import first_rate
from saliency_tubes.stream.media.timeline import LIVE_TIME_BASE, LiveTimeline
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.redact import redact, secrets
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import (
    Backlog,
    FeedBehind,
    FeedEnded,
    FeedError,
    FeedFrame,
    FeedLost,
    FeedRefused,
)
from saliency_tubes.stream.sources.live import LiveSource
from saliency_tubes.stream.sources.patience import Patience, backoff

Step = int | Fraction | str | Exception
"""What a connection does next: give a frame with this pts in 1/25 s, or without one and with this rate; nothing for a
while; or fail."""
DENIED = FeedRefused("wrong user or password (401)", credentials=True)


def picture(width: int = 32, height: int = 16, value: int = 100) -> Picture:
    half = np.full((height // 2, width // 2), 128, np.uint8)
    return Picture(Layout.I420, (np.full((height, width), value, np.uint8), half, half.copy()), Color("bt601"))


class World:
    """A clock, and servers that follow a script: one sequence of steps for each attempt to connect."""

    def __init__(self, *scripts: Sequence[Step] | Exception) -> None:
        self.now = 1000.0
        self.waits: list[float] = []
        self.attempts = self.closed = 0
        self._scripts = list(scripts)
        self.when: Callable[[], object] = lambda: None
        self.before_connecting: Callable[[], object] = lambda: None
        self.took, self.bursts = 0.04, False
        """seconds from frame to frame, as they come; whether they come in bursts"""

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return bool(self.when())

    def connect(self) -> Feed:
        self.before_connecting()
        self.attempts += 1
        script = self._scripts.pop(0) if self._scripts else FeedLost("no more connections")
        if isinstance(script, Exception):
            raise script
        return Feed(self, script)

    def open(self, patience: Patience | None = None, **options: Any) -> LiveSource:
        return LiveSource(self.connect, "rtsp://camera", patience, clock=self.clock, wait=self.wait, seed=1, **options)


class Feed:
    def __init__(self, world: World, script: Sequence[Step]) -> None:
        self.errors, self.dropped, self.bursts, self.idle = 1, 2, world.bursts, 0.0
        self._world, self.script = world, list(script)

    def read(self, timeout: float) -> FeedFrame | None:
        step = self.script.pop(0) if self.script else "silence"
        if isinstance(step, Exception):
            raise step
        if step == "silence":
            self._world.now += timeout
            return None
        self._world.now += self._world.took
        made = picture(64, 32) if step == "larger" else picture()
        pts = step if isinstance(step, int) else None
        rate = step if isinstance(step, Fraction) else Fraction(60 if step == "faster" else 25)
        return FeedFrame(made, self._world.now, pts, Fraction(1, 25), rate=rate)

    def close(self) -> None:
        self._world.closed += 1


def test_a_stream_that_falls_behind_begins_at_the_present_again() -> None:
    """Each frame takes twice as long as it should, of both connections."""
    world = World(list(range(1000)), list(range(1000)))
    world.took = 0.08
    states, connect = [], world.connect

    def told_meanwhile() -> Feed:
        if world.attempts:
            states.append(source.health().state)
        return connect()

    source = LiveSource(told_meanwhile, "x", Patience(retries=1), clock=world.clock, wait=world.wait, seed=1)
    assert not source.health().overloaded
    seen = ((frame, source.health().skips, source.health().overloaded, source.health().lag) for frame in source)
    told = drain(seen)
    frames = [frame for frame, *_ in told]
    assert max(lag for *_, lag in told) < 2.0
    assert {(skips, overloaded) for _, skips, overloaded, _ in told} == {(0, False), (1, True)}
    assert [(skips, lag) for frame, skips, _, lag in told if frame.gap] == [(1, 0)]
    assert [frame.gap for frame in frames].count(True) == 1
    assert (source.health().skips, source.reconnects) == (2, 1)
    assert [state[:16] for state in states[:2]] == ["skipping: fell 1"] * 2, states
    assert "fell behind the camera, and began at the present again: 2 times" in "\n".join(source.remarks)
    assert not any(remark.startswith("reconnected") for remark in source.remarks)
    world.now += 61
    assert not source.health().overloaded


GONE = FeedLost("the server ended the stream")
ONCE = Patience(retries=1)


def seconds(frames: Sequence[Any]) -> list[float]:
    return [round(frame.time, 2) for frame in frames]


def drain(source: Iterable[Any]) -> list[Any]:
    """All frames, until it gives up."""
    frames: list[Any] = []
    with pytest.raises(SourceError, match="gave up after"):
        frames.extend(source)  # what came before the error stays
    return frames


def test_one_stream_of_two_connections() -> None:
    world = World([0, 1, 2, GONE], [500, 501, 502, GONE])
    source = world.open(ONCE)
    assert source.health().state == "live"
    frames = drain(source)
    assert [frame.index for frame in frames] == list(range(6))
    assert [frame.gap for frame in frames] == [False, False, False, True, False, False]
    assert seconds(frames[:3]) == [0, 0.04, 0.08]
    # Over the reconnect, time goes on by the wall clock: the wait and one frame.
    assert frames[3].time - frames[2].time == pytest.approx(world.waits[0] + 0.04, abs=0.001)
    assert frames[5].time - frames[3].time == pytest.approx(0.08)
    assert {frame.time_base for frame in frames} == {LIVE_TIME_BASE}
    assert (source.reconnects, source.health().errors, source.health().dropped, world.closed) == (1, 2, 4, 2)
    assert not source.health().connected
    assert source.last_error == "no more connections"


def test_another_rate_begins_a_window_of_its_own() -> None:
    world = World([0, 1, "faster", "faster", GONE], ["faster", "faster", GONE])
    source = world.open(ONCE)
    frames = drain(source)
    assert [frame.rate for frame in frames] == [None, None, 60, None, None, None]
    assert [frame.gap for frame in frames] == [False, False, True, False, True, False]
    assert "the rate changes from 25 to 60 fps at frame 2" in source.remarks


def test_a_rate_that_creeps_is_another_one_in_the_end() -> None:
    frames = drain(World([0, *map(Fraction, (26, 27, 28, 29, 30)), GONE]).open(ONCE))
    assert [frame.rate for frame in frames] == [None, None, None, 28, None, None]


def test_whoever_counts_while_a_connection_ends_never_sees_less_than_before() -> None:
    counted: list[tuple[int, int]] = []

    class Watched(Feed):
        """Somebody looks whenever its counts are read, and while it is closed."""

        def __getattribute__(self, name: str) -> Any:
            if name in ("errors", "close") and world.attempts and not looking:
                looking.append(name)
                counted.append((source.health().errors, source.health().dropped))
                looking.clear()
            return super().__getattribute__(name)

    looking = ["not yet"]
    world = World([0, 1, GONE], [2, GONE])
    connect = world.connect
    world.connect = lambda: Watched(world, connect().script)  # type: ignore[method-assign]
    source = world.open(ONCE)
    looking.clear()
    drain(source)
    assert counted[0] == (1, 2)
    assert counted == sorted(counted)
    assert (source.health().errors, source.health().dropped) == (2, 4)


def test_a_frozen_server_is_noticed_in_time() -> None:
    world = World([0, 1], [0, GONE])
    source = world.open(Patience(stall=2.0, retries=1))
    frames = iter(source)
    next(frames)
    next(frames)
    before = world.now
    assert next(frames).gap
    assert "no frame for 2.0 s" in source.last_error
    assert world.now - before < 2.0 + 0.25 + 0.04
    source.close()


def test_a_reader_that_was_busy_is_no_stall() -> None:
    world = World([0, 1, "silence", 30, GONE])
    source = world.open(Patience(stall=2.0, retries=0))
    frames = iter(source)
    next(frames)
    next(frames)
    world.now += 60  # a model that takes long to load
    assert next(frames).index == 2
    assert source.reconnects == 0
    source.close()


def test_a_frame_now_and_then_is_no_stall() -> None:
    world = World([0, *["silence"] * 7, 50, *["silence"] * 7, 100, GONE])
    frames = drain(world.open(Patience(retries=0)))
    assert seconds(frames) == [0, 2, 4]


def test_wrong_credentials_do_not_hammer() -> None:
    world = World([0, GONE], *[DENIED] * 12, [0, GONE])
    source = world.open(Patience(retries=13))
    frames = iter(source)
    next(frames)
    assert next(frames).gap
    refused = world.waits[1:]
    assert len(refused) == 12
    assert refused[0] == 1
    assert all(0.75 * 0.8 * 2**i <= wait <= 0.8 * 2**i for i, wait in enumerate(refused[1:5], 1))
    assert all(22.5 <= wait <= 30 for wait in refused[6:])
    source.close()


def test_refusals_are_counted_whatever_goes_wrong_between_them() -> None:
    world = World([0, GONE], *[DENIED, FeedLost("Connection refused")] * 7, [0, GONE])
    source = world.open()
    frames = iter(source)
    next(frames)
    next(frames)
    assert all(0.75 * min(30, 0.8 * 2**i) <= wait <= min(30, 0.8 * 2**i) for i, wait in enumerate(world.waits[3::2], 1))
    assert len(world.waits[3::2]) == 6
    source.close()


def test_a_login_that_works_for_a_moment_ends_the_waiting() -> None:
    world = World(*[[0, GONE], DENIED] * 7, [0, GONE])
    source = world.open()
    frames = iter(source)
    for _ in range(8):
        next(frames)
    assert world.waits[1::2] == [1] * 7
    source.close()


def test_a_server_that_is_away_is_asked_soon_and_then_once_a_second() -> None:
    world = World([0, GONE], *[FeedLost("Connection refused")] * 50, [0, GONE])
    source = world.open()
    frames = iter(source)
    next(frames)
    next(frames)
    assert world.waits[0] <= 0.2
    assert max(world.waits) <= 1.0
    assert min(world.waits[5:]) >= 0.75
    assert len(set(world.waits[5:])) > 40, "all would come at once"
    source.close()


def test_the_first_connection() -> None:
    with pytest.raises(SourceError, match=r"^rtsp://camera: wrong user or password \(401\)$"):
        World(DENIED).open()
    with pytest.raises(SourceError, match="nothing there"):
        World(FeedRefused("nothing there under that name (404)")).open()
    away = World()
    with pytest.raises(SourceError, match="no more connections"):
        away.open(Patience(first=10))
    assert 10 <= away.now - 1000 <= 11.1
    silent = World(*[["silence"] * 100] * 10)
    with pytest.raises(SourceError, match="no frame for"):
        silent.open(Patience(first=10))
    assert silent.closed == silent.attempts


def test_waiting_for_the_first_frame_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    world = World(*[FeedLost("Connection refused")] * 100, DENIED, [0, 1, GONE])
    with caplog.at_level(logging.WARNING, "saliency_tubes"):
        source = world.open(Patience(wait=True))
    reasons = [record.getMessage().rpartition("waited for: ")[2] for record in caplog.records]
    assert reasons == ["Connection refused", "wrong user or password (401)"]  # each once
    assert world.now > 1060
    assert next(iter(source)).index == 0
    assert source.reconnects == 0
    source.close()


def test_who_is_given_up_tries_no_more_before_the_first_frame() -> None:
    world = World(*[FeedLost("Connection refused")] * 100)
    with pytest.raises(SourceError, match="stopped before its first frame"):
        world.open(Patience(wait=True), given_up=lambda: world.attempts == 3)
    assert (world.attempts, len(world.waits)) == (3, 2)  # and nobody waits for an attempt that is not to be made


def test_why_it_connects_again_is_told_meanwhile() -> None:
    world, states = World([0, FeedLost("nothing came for 2 s")], [1, GONE], [2, GONE]), []
    connect = world.connect

    def told_meanwhile() -> Feed:
        states.append(source.health().state if world.attempts else "")
        return connect()

    source = LiveSource(told_meanwhile, "x", Patience(retries=1), clock=world.clock, wait=world.wait, seed=1)
    drain(source)
    assert states[1:3] == ["connecting: nothing came for 2 s", f"connecting: {GONE}"]


def test_what_no_attempt_can_mend_is_raised() -> None:
    with pytest.raises(UsageError, match="no such pipeline"):
        World(UsageError("no such pipeline")).open(Patience(wait=True))


def test_something_with_an_end_ends() -> None:
    world = World([0, 1, FeedEnded("it has ended")])
    assert len(list(world.open())) == 2
    assert world.attempts == world.closed == 1


def test_stop_ends_the_waiting() -> None:
    world = World([0, GONE])
    source = world.open()
    world.when = lambda: source.stop() or True
    assert len(list(source)) == 1
    assert source.health().state == "stopped"
    source.close()
    source.close()
    assert list(source) == []


def test_states_that_are_seen_while_waiting() -> None:
    world = World([0, GONE], DENIED, [0, GONE])
    source = world.open()
    seen: list[tuple[str, bool]] = []
    world.when = lambda: seen.append((source.health().state, source.health().connected))
    frames = iter(source)
    next(frames)
    next(frames)
    assert seen == [
        ("waiting 0.2 s: the server ended the stream", False),
        ("waiting 1.0 s: wrong user or password (401)", False),
    ]
    source.close()


@pytest.mark.parametrize(
    ("error", "while_closing", "while_connecting"),
    [
        (GONE, r"waiting 0\.2 s: the server ended", "connecting: the server ended"),
        (FeedBehind(2.5), r"skipping: fell 2\.5 s behind", r"skipping: fell 2\.5 s behind"),
    ],
)
def test_why_a_connection_was_lost_is_seen_until_the_next_one_gives_a_frame(
    error: FeedError, while_closing: str, while_connecting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World([0, error], [0, GONE])
    source = world.open()
    seen: list[str] = []
    monkeypatch.setattr(Feed, "close", lambda _: seen.append(source.health().state))
    world.before_connecting = lambda: seen.append(source.health().state)
    frames = iter(source)
    next(frames)
    next(frames)
    assert len(seen) == 2
    assert re.match(while_closing, seen[0])
    assert re.match(while_connecting, seen[1])
    source.close()


def test_another_size_is_followed_and_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World([0, "larger", "larger", GONE], [0, GONE])
    source = world.open(ONCE, stream="door")
    frames, lines = iter(source), []
    with caplog.at_level(logging.INFO, "saliency_tubes"):
        for size in ((32, 16), (64, 32), (64, 32), (32, 16)):
            frame = next(frames)
            assert (frame.picture.width, frame.picture.height) == size
            lines.append([record.getMessage() for record in caplog.records])
            assert frame.gap == (frame.index in (1, 3))
    source.close()
    larger = "the picture changes to 64x32 at frame 1; recordings go on in that size, all else is scaled to fit 32x16"
    again = "the picture changes to 32x16 at frame 3"
    told = [larger, again]
    assert lines == [[], told[:1], told[:1], told]
    assert {record.stream for record in caplog.records} == {"door"}  # type: ignore[attr-defined]
    assert [line for line in source.remarks if "changes" in line] == [larger]


def test_bursts_are_paced() -> None:
    world = World([*range(100), FeedEnded("it has ended")])
    world.took, world.bursts = 0.001, True
    source = world.open()
    start = world.now
    stamps = []
    for frame in source:
        stamps.append(world.now - frame.time)
        assert math.isnan(source.health().lag)  # a burst's first frames are old, and nothing is wrong
    assert max(stamps) - min(stamps) < 0.05
    assert world.now - start >= 3.9
    source.close()


@pytest.mark.parametrize("wrong", [{"stall": 0}, {"first": -1}, {"retries": -1}])
def test_patience_is_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Patience(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [{"backend": "vlc"}, {"transport": "sctp"}, {"size": (0, 1)}, {"rate": 0}, {"stall": -1}, {"retries": -1}],
)
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        SourceOptions(**wrong)


def test_a_login_refused_for_weeks_is_still_tried() -> None:
    delays = backoff(seed=1)
    waits = [delays.next(refused=True) for _ in range(3000)]
    assert max(waits) <= 30
    assert min(waits[10:]) >= 22


@pytest.mark.parametrize(
    ("rates", "rate"),
    [
        ((None, None, Fraction(90_000)), None),  # H.265 in MPEG-TS that names no rate
        ((Fraction(0), None, Fraction(1000)), None),
        ((None, Fraction(25), Fraction(90_000)), Fraction(25)),
        ((Fraction(90_000), Fraction(30_000, 1001)), Fraction(30_000, 1001)),
    ],
)
def test_ticks_of_a_clock_are_no_frame_rate(rates: tuple[Fraction | None, ...], rate: Fraction | None) -> None:
    assert first_rate(*rates) == rate


def test_backoff_starts_anew_after_a_steady_connection() -> None:
    delays = backoff(seed=2)
    for _ in range(8):
        delays.next()
    delays.reset()
    assert delays.next() <= 0.2


class TestLiveTimeline:
    @given(
        st.lists(
            st.tuples(st.one_of(st.none(), st.fractions(-1000, 1000)), st.floats(0, 10), st.booleans()),
            max_size=60,
        )
    )
    def test_always_increases(self, steps: list[tuple[Fraction | None, float, bool]]) -> None:
        line, now, given_out = LiveTimeline(), 50.0, []
        for time, passed, again in steps:
            now += passed
            if again:
                line.reconnect()
            given_out.append(line.next(time, now)[0])
        assert all(a < b for a, b in pairwise(given_out))

    def test_the_streams_own_times_pass(self) -> None:
        line = LiveTimeline(Fraction(30))
        # Arrival jitters, by a stall of the network even; times do not.
        arrived = [i / 30 + (0.4 if 20 < i < 33 else 0.01 * (i % 3)) for i in range(90)]
        made = [line.next(77 + Fraction(i, 30), at) for i, at in enumerate(arrived)]
        assert made == [(3000 * i, False) for i in range(90)]

    @pytest.mark.parametrize("jump", [-3600, -2, 3600])
    def test_a_clock_that_is_set(self, jump: int) -> None:
        line = LiveTimeline(Fraction(25))
        for i in range(10):
            line.next(Fraction(i, 25), i / 25)
        pts, gap = line.next(Fraction(10, 25) + jump, 10 / 25)
        assert (pts, gap, line.jumps, line.lag) == (36_000, True, 1, 0)
        assert line.next(Fraction(11, 25) + jump, 11 / 25) == (39_600, False)

    def test_a_hole_is_said(self) -> None:
        line = LiveTimeline(Fraction(25))
        gaps = [line.next(Fraction(i, 25), i / 25)[1] for i in (0, 1, 2, 5, 6, 30, 31)]
        assert gaps == [False, False, False, False, False, True, False]

    def test_a_camera_that_sends_less_than_it_said_has_no_holes_for_long(self) -> None:
        line = LiveTimeline(Fraction(25))
        gaps = [line.next(Fraction(second), 100.0 + second)[1] for second in range(12)]
        assert gaps == [False, True, True, True, *[False] * 8]
        assert [line.next(Fraction(t), 100.0 + t)[1] for t in (12, 13, 30, 31)] == [False, False, True, False]

    def test_connections_of_one_frame_are_no_slow_camera(self) -> None:
        line = LiveTimeline(Fraction(25))
        for hour in range(8):
            line.reconnect()
            line.next(Fraction(0), 3600.0 * hour)
        assert line.next(Fraction(30), 3600.0 * 7 + 30)[1]

    def test_a_slow_camera_has_no_holes(self) -> None:
        line = LiveTimeline()
        assert not any(line.next(Fraction(2 * i), 2.0 * i)[1] for i in range(20))

    def test_missing_times_are_those_of_arrival(self) -> None:
        line = LiveTimeline()
        assert [line.next(None, 7 + i / 10)[0] for i in range(4)] == [0, 9000, 18_000, 27_000]

    def test_lag_is_a_queue_and_not_a_slow_clock(self) -> None:
        line = LiveTimeline(Fraction(25))
        for i in range(25 * 600):
            line.next(Fraction(i, 25), i / 25 * 1.0001)
        assert line.lag == pytest.approx(0, abs=1e-6)
        line.next(Fraction(25 * 600, 25), 600 * 1.0001 + 0.7)
        assert line.lag == pytest.approx(0.7, abs=0.001)
        line.reconnect()
        line.next(Fraction(5), 700.0)
        assert line.lag == 0

    def test_small_steps_back_are_repaired(self) -> None:
        line = LiveTimeline(Fraction(25))
        made = [line.next(Fraction(time, 25), i / 25) for i, time in enumerate((0, 1, 3, 2, 4))]
        assert [pts for pts, _ in made] == [0, 3600, 10_800, 10_801, 14_400]
        assert (line.repaired, any(gap for _, gap in made)) == (1, False)


def note(backlog: Backlog, frames: Iterable[tuple[float, float, float]]) -> None:
    for lag, now, idle in frames:
        backlog.note(lag, now, idle)


class TestBacklog:
    def test_one_that_grows_is_too_much(self) -> None:
        """By half a second a second, however much of it somebody waited."""
        backlog = Backlog()
        with pytest.raises(FeedBehind, match=r"fell 1\.[89] s behind the camera: this machine is short of time"):
            note(backlog, ((frame / 60, frame / 30, 0.9 * frame / 30) for frame in range(1000)))

    def test_one_that_stays_is_too_much(self) -> None:
        backlog = Backlog()
        with pytest.raises(FeedBehind):
            note(backlog, ((2.0 if tenth else 0.0, tenth / 10, 0.0) for tenth in range(20)))

    def test_one_that_is_caught_up_with_is_not(self) -> None:
        backlog = Backlog()
        for tenth in range(300):  # a reader that was away for ten seconds, and is half as fast again as the camera
            backlog.note(max(0.0, 10 - tenth / 20), tenth / 10, 0.0)

    def test_neither_is_one_that_comes_and_goes(self) -> None:
        backlog = Backlog()
        for tenth in range(300):
            backlog.note(3.0 if tenth % 5 == 1 else 0.0, tenth / 10, 0.0)

    def test_a_slow_clock_is_told_from_it_where_there_mostly_is_nothing_to_read(self) -> None:
        """A camera that is half a percent slower than it says: lag is counted anew each time."""
        backlog, counted_from, anew = Backlog(), 0.0, 0
        for second in range(3600):
            if backlog.note(0.005 * (second - counted_from), second, 0.8 * second):
                counted_from, anew = second, anew + 1
        assert 8 <= anew <= 12
        busy = Backlog()
        with pytest.raises(FeedBehind):  # the same in a reader that has no time to wait
            note(busy, ((0.005 * second, second, 0.2 * second) for second in range(3600)))


class TestFit:
    @pytest.mark.parametrize("layout", list(Layout))
    @pytest.mark.parametrize("came", list(Layout))
    @pytest.mark.parametrize("color", [Color("bt601"), Color("bt709", True)])
    def test_every_way(self, came: Layout, layout: Layout, color: Color) -> None:
        rgb = np.empty((24, 40, 3), np.uint8)
        rgb[:] = 200, 90, 40
        fitted = fit(from_rgb(rgb, came, Color("bt601")), (31, 17), layout, color)
        assert (fitted.width, fitted.height, fitted.layout, fitted.color) == (31, 17, layout, color)
        assert np.abs(fitted.rgb().astype(int) - (200, 90, 40)).max() <= 4
        assert all(plane.flags.c_contiguous and plane.flags.writeable for plane in fitted.planes)

    def test_what_fits_is_not_touched(self) -> None:
        same = picture()
        assert fit(same, (32, 16), Layout.I420, same.color) is same


class TestScrub:
    URI = "rtsp://admin:p%40ss%2Fword@camera:554/live?token=abcd1234"

    @pytest.mark.parametrize(
        "text",
        [
            "Could not open 'rtsp://admin:p%40ss%2Fword@camera:554/live?token=abcd1234'",
            "login as admin p@ss/word failed",
            "sent admin:p@ss/word@camera",
            "GET /live?token=abcd1234\nno",
        ],
    )
    def test_no_form_of_the_password_is_left(self, text: str) -> None:
        said = Address.parse(self.URI).scrub(text)
        assert "\n" not in said
        for secret in ("p@ss", "p%40ss", "word", "abcd1234"):
            assert secret not in said

    @pytest.mark.parametrize("password", ["p@ss/word", "p@ss#word", "p@ss?word"])
    def test_passwords_that_should_have_been_quoted(self, password: str) -> None:
        assert redact(f"rtsp://me:{password}@host:554/live") == "rtsp://me:***@host:554/live"

    def test_short_passwords_leave_words_alone(self) -> None:
        assert Address.parse("rtsp://me:a@host/x").scrub("a camera said: a") == "*** camera said: ***"
        assert secrets("rtsp://host/x") == []

    @pytest.mark.parametrize(
        ("uri", "shown"),
        [
            ("rtmp://a.rtmp.host/live2/abcd-1234-efgh", "rtmp://a.rtmp.host/live2/***"),
            ("rtmps://me:pw@host:443/app/live_123?x=1", "rtmps://me:***@host:443/app/***?x=1"),
            ("rtmp://host/app", "rtmp://host/app"),
            ("hook+https://telegram/bot123:AAE-x/send?class=a", "hook+https://telegram/***?class=a"),
            ("rtmp://host/app/***: rejected, code=403 need auth", "rtmp://host/app/***: rejected, code=403 need auth"),
            ("hook+https://hooks/services/T0/B1/xyz?class=yoga", "hook+https://hooks/***?class=yoga"),
            ("https://host/?passcode=1234&access_code=77", "https://host/?passcode=***&access_code=***"),
            ("hook+https://host/?class=yoga&code=azure", "hook+https://host/?class=yoga&code=***"),
            ("mqtt://A1B2C3TOKEN@host/topic", "mqtt://***@host/topic"),
            ("rtsp://@:8554/explained", "rtsp://@:8554/explained"),
            ("https://host/live/index.m3u8", "https://host/live/index.m3u8"),
        ],
    )
    def test_what_opens_a_door_is_no_name(self, uri: str, shown: str) -> None:
        assert redact(uri) == redact(shown) == shown

    def test_keys_are_found_in_what_others_say_and_words_are_left_alone(self) -> None:
        key, stream, broker = map(
            Address.parse,
            (
                "rtmp://host/live/abcd-1234-efgh",
                "rtmp://host/live/stream",
                "mqtt://homeassistant@homeassistant.local/t",
            ),
        )
        assert key.scrub("publish of 'abcd-1234-efgh' denied") == "publish of '***' denied"
        assert stream.scrub("the stream is gone") == "the stream is gone"
        assert broker.scrub("no homeassistant.local") == "no homeassistant.local"
        assert stream.scrub("rtmp://host/live/stream: gone") == "rtmp://host/live/***: gone"

"""Recordings in segments: on real disks, full disks, and after a kill."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from saliency_tubes.engine.errors import SinkError, SourceError
from saliency_tubes.engine.picture import Color
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.fit import followed
from saliency_tubes.stream.sinks import av_segments as av_segment_sink
from saliency_tubes.stream.sinks.av_file import AvSink
from saliency_tubes.stream.sinks.av_segments import AvSegmentSink
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.open import open_source
from stubs import make_event
from videos import all_pts, make_info, make_shown, make_video
from waiting import LONG, free_port, wait_for

RATE = 25
INFO = make_info(rate=Fraction(RATE))
STEP = 12_800 // RATE


class Wall:
    """A clock on the wall that the test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 2, 3, 4, 5)

    def __call__(self) -> datetime:
        return self.now


def noisy(index: int) -> Shown:
    noise = np.random.default_rng(index)
    return make_shown(
        index, index * STEP, INFO, lambda i, size: noise.integers(0, 256, (size[1], size[0], 3), np.uint8)
    )


def record(sink: AvSegmentSink, frames: int, wall: Wall | None = None, shown: Shown | None = None) -> None:
    for index in range(frames):
        one = shown or make_shown(0, 0, INFO)
        sink.write(replace(one, frame=replace(one.frame, index=index, pts=index * STEP)))
        if wall is not None:
            wall.now += timedelta(seconds=1 / RATE)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_cut_by_time_nothing_lost_and_each_begins_at_zero(tmp_path: Path, suffix: str) -> None:
    wall = Wall()
    pattern = tmp_path / "deep" / f"%Y%m%d-%H%M%S.{suffix}"
    sink = AvSegmentSink(pattern, {"mkv": "matroska"}.get(suffix, suffix), SinkOptions(segment_seconds=2), wall)
    sink.open(INFO)
    record(sink, 130, wall)
    sink.close()
    names = sorted(path.name for path in pattern.parent.iterdir())
    assert names == [f"20260102-0304{second:02}.{suffix}" for second in (5, 7, 9)]
    times = [all_pts(pattern.parent / name) for name in names]
    assert [len(one) for one in times] == [50, 50, 30]
    assert all(one[0] == 0 for one in times)
    assert (sink.segments, sink.frames_written, sink.dropped, sink.state) == (3, 130, 0, "closed")


def test_cut_by_size_and_names_stay_unique(tmp_path: Path) -> None:
    sink = AvSegmentSink(tmp_path / "%H%M%S.mkv", "matroska", SinkOptions(segment_bytes=60_000), Wall())
    sink.open(INFO)
    for index in range(150):
        sink.write(noisy(index))
    sink.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == sink.segments >= 3
    assert tmp_path / "030405~1.mkv" in files
    assert sum(len(all_pts(path)) for path in files) == 150


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_another_size_begins_a_segment(tmp_path: Path, suffix: str) -> None:
    sink = AvSegmentSink(tmp_path / f"%H%M%S.{suffix}", {"mkv": "matroska"}.get(suffix, suffix), SinkOptions(), Wall())
    sink.open(INFO)
    infos = [INFO, replace(INFO, width=2 * INFO.width, height=3 * INFO.height, pixel_aspect=Fraction(3, 2)), INFO]
    for part, info in enumerate(infos):
        for index in range(10 * part, 10 * part + 10):
            one = make_shown(index, index * STEP, info)
            sink.write(replace(one, frame=replace(one.frame, pixel_aspect=info.pixel_aspect)))
    sink.close()
    assert (sink.segments, sink.frames_written, sink.dropped, sink.notes) == (3, 30, 0, ())
    for path, info in zip(sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), infos, strict=True):
        video = open_source(str(path))
        assert (video.info.width, video.info.height) == (info.width, info.height)
        assert video.info.pixel_aspect == info.pixel_aspect
        assert len(list(video)) == 10


def test_colours_stay_in_another_size() -> None:
    """Players guess a matrix that is not named by the size; what was recorded in another one names it."""
    info = followed(replace(INFO, color=Color("bt601")), make_shown(0, 0, replace(INFO, width=1920, height=1080)).frame)
    assert (info.width, info.height, info.matrix) == (1920, 1080, 6)


def test_retention_takes_the_oldest_and_nothing_else(tmp_path: Path) -> None:
    wall = Wall()
    (tmp_path / "notes.mkv").write_bytes(b"mine")
    pattern = tmp_path / "%Y-%m-%d" / "%H%M%S.mkv"
    old = tmp_path / "2025-01-01" / "000000.mkv"
    old.parent.mkdir()
    old.write_bytes(b"of an earlier run")
    os.utime(old, (1, 1))
    sink = AvSegmentSink(pattern, "matroska", SinkOptions(segment_seconds=1, keep="3"), wall)
    sink.open(INFO)
    record(sink, 150, wall)
    sink.close()
    left = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.mkv"))
    assert left == ["2026-01-02/030408.mkv", "2026-01-02/030409.mkv", "2026-01-02/030410.mkv", "notes.mkv"]
    assert not old.parent.exists()
    assert sink.deleted == 4


@pytest.mark.parametrize("keep", ["20", "1d", "20, 1d", "1GB"])
@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_clock_that_is_set_costs_no_more_than_a_step_s_worth(
    tmp_path: Path, keep: str, days: int, caplog: pytest.LogCaptureFixture
) -> None:
    wall = Wall()
    for number in range(20):  # of an earlier run; their times on the disk say nothing: they were copied here
        (tmp_path / f"20260102-0200{number:02}.mkv").write_bytes(b"of an earlier run")
    sink = AvSegmentSink(tmp_path / "%Y%m%d-%H%M%S.mkv", "matroska", SinkOptions(segment_seconds=1, keep=keep), wall)
    sink.open(INFO)
    with caplog.at_level("INFO"):
        record(sink, 25, wall)
        before = {path.name for path in tmp_path.glob("*.mkv")}
        wall.now += timedelta(days=days)
        shown = make_shown(0, 0, INFO)
        for index in range(25, 75):
            sink.write(replace(shown, frame=replace(shown.frame, index=index, pts=index * STEP)))
            wall.now += timedelta(seconds=1 / RATE)
        sink.close()
    gone = before - {path.name for path in tmp_path.glob("*.mkv")}
    told = [record.getMessage() for record in caplog.records if "mkv: " in record.getMessage()]
    assert len(told) == sink.deleted
    assert len(gone) <= 4  # two segments began since, and two for each may go
    assert gone <= {f"20260102-0200{number:02}.mkv" for number in range(5)}  # the oldest, and none of this run
    assert all(str(tmp_path / name) in " ".join(told) for name in gone)


RECORDED = ("rec/%Y%m%d-%H%M%S.mkv", "rec/%Y%m%d-%H%M%S.mp4", "plain.mkv", "plain.mp4")


def frames_out(port: int) -> int:
    """What the process itself says it has written to every output, or handed to their threads."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    return next((int(float(one.split()[-1])) for one in lines if one.startswith("saliency_tubes_frames_out_total")), 0)


def killed_after(frames: int, folder: Path, rate: int) -> int:
    """Records live in every way there is, is killed after so many frames, and says after how many it was."""
    port = free_port()
    command = Path(sys.executable).with_name("saliency-tubes")
    words = [f"test://?size=320x240&rate={rate}", *RECORDED, "--frames", "16", "--segment-seconds", "2"]
    with subprocess.Popen([command, "run", *words, "--metrics", str(port)], cwd=folder, stderr=subprocess.PIPE) as run:
        try:
            wait_for(lambda: frames_out(port) >= frames or run.poll() is not None, 60)
            written = frames_out(port)
        finally:
            run.kill()
        assert run.stderr is not None
        assert written >= frames, run.stderr.read()
    return written


def check_played(folder: Path, written: int, rate: int) -> None:
    """What plays: all but the last two seconds at most, without an error, in whole frames."""
    for suffix in ("mkv", "mp4"):
        for paths in ([folder / f"plain.{suffix}"], sorted((folder / "rec").glob(f"*.{suffix}"))):
            played = 0
            for path in paths:
                try:
                    source = open_source(str(path))
                except SourceError:  # begun less than FLUSH_SECONDS before: there is not even a header
                    assert path == paths[-1]
                    break
                times = [frame.time for frame in source]
                assert source.errors == 0, path
                source.close()
                # Frames that a busy machine dropped are counted elsewhere: the picture stands still as long.
                steps = np.diff(times) * rate
                np.testing.assert_allclose(steps, np.maximum(1, np.round(steps)), atol=0.05)
                played += 1 + round(float(steps.sum()))
            assert played >= written - 2 * rate, paths


def test_a_kill_costs_less_than_two_seconds(tmp_path: Path) -> None:
    written = killed_after(110, tmp_path, RATE)
    check_played(tmp_path, written, RATE)
    assert len(list((tmp_path / "rec").glob("*.mkv"))) >= 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_kills_at_any_moment(seed: int, tmp_path: Path) -> None:
    luck = random.Random(seed)
    rate = luck.choice([10, 25, 30])
    check_played(tmp_path, killed_after(luck.randrange(rate, 8 * rate), tmp_path, rate), rate)


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = getattr(request, "param", "size=2m")
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(folder)], capture_output=True, text=True)
    if mount.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mount.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_recording_until_there_is_room(small_disk: Path) -> None:
    now = [0.0]
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", SinkOptions(), Wall(), clock=lambda: now[0])
    sink.open(INFO)
    index = 0
    while sink.state == "running":
        sink.write(noisy(index))
        index += 1
        assert index < 3000
    assert "No space left on device; tried again" in sink.notes[0]
    assert sink.state == "disk full"
    for _ in range(20):
        sink.write(noisy(index))
        index += 1
    assert sink.drops == {"disk full": 21}
    assert len(all_pts(small_disk / "030405.mkv")) > sink.frames_written - 2 * RATE
    now[0] += 10  # still full: nothing is even tried
    sink.write(noisy(index))
    (small_disk / "030405.mkv").unlink()
    now[0] += 10
    for extra in range(1, 50):
        sink.write(noisy(index + extra))
    sink.close()
    assert sink.segments == 2
    assert len(all_pts(small_disk / "030405.mkv")) == 49
    assert sink.frames_written + sink.dropped == index + 50


def test_a_full_disk_may_eat_the_oldest(small_disk: Path) -> None:
    options = SinkOptions(on_full="delete", segment_bytes=300_000)
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", options, Wall())
    sink.open(INFO)
    for index in range(1200):
        sink.write(noisy(index))
    sink.close()
    assert sink.deleted > 2
    assert sink.dropped < 20
    assert "its oldest segments are deleted" in sink.notes[0]
    assert sum(len(all_pts(path)) for path in small_disk.iterdir()) > 100


def test_a_folder_removed_meanwhile_is_made_again(tmp_path: Path) -> None:
    now = [0.0]
    pattern = tmp_path / "rec" / "%H%M%S.mkv"
    sink = AvSegmentSink(pattern, "matroska", SinkOptions(segment_seconds=1), Wall(), clock=lambda: now[0])
    sink.open(INFO)
    record(sink, 25)
    for path in pattern.parent.iterdir():
        path.unlink()
    pattern.parent.rmdir()
    for index in range(25, 60):
        sink.write(make_shown(index, index * STEP, INFO))
    sink.close()
    assert len(all_pts(pattern.parent / "030405.mkv")) > 0
    assert sink.frames_written == 60


def test_a_live_recording_goes_on_once_its_folder_can_be_had_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that live outputs have, which must not take what is tried again for what is lost."""
    monkeypatch.setattr(av_segment_sink, "RETRY_SECONDS", 0.05)
    folder = tmp_path / "rec"
    sink = open_sink(str(folder / "%H%M%S.mkv"), SinkOptions(live=True, segment_seconds=0.2))
    sink.open(INFO)
    sent = 0

    def send_until(condition: Callable[[], bool]) -> None:
        nonlocal sent
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, sink.state
            sink.write(make_shown(sent, sent * STEP, INFO))
            sent += 1
            time.sleep(0.005)

    send_until(lambda: sink.frames_written > 10)
    shutil.rmtree(folder)
    folder.touch()  # a file where the folder was
    send_until(lambda: sink.state == "retrying" and sink.drops.get("retrying", 0) > 5)
    assert "tried again" in sink.notes[-1]
    folder.unlink()
    before = sink.frames_written
    send_until(lambda: sink.state == "running" and sink.frames_written > before + 10)
    sink.close()
    assert sink.frames_written + sink.dropped == sent
    assert any(len(all_pts(path)) > 3 for path in folder.iterdir())


def test_what_grows_too_old_on_a_full_disk_makes_room(small_disk: Path) -> None:
    now, old = [0.0], small_disk / "020304.mkv"
    old.write_bytes(bytes(1_300_000))
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", SinkOptions(keep="1h"), Wall(), clock=lambda: now[0])
    sink.open(INFO)
    index = 0
    while sink.state == "running" or not index:
        sink.write(noisy(index))
        index += 1
    assert sink.state == "disk full"
    (small_disk / "030405.mkv").write_bytes(b"")  # room for nothing but what goes
    os.truncate(old, 1_800_000)
    os.utime(old, (1, 1))
    now[0] += 10
    sink.write(noisy(index))
    sink.close()
    assert not old.exists()
    assert sink.segments == 2


@pytest.mark.parametrize("small_disk", ["size=9m,nr_inodes=6"], indirect=True)  # and the folder and the lock
def test_a_disk_with_bytes_and_no_room_eats_the_oldest(small_disk: Path) -> None:
    options = SinkOptions(on_full="delete", segment_seconds=0.4)
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", options, Wall())
    sink.open(INFO)
    record(sink, 100)
    sink.close()
    assert sink.segments == 10
    assert sink.deleted == 6
    assert sink.frames_written + sink.dropped == 100
    assert sink.dropped <= 6
    assert sum(1 for path in small_disk.iterdir() if all_pts(path)) == 4


@pytest.mark.parametrize("small_disk", ["size=9m,nr_inodes=2"], indirect=True)
def test_where_nothing_can_be_deleted_the_disk_is_left_alone(small_disk: Path) -> None:
    (small_disk / "mine").touch()
    options = SinkOptions(on_full="delete", segment_seconds=0.4)
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", options, Wall(), clock=lambda: 0.0)
    sink.open(INFO)
    record(sink, 50)
    sink.close()
    assert "(1 so far)" in sink.notes[-1]  # not at every frame
    assert sink.dropped == 50


def test_room_that_others_take_is_made_again(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, free = [0.0], [av_segment_sink.ROOM]
    options = SinkOptions(on_full="delete", segment_seconds=0.4)
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", options, Wall(), clock=lambda: now[0])
    monkeypatch.setattr(av_segment_sink, "free_bytes", lambda folder: free[0])
    sink.open(INFO)
    record(sink, 30)
    sink.state, free[0] = "disk full", 0
    for _ in range(2):
        before = sink.deleted
        sink._end()
        sink.state = "disk full"
        record(sink, 1)
        assert sink.deleted > before
        now[0] += 10
    sink.close()


def test_nothing_is_deleted_for_a_recording_that_ends(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = AvSegmentSink(small_disk / "%H%M%S.mkv", "matroska", SinkOptions(on_full="delete"), Wall())
    sink.open(INFO)
    record(sink, 20)

    def full(sink: AvSink) -> None:
        raise SinkError("it: No space left on device") from OSError(errno.ENOSPC, "No space left on device")

    close = AvSink.close
    monkeypatch.setattr(AvSink, "close", full)
    sink.close()
    assert sink._current is None
    assert (sink.deleted, len(list(small_disk.iterdir()))) == (0, 1)
    monkeypatch.setattr(AvSink, "close", close)


def test_lines_and_pictures_of_a_live_run_outlive_a_full_disk(small_disk: Path) -> None:
    """A recording on the same disk makes room again."""
    rest, path = small_disk / "rest", small_disk / "events.jsonl"
    live = SinkOptions(live=True)
    lines, pictures = (open_sink(uri, live).inner for uri in (str(path), str(small_disk / "%d.png")))  # type: ignore[attr-defined]
    for sink in (lines, pictures):
        sink.open(INFO)
    lines.event(make_event(0))
    pictures.write(noisy(0))
    with suppress(OSError), rest.open("wb") as file:
        while True:
            file.write(bytes(1000))
    with suppress(OSError), rest.open("ab", buffering=0) as file:
        while True:
            file.write(b"0")
    lines.event(make_event(1, name="y" * 5000))  # a part of it may fit
    pictures.write(noisy(1))
    for sink in (lines, pictures):
        assert (sink.state, sink.drops) == ("disk full", {"disk full": 1})
        assert sink.notes == ("No space left on device; tried again (1 lost so far)",)
    rest.unlink()
    lines.event(make_event(2))
    pictures.write(noisy(2))
    for sink in (lines, pictures):
        sink.close()
        assert sink.state == "running"
    assert path.read_text() == f"{make_event(0).json}\n{make_event(2).json}\n"
    assert sorted(one.name for one in small_disk.glob("*.png")) == ["0.png", "2.png"]


def test_a_folder_that_cannot_be_made_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot make the folder"):
        open_sink(str(tmp_path / "file" / "%S.mkv")).open(INFO)


def test_audio_is_left_out_and_said(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", audio="aac")
    sink = open_sink(str(tmp_path / "%S.mkv"))
    sink.open(make_info(audio=path))
    sink.close()
    assert "audio is left out" in sink.notes[0]


def test_a_live_recording_never_makes_the_caller_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = open_sink(str(tmp_path / "%S.mkv"), SinkOptions(live=True))
    recording, gate = AvSegmentSink.write, threading.Event()

    def held(own: AvSegmentSink, shown: Shown) -> None:
        gate.wait(LONG)
        recording(own, shown)

    monkeypatch.setattr(AvSegmentSink, "write", held)
    sink.open(INFO)
    shown = make_shown(0, 0, INFO)
    for index in range(100):  # the recording takes none of them
        sink.write(replace(shown, frame=replace(shown.frame, index=index, pts=index * STEP)))
    gate.set()
    sink.close()
    assert sink.drops == {"too slow": sink.dropped}
    assert sink.frames_written > 0
    assert sink.frames_written + sink.dropped == 100
    assert "H.264 by" in sink.description

"""What the video sink writes, read back: times, sizes, colours, audio."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks.av_file import BRIDGE, H264, AvSink
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.sources.open import open_source
from videos import all_pts, make_info, make_shown, make_video, packets, patch

ORANGE = (200, 60, 30)


def copy(source_path: Path, target: Path, limit: int | None = None) -> Sink:
    """What the pipeline does, without drawing."""
    source, sink = open_source(str(source_path)), open_sink(str(target))
    sink.open(source.info)
    for frame in source:
        if limit is not None and frame.index == limit:
            break
        sink.write(Shown(frame, ()))
    sink.close()
    source.close()
    return sink


def write(path: Path, info: VideoInfo, pts: list[int], **how: Any) -> Sink:
    sink = open_sink(str(path))
    sink.open(info)
    for index, stamp in enumerate(pts):
        sink.write(make_shown(index, stamp, info, **how))
    sink.close()
    return sink


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 30_000), [i * 1001 for i in range(40)]),
        (Fraction(1, 90_000), [7, 40, 3000, 3001, 90_000, 90_333, 200_000]),
        (Fraction(1001, 30_000), [3, 4, 5, 6, 7, 9]),
        (Fraction(1, 1_200_000), [48_000 * i for i in range(40)]),
        (Fraction(1, 1_000_000_000), [33_333_333 * i + 12 for i in range(9)]),
        (Fraction(1, 1000), [5]),
        (Fraction(1, 90_000), [2**33 + i * 3600 for i in range(5)]),
    ],
)
def test_times_come_back_exactly(tmp_path: Path, suffix: str, time_base: Fraction, pts: list[int]) -> None:
    path = tmp_path / f"out.{suffix}"
    write(path, make_info(time_base=time_base), pts)
    assert all_pts(path) == [stamp * time_base for stamp in pts]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.integers(0, 100_000),
    steps=st.lists(st.integers(1, 20_000), max_size=25),
    time_base=st.sampled_from([Fraction(1, 1000), Fraction(1, 12_800), Fraction(1, 90_000), Fraction(1001, 24_000)]),
)
def test_any_rhythm_comes_back_exactly(tmp_path: Path, start: int, steps: list[int], time_base: Fraction) -> None:
    pts = [start, *(start + int(total) for total in np.cumsum(steps, dtype=int))]
    path = tmp_path / "out.mp4"
    path.unlink(missing_ok=True)  # of the example before
    write(path, make_info(width=16, height=16, time_base=time_base), pts)
    assert all_pts(path) == [stamp * time_base for stamp in pts]


def test_matroska_rounds_to_milliseconds(tmp_path: Path) -> None:
    pts = [3003 * i + 11 for i in range(40)]
    write(tmp_path / "out.mkv", make_info(time_base=Fraction(1, 90_000)), pts)
    times = all_pts(tmp_path / "out.mkv")
    assert len(times) == 40
    assert max(abs(time - Fraction(stamp, 90_000)) for time, stamp in zip(times, pts, strict=True)) <= Fraction(1, 2000)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_round_trip_keeps_what_describes_the_video(tmp_path: Path, suffix: str) -> None:
    path = make_video(
        tmp_path / f"in.{suffix}",
        frames=30,
        rate=Fraction(30_000, 1001),
        time_base=Fraction(1, 30_000) if suffix == "mp4" else Fraction(1, 1000),
        pixel_aspect=Fraction(16, 11),
        matrix=6,
        full_range=True,
    )
    copy(path, tmp_path / f"out.{suffix}")
    before, after = open_source(str(path)).info, open_source(str(tmp_path / f"out.{suffix}")).info
    for key in ("width", "height", "pixel_aspect", "color", "matrix", "primaries", "transfer", "layout"):
        assert getattr(after, key) == getattr(before, key), key
    assert after.rate == pytest.approx(before.rate, rel=1e-3)
    assert after.duration == pytest.approx(before.duration, abs=2e-3)
    assert all_pts(tmp_path / f"out.{suffix}") == all_pts(path)


def test_a_turned_video_is_written_upright(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mp4", size=(64, 32), turn=90, pixel_aspect=Fraction(4, 3))
    copy(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (32, 64, 0)
        assert container.streams.video[0].sample_aspect_ratio == Fraction(3, 4)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("color", [Color("bt601"), Color("bt709"), Color("bt709", full_range=True)])
@pytest.mark.parametrize("size", [(64, 48), (65, 33)])
def test_colours(tmp_path: Path, layout: Layout, color: Color, size: tuple[int, int]) -> None:
    matrix = 1 if color.matrix == "bt709" else 6
    info = make_info(width=size[0], height=size[1], layout=layout, color=color, matrix=matrix)
    sink = write(tmp_path / "out.mp4", info, [0, 512], draw=patch(*ORANGE))
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert bool(sink.notes) == (even != size)
    if sink.notes:
        assert "65x33 is padded to 66x34" in sink.notes[0]
    source = open_source(str(tmp_path / "out.mp4"))
    assert (source.info.width, source.info.height) == even
    # RGB goes out as what every player shows right.
    assert source.info.color == (Color("bt709") if layout is Layout.RGB else color)
    for frame in source:
        np.testing.assert_allclose(frame.rgb.reshape(-1, 3).mean(axis=0), ORANGE, atol=3)
        np.testing.assert_allclose(frame.rgb[-1, -1], ORANGE, atol=6)
    source.close()


ENCODE = """
import sys
from pathlib import Path

from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.sinks.av_file import H264, AvSink
from saliency_tubes.stream.sources.open import open_source

source = open_source("test://?size=320x240&frames=60")
sink = AvSink(Path(sys.argv[1]), "mp4", H264())
sink.open(source.info)
for frame in source:
    sink.write(Shown(frame))
sink.close()
"""


def test_bytes_do_not_depend_on_what_was_in_memory(tmp_path: Path) -> None:
    """With AVX-512, libx264's look-ahead reads memory that nobody has written: glibc fills it with a byte of ours."""
    written = set()
    for fill in (0, 0x55, 0xAA):
        path = tmp_path / f"{fill}.mp4"
        words = [sys.executable, "-c", ENCODE, str(path)]
        subprocess.run(words, env=os.environ | {"MALLOC_PERTURB_": str(fill)}, check=True, timeout=60)
        written.add(path.read_bytes())
    assert len(written) == 1


def test_pictures_survive_and_bytes_repeat(tmp_path: Path) -> None:
    info, pts = make_info(), [512 * i for i in range(40)]
    write(tmp_path / "a.mp4", info, pts)
    write(tmp_path / "b.mp4", info, pts)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    for frame in open_source(str(tmp_path / "a.mp4")):
        error = frame.rgb.astype(int) - make_shown(frame.index, 0, info).rgb
        assert np.abs(error).mean() < 4


class TestAudio:
    @pytest.mark.parametrize(
        ("audio", "source_suffix", "suffix"),
        [("aac", "mp4", "mp4"), ("aac", "mp4", "mkv"), ("libopus", "mkv", "mkv"), ("pcm_s16le", "mkv", "mkv"),
         ("libmp3lame", "mkv", "mp4"), ("aac", "ts", "mp4")],
    )  # fmt: skip
    def test_packets_are_copied(self, tmp_path: Path, audio: str, source_suffix: str, suffix: str) -> None:
        path = make_video(tmp_path / f"in.{source_suffix}", frames=50, audio=audio, time_base=Fraction(1, 90_000))
        sink = copy(path, tmp_path / f"out.{suffix}")
        assert sink.notes == ()
        before, after = packets(path), packets(tmp_path / f"out.{suffix}")
        if source_suffix == "ts":
            before = [(time, data[7:]) for time, data in before]  # without the ADTS headers
        kept = [pair for pair in before if pair[0] >= 0 or suffix != "mkv"]
        assert [data for _, data in after] == [data for _, data in kept[: len(after)]]
        assert len(kept) - len(after) <= 2
        tolerance = Fraction(1, 1000) if "mkv" in (suffix, source_suffix) else Fraction(1, 48_000)
        assert all(abs(a - b) <= tolerance for (a, _), (b, _) in zip(after, kept, strict=False))
        if suffix == "mp4":
            assert all_pts(tmp_path / "out.mp4") == all_pts(path)

    def test_ends_where_the_video_ends(self, tmp_path: Path) -> None:
        path = make_video(tmp_path / "in.mp4", frames=100, audio="aac")
        copy(path, tmp_path / "out.mp4", limit=10)
        times = [time for time, _ in packets(tmp_path / "out.mp4")]
        assert len(all_pts(tmp_path / "out.mp4")) == 10
        assert Fraction(36, 100) < times[-1] < Fraction(4, 10)

    def test_of_joined_recordings_the_first_ones_is_heard(self, tmp_path: Path) -> None:
        """The second one's pictures are moved, and its sound is not: it would be heard before they are seen."""
        one, two = (make_video(tmp_path / f"{name}.ts", frames=count, audio="aac", time_base=Fraction(1, 90_000))
                    for name, count in (("one", 75), ("two", 150)))  # fmt: skip
        joined = tmp_path / "joined.ts"
        joined.write_bytes(one.read_bytes() + two.read_bytes())
        sink = copy(joined, tmp_path / "out.mp4")
        assert sink.notes == ("the audio stops early: its clock starts anew, as where recordings were joined",)
        assert len(all_pts(tmp_path / "out.mp4")) == 225
        assert max(time for time, _ in packets(tmp_path / "out.mp4")) < 3.1

    @pytest.mark.parametrize("audio", ["pcm_s16le", "mp2"])
    def test_what_the_container_cannot_hold_is_left_out_and_said(self, tmp_path: Path, audio: str) -> None:
        path = make_video(tmp_path / "in.mkv", audio=audio, options={"bf": "0"})
        sink = copy(path, tmp_path / "out.mp4")
        assert "audio is left out: mp4 cannot hold" in sink.notes[0]
        assert open_source(str(tmp_path / "out.mp4")).info.audio is None
        assert len(all_pts(tmp_path / "out.mp4")) == 10

    def test_a_file_that_vanished_costs_the_audio_only(self, tmp_path: Path) -> None:
        sink = write(tmp_path / "out.mp4", make_info(audio=tmp_path / "gone.mp4"), [0, 512])
        assert "the audio is left out: No such file" in sink.notes[0]
        assert len(all_pts(tmp_path / "out.mp4")) == 2


def boxes(path: Path) -> list[str]:
    """The names of an MP4's outermost parts, in order."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        found.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return found


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_recording_that_may_never_end_keeps_no_index(tmp_path: Path, suffix: str) -> None:
    path, pts = tmp_path / f"out.{suffix}", [12_345 + 3000 * i for i in range(300)]
    info = make_info(time_base=Fraction(1, 90_000), rate=Fraction(30))
    made = open_sink(str(path), SinkOptions(live=True))
    assert isinstance(made, Threaded)
    sink = made.inner  # by itself it loses no frame
    sink.open(info)
    for index, stamp in enumerate(pts):
        sink.write(make_shown(index, stamp, info))
    sink.close()
    assert boxes(path)[:2] == ["ftyp", "moov"]
    assert set(boxes(path)[2:]) == {"moof", "mdat"}
    assert all_pts(path) == [Fraction(stamp, 90_000) for stamp in pts]
    with av.open(str(path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(10, abs=0.2)
        container.seek(5_000_000)
        assert 2.5 < next(container.decode(video=0)).time <= 5  # keyframes are 2 s apart
    written = path.read_bytes()
    cut = written.rindex(b"mdat", 0, len(written) * 2 // 3) + 100  # among the frames: FFmpeg refuses half a head
    (tmp_path / "cut.mp4").write_bytes(written[:cut])
    assert len(all_pts(tmp_path / "cut.mp4")) > 100


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("hours", [7, 30])
@pytest.mark.parametrize("live", [True, False])
def test_a_camera_that_was_away_for_hours(tmp_path: Path, suffix: str, hours: int, live: bool) -> None:
    """FFmpeg's MP4 keeps the distance of two frames in 31 bits: 6.6 hours of 1/90000 s."""
    path, back = tmp_path / f"out.{suffix}", hours * 3600 * 90_000
    pts = [100 + 3000 * i for i in range(20)] + [back + 3000 * i for i in range(20)]
    info = make_info(time_base=Fraction(1, 90_000), rate=Fraction(30))
    sink = open_sink(str(path), SinkOptions(live=live))
    sink = sink.inner if isinstance(sink, Threaded) else sink  # by itself it loses no frame
    sink.open(info)
    for index, stamp in enumerate(pts):
        sink.write(make_shown(index, stamp, info))
    sink.close()
    assert sink.frames_written == 40
    times = [float(time) for time in all_pts(path)]
    bridged = times[20:-20]
    np.testing.assert_allclose(times[:20] + times[-20:], np.array(pts) / 90_000, atol=5e-4, rtol=0)
    assert len(bridged) == (0 if suffix == "mkv" else (pts[20] - pts[19] - 1) // BRIDGE)
    np.testing.assert_allclose(np.diff(times[19:-20]), BRIDGE / 90_000)


def test_a_frame_of_another_size_is_refused(tmp_path: Path) -> None:
    sink = open_sink(str(tmp_path / "out.mp4"))
    sink.open(make_info())
    with pytest.raises(SinkError, match="frame 0 is 32x48, the video is 64x48"):
        sink.write(make_shown(0, 0, make_info(width=32)))
    sink.close()


def test_write_needs_open(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="before open"):
        open_sink(str(tmp_path / "out.mp4")).write(make_shown(0, 0, make_info()))


def test_settings_are_checked_and_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="crf must be 0 to 51, got 52"):
        H264(crf=52)
    with pytest.raises(ValueError, match="must be positive"):
        H264(threads=0)
    info, sizes = make_info(), []
    for crf in (10, 40):
        sink = AvSink(tmp_path / "out.mp4", "mp4", H264(crf=crf), overwrite=True)
        sink.open(info)
        for index in range(20):
            sink.write(make_shown(index, index * 512, info))
        sink.close()
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] > sizes[1]

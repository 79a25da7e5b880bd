"""Timestamps are exact, and what is damaged is told in one line."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.media.timeline import Timeline
from saliency_tubes.stream.sources.open import open_source
from videos import all_pts, gradient, make_audio, make_video

MS = Fraction(1, 1000)


@pytest.mark.parametrize(
    ("suffix", "codec", "time_base", "pts"),
    [
        ("mp4", "libx264", Fraction(1, 30_000), [i * 1001 for i in range(30)]),
        ("mp4", "libx264", Fraction(1, 90_000), [7, 40, 3000, 3001, 90_000, 90_333, 200_000]),
        ("mkv", "libx264", MS, [0, 33, 67, 68, 500, 2000]),
        ("mkv", "ffv1", MS, [1234, 1300, 1301]),
        ("mp4", "mpeg4", Fraction(1, 12_800), [512 * i for i in range(5)]),
        ("nut", "rawvideo", Fraction(1, 25), [0]),
    ],
)
def test_pts_are_exact(tmp_path: Path, suffix: str, codec: str, time_base: Fraction, pts: list[int]) -> None:
    path = make_video(tmp_path / f"clip.{suffix}", codec=codec, pts=pts, time_base=time_base)
    assert all_pts(path) == [stamp * time_base for stamp in pts]


def test_b_frames_come_in_the_order_they_are_shown(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=30, options={"bf": "3", "b-adapt": "0", "crf": "5"})
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stamps != sorted(stamps), "the clip has no B-frames"
    source = open_source(str(path))
    for frame in source:
        assert frame.pts * frame.time_base == Fraction(frame.index, 25)
        moved = frame.rgb[8:-8, 8:-8].astype(int) - gradient(frame.index, (64, 48))[8:-8, 8:-8]
        assert abs(np.median(moved)) < 4
    source.close()


def test_raw_h264_gets_timestamps_from_its_rate(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.h264", frames=20, rate=25, container="h264")
    times = all_pts(path)
    assert len(times) == 20
    assert {b - a for a, b in pairwise(times)} == {Fraction(1, 25)}
    info = open_source(str(path)).info
    assert (info.rate, info.duration, info.expected_frames) == (25, None, None)


def test_info_of_a_plain_file(tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.mp4", frames=50, pixel_aspect=Fraction(16, 11), audio="aac")
    info = open_source(str(path)).info
    assert (info.rate, info.expected_frames, info.pixel_aspect) == (25, 50, Fraction(16, 11))
    assert info.duration == pytest.approx(2.0)
    assert info.audio == path
    assert open_source(str(make_video(tmp_path / "mute.mp4"))).info.audio is None


def test_a_change_of_size_is_scaled_and_said(tmp_path: Path) -> None:
    parts = [make_video(tmp_path / f"{w}.ts", size=(w, h), frames=5) for w, h in ((64, 48), (96, 32))]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    source = open_source(str(joined))
    frames = list(source)
    assert len(frames) == 10
    assert {(frame.picture.width, frame.picture.height) for frame in frames} == {(64, 48)}
    assert any("changes to 96x32 at frame 5; it is scaled to fit 64x48" in line for line in source.remarks)
    # The second part's clock starts anew.
    assert all(a.pts < b.pts for a, b in pairwise(frames))
    source.close()


class TestDamage:
    def test_truncated_matroska(self, tmp_path: Path) -> None:
        whole = make_video(tmp_path / "clip.mkv", frames=60, options={"g": "10", "crf": "1"})
        expected = all_pts(whole)
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        times = all_pts(cut)
        assert 10 < len(times) < 60
        assert times == [time for time in expected if time in set(times)]

    def test_corrupt_packets_are_counted_and_skipped(self, tmp_path: Path) -> None:
        path = make_video(tmp_path / "clip.mp4", frames=60, options={"g": "10", "crf": "1"})
        data = bytearray(path.read_bytes())
        start = data.index(b"mdat") + len(data) // 3
        data[start : start + 3000] = bytes(i * 37 % 256 for i in range(3000))
        path.write_bytes(data)
        source = open_source(str(path))
        frames = list(source)
        assert 20 < len(frames) <= 60
        assert source.errors > 0
        assert source.remarks[0].startswith(f"decoder errors: {source.errors}")
        assert [frame.index for frame in frames] == list(range(len(frames)))

    def test_mp4_without_its_index(self, tmp_path: Path) -> None:
        path = make_video(tmp_path / "clip.mp4", frames=30)
        path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"moov") - 10])
        assert "without its index (moov)" in self.error(path)

    def test_no_such_file(self, tmp_path: Path) -> None:
        assert self.error(tmp_path / "none.mp4").endswith("none.mp4: no such file")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert "is a folder" in self.error(tmp_path)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        (tmp_path / "clip.mp4").touch()
        assert "is empty" in self.error(tmp_path / "clip.mp4")

    @pytest.mark.parametrize("name", ["clip.mp4", "notes.txt", "clip.mkv"])
    def test_not_a_video(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("This is not a video.\n" * 100)
        assert "not a video" in self.error(tmp_path / name)

    @pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame")])
    def test_audio_only(self, tmp_path: Path, name: str, codec: str) -> None:
        assert "only audio" in self.error(make_audio(tmp_path / name, codec))

    def test_no_decodable_frame(self, tmp_path: Path) -> None:
        path = make_video(tmp_path / "clip.mp4", frames=3)
        data = bytearray(path.read_bytes())
        start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
        data[start:end] = bytes(end - start)
        path.write_bytes(data)
        assert "no frame of its video can be decoded" in self.error(path)

    @staticmethod
    def error(path: Path) -> str:
        with pytest.raises(SourceError) as caught:
            open_source(str(path))
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return message


class TestTimeline:
    @given(st.lists(st.one_of(st.none(), st.integers(-(10**6), 10**6)), max_size=50), st.fractions("0.01", 5000))
    def test_always_increases(self, stamps: list[int | None], step: Fraction) -> None:
        timeline = Timeline(step, Fraction(90_000))
        made = [timeline.next(stamp) for stamp in stamps]
        assert all(a < b for a, b in pairwise(made))

    @given(st.lists(st.integers(-(10**9), 10**9), unique=True).map(sorted))
    def test_increasing_stamps_pass_unchanged(self, stamps: list[int]) -> None:
        timeline = Timeline(Fraction(3000), Fraction(90_000))
        assert [timeline.next(stamp) for stamp in stamps] == stamps
        assert timeline.repaired == 0

    def test_missing_stamps_do_not_drift(self) -> None:
        timeline = Timeline(Fraction(1001, 30), Fraction(1000))
        assert [timeline.next(None) for _ in range(301)][::30] == [1001 * i for i in range(11)]
        assert timeline.repaired == 0

    def test_missing_stamps_go_on_from_the_last_known(self) -> None:
        timeline = Timeline(Fraction(10), Fraction(1000))
        assert [timeline.next(stamp) for stamp in (5, None, None, 40, None)] == [5, 15, 25, 40, 50]

    def test_a_repeated_stamp_moves_by_a_tick(self) -> None:
        timeline = Timeline(Fraction(10), Fraction(1000))
        assert [timeline.next(stamp) for stamp in (0, 10, 10, 20)] == [0, 10, 11, 20]
        assert timeline.repaired == 1

    def test_a_clock_that_starts_anew_is_moved_with_all_that_follows(self) -> None:
        timeline = Timeline(Fraction(10), Fraction(1000))
        assert [timeline.next(stamp) for stamp in (5000, 5010, 0, 10, 30)] == [5000, 5010, 5020, 5030, 5050]
        assert timeline.repaired == 1

    def test_refuses_a_step_of_nothing(self) -> None:
        with pytest.raises(ValueError, match="positive"):
            Timeline(Fraction(0), Fraction(1))


def test_real_clips(clips: Path) -> None:
    for path in sorted(clips.glob("*.mp4")):
        source = open_source(str(path))
        info, first = source.info, next(iter(source))
        assert info.rate is not None
        assert first.rgb.shape == (info.height, info.width, 3)
        source.close()

"""Streams whose parts come, end and change on their way: sound without pictures, other numbers, other key frames."""

from __future__ import annotations

import os
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from barcodes import read_barcode
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources import av_feed, gst_description, gst_feed
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import FeedEnded, FeedLost
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, python_with_gi
from stubs import StubRunner
from videos import make_video
from waiting import wait_for
from web import SIZE, Handler, barcode, make_hls, web

needs_gst = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
PACE = 17
"""frames a second: 100 of them take as long as /slowly/ does, and none is late"""
OFTEN = {"g": "10", "bf": "0"}
"""key frames"""


def sound_goes_on(path: Path) -> Path:
    """A transport stream of 25 frames, and sound for many seconds."""
    with av.open(str(path), "w", "mpegts") as output:
        video: Any = output.add_stream("libx264", rate=25, options={"g": "5", "bf": "0", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        audio: Any = output.add_stream("aac", rate=48_000)
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(barcode(index, SIZE), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        for start in range(0, 48_000 * 20, 1024):
            sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48_000, start, Fraction(1, 48_000)
            output.mux(audio.encode(sound))
    return path


def test_silence_of_the_pictures_is_noticed_where_sound_goes_on(tmp_path: Path) -> None:
    sound_goes_on(tmp_path / "a.ts")
    with web(tmp_path) as address:
        source = open_source(f"{address}/slowly/a.ts", SourceOptions(stall=0.5, retries=0))
        with pytest.raises(SourceError, match=r"nothing came for 0\.5 s"):  # its end would be told otherwise
            list(source)
        source.close()


@pytest.mark.slow
def test_an_encoder_that_starts_anew_under_another_number(tmp_path: Path) -> None:
    parts = [
        make_video(tmp_path / f"{pid}.ts", size=SIZE, frames=50, rate=PACE, draw=barcode, options=OFTEN)
        for pid in (256, 512)
    ]
    with (
        av.open(str(parts[1])) as source,
        av.open(
            str(tmp_path / "moved.ts"),
            "w",
            "mpegts",
            options={"mpegts_start_pid": "512", "mpegts_pmt_start_pid": "4096"},
        ) as output,
    ):
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    (tmp_path / "both.ts").write_bytes(parts[0].read_bytes() + (tmp_path / "moved.ts").read_bytes())
    with web(tmp_path) as address:
        source = open_source(f"{address}/slowly/both.ts", SourceOptions(backend="av", stall=3))
        read = [read_barcode(frame.picture.planes[0]) for frame in islice(source, 80)]
        source.close()
    assert read.count(10) == 2


def size_of(picture: Any) -> tuple[int, int]:
    return picture.width, picture.height


@pytest.mark.parametrize("backend", ["av", pytest.param("gst", marks=[pytest.mark.slow, needs_gst])])
def test_another_size_in_one_connection(tmp_path: Path, backend: str) -> None:
    """Recordings go on in it, in a segment of its own; whatever cannot change its size gets the first one."""
    sizes = (SIZE, (480, 272))
    parts = [
        make_video(tmp_path / f"{size[0]}.ts", size=size, frames=50, rate=PACE, draw=barcode, options=OFTEN)
        for size in sizes
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with web(tmp_path) as address:
        source: Any = open_source(f"{address}/slowly/both.ts", SourceOptions(backend=backend, stall=3))
        recorded, plain = (
            open_sink(str(tmp_path / name), SinkOptions(live=True)) for name in ("rec-%Y%m%d-%H%M%S.mkv", "plain.mkv")
        )
        with Pipeline(source, StubRunner(), [recorded, plain], Options(sync="live", limit=80)) as pipeline:
            shown = [size_of(one.frame.picture) for one in pipeline]
        assert any("the picture changes to 480x272" in line for line in source.remarks)
        assert source.reconnects == 0
        source.close()
    assert set(shown) == {SIZE}
    counts = []
    for path, size in zip(sorted(tmp_path.glob("rec-*.mkv")), sizes, strict=True):
        frames = list(open_source(str(path)))
        assert {size_of(frame.picture) for frame in frames} == {size}
        counts.append(len(frames))
    assert min(counts) >= 10
    assert sum(counts) == recorded.frames_written
    assert recorded.frames_written + recorded.dropped == plain.frames_written + plain.dropped == len(shown)
    assert {size_of(frame.picture) for frame in open_source(str(tmp_path / "plain.mkv"))} == {SIZE}


def test_of_several_sizes_the_best_one_is_fetched_alone(tmp_path: Path) -> None:
    lines = ["#EXTM3U"]
    for name, size in {"low": (160, 120), "high": (320, 240), "middle": (240, 180)}.items():
        make_hls(tmp_path, name, True, size)
        lines += [f"#EXT-X-STREAM-INF:BANDWIDTH={size[0] * 1000},RESOLUTION={size[0]}x{size[1]}", f"{name}.m3u8"]
    (tmp_path / "master.m3u8").write_text("\n".join(lines) + "\n")
    with web(tmp_path) as address:
        source = open_source(f"{address}/master.m3u8", SourceOptions(backend="av"))
        list(islice(source, 60))
        source.close()
    fetched = [path for path in Handler.asked if path.endswith(".ts")]
    assert sum("high" in path for path in fetched) == 3
    assert max(sum(name in path for path in fetched) for name in ("low", "middle")) <= 1  # to learn what it is


def test_hls_whose_encoder_starts_anew_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it was live: only what stays ended is over."""
    now, ends = 0.0, False
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(av_feed, "time", clock)
    monkeypatch.setattr(av_feed, "AvFeed", lambda *_: SimpleNamespace(ends=ends, close=lambda: None))
    connect = av_feed.connector(Address.parse("http://host/live.m3u8"), SourceOptions(), 2.0)
    for start in (0.0, 5000.0):
        now, ends = start, False
        connect()
        now, ends = start + 3600, True
        with pytest.raises(FeedLost, match="for now"):
            connect()
    now += av_feed.OVER - 1
    with pytest.raises(FeedLost, match="for now"):
        connect()
    now += 2
    with pytest.raises(FeedEnded):
        connect()


@pytest.mark.slow
def test_hls_that_has_ended_is_not_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av_feed, "OVER", 3.0)
    make_hls(tmp_path, "live", ended=False)
    with web(tmp_path) as address:
        source = open_source(f"{address}/live.m3u8", SourceOptions(backend="av"))
        frames = iter(source)
        read = [read_barcode(frame.picture.planes[0]) for frame in islice(frames, 25)]
        playlist = tmp_path / "live.m3u8"
        playlist.write_text(playlist.read_text() + "#EXT-X-ENDLIST\n")
        read += [read_barcode(frame.picture.planes[0]) for frame in frames]
        source.close()
    assert read == list(range(75))


@pytest.mark.slow
def test_key_frames_may_be_far_apart(tmp_path: Path) -> None:
    clip = make_video(tmp_path / "a.ts", size=SIZE, frames=200, draw=barcode, options={"g": "100", "bf": "0"})
    data = clip.read_bytes()
    (tmp_path / "joined.ts").write_bytes(data[len(data) // 50 // 188 * 188 :])  # half a second of 100 frames are gone
    with web(tmp_path) as address:
        start = time.monotonic()
        source = open_source(f"{address}/slowly/joined.ts", SourceOptions(backend="av", retries=0))
        took = time.monotonic() - start
        read = [read_barcode(frame.picture.planes[0]) for frame in islice(source, 10)]
        assert read == list(range(100, 110))
        assert (source.reconnects, source.health().errors) == (0, 0)  # type: ignore[attr-defined]
        source.close()
    assert took > 2


@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
@needs_gst
@pytest.mark.slow
def test_gstreamer_waits_for_a_key_frame_while_packets_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gst_description, "BACKLOG", "identity drop-probability=1")
    monkeypatch.setattr(gst_feed, "KEY_FRAME", 3.0)
    with RtspServer() as server:
        start = time.monotonic()
        with pytest.raises(SourceError, match="no key frame came"):
            open_source(server.url(), SourceOptions(backend="gst", open_timeout=1.0, first_timeout=1.0))
        assert time.monotonic() - start > 2.9
        server.freeze()
        with pytest.raises(SourceError, match="nothing came for 1 s"):
            open_source(server.url(), SourceOptions(backend="gst", open_timeout=1.0, first_timeout=1.0))


def test_a_camera_that_gives_nothing_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg waits for a V4L2 device for ever; here a pipe takes its place, and a file that of the pictures."""
    clip = make_video(tmp_path / "clip.mp4", size=SIZE, frames=30)
    reader, writer = os.pipe()
    watch = av_feed.watch_device
    monkeypatch.setattr(av_feed, "watch_device", lambda device: watch(f"/proc/self/fd/{reader}"))
    feed = av_feed.AvFeed(Address.parse(clip), Address.parse("v4l2:///dev/video0"), None, {}, (5.0, 0.5))
    feed.device = av_feed.watch_device("/dev/video0")
    assert feed.device is not None
    start = time.monotonic()
    assert feed.read(0.3) is None
    assert time.monotonic() - start > 0.25
    os.write(writer, b"x")
    wait_for(lambda: feed.read(0.3) is not None)
    os.read(reader, 1)
    with pytest.raises(FeedLost, match=r"nothing came for 0\.5 s"):
        list(iter(lambda: feed.read(0.3), "never"))
    feed.close()
    for one in (reader, writer):
        os.close(one)

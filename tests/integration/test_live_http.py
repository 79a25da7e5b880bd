"""What comes over HTTP and UDP: MJPEG, HLS, plain files, transport streams; and gst:// pipelines."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from barcodes import read_barcode
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from videos import make_video
from waiting import LONG, ends, free_port, wait_for
from web import SIZE, barcode, make_hls, web

pytestmark = pytest.mark.slow  # a minute of servers that come and go

BACKENDS = [
    "av",
    pytest.param("gst", marks=pytest.mark.skipif(not available(), reason="this Python has no GStreamer")),
]


def numbers(source: Source, count: int | None = None) -> list[int | None]:
    return [read_barcode(luma(frame)) for frame in islice(source, count)]


def luma(frame: Any) -> Any:
    return frame.picture.planes[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_mjpeg(tmp_path: Path, backend: str) -> None:
    with web(tmp_path) as address:
        start = time.monotonic()
        source = open_source(f"{address}/mjpeg", SourceOptions(backend=backend))
        frames = list(islice(source, 25))
        took = time.monotonic() - start
        source.close()
    read = [read_barcode(luma(frame)) for frame in frames]
    assert None not in read
    assert np.diff(np.array(read, int)).max() <= 2
    # By arrival, for the camera sends no time: every 40 ms, or later.
    assert 0.8 * 24 * 0.04 < frames[-1].time - frames[0].time <= took
    assert not any(frame.gap for frame in frames)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_on_a_web_server_plays_in_real_time_and_ends(tmp_path: Path, backend: str) -> None:
    make_video(tmp_path / "clip.mkv", size=SIZE, frames=30, draw=barcode)
    with web(tmp_path) as address:
        source = open_source(f"{address}/clip.mkv", SourceOptions(backend=backend))
        start = time.monotonic()
        assert numbers(source)[-5:] == [25, 26, 27, 28, 29]
        assert time.monotonic() - start > 0.7
        source.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_hls(tmp_path: Path, backend: str) -> None:
    make_hls(tmp_path, "live", ended=True)
    with web(tmp_path) as address:
        opened = open_source(f"{address}/live.m3u8", SourceOptions(backend=backend))
        start = time.monotonic()
        assert numbers(opened, 50) == list(range(50))
        assert time.monotonic() - start > 1.7
        opened.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("path", "said"), [("denied401", "wrong user or password"), ("denied403", "403"), ("none.mp4", "404")]
)
def test_a_refusal_is_said_as_such(tmp_path: Path, backend: str, path: str, said: str) -> None:
    with web(tmp_path) as address:
        url = f"{address}/{path}?token=hush".replace("http://", "http://me:hush@")
        with ends(), pytest.raises(SourceError, match=said) as caught:
            open_source(url, SourceOptions(backend=backend, first_timeout=3 * LONG))
    assert "hush" not in str(caught.value)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg (make system-deps)")
@pytest.mark.parametrize("backend", BACKENDS)
def test_ffmpeg_serves_dies_and_serves_again(backend: str) -> None:
    port = free_port()
    words = "-loglevel error -re -f lavfi -i testsrc=s=320x240:r=25 -c:v libx264 -tune zerolatency -g 25 -f mpegts "
    words += f"-listen 1 http://127.0.0.1:{port}/live.ts"

    def serve() -> subprocess.Popen[bytes]:
        server = subprocess.Popen(["ffmpeg", *words.split()], stderr=subprocess.DEVNULL)
        # It takes one client and no other: to ask whether it is there would be that one.
        wait_for(lambda: re.search(rf":{port:04X} \S+ 0A ", Path("/proc/net/tcp").read_text()))
        return server

    server = serve()
    try:
        start = time.monotonic()
        source = open_source(f"http://127.0.0.1:{port}/live.ts", SourceOptions(backend=backend))
        frames = iter(source)
        first = list(islice(frames, 30))
        assert not any(frame.gap for frame in first)
        killed = time.monotonic()
        server.kill()
        server.wait()
        server = serve()
        away = time.monotonic() - killed
        rest = list(islice(frames, 60))
        assert sum(frame.gap for frame in rest) == 1
        assert source.reconnects == 1
        assert first[-1].time + away - 0.5 < rest[-1].time <= time.monotonic() - start
        source.close()
    finally:
        server.kill()
        server.wait()


def test_a_transport_stream_over_udp(tmp_path: Path) -> None:
    port = free_port()
    clip = make_video(tmp_path / "clip.ts", size=SIZE, frames=100, draw=barcode, options={"g": "10", "bf": "0"})
    stop = threading.Event()

    def send() -> None:
        target = f"udp://127.0.0.1:{port}?pkt_size=1316"
        with av.open(str(clip)) as source, av.open(target, "w", "mpegts") as output:
            stream = output.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is None or stop.wait(0.02):
                    break
                packet.stream = stream
                output.mux(packet)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        opened = open_source(f"udp://127.0.0.1:{port}")
        read = numbers(opened, 20)
        opened.close()
    finally:
        stop.set()
        sender.join()
    assert [b - a for a, b in pairwise(read)].count(1) >= 17  # type: ignore[operator]


@pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
class TestPipelines:
    def test_any_pipeline(self) -> None:
        source = open_source(
            "gst://videotestsrc is-live=true ! video/x-raw,width=96,height=64,framerate=30/1,format=NV12"
        )
        frames = list(islice(source, 10))
        assert (source.info.width, source.info.height, source.info.layout.value, source.live) == (96, 64, "nv12", True)
        assert [frame.index for frame in frames] == list(range(10))
        source.close()

    @pytest.mark.parametrize("size", [(33, 17), (50, 30), (64, 48)])
    @pytest.mark.parametrize("layout", ["I420", "NV12", "RGB"])
    def test_padded_rows_and_odd_sizes(self, layout: str, size: tuple[int, int]) -> None:
        caps = f"video/x-raw,width={size[0]},height={size[1]},format={layout}"
        source = open_source(f"gst://videotestsrc is-live=true pattern=red ! {caps}")
        rgb = next(iter(source)).rgb
        assert rgb.shape == (size[1], size[0], 3)
        assert np.abs(rgb.astype(int) - (255, 0, 0)).max() <= 5
        source.close()

    @pytest.mark.parametrize(
        "pipeline", ["nosuchelement", "videotestsrc ! nosuch property=1", "videotestsrc pattern=!"]
    )
    def test_what_is_no_pipeline(self, pipeline: str) -> None:
        with pytest.raises(UsageError, match="GStreamer cannot make this pipeline"):
            open_source(f"gst://{pipeline}")

    def test_a_pipeline_that_fails_hides_its_password(self) -> None:
        uri = "gst://rtspsrc location=rtsp://me:hush@127.0.0.1:1/x user-pw=hush ! decodebin"
        with pytest.raises(SourceError) as caught:
            open_source(uri, SourceOptions(first_timeout=0.1))
        assert "hush" not in str(caught.value)

    def test_a_pipeline_needs_gstreamer(self) -> None:
        with pytest.raises(UsageError, match="needs GStreamer"):
            open_source("gst://videotestsrc", SourceOptions(backend="av"))

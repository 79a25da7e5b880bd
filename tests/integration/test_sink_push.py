"""Streams pushed to real servers: a recording GstRtspServer, FFmpeg's RTMP listener, an SRT listener; and bad ones."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import pytest
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.sinks import av_push as av_push_sink
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.threaded import Threaded
from videos import make_info, make_shown
from waiting import LONG, ends, free_port

pytestmark = pytest.mark.slow  # a minute, and milliseconds are asserted

RATE = 30
INFO = make_info(width=160, height=120, rate=Fraction(RATE), time_base=Fraction(1, 90_000))
SHOWN = [make_shown(index, 0, INFO) for index in range(10)]

# A server in a process of its own, that can be killed as one is: it prints its port, then a line a frame.
RECORDER = """
import sys
from saliency_tubes.stream.media.gst_load import load
gst = load("GstRtsp", "GstRtspServer")
rtsp, port, login = gst.GstRtspServer, sys.argv[1], sys.argv[2:]
server = rtsp.RTSPServer.new()
server.set_service(port)
factory = rtsp.RTSPMediaFactory.new()
factory.set_launch("( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! fakesink name=out sync=false async=false "
                   "signal-handoffs=true )")
factory.set_transport_mode(rtsp.RTSPTransportMode.RECORD)
factory.set_latency(0)
if login:
    auth, token = rtsp.RTSPAuth.new(), rtsp.RTSPToken.new()
    token.set_string("media.factory.role", "writer")
    auth.add_basic(rtsp.RTSPAuth.make_basic(*login), token)
    server.set_auth(auth)
    permissions = rtsp.RTSPPermissions.new()
    for permission in ("media.factory.access", "media.factory.construct"):
        permissions.add_permission_for_role("writer", permission, True)
    factory.set_permissions(permissions)
def configure(_, media):
    media.get_element().get_by_name("out").connect("handoff", lambda *_: print("frame", flush=True))
factory.connect("media-configure", configure)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
gst.GLib.MainLoop().run()
"""


class Recorder:
    """That server, and how many frames it got."""

    def __init__(self, port: int = 0, *login: str) -> None:
        try:
            load("GstRtsp", "GstRtspServer")
        except Missing as missing:
            pytest.skip(str(missing))
        command = [sys.executable, "-c", RECORDER, str(port), *login]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.frames = 0
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def _count(self) -> None:
        assert self.process.stdout is not None
        for _ in self.process.stdout:
            self.frames += 1

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def recorder(port: int = 0, *login: str) -> Iterator[Recorder]:
    server = Recorder(port, *login)
    try:
        yield server
    finally:
        server.kill()


TIMEOUT = 2.0
"""seconds that FFmpeg waits for a server"""


class Feed:
    """Writes frames at their pace until told otherwise; `index` goes on from one use to the next."""

    def __init__(self, sink: Sink) -> None:
        assert sink.never_waits  # test_worker.py has what that means
        self.sink, self.index = sink, 0
        sink.open(INFO)

    def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        start, first = time.monotonic(), self.index
        while not condition():
            begin = time.monotonic()
            assert begin - start < seconds, f"not in time: {self.sink.state} {self.sink.notes} {self.sink.drops}"
            shown = SHOWN[self.index % len(SHOWN)]
            self.sink.write(replace(shown, frame=replace(shown.frame, index=self.index, pts=self.index * 3000)))
            self.index += 1
            time.sleep(max(0.0, start + (self.index - first) / RATE - time.monotonic()))

    def close(self) -> None:
        self.sink.close()
        assert self.sink.frames_written + self.sink.dropped == self.index
        assert "hush" not in f"{self.sink.name} {self.sink.notes} {self.sink.description}"


def test_rtsp_arrives_whole() -> None:
    with recorder() as server:
        feed = Feed(open_sink(f"rtsp://127.0.0.1:{server.port}/live"))
        feed.until(lambda: server.frames >= 60)
        assert feed.sink.state == "running"
        assert "H.264 by" in feed.sink.description
        feed.close()
        assert feed.sink.dropped == 0


def test_rtsp_comes_back_after_the_server_does() -> None:
    port = free_port()
    feed = Feed(open_sink(f"rtsp://127.0.0.1:{port}/live"))
    feed.until(lambda: feed.sink.state == "retrying")  # nobody there yet
    for _ in range(2):
        with recorder(port) as server:
            feed.until(lambda: server.frames > 10)
        feed.until(lambda: feed.sink.state == "retrying")
    assert isinstance(feed.sink, Threaded)
    assert feed.sink.reopened >= 2
    feed.close()


def test_rtsp_password_right_and_wrong() -> None:
    with recorder(0, "eva", "hush") as server:
        feed = Feed(open_sink(f"rtsp://eva:hush@127.0.0.1:{server.port}/live"))
        feed.until(lambda: server.frames > 5)
        feed.close()
        wrong = Feed(open_sink(f"rtsp://eva:hush2@127.0.0.1:{server.port}/live"))
        wrong.until(lambda: wrong.sink.state == "retrying")
        assert "refuses the user name or password" in wrong.sink.notes[-1]
        wrong.close()


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
def test_a_frozen_server_is_noticed_and_stalls_nobody(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av_push_sink, "TIMEOUT", TIMEOUT)
    gaps: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        last = time.monotonic()
        while not stop.wait(0.01):
            gaps.append(time.monotonic() - last)
            last = time.monotonic()

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as frozen:
            feed = Feed(open_sink(f"{scheme}://eva:hush@127.0.0.1:{frozen.getsockname()[1]}/live/x"))
            feed.until(lambda: feed.sink.state == "retrying", LONG)
            with ends():
                feed.close()
    finally:
        stop.set()
        thread.join()
    assert max(gaps) < 0.8 * TIMEOUT  # Python's lock is free while FFmpeg waits for the network


RTMP = """
import json, sys
import av
with av.open(sys.argv[1], options={"listen": "1", "timeout": "20"}) as container:
    print("[]", flush=True)
    try:
        for frame in container.decode(video=0):
            print(json.dumps([frame.time, frame.width]), flush=True)
    except av.FFmpegError:
        pass
"""


def test_rtmp_to_a_listener() -> None:
    address = f"rtmp://127.0.0.1:{free_port()}/live/stream"
    with subprocess.Popen([sys.executable, "-c", RTMP, address], stdout=subprocess.PIPE, text=True) as listener:
        feed = Feed(open_sink(address))
        start = time.monotonic()
        feed.until(lambda: feed.sink.frames_written > 60 or time.monotonic() - start > 8)
        feed.close()
        assert listener.stdout is not None
        frames = [json.loads(line) for line in listener.stdout][1:]
    assert len(frames) >= 50
    times = [time for time, _ in frames]
    assert times == sorted(times)
    assert 1 < times[-1] - times[0] < 9
    assert frames[0][1] == 160


def test_srt_to_a_listener(tmp_path: Path) -> None:
    try:
        gst = load("GstApp", "GstVideo").Gst
    except Missing as missing:
        pytest.skip(str(missing))
    if gst.ElementFactory.find("srtsink") is None:
        pytest.skip("needs GStreamer's srtsink (gstreamer1.0-plugins-bad)")
    port, path = free_port(socket.SOCK_DGRAM), tmp_path / "got.ts"
    pipeline = gst.parse_launch(
        f"srtsrc uri=srt://127.0.0.1:{port}?mode=listener ! filesink location={path} sync=false"
    )
    pipeline.set_state(gst.State.PLAYING)
    try:
        feed = Feed(open_sink(f"srt://127.0.0.1:{port}?passphrase="))
        start = time.monotonic()
        feed.until(lambda: time.monotonic() - start > 3)
        feed.close()
        time.sleep(0.5)
    finally:
        pipeline.set_state(gst.State.NULL)
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 45


def test_any_pipeline(tmp_path: Path) -> None:
    try:
        load("GstApp", "GstVideo")
    except Missing as missing:
        pytest.skip(str(missing))
    path = tmp_path / "out.mkv"
    sink = open_sink(f"gst://videoconvert ! x264enc tune=zerolatency ! matroskamux ! filesink location={path}")
    feed = Feed(sink)
    feed.until(lambda: feed.sink.frames_written >= 20)
    feed.close()
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == sink.frames_written
    broken = Feed(open_sink(f"gst://videoconvert ! filesink location={tmp_path}/rtsp://me:hush@nowhere/x"))
    broken.until(lambda: broken.sink.state == "retrying")
    assert "Could not open file" in broken.sink.notes[0]
    broken.close()


def test_options_reach_the_encoder(tmp_path: Path) -> None:
    sizes = []
    for name, bitrate in (("small.mkv", 30_000), ("large.mkv", 900_000)):
        sink = open_sink(str(tmp_path / name), SinkOptions(bitrate=bitrate, encoder="x264"))
        sink.open(INFO)
        for index in range(60):
            shown = SHOWN[index % 10]
            sink.write(replace(shown, frame=replace(shown.frame, index=index, pts=index * 3000)))
        sink.close()
        sizes.append((tmp_path / name).stat().st_size)
    assert sizes[1] > 1.5 * sizes[0]

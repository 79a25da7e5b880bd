"""Real servers that die, freeze, refuse, change and damage what they send: the stream goes on."""

from __future__ import annotations

import gc
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.gst_feed import available
from saliency_tubes.stream.source import Source, SourceOptions, open_source
from servers import Proxy, RtspServer, open_files, python_with_gi, resident, wait_for

pytestmark = pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")

BACK = 2.0
"""seconds from a server's return to the first frame"""
NOTICED = 3.0
"""seconds from a server's freezing to the source's noticing"""


@pytest.fixture(params=["av", "gst"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "gst" and not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")
    return str(request.param)


class Viewer:
    """Reads a source in a thread, as the pipeline does, and keeps what tests ask about."""

    def __init__(self, url: str, **options: Any) -> None:
        self.source: Any = open_source(url, SourceOptions(**options))
        self.count = self.gaps = 0
        self.wrong: list[str] = []
        self.error: Exception | None = None
        self.recent: deque[Any] = deque(maxlen=100)
        self._thread = threading.Thread(target=self._read, name="saliency-tubes viewer")
        self._thread.start()

    def _read(self) -> None:
        last = None
        try:
            for frame in self.source:
                if frame.index != self.count or (last is not None and frame.pts <= last.pts):
                    self.wrong.append(f"frame {frame.index} at {frame.pts} after {self.count - 1}")
                size = (frame.picture.width, frame.picture.height)
                if size != (self.source.info.width, self.source.info.height):
                    self.wrong.append(f"size {size}")
                self.gaps += frame.gap
                self.recent.append((frame.index, frame.pts, frame.gap))
                last = frame
                self.count += 1
        except SourceError as error:
            self.error = error

    def more(self, frames: int = 5, within: float = 5.0) -> float:
        """Waits for that many more frames; returns after how many seconds the first of them came."""
        start = self.count
        first = wait_for(lambda: self.count > start, within)
        wait_for(lambda: self.count >= start + frames, within)
        return first

    def close(self) -> None:
        self.source.stop()
        self._thread.join(5)
        assert not self._thread.is_alive()
        self.source.close()
        assert self.wrong == []
        assert self.error is None

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def kill(server: RtspServer, viewer: Viewer) -> None:
    """The server dies and comes back."""
    server.kill()
    wait_for(lambda: not viewer.source.connected, NOTICED)
    server.start()
    assert viewer.more(within=BACK) <= BACK


def freeze(server: RtspServer, viewer: Viewer) -> None:
    """It stands still, connections open, and goes on."""
    server.freeze()
    assert wait_for(lambda: not viewer.source.connected, NOTICED + 0.3) <= NOTICED
    server.thaw()
    assert viewer.more(within=BACK) <= BACK


def resize(server: RtspServer, viewer: Viewer) -> None:
    """The camera restarts with another size."""
    size = server.options.get("size", "320x240")
    server.kill()
    wait_for(lambda: not viewer.source.connected, NOTICED)
    server.start(size="480x272" if size == "320x240" else "320x240")
    assert viewer.more(within=BACK) <= BACK
    assert any("it is scaled to fit 320x240" in line for line in viewer.source.remarks)


def recode(server: RtspServer, viewer: Viewer) -> None:
    """The camera restarts with another codec and rate."""
    codec = server.options.get("codec", "h264")
    server.kill()
    wait_for(lambda: not viewer.source.connected, NOTICED)
    server.start(codec={"h264": "jpeg", "jpeg": "h265", "h265": "h264"}[codec], rate=15 if codec == "h264" else 30)
    assert viewer.more(within=BACK) <= BACK


FAULTS = [kill, freeze, resize, recode]


def repeat(fault: Any, backend: str, rounds: int) -> None:
    with RtspServer() as server, Viewer(server.url(), backend=backend) as viewer:
        viewer.more(10)
        fault(server, viewer)
        gc.collect()
        files, threads, memory = open_files(), threading.active_count(), resident()
        for _ in range(rounds - 1):
            fault(server, viewer)
        gc.collect()
        assert viewer.source.reconnects >= rounds
        assert viewer.gaps >= rounds
        assert open_files() <= files + 2, "file handles are left over"
        assert threading.active_count() <= threads
        assert resident() - memory < 24 << 20, "memory is left over"


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(fault: Any, backend: str) -> None:
    repeat(fault, backend, 1 if fault is freeze else 2)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_hundred_faults(fault: Any, backend: str) -> None:
    repeat(fault, backend, 100)


def wrong_then_right(backend: str, rounds: int) -> None:
    with RtspServer(user="me", password="hush") as server:
        viewer = Viewer(server.url("me:hush"), backend=backend)
        try:
            for _ in range(rounds):
                viewer.more(3)
                server.kill()
                wait_for(lambda: not viewer.source.connected, NOTICED)
                server.start(password="changed")
                wait_for(lambda: "wrong user or password" in viewer.source.state, 4)
                server.kill()
                server.start(password="hush")
                assert viewer.more(3, within=4.0) <= 3.0
                said = (viewer.source.last_error, viewer.source.state, viewer.source.name, *viewer.source.remarks)
                assert not any("hush" in text for text in said)
        finally:
            viewer.close()


def test_wrong_credentials_then_right(backend: str) -> None:
    wrong_then_right(backend, 1)


@pytest.mark.slow
def test_a_hundred_wrong_credentials(backend: str) -> None:
    wrong_then_right(backend, 100)


@pytest.mark.parametrize("login", ["", "me:wrong", "you:hush"])
def test_wrong_credentials_at_first(backend: str, login: str) -> None:
    with RtspServer(user="me", password="hush") as server:
        start = time.monotonic()
        with pytest.raises(SourceError, match=r"wrong user or password \(401\)") as caught:
            open_source(server.url(login), SourceOptions(backend=backend))
        assert time.monotonic() - start < 2
        assert "wrong@" not in str(caught.value)
        with pytest.raises(SourceError, match=r"nothing there under that name \(404\)"):
            open_source(server.url("me:hush").replace("live", "dead"), SourceOptions(backend=backend))
        source = open_source(server.url("me:hush"), SourceOptions(backend=backend))
        assert source.name == server.url("me:***")
        source.close()


@pytest.mark.parametrize("damage", ["drop", "flip", "cut"])
def test_lost_and_damaged_packets_are_counted_and_survived(backend: str, damage: str) -> None:
    # Real pictures in many packets: the ball alone fits into one a frame.
    noisy = "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! "
    encoder = "x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=15 ! rtph264pay name=pay0 pt=96"
    with (
        RtspServer(launch=noisy + encoder) as server,
        Proxy(server.port, **{damage: 0.05}) as proxy,
        Viewer(proxy.url(), backend=backend) as viewer,
    ):
        viewer.more(40, within=10)
        assert proxy.spoiled > 4
        errors = viewer.source.errors
        proxy.active = False
        viewer.more(30, within=10)
        assert viewer.source.reconnects == 0
        # What only makes a wrong picture, FFmpeg conceals without a word; GStreamer leaves such frames out.
        assert errors > 0 or (backend, damage) != ("av", "drop")


def test_both_transports(backend: str) -> None:
    with RtspServer() as server:
        for transport in ("tcp", "udp"):
            with Viewer(server.url(), backend=backend, transport=transport) as viewer:
                viewer.more(30)
                assert viewer.source.remarks == ()


def test_times_are_those_of_the_camera(backend: str) -> None:
    with RtspServer() as server, Viewer(server.url(), backend=backend) as viewer:
        viewer.more(60)
        steps = {b[1] - a[1] for a, b in pairwise(list(viewer.recent)[10:])}
        assert max(abs(step - 3000) for step in steps) <= 200


def test_giving_up(backend: str) -> None:
    with RtspServer() as server:
        viewer = Viewer(server.url(), backend=backend, retries=2)
        viewer.more(3)
        server.kill()
        wait_for(lambda: viewer.error is not None)
        assert "gave up after 2 attempts" in str(viewer.error)
        viewer.error = None
        viewer.close()


def test_waiting_for_a_server_that_is_not_there_yet(backend: str) -> None:
    server = RtspServer()
    server.kill()
    starter = threading.Timer(0.5, server.start)
    starter.start()
    source: Source = open_source(server.url(), SourceOptions(backend=backend, first_timeout=8))
    starter.join()
    assert next(iter(source)).index == 0
    source.close()
    server.kill()


@pytest.fixture(scope="module")
def warm() -> None:
    """What GStreamer keeps open once and for all is there before anything is counted."""
    with RtspServer() as server:
        for backend in ["av", *["gst"] * available()]:
            open_source(server.url(), SourceOptions(backend=backend)).close()


@pytest.fixture(autouse=True)
def nothing_left(warm: None) -> Iterator[None]:
    """No file handle stays open once the source and the server are gone."""
    before = open_files()
    yield
    gc.collect()
    wait_for(lambda: open_files() <= before + 1, 3)

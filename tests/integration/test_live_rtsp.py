"""Real RTSP servers: refused and given up, damaged on the way, timed by the camera. More in test_live_faults.py."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from proxy import Proxy
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.sources import av_feed, gst_description
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.feed import BEHIND
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import NOISE, RtspServer, open_files, python_with_gi
from videos import make_video
from viewer import Viewer
from waiting import LONG, ends, wait_for

pytestmark = pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")


@pytest.fixture(params=["av", "gst"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "gst" and not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")
    return str(request.param)


@pytest.mark.parametrize("login", ["", "me:wrong", "you:hush"])
def test_wrong_credentials_at_first(backend: str, login: str) -> None:
    with RtspServer(user="me", password="hush") as server:
        with ends(), pytest.raises(SourceError, match=r"wrong user or password \(401\)") as caught:
            open_source(server.url(login), SourceOptions(backend=backend, first_timeout=3 * LONG))
        assert "wrong@" not in str(caught.value)
        with pytest.raises(SourceError, match=r"nothing there under that name \(404\)"):
            open_source(server.url("me:hush").replace("live", "dead"), SourceOptions(backend=backend))
        source = open_source(server.url("me:hush"), SourceOptions(backend=backend))
        assert source.name == server.url("me:***")
        source.close()


@pytest.mark.parametrize("damage", ["drop", "flip", "cut"])
def test_lost_and_damaged_packets_are_counted_and_survived(backend: str, damage: str) -> None:
    with (
        RtspServer(launch=NOISE) as server,
        Proxy(server.port, **{damage: 0.05}) as proxy,
        Viewer(proxy.url(), backend=backend) as viewer,
    ):
        viewer.more(20, within=10)
        assert proxy.spoiled > 4
        errors = viewer.source.health().errors
        proxy.active = False
        viewer.more(10, within=10)
        assert viewer.source.reconnects == 0
        # What only makes a wrong picture, FFmpeg conceals without a word; GStreamer leaves such frames out.
        assert errors > 0 or (backend, damage) != ("av", "drop")


@pytest.mark.parametrize("transport", ["tcp", pytest.param("udp", marks=pytest.mark.slow)])
def test_decoding_that_is_too_slow_begins_at_the_present_again(
    backend: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = av_feed.AvFeed._make
    monkeypatch.setattr(av_feed.AvFeed, "_make", lambda feed, frame: (time.sleep(0.1), make(feed, frame))[1])
    monkeypatch.setattr(gst_description, "BACKLOG", f"{gst_description.BACKLOG} ! identity sleep-time=15000")
    with (
        RtspServer(launch=NOISE) as server,
        Viewer(server.url(), backend=backend, transport=transport) as viewer,
    ):
        source, lags = viewer.source, []
        if (backend, transport) == ("av", "udp"):  # the system's buffer may overrun first: what is lost is lost
            while viewer.sink.frames_written < 90:
                lags.append(source.health().lag)
                time.sleep(0.05)
            assert max(lags) < 2 * BEHIND + 0.5
            return
        wait_for(lambda: source.reconnects, 25)
        assert re.fullmatch(r"fell [1-3]\.\d s behind the camera: .*", source.last_error)
        assert (source.health().skips, source.health().overloaded) == (1, True)
        viewer.more(3)
        assert source.health().lag < 1.5


def test_both_transports(backend: str) -> None:
    with RtspServer() as server:
        for transport in ("tcp", "udp"):
            with Viewer(server.url(), backend=backend, transport=transport) as viewer:
                viewer.more(15)
                assert viewer.source.remarks == ()


def test_times_are_those_of_the_camera(backend: str) -> None:
    with RtspServer(rate=60) as server, Viewer(server.url(), backend=backend) as viewer:
        viewer.more(60)
        steps = {(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(list(viewer.sink.recent)[10:])}
        assert max(abs(step - 1500) for step in steps) <= 200


def test_giving_up(backend: str) -> None:
    with RtspServer() as server:
        viewer = Viewer(server.url(), backend=backend, retries=2)
        viewer.more(3)
        server.kill()
        wait_for(lambda: viewer.error is not None)
        assert "gave up after 2 attempts" in str(viewer.error)
        viewer.error = None
        viewer.close()


@pytest.mark.slow
def test_a_file_that_a_server_plays_is_live_all_the_same(backend: str, tmp_path: Path) -> None:
    """Its SDP names a range; over is what a server kills, or ends, only when the run is stopped."""
    clip = make_video(tmp_path / "clip.mp4", size=(320, 240), frames=50, options={"g": "10", "bf": "0"})
    with RtspServer(file=clip) as server, Viewer(server.url(), backend=backend) as viewer:
        viewer.more(60, within=20)  # played to its end, and from its beginning again
        played = viewer.source.reconnects
        assert played >= 1
        server.kill()
        wait_for(lambda: not viewer.source.health().connected)
        server.start()
        viewer.more(5, within=20)
        assert viewer.source.reconnects > played


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

"""One connection through GStreamer: what its errors mean, and what stays of it afterwards."""

from __future__ import annotations

import gc
import http.server
import os
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import Feed, FeedLost, FeedRefused
from saliency_tubes.stream.sources.gst_description import describe
from saliency_tubes.stream.sources.gst_feed import GstFeed, available, connector
from saliency_tubes.stream.sources.open import open_source
from waiting import free_port

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers /404/whatever with 404."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_error(int(self.path.split("/")[1]))


@pytest.fixture
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("path", "words", "credentials"),
    [
        ("401/cam404.jpg", "wrong user or password (401)", True),
        ("403/cam401.jpg", "this user may not see it (403)", True),
        ("404/cam401.jpg", "nothing there under that name (404)", False),
    ],
)
def test_the_answer_counts_and_not_the_address(web: str, path: str, words: str, credentials: bool) -> None:
    with pytest.raises(FeedRefused) as caught:
        connector(Address.parse(f"{web}/{path}"), SourceOptions(), 2.0)()
    assert (str(caught.value), caught.value.credentials) == (words, credentials)


def test_a_server_that_fails_is_asked_again_whatever_its_address(web: str) -> None:
    with pytest.raises(FeedLost):
        connector(Address.parse(f"{web}/500/cam401.jpg"), SourceOptions(), 2.0)()


def _read_on(feed: Feed) -> None:
    while True:
        feed.read(1.0)


def test_a_connection_that_broke_is_gone_without_a_search_for_cycles() -> None:
    gc.collect()
    gc.disable()
    try:
        feed = connector(
            Address.parse("gst://videotestsrc is-live=true ! identity error-after=3"), SourceOptions(), 2.0
        )()
        left = weakref.ref(feed)
        with pytest.raises(FeedLost):
            _read_on(feed)
        feed.close()
        del feed
        assert left() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("scheme", ["rtsps", "https"])
def test_certificates_that_are_away_for_a_moment_end_a_connection_and_no_stream(scheme: str, tmp_path: Path) -> None:
    address = Address.parse(f"{scheme}://127.0.0.1:1/live")
    with pytest.raises(FeedLost, match=r"no certificates can be read from .*away\.pem"):
        GstFeed(describe(address, SourceOptions())[0], address, {}, 2.0, tls_ca=str(tmp_path / "away.pem"))


WITHOUT_TLS = """
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.sources.open import SourceOptions, open_source
try:
    open_source("rtsps://me:hush@127.0.0.1/live", SourceOptions(backend="gst"))
except UsageError as error:
    print(error)
"""


def test_what_it_needs_for_tls_is_named() -> None:
    environment = os.environ | {"GIO_USE_TLS": "dummy"}
    done = subprocess.run([sys.executable, "-c", WITHOUT_TLS], capture_output=True, text=True, env=environment)
    line = "rtsps://me:***@127.0.0.1/live: GStreamer needs glib-networking for TLS: apt-get install glib-networking"
    assert done.stdout == f"{line}\n", done.stderr


@pytest.mark.skipif(shutil.which("gst-launch-1.0") is None, reason="needs gst-launch-1.0 (make system-deps)")
def test_srt_is_read_without_naming_a_backend() -> None:
    """PyAV's wheels have no SRT."""
    port = free_port()
    words = f"""videotestsrc is-live=true ! video/x-raw,width=160,height=96,framerate=25/1 ! x264enc tune=zerolatency
        key-int-max=10 ! mpegtsmux ! srtsink uri=srt://127.0.0.1:{port}?mode=listener wait-for-connection=false"""
    with subprocess.Popen(["gst-launch-1.0", *words.split()], stdout=subprocess.DEVNULL) as camera:
        try:
            source = open_source(f"srt://127.0.0.1:{port}", SourceOptions(wait=True))
            try:
                frames = [frame for frame, _ in zip(source, range(5), strict=False)]
            finally:
                source.close()
        finally:
            camera.kill()
    assert [(frame.picture.width, frame.picture.height) for frame in frames] == [(160, 96)] * 5

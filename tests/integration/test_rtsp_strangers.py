"""RTSP with implementations that are neither GStreamer's nor our own: live555, Debian's rtsp-server-perl, ffmpeg."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
from barcodes import read_barcode
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.sources.pattern import draw
from servers import RtspServer, python_with_gi
from videos import make_video
from waiting import free_port, wait_for

pytestmark = pytest.mark.slow  # half a minute of servers that come and go

SIZE, FRAMES = (320, 240), 200
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg (make system-deps)")

MARKERLESS = pytest.mark.xfail(reason="live555's proxy sets no RTP marker bits: GStreamer shows each picture in halves")
LIVE555 = """
import sys, threading, liblivemedia
server = liblivemedia.ProxyServer("", int(sys.argv[1]))
server.addURI(sys.argv[2], "live", "", "")
server.start()
print("ready", flush=True)
threading.Event().wait()
"""
"""serves anew what it reads elsewhere, as live555ProxyServer does"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every frame says its number; a key frame now and then, so that one who comes late sees soon."""
    return make_video(
        tmp_path_factory.mktemp("clip") / "numbers.mp4",
        size=SIZE,
        frames=FRAMES,
        draw=lambda index, size: draw(index, 0, size).rgb(),
        options={"g": "10", "bf": "0"},
    )


@contextmanager
def running(*words: object, ready: bool = False, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program while the block lasts. ready: it says when it is, in a line. options: of Popen."""
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(list(map(str, words)), **{**quiet, **options}) as one:
        try:
            if ready:
                assert one.stdout is not None
                one.stdout.readline()
            yield one
        finally:
            one.kill()


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def numbers(source: Source, count: int) -> list[int]:
    read = [read_barcode(frame.picture.planes[0]) for frame in islice(source, count)]
    source.close()
    # One who comes in the middle of a group of pictures may get its rest in grey.
    return [number for number in read if number is not None]


def opened(address: str, **options: Any) -> Source:
    """Once the stream is there: a server that knows of no such name says so, and is asked again."""
    for _ in range(50):
        with suppress(SourceError):
            return open_source(address, SourceOptions(**options))
        time.sleep(0.1)
    return open_source(address, SourceOptions(**options))


@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
@pytest.mark.skipif(find_spec("liblivemedia") is None, reason="there is no live555 (pip install liblivemedia)")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("backend", ["av", pytest.param("gst", marks=MARKERLESS)])
def test_live555_serves(clip: Path, backend: str, transport: str) -> None:
    port = free_port()
    with RtspServer(file=clip) as camera, running(sys.executable, "-c", LIVE555, port, camera.url(), ready=True):
        source = opened(f"rtsp://127.0.0.1:{port}/live", backend=backend, transport=transport)
        read = numbers(source, 60)
    assert len(read) >= 45
    assert all(b == a + 1 for a, b in pairwise(read[-30:]))


@needs_ffmpeg
@pytest.mark.skipif(shutil.which("live555MediaServer") is None, reason="no live555MediaServer (livemedia-utils)")
@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("backend", ["av", "gst"])
def test_live555_serves_a_file(clip: Path, tmp_path: Path, backend: str, transport: str) -> None:
    if backend == "gst" and not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", clip, "-c", "copy", tmp_path / "numbers.264"], check=True)
    said = tmp_path / "said.txt"
    with said.open("w") as log, running("live555MediaServer", cwd=tmp_path, stdout=log, stderr=log):
        wait_for(lambda: "<filename>" in said.read_text())
        found = re.search(r"rtsp://[^/]*:(\d+)/<filename>", said.read_text())
        port = found[1] if found else 554  # the first that was free
        read = numbers(opened(f"rtsp://127.0.0.1:{port}/numbers.264", backend=backend, transport=transport), 60)
    assert len(read) >= 55
    assert all(b == a + 1 for a, b in pairwise(read))


@needs_ffmpeg
@pytest.mark.skipif(shutil.which("rtsp-server-perl") is None, reason="no rtsp-server-perl (make system-deps)")
def test_rtsp_server_perl_serves_what_ffmpeg_pushes(clip: Path) -> None:
    # By UDP alone, and to FFmpeg's kind of client: it names no Content-Base, and expects paths to be joined as FFmpeg
    # joins them, where GStreamer follows RFC 3986.
    clients, sources = free_port(), free_port()
    address = ["--client_listen_address", "127.0.0.1", "--source_listen_address", "127.0.0.1"]
    with running("rtsp-server-perl", "--clientport", clients, "--serverport", sources, *address):
        wait_for(partial(listens, sources))
        push = ["-re", "-i", clip, "-c", "copy", "-f", "rtsp", "-rtsp_transport", "udp"]
        with running("ffmpeg", "-loglevel", "error", *push, f"rtsp://127.0.0.1:{sources}/cam"):
            read = numbers(opened(f"rtsp://127.0.0.1:{clients}/cam", backend="av", transport="udp"), 60)
    assert len(read) >= 45
    assert all(b == a + 1 for a, b in pairwise(read[-30:]))


@needs_ffmpeg
def test_ffmpeg_takes_what_is_pushed(clip: Path, tmp_path: Path) -> None:
    port, taken = free_port(), tmp_path / "taken.mkv"
    listen = ["-rtsp_flags", "listen", "-i", f"rtsp://127.0.0.1:{port}/live", "-c", "copy", taken]
    with running("ffmpeg", "-loglevel", "error", *listen) as listener:
        source = open_source(str(clip), SourceOptions(realtime=True))
        sink = open_sink(f"rtsp://127.0.0.1:{port}/live", SinkOptions(live=True))
        sink.open(source.info)
        for frame in islice(source, 100):
            sink.write(Shown(frame, ()))
        sink.close()
        source.close()
        listener.wait(10)
    # At the end the sink repeats the last picture, to push those before it through.
    read = list(dict.fromkeys(numbers(open_source(str(taken)), FRAMES)))
    assert len(read) >= 60
    assert all(b == a + 1 for a, b in pairwise(read))

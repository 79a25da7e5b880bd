"""What a camera, a server or a file may do to us: less memory than 600 MB, less time than it was given, one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from bombs import BOMBS, SIDE, jpeg, make_bomb
from hostile import HTTP, RTSP, attacking
from saliency_tubes.stream.sources.gst_feed import available
from waiting import ends
from web import web

BACKENDS = [
    "av",
    pytest.param("gst", marks=pytest.mark.skipif(not available(), reason="this Python has no GStreamer")),
]
MOST = 600
"""MB more than the libraries take that are loaded"""
OPENING = 2.0
ATTACK = 60.0
"""seconds after which an attempt is taken to hang, the start of its process included"""
"""seconds that an attempt may take"""
ENDLESS = [*(f"rtsp {name}" for name in RTSP), *(f"http {name}" for name in HTTP)]
TRY = """
import sys, time
from saliency_tubes.stream.sources.open import SourceOptions, open_source

def peak():
    words = open("/proc/self/status").read().split()
    return int(words[words.index("VmHWM:") + 1]) >> 10

uri, backend, opening = sys.argv[1], sys.argv[2], float(sys.argv[3])
before, start = peak(), time.monotonic()
try:
    source = open_source(uri, SourceOptions(backend=backend, open_timeout=opening, first_timeout=0.1))
    for frame in source:
        pass
    print("it was read")
except Exception as error:
    print(f"{type(error).__name__}: {error}")
print(peak() - before)
print(time.monotonic() - start)
"""


def quick(names: Iterable[str], *some: str) -> list[Any]:
    """These of them in every run; the others, which take as long, are slow."""
    return [name if name in some else pytest.param(name, marks=pytest.mark.slow) for name in names]


def attempt(uri: str, backend: str) -> tuple[str, int, float]:
    """What is said, MB that it took, and seconds."""
    words = [sys.executable, "-c", TRY, uri, backend, str(OPENING)]
    run = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    *said, memory, seconds = run.stdout.splitlines()
    print(uri, backend, *said, memory, "MB", seconds, "s")
    assert len(said) == 1
    return said[0], int(memory), float(seconds)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", quick(BOMBS, "bomb.h264", "bomb.mjpeg"))
def test_a_picture_that_is_too_large_is_not_decoded(tmp_path: Path, name: str, backend: str) -> None:
    said, memory, _ = attempt(str(make_bomb(tmp_path, name)), backend)
    assert f"a picture of {SIDE}x{SIDE} has more pixels than --max-size 4096x2304 allows" in said
    assert memory < MOST / 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", quick(["bomb.ts", "bomb.jpg"], "bomb.jpg"))
def test_nor_one_on_a_web_server(tmp_path: Path, name: str, backend: str) -> None:
    make_bomb(tmp_path, name)
    with web(tmp_path) as address:
        said, memory, _ = attempt(f"{address}/{name}", backend)
    assert f"a picture of {SIDE}x{SIDE} has more pixels than --max-size 4096x2304 allows" in said
    assert memory < MOST / 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_nor_one_of_a_camera_that_sends_mjpeg(backend: str) -> None:
    part = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg() + b"\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"

    def send(client):
        client.sendall(head)
        while True:
            client.sendall(part)

    with attacking(send) as port:
        said, memory, _ = attempt(f"http://127.0.0.1:{port}/camera", backend)
    assert f"a picture of {SIDE}x{SIDE}" in said
    assert memory < MOST / 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", quick(ENDLESS, "rtsp sdp", "http headers"))
def test_what_has_no_end_is_left(address: str, backend: str) -> None:
    scheme, name = address.split()
    attack = (RTSP if scheme == "rtsp" else HTTP)[name]
    with attacking(attack, asked_first=attack is not RTSP["sdp"]) as port, ends(ATTACK):
        said, memory, seconds = attempt(f"{scheme}://127.0.0.1:{port}/{name}", backend)
    assert said.startswith("SourceError: ")
    assert memory < MOST
    assert seconds < OPENING + 15  # a key frame may come for so long, where packets come

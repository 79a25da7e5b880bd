"""The drawn video for a browser, over real sockets; tests/web/ looks at the page in a real one."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from http.client import HTTPMessage
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import COMMAND
from saliency_tubes.engine.errors import SinkError, UsageError
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import check_outputs, open_sink
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.web import app, server
from saliency_tubes.stream.web.server import WebServer
from videos import make_info, make_shown
from waiting import deaf_port, free_port, wait_for

INFO = make_info()


@contextmanager
def opened(uri: str = "web://:0", info: VideoInfo = INFO) -> Iterator[WebSink]:
    sink = open_sink(uri, SinkOptions(live=True))
    assert isinstance(sink, WebSink)  # in no thread of ours: it never waits
    sink.open(info)
    try:
        yield sink
    finally:
        sink.close()


def shown(level: int, info: VideoInfo = INFO) -> Shown:
    """A picture of one grey level, in full range so that a JPEG of it has the same."""
    made = make_shown(level, level, info)
    picture = made.frame.picture
    for plane in picture.planes[1:]:
        plane[...] = 128
    picture.planes[0][...] = level
    full = replace(picture, color=replace(picture.color, full_range=True))
    return replace(made, frame=replace(made.frame, image=full))


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    try:
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def served(port: int) -> list[str]:
    """The names of the streams that are served."""
    return [stream["name"] for stream in json.loads(ask(port, "/api/streams")[2])]


class Viewer:
    """Reads the pictures of a stream as a browser does, part by part."""

    def __init__(self, port: int, name: str = "live") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._connection.request("GET", f"/streams/{name}.mjpeg")
        self._answer = self._connection.getresponse()
        assert self._answer.getheader("Content-Type") == "multipart/x-mixed-replace; boundary=picture"
        assert self._answer.readline() == b"--picture\r\n"

    def read(self) -> np.ndarray:
        """The next picture, RGB."""
        headers = dict(iter(lambda: tuple(self._answer.readline().rstrip().split(b": ", 1)), (b"",)))
        data = self._answer.read(int(headers[b"Content-Length"]))
        assert self._answer.readline() == b"\r\n"
        assert self._answer.readline() == b"--picture\r\n"
        return decode(data)

    def ended(self) -> bool:
        return self._answer.read() == b""

    def close(self) -> None:
        self._answer.close()
        self._connection.close()


def decode(data: bytes) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    return bgr[..., ::-1]


def test_the_newest_picture_is_seen_as_it_is() -> None:
    info = make_info()
    with opened(info=info) as sink:
        given = make_shown(3, 3, info)
        sink.write(given)
        status, headers, data = ask(sink.port, "/streams/live.jpg")
        assert (status, headers["Content-Type"], headers["Cache-Control"]) == (200, "image/jpeg", "no-store")
        difference = np.abs(decode(data).astype(int) - given.rgb.astype(int))
        assert difference.mean() < 8  # JPEG's own


def test_every_viewer_sees_pictures_in_order_and_each_is_encoded_once() -> None:
    with opened() as sink, ExitStack() as stack:
        viewers = [Viewer(sink.port) for _ in range(3)]
        for viewer in viewers:
            stack.callback(viewer.close)
        wait_for(lambda: sink.viewers == 3)
        for level in (40, 90, 140, 190):
            sink.write(shown(level))
            assert [round(viewer.read().mean()) for viewer in viewers] == [level] * 3
        assert sink.frames_written == 4
    assert (sink.state, sink.dropped) == ("closed", 0)


def test_nothing_is_encoded_while_nobody_watches() -> None:
    with opened() as sink:
        for level in range(50):
            sink.write(shown(level))
        assert sink.frames_written == 0
        ask(sink.port, "/streams/live.jpg")
        assert sink.frames_written == 1


def test_a_viewer_that_does_not_read_holds_up_nobody_and_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STALLED", 1.0)
    info = make_info(width=640, height=480)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8)
    with opened(info=info) as sink, ExitStack() as stack:
        lazy, keen = Viewer(sink.port), Viewer(sink.port)
        stack.callback(lazy.close)
        stack.callback(keen.close)
        wait_for(lambda: sink.viewers == 2)
        number = 0
        while sink.viewers == 2:  # until the lazy one's buffers are full, and then for a second
            made = shown(number % 200, info)
            made.frame.picture.planes[0][...] = noise
            sink.write(made)
            keen.read()
            number += 1
        assert sink.viewers == 1
        sink.write(shown(77, info))
        assert round(keen.read().mean()) == 77


def test_closing_ends_all_who_watch() -> None:
    with opened() as sink:
        viewer = Viewer(sink.port)
        sink.write(shown(10))
        viewer.read()
        wait_for(lambda: sink.viewers == 1)
        port = sink.port
    viewer.ended()
    viewer.close()
    wait_for(lambda: sink.viewers == 0)
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/")


def test_without_a_picture_there_is_none_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SILENCE", 0.1)
    with opened() as sink:
        status, headers, _ = ask(sink.port, "/streams/live.jpg")
    assert (status, headers["Retry-After"]) == (503, "1")


def test_the_last_picture_comes_again_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "SILENCE", 0.1)
    with opened() as sink:
        sink.write(shown(50))
        viewer = Viewer(sink.port)
        assert [round(viewer.read().mean()) for _ in range(3)] == [50] * 3
        viewer.close()
        wait_for(lambda: sink.viewers == 0)  # who has left is noticed


def test_what_is_there_and_what_is_not() -> None:
    with opened("web://:0/door") as sink:
        sink.write(shown(50))
        status, headers, page = ask(sink.port, "/")
        assert status == 200
        assert b"<title>Saliency Tubes</title>" in page
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert served(sink.port) == ["door"]
        for path in (
            "/streams/live.jpg",
            "/streams/door.png",
            "/streams/door",
            "/static/../app.py",
            "/static/..%2fapp.py",
            "/nothing",
        ):
            assert ask(sink.port, path)[0] == 404
        for path in ("/", "/api/streams", "/streams/door.jpg", "/streams/door.mjpeg"):
            status, _, body = ask(sink.port, path, "HEAD")
            assert (status, body) == (200, b"")
        assert ask(sink.port, "/", "POST")[0] == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8080", 200), ("127.0.0.1", 200), ("[::1]:1", 200), ("192.0.2.7:80", 200), ("evil.example:8080", 403)],
)
def test_a_foreign_page_cannot_read_by_a_name_of_its_own(host: str, status: int) -> None:
    with opened() as sink:
        sink.write(shown(50))
        assert ask(sink.port, "/streams/live.jpg", Host=host)[0] == status


def test_streams_share_a_port() -> None:
    port = free_port()
    with opened(f"web://:{port}/door") as door, opened(f"web://:{port}/yard") as yard:
        door.write(shown(50))
        yard.write(shown(150))
        assert served(port) == ["door", "yard"]
        assert round(decode(ask(port, "/streams/yard.jpg")[2]).mean()) == 150
        with pytest.raises(UsageError, match=rf"another stream is served there; name it, as in web://:{port}/door"):
            open_sink(f"web://:{port}/door").open(INFO)
        door.close()
        assert served(port) == ["yard"]


def test_whoever_comes_while_a_server_ends_finds_its_port_free(monkeypatch: pytest.MonkeyPatch) -> None:
    port, stop, ending = free_port(), WebServer.stop, threading.Event()

    def stop_slowly(server: WebServer) -> None:
        ending.set()
        time.sleep(0.2)
        stop(server)

    monkeypatch.setattr(WebServer, "stop", stop_slowly)
    with opened(f"web://:{port}/door") as door:
        closing = threading.Thread(target=door.close)
        closing.start()
        assert ending.wait(10)
        with opened(f"web://:{port}/yard"):
            assert served(port) == ["yard"]
        closing.join()


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SinkError, match=rf"cannot listen on 127.0.0.1 port {port}: .*in use"):
            open_sink(f"web://:{port}").open(INFO)


@pytest.mark.parametrize(
    "uri",
    ["web://:99999", "web://user:hush@:8080", "web://:8080/a/b", "web://:8080/a?hush=1", "web://:8080/" + "a" * 65],
)
def test_wrong_addresses(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink(uri)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_one_place_has_one_stream() -> None:
    with pytest.raises(UsageError, match="is also another output"):
        check_outputs("in.mp4", ["web://:8080", "web://127.0.0.1:8080/"])
    check_outputs("in.mp4", ["web://:8080/a", "web://:8080/b"])


def test_pixels_that_are_not_square_are_shown_as_they_should_be() -> None:
    info = replace(INFO, pixel_aspect=Fraction(2))
    with opened(info=info) as sink:
        sink.write(shown(50, info))
        assert decode(ask(sink.port, "/streams/live.jpg")[2]).shape == (info.height, 2 * info.width, 3)


def test_the_page_is_there_before_the_camera(tmp_path: Path) -> None:
    port = free_port()
    with deaf_port() as deaf:
        words = ["run", f"rtsp://me:hush@127.0.0.1:{deaf}/x", f"web://:{port}/door", "--wait"]
        command = subprocess.Popen([COMMAND, *words], cwd=tmp_path, stderr=subprocess.PIPE)
        try:
            wait_for(lambda: command.poll() is not None or answers(port), 120)
            (told,) = json.loads(ask(port, "/api/streams")[2])
            assert (told["name"], told["connected"], told["state"]) == ("door", False, "opening")
            assert told["problems"][0]["reason"] == "opening"
            alone = json.loads(ask(port, "/api/streams/door")[2])
            assert {**alone, "problems": []} == {**told, "problems": []}  # these tell for how long
            assert ask(port, "/")[0] == 200
            assert ask(port, "/streams/door.jpg")[0] == 404
            command.terminate()
            _, said = command.communicate(timeout=60)
        finally:
            command.kill()
    assert command.returncode == 143
    assert b"Traceback" not in said
    assert b"hush" not in said


def answers(port: int) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return ask(port, "/api/streams")[0] == 200
    return False

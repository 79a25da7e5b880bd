"""`saliency-tubes demo`, and runs without an output, as users start them: on a terminal with a screen, or without."""

from __future__ import annotations

import http.client
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import COMMAND
from saliency_tubes.stream.app.demo import DEMO_CLIP
from saliency_tubes.stream.sources.open import open_source
from videos import all_pts
from waiting import deaf_port, free_port, wait_for

MINUTES = 180.0
"""seconds after which a demo is taken to hang: other tests may want all cores"""
PLACES = ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY", "CI", "BROWSER")
"""variables that say where the user sits"""


class Started:
    """A command in a process of its own, on a terminal or not."""

    def __init__(self, words: Sequence[object], folder: Path, *, terminal: bool = False, **env: str) -> None:
        self.path, self._master = folder / "said", -1
        environment = {name: value for name, value in os.environ.items() if name not in PLACES} | env
        with self.path.open("wb") as said:
            out: object = said
            if terminal:
                self._master, out = pty.openpty()
            self.process = subprocess.Popen(
                [COMMAND, *map(str, words)], cwd=folder, env=environment, stdin=out, stdout=out, stderr=out
            )
            if terminal:
                os.close(int(str(out)))

    @property
    def said(self) -> str:
        self._listen()
        return self.path.read_text(errors="replace")

    def _listen(self) -> None:
        """A terminal that nobody reads would stop the command."""
        if self._master < 0:
            return
        os.set_blocking(self._master, False)
        with suppress(OSError), self.path.open("ab") as said:  # EIO: the other side is closed
            while data := os.read(self._master, 1 << 16):
                said.write(data)

    def close(self) -> None:
        if self._master >= 0:
            self._listen()
            os.close(self._master)
            self._master = -1

    def wait_for(self, text: str, seconds: float = MINUTES) -> None:
        wait_for(lambda: text in self.said or self.process.poll() is not None, seconds)
        assert text in self.said

    def end(self, seconds: float = MINUTES) -> int:
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self._listen()
            time.sleep(0.05)
        return self.process.wait(1)


@contextmanager
def started(words: Sequence[object], folder: Path, **how: object) -> Iterator[Started]:
    made = Started(words, folder, **how)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        made.close()


def ask(port: int, path: str) -> tuple[int, bytes]:
    """0 where nobody answers."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as asking, suppress(OSError):
        asking.request("GET", path)
        answer = asking.getresponse()
        return answer.status, answer.read()
    return 0, b""


def is_captioned(port: int, path: str = "/streams/demo.jpg") -> bool:
    """Whether something is written above the film, which is the class once there is a tube."""
    status, data = ask(port, path)
    if status != 200:
        return False
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return written(picture) > 30


def written(picture: np.ndarray) -> int:
    """White pixels where the caption is; the film has none there."""
    return int((picture[12:60, 12:300].min(axis=2) >= 225).sum())


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A screen, and a browser that writes down what it was asked to open, and stays."""
    script, running = tmp_path / "browser", tmp_path / "running"
    script.write_text(f'#!/bin/sh\necho $$ >> {running}\necho "$1" >> {tmp_path}/opened\nexec sleep 600\n')
    script.chmod(0o755)
    yield {"DISPLAY": ":9", "BROWSER": str(script)}
    for number in running.read_text().split() if running.exists() else ():
        os.kill(int(number), signal.SIGTERM)


def opened(folder: Path) -> list[str]:
    return (folder / "opened").read_text().split() if (folder / "opened").exists() else []


# the demo


def test_not_on_a_terminal_the_page_is_there_until_the_files_are(tmp_path: Path, browser: dict[str, str]) -> None:
    if shutil.disk_usage(tmp_path).free < 50e6:
        pytest.skip("needs 50 MB of disk")
    port = free_port()
    with started(["demo", "--port", port], tmp_path, **browser) as demo:
        demo.wait_for(f"watch at http://127.0.0.1:{port}/")
        assert ask(port, "/")[0] == 200
        states = json.loads(ask(port, "/api/streams")[1])
        assert demo.end() == 0, demo.said
    assert "demo" in json.dumps(states)
    assert len(all_pts(tmp_path / "demo" / "demo.mp4")) == 132
    assert len((tmp_path / "demo" / "demo.jsonl").read_text().splitlines()) == 6
    assert (tmp_path / "demo" / "demo.png").stat().st_size > 100_000
    assert f"at a glance       demo{os.sep}demo.png" in demo.said
    assert f"to keep watching  {COMMAND} demo --serve" in demo.said
    assert opened(tmp_path) == []
    assert "class " not in demo.said


def test_on_a_terminal_it_opens_the_page_and_serves_until_ctrl_c(tmp_path: Path, browser: dict[str, str]) -> None:
    """Also where the files are not written yet: what there is of them is finished."""
    with closing(open_source(str(DEMO_CLIP))) as source:
        assert max(written(frame.rgb) for frame in source) == 0
    with started(["demo"], tmp_path, terminal=True, **browser) as demo:
        wait_for(lambda: opened(tmp_path), MINUTES)
        port = int(opened(tmp_path)[0].rstrip("/").rpartition(":")[2])
        wait_for(lambda: demo.said and is_captioned(port), MINUTES)
        demo.wait_for("input    files: ")
        demo.process.send_signal(signal.SIGINT)
        assert demo.end() == 130, demo.said
    assert opened(tmp_path) == [f"http://127.0.0.1:{port}/"]
    assert "Traceback" not in demo.said
    assert "the film " not in demo.said


def test_a_port_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    with deaf_port() as port, started(["demo", "--port", port], tmp_path) as demo:
        assert demo.end() == 1
    assert "cannot listen on 127.0.0.1 port" in demo.said.splitlines()[-1]


@pytest.mark.skipif(any(Path("/dev").glob("video*")), reason="there may be a camera")
def test_no_camera(tmp_path: Path) -> None:
    with started(["demo", "--camera"], tmp_path) as demo:
        assert demo.end() == 1
    assert demo.said.splitlines()[-1].startswith("saliency-tubes: error: no camera at this machine (/dev/video*)")
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def test_a_camera_has_no_end(tmp_path: Path) -> None:
    with started(["demo", "--camera", "--no-serve"], tmp_path) as demo:
        assert demo.end() == 2
    assert "leave out --no-serve" in demo.said


# runs without an output


@pytest.fixture
def default_port() -> None:
    """The port where none is named: another program may have it."""

    def is_free() -> bool:
        with suppress(OSError), socket.create_server(("127.0.0.1", 8080)):
            return True
        return False

    try:
        wait_for(is_free)
    except AssertionError:
        pytest.skip("another program has port 8080")


@pytest.mark.usefixtures("default_port")
@pytest.mark.parametrize(
    ("terminal", "where", "opens"),
    [
        (True, {}, True),
        (True, {"DISPLAY": ""}, False),
        (True, {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22"}, False),
        (True, {"CI": "true"}, False),
        (False, {}, False),
    ],
    ids=["at a screen", "no screen", "by SSH", "in CI", "no terminal"],
)
def test_a_live_run_without_an_output_is_a_page(
    tmp_path: Path, browser: dict[str, str], small_model: Path, terminal: bool, where: dict[str, str], opens: bool
) -> None:
    words = ["run", "test://?size=160x120&realtime=1", "--model", small_model]
    with started(words, tmp_path, terminal=terminal, **{**browser, **where}) as run:
        run.wait_for("output   web://127.0.0.1:8080/live (watch at http://127.0.0.1:8080/)")
        assert "note     no output is named: a live input goes to a page for browsers, web://:8080" in run.said
        wait_for(lambda: ask(8080, "/")[0] == 200)
        if opens:
            wait_for(lambda: opened(tmp_path))
        run.process.terminate()
        assert run.end() == 143
    assert opened(tmp_path) == (["http://127.0.0.1:8080/"] if opens else [])


@pytest.mark.usefixtures("default_port")
def test_a_browser_that_is_missing_is_no_error(tmp_path: Path, small_model: Path) -> None:
    words = ["run", "test://?size=160x120&realtime=1", "--model", small_model, "--limit", 20]
    with started(words, tmp_path, terminal=True, DISPLAY=":9", PATH=str(tmp_path)) as run:
        assert run.end() == 0, run.said
    assert "browser  opening http://127.0.0.1:8080/" in run.said


def test_without_the_web_server_there_is_one_line(tmp_path: Path, small_model: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['starlette'] = None\n")
    lacking = {"PYTHONPATH": str(tmp_path)}
    with started(["run", "test://?realtime=1", "--model", small_model], tmp_path, **lacking) as run:
        assert run.end() == 2
    assert run.said.splitlines() == [
        "saliency-tubes: error: no output: a stream needs one, as out.mkv, rtsp://@:8554/explained or null://; "
        "to watch it in a browser: pip install 'saliency-tubes[web]'"
    ]

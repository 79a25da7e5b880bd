"""display:// on a real screen, one of memory: what is seen on it, and a key pressed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from barcodes import read_barcode
from commands import COMMAND
from screens import MISSING, OPENCV, screen
from waiting import wait_for

WIDTH, HEIGHT = 320, 240
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)} (make system-deps)"),
    pytest.mark.skipif(
        not OPENCV.is_dir(), reason="needs opencv-python in .venv/windows, where a new .venv gets it for make test"
    ),
]


@pytest.fixture(name="screen")
def _screen() -> Iterator[str]:
    """$DISPLAY"""
    with screen() as display:
        yield display


def seen(display: str) -> int | None:
    """The number of the picture that is on the screen; None: there is none."""
    words = ["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-video_size", f"{WIDTH}x{HEIGHT}", "-i", display]
    grabbed = subprocess.run(
        [*words, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"], capture_output=True, check=True
    )
    return read_barcode(np.frombuffer(grabbed.stdout, np.uint8).reshape(HEIGHT, WIDTH))


@pytest.mark.parametrize("sync", ["live", pytest.param("aligned", marks=pytest.mark.slow)])
def test_frames_are_seen_and_q_ends_the_run(sync: str, screen: str, tmp_path: Path) -> None:
    environment = {**os.environ, "DISPLAY": screen, "PYTHONPATH": str(OPENCV)}
    log = tmp_path / "stderr"
    with log.open("w") as told:
        process = subprocess.Popen(
            [COMMAND, "run", f"test://?size={WIDTH}x{HEIGHT}&rate=15", "display://", "--frames", "16", "--realtime",
             "--sync", sync],
            stderr=told, env=environment,
        )  # fmt: skip
    try:
        numbers: list[int] = []

        def moves() -> bool:
            number = seen(screen)
            if number is not None:
                numbers.append(number)
            return len(set(numbers)) > 2 or process.poll() is not None

        wait_for(moves, 60)
        assert len(set(numbers)) > 2, log.read_text()
        assert numbers == sorted(numbers), numbers
        subprocess.run(
            ["xdotool", "search", "--name", "^saliency-tubes$", "windowfocus", "key", "q"],
            env=environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    counts = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", log.read_text())
    assert counts, log.read_text()
    read, written, dropped = map(int, counts.groups())
    assert read == written + dropped >= len(set(numbers))


def test_a_screen_that_is_not_there_is_one_line() -> None:
    environment = {**os.environ, "DISPLAY": ":9999", "PYTHONPATH": str(OPENCV)}
    words = [COMMAND, "run", f"test://?size={WIDTH}x{HEIGHT}", "display://"]
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].endswith("there is no screen: ':9999' ($DISPLAY) does not answer")
    assert "Traceback" not in ended.stderr

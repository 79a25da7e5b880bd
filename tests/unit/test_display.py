"""The window, with OpenCV's calls replaced; tests/integration/test_display_window.py opens a real one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import cv2
import pytest
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks import display as display_sink
from saliency_tubes.stream.sinks.display import DisplaySink
from saliency_tubes.stream.sinks.threaded import Threaded
from videos import make_info, make_shown

INFO = make_info()


class Screen:
    """What the window was told, and the keys it answers with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[Any] = []
        self.threads: set[int] = set()
        """that called"""
        self.key, self.visible = -1, 1.0
        monkeypatch.setenv("DISPLAY", ":9")
        answers = {
            "getBuildInformation": lambda: "  GUI:    GTK3",
            "namedWindow": self.by(lambda name, flags: None),
            "resizeWindow": self.by(lambda name, width, height: None),
            "imshow": self.by(lambda name, picture: self.shown.append(picture)),
            "waitKey": self.by(lambda milliseconds: self.key),
            "getWindowProperty": self.by(lambda name, which: self.visible),
            "destroyAllWindows": self.by(lambda: self.shown.append("closed")),
        }
        for name, answer in answers.items():
            monkeypatch.setattr(cv2, name, answer)
        monkeypatch.setattr(display_sink, "_answers", lambda: True)

    def by(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.threads.add(threading.get_ident())
            return answer(*arguments)

        return call


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def test_frames_are_shown_in_colour(screen: Screen) -> None:
    sink = DisplaySink(Address.parse("display://"))
    sink.open(INFO)
    shown = make_shown(0, 0, INFO)
    sink.write(shown)
    assert (screen.shown[0][..., ::-1] == shown.rgb).all()
    assert not sink.wants_stop
    sink.close()
    sink.close()
    assert screen.shown[1:] == ["closed"]
    assert "q or ESC" in sink.description


PROGRAM = """
import {}
cv2.getBuildInformation = lambda: "  GUI:    QT5"
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.sinks.open import open_sink
try:
    open_sink("display://").open(None)
except SinkError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("order", "says"),
    [("av, cv2", "import cv2 before av"), ("cv2, av", "there is no screen"), ("cv2", "there is no screen")],
)
def test_a_window_that_would_hang_is_refused(order: str, says: str) -> None:
    """As it would where PyAV is loaded before an OpenCV whose windows are Qt's."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-c", PROGRAM.format(order)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert says in run.stdout, run.stderr


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27])
def test_a_key_asks_to_stop(screen: Screen, key: int) -> None:
    sink = DisplaySink(Address.parse("display://"))
    sink.open(INFO)
    screen.key = key
    sink.write(make_shown(0, 0, INFO))
    assert sink.wants_stop
    sink.close()


def test_the_window_is_of_the_thread_that_writes(screen: Screen) -> None:
    """From another one OpenCV shows nothing, and raises nothing."""
    sink = Threaded(DisplaySink(Address.parse("display://")))
    sink.open(INFO)
    sink.write(make_shown(0, 0, INFO))
    sink.close()
    assert len(screen.shown) == 2
    assert len(screen.threads) == 1
    assert threading.get_ident() not in screen.threads


def test_a_screen_that_does_not_answer(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_sink, "_answers", lambda: False)
    with pytest.raises(SinkError, match=r"':9' .* does not answer"):
        DisplaySink(Address.parse("display://")).open(INFO)


def test_closing_the_window_asks_to_stop(screen: Screen) -> None:
    sink = DisplaySink(Address.parse("display://"))
    sink.open(INFO)
    screen.visible = 0.0
    sink.write(make_shown(0, 0, INFO))
    assert sink.wants_stop
    sink.close()


def test_an_opencv_without_windows_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  GUI:    NONE")
    with pytest.raises(
        SinkError, match=r"pip uninstall --yes opencv-python-headless && .* -m pip install opencv-python "
    ):
        DisplaySink(Address.parse("display://")).open(INFO)


def test_no_screen(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SinkError, match="no screen"):
        DisplaySink(Address.parse("display://")).open(INFO)

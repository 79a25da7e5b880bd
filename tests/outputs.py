"""One output of each kind, with somebody at its other end, and what is found there."""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import cv2
import pytest
from brokers import MOSQUITTO, broker, listening
from listeners import LISTENERS, Receiver, decode_cut_off, needs_gst
from rtspclients import FAST
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from videos import all_pts


@dataclass
class Output:
    """An output, and what arrived of what it was given."""

    uri: str
    options: SinkOptions = SinkOptions()
    pictures: Callable[[], int] | None = None
    """how many pictures arrived; None: nobody can tell"""
    events: Callable[[], list[str]] | None = None
    """the JSON of each event that arrived, in order; None: it takes no events"""
    endless: bool = False
    """whoever watches sees what comes from now on, and not each picture that there was"""
    watch: Callable[[Sink], AbstractContextManager[None]] = lambda sink: nullcontext()
    """somebody watches the sink, which is open, while the block lasts"""
    counts_frames: bool = True
    """whether `frames_written` is told of every frame, watched or not"""

    leaky: bool = False
    """whether it loses frames, and counts them, where they come faster than at their own pace"""
    prepare: Callable[[], None] = lambda: None
    """what is to be done before it is made"""

    def make(self) -> Sink:
        self.prepare()
        return open_sink(self.uri, self.options)


Maker = Callable[[Path, Path], AbstractContextManager[Output]]
"""Makes an output. The first folder is for what the output writes, the second for what is at its other end."""


@contextmanager
def _video(name: str, live: bool, folder: Path, other: Path) -> Iterator[Output]:
    def count() -> int:
        return sum(len(all_pts(path)) for path in folder.rglob(f"*{Path(name).suffix}"))

    yield Output(str(folder / name), SinkOptions(live=live), pictures=count)


@contextmanager
def _pictures(name: str, live: bool, folder: Path, other: Path) -> Iterator[Output]:
    yield Output(str(folder / name), SinkOptions(live=live), pictures=lambda: len(list(folder.rglob("*.png"))))


@contextmanager
def _lines(name: str, live: bool, folder: Path, other: Path) -> Iterator[Output]:
    path = folder / name
    options = SinkOptions(live=live)
    yield Output(str(path), options, events=lambda: path.read_text("utf-8").splitlines(), counts_frames=False)


@contextmanager
def _standard_output(live: bool, folder: Path, other: Path) -> Iterator[Output]:
    path, before = other / "stdout", sys.stdout
    with path.open("w") as file:

        def redirect() -> None:  # not before the test itself: pytest has its own after each fixture
            sys.stdout = file

        try:
            yield Output(
                "-",
                SinkOptions(live=live),
                events=lambda: path.read_text("utf-8").splitlines(),
                counts_frames=False,
                prepare=redirect,
            )
        finally:
            sys.stdout = before


@contextmanager
def _nothing(uri: str, folder: Path, other: Path) -> Iterator[Output]:
    yield Output(uri)


@contextmanager
def _pipeline(folder: Path, other: Path) -> Iterator[Output]:
    needs_gst("GstApp", "GstVideo")
    path = other / "out.mkv"
    uri = f"gst://videoconvert ! x264enc tune=zerolatency ! matroskamux ! filesink location={path}"
    yield Output(uri, pictures=lambda: len(all_pts(path)), leaky=True)


@contextmanager
def _mqtt(qos: int, folder: Path, other: Path) -> Iterator[Output]:
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto: make system-deps")
    with broker(other) as made, listening(made.port, "home/events") as heard:
        uri = f"mqtt://127.0.0.1:{made.port}/home/events?qos={qos}"
        yield Output(uri, events=lambda: [payload for _, payload, _ in tuple(heard)], counts_frames=False)


@contextmanager
def _webhook(folder: Path, other: Path) -> Iterator[Output]:
    receiver = Receiver()

    def calls() -> list[dict[str, object]]:
        return [json.loads(body) for body in tuple(receiver.bodies)]

    def events() -> list[str]:
        return [json.dumps(call["event"], ensure_ascii=False, separators=(",", ":")) for call in calls()]

    uri = f"hook+http://127.0.0.1:{receiver.port}/?class=yoga&cooldown=0"
    try:
        yield Output(uri, pictures=lambda: sum(call["snapshot"] is not None for call in calls()), events=events)
    finally:
        receiver.close()


@contextmanager
def _pushed(scheme: str, folder: Path, other: Path) -> Iterator[Output]:
    path = other / "pushed"

    def count() -> int:
        try:
            return len(decode_cut_off(path))
        except (OSError, av.FFmpegError):  # nothing of it is there yet
            return 0

    with LISTENERS[scheme](path) as uri:
        yield Output(uri, pictures=count, endless=True, leaky=True)


@contextmanager
def _served(folder: Path, other: Path) -> Iterator[Output]:
    needs_gst("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
    seen: list[float | None] = []

    @contextmanager
    def watch(sink: Sink) -> Iterator[None]:
        done = threading.Event()

        def look() -> None:
            url = f"rtsp://127.0.0.1:{sink.port}/live"  # type: ignore[attr-defined]
            with av.open(url, options=FAST, timeout=(20, 20)) as container:
                for frame in container.decode(video=0):
                    seen.append(frame.time)
                    if done.is_set():
                        return

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    yield Output("rtsp://@:0/live", pictures=lambda: len(seen), endless=True, watch=watch, counts_frames=False)


@contextmanager
def _web(folder: Path, other: Path) -> Iterator[Output]:
    ports: list[int] = []
    seen: set[bytes] = set()

    @contextmanager
    def watch(sink: Sink) -> Iterator[None]:
        ports.append(sink.port)  # type: ignore[attr-defined]
        yield

    def count() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[0]}/streams/live.jpg", timeout=5) as answer:
                seen.add(answer.read())
        except urllib.error.HTTPError:  # there is no picture yet
            pass
        return len(seen)

    yield Output("web://:0", pictures=count, endless=True, watch=watch, counts_frames=False)


@contextmanager
def _display(folder: Path, other: Path) -> Iterator[Output]:
    if any(line.split() == ["GUI:", "NONE"] for line in cv2.getBuildInformation().splitlines()):
        pytest.skip("this OpenCV has no windows: test_the_window_keeps_the_contract runs this with one that has")
    if not os.environ.get("DISPLAY"):
        pytest.skip("there is no screen")
    yield Output("display://")


QUICK: dict[str, Maker] = {
    **{name: partial(_video, name, False) for name in ("out.mp4", "out.mov", "out.mkv", "rec/%Y%m%d-%H%M%S.mkv")},
    **{f"live {name}": partial(_video, name, True) for name in ("out.mp4", "rec/%Y%m%d/%H%M%S.mp4")},
    "frames/%06d.png": partial(_pictures, "frames/%06d.png", False),
    "live frames/%06d.png": partial(_pictures, "frames/%06d.png", True),
    "events.jsonl": partial(_lines, "events.jsonl", False),
    "live events.jsonl": partial(_lines, "events.jsonl", True),
    "-": partial(_standard_output, False),
    "live -": partial(_standard_output, True),
    "null://": partial(_nothing, "null://"),
    "gst://": _pipeline,
    "rtsp://@": _served,
    "web://": _web,
    "mqtt://": partial(_mqtt, 1),
    "hook+http://": _webhook,
    "display://": _display,
}
SLOW: dict[str, Maker] = {f"{scheme}://": partial(_pushed, scheme) for scheme in LISTENERS}
"""seconds each: what takes every output is run with these by make test-slow alone"""
OUTPUTS = {**QUICK, **SLOW}

"""A stream that is served as a page, for tests: test:// with a network whose evidence follows its mark."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from browser import Page
from markrunner import MarkRunner
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Explanation, Frame
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.sources.base import Source, SourceHealth
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.telemetry.events import Event
from waiting import wait_for

RATE = 25
SIZE = (320, 240)
OPERATOR = "only-for-tests-of-the-page"
"""the token of those who may change the stream for everybody"""
STYLE = Style(threshold=0.15)


class Windows(Sink):
    """Keeps what was explained, by the window's number."""

    def __init__(self) -> None:
        super().__init__("windows")
        self.by_number: dict[int, Explanation] = {}

    def event(self, event: Event) -> None:
        self.by_number[event.explanation.window] = event.explanation


class Fragile:
    """test:// as a camera whose connection is lost while `away` is set."""

    live = True
    remarks: tuple[str, ...] = ()

    def __init__(self, pattern: Source) -> None:
        self.away = threading.Event()
        self.name, self.info, self._pattern, self._reconnects = "test://fragile", pattern.info, pattern, 0
        self.close = pattern.close
        self._frames = self._read()

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    def health(self) -> SourceHealth:
        away = self.away.is_set()
        state = "lost: no route to host" if away else "running"
        return SourceHealth(can_be_away=True, connected=not away, state=state, reconnects=self._reconnects)

    def stop(self) -> None:
        self._pattern.stop()

    def _read(self) -> Iterator[Frame]:
        index, gap = 0, False
        for frame in self._pattern:
            if self.away.is_set():
                gap = True
                continue
            self._reconnects += gap
            yield replace(frame, index=index, gap=gap)
            index, gap = index + 1, False


class Served:
    """A stream at `port`; 0: any that is free."""

    def __init__(
        self,
        port: int = 0,
        size: tuple[int, int] = SIZE,
        runner: MarkRunner | None = None,
        name: str = "live",
        rate: int = RATE,
        web_rtc: bool = False,
    ) -> None:
        self.windows = Windows()
        options = SinkOptions(live=True, web_operator_token=OPERATOR, web_rtc=web_rtc)
        sink = open_sink(f"web://:{port}/{name}", options)
        assert isinstance(sink, WebSink)
        self.sink = sink
        self.camera = Fragile(open_source(f"test://?size={size[0]}x{size[1]}&rate={rate}&realtime=1"))
        options = Options(Target(0), STYLE, "live", max_age=9.0)
        self._pipeline = Pipeline(self.camera, runner or MarkRunner(delay=0.05), [sink, self.windows], options)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        # From then on it has all its threads.
        wait_for(lambda: self.windows.by_number or not self._thread.is_alive(), 60)
        self.port = sink.port
        self.url = f"http://127.0.0.1:{sink.port}/"

    def _run(self) -> None:
        with self._pipeline as pipeline:
            for _ in pipeline:
                pass

    def close(self) -> None:
        self._pipeline.stop()
        self._thread.join()
        self.camera.close()


@contextmanager
def serve(**how: Any) -> Iterator[Served]:
    served = Served(**how)
    try:
        yield served
    finally:
        served.close()


def watch(page: Page, url: str, look: str = "", painter: str = "webgl") -> None:
    """Opens the page and waits for a frame with its tube. painter: webgl, canvas2d, or what the page chooses itself."""
    page.open("about:blank")  # so that another look is another visit
    page.command("Storage.clearDataForOrigin", origin=url.rstrip("/"), storageTypes="local_storage")
    page.said.clear()
    page.open(f"{url}{painter and '?painter=' + painter}{look and '#' + look}")
    page.wait("() => globalThis.saliencyTubes?.frame?.()?.drawn", 60)


def frame(page: Page) -> dict[str, Any]:
    """What the canvas shows: `ShownFrame` of stage.ts."""
    return dict(page.run("() => saliencyTubes.frame()"))


def ask(page: Page, **look: Any) -> None:
    """Changes this viewer's look."""
    page.run("(change) => { saliencyTubes.look.patch(change); return saliencyTubes.stage.redraw(); }", look)


_PICTURE = """() => {
  const canvas = saliencyTubes.stage.element.querySelector("canvas");
  return [saliencyTubes.frame(), canvas.toDataURL("image/png").split(",")[1]];
}"""
_NEXT = """(count) => new Promise((done) => {
  const seen = [];
  const { stage } = saliencyTubes;
  const first = saliencyTubes.frame();
  const end = stage.shown.watch((frame) => {
    if (frame === first || !frame) return;
    seen.push([frame, stage.element.querySelector("canvas").toDataURL("image/png").split(",")[1]]);
    if (seen.length < count) return;
    end();
    done(seen);
  });
})"""


def picture(page: Page) -> tuple[dict[str, Any], np.ndarray]:
    """What the canvas shows, and its pixels, RGB."""
    told, data = page.run(_PICTURE)
    return told, _decoded(data)


def pictures(page: Page, count: int) -> list[tuple[dict[str, Any], np.ndarray]]:
    """The same of the next frames that are drawn."""
    return [(told, _decoded(data)) for told, data in page.run(_NEXT, count)]


def _decoded(data: str) -> np.ndarray:
    made = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert made is not None
    return np.asarray(made[..., ::-1])


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(rgb.astype(np.float64) @ [0.299, 0.587, 0.114])


EVIDENT = (
    "() => saliencyTubes.frame()?.drawn && saliencyTubes.frame().parts.every("
    "([n]) => saliencyTubes.session.windows.window(n)?.evidence.size === 2)"
)
"""whether what is drawn has evidence for both classes"""


def start_again(page: Page) -> None:
    """The page as it is at first, and goes on until what is drawn has evidence for both classes."""
    page.run(
        """() => {
          document.activeElement.blur();
          saliencyTubes.look.set(saliencyTubes.modules.state.DEFAULT_LOOK);
          saliencyTubes.stage.play();
        }"""
    )
    page.wait(EVIDENT)


def look(page: Page) -> dict[str, Any]:
    """What this viewer asks for: `Look` of state.ts."""
    return dict(page.run("() => saliencyTubes.look.get()"))


def freeze(page: Page) -> np.ndarray:
    """Stands still at a frame that is drawn with its tube; returns the picture without it."""
    while True:
        page.run("() => saliencyTubes.freeze(saliencyTubes.frame().t)")
        if page.run(EVIDENT):
            break
        page.run("() => saliencyTubes.stage.play()")
        page.wait(EVIDENT)
    before = look(page)["split"]
    ask(page, split=1)
    raw = picture(page)[1]
    ask(page, split=before)
    assert (picture(page)[1] != raw).any()
    return raw

"""A real browser for tests: headless Chromium, by its own DevTools protocol."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from waiting import wait_for
from websockets.sync.client import ClientConnection, connect

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium (make system-deps)")
_FLAGS = (
    *("--headless=new", "--no-sandbox", "--no-first-run", "--disable-extensions", "--disable-dev-shm-usage"),
    *("--mute-audio", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-port=0"),
)
_GPU = {
    True: ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-compositing"),
    False: ("--disable-gpu", "--disable-3d-apis"),
}
"""with WebGL, computed by the CPU, and without. Pages are put together without it, which takes a third of the time."""


class PageError(Exception):
    """What a page's script raised."""


class Page:
    """One tab. Everything it says on its console, and every error in it, is in `said`."""

    def __init__(self, socket: ClientConnection, session: str) -> None:
        self.said: list[str] = []
        self.requests: list[str] = []
        """addresses that it asked for"""
        self._socket, self._session, self._number = socket, session, 0
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; returns its result. Raises PageError for one that is refused."""
        self._number += 1
        message = {"id": self._number, "sessionId": self._session, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("sessionId") != self._session:
                continue
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            self._note(answer)

    def run(self, script: str, *values: Any) -> Any:
        """What the function `script` returns for these values, both as JSON; a promise is waited for."""
        given = ", ".join(json.dumps(value) for value in values)
        answer = self.command(
            "Runtime.evaluate", expression=f"({script})({given})", awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise PageError(json.dumps(answer["exceptionDetails"].get("exception", answer["exceptionDetails"])))
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)
        self.wait("() => document.readyState === 'complete'")

    def wait(self, script: str, seconds: float = 30.0) -> Any:
        """Waits until the function gives something true, and returns that."""
        found: list[Any] = []

        def is_true() -> bool:
            with suppress(PageError):  # the page may be between two documents
                found[:] = [self.run(script)]
            return bool(found and found[0])

        wait_for(is_true, seconds)
        return found[0]

    def screenshot(self) -> np.ndarray:
        """The page as it is seen, RGB."""
        data = base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"])
        return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])

    def _note(self, event: dict[str, Any]) -> None:
        method, facts = event.get("method"), event.get("params", {})
        if method == "Runtime.consoleAPICalled":
            self.said.append(" ".join(str(one.get("value", one.get("description"))) for one in facts["args"]))
        elif method == "Runtime.exceptionThrown":
            self.said.append(str(facts["exceptionDetails"].get("exception", {}).get("description", facts)))
        elif method == "Log.entryAdded":
            self.said.append(str(facts["entry"]["text"]))
        elif method in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(facts["request"]["url"] if "request" in facts else facts["url"])


@contextmanager
def chromium(*, webgl: bool = True, flags: tuple[str, ...] = ()) -> Iterator[Page]:
    """A browser with one empty tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = ["chromium", *_FLAGS, *_GPU[webgl], *flags, f"--user-data-dir={folder}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = Path(folder, "DevToolsActivePort")
            wait_for(lambda: port.is_file() and len(port.read_text().split()) == 2, 60)
            number, path = port.read_text().split()
            with connect(
                f"ws://127.0.0.1:{number}{path}", max_size=None, compression=None, proxy=None, ping_interval=None
            ) as socket:
                yield Page(socket, _attach(socket))
        finally:
            process.terminate()
            process.wait(20)


def _attach(socket: ClientConnection) -> str:
    def ask(number: int, method: str, **parameters: Any) -> dict[str, Any]:
        socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(socket.recv(timeout=60))
            if answer.get("id") == number:
                return dict(answer["result"])

    target = ask(1, "Target.createTarget", url="about:blank")["targetId"]
    return str(ask(2, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"])

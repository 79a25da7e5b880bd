"""A browser with the page as it is shipped, but no stream."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from browser import Page, chromium

STATIC = Path(__file__).resolve().parents[2] / "stream" / "web" / "static"


class Files(http.server.SimpleHTTPRequestHandler):
    """The page's files, at / and below /static/."""

    def log_message(self, *_: object) -> None:
        pass

    def translate_path(self, path: str) -> str:
        return super().translate_path(path.removeprefix("/static"))


@contextmanager
def served() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(STATIC)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def modules() -> Iterator[Page]:
    """The page's modules, as `saliencyTubes.modules`, in a browser that computes WebGL."""
    with served() as url, chromium() as page:
        page.open(url)
        page.wait("() => Boolean(globalThis.saliencyTubes?.modules)")
        yield page

"""A small stream that is served by web://, and what asks its server over a socket."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import Any

from saliency_tubes.stream.pipeline.options import Options
from saliency_tubes.stream.pipeline.pipeline import Pipeline
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.sources.open import open_source
from stubs import StubRunner
from waiting import wait_for

TOKEN, OPERATOR = "the-viewers-token", "the-operators-token"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        assert self.headers["Content-Type"] == "application/json"
        told = self.json
        assert list(told) == ["error"]
        assert "\n" not in told["error"]
        return str(told["error"])

    @property
    def cookie(self) -> str:
        """As a browser sends it back."""
        return self.headers["Set-Cookie"].partition(";")[0]


def ask(port: int, path: str, method: str = "GET", body: bytes | str | None = None, **headers: str) -> Answer:
    """headers: with _ for -."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


def bearer(token: str) -> str:
    return f"Bearer {token}"


@contextmanager
def stream(uri: str = "web://:0", **options: Any) -> Iterator[WebSink]:
    """A live stream of two classes, "bright" and "dark", of which something is explained. options: of `SinkOptions`."""
    sink = open_sink(uri, SinkOptions(live=True, **options))
    assert isinstance(sink, WebSink)
    source = open_source("test://?size=160x96&rate=25&realtime=1")
    pipeline = Pipeline(source, StubRunner(), [sink], Options(sync="live"))

    def run() -> None:
        with pipeline:
            for _ in pipeline:
                pass

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: sink.events or not thread.is_alive(), 60)
        yield sink
    finally:
        pipeline.stop()
        thread.join()
        source.close()

"""A page that watches a stream by the web server's WebSocket, as a browser does, and what it is told."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import av
from saliency_tubes.engine.picture import Picture
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.web.messages import split
from waiting import wait_for
from websockets.sync.client import ClientConnection, connect


@dataclass
class Page:
    """Reads messages. Those that were read are kept."""

    connecting: connect
    messages: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    """the object of each message, and the payload of binary ones"""
    connection: ClientConnection = field(init=False)

    @classmethod
    def open(cls, port: int, name: str = "live", query: str = "", **options: Any) -> Page:
        url = f"ws://127.0.0.1:{port}/api/streams/{name}/live{query}"
        return cls(connect(url, proxy=None, compression=None, max_size=None, **options))

    def __enter__(self) -> Page:
        self.connection = self.connecting.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.connecting.__exit__(*error)

    def read(self, timeout: float = 20.0) -> dict[str, Any]:
        """The object of the next message."""
        message = self.connection.recv(timeout)
        found = (json.loads(message), b"") if isinstance(message, str) else split(message)
        self.messages.append(found)
        return found[0]

    def until(self, kind: str, holds: Callable[[dict[str, Any]], bool] = lambda told: True) -> dict[str, Any]:
        """Reads up to the next message of a type that holds."""
        while True:
            told = self.read()
            if told["type"] == kind and holds(told):
                return told

    def say(self, **message: Any) -> None:
        self.connection.send(json.dumps(message))

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The objects of all messages of a type so far."""
        return [told for told, _ in self.messages if told["type"] == kind]

    def payloads(self, *kinds: str) -> list[bytes]:
        return [payload for told, payload in self.messages if told["type"] in kinds]

    def decoded(self) -> list[av.VideoFrame]:
        """The frames of the video that came since the last `init`."""
        start = max(at for at, (told, _) in enumerate(self.messages) if told["type"] == "init")
        parts = [payload for told, payload in self.messages[start:] if told["type"] in ("init", "media")]
        with av.open(io.BytesIO(b"".join(parts))) as container:
            return list(container.decode(video=0))


class WatchedSink(WebSink):
    """Is watched from its opening on, and keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(Address.parse("web://:0"), SinkOptions(live=True))
        self.given: list[Picture | None] = []
        """the plain picture of each frame"""
        self._stack = ExitStack()

    def open(self, info: VideoInfo) -> None:
        super().open(info)
        self.page = self._stack.enter_context(Page.open(self.port))
        self._reader = threading.Thread(target=self.page.until, args=("bye",))
        self._reader.start()
        wait_for(lambda: self.wants_plain)

    def write(self, shown: Shown) -> None:
        self.given.append(shown.plain)
        super().write(shown)
        time.sleep(0.01)  # as from a camera: what waits to be encoded is bounded

    def close(self) -> None:
        super().close()
        self._reader.join()
        self._stack.close()

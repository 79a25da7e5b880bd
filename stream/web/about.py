"""What viewers are told about a stream beside its frames: what it is, how it is, and what has changed."""

from __future__ import annotations

import secrets
import time
from typing import Any

from ...engine.draw.style import Style
from ..media.info import VideoInfo
from ..sinks.stream_view import StreamView
from ..telemetry.stats import Snapshot
from . import messages
from .status import lost, status

FADE = 0.5
"""Seconds over which live evidence fades that is too old; as `pipeline.sync.Live` has it."""


class About:
    """One stream. `changes` is for one thread."""

    def __init__(self, name: str, info: VideoInfo, view: StreamView | None, web_rtc: bool = False) -> None:
        """view: None for an output without a pipeline. web_rtc: whether the video may be had by WebRTC, too."""
        self.web_rtc = web_rtc
        self.name, self._info, self._view = name, info, view
        self._begun = time.monotonic()
        self._run = secrets.token_hex(8)
        self._before: Snapshot | None = None

    @property
    def style(self) -> Style:
        """How evidence is drawn at the moment."""
        return self._view.style if self._view is not None else Style()

    @property
    def view(self) -> StreamView | None:
        return self._view

    def hello(self, classes: int, operator: bool, why_no_video: str) -> str:
        """Arguments as for `messages.hello`."""
        view = self._view
        max_age = view.controls["max_age"] if view is not None else None
        facts = messages.Facts(
            self.name,
            self._info,
            run=self._run,
            model=view.model if view is not None else "",
            window=view.window if view is not None else (1, 1),
            sync=view.sync if view is not None else "aligned",
            max_age=float(max_age) if isinstance(max_age, int | float) else 0.0,
            fade=FADE,
            style=self.style,
            why_no_classes=self._why_no_classes(),
        )
        return messages.hello(facts, classes, operator, why_no_video, self.web_rtc)

    def status(self, viewers: int) -> dict[str, Any]:
        """As `status.status`, and what may be changed for everybody, as it is."""
        told = self._view.snapshot() if self._view is not None else None
        controls = dict(self._view.controls) if self._view is not None else {}
        return {**status(self.name, told, viewers, time.monotonic() - self._begun), "controls": controls}

    def changes(self) -> list[tuple[str, str]]:
        """What has happened since the last call: kinds of marks, and words about each."""
        if self._view is None:
            return []
        before, now = self._before, self._view.snapshot()
        self._before = now
        if before is None or not isinstance(now, Snapshot):
            return []
        found = []
        if now.reconnects > before.reconnects:
            found.append(("reconnect", "connected again"))
        elif before.connected and not now.connected and now.alive:
            found.append(("lost", now.state))
        dropped = lost(now.dropped) - lost(before.dropped)
        if dropped > 0:
            found.append(("drop", f"{dropped} frames were dropped: this machine had no time for them"))
        return found

    def _why_no_classes(self) -> str:
        if self._view is None:
            return "nothing is known about the network"
        if not self._view.linear:
            return "the network's head is not linear: there is evidence for the explained class only"
        return ""

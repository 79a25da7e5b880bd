"""The progress of a run: a bar on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import shutil
import time
from typing import TextIO

LINE_EVERY = 5.0
"""Seconds between plain lines."""
BAR_EVERY = 0.1
BAR_WIDTH = 24


class Progress:
    """Counts frames and shows their number on `stream`, if there is one. total: None if it is not known."""

    def __init__(self, total: int | None, stream: TextIO | None, line_every: float | None = None) -> None:
        """line_every: seconds between plain lines; None: LINE_EVERY."""
        self._total, self._stream = total, stream
        self._line_every = LINE_EVERY if line_every is None else line_every
        self._terminal = stream is not None and stream.isatty()
        self._start = time.monotonic()
        self._said = self._start
        self._done = 0

    def step(self, text: str) -> None:
        """Counts one more frame. text: what the network says at it."""
        self._done += 1
        now = time.monotonic()
        if now - self._said >= (BAR_EVERY if self._terminal else self._line_every):
            self._said = now
            self._say(text)

    def close(self) -> None:
        """Clears the bar."""
        if self._terminal and self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def _say(self, text: str) -> None:
        if self._stream is None:
            return
        line = progress_line(self._done, self._total, self.elapsed, text, bar=self._terminal)
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{line[:width]}")
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def progress_line(done: int, total: int | None, elapsed: float, text: str, bar: bool) -> str:
    """One line: how many frames, how fast, how long it will take. Pure."""
    rate = done / elapsed if elapsed > 0 else 0.0
    parts = [f"{done} frames" if total is None else f"{done}/{total} frames", f"{rate:.1f} fps"]
    if total is not None and rate > 0:
        parts.append(f"ETA {_clock(max(0, total - done) / rate)}")
    if bar and total:
        filled = min(BAR_WIDTH, BAR_WIDTH * done // total)
        parts.insert(0, f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}]")
    return "  ".join([*parts, text] if text else parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"

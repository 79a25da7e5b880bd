"""JSON lines: one for every window, readable while the run goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from ..engine.errors import SinkError
from .sink import Sink, os_reason
from .source import VideoInfo


class JsonSink(Sink):
    """Writes `event` lines to a file, or to standard output where `path` is None; each is flushed at once."""

    takes_pictures = False

    def __init__(self, path: Path | None) -> None:
        super().__init__(str(path) if path else "standard output")
        self._path = path
        self._file: TextIO | None = None
        self._failed = False

    def open(self, info: VideoInfo) -> None:
        if self._path is None:
            self._file = sys.stdout
            return
        try:
            self._file = self._path.open("w", encoding="utf-8", newline="\n")
        except OSError as error:
            raise SinkError(f"{self.name}: {os_reason(error)}") from error

    def event(self, line: str) -> None:
        if "\n" in line:
            raise ValueError(f"an event is one line, got {line!r}")
        if self._file is None:
            raise RuntimeError(f"{self.name}: event() before open() or after close()")
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            self._failed = True
            raise SinkError(f"{self.name}: {os_reason(error)}") from error
        self.events += 1

    def close(self) -> None:
        file, self._file = self._file, None
        if file is None or self._path is None:
            return
        try:
            file.close()
        except OSError as error:
            # What could not be written before cannot be flushed now: already said.
            if not self._failed:
                raise SinkError(f"{self.name}: {os_reason(error)}") from error

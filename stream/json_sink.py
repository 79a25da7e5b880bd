"""JSON lines: one for every window, readable while the run goes on."""

from __future__ import annotations

import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path

from ..engine.errors import SinkError
from .sink import Sink, os_reason
from .source import VideoInfo


class JsonSink(Sink):
    """Writes `event` lines to a file, or to standard output where `path` is None: each at once, and whole or not.

    live: a line that cannot be written is lost, and no error. What else writes to the disk may make room again.
    """

    takes_pictures = False

    def __init__(self, path: Path | None, live: bool = False) -> None:
        super().__init__(str(path) if path else "standard output")
        self._path, self._live = path, live
        self._open = False
        self._file: FileIO | None = None
        self._end = 0
        """bytes of whole lines"""

    def open(self, info: VideoInfo) -> None:
        if self._path is not None:
            try:
                self._file = FileIO(str(self._path), "w")
            except OSError as error:
                raise SinkError(f"{self.name}: {os_reason(error)}") from error
        elif sys.stdout is None:
            raise SinkError("standard output is closed")
        self._open = True

    def event(self, line: str) -> None:
        if "\n" in line:
            raise ValueError(f"an event is one line, got {line!r}")
        if not self._open:
            raise RuntimeError(f"{self.name}: event() before open() or after close()")
        try:
            self._write(f"{line}\n")
        except OSError as error:
            if isinstance(error, BrokenPipeError) and self._file is None:
                raise  # whoever read our output has left, as `head` does
            if not self._live or self._file is None:
                raise SinkError(f"{self.name}: {os_reason(error)}") from error
            self._survive(error)
            return
        self.events += 1
        self.state = "running"

    def close(self) -> None:
        self._open = False
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise SinkError(f"{self.name}: {os_reason(error)}") from error

    def _write(self, text: str) -> None:
        if self._file is None:
            out = getattr(sys.stdout, "buffer", None)
            if out is None:  # somebody's own, such as a notebook's
                sys.stdout.write(text)
            else:
                out.write(text.encode())  # UTF-8 whatever the terminal has
            sys.stdout.flush()
            return
        data = text.encode()
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            with suppress(OSError):  # a part of a line would spoil the next one
                self._file.truncate(self._end)
                self._file.seek(self._end)
            raise
        self._end += len(data)

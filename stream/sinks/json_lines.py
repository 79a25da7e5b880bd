"""JSON lines: one for every window, readable while the run goes on."""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path

from ...engine.errors import SinkError
from ..media.info import VideoInfo
from ..telemetry.events import Event
from .base import Sink, os_reason
from .claim import Claim, claim, exists_note

LONGEST = 1 << 20
"""Bytes; no line is longer."""


class JsonSink(Sink):
    """Writes events to a file, or to standard output where `path` is None: a line of JSON each, at once, whole or not.

    What an earlier run wrote is added to where the input is live; else it is kept, and a number put behind the name.
    overwrite: it is replaced. live: a line that cannot be written to a file is lost, and no error. What else writes to
    the disk may make room again. A reader of standard output who leaves ends the run: with BrokenPipeError, and live by
    `wants_stop` first.
    """

    takes_pictures = False

    def __init__(self, path: Path | None, live: bool = False, overwrite: bool = False) -> None:
        super().__init__(str(path) if path else "standard output")
        self._path, self._live, self._overwrite = path, live, overwrite
        self._claim: Claim | None = None
        if path is None:
            self.close_seconds = 0.5  # there is nothing to finish, and the reader may have stopped reading
        self._open = False
        self._file: FileIO | None = None
        self._left: BrokenPipeError | None = None

    def open(self, info: VideoInfo) -> None:
        if self._path is not None:
            try:
                self._file = self._take_place(self._path)
            except OSError as error:
                raise SinkError(f"{self.name}: {os_reason(error)}") from error
        elif sys.stdout is None:
            raise SinkError("standard output is closed")
        elif self._live:
            # Not through sys.stdout: if the reader stops reading, its lock would keep Python from exiting.
            with suppress(OSError, AttributeError):  # a replaced sys.stdout, such as a notebook's
                self._file = FileIO(sys.stdout.fileno(), "w", closefd=False)
        self._open = True

    def _take_place(self, path: Path) -> FileIO:
        """The file, open at its end. Raises SinkError if another process is writing it, and OSError."""
        claimed = self._claim = claim(path, replace=self._overwrite or self._live)
        if claimed.path != path:
            self.notes, self.name = (exists_note(path),), str(claimed.path)
        if claimed.descriptor is None:
            return FileIO(str(path), "w")
        if self._overwrite:
            os.ftruncate(claimed.descriptor, 0)
        elif _end_line(claimed.descriptor):
            self.notes = ("its last line was cut short, as a kill does, and is taken away",)
        return FileIO(str(claimed.path), "a")

    def event(self, event: Event) -> None:
        if not self._open:
            raise RuntimeError(f"{self.name}: event() before open() or after close()")
        try:
            self._write(f"{event.json}\n")
        except OSError as error:
            self._not_written(error)
            return
        self.events += 1
        self.state = "running"

    def close(self) -> None:
        self._open = False
        file, self._file = self._file, None
        left, self._left = self._left, None
        claimed, self._claim = self._claim, None
        if left is not None:
            raise left
        try:
            if file is not None:
                file.close()
        except OSError as error:
            raise SinkError(f"{self.name}: {os_reason(error)}") from error
        finally:
            if claimed is not None:
                claimed.release()

    def _not_written(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError) and self._path is None:
            if not self._live:
                raise error  # the reader of standard output has left, as `head` does
            self._left, self.wants_stop = error, True
            self._drop("nobody reads")
        elif self._live and self._path is not None:
            self._survive(error)
        else:
            raise SinkError(f"{self.name}: {os_reason(error)}") from error

    def _write(self, text: str) -> None:
        if self._file is None:
            out = getattr(sys.stdout, "buffer", None)
            if out is None:  # a replaced sys.stdout, such as a notebook's
                sys.stdout.write(text)
            else:
                out.write(text.encode())  # always UTF-8
            sys.stdout.flush()
            return
        left, end = memoryview(text.encode()), os.fstat(self._file.fileno()).st_size
        try:
            while left:
                written = self._file.write(left)
                if written is None:  # the pipe is non-blocking
                    select.select([], [self._file], [])
                left = left[written or 0 :]
        except OSError:
            if self._path is not None:
                with suppress(OSError):  # a partial line would spoil the next one
                    self._file.truncate(end)
            raise


def _end_line(descriptor: int) -> bool:
    """Makes sure that a file ends with a whole line. Returns True if the last line was partial, and was removed."""
    size = os.fstat(descriptor).st_size
    start = max(0, size - LONGEST)
    tail = os.pread(descriptor, size - start, start)
    line = tail[tail.rfind(b"\n") + 1 :]
    if not line:
        return False
    try:
        json.loads(line)
    except ValueError:
        if len(line) < LONGEST:
            os.ftruncate(descriptor, size - len(line))
            return True
    os.pwrite(descriptor, b"\n", size)
    return False

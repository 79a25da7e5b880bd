"""Recordings that never end: one video file after another, each playable, the oldest deleted for new ones."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from ...engine.errors import SinkError
from ...engine.picture import HOST
from ...engine.types import Shown
from ..media.av_encoder import H264, choose_encoder, near
from ..media.encoders import Chosen
from ..media.fit import followed
from ..media.info import VideoInfo
from ..telemetry.log import say
from .av_file import FLUSH_SECONDS, AvSink
from .base import Sink, SinkOptions, is_full, os_reason, recording_preset
from .claim import Claim, claim_pattern
from .segments import Cutter, Keep, Names, Recorded

RETRY_SECONDS = 5.0
"""Seconds after a failure until the next segment is tried."""
ROOM = 1 << 20
"""Minimum free bytes before a full disk is tried again; deleting old segments frees at least as many."""


class AvSegmentSink(Sink):
    """Writes segments named by the time they begin. Errors after `open` are notes and counts, and never end the run.

    Each segment is a video of its own: it begins with a key frame, at time 0. When frames change their size, a new
    segment begins in the new size. Frames that come while the disk is full or the folder is missing are dropped and
    counted; it is tried again every RETRY_SECONDS.
    """

    follows_size = True
    keeps = AvSink.keeps

    def __init__(
        self,
        pattern: Path,
        container: str,
        options: SinkOptions,
        wall: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises UsageError for an impossible pattern, encoder or limit. wall, clock: replaced by tests."""
        super().__init__(str(pattern))
        self._names = Names(pattern)
        self._cutter = Cutter(options.segment_seconds, options.segment_bytes)
        self._keep = Keep.parse(options.keep)
        self._container, self._options = container, options
        self._wall, self._clock = wall, clock
        self._current: AvSink | None = None
        self._path = Path()
        self._retry_at = 0.0
        self._closing = False
        """whether the sink is closing: nothing more is written, so nothing is deleted to make room"""
        self._claim: Claim | None = None
        self._begun: dict[Path, int] = {}
        """segments that this run has recorded and not deleted yet -> their number, from 1 on"""
        self._said: dict[str, str] = {}
        self._failures = 0
        self.segments = 0
        """number of files begun so far"""
        self.deleted = 0
        """number of files deleted so far, because of `keep` and to make room"""

    def open(self, info: VideoInfo) -> None:
        folder = self._names.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self.name}: cannot make the folder {folder}: {os_reason(error)}") from error
        if not os.access(folder, os.W_OK):
            raise SinkError(f"{self.name}: no permission to write in {folder}")
        if not self._options.live:  # a live run waits for a process that still records there, such as the one before it
            with suppress(OSError):  # it is tried again with the first frame
                self._hold()
        self._info = replace(info, audio=None)
        if info.audio is not None:
            self._say("audio", "the audio is left out: segments hold none")
        chosen = Chosen("libx264")  # on every machine: the same file gives the same bytes
        if self._options.live or self._options.encoder != "auto":
            chosen = choose_encoder(self._options.encoder)
            for note in chosen.notes:
                self._say("encoder", note)
        self._settings = H264(
            crf=self._options.crf,
            preset=recording_preset(self._options),
            keyframe_seconds=1.0,
            encoder=chosen.name,
            bitrate=self._options.bitrate,
            low_latency=self._options.live,  # the frames of a look-ahead would be lost if the process is killed
        )
        self._approach()
        self.state = "running"

    def write(self, shown: Shown) -> None:
        frame, start = shown.frame, shown.frame.pts * shown.frame.time_base
        if (frame.image.width, frame.image.height) != (self._info.width, self._info.height):
            self._end()
            self._info = followed(self._info, frame)
            self._approach()
        if frame.image.where not in self.takes:  # the first of a size that is not encoded there: the next are copied
            self._drop("another size")
            return
        if self._current is not None and self._cutter.due(float(start - self._start), self._size()):
            self._end()
        if self._current is None and not self._begin(shown):
            self._drop(self.state)
            return
        moved = replace(shown, frame=replace(frame, pts=frame.pts - self._first))
        assert self._current is not None
        try:
            self._current.write(moved)
        except SinkError as error:
            self._failed(error)
            self._drop(self.state)
            return
        self.frames_written += 1

    def _approach(self) -> None:
        """Chooses the place that pictures of this size are encoded in."""
        self._settings, way = near(self._settings, self._info)
        self.takes = frozenset({HOST, self._settings.where})
        every = f"a file every {self._options.segment_seconds:g} s"
        self.description = ", ".join([f"H.264 by {self._settings.encoder} {way}".strip(), every])

    def close(self) -> None:
        self._closing = True
        self._end()
        self._release()
        if self.state != "new":
            self.state = "closed"

    def _begin(self, shown: Shown) -> bool:
        """Opens the next segment. Returns False if that is not possible now."""
        if self._clock() < self._retry_at:
            return False
        if self.state == "disk full":
            self._retain()  # some segments may have become too old
            tight = free_bytes(self._names.folder) < ROOM
            if tight and not (self._options.on_full == "delete" and self._delete_oldest()):
                self._retry_at = self._clock() + RETRY_SECONDS
                return False
        if not self._may_begin():
            return False
        path = self._names.at(self._wall(), os.path.exists)  # Path.exists would raise if the disk is gone
        sink = AvSink(path, self._container, self._settings, FLUSH_SECONDS, segment=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sink.open(self._info)
        except (SinkError, OSError) as error:
            self._current, self._path = sink, path
            self._failed(error)
            return False
        self._current, self._path = sink, path
        self._first = shown.frame.pts
        self._start = shown.frame.pts * shown.frame.time_base
        self.segments += 1
        if self._keep != Keep() or self._options.on_full == "delete":
            self._begun[path] = self.segments
        self.state = "running"
        for note in sink.notes:
            self._say(note, note)
        self._retain()
        return True

    def _may_begin(self) -> bool:
        """Whether this output holds, or can get, the right to write files of this pattern."""
        try:
            self._hold()
        except (SinkError, OSError) as error:
            self._path = Path(self.name)
            self._failed(error)
            return False
        return True

    def _hold(self) -> None:
        """Raises HeldError if another process records with this pattern, and OSError."""
        if self._claim is None or not self._claim.stands:
            self._names.folder.mkdir(parents=True, exist_ok=True)
            self._release()
            try:
                self._claim = claim_pattern(self._names.lock, Path(self.name))
            except OSError as error:  # recording is more important than the lock, which is tried again
                if not is_full(error):
                    raise

    def _release(self) -> None:
        claimed, self._claim = self._claim, None
        if claimed is not None:
            claimed.release()

    def _end(self) -> None:
        sink, self._current = self._current, None
        if sink is None:
            return
        try:
            sink.close()
        except SinkError as error:
            self._current = sink
            self._failed(error)

    def _failed(self, error: SinkError | OSError) -> None:
        cause = error if isinstance(error, OSError) else error.__cause__
        full = is_full(cause)
        self._failures += 1
        self.state = "disk full" if full else "retrying"
        reason = str(error).removeprefix(f"{self._path}: ") if isinstance(error, SinkError) else os_reason(error)
        sink, self._current = self._current, None
        if sink is not None:
            with suppress(SinkError):
                sink.close()
            if not sink.frames_written:
                with suppress(OSError):
                    self._path.unlink()
        freed = full and self._options.on_full == "delete" and not self._closing and self._delete_oldest()
        self._retry_at = 0.0 if freed else self._clock() + RETRY_SECONDS
        then = "its oldest segments are deleted" if freed else "tried again"
        self._say("failure", f"{self._path}: {reason}; {then} ({self._failures} so far)")

    # the disk

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _recorded(self) -> list[Recorded]:
        pattern = "**/*" if self._names.dated_folders else "*"
        found = []
        with suppress(OSError):  # another stream may delete the folder meanwhile
            for path in self._names.folder.glob(f"{pattern}{self._path.suffix}"):
                if path in self._names:
                    with suppress(OSError):
                        status, (begun, number) = path.stat(), self._names.begun(path)
                        written = status.st_mtime if begun is None else begun
                        found.append(Recorded(path, written, status.st_size, number, self._begun.get(path, 0)))
        return found

    def _retain(self) -> None:
        if self._keep != Keep():
            for path, why in self._keep.doomed(self._recorded(), self._wall().timestamp()):
                if path != self._path:
                    self._delete(path, why)

    def _delete_oldest(self) -> bool:
        """Deletes the oldest segments until there is room, and at least one: under a quota the disk may have free bytes
        all the same. Returns False if none could be deleted."""
        before = self.deleted
        for one in sorted(self._recorded(), key=lambda one: one.age_order):
            if self.deleted > before and free_bytes(self._names.folder) >= ROOM:
                break
            self._delete(one.path, "the disk is full")
        return self.deleted > before

    def _delete(self, path: Path, why: str) -> None:
        try:
            path.unlink()
        except OSError as error:
            self._say("delete", f"{path}: cannot be deleted: {os_reason(error)}")
            return
        self.deleted += 1
        self._begun.pop(path, None)
        say("deleted", f"{path}: {why}")
        if self._names.dated_folders and path.parent != self._names.folder:
            with suppress(OSError):  # the folder is not empty yet
                path.parent.rmdir()

    def _say(self, kind: str, text: str) -> None:
        """Keeps the newest note of each kind, the newest of all last, so that their number is bounded."""
        self._said.pop(kind, None)
        self._said[kind] = text
        self.notes = tuple(self._said.values())


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that the folder is on."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return ROOM  # the error shows when a file is made

"""Numbered PNG files, one a frame, lossless."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import count
from pathlib import Path

import cv2

from ...engine.errors import SinkError, UsageError
from ...engine.types import Shown
from ..media.info import VideoInfo
from .base import Sink, os_reason
from .claim import Claim, claim_pattern, exists_note

COMPRESSION = 3
"""zlib's level: 6 and above take several times as long and save a few percent."""

_DIRECTIVE = re.compile(r"%(0?)(\d*)d")


class PngSink(Sink):
    """Writes `frames/%06d.png`: %d, %6d or %06d stands for the frame's index, %% for a percent sign.

    Pixels are as stored: a pixel aspect other than 1 is not applied, PNG viewers would ignore it anyway. Files of an
    earlier run stay: where the pattern has some, those of this run are called frames/%06d-1.png, or -2 and so on.
    overwrite: those with the same names are replaced, and others stay.
    """

    def __init__(self, pattern: Path, live: bool = False, overwrite: bool = False) -> None:
        """live: a file that cannot be written is lost, and no error. Raises UsageError for a file name without exactly
        one %d, SinkError for a folder that cannot be written.
        """
        super().__init__(str(pattern))
        self._live, self._overwrite = live, overwrite
        self._claim: Claim | None = None
        literal = pattern.name.replace("%%", "")
        if len(_DIRECTIVE.findall(literal)) != 1 or literal.count("%") != 1 or "%" in str(pattern.parent):
            raise UsageError(f"{pattern}: PNG files need exactly one %d in their name, as in frames/%06d.png")
        self._pattern = pattern
        _check_folder(pattern)

    def open(self, info: VideoInfo) -> None:
        try:
            self._pattern.parent.mkdir(parents=True, exist_ok=True)
            self._take_place()
        except OSError as error:
            raise SinkError(f"{self.name}: {os_reason(error)}") from error
        if info.pixel_aspect != 1:
            self.notes += (f"pixels are stored as they are, {info.pixel_aspect} as wide as high",)

    def close(self) -> None:
        claimed, self._claim = self._claim, None
        if claimed is not None:
            claimed.release()

    def _take_place(self) -> None:
        """Finds a pattern that no file has yet. Raises HeldError where another process writes by it, and OSError."""
        asked = self._pattern
        for number in count():
            stem = f"{asked.stem}-{number}" if number else asked.stem
            self._pattern = asked.with_name(stem + asked.suffix)
            claimed = claim_pattern(asked.with_name(f".{self._pattern.name}.lock"), self._pattern)
            if self._overwrite or not _any_of(self._pattern):
                break
            claimed.release()
        self._claim = claimed
        if self._pattern != asked:
            self.notes, self.name = (exists_note(asked),), str(self._pattern)

    def write(self, shown: Shown) -> None:
        path = self._pattern.with_name(self._pattern.name % shown.frame.index)
        bgr = cv2.cvtColor(shown.rgb, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, COMPRESSION])
        try:
            # Not cv2.imwrite: it does not tell why it failed.
            path.write_bytes(data.tobytes())
        except OSError as error:
            if not self._live:
                raise SinkError(f"{path}: {os_reason(error)}") from error
            with suppress(OSError):
                path.unlink()
            self._survive(error)
            return
        self.frames_written += 1
        self.state = "running"


def _any_of(pattern: Path) -> bool:
    """Whether a file with this pattern exists."""
    parts = _DIRECTIVE.split(pattern.name)
    before, after = (re.escape(part.replace("%%", "%")) for part in (parts[0], parts[-1]))
    name = re.compile(f"{before} *\\d+{after}")
    with os.scandir(pattern.parent) as entries:
        return any(name.fullmatch(entry.name) and entry.is_file() and entry.stat().st_size for entry in entries)


def _check_folder(pattern: Path) -> None:
    folder = pattern.parent
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise SinkError(f"{pattern}: {folder} is not a folder")
    except OSError as error:  # the name is too long, or a folder may not be entered
        raise SinkError(f"{pattern}: {os_reason(error)}") from error
    if not os.access(folder, os.W_OK):
        raise SinkError(f"{pattern}: no permission to write in {folder}")

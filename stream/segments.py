"""Recordings in segments: their names, when one ends, which are to go. Pure: clock and files come as arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..engine.errors import UsageError

DIRECTIVES = {"Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d", "d": r"\d\d", "H": r"\d\d", "M": r"\d\d", "S": r"\d\d",
              "j": r"\d{3}"}  # fmt: skip
"""strftime's that a name may hold -> what they look like in it: retention deletes what it recognises, nothing else"""

_DIRECTIVE = re.compile(r"%(.)")
_SIZES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Names:
    """File names after a pattern such as recordings/%Y-%m-%d/%H%M%S.mkv."""

    def __init__(self, pattern: Path) -> None:
        """Raises UsageError for a directive that is not one of DIRECTIVES."""
        self._pattern = str(pattern)
        for letter in _DIRECTIVE.findall(self._pattern):
            if letter != "%" and letter not in DIRECTIVES:
                raise UsageError(f"{pattern}: a name may hold %{', %'.join(DIRECTIVES)} and %%, got %{letter}")
        fixed = [part for part in pattern.parts if not _DIRECTIVE.search(part.replace("%%", ""))]
        depth = next((i for i, part in enumerate(pattern.parts) if i >= len(fixed) or part != fixed[i]), len(fixed))
        self.folder = Path(*(part.replace("%%", "%") for part in pattern.parts[:depth]))
        """the folder that holds all of them, or the folders they lie in"""
        self.dated_folders = len(pattern.parts) - depth > 1
        stem, dot, suffix = self._pattern.rpartition(".")
        self._expression = re.compile(f"{_expression(stem)}(~\\d+)?{re.escape(dot + suffix)}")

    def at(self, now: datetime, taken: Callable[[Path], bool]) -> Path:
        """The name of a segment that begins now; ~1, ~2... is put behind one that is taken.

        With a - it could be the name of another recording: %Y-%m-%d beside %Y-%m.
        """
        plain = Path(now.strftime(self._pattern))
        path, number = plain, 0
        while taken(path):
            number += 1
            path = plain.with_name(f"{plain.stem}~{number}{plain.suffix}")
        return path

    def __contains__(self, path: Path) -> bool:
        """Whether this is a name that `at` gives."""
        return self._expression.fullmatch(str(path)) is not None


class Cutter:
    """When a segment ends: at the first frame that is `seconds` away from its beginning, or past `size` bytes."""

    def __init__(self, seconds: float, size: int | None = None) -> None:
        if seconds <= 0 or (size is not None and size <= 0):
            raise ValueError(f"seconds and size must be positive, got {seconds}, {size}")
        self._seconds, self._size = seconds, size

    def due(self, elapsed: float, size: int) -> bool:
        """elapsed: seconds from the segment's first frame to the next one; size: bytes written."""
        return elapsed >= self._seconds or elapsed < 0 or (self._size is not None and size >= self._size)


@dataclass(frozen=True)
class Recorded:
    """A segment on the disk."""

    path: Path
    modified: float
    """seconds since 1970"""
    size: int
    """bytes"""


@dataclass(frozen=True)
class Keep:
    """How much of a recording stays. None: no limit."""

    files: int | None = None
    size: int | None = None
    """bytes"""
    age: float | None = None
    """seconds"""

    @classmethod
    def parse(cls, text: str) -> Keep:
        """ "50", "20GB", "14d", or several with commas. Raises UsageError."""
        found: dict[str, float] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", part)
            number, unit = (float(match[1]), match[2].lower()) if match else (0.0, "?")
            if number > 0 and unit in _SIZES:
                found["size"] = int(number * _SIZES[unit])
            elif number > 0 and unit in _AGES:
                found["age"] = number * _AGES[unit]
            elif number >= 1 and number == int(number) and unit in ("", "files"):
                found["files"] = int(number)
            else:
                raise UsageError(f"keep takes a number of files (50), a size (20GB) or an age (14d), got {part!r}")
        files, size = found.get("files"), found.get("size")
        return cls(None if files is None else int(files), None if size is None else int(size), found.get("age"))

    def doomed(self, recorded: Iterable[Recorded], now: float) -> list[Path]:
        """What is past a limit, oldest first. The newest segment always stays: it is being written."""
        newest_first = sorted(recorded, key=lambda one: (one.modified, str(one.path)), reverse=True)
        gone: list[Path] = []
        total = 0
        for number, one in enumerate(newest_first):
            total += one.size
            too_many = self.files is not None and number >= self.files
            too_large = self.size is not None and total > self.size
            too_old = self.age is not None and now - one.modified > self.age
            if number and (too_many or too_large or too_old):
                gone.append(one.path)
        return gone[::-1]


def _expression(stem: str) -> str:
    parts, last = [], 0
    for match in _DIRECTIVE.finditer(stem):
        parts += [re.escape(stem[last : match.start()]), "%" if match[1] == "%" else DIRECTIVES[match[1]]]
        last = match.end()
    return "".join([*parts, re.escape(stem[last:])])

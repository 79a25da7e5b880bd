"""Recordings in segments: their names, when one ends, which are deleted. Pure: clock and files are arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...engine.errors import UsageError

DIRECTIVES = {"Y": r"\d{4}", "y": r"\d\d", "m": r"\d\d", "d": r"\d\d", "H": r"\d\d", "M": r"\d\d", "S": r"\d\d",
              "j": r"\d{3}", "z": r"[+-]\d{4}(?:\d\d)?"}  # fmt: skip
"""Directives of strftime that a name may contain -> what they look like in it. Only files with such names are ever
deleted."""

_DIRECTIVE = re.compile(r"%(.)")
_DAYS = ({"Y", "m", "d"}, {"y", "m", "d"}, {"Y", "j"}, {"y", "j"})
"""Sets of directives that tell the day."""
AGED_AT_ONCE = 2
"""Maximum number of segments that are deleted for their age each time one begins. A clock that was set years ahead
makes all of them look old; so there is time to set it back."""
_SIZES = {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Names:
    """File names by a pattern such as recordings/%Y-%m-%d/%H%M%S.mkv."""

    def __init__(self, pattern: Path) -> None:
        """Raises UsageError for a directive that is not one of DIRECTIVES."""
        self._pattern = str(pattern)
        for letter in _DIRECTIVE.findall(self._pattern):
            if letter == "Z":
                raise UsageError(f"{pattern}: what %Z writes cannot be read back; %z says the same, as +0100")
            if letter != "%" and letter not in DIRECTIVES:
                raise UsageError(f"{pattern}: a name may hold %{', %'.join(DIRECTIVES)} and %%, got %{letter}")
        fixed = [part for part in pattern.parts if not _DIRECTIVE.search(part.replace("%%", ""))]
        depth = next((i for i, part in enumerate(pattern.parts) if i >= len(fixed) or part != fixed[i]), len(fixed))
        self.folder = Path(*(part.replace("%%", "%") for part in pattern.parts[:depth]))
        """the folder that contains all segments, or the folders that they lie in"""
        self.dated_folders = len(pattern.parts) - depth > 1
        self.lock = self.folder / f".{'_'.join(pattern.parts[depth:])}.lock"
        """the file that is locked during the recording, so that no other process deletes or numbers these files"""
        stem, dot, suffix = self._pattern.rpartition(".")
        self._letters = [letter for letter in _DIRECTIVE.findall(stem) if letter != "%"]
        self._expression = re.compile(f"{_expression(stem)}(~\\d+)?{re.escape(dot + suffix)}")

    def at(self, now: datetime, taken: Callable[[Path], bool]) -> Path:
        """The name of a segment that begins now, with ~1, ~2 and so on if it is taken.

        With - in place of ~ it could be the name of another recording: %Y-%m-%d beside %Y-%m.
        """
        now = now if now.tzinfo else now.astimezone()  # %z needs a time zone
        plain = Path(now.strftime(self._pattern))
        path, number = plain, 0
        while taken(path):
            number += 1
            path = plain.with_name(f"{plain.stem}~{number}{plain.suffix}")
        return path

    def __contains__(self, path: Path) -> bool:
        """Whether `at` could have given this name."""
        return self._expression.fullmatch(str(path)) is not None

    def begun(self, path: Path) -> tuple[float | None, int]:
        """When a segment began by its name, in seconds since 1970, or None if names do not tell the day; and the number
        after the ~ in it, or 0.
        """
        match = self._expression.fullmatch(str(path))
        if match is None:
            return None, 0
        *values, number = match.groups()
        told = dict(zip(self._letters, values, strict=True))
        begun = None
        if any(day <= set(told) for day in _DAYS):
            with suppress(ValueError, OverflowError):  # such as the 31st of February
                text = " ".join(told.values())
                begun = datetime.strptime(text, " ".join(f"%{letter}" for letter in told)).timestamp()
        return begun, int(number[1:]) if number else 0


class Cutter:
    """Decides when a segment ends: at the first frame after `seconds` seconds, or after `size` bytes."""

    def __init__(self, seconds: float, size: int | None = None) -> None:
        if seconds <= 0 or (size is not None and size <= 0):
            raise ValueError(f"seconds and size must be positive, got {seconds}, {size}")
        self._seconds, self._size = seconds, size

    def due(self, elapsed: float, size: int) -> bool:
        """Whether the segment ends. elapsed: seconds from its first frame to the next one. size: bytes written."""
        return elapsed >= self._seconds or elapsed < 0 or (self._size is not None and size >= self._size)


@dataclass(frozen=True)
class Recorded:
    """A segment on the disk."""

    path: Path
    begun: float
    """seconds since 1970, by the name; if that does not tell the day, when the file was last written"""
    size: int
    """bytes"""
    number: int = 0
    """number after the ~ in the name, for segments that began in the same second, or hour"""
    order: int = 0
    """1 for the first segment of this run, and so on; 0 for those of earlier runs. It counts more than the names,
    because clocks may be set"""

    @property
    def age_order(self) -> tuple[int, float, int, str]:
        """A key that sorts segments, the oldest first."""
        return self.order, self.begun, self.number, str(self.path)


@dataclass(frozen=True)
class Keep:
    """How much of a recording is kept. None: no limit."""

    files: int | None = None
    size: int | None = None
    """bytes"""
    age: float | None = None
    """seconds"""

    @classmethod
    def parse(cls, text: str) -> Keep:
        """From "50", "20GB", "14d", or several of these with commas. Raises UsageError."""
        limits: dict[str, float] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", part)
            number, unit = (float(match[1]), match[2].lower()) if match else (0.0, "?")
            if number > 0 and unit in _SIZES:
                limits["size"] = int(number * _SIZES[unit])
            elif number > 0 and unit in _AGES:
                limits["age"] = number * _AGES[unit]
            elif number >= 1 and number == int(number) and unit in ("", "files"):
                limits["files"] = int(number)
            else:
                raise UsageError(f"keep takes a number of files (50), a size (20GB) or an age (14d), got {part!r}")
        files, size = limits.get("files"), limits.get("size")
        return cls(None if files is None else int(files), None if size is None else int(size), limits.get("age"))

    def doomed(self, recorded: Iterable[Recorded], now: float) -> list[tuple[Path, str]]:
        """The segments to delete, the oldest first, each with the reason. The newest one is never deleted: it is being
        written. Segments that are only too old are deleted as long as there are no more than AGED_AT_ONCE in all.
        """
        newest_first = sorted(recorded, key=lambda one: one.age_order, reverse=True)
        surplus: list[tuple[Path, str]] = []
        aged: list[tuple[Path, str]] = []
        total = 0
        for number, one in enumerate(newest_first):
            total += one.size
            if not number:
                continue
            if self.files is not None and number >= self.files:
                surplus.append((one.path, f"there are more than {self.files}"))
            elif self.size is not None and total > self.size:
                surplus.append((one.path, f"together they are larger than {self.size} bytes"))
            elif self.age is not None and now - one.begun > self.age:
                aged.append((one.path, f"it is older than {self.age:g} s"))
        return surplus[::-1] + aged[::-1][: max(0, AGED_AT_ONCE - len(surplus))]


def _expression(stem: str) -> str:
    parts, last = [], 0
    for match in _DIRECTIVE.finditer(stem):
        parts += [re.escape(stem[last : match.start()]), "%" if match[1] == "%" else f"({DIRECTIVES[match[1]]})"]
        last = match.end()
    return "".join([*parts, re.escape(stem[last:])])

"""Names of classes: the label sets that networks for video are published with, or a user's file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from ..engine.errors import UsageError


@dataclass(frozen=True)
class LabelSet:
    """A data set's classes, in the order of their ids."""

    title: str
    classes: int


SETS: Mapping[str, LabelSet] = {
    "kinetics400": LabelSet("Kinetics-400", 400),
    "ucf101": LabelSet("UCF101", 101),
    "hmdb51": LabelSet("HMDB51", 51),
    "epic100-verbs": LabelSet("EPIC-KITCHENS-100 verbs", 97),
    "epic100-nouns": LabelSet("EPIC-KITCHENS-100 nouns", 300),
}
"""each is assets/NAME.txt, one class a line: Kinetics and HMDB51 in alphabetical order, UCF101 in that of its
classInd.txt, EPIC-KITCHENS-100 by the keys of its verb and noun classes"""


ID_COLUMNS = ("id", "index", "class_id", "classid", "label_id")
NAME_COLUMNS = ("name", "class_name", "label", "key", "class", "classes", "labels", "names")
"""what the columns of a table of classes are called, the first that is there counts"""
_ID = re.compile(r"\d{1,9}")


def load(name: str | Path, classes: int) -> tuple[str, ...]:
    """`classes` names: those of the set `name`, or of the file `name`.

    Raises UsageError, in one line, for an unknown name, a file that `read` does not take, or another count.
    """
    labels = named(str(name)) if str(name) in SETS else read(Path(name))
    if len(labels) != classes:
        fitting = [other for other, known in SETS.items() if known.classes == classes]
        hint = f"; {' or '.join(fitting)} would fit" if fitting else ""
        raise UsageError(f"labels {name} are {len(labels)}, the network has {classes} classes{hint}")
    return labels


def named(name: str) -> tuple[str, ...]:
    """The classes of a set, a key of `SETS`."""
    text = resources.files(__package__).joinpath(f"assets/{name}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def numbered(classes: int) -> tuple[str, ...]:
    """Names for classes that have none: class 0, class 1, ..."""
    return tuple(f"class {index}" for index in range(classes))


def describe(labels: tuple[str, ...]) -> str:
    """The title of the set that these are, or their number."""
    for name, known in SETS.items():
        if known.classes == len(labels) and named(name) == labels:
            return known.title
    return f"{len(labels)} classes"


def read(path: Path) -> tuple[str, ...]:
    """The names in a file.

    One a line, all with their ids in front or none; a table (CSV, by comma, semicolon or tab) whose first line names
    its columns, one of NAME_COLUMNS and perhaps one of ID_COLUMNS among them; or JSON: a list, or an object from id to
    name or from name to id. Ids start at 0 or 1 and leave none out. Raises UsageError, in one line, for anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        near = get_close_matches(str(path), SETS, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"no labels {str(path)!r}: give a file, or one of {', '.join(SETS)}{hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise UsageError(f"cannot read labels {path}: {reason}") from None
    json_like = text.lstrip()[:1] in ("[", "{")
    labels = _from_json(path, text) if json_like else _from_table(path, text) or _from_lines(text)
    empty = [str(index) for index, label in enumerate(labels) if not label]
    if empty or not labels:
        raise UsageError(f"labels {path}: {'no name for class ' + empty[0] if empty else 'the file is empty'}")
    return labels


def _from_table(path: Path, text: str) -> tuple[str, ...] | None:
    """The names of a table with a header; None where the first line names no column that we know."""
    header, *lines = text.rstrip().splitlines() or [""]
    separator = next((sign for sign in "\t;," if sign in header), ",")
    columns = [column.strip().lower() for column in next(csv.reader([header], delimiter=separator), [])]
    name = next((column for column in NAME_COLUMNS if column in columns), None)
    number = next((column for column in ID_COLUMNS if column in columns), None)
    # A list of plain names may begin with "key", or "class, with a comma": then this is no header.
    if name is None or (number is None and (len(columns) > 1 or name == "key")):
        return None
    rows = [row for row in csv.reader(lines, delimiter=separator) if any(map(str.strip, row))]
    short = next((index for index, row in enumerate(rows, 2) if len(row) < len(columns)), None)
    if short is not None:
        raise UsageError(f"labels {path}: line {short} has fewer columns than the first, {', '.join(columns)}")
    names = [" ".join(row[columns.index(name)].split()) for row in rows]
    if number is None:
        return tuple(names)
    ids = [row[columns.index(number)].strip() for row in rows]
    return _by_id(path, dict(zip(ids, names, strict=True)), len(rows))


def _from_lines(text: str) -> tuple[str, ...]:
    lines = [" ".join(line.split()) for line in text.rstrip().splitlines()]
    split = [re.fullmatch(r"(\d{1,9})[ ,;:]\s*(.+)", line) for line in lines]
    if lines and all(split):
        by_id = {int(match[1]): match[2] for match in split if match}
        first = min(by_id)
        if first <= 1 and sorted(by_id) == list(range(first, first + len(lines))):
            return tuple(by_id[index] for index in sorted(by_id))
    return tuple(lines)


def _from_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"labels {path} are not JSON: {error}") from None
    if isinstance(content, dict):
        pairs = content.items()
        if not all(_ID.fullmatch(key) for key in content):
            content = {str(value): key for key, value in pairs}
        content = _by_id(path, content, len(pairs))
    if not all(isinstance(label, str) for label in content):
        raise UsageError(f"labels {path}: expected names, got {next(x for x in content if not isinstance(x, str))!r}")
    return tuple(" ".join(label.split()) for label in content)


def _by_id(path: Path, names: Mapping[str, Any], count: int) -> tuple[Any, ...]:
    """The names in the order of their ids. Raises UsageError unless `count` ids begin at 0 or 1 and leave none out."""
    by_id = {int(key): name for key, name in names.items() if _ID.fullmatch(key)}
    first = min(by_id, default=0)
    if len(by_id) != count or first > 1 or sorted(by_id) != list(range(first, first + count)):
        raise UsageError(f"labels {path}: expected every id from 0 to {count - 1}, each with one name")
    return tuple(by_id[index] for index in sorted(by_id))

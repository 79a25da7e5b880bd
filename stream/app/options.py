"""The options of a run, collected from the dataclasses that declare them, and values of them put back into these.

A dataclass declares options as fields of its own (`engine.options.option`) and holds those of others as fields whose
default is such a dataclass: `Config.source` brings the options of inputs.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, TypeVar

from ...engine.errors import UsageError
from ...engine.options import Option, name_of, options_of, shown

_T = TypeVar("_T")


@dataclass(frozen=True)
class Entry:
    """An option of a run."""

    name: str
    """what it is called on the command line, in files and, with _ for -, as a keyword: max-age"""
    declared: Option
    annotation: str
    """its type, as the dataclass spells it"""
    kind: type
    """bool, int, float, or str for everything else"""
    accepts: tuple[type, ...]
    """what a keyword may be, besides a text"""
    default: object
    paths: tuple[tuple[str, ...], ...]
    """fields that lead to it from the outermost dataclass; several where more than one dataclass has it"""
    group: str
    """the heading it is listed under"""

    @property
    def keyword(self) -> str:
        return self.name.replace("-", "_")

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value on the command line."""
        return self.kind is bool

    @property
    def default_in_words(self) -> str:
        """Empty where none need be said."""
        if self.declared.default or self.is_flag or self.default is None:
            return self.declared.default
        unit = f" {self.declared.unit}" if self.declared.unit else ""
        return f"{shown(self.default)}{unit}"

    def read(self, text: str) -> object:
        """The value that a text means. Raises ValueError saying what is accepted, or UsageError."""
        if self.declared.read is not None:
            return self.declared.read(text)
        if self.kind not in (int, float):
            return text
        try:
            return self.kind(text)
        except ValueError:
            raise ValueError(f"{'a whole number' if self.kind is int else 'a number'}, got {text!r}") from None

    def value_in(self, made: object) -> object:
        """What it is, in an object of the outermost dataclass."""
        for field in self.paths[0]:
            made = getattr(made, field)
        return made


def entries(*kinds: type) -> Mapping[str, Entry]:
    """The options of dataclasses and of those they hold, by name, in the order of their declaration.

    Raises ValueError where two that differ have one name.
    """
    return _entries(kinds)


@cache
def _entries(kinds: tuple[type, ...]) -> Mapping[str, Entry]:
    found: dict[str, Entry] = {}
    for kind in kinds:
        for entry in _walk(kind, ()):
            first = found.setdefault(entry.name, entry)
            if first.declared is not entry.declared:
                raise ValueError(f"two options are called {entry.name!r}")
            if first is not entry:
                found[entry.name] = replace(first, paths=first.paths + entry.paths)
    return found


def _walk(kind: type, path: tuple[str, ...]) -> Iterator[Entry]:
    declared, hints = options_of(kind), typing.get_type_hints(kind)
    for field in fields(kind):
        here = (*path, field.name)
        if field.name in declared:
            one = declared[field.name]
            group = one.group or getattr(kind, "option_group", "")
            accepted = _types_of(hints[field.name])
            wider = (*accepted, int) if {float, Fraction} & {*accepted} else accepted
            name, annotation, plain = name_of(field.name, one), str(field.type), _plain(accepted)
            yield Entry(name, one, annotation, plain, wider, field.default, (here,), group)
        if holds_options(field.default):
            yield from _walk(type(field.default), here)


def holds_options(value: object) -> bool:
    """Whether it is of a dataclass that declares options."""
    return is_dataclass(value) and bool(options_of(type(value)))


def _plain(accepted: tuple[type, ...]) -> type:
    return next((kind for kind in (bool, int, float) if accepted == (kind,)), str)


def _types_of(hint: Any) -> tuple[type, ...]:
    """int for int | None, tuple for tuple[int, int]."""
    if isinstance(hint, types.UnionType):
        return tuple(kind for one in typing.get_args(hint) for kind in _types_of(one))
    return () if hint is type(None) else (typing.get_origin(hint) or hint,)


def changed(base: _T, given: Mapping[str, object]) -> _T:
    """An object of a dataclass with other options. given: values by name; names of other dataclasses do not matter.

    Where a field is an option itself and holds others, as a whole look does, these change what it was given.
    """
    declared, values = options_of(type(base)), {}
    for field in fields(base):  # type: ignore[arg-type]
        value = getattr(base, field.name)
        if field.name in declared:
            value = given.get(name_of(field.name, declared[field.name]), value)
        if holds_options(value):
            value = changed(value, given)
        if value is not getattr(base, field.name):
            values[field.name] = value
    return replace(base, **values) if values else base  # type: ignore[type-var]


def from_keywords(keywords: Mapping[str, object], known: Mapping[str, Entry]) -> dict[str, object]:
    """Keyword arguments as values by name. What is no text by its type may be given as text all the same: "640x480".

    Raises UsageError for what is no option, naming near ones, and for a value of a wrong type.
    """
    by_keyword = {entry.keyword: entry for entry in known.values()}
    values: dict[str, object] = {}
    for keyword, value in keywords.items():
        if keyword not in by_keyword:
            raise UsageError(no_option(keyword, by_keyword))
        entry = by_keyword[keyword]
        values[entry.name] = _of_keyword(entry, value)
    return values


def _of_keyword(entry: Entry, value: object) -> object:
    if value is None and entry.default is None:
        return None
    if isinstance(value, str) and not entry.is_flag:
        return read_text(entry, entry.keyword, value)
    if not isinstance(value, entry.accepts) or isinstance(value, bool) != entry.is_flag:
        words = _IN_WORDS.get(entry.kind, entry.annotation)
        raise UsageError(f"{entry.keyword} must be {words}, got a {type(value).__name__}")  # it may hold a password
    return value


_IN_WORDS: dict[type, str] = {bool: "True or False", int: "a whole number", float: "a number"}


def from_table(table: Mapping[str, str | int | float | bool], known: Mapping[str, Entry]) -> dict[str, object]:
    """A table of a file as values by name. Keys may have _ for -. Raises UsageError."""
    by_keyword = {entry.keyword: entry for entry in known.values()}
    values: dict[str, object] = {}
    for key, value in table.items():
        entry = by_keyword[key.replace("-", "_")]
        if isinstance(value, bool) != entry.is_flag:
            raise UsageError(f"{key} must be {'true or false' if entry.is_flag else 'a value'}, got {value!r}")
        values[entry.name] = value if isinstance(value, bool) else read_text(entry, key, str(value))
    return values


def read_text(entry: Entry, key: str, text: str) -> object:
    """As `Entry.read`. Raises UsageError that begins with the key."""
    try:
        return entry.read(text)
    except ValueError as error:
        raise UsageError(f"{key} must be {error}") from None


def no_option(name: str, accepted: Iterable[str]) -> str:
    """What is said of a name that no option has: it names near ones, as they are spelled."""
    return f"no option is called {name!r}{did_you_mean(name, accepted)}"


def did_you_mean(name: str, accepted: Iterable[str], lead: str = "") -> str:
    """What is said of near names, behind what is wrong; empty where there is none. lead: what each name begins with."""
    near = [lead + one for one in difflib.get_close_matches(name, accepted, 3, 0.5)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


def differences(old: Any, new: Any) -> list[Entry]:
    """The options that differ between two objects of a dataclass. Pure.

    Of a field that is an option and holds others it is named where what nothing else can choose differs; those it
    holds are then left out, for it changes them all.
    """
    different: list[Entry] = []
    for entry in entries(type(old)).values():
        before, after = entry.value_in(old), entry.value_in(new)
        if holds_options(before):
            before, after = _chosen_by_name(before), _chosen_by_name(after)
        if before != after:
            different.append(entry)
    whole = [entry.paths[0] for entry in different if holds_options(entry.default)]
    return [one for one in different if not any(one.paths[0][: len(path)] == path != one.paths[0] for path in whole)]


def _chosen_by_name(made: object) -> list[object]:
    declared = options_of(type(made))
    return [getattr(made, field.name) for field in fields(made) if field.name not in declared]  # type: ignore[arg-type]

"""A run from a TOML file: the same names as the flags, and flags win. Several [[stream]] tables share one model."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import UsageError
from ...engine.options import options_of
from ..net.address import Address
from ..sinks.open import check_outputs
from ..sinks.rules import place_of_hook
from .arguments import Refusing, add_run_arguments, config_of, given_options, known_options, parse_run
from .config import Config, ProcessOptions
from .default_outputs import with_outputs
from .options import changed, from_table, no_option
from .options import differences as different_options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

WORDS = ("input", "outputs", "name", "stream")
"""Keys of a file that are not options."""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Settings:
    """Everything that a process has to do."""

    streams: tuple[Config, ...]
    process: ProcessOptions = ProcessOptions()
    path: Path | None = None
    """the file that they were read from"""
    notes: tuple[tuple[str, str], ...] = ()
    """streams whose outputs were chosen here: the name, and what is to be said of it"""
    offers_page: bool = False
    """whether a page was chosen here: it may be opened at once"""

    @property
    def addresses(self) -> list[Address]:
        """All inputs and outputs, and the passwords and tokens of what is served as addresses: everything that may hold
        a password."""
        passwords = [secret for stream in self.streams for secret in stream.sink.secrets]
        named = [uri for stream in self.streams for uri in (stream.input, *stream.outputs)]
        return [*map(Address.parse, named), *map(Address.of_password, passwords)]


def read_settings(words: Sequence[str]) -> Settings:
    """The settings by the words after `run`, and by the file that --config names. Raises UsageError."""
    parser = Refusing(prog="saliency-tubes run", add_help=False)
    add_run_arguments(parser)
    args = parse_run(parser, words)
    given, path = given_options(args), args.config
    if path is None:
        return _completed([config_of(args.input, args.outputs, given)], changed(ProcessOptions(), given))
    try:
        return _of_file(path, _read(path), args.input, args.outputs, given)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _of_file(
    path: Path, table: dict[str, Any], input_: str | None, outputs: Sequence[str], given: Mapping[str, object]
) -> Settings:
    """The settings of a file. given: the options of the command line, by name."""
    streams = table.pop("stream", None)
    if streams is None:
        made = [_stream([table], "", input_, outputs, given)]
    else:
        if not (isinstance(streams, list) and streams and all(isinstance(one, dict) for one in streams)):
            raise UsageError("streams are written as [[stream]] tables")
        if input_ is not None:
            raise UsageError("it names the inputs of several streams: leave INPUT and OUTPUT out of the command line")
        made = []
        for number, stream in enumerate(streams):
            _check_own(stream)
            made.append(_stream([table, stream], f"stream{number + 1}", None, outputs, given))
        names = [one.name for one in made]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two streams are called {twice!r}; each needs a name of its own")
    settings = _completed(made, changed(ProcessOptions(), {**_options_in(table), **given}), path)
    if streams is not None:
        _check_shared_outputs(settings.streams)
    return settings


def _completed(streams: Sequence[Config], process: ProcessOptions, path: Path | None = None) -> Settings:
    """Gives each stream an output. Raises UsageError."""
    completed = [with_outputs(stream) for stream in streams]
    notes = tuple((one.config.name, one.note) for one in completed if one.note)
    configs = tuple(one.config for one in completed)
    return Settings(configs, process, path, notes, any(one.is_page for one in completed))


def _stream(
    tables: Sequence[Mapping[str, Any]],
    default_name: str,
    input_: str | None,
    outputs: Sequence[str],
    given: Mapping[str, object],
) -> Config:
    """One stream of a file. The last table wins over those before it, and what the command line gives wins over all."""
    values: dict[str, object] = {}
    for table in tables:
        values |= _options_in(table)
    for table in reversed(tables):
        input_ = input_ if input_ is not None else _text(table.get("input"), "input")
        outputs = outputs or _texts(table.get("outputs", []), "outputs")
    name = _text(tables[-1].get("name"), "name") or default_name
    return config_of(input_, outputs, {**values, **given}, name)


def _check_own(stream: Mapping[str, Any]) -> None:
    """Raises UsageError if a [[stream]] has an option that belongs to the whole process."""
    known, process = known_options(), options_of(ProcessOptions)
    for key in stream:
        entry = known.get(key.replace("_", "-"))
        if entry is not None and (entry.declared.shared or entry.keyword in process):
            raise UsageError(f"{key} belongs above the first [[stream]]: all streams share it")


def _check_shared_outputs(streams: Sequence[Config]) -> None:
    """Raises UsageError if a stream writes to what it reads, or to what another one reads or writes."""
    read = {Address.parse(stream.input).place(stream.sink.listen): stream.name for stream in streams}
    taken: dict[object, str] = {}
    for stream in streams:
        check_outputs(stream.input, stream.outputs, stream.sink.listen)
        for output in map(Address.parse, stream.outputs):
            if output.is_null or output.is_standard or output.is_hook:
                continue
            place = output.place(stream.sink.listen)
            if place in taken:
                raise UsageError(f"{stream.name} and {taken[place]} have an output in common: {output}")
            if place in read:
                raise UsageError(f"{output} is an output of {stream.name} and the input of {read[place]}")
            taken[place] = stream.name


def _options_in(table: Mapping[str, Any]) -> dict[str, object]:
    """The options of a table, by name. Raises UsageError for an unknown key, naming similar ones."""
    known = known_options()
    written: dict[str, str | int | float | bool] = {}
    for key, value in table.items():
        if key in WORDS:
            continue
        if key.replace("_", "-") not in known:
            raise UsageError(no_option(key, [*known, *WORDS]))
        if not isinstance(value, str | int | float):
            raise UsageError(f"{key} must be one value, got a {type(value).__name__}")  # not its words: a password
        written[key] = _expand(value, key) if isinstance(value, str) else value
    return from_table(written, known)


def _read(path: Path) -> dict[str, Any]:
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"not TOML: {error}") from None
    except RecursionError:
        raise UsageError("not TOML that can be read: its lists or tables are nested too deeply") from None
    return table


def _text(value: Any, key: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise UsageError(f"{key} must be text, got a {type(value).__name__}")  # not its words: a password
    return _expand(value, key)


def _texts(value: Any, key: str) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise UsageError(f"{key} must be a list of texts")  # not its words: a password
    return [_expand(one, key) for one in value]


def _expand(text: str, key: str) -> str:
    """Replaces ${NAME} by the environment variable, so that a password need not be in the file."""
    if "\0" in text:  # a NUL cannot come from a command line, and some libraries report it badly
        raise UsageError(f"{key} must not hold a NUL character")

    def variable(match: re.Match[str]) -> str:
        value = os.environ.get(match[1])
        if value is None:
            raise UsageError(f"the environment has no variable {match[1]}")
        return value

    return _VARIABLE.sub(variable, text)


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """The names of the options that differ between two runs of one stream: those that can change while it runs, and
    those that need a restart. The rules of webhooks are "rules". Pure.
    """
    changed_options = different_options(old, new)
    live = [entry.name for entry in changed_options if entry.declared.live]
    restart = [name for name in ("input", "outputs") if getattr(old, name) != getattr(new, name)]
    restart += [entry.name for entry in changed_options if not entry.declared.live]
    if "outputs" in restart and [*map(place_of_hook, old.outputs)] == [*map(place_of_hook, new.outputs)]:
        restart.remove("outputs")  # only the rules of webhooks differ
        live.append("rules")
    return live, restart

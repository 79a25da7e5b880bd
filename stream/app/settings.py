"""A run from a TOML file: the same names as the flags, and flags win. Several [[stream]] tables share one model."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...engine.errors import UsageError
from ..net.address import identity
from ..net.redact import redact
from ..sinks.open import check_outputs
from ..sinks.rules import is_hook, place_of_hook
from .arguments import Refusing, add_run_arguments, config_of, parse_run
from .job import Config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHARED = ("model", "frames", "runtime", "precision", "device", "batch")
"""of the one model that all streams share"""
WHOLE = ("metrics", "log_format", "log_level")
"""of the whole process, not of one stream"""
LOOK = ("preset", "colormap", "alpha", "threshold", "normalize", "frame")
"""options of how evidence is drawn"""
LIVE = (*LOOK, "explain", "max-age")
"""options that may change while a stream runs"""
_WRITTEN = {"preset": "encoder-preset", "user": "rtsp-user", "password": "rtsp-password"}
"""fields of SinkOptions -> what their options are called, where it is something else"""
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Settings:
    """Everything that a process is to do."""

    streams: tuple[Config, ...]
    metrics: str | None = None
    log_format: str = "text"
    log_level: str = "info"
    path: Path | None = None
    """the file they came from"""

    @property
    def addresses(self) -> list[str]:
        """Every input and output, and the login of what is served, as one: all that may hold a password."""
        logins = [f"rtsp://:{quote(stream.sink.password or '', safe='')}@" for stream in self.streams]
        return [uri for stream in self.streams for uri in (stream.input, *stream.outputs)] + logins


def read_settings(words: Sequence[str]) -> Settings:
    """What the words after `run` ask for, and the file that --config names among them. Raises UsageError."""
    given = _parse(words)
    path: Path | None = given.config
    if path is None:
        return Settings((config_of(given),), **_whole(given))
    try:
        return _of_file(path, _read(path), given, words)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _of_file(path: Path, table: dict[str, Any], given: argparse.Namespace, words: Sequence[str]) -> Settings:
    streams = table.pop("stream", None)
    if streams is None:
        args = _merged([table], given, words)
        name = _text(table.get("name"), "name") or ""
        return Settings((config_of(args, name),), path=path, **_whole(args))
    if not (isinstance(streams, list) and streams and all(isinstance(one, dict) for one in streams)):
        raise UsageError("streams are written as [[stream]] tables")
    if given.input is not None:
        raise UsageError("it names the inputs of several streams: leave INPUT and OUTPUT out of the command line")
    made = []
    for number, stream in enumerate(streams):
        wrong = [key for key in stream if key.replace("-", "_") in (*SHARED, *WHOLE)]
        if wrong:
            raise UsageError(f"{wrong[0]} belongs above the first [[stream]]: all streams share it")
        name = _text(stream.get("name"), "name") or f"stream{number + 1}"
        made.append(config_of(_merged([table, stream], given, words), name))
    names = [one.name for one in made]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two streams are called {twice!r}; each needs a name of its own")
    _check_shared_outputs(made)
    return Settings(tuple(made), path=path, **_whole(_merged([table], given, words)))


def _whole(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the whole process, by name."""
    return {name: getattr(args, name) for name in WHOLE}


def _check_shared_outputs(streams: Sequence[Config]) -> None:
    """Raises UsageError where a stream writes to what it reads, or to what another one reads or writes to."""
    read = {identity(stream.input, stream.sink.listen): stream.name for stream in streams}
    taken: dict[object, str] = {}
    for stream in streams:
        check_outputs(stream.input, stream.outputs, stream.sink.listen)
        for uri in stream.outputs:
            if uri in ("null://", "-") or is_hook(uri):
                continue
            place = identity(uri, stream.sink.listen)
            if place in taken:
                raise UsageError(f"{stream.name} and {taken[place]} have an output in common: {redact(uri)}")
            if place in read:
                raise UsageError(f"{redact(uri)} is an output of {stream.name} and the input of {read[place]}")
            taken[place] = stream.name


def _merged(tables: Sequence[Mapping[str, Any]], given: argparse.Namespace, words: Sequence[str]) -> argparse.Namespace:
    """The values of the tables. A value in a later table replaces that of an earlier one, and the command line's value
    replaces all."""
    written: list[str] = []
    input_, outputs = given.input, list(given.outputs)
    for table in tables:
        written += _words(table)
    for table in reversed(tables):
        input_ = input_ if input_ is not None else _text(table.get("input"), "input")
        outputs = outputs or _texts(table.get("outputs", []), "outputs")
    args = _parse([*written, *words])
    args.input, args.outputs = input_, outputs
    return args


def _words(table: Mapping[str, Any]) -> list[str]:
    """A table as flags. Raises UsageError for a key that is no flag, naming near ones."""
    known = {action.dest: action for action in _parser()._actions}  # argparse has no public way to ask
    flags = {name.lstrip("-").replace("-", "_"): action for action in known.values() for name in action.option_strings}
    accepted = {*flags, "input", "outputs", "name", "stream"} - {"config", "h", "help"}
    words = []
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, 3, 0.5)
            hint = f"; did you mean {' or '.join(one.replace('_', '-') for one in near)}?" if near else ""
            raise UsageError(f"no option is called {key!r}{hint}")
        if name in ("input", "outputs", "name", "stream"):
            continue
        flag, takes_none = "--" + name.replace("_", "-"), flags[name].nargs == 0
        if isinstance(value, bool) != takes_none:
            raise UsageError(f"{key} must be {'true or false' if takes_none else 'a value'}, got {value!r}")
        if isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, str | int | float):
            words.append(f"{flag}={_expand(value, key) if isinstance(value, str) else value}")
        else:
            raise UsageError(f"{key} must be one value, got a {type(value).__name__}")  # not its words: a password
    return words


def _parser() -> argparse.ArgumentParser:
    parser = Refusing(prog="saliency-tubes run", add_help=False)
    add_run_arguments(parser)
    return parser


def _parse(words: Sequence[str]) -> argparse.Namespace:
    return parse_run(_parser(), words)


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
    """${NAME} is a variable of the environment, so that a password need not stand in the file."""
    if "\0" in text:  # no command line can hold one, and not all that is called with it says what is wrong
        raise UsageError(f"{key} must not hold a NUL character")

    def variable(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if found is None:
            raise UsageError(f"the environment has no variable {match[1]}")
        return found

    return _VARIABLE.sub(variable, text)


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """What differs between two runs of one stream: what can change while it runs, and what needs a restart. Pure.

    Options by name; the rules of webhooks are "rules".
    """
    before, after = _options(old), _options(new)
    changed = [name for name in before if before[name] != after[name]]
    if "preset" in changed:  # it changes all the others
        changed = [name for name in changed if name == "preset" or name not in LOOK]
    live = [name for name in changed if name in LIVE]
    restart = [name for name in changed if name not in LIVE]
    if "outputs" in restart and [*map(place_of_hook, old.outputs)] == [*map(place_of_hook, new.outputs)]:
        restart.remove("outputs")  # the rules of webhooks alone
        live.append("rules")
    return live, restart


def _options(config: Config) -> dict[str, object]:
    """Everything that a user may write, by the names used for it, with what it is now."""
    made, look = dict(vars(config)), dict(vars(config.style))
    look["preset"] = [look.pop(name) for name in ("geometry", "soft", "add", "focus")]  # which nothing else can choose
    sink = {_WRITTEN.get(name, name): value for name, value in vars(config.sink).items()}
    for name in ("style", "source", "sink"):
        del made[name]
    return {name.replace("_", "-"): value for name, value in (made | look | vars(config.source) | sink).items()}

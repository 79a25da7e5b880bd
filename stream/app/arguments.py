"""What asks for a run, on the command line and in Python: the options are those that `Config` declares."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from ...engine.errors import UsageError
from ..net.address import AddressLike
from ..net.redact import redact_words
from .config import Config, ProcessOptions
from .options import Entry, changed, did_you_mean, entries, from_keywords


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {redact_words(message)}{_near_flags(self.prog, message)}\n")


def parse_run(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """What follows `run`: options may stand between the input and the outputs, unless names begin with a dash."""
    return parser.parse_args(words) if "--" in words else parser.parse_intermixed_args(words)


class Refusing(argparse.ArgumentParser):
    """Raises UsageError instead of leaving: for words that come from a file."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(redact_words(message) + _near_flags(self.prog, message))


def _near_flags(program: str, message: str) -> str:
    """Of argparse's message about a flag that does not exist: those of `run` that are near."""
    wrong = message.removeprefix("unrecognized arguments: ").split("=")[0].split()
    if wrong == message.split("=")[0].split() or not wrong or not program.endswith(" run"):
        return ""
    return did_you_mean(wrong[0][2:], known_options(), "--") if wrong[0].startswith("--") else ""


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that `run` takes. Of options only those that are given are in what is parsed."""
    parser.add_argument(
        "input", metavar="INPUT", nargs="?", help="a video file, a camera, or a stream: see docs/live.md"
    )
    parser.add_argument(
        "outputs", metavar="OUTPUT", nargs="*",
        help="out.mp4, out.mkv, recordings/%%Y%%m%%d-%%H%%M%%S.mkv, frames/%%06d.png, events.jsonl, - (JSON lines to "
        "stdout), rtsp://@:8554/path, web://:8080, mqtt://broker/topic, display://, null:// and more; several at once "
        "(default: a film beside a file, web://:8080 for a live input)",
    )  # fmt: skip
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of these options; flags win")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for entry in known_options().values():
        if entry.group not in groups:
            groups[entry.group] = parser.add_argument_group(entry.group)
        add_flag(groups[entry.group], entry)


def known_options() -> Mapping[str, Entry]:
    """The options of a run, and of the whole process, by name."""
    return entries(Config, ProcessOptions)


def add_flag(group: argparse._ActionsContainer, entry: Entry) -> None:
    """Adds an option of a run. It is in what is parsed only where it is given."""
    declared, default = entry.declared, entry.default_in_words
    text = f"{declared.meaning} (default: {default})" if default else declared.meaning
    text = text.replace("%", "%%")
    flag = f"--{entry.name}"
    if entry.is_flag:
        group.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        return
    choices = f"{{{','.join(declared.choices)}}}" if declared.choices else entry.keyword.upper()
    group.add_argument(
        flag, type=_reader(entry), default=argparse.SUPPRESS, metavar=declared.metavar or choices, help=text
    )


def _reader(entry: Entry) -> Callable[[str], object]:
    def read(text: str) -> object:
        try:
            return entry.read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"must be {error}") from None
        except UsageError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


def given_options(args: argparse.Namespace) -> dict[str, object]:
    """The values of those options that were given, by name."""
    given = vars(args)
    return {name: given[entry.keyword] for name, entry in known_options().items() if entry.keyword in given}


def config_of(input_: str | None, outputs: Sequence[str], given: Mapping[str, object], name: str = "") -> Config:
    """The run that these options ask for, as yet without an output if none is named. given: values by name. Raises
    UsageError."""
    if input_ is None:
        raise UsageError("no input: give a video file, a camera or a stream, here or in the file of --config")
    return changed(Config(input_, tuple(outputs), name=name), given)


def config_of_keywords(input_: AddressLike, outputs: Sequence[AddressLike], keywords: Mapping[str, object]) -> Config:
    """The run that keyword arguments ask for. Raises UsageError, for one that is no option naming near ones."""
    return changed(Config(input_, tuple(outputs)), from_keywords(keywords, entries(Config)))

"""Writes what is made from the options: `python -m saliency_tubes.stream.app.reference docs/options.md ...keywords.py`.

A file's suffix tells what it gets: .md the page of the documentation, .py the types of the keywords of `explain`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap

from ...engine.options import read_size
from .arguments import known_options
from .config import Config
from .options import Entry, entries

WIDTH = 120

PAGE = """\
# Options of `saliency-tubes run`

Made from the code by `make reference`: change the declarations there, not this page.

Every option can be given in three ways, by one name:

- on the command line: `saliency-tubes run clip.mp4 --max-age 1.5 --loop`;
- in the TOML file that `--config` names: `max-age = 1.5`, `loop = true`. A `[[stream]]` table wins over what stands
  above it, and the command line wins over the file: see [The configuration file](live.md#the-configuration-file);
- in Python, with `_` for `-`: `explain("clip.mp4", max_age=1.5, loop=True)`. What is no number may be given as text:
  `size="640x480"`. The options under "what it tells" belong to the command alone.

In the last column, **live** marks what may change while a stream runs (SIGHUP reads the file again), **shared** what
belongs to the model, so that all streams of a file share it, and **process** what belongs to the whole process.
"""


def page(known: Mapping[str, Entry], of_streams: Mapping[str, Entry]) -> str:
    """The page of the documentation, as Markdown. of_streams: those options that a stream has of its own."""
    text = [PAGE]
    for group in dict.fromkeys(entry.group for entry in known.values()):
        text += [f"## {group[0].upper()}{group[1:]}", "", "| option | default | accepted | meaning | |"]
        text += ["|---|---|---|---|---|"]
        text += [_row(entry, of_streams) for entry in known.values() if entry.group == group]
        text.append("")
    return "\n".join(text).rstrip() + "\n"


def _row(entry: Entry, of_streams: Mapping[str, Entry]) -> str:
    declared = entry.declared
    value = "" if entry.is_flag else f" {declared.metavar or 'NAME'}"
    accepted = ", ".join(f"`{choice}`" for choice in declared.choices) or declared.accepted(declared.read is read_size)
    meaning = _in_code(declared.meaning) + (f". {declared.more}" if declared.more else "")
    marks = [("live", declared.live), ("shared", declared.shared), ("process", entry.name not in of_streams)]
    mark = ", ".join(f"**{word}**" for word, holds in marks if holds)
    default = "no" if entry.is_flag else _in_code(entry.default_in_words)
    cells = (f"`--{entry.name}{value}`", default, accepted, meaning, mark)
    return " ".join(f"| {cell}" if cell else "|" for cell in cells) + " |"


_CODE = re.compile(r"(?<![\w`-])(--[a-z-]+|[a-z/0-9]+://@?|\$[A-Z_]+|/healthz|fixed:LOW:HIGH)(?![\w`:])")


def _in_code(text: str) -> str:
    """Flags, schemes and the like between backquotes."""
    return _CODE.sub(r"`\1`", text)


KEYWORDS = '''\
"""The keywords of `explain`, for type checkers. Made by `make reference`: change the options, not this file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TypedDict

from ...engine.draw.style import Style
from ...engine.saliency import Normalize
from ..net.secret import Secret


class RunOptions(TypedDict, total=False):
    """The options of a run: see docs/options.md. What is neither text nor truth may be given as text as well."""

'''


def keywords(known: Mapping[str, Entry]) -> str:
    """A module with a TypedDict of all options that keywords can give."""
    text = [KEYWORDS]
    for entry in known.values():
        kinds = entry.annotation.split(" | ")
        if not {"str", "bool"} & {*kinds}:
            kinds.insert(1, "str")
        meaning = entry.declared.meaning + (f" (default: {entry.default_in_words})" if entry.default_in_words else "")
        text.append(f"    {entry.keyword}: {' | '.join(kinds)}\n")
        lines = wrap(f'"""{meaning}"""', WIDTH - 4, break_long_words=False, break_on_hyphens=False)
        text += [f"    {line}\n" for line in lines]
    return "".join(text)


def main(paths: list[str]) -> None:
    """Writes each file anew."""
    of_streams = entries(Config)
    for path in map(Path, paths):
        text = page(known_options(), of_streams) if path.suffix == ".md" else keywords(of_streams)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

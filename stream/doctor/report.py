"""The doctor's findings as text for people, fitted to the width of a terminal, and as JSON. Pure."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence

from .finding import ABSENT, BROKEN, OK, SLOWER, Finding, Section, works

NARROW = 70
"""Columns below which a finding's text goes under its name instead of beside it."""
WIDEST = 120
"""Maximum columns of a line of text: longer ones are hard to read."""
_COLORS = {OK: "32", SLOWER: "33", ABSENT: "2", BROKEN: "1;31"}
"""Status -> SGR code of terminals: green, yellow, faint, bold red."""


def as_text(sections: Sequence[Section], title: str, width: int, color: bool) -> str:
    """All findings; ends with a newline. width: columns. color: whether to use a terminal's colours.

    A command is never broken: it is there to be copied.
    """
    width = max(24, min(width, WIDEST))
    lines = [title]
    longest = max((len(finding.name) for section in sections for finding in section.findings), default=0)
    for section in sections:
        lines += ["", f"\033[1m{section.title}\033[0m" if color else section.title]
        for finding in section.findings:
            lines += _lines(finding, longest, width, color)
    return "\n".join([*lines, "", *textwrap.wrap(verdict(sections), width)]) + "\n"


def verdict(sections: Sequence[Section]) -> str:
    """The last line: whether the main job works, and what is worth doing."""
    every = [finding for section in sections for finding in section.findings]
    broken = [finding.name for finding in every if finding.status == BROKEN]
    if broken:
        return f"Broken: {', '.join(broken)}. Videos cannot be explained before this is mended."
    slower = sum(finding.status == SLOWER and bool(finding.command) for finding in every)
    faster = f" {slower} {'thing' if slower == 1 else 'things'} could be faster: see above." if slower else ""
    return f"It works: videos are explained on this machine.{faster}"


def as_json(sections: Sequence[Section], version: str) -> str:
    """An object with version, works, and findings: section, status, name, text, command."""
    findings = [
        {
            "section": section.title,
            "status": finding.status,
            "name": finding.name,
            "text": finding.text,
            "command": finding.command,
        }
        for section in sections
        for finding in section.findings
    ]
    told = {"version": version, "works": works(tuple(sections)), "findings": findings}
    return json.dumps(told, ensure_ascii=False, indent=1)


def _lines(finding: Finding, longest: int, width: int, color: bool) -> list[str]:
    status = f"{finding.status:<6}"
    if color:
        status = f"\033[{_COLORS[finding.status]}m{status}\033[0m"
    if width < NARROW:
        indent = " " * 4
        lines = [f"  {status}  {finding.name}", *_wrapped(finding.text, width, indent)]
    else:
        indent = " " * (2 + 6 + 2 + longest + 2)
        first, *others = _wrapped(finding.text, width, indent) or [""]
        lines = [f"  {status}  {finding.name:<{longest}}  {first.strip()}".rstrip(), *others]
    return [*lines, f"{indent}$ {finding.command}"] if finding.command else lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

"""What the doctor says: findings, in sections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .system import System

OK, SLOWER, ABSENT, BROKEN = "ok", "slower", "absent", "broken"
"""ok: as good as this machine allows. slower: it works, and there is a faster way. absent: a part that only some runs
need is not there. broken: what every run needs does not work."""
STATUSES = (OK, SLOWER, ABSENT, BROKEN)


@dataclass(frozen=True)
class Finding:
    """One line."""

    status: str
    """one of STATUSES"""
    name: str
    """what it is about, in one or two words"""
    text: str
    """what was found, and why"""
    command: str = ""
    """what to type to change it; empty where nothing need or can be changed"""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}, got {self.status!r}")


Probe = Callable[[System], "Finding | None"]
"""Looks at one thing. None: it does not matter on this machine."""


@dataclass(frozen=True)
class Section:
    """Findings under one heading."""

    title: str
    findings: tuple[Finding, ...]


def works(sections: tuple[Section, ...]) -> bool:
    """Whether nothing that every run needs is broken."""
    return all(finding.status != BROKEN for section in sections for finding in section.findings)

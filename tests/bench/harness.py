"""Measuring: callables timed in turns, medians, rows with targets. What every benchmark here is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from saliency_tubes.stream.bench.turns import Times, interleave

__all__ = ["Row", "Setup", "Subject", "Target", "Times", "exit_code", "interleave", "ratio", "table", "write"]


@dataclass(frozen=True)
class Target:
    """What a row's value must not pass."""

    limit: float
    at_most: bool = True
    """False: the value must be the limit or more"""

    def holds(self, value: float) -> bool:
        # written so that not-a-number fails
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True)
class Row:
    """One line of the table and of bench.json."""

    name: str
    """subject: what is measured"""
    value: float
    unit: str
    """"x" for ratios"""
    target: Target | None = None

    @property
    def holds(self) -> bool | None:
        """None where there is no target."""
        return None if self.target is None else self.target.holds(self.value)

    def record(self) -> dict[str, Any]:
        """As in bench.json: name, value, unit, target ("<= 0.1" or null), holds (true, false or null)."""
        target = None if self.target is None else str(self.target)
        return {
            "name": self.name,
            "value": float(f"{self.value:.4g}"),
            "unit": self.unit,
            "target": target,
            "holds": self.holds,
        }


@dataclass(frozen=True)
class Setup:
    """What a subject is given."""

    folder: Path
    """for its files; removed afterwards"""
    quick: bool = False
    """fewer rounds and less work: says whether it runs, not how fast"""

    def pick(self, full: int, quick: int = 1) -> int:
        return quick if self.quick else full


Subject = Callable[[Setup], list[Row]]


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of each round's own ratio: what slows a whole round down cancels out."""
    return median(one / other for one, other in zip(above, below, strict=True))


def table(rows: Sequence[Row]) -> str:
    """The rows for people, one a line."""
    width = max((len(row.name) for row in rows), default=0)
    lines = []
    for row in rows:
        verdict = "" if row.target is None else f"{row.target!s:<10}{'holds' if row.holds else 'FAILS'}"
        lines.append(f"{row.name:<{width}}  {row.value:>10.4g} {row.unit:<6} {verdict}".rstrip())
    return "\n".join(lines)


def write(rows: Iterable[Row], path: Path) -> None:
    """bench.json: a list of `Row.record`, one a line."""
    lines = ",\n".join("  " + json.dumps(row.record(), allow_nan=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def exit_code(rows: Iterable[Row], strict: bool) -> int:
    """1 where a target is missed and the caller is strict about it."""
    return int(strict and any(row.holds is False for row in rows))

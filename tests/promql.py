"""As much of PromQL as docker/alerts.yml uses, evaluated on scrapes: for rules to be tried where Prometheus is not."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Labels = tuple[tuple[str, str], ...]
"""sorted by name"""
Vector = dict[Labels, float]
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d[\d.]*(?:e\d+)?)(?![\w])|(?P<name>[a-z_]\w*)|(?P<text>"[^"]*")|(?P<range>\[\w+\])"""
    r"""|(?P<sign>[=!><]=|=~|!~|[(){}=<>*,]))"""
)


@dataclass(frozen=True)
class Scrape:
    time: float
    """seconds"""
    values: Mapping[tuple[Any, ...], float]
    """by name and pairs of label and value, sorted"""


def duration(text: str) -> float:
    """Seconds of 5m, 6h and the like."""
    return float(text[:-1]) * SECONDS[text[-1]]


def evaluate(expression: str, scrapes: Sequence[Scrape]) -> Vector:
    """The expression at the time of the last scrape. Raises ValueError where it has what is not known here."""
    parser = _Parser(expression, scrapes)
    found = parser.comparison()
    if parser.tokens:
        raise ValueError(f"not understood from {parser.tokens[0][1]!r} on: {expression}")
    return found


class _Parser:
    def __init__(self, expression: str, scrapes: Sequence[Scrape]) -> None:
        self.tokens: list[tuple[str, str]] = []
        self._scrapes, place = scrapes, 0
        while place < len(expression.rstrip()):
            match = _TOKEN.match(expression, place)
            if match is None:
                raise ValueError(f"not understood from {expression[place:]!r} on: {expression}")
            self.tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
            place = match.end()

    def comparison(self) -> Vector:
        found = self._product()
        if not self.tokens or self.tokens[0][1] not in COMPARE:
            return found
        compare, limit = COMPARE[self._next()], float(self._next())
        return {labels: value for labels, value in found.items() if compare(value, limit)}

    def _product(self) -> Vector:
        found = self._atom()
        while self.tokens and self.tokens[0][1] == "*":
            self._next()
            factor = float(self._next())
            found = {labels: value * factor for labels, value in found.items()}
        return found

    def _atom(self) -> Vector:
        name = self._next()
        if name in ("rate", "increase", "deriv"):
            self._next()
            series, span = self._selector(self._next()), duration(self._next()[1:-1])
            self._next()
            return _over(name, series, self._scrapes[-1].time - span, span)
        if name == "absent":
            self._next()
            found = self._instant(self._selector(self._next()))
            self._next()
            return {} if found else {(): 1.0}
        return self._instant(self._selector(name))

    def _instant(self, series: dict[Labels, list[tuple[float, float]]]) -> Vector:
        now = self._scrapes[-1].time
        return {labels: points[-1][1] for labels, points in series.items() if points[-1][0] == now}

    def _selector(self, name: str) -> dict[Labels, list[tuple[float, float]]]:
        """The points of each series."""
        matchers = []
        if self.tokens and self.tokens[0][1] == "{":
            while self._next() != "}":
                if self.tokens[0][1] != "}":
                    matchers.append((self._next(), self._next(), self._next()[1:-1]))
        found: dict[Labels, list[tuple[float, float]]] = {}
        for scrape in self._scrapes:
            for (title, *labels), value in scrape.values.items():
                if title == name and all(_matches(dict(labels), *matcher) for matcher in matchers):
                    found.setdefault(tuple(labels), []).append((scrape.time, value))
        return found

    def _next(self) -> str:
        return self.tokens.pop(0)[1]


def _matches(labels: Mapping[str, str], label: str, sign: str, text: str) -> bool:
    value = labels.get(label, "")
    equal = value == text if sign in ("=", "!=") else re.fullmatch(text, value) is not None
    return equal == (sign in ("=", "=~"))


def _over(name: str, series: Mapping[Labels, list[tuple[float, float]]], since: float, span: float) -> Vector:
    """Without Prometheus' care about the ends of the span: rates are as between the first and the last point in it."""
    found = {}
    for labels, points in series.items():
        times, values = np.array([point for point in points if point[0] >= since]).T
        if len(times) < 2:
            continue
        if name == "deriv":
            found[labels] = float(np.polyfit(times - times[0], values, 1)[0])
        else:
            risen = np.diff(values)
            grown = float(np.where(risen < 0, values[1:], risen).sum())  # a counter starts anew with its process
            found[labels] = grown / (times[-1] - times[0]) * (1.0 if name == "rate" else span)
    return found

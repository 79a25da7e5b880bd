"""When a webhook is called: one class over a probability, for some seconds. Pure: time is the stream's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...engine.errors import UsageError
from ...engine.saliency import parse_target
from ..net.address import Address, AddressLike
from ..telemetry.events import Event

LEAST = 0.2
"""Minimum probability that a rule may ask for. An event names the five most probable classes, and the sixth has at most
1/6: every class of this probability or more is in the event."""
APART = 5.0
"""Maximum seconds between two windows that still count as one stretch."""
_KEYS = ("class", "over", "for", "cooldown")


@dataclass(frozen=True)
class Rule:
    """`label` over `over` for `seconds` in all windows; then not again before `cooldown` seconds are over."""

    label: str
    over: float = 0.5
    """probability, LEAST to 1"""
    seconds: float = 0.0
    """how long it must have been so: from the first such window's end to the newest one's"""
    cooldown: float = 60.0

    def __post_init__(self) -> None:
        if not self.label:
            raise UsageError("a webhook needs a class: hook+https://host?class=yoga&over=0.7&for=3")
        if not LEAST <= self.over <= 1:
            raise UsageError(f"over must be {LEAST:g} to 1, got {self.over:g}")
        if not (0 <= self.seconds < float("inf") and 0 <= self.cooldown < float("inf")):
            raise UsageError(f"for and cooldown must be 0 seconds or more, got {self.seconds:g}, {self.cooldown:g}")

    @classmethod
    def parse(cls, values: Mapping[str, str]) -> Rule:
        """From the query of a webhook's address; what is no part of a rule is ignored."""
        return cls(
            values.get("class", "").strip(),
            number(values, "over", 0.5),
            number(values, "for", 0.0),
            number(values, "cooldown", 60.0),
        )


class Watch:
    """One rule against the windows of one stream, in order."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._since: float | None = None
        self._last: float | None = None
        self._fired: float | None = None

    def under(self, rule: Rule) -> Watch:
        """What watches by another rule from now on. What was seen counts for it too, unless it looks for another."""
        if (rule.label, rule.over) != (self.rule.label, self.rule.over):
            return Watch(rule)
        self.rule = rule
        return self

    def push(self, event: Event) -> bool:
        """Takes the next window's event and says whether the rule fires with it."""
        now = event.time[1]
        broken = self._last is not None and not 0 <= now - self._last <= APART
        if self._fired is not None and now < self._fired:  # the stream's clock was set back
            self._fired = None
        self._last = now
        if event.probability(self.rule.label) < self.rule.over:
            self._since = None
            return False
        if self._since is None or broken:
            self._since = now
        if now - self._since < self.rule.seconds:
            return False
        if self._fired is not None and now - self._fired < self.rule.cooldown:
            return False
        self._fired = now
        return True


def check_rules(outputs: Sequence[AddressLike], labels: Sequence[str]) -> None:
    """Raises UsageError, naming the output, where a webhook's rule makes no sense or watches no class of the model."""
    for address in hooks(outputs):
        try:
            rule = Rule.parse(address.query)
            target = parse_target(rule.label, labels)
            if target.first is None or target.against is not None:
                raise UsageError(f"a webhook watches one class, by name or index, got {rule.label!r}")
        except UsageError as error:
            raise UsageError(f"{address}: {error}") from None


def number(values: Mapping[str, str], key: str, default: float) -> float:
    """A number in a query. Raises UsageError where it is none."""
    try:
        return float(values.get(key, default))
    except ValueError:
        raise UsageError(f"{key} must be a number, got {values[key]!r}") from None


def hooks(outputs: Sequence[AddressLike]) -> list[Address]:
    """Those outputs that are webhooks."""
    return [address for address in map(Address.parse, outputs) if address.is_hook]


def place_of_hook(output: AddressLike) -> Address:
    """A webhook's address without its rule; any other output as it is."""
    address = Address.parse(output)
    return address.without(_KEYS) if address.is_hook else address

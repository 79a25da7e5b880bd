"""What changes a stream for all who watch it: how it is asked for, and what is said of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...engine.errors import UsageError

LONGEST = 1024
"""Maximum bytes of a request."""
ACCEPTED = (
    'a change is {"explain": "top1", a class or A:B, "hold": windows, "max_age": seconds}, with one of them or more'
)


@dataclass(frozen=True)
class Change:
    """None leaves a value as it is."""

    explain: str | None = None
    """as `engine.saliency.parse_target` reads it"""
    hold: int | None = None
    """windows"""
    max_age: float | None = None
    """seconds"""


def read_change(body: bytes) -> Change:
    """The change that a request asks for. Raises UsageError: one line, which says what is accepted."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError(f"that is not JSON: {ACCEPTED}") from None
    if not isinstance(found, dict) or not found:
        raise UsageError(f"that changes nothing: {ACCEPTED}")
    for key in found:
        if key not in Change.__dataclass_fields__:
            raise UsageError(f"there is no control {key!r}: {ACCEPTED}")
    return Change(_text(found), _whole(found), _seconds(found))


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> str:
    """What has changed, in words: `explain 'top1' -> 'yoga', hold 3 -> 5`; empty if nothing has."""
    changed = [key for key in after if before.get(key) != after[key]]
    return ", ".join(f"{key} {before.get(key)!r} -> {after[key]!r}" for key in changed)


def _text(found: Mapping[str, Any]) -> str | None:
    value = found.get("explain", "")
    if not isinstance(value, str) or ("explain" in found and not value.strip()):
        raise UsageError(f"explain must be top1, a class, or A:B, got {_told(value)}")
    return value if "explain" in found else None


def _whole(found: Mapping[str, Any]) -> int | None:
    value = found.get("hold", 1)
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"hold must be a whole number of windows, got {_told(value)}")
    return value if "hold" in found else None


def _seconds(found: Mapping[str, Any]) -> float | None:
    value = found.get("max_age", 1)
    try:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError
        return float(value) if "max_age" in found else None
    except (ValueError, OverflowError):
        raise UsageError(f"max_age must be a number of seconds, got {_told(value)}") from None


def _told(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."

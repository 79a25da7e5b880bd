"""The streams of one process, as one of them sees the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .health import Told


@dataclass(frozen=True, eq=False)
class Neighbours:
    """All streams of the process, the one that has this included."""

    label: str
    """what the process calls the one that has this"""
    snapshots: Callable[[], Mapping[str, Told]]
    """how each is, by what the process calls it; those that are not open included"""

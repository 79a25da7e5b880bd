"""What a run did, and what its network saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ...engine.types import Explanation


@dataclass(frozen=True)
class Sighting:
    """A class that was the most probable one in some windows."""

    label: str
    windows: int
    """number of windows in which it was the most probable class"""
    probability: float
    """its highest probability in these windows"""


@dataclass(frozen=True)
class Summary:
    """What a run did. frames_read = frames_written + frames_dropped, unless the run was broken off."""

    frames_read: int
    """all frames that the source received, with those that nobody fetched from it in time"""
    frames_written: int
    frames_dropped: int
    windows: int
    seconds: dict[str, float]
    """time spent in each stage"""
    not_finite: int = 0
    """number of cells whose evidence was not a finite number; they were drawn as no evidence"""
    frames_drawn: int = 0
    """number of written frames that evidence was drawn on"""
    saw: tuple[Sighting, ...] = ()
    """the classes that were the most probable in some window, drawn or not, the most frequent first"""
    explained: tuple[tuple[str, float], ...] = ()
    """the classes that were explained, and the highest probability of each in any window"""
    repeated: bool = False
    """whether the stream was shorter than a window"""


class Tally:
    """Counts windows by their most probable class. One thread calls it; any thread may read the results."""

    def __init__(self) -> None:
        self.repeated = False
        self._windows: Counter[str] = Counter()
        self._highest: dict[str, float] = {}
        self._explained: dict[str, float] = {}

    def add(self, explanation: Explanation) -> None:
        """A window was explained."""
        best = explanation.top[0]
        self._windows[best.name] += 1
        self._highest[best.name] = max(self._highest.get(best.name, 0.0), best.probability)
        for score in explanation.explained:
            self._explained[score.name] = max(self._explained.get(score.name, 0.0), score.probability)
        self.repeated = self.repeated or explanation.repeated > 0

    @property
    def saw(self) -> tuple[Sighting, ...]:
        """The most frequent first."""
        counted = self._windows.copy().most_common()
        return tuple(Sighting(label, windows, self._highest.get(label, 0.0)) for label, windows in counted)

    @property
    def explained(self) -> tuple[tuple[str, float], ...]:
        return tuple(self._explained.copy().items())

"""Which class a live picture explains: the most probable one, but not a different one at every window. Pure."""

from __future__ import annotations

import numpy as np

from ...engine.picture import F32
from ...engine.saliency import softmax, top_classes


class Hysteresis:
    """Holds a class until another leads for `windows` windows in a row, or leads once by `margin` in probability.

    Two classes of nearly the same probability would otherwise change places, and the picture with them, window after
    window.
    """

    def __init__(self, windows: int = 3, margin: float = 0.25) -> None:
        if windows < 1 or margin <= 0:
            raise ValueError(f"windows must be 1 or more and margin more than 0, got {windows}, {margin}")
        self.held: int | None = None
        """index of the class that is explained; None before the first window"""
        self.windows = windows
        """may be changed between two windows"""
        self._margin = margin
        self._rival: int | None = None
        self._led = 0

    def choose(self, logits: F32) -> int:
        """Takes a window's logits [K] and returns the index of the class to explain in it."""
        (best,) = top_classes(logits, 1)
        if self.held is None or best == self.held:
            return self._hold(best)
        self._led = self._led + 1 if best == self._rival else 1
        self._rival = best
        probabilities = softmax(logits)
        lead = probabilities[best] - probabilities[self.held]
        if self._led >= self.windows or (np.isfinite(lead) and lead >= self._margin):
            return self._hold(best)
        return self.held

    def reset(self) -> None:
        """Forgets the class, as after a gap."""
        self.held = self._rival = None
        self._led = 0

    def _hold(self, chosen: int) -> int:
        self.held, self._rival, self._led = chosen, None, 0
        return chosen

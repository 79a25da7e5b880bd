"""What the check at export found to be too inexact: a precision of one runtime, for one model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .require import is_count, is_finite, require

OWN = "f32"
"""The precision in which every exported file was compared with PyTorch; a file that fails in it is refused."""


@dataclass(frozen=True)
class Missed:
    """A precision of a runtime in which the check at export found an error above its bound, though f32 was right."""

    runtime: str
    precision: str
    clip_length: int
    """the clip length T with the largest error"""
    what: str
    """what had the error: logits, activation, tube, completeness or weights; or run: the runtime failed"""
    measured: float | None = None
    """the error; None: it was not a finite number"""
    allowed: float | None = None
    """the bound of the error; None for a run that failed"""

    def __post_init__(self) -> None:
        for name in ("runtime", "precision", "what"):
            value = getattr(self, name)
            require(isinstance(value, str) and value.isprintable(), f"missed.{name} must be a line, got {value!r}")
        require(self.precision != OWN, f"missed.precision must not be {OWN}, which a file has to be right in")
        require(is_count(self.clip_length), f"missed.frames must be 1 or more, got {self.clip_length!r}")
        numbers = {"measured": self.measured, "allowed": self.allowed}
        for name, number in numbers.items():
            require(number is None or is_finite(number), f"missed.{name} must be a number or null, got {number!r}")
        require(
            (self.allowed is None) == (self.what == "run"), f"missed.allowed must be a number, got {self.allowed!r}"
        )

    def to_json(self) -> dict[str, Any]:
        """As it is kept in a manifest, where the clip length is called frames."""
        return {"frames" if name == "clip_length" else name: value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Missed:
        """The inverse of `to_json`. Raises ModelError, TypeError or KeyError for what is missing or ill-typed."""
        rest = dict(data)
        return cls(clip_length=rest.pop("frames"), **rest)

    @property
    def excess(self) -> float:
        """The error divided by its bound; infinite where the error is not a finite number or the run failed."""
        if self.measured is None or self.allowed is None:
            return math.inf
        off, accepted = (1 - self.measured, 1 - self.allowed) if self.what == "tube" else (self.measured, self.allowed)
        return off / accepted

    @property
    def words(self) -> str:
        """As in: openvino in bf16 at 16 frames: activation error 3.5e-02 (at most 3e-02 is accepted)."""
        error = "does not run" if self.allowed is None else miss_in_words(self.what, self.measured, self.allowed)
        return f"{self.runtime} in {self.precision} at {self.clip_length} frames: {error}"


def miss_in_words(what: str, measured: float | None, allowed: float) -> str:
    """An error above its bound, in words. measured: None and NaN mean that it was not a number."""
    if what == "tube":
        error = "nan" if measured is None else f"{measured:.4f}"
        return f"tube correlation {error} (at least {allowed:g} is accepted)"
    error = "nan" if measured is None else f"{measured:.1e}"
    return f"{what} error {error} (at most {allowed:.0e} is accepted)"

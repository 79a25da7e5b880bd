"""The result of a check, a row for each runtime: reasons to refuse the file, and precisions that a run should avoid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..engine.missed import Missed
from ..engine.runtimes.bounds import AGREEMENT, BOUNDS, Errors
from .table import table

HEADER = ("runtime", "T", "logits", "activation", "tube", "head", "top-1", "ms")


@dataclass(frozen=True)
class Row:
    """One runtime on the clips of one length."""

    runtime: str
    clip_length: int
    """T; 0 for a runtime that was not run"""
    bounds: Errors
    errors: Errors | None = None
    """the worst over the clips"""
    agreed: int = 0
    """clips with the reference's top class"""
    clips: int = 0
    milliseconds: float = 0.0
    """for a clip, median"""
    held: bool = False
    """whether the top classes must agree: on clips that were given, except in bfloat16"""
    remark: str = ""
    failed: bool = False
    """the runtime refuses the file, or cannot run the plan that was named; the remark says why"""
    spare: tuple[str, str] | None = None
    """runtime and precision, where a run can choose another: then nothing in this row is a reason to refuse the file"""

    def title(self, model: str) -> str:
        """Such as "i3d at 16 frames, OpenVINO on CPU"; without the length for a runtime that was not run."""
        return (
            f"{model} at {self.clip_length} frames, {self.runtime}" if self.clip_length else f"{model}, {self.runtime}"
        )

    def missed(self) -> list[Missed]:
        """The errors above their bounds, in a row whose precision a run need not use; empty for any other row."""
        if self.spare is None:
            return []
        if self.failed:
            return [Missed(*self.spare, self.clip_length, "run")]
        beyond = self.errors.beyond(self.bounds) if self.errors else []
        return [
            Missed(*self.spare, self.clip_length, what, measured if math.isfinite(measured) else None, allowed)
            for what, measured, allowed in beyond
        ]

    def misses(self) -> list[str]:
        """One phrase for each thing that is wrong."""
        if self.failed:
            return [self.remark]
        found = self.errors.misses(self.bounds) if self.errors else []
        if self.held and self.agreed < int(AGREEMENT * self.clips):
            found.append(f"top-1 agreement {self.agreed} of {self.clips} (at least {AGREEMENT:g} is accepted)")
        return found

    def cells(self) -> tuple[str, ...]:
        """As `HEADER` names them. `head` is the error of completeness, or of the weights where the graph gives them."""
        name, clip_length = self.runtime, str(self.clip_length or "")
        if self.remark:
            return (name, clip_length, self.remark)
        errors = self.errors
        if errors is None:
            return (name, clip_length, "reference", "", "", "", "", f"{self.milliseconds:.0f}")
        head = errors.weights if errors.completeness is None else errors.completeness
        return (
            name,
            clip_length,
            f"{errors.logits:.1e}",
            f"{errors.activation:.1e}",
            f"{errors.tube:.5f}",
            "-" if head is None else f"{head:.1e}",
            f"{self.agreed} of {self.clips}",
            f"{self.milliseconds:.0f}",
        )


@dataclass(frozen=True)
class CheckReport:
    """What a check found."""

    name: str
    precision: str
    """a key of BOUNDS"""
    reference: str
    rows: tuple[Row, ...]
    inputs: Mapping[int, str]
    """by T: what was run: "noise", or the number of clips"""

    def misses(self) -> list[str]:
        """One phrase for each reason to refuse the file, with the runtime and the length."""
        return [
            f"{row.title(self.name)}: {'; '.join(found)}"
            for row in self.rows
            if row.spare is None and (found := row.misses())
        ]

    @property
    def missed(self) -> tuple[Missed, ...]:
        """The precisions of runtimes that runs should not choose, each at the length where its error is largest."""
        worst: dict[tuple[str, str], Missed] = {}
        for one in sorted((one for row in self.rows for one in row.missed()), key=lambda one: -one.excess):
            worst.setdefault((one.runtime, one.precision), one)
        return tuple(worst.values())

    @property
    def table(self) -> str:
        """Several lines of plain text."""
        bounds = BOUNDS[self.precision]
        gradient = any(row.errors and row.errors.weights is not None for row in self.rows)
        head = bounds.weights if gradient else bounds.completeness
        limits = (f"{bounds.logits:.0e}", f"{bounds.activation:.0e}", f"{bounds.tube:g}", f"{head:.0e}", "", "")
        inputs = ", ".join(f"T = {clip_length}: {what}" for clip_length, what in self.inputs.items())
        lines = table([HEADER, *(row.cells() for row in self.rows), (f"accepted ({self.precision})", "", *limits)])
        kind = "the weights" if gradient else "completeness"
        return f"checked against {self.reference}, on {inputs}; head: error of {kind}\n{lines}"

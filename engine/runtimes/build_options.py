"""What is asked of a build, and how one is watched. Nothing here knows TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import UsageError
from .planfile import AMPERE_PLUS, NOT_COMPATIBLE, SAME_CAPABILITY

COMPATIBILITIES = (NOT_COMPATIBLE, SAME_CAPABILITY, AMPERE_PLUS)


@dataclass(frozen=True)
class BuildOptions:
    """What is asked of a build."""

    batch: tuple[int, int, int] = (1, 1, 1)
    """least, most usual and most clips at a time"""
    clip_length: int | None = None
    """T; None: the manifest's default"""
    workspace: int | None = None
    """MiB of GPU memory the plan's layers may use for themselves; None: all there is"""
    compute_capability: tuple[str, ...] = ()
    """TensorRT-RTX only: the GPUs to build for; empty: all from 8.0"""
    version_compatible: bool = False
    hardware_compatibility: str = NOT_COMPATIBLE
    tf32: bool = True
    """float32 convolutions may round their factors to 10 bits, where the GPU is faster so"""
    optimization_level: int | None = None
    """0 to 5; None: TensorRT's own, 3"""

    def __post_init__(self) -> None:
        low, usual, high = self.batch
        if not 1 <= low <= usual <= high:
            raise UsageError(f"batch must be 1 <= MIN <= OPT <= MAX, got {low}:{usual}:{high}")
        if self.workspace is not None and self.workspace < 1:
            raise UsageError(f"workspace must be 1 MiB or more, got {self.workspace}")
        if self.hardware_compatibility not in COMPATIBILITIES:
            known, got = ", ".join(COMPATIBILITIES), self.hardware_compatibility
            raise UsageError(f"hardware compatibility must be one of {known}, got {got!r}")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise UsageError(f"optimization level must be 0 to 5, got {self.optimization_level}")

    def to_json(self, clip_length: int) -> dict[str, Any]:
        """As it is kept beside the plan; `clip_length` is T, chosen or the manifest's."""
        kept = {
            "frames" if name == "clip_length" else name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }
        return {**kept, "frames": clip_length}


class BuildWatch(Protocol):
    """Told how a build goes, from whatever thread TensorRT likes. TensorRT's own IProgressMonitor, and its log."""

    cancelled: bool

    def phase_start(self, name: str, parent: str | None, steps: int) -> None: ...
    def step_complete(self, name: str, step: int) -> None: ...
    def phase_finish(self, name: str) -> None: ...
    def log(self, severity: str, message: str) -> None: ...


class Silent:
    """A `BuildWatch` for programs that need none."""

    cancelled = False

    def phase_start(self, name: str, parent: str | None, steps: int) -> None: ...
    def step_complete(self, name: str, step: int) -> None: ...
    def phase_finish(self, name: str) -> None: ...
    def log(self, severity: str, message: str) -> None: ...


class Cancelled(Exception):
    """The build was asked to stop, by `BuildWatch.cancelled`."""

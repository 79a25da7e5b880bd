"""What is to be exported: a network in PyTorch, and how it wants to be fed."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.errors import UsageError
from ..engine.manifest import InputSpec


@dataclass(frozen=True)
class Recipe:
    """All that a manifest says of a network, less what is found by looking at the network."""

    name: str
    title: str
    license: str
    input: InputSpec
    frames: tuple[int, ...]
    """the clip lengths to serve; with more than one, T is dynamic in the file"""
    default_frames: int
    labels: tuple[str, ...]
    """[K]"""
    layer: str | None = None
    """the layer to tap, as in `named_modules()`; None: found"""
    frames_step: int = 1
    """T must be a multiple of it, where it is dynamic"""
    compact: bool = False
    """store kernels as float16 (arithmetic stays float32): half the size, errors below 1e-3"""

    def __post_init__(self) -> None:
        if not self.frames or self.default_frames not in self.frames:
            raise UsageError(f"default_frames {self.default_frames} is not one of frames {list(self.frames)}")
        for frames in self.frames:
            if frames < 1 or frames % self.frames_step:
                by = f", by {self.frames_step}" if self.frames_step > 1 else ""
                raise UsageError(f"{self.name} takes clips of {self.frames_step} frames or more{by}, got {frames}")

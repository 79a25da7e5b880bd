"""What is to be exported: a network in PyTorch, and the input that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from ..engine.errors import UsageError
from ..engine.manifest import InputSpec


@dataclass(frozen=True)
class Recipe:
    """What a manifest says of a network, except for what `describe` finds in the network itself."""

    name: str
    title: str
    license: str
    input: InputSpec
    clip_lengths: tuple[int, ...]
    """the clip lengths to serve; with more than one, T is dynamic in the file"""
    default_clip_length: int
    labels: tuple[str, ...]
    """[K]"""
    layer: str | None = None
    """the layer to tap, as in `named_modules()`; None: found"""
    clip_length_step: int = 1
    """T must be a multiple of it, where it is dynamic"""
    compact: bool = False
    """store kernels as float16 (arithmetic stays float32): half the size, errors below 1e-3"""

    def __post_init__(self) -> None:
        if self.default_clip_length not in self.clip_lengths:
            raise UsageError(
                f"default_clip_length {self.default_clip_length} is not one of clip_lengths {list(self.clip_lengths)}"
            )
        for clip_length in self.clip_lengths:
            if clip_length < 1 or clip_length % self.clip_length_step:
                by = f", by {self.clip_length_step}" if self.clip_length_step > 1 else ""
                raise UsageError(
                    f"{self.name} takes clips of {self.clip_length_step} frames or more{by}, got {clip_length}"
                )

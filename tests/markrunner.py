"""A network whose evidence follows the mark of test://, so that where a tube must lie is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from saliency_tubes.engine.picture import F32
from saliency_tubes.engine.runtimes.base import HostRunner
from saliency_tubes.engine.types import HostOutputs, Outputs

SIDE, CELLS, FRAMES, SLICES = 112, 14, 8, 4
BRIGHT = 0.8
"""of the model's input: only the mark is brighter"""


@dataclass
class MarkRunner(HostRunner):
    """The activation [1, 4, 14, 14] is how much of each cell the mark covers, averaged over two samples a slice."""

    resize: str = "stretch"
    trusted: tuple[int, int] = (0, SLICES)
    delay: float = 0.0
    """seconds that a window takes"""
    clip_length: int = FRAMES
    batch: int = 1
    description: str = "follows the mark"
    manifest: Manifest = field(init=False)

    def __post_init__(self) -> None:
        self.manifest = Manifest(
            name="mark",
            title="Mark",
            license="none",
            input=InputSpec((SIDE, SIDE), (0.0,) * 3, (1.0,) * 3, self.resize, SIDE + 16),  # type: ignore[arg-type]
            windows={FRAMES: WindowSpec((1 / SLICES,) * SLICES, self.trusted)},
            default_clip_length=FRAMES,
            labels=("mark", "none"),
            tap="pool",
            channels=1,
            head=LinearHead(np.array([[10.0], [-10.0]], np.float32), np.zeros(2, np.float32)),
        )

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        time.sleep(self.delay)
        return [self._look_at(clip) for clip in data]

    def _look_at(self, clip: F32) -> Outputs:
        size = SIDE // CELLS
        mark = (clip.mean(axis=0) > BRIGHT).reshape(SLICES, FRAMES // SLICES, CELLS, size, CELLS, size)
        cells = mark.mean(axis=(1, 3, 5), dtype=np.float32)
        logit = 10 * cells.mean()
        return HostOutputs(np.array([logit, -logit], np.float32), cells[None])

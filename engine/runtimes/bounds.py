"""How far a model file may be from its reference, by the precision it was made in.

Chosen from what was measured on I3D with real clips at 16 frames, and on r3d_18 and X3D-S with noise. The largest
errors of logits, activation, weights, and the lowest correlation of tubes: f16 1.6e-3, 9e-4, 7e-7, 1.0000; int8 0.16,
0.14, 0.12, 0.986; bfloat16 2.5e-2, 1.5e-2, 4.7e-2, 0.9996; compact 7e-4 of logits and activation. What is mistaken is
far off: int8 that OpenVINO got wrong (`quantize.OPTIONS`) had 0.89, 0.52, and 0.58.

Weights that the graph gives are a gradient, which jumps where a unit behind the tap is at its kink: float32 may put it
on either side. So no bound of theirs is below 1e-3. I3D tapped at Mixed_4f, on noise: the input of a ReLU that is not
above 0 in onnxruntime is 3e-8 of that layer's largest in OpenVINO; one cell of 12,544, it moves the weights by 3.4e-4.
On clips without such a cell the two are within 3e-7 of float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..missed import miss_in_words
from ..precision import precision_word
from .onnxfile import read_metadata

PRECISION_KEY = "saliency_tubes.precision"
"""the entry of an ONNX file's metadata that names its precision; files without one store kernels as float16"""
FILE_WORDS = {"f32": "fp32", "f16": "fp16", "int8": "int8"}
"""what that entry says, by precision: other words than people use now, so that the same network still makes the same
file, and earlier versions can read it"""


@dataclass(frozen=True)
class Errors:
    """What separates a runtime's outputs for a clip from the reference's, and its tube from the logit."""

    logits: float
    """largest difference of a logit, as a share of the largest logit"""
    activation: float
    """relative L2"""
    tube: float
    """Pearson's correlation with the reference's tube, over all cells, for the reference's top class; 1 is best"""
    completeness: float | None = None
    """largest difference of a logit from its tube's weighted mean plus bias, as a share of the largest logit; None
    where the head is not linear"""
    weights: float | None = None
    """of the class weights that a graph gives, relative L2; None where the head is linear"""

    @classmethod
    def worst(cls, errors: Sequence[Errors]) -> Errors:
        """The worst of each over several clips; NaN is worse than anything."""
        return cls._pick(errors)

    def loosened(self, other: Errors) -> Errors:
        """As bounds: of each the one that lets more pass."""
        return self._pick([self, other])

    @classmethod
    def _pick(cls, errors: Sequence[Errors]) -> Errors:
        """Of each the furthest from perfect, NaN if there is one; None where any is."""
        columns = {field.name: [getattr(one, field.name) for one in errors] for field in fields(cls)}
        found: dict[str, Any] = {
            name: None if None in values else float((np.min if name == "tube" else np.max)(values))
            for name, values in columns.items()
        }
        return cls(**found)

    def misses(self, bounds: Errors | None = None) -> list[str]:
        """One phrase for each number beyond its bound; NaN counts as beyond. None: the bounds of compact files."""
        return [miss_in_words(*one) for one in self.beyond(bounds or BOUNDS["compact"])]

    def beyond(self, bounds: Errors) -> list[tuple[str, float, float]]:
        """Name, value and bound of each number beyond its bound; NaN counts as beyond."""
        found = []
        for field in fields(self):
            value, bound = getattr(self, field.name), getattr(bounds, field.name)
            if value is None or bound is None:
                continue
            if not (value >= bound if field.name == "tube" else value <= bound):
                found.append((field.name, value, bound))
        return found


BOUNDS: Mapping[str, Errors] = {
    "f32": Errors(logits=1e-4, activation=1e-3, tube=0.9999, completeness=1e-4, weights=1e-3),
    "compact": Errors(logits=1e-3, activation=1e-3, tube=0.9999, completeness=1e-3, weights=5e-3),
    "f16": Errors(logits=1e-2, activation=5e-3, tube=0.999, completeness=1e-3, weights=2e-2),
    "int8": Errors(logits=0.5, activation=0.3, tube=0.97, completeness=1e-3, weights=0.5),
}
"""compact: float32 arithmetic, kernels stored as float16"""

BF16 = Errors(logits=5e-2, activation=3e-2, tube=0.995, completeness=5e-2, weights=0.2)
"""for a file of any precision, run in bfloat16; there the head is not float32 either"""

TF32 = Errors(logits=1e-2, activation=5e-3, tube=0.999, completeness=1e-2, weights=2e-2)
"""for a TensorRT plan that may use TF32: its products have factors of 10 bits, as those of float16 have, and the bounds
are those of f16, but for the head, whose product may be rounded too. By that reasoning, not measured yet"""

AGREEMENT = 0.9
"""share of the clips given, rounded down to clips, that must keep their top class: one near tie among a few may flip.
Not asked of bfloat16, which whoever runs the file may leave: half the windows of a real video can be near ties"""


def read_precision(path: Path) -> str:
    """The precision an ONNX file says it was made in, a key of BOUNDS. Raises ModelError if it cannot be read."""
    named = precision_word(read_metadata(path).get(PRECISION_KEY, "compact"))
    return named if named in BOUNDS else "compact"

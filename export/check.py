"""Whether an exported file says what the network in PyTorch says, and whether its tube adds up to the logit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ..engine.errors import ModelError
from ..engine.manifest import Manifest
from ..engine.picture import F32
from ..engine.runner import open_runner
from ..engine.types import Outputs
from .tap import Tapped

BOUND = 1e-3
"""the largest of each error below that passes; float16 storage alone makes 4e-4 to 7e-4 in I3D at 224 pixels"""


@dataclass(frozen=True)
class Errors:
    """What separates the file from the network on one clip, and the tube from the logit."""

    logits: float
    """largest difference of a logit, as a share of the largest logit"""
    activation: float
    """relative L2"""
    completeness: float
    """largest difference of a logit from its tube's weighted mean plus bias, as a share of the largest logit"""

    def misses(self) -> list[str]:
        """One phrase for each error beyond BOUND; NaN counts as beyond."""
        return [f"{name} error {value:.1e}" for name, value in vars(self).items() if not value <= BOUND]


@dataclass(frozen=True)
class Report:
    """The errors by clip length, and the runtime that ran the file."""

    runtime: str
    errors: Mapping[int, Errors]


def check(path: Path, model: nn.Module, manifest: Manifest, seed: int = 0) -> Report:
    """Runs both on seeded noise, once for each window. Raises ModelError if any error is beyond BOUND."""
    tapped = Tapped(model, manifest.tap).eval()
    errors, runtime = {}, ""
    for frames in sorted(manifest.windows):
        clip = noise(manifest, frames, seed)
        runner = open_runner(path, frames=frames)
        runtime = runner.description
        with torch.no_grad():
            logits, activation = tapped(torch.from_numpy(clip))
        found = runner.run(clip)
        errors[frames] = compare(found, Outputs(logits[0].numpy(), activation[0].numpy()), manifest, frames)
        if misses := errors[frames].misses():
            raise ModelError(
                f"{manifest.name} at {frames} frames: {', '.join(misses)}; at most {BOUND:.0e} is accepted"
            )
    return Report(runtime, errors)


def noise(manifest: Manifest, frames: int, seed: int = 0) -> F32:
    """A clip [1, 3, T, H, W] of smooth noise between black and white, as the model sees them.

    Smooth, in blobs of 8 frames and 32 pixels, since a video is: white noise leaves a network next to nothing to say.
    """
    spec = manifest.input
    height, width = spec.size
    blobs = np.random.default_rng(seed).random((1, 3, frames // 8 + 1, height // 32 + 1, width // 32 + 1), np.float32)
    pixels = F.interpolate(torch.from_numpy(blobs), size=(frames, height, width), mode="trilinear").numpy()
    mean, std = (np.array(values, np.float32)[None, :, None, None, None] for values in (spec.mean, spec.std))
    return np.asarray((pixels - mean) / std, np.float32)


def compare(found: Outputs, expected: Outputs, manifest: Manifest, frames: int) -> Errors:
    """The errors of `found` against `expected`, both of one clip."""
    difference = np.linalg.norm((found.activation - expected.activation).ravel())
    return Errors(
        logits=float(np.abs(found.logits - expected.logits).max() / np.abs(expected.logits).max()),
        activation=float(difference / np.linalg.norm(expected.activation.ravel())),
        completeness=completeness(found, manifest, frames),
    )


def completeness(outputs: Outputs, manifest: Manifest, frames: int) -> float:
    """How far the tubes of all classes are from adding up: max |sum_i w_i mean(S_c,i) + b_c - logit_c| / max |logit|.

    S_c = sum_k w_ck A_k, so the mean over space may be taken of A first (Zhou et al., CVPR 2016, eq. 1 and 2).
    """
    head, activation = manifest.head, outputs.activation.astype(np.float64)
    if head is None:
        raise ValueError(f"{manifest.name} has no linear head to be complete")
    pooled = np.tensordot(activation, manifest.window(frames).pool(*activation.shape[2:]), 3)
    rebuilt = head.class_weights.astype(np.float64) @ pooled + head.bias
    return float(np.abs(rebuilt - outputs.logits).max() / np.abs(outputs.logits).max())

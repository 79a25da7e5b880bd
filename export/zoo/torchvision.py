"""torchvision's networks for video, with pools that trace for every clip size, and their published weights."""

from __future__ import annotations

import warnings

import torchvision
from torch import Tensor, nn

from ...engine.errors import ModelError, one_line
from .parts import GlobalMean, SlidingMean, without_inplace

S3D_POOLED_SLICES = 2
"""time slices under S3D's average pool, as published"""


def build(name: str, classes: int) -> nn.Module:
    """The network with random weights. Its keys are torchvision's; what it computes, too, at the published sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    network.avgpool = SlidingMean(S3D_POOLED_SLICES) if name == "s3d" else GlobalMean(keep=True)
    return without_inplace(network)


def fetch(name: str) -> dict[str, Tensor]:
    """The published weights, from torch's cache or the network. Raises ModelError, in one line, if neither has them."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot fetch torchvision's weights {weights}: {one_line(error)}; give their file with --weights FILE"
        ) from None

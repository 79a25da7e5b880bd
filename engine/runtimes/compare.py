"""How far one runtime's outputs are from another's, and tubes from adding up to the logits. Pure."""

from __future__ import annotations

import numpy as np

from ..errors import ModelError
from ..manifest import Manifest
from ..picture import F32
from ..types import Outputs
from .bounds import Errors


def compare(found: Outputs, expected: Outputs, manifest: Manifest, clip_length: int) -> Errors:
    """The errors of `found` against `expected`, both of one clip; weights, if any, of `expected`'s top class."""
    with np.errstate(
        all="ignore"
    ):  # what is not a number, or infinite, comes out as NaN or infinite: beyond all bounds
        difference = np.linalg.norm((found.activation - expected.activation).ravel())
        head = manifest.head
        if head is not None:
            weights = expected_weights = head.class_weights[int(np.argmax(expected.logits))]
            weights_error = None
        elif found.weights is None or expected.weights is None:
            raise ModelError(f"{manifest.name} has no linear head, and its graph gives no weights")
        else:
            weights, expected_weights = found.weights, expected.weights
            weights_error = float(np.linalg.norm(weights - expected_weights) / np.linalg.norm(expected_weights))
        return Errors(
            logits=float(np.abs(found.logits - expected.logits).max() / np.abs(expected.logits).max()),
            activation=float(difference / np.linalg.norm(expected.activation.ravel())),
            tube=_correlation(
                np.tensordot(weights, found.activation, 1), np.tensordot(expected_weights, expected.activation, 1)
            ),
            completeness=None if head is None else completeness(found, manifest, clip_length),
            weights=weights_error,
        )


def completeness(outputs: Outputs, manifest: Manifest, clip_length: int) -> float:
    """How far the tubes of all classes are from adding up: max |sum_i w_i mean(S_c,i) + b_c - logit_c| / max |logit|.

    S_c = sum_k w_ck A_k, so the mean over space may be taken of A first (Zhou et al., CVPR 2016, eq. 1 and 2).
    """
    head, activation = manifest.head, outputs.activation.astype(np.float64)
    if head is None:
        raise ValueError(f"{manifest.name} has no linear head to be complete")
    pooled = np.tensordot(activation, manifest.window(clip_length).pool(*activation.shape[2:]), 3)
    rebuilt = head.class_weights.astype(np.float64) @ pooled + head.bias
    return float(np.abs(rebuilt - outputs.logits).max() / np.abs(outputs.logits).max())


def _correlation(one: F32, other: F32) -> float:
    """Pearson's; 1 for two tubes without contrast, which have nothing to correlate; NaN if anything is not finite."""
    a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    if a.size and not a.any() and not b.any():
        return 1.0
    return float(a @ b / lengths)

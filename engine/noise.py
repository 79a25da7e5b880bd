"""Noise that is smooth as video is, and the same on every machine: it is used where no clips are given."""

from __future__ import annotations

import numpy as np

from .manifest import InputSpec
from .picture import F32

BLOB_FRAMES, BLOB_PIXELS = 8, 32


def smooth_noise(spec: InputSpec, clip_length: int, seed: int = 0) -> F32:
    """A clip [1, 3, T, H, W] of smooth noise between black and white, as the model sees it.

    Smooth, in blobs of 8 frames and 32 pixels, because video is smooth: on white noise a network has hardly any
    activation.
    """
    size = (clip_length, *spec.size)
    blobs = (clip_length // BLOB_FRAMES + 1, spec.size[0] // BLOB_PIXELS + 1, spec.size[1] // BLOB_PIXELS + 1)
    pixels = np.random.default_rng(seed).random((3, *blobs), np.float32).astype(np.float64)
    for axis, (cells, samples) in enumerate(zip(blobs, size, strict=True), start=1):
        positions = (np.arange(samples) + 0.5) * cells / samples - 0.5
        weights = np.stack([np.interp(positions, np.arange(cells), unit) for unit in np.eye(cells)])
        pixels = np.moveaxis(np.tensordot(pixels, weights, (axis, 0)), -1, axis)
    mean, std = (np.array(values)[:, None, None, None] for values in (spec.mean, spec.std))
    return np.ascontiguousarray((pixels - mean) / std, np.float32)[None]

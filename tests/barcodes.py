"""Reads back what the test pattern draws into a picture: the frame's number and the time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from saliency_tubes.engine.picture import U8
from saliency_tubes.stream.sources.pattern import BITS, CELLS, bits_of, lines_of

CONTRAST = 8.0
"""Minimum mean difference of luma between the halves of cells; below that there is no barcode in the picture."""


def read_barcode(luma: U8) -> int | None:
    """The frame's number read from a luma plane [H, W] of any size; None if it cannot be read."""
    return _read(luma, 0)


def read_time(luma: U8) -> int | None:
    """The milliseconds drawn into the picture, modulo 2**32; None if they cannot be read."""
    return _read(luma, 1)


def _read(luma: U8, line: int) -> int | None:
    """line: 0 or 1, from above."""
    width = luma.shape[1]
    edges = np.arange(CELLS + 1) * width / CELLS
    margin = width / CELLS / 4  # encoders blur neighbouring cells into each other
    inside = [slice(int(a + margin), max(int(b - margin), int(a + margin) + 1)) for a, b in pairwise(edges)]
    halves = []
    for begin, end in pairwise(lines_of(width)[2 * line : 2 * line + 3]):
        margin = (end - begin) // 4
        rows = luma[begin + margin : end - margin].mean(axis=0)
        halves.append(np.array([rows[cell].mean() for cell in inside]))
    difference = halves[0] - halves[1]
    if not np.abs(difference).mean() >= CONTRAST:
        return None
    bits = [int(bit) for bit in difference > 0]
    word = sum(bit << place for place, bit in enumerate(reversed(bits[:BITS])))
    return word if bits_of(word) == bits else None

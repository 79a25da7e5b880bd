"""The paper's focus map: how much of the picture is kept, by how a frame's evidence compares with the rest of it.

The PyTorch script published with arXiv 1902.01078 writes it as the alpha channel of its pictures. Here the picture is
drawn as it looks on black, since video has no alpha channel.
"""

from __future__ import annotations

import numpy as np

from ..picture import F64
from ..spline import zoom_weights
from .overlay_numpy import BLAS_ALONE

FAINTEST = 20
"""of 255: the script's alpha where a frame's evidence is least; it is 255 where it is most"""
ZOOM = 32
"""points to a cell at which the least and the most are looked for: the script's own zoom"""

EVEN = 1e-9
"""evidence that differs by less, of the window's whole range, is everywhere the same: rounding alone makes some"""


def focused(cells: F64, opacity: float = 1.0) -> F64:
    """One frame's evidence [h, w] as what is kept of the picture: FAINTEST / 255 where it is least, 1 where it is most.

    Least and most are those of the cubic spline that is drawn, which overshoots its cells. Evidence that is everywhere
    the same is least everywhere, as in the script. opacity: 0 keeps all of the picture.
    """
    low, high = _range(cells)
    kept = (FAINTEST + (255 - FAINTEST) * (cells - low) / (high - low if high - low > EVEN else 1.0)) / 255
    return np.asarray(1 - opacity * (1 - kept))


def _range(cells: F64) -> tuple[float, float]:
    """The least and the most of the spline through evidence [h, w], at ZOOM points to a cell."""
    height, width = cells.shape
    rows = zoom_weights(height, ZOOM * height) @ cells
    across = zoom_weights(width, ZOOM * width).T
    step = max(1, BLAS_ALONE // across.size)
    parts = [rows[top : top + step] @ across for top in range(0, len(rows), step)]
    return min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)

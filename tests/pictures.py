"""Pictures of random samples, for what draws on them."""

from __future__ import annotations

import numpy as np
from saliency_tubes.engine.picture import Color, Layout, Picture


def make_picture(
    layout: Layout, height: int, width: int, seed: int = 0, color: Color | None = None, pad: int = 0
) -> Picture:
    """pad: samples between the rows."""
    rng = np.random.default_rng(seed)
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes: dict[Layout, list[tuple[int, ...]]] = {
        Layout.RGB: [(height, width, 3)],
        Layout.I420: [(height, width), half, half],
        Layout.NV12: [(height, width), (*half, 2)],
    }
    planes = []
    for shape in shapes[layout]:
        padded = rng.integers(0, 256, (shape[0], shape[1] + pad, *shape[2:]), dtype=np.uint8)
        planes.append(padded[:, : shape[1]])
    return Picture(layout, tuple(planes), color or Color())


def padding(plane: np.ndarray) -> np.ndarray:
    """What lies between the rows of a plane of `make_picture`, [H, pad, ...]."""
    assert plane.base is not None
    return np.asarray(plane.base[:, plane.shape[1] :])


def may_be_off(plane: tuple[int, ...], cells: tuple[int, int]) -> float:
    """How many samples of a drawn plane may be more than 2 off the definition.

    0.2 %: where the level rounds the other way, and the colours of the two levels differ by more. A share of a small
    plane is no whole number of samples: chance may make it three deviations more. Where all rows of the plane are
    alike, or all columns, because there is one row or column of cells, a sample stands for a whole line of them.
    """
    share = 0.002 * np.prod(plane)
    alike = max(plane[0] if cells[0] == 1 else 1, plane[1] if cells[1] == 1 else 1)
    return float(share + 3 * np.sqrt(share * alike) + 2 * alike)

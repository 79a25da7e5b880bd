"""Pictures of random samples, for what draws on them."""

from __future__ import annotations

import numpy as np
from saliency_tubes.engine.picture import U8, Color, Layout, Picture


def make_picture(
    layout: Layout, height: int, width: int, seed: int = 0, color: Color | None = None, pad: int = 0
) -> Picture:
    """pad: samples between the rows."""
    rng = np.random.default_rng(seed)
    planes = []
    for shape in layout.shapes((width, height)):
        padded = rng.integers(0, 256, (shape[0], shape[1] + pad, *shape[2:]), dtype=np.uint8)
        planes.append(padded[:, : shape[1]])
    return Picture(layout, tuple(planes), color or Color())


def packed(picture: Picture, order: tuple[int, ...] = (0, 1, 2)) -> Picture:
    """The same with its planes one after the other in one piece of memory, in this order: as decoded pictures lie."""
    memory = np.concatenate([picture.planes[i].ravel() for i in order if i < len(picture.planes)])
    planes, start = {}, 0
    for i in order:
        if i < len(picture.planes):
            shape, size = picture.planes[i].shape, picture.planes[i].size
            planes[i] = memory[start : start + size].reshape(shape)
            start += size
    return Picture(picture.layout, tuple(planes[i] for i in sorted(planes)), picture.color)


def shapes(layout: Layout, height: int, width: int, color: Color | None = None) -> Picture:
    """Waves, a ramp and a rectangle, other ones in each plane and up to the edges: a shift by a sample shows."""
    half = Layout.I420.shapes((width, height))[1]
    if layout is Layout.RGB:
        # Where one channel is bright, another is dark: chroma then varies as much as luma.
        planes = [np.stack([_waves((height, width), 20 + i, 7 * i) for i in range(3)], axis=-1)]
    else:
        planes = [_waves((height, width), 14, 0), _waves(half, 12, 4), _waves(half, 16, 9)]
    if layout is Layout.NV12:
        planes[1:] = [np.stack(planes[1:], axis=-1)]
    return Picture(layout, tuple(planes), color or Color("bt709"))


def _waves(shape: tuple[int, int], period: float, start: int) -> U8:
    y, x = np.mgrid[: shape[0], : shape[1]]
    turn = 2 * np.pi / period
    plane = 120 + 35 * np.sin(turn * (y + start)) + 35 * np.cos(turn * (x - start)) + 0.3 * (x - y)
    plane[shape[0] // 3 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] += 35
    return np.rint(plane).clip(20, 230).astype(np.uint8)


def padding(plane: np.ndarray) -> np.ndarray:
    """What lies between the rows of a plane of `make_picture`, [H, pad, ...]."""
    assert plane.base is not None
    return np.asarray(plane.base[:, plane.shape[1] :])


def may_be_off(plane: tuple[int, ...], cells: tuple[int, int]) -> float:
    """How many samples of a drawn plane may be more than 2 off the definition.

    0.2 %: where the level rounds the other way, and the colours of the two levels differ by more. A share of a small
    plane is no whole number of samples: chance may make it three deviations more. Where all rows of the plane are
    alike, or all columns, because there is one row or column of cells, a sample stands for a whole line of them; where
    there is one cell, for the whole plane. The channels of a pixel share its level.
    """
    share = 0.002 * np.prod(plane)
    alike = (plane[0] if cells[0] == 1 else 1) * (plane[1] if cells[1] == 1 else 1) * int(np.prod(plane[2:]))
    return float(share + 3 * np.sqrt(share * alike) + 2 * alike)

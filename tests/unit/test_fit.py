"""Pictures made alike: held to their definition, to OpenCV's, and to what they were."""

from __future__ import annotations

from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import make_picture
from saliency_tubes.engine import resize as resize_module
from saliency_tubes.engine.fit import fit
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Layout, Picture
from saliency_tubes.engine.resample import filter_axis

pytest.importorskip("saliency_tubes.engine._overlay", reason="installed without a C++ compiler")

layouts = st.sampled_from(Layout)
sides = st.one_of(st.integers(1, 12), st.integers(1, 120))
colors = st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans())
cases = {
    "layout": layouts,
    "wanted": layouts,
    "size": st.tuples(sides, sides),
    "height": sides,
    "width": sides,
    "seen": colors,
    "color": colors,
    "pad": st.sampled_from([0, 7]),
    "seed": st.integers(0, 1000),
}


def scaled(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[h, w, channels], not rounded."""
    shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
    dense = []
    for samples, pixels in zip(plane.shape, size[::-1], strict=False):
        made = filter_axis(samples, pixels, 0, pixels, shrinks)
        matrix = np.zeros((pixels, samples))
        for row, first, weights in zip(matrix, made.first, made.weights, strict=True):
            row[first : first + len(weights)] = weights[: samples - first]
        dense.append(matrix)
    return np.einsum("ya,abc,xb->yxc", dense[0], plane.reshape(*plane.shape[:2], -1).astype(float), dense[1])


def defined(picture: Picture, size: tuple[int, int], layout: Layout, color: Color) -> list[np.ndarray]:
    """The planes, limited to 0..255 but not rounded."""
    planes = []
    for shape in layout.shapes(size):
        made = np.concatenate([scaled(plane, (shape[1], shape[0])) for plane in picture.planes], axis=2)
        if picture.layout is not Layout.RGB:
            matrix = picture.color.yuv_to_rgb()
            made = made @ matrix[:, :3].T + matrix[:, 3]
        if layout is not Layout.RGB:
            matrix, offset = color.rgb_to_yuv()
            made = made @ matrix.T + offset
        planes.append(np.clip(made, 0, 255))
    if layout is Layout.RGB:
        return planes
    luma, *chroma = planes
    split = [chroma[0][..., 1], chroma[-1][..., 2]]
    return [luma[..., 0], *(split if layout is Layout.I420 else [np.stack(split, axis=-1)])]


@settings(deadline=None)
@given(**cases)
def test_it_is_its_definition_to_the_rounding(layout, wanted, size, height, width, seen, color, pad, seed):
    picture = make_picture(layout, height, width, seed, seen, pad)
    made = fit(picture, size, wanted, color)
    assert (made.layout, made.color) == (wanted, color) or made is picture
    for plane, expected in zip(made.planes, defined(picture, size, wanted, color), strict=True):
        assert np.abs(plane - expected).max() < 0.51
        assert plane.flags.c_contiguous or made is picture


def smooth(layout: Layout, height: int, width: int) -> Picture:
    """What a camera sees rather than noise, whose colours lie within what RGB holds."""
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([128 + 80 * np.sin(x / 23 + c) * np.cos(y / 17 + 2 * c) for c in range(3)], axis=-1)
    return fit(Picture(Layout.RGB, (rgb.astype(np.uint8),)), (width, height), layout, Color())


@pytest.mark.parametrize("size", [(64, 36), (320, 180), (201, 77)])
@pytest.mark.parametrize("color", [Color(), Color("bt601", full_range=True)])
@pytest.mark.parametrize("wanted", Layout)
@pytest.mark.parametrize("layout", Layout)
def test_without_the_compiled_module_it_is_close(layout, wanted, color, size):
    picture = smooth(layout, 90, 160)
    with mock.patch.object(resize_module, "_compiled", None):
        plain = fit(picture, size, wanted, color)
    for plane, other in zip(plain.planes, fit(picture, size, wanted, color).planes, strict=True):
        assert np.abs(plane.astype(int) - other).max() <= 4


def test_a_layout_alone_changes_no_sample():
    picture = make_picture(Layout.NV12, 35, 51)
    made = fit(picture, (51, 35), Layout.I420, picture.color)
    assert np.array_equal(made.planes[0], picture.planes[0])
    assert np.array_equal(np.stack(made.planes[1:], axis=-1), picture.planes[1])


def test_planes_that_shrink_are_opencvs_areas():
    picture = make_picture(Layout.I420, 96, 128, seed=5)
    for plane, made in zip(picture.planes, fit(picture, (50, 30), Layout.I420, picture.color).planes, strict=True):
        expected = cv2.resize(plane, made.shape[::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(made.astype(int) - expected).max() <= 1

"""Frames that an encoder takes from a picture's own memory."""

import numpy as np
import pytest
from pictures import make_picture, packed
from saliency_tubes.engine.picture import Layout
from saliency_tubes.stream.media.av_planes import borrowed, samples

FORMATS = {Layout.I420: "yuv420p", Layout.NV12: "nv12", Layout.RGB: "rgb24"}


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
def test_it_is_the_picture(layout):
    picture = packed(make_picture(layout, 48, 66))
    frame = borrowed(picture, FORMATS[layout])
    assert frame is not None
    for plane, expected in zip(frame.planes, picture.planes, strict=True):
        seen = samples(plane, expected.shape[2] if expected.ndim == 3 else 1)
        assert np.array_equal(seen, expected)
        assert np.shares_memory(seen, expected)


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
@pytest.mark.parametrize("height", range(2, 34, 2))
def test_it_has_the_size_of_the_picture(layout, height):
    frame = borrowed(packed(make_picture(layout, height, 66)), FORMATS[layout])
    assert frame is None or (frame.width, frame.height) == (66, height)
    assert (frame is None) == (height % 4 == 2)


@pytest.mark.parametrize(
    "picture",
    [
        make_picture(Layout.I420, 48, 64),
        make_picture(Layout.I420, 48, 64, pad=4),
        packed(make_picture(Layout.I420, 47, 64)),
        packed(make_picture(Layout.NV12, 48, 63)),
        packed(make_picture(Layout.I420, 48, 64), (0, 2, 1)),
        packed(make_picture(Layout.I420, 48, 64), (1, 2, 0)),
        packed(make_picture(Layout.RGB, 48, 64)),
    ],
    ids=["apart", "padded", "odd height", "odd width", "V before U", "Y last", "RGB"],
)
def test_what_does_not_lie_so_is_not_borrowed(picture):
    assert borrowed(picture, FORMATS[picture.layout]) is None

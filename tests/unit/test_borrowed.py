"""Frames that an encoder takes from a picture's own memory."""

import numpy as np
import pytest
from pictures import make_picture
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.stream.av_planes import borrowed, samples

FORMATS = {Layout.I420: "yuv420p", Layout.NV12: "nv12", Layout.RGB: "rgb24"}


def packed(picture: Picture, order: tuple[int, ...] = (0, 1, 2)) -> Picture:
    """The same with its planes one after the other in one piece of memory, in this order."""
    memory = np.concatenate([picture.planes[i].ravel() for i in order if i < len(picture.planes)])
    planes, start = {}, 0
    for i in order:
        if i < len(picture.planes):
            shape, size = picture.planes[i].shape, picture.planes[i].size
            planes[i] = memory[start : start + size].reshape(shape)
            start += size
    return Picture(picture.layout, tuple(planes[i] for i in sorted(planes)), picture.color)


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
def test_it_is_the_picture(layout):
    picture = packed(make_picture(layout, 48, 66))
    frame = borrowed(picture, FORMATS[layout])
    assert frame is not None
    for plane, expected in zip(frame.planes, picture.planes, strict=True):
        seen = samples(plane, expected.shape[2] if expected.ndim == 3 else 1)
        assert np.array_equal(seen, expected)
        assert np.shares_memory(seen, expected)


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

"""Pictures: colours against published anchors and against swscale, sizes and layouts."""

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Layout, Picture

# 75 % or 100 % colour bars, 8 bits, narrow range, as published: R, G, B to Y, Cb, Cr.
# BT.601: the well-known digits of the SD bars (ITU-R BT.801); BT.709: SMPTE RP 177 / BT.709-6 applied by hand.
ANCHORS = {
    "bt601": {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (81, 90, 240),
        (0, 255, 0): (145, 54, 34),
        (0, 0, 255): (41, 240, 110),
        (255, 255, 0): (210, 16, 146),
        (0, 255, 255): (170, 166, 16),
        (255, 0, 255): (106, 202, 222),
    },
    "bt709": {
        (255, 255, 255): (235, 128, 128),
        (0, 0, 0): (16, 128, 128),
        (255, 0, 0): (63, 102, 240),
        (0, 255, 0): (173, 42, 26),
        (0, 0, 255): (32, 240, 118),
        (255, 255, 0): (219, 16, 138),
        (0, 255, 255): (188, 154, 16),
        (255, 0, 255): (78, 214, 230),
    },
}
# JPEG (JFIF 1.02): full range, BT.601.
JFIF = {
    (255, 0, 0): (76, 85, 255),
    (0, 255, 0): (150, 44, 21),
    (0, 0, 255): (29, 255, 107),
    (255,) * 3: (255, 128, 128),
}
SWS = {"bt601": 5, "bt709": 1, "bt2020": 9}


def flat(layout: Layout, sample: tuple[int, int, int], height: int, width: int, color: Color | None = None) -> Picture:
    """One colour everywhere; `sample` is Y, U, V or R, G, B."""
    color = color or Color()
    half = ((height + 1) // 2, (width + 1) // 2)
    first = np.full((height, width), sample[0], np.uint8)
    if layout is Layout.RGB:
        return Picture(layout, (np.full((height, width, 3), sample, np.uint8),), color)
    if layout is Layout.NV12:
        return Picture(layout, (first, np.full((*half, 2), sample[1:], np.uint8)), color)
    return Picture(layout, (first, *(np.full(half, value, np.uint8) for value in sample[1:])), color)


@pytest.mark.parametrize("matrix", ANCHORS)
def test_narrow_range_anchors(matrix):
    to_yuv, offset = Color(matrix).rgb_to_yuv()
    for rgb, yuv in ANCHORS[matrix].items():
        # the bars are published in whole numbers, and rounded once more on the way
        assert np.abs(to_yuv @ rgb + offset - yuv).max() <= 1, (rgb, yuv)
        assert np.abs(flat(Layout.I420, yuv, 2, 2, Color(matrix)).rgb().astype(int) - rgb).max() <= 2, (rgb, yuv)


def test_full_range_anchors():
    to_yuv, offset = Color("bt601", True).rgb_to_yuv()
    for rgb, yuv in JFIF.items():
        assert np.abs(np.clip(to_yuv @ rgb + offset, 0, 255) - yuv).max() <= 0.6, (rgb, yuv)


@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
@pytest.mark.parametrize("full_range", [False, True])
def test_conversions_are_inverse(matrix, full_range):
    color = Color(matrix, full_range)
    to_yuv, offset = color.rgb_to_yuv()
    for rgb in np.random.default_rng(0).uniform(0, 255, (50, 3)):
        assert np.allclose(color.yuv_to_rgb() @ [*(to_yuv @ rgb + offset), 1], rgb)
    # the grey axis has no colour, and ends where the range ends
    ends = (0, 255) if full_range else (16, 235)
    assert np.allclose(to_yuv @ [0, 0, 0] + offset, [ends[0], 128, 128])
    assert np.allclose(to_yuv @ [255, 255, 255] + offset, [ends[1], 128, 128])


def test_grey_ramps_are_exact():
    """Every narrow-range grey, by the plain formula 255 (Y - 16) / 219; outside the range it is limited."""
    luma = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    chroma = np.full((1, 128), 128, np.uint8)
    for matrix in LUMA_WEIGHTS:
        got = Picture(Layout.I420, (luma, chroma, chroma.copy()), Color(matrix)).rgb()
        expected = np.clip(np.round((np.arange(256) - 16) * 255 / 219), 0, 255)
        assert np.abs(got[0] - expected[:, None]).max() <= 1
        full = Picture(Layout.I420, (luma, chroma, chroma.copy()), Color(matrix, True)).rgb()
        assert np.array_equal(full[0], np.arange(256)[:, None].repeat(3, axis=1))


@pytest.mark.parametrize("matrix", SWS)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
def test_agrees_with_swscale(matrix, full_range, layout):
    """Flat patches of 64 colours, so that chroma interpolation cannot differ."""
    color = Color(matrix, full_range)
    to_yuv, offset = color.rgb_to_yuv()
    levels = (0, 80, 170, 255)
    rgbs = np.array([(r, g, b) for r in levels for g in levels for b in levels], np.float64)
    yuv = np.clip(np.rint(rgbs @ to_yuv.T + offset), 0, 255).astype(np.uint8).reshape(8, 8, 3)
    big = yuv.repeat(16, axis=0).repeat(16, axis=1)
    luma, u, v = big[..., 0].copy(), big[::2, ::2, 1].copy(), big[::2, ::2, 2].copy()
    planes = (luma, u, v) if layout is Layout.I420 else (luma, np.stack([u, v], axis=-1))
    ours = Picture(layout, planes, color).rgb()

    frame = av.VideoFrame.from_ndarray(np.vstack([luma, u.reshape(-1, 128), v.reshape(-1, 128)]), format="yuv420p")
    theirs = frame.reformat(
        format="rgb24",
        src_colorspace=SWS[matrix],
        src_color_range=ColorRange.JPEG if full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    ).to_ndarray()
    middles = np.s_[8::16, 8::16]
    assert np.abs(ours[middles].astype(int) - theirs[middles]).max() <= 2


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(Layout),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    size=st.none() | st.tuples(st.integers(1, 90), st.integers(1, 90)),
    rgb=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_flat_pictures_stay_flat_in_every_size(layout, height, width, size, rgb):
    color = Color("bt709")
    to_yuv, offset = color.rgb_to_yuv()
    sample = rgb if layout is Layout.RGB else tuple(int(v) for v in np.rint(to_yuv @ rgb + offset))
    picture = flat(layout, sample, height, width, color)
    got = picture.rgb(size)
    assert got.shape == ((size or (width, height))[1], (size or (width, height))[0], 3)
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - rgb).max() <= 2
    assert (picture.width, picture.height) == (width, height)


def test_size_is_width_then_height_and_nothing_is_turned():
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:20, :30] = (255, 0, 0)
    rgb[20:, 30:] = (0, 0, 255)
    small = Picture(Layout.RGB, (rgb,)).rgb((6, 4))
    assert small.shape == (4, 6, 3)
    assert small[0, 0].tolist() == [255, 0, 0]
    assert small[-1, -1].tolist() == [0, 0, 255]
    assert small[0, -1].tolist() == small[-1, 0].tolist() == [0, 0, 0]


def test_shrinking_averages_areas():
    luma = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
    rgb = np.stack([luma, 255 - luma, luma // 2], axis=-1)
    expected = rgb.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.abs(Picture(Layout.RGB, (rgb,)).rgb((8, 8)) - expected).max() <= 0.51


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
def test_a_small_copy_is_the_full_conversion_made_small(layout):
    """Resizing planes first, or converting first: the same picture where no value is limited on the way."""
    y, x = np.mgrid[:96, :128]
    rgb = np.stack([40 + x, 60 + y, 200 - x // 2 - y // 2], axis=-1)
    color = Color("bt709")
    to_yuv, offset = color.rgb_to_yuv()
    yuv = np.rint(rgb @ to_yuv.T + offset).astype(np.uint8)
    chroma = yuv.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)[..., 1:]
    rest = (chroma.copy(),) if layout is Layout.NV12 else (chroma[..., 0].copy(), chroma[..., 1].copy())
    picture = Picture(layout, (yuv[..., 0].copy(), *rest), color)
    for size in [(32, 24), (50, 37), (200, 100), (128, 96)]:
        expected = cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        if size[0] > 128:
            expected = cv2.resize(rgb.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        # a gradient's outermost chroma samples hold over half a sample
        assert np.abs(picture.rgb(size) - expected)[2:-2, 2:-2].max() <= 4


@pytest.mark.parametrize("layout", Layout)
def test_padded_rows_do_not_matter(layout):
    rng = np.random.default_rng(2)
    shapes = {Layout.RGB: [(5, 7, 3)], Layout.I420: [(5, 7), (3, 4), (3, 4)], Layout.NV12: [(5, 7), (3, 4, 2)]}[layout]
    tight = tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)
    padded = []
    for plane in tight:
        wide = np.zeros((plane.shape[0], plane.shape[1] + 6, *plane.shape[2:]), np.uint8)
        wide[:, : plane.shape[1]] = plane
        padded.append(wide[:, : plane.shape[1]])
    for size in (None, (3, 3), (20, 30)):
        assert np.array_equal(Picture(layout, tight).rgb(size), Picture(layout, tuple(padded)).rgb(size))


@pytest.mark.parametrize("layout", Layout)
def test_a_copy_shares_nothing(layout):
    picture = flat(layout, (100, 100, 100), 6, 8, Color("bt601", True))
    copy = picture.copy()
    for plane in copy.planes:
        plane[...] = 0
    assert all((plane == 100).all() for plane in picture.planes)
    assert copy.color == picture.color


@pytest.mark.parametrize(
    "layout",
    [
        Layout.I420,
        Layout.NV12,
        Layout.RGB,
    ],
)
def test_rgb_is_the_callers_own(layout):
    """The overlay draws on the planes afterwards: what was converted before must not change with them."""
    picture = flat(layout, (100, 128, 128), 6, 8)
    rgb = picture.rgb()
    before = rgb.copy()
    for plane in picture.planes:
        plane[...] = 0
    assert np.array_equal(rgb, before)


class TestWrongPictures:
    @pytest.mark.parametrize(
        ("layout", "shapes"),
        [
            (Layout.I420, [(4, 6), (2, 3)]),
            (Layout.I420, [(5, 7), (2, 3), (2, 3)]),
            (Layout.NV12, [(4, 6), (2, 3), (2, 3)]),
            (Layout.NV12, [(4, 6), (2, 6)]),
            (Layout.RGB, [(4, 6)]),
            (Layout.RGB, [(4, 6, 4)]),
            (Layout.RGB, [(0, 6, 3)]),
            (Layout.RGB, [(6,)]),
            (Layout.RGB, []),
        ],
    )
    def test_shapes(self, layout, shapes):
        with pytest.raises(ValueError, match="plane") as caught:
            Picture(layout, tuple(np.zeros(shape, np.uint8) for shape in shapes))
        assert "\n" not in str(caught.value)

    def test_type(self):
        with pytest.raises(ValueError, match=r"uint8, got.*float32"):
            Picture(Layout.RGB, (np.zeros((4, 6, 3), np.float32),))

    def test_matrix(self):
        with pytest.raises(ValueError, match=r"bt601, bt709, bt2020, got 'bt470'"):
            Color("bt470")

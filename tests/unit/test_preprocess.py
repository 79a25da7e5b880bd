"""Where the model looks: a dot drawn in the frame is found in the sample where the crop says, whatever the rule."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.preprocess import sample, tensor
from saliency_tubes.engine.types import Clip, Crop, Frame, HostSample, Span

MEAN, STD = (0.5, 0.4, 0.3), (0.5, 0.25, 0.2)


def spec(resize: str = "center", size: tuple[int, int] = (64, 64), short_side: int = 73) -> InputSpec:
    return InputSpec(size, MEAN, STD, resize, short_side if resize == "center" else 0)


def frame_of(rgb: np.ndarray, aspect: Fraction = Fraction(1), layout: Layout = Layout.RGB) -> Frame:
    if layout is Layout.RGB:
        return Frame(0, 0, Fraction(1, 25), Picture(layout, (rgb,)), aspect)
    matrix, offset = Color().rgb_to_yuv()
    yuv = np.clip(np.rint(rgb @ matrix.T + offset), 0, 255).astype(np.uint8)
    u, v = (yuv[::2, ::2, channel].copy() for channel in (1, 2))
    planes = (u, v) if layout is Layout.I420 else (np.stack([u, v], axis=-1),)
    return Frame(0, 0, Fraction(1, 25), Picture(layout, (yuv[..., 0].copy(), *planes)), aspect)


def center_of(picture: np.ndarray) -> tuple[float, float]:
    """x and y of the brightest thing's centre of mass, in pixels."""
    light = picture.astype(np.float64).sum(axis=2)
    light[light < 0.1 * light.max()] = 0
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    return float(((x + 0.5) * light).sum() / light.sum()), float(((y + 0.5) * light).sum() / light.sum())


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(48, 300), st.integers(48, 300)),
    aspect=st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(2), Fraction(8, 9), Fraction(1, 2)]),
    rule=st.sampled_from(["center", "stretch", "letterbox"]),
    size=st.sampled_from([(64, 64), (48, 80), (80, 48)]),
    spot=st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98)),
    layout=st.sampled_from(Layout),
)
def test_a_dot_is_found_where_the_crop_says(shape, aspect, rule, size, spot, layout):
    height, width = shape
    spec_ = spec(rule, size, 90)
    crop = sample(frame_of(np.zeros((*shape, 3), np.uint8), aspect, layout), spec_).crop
    # the spot's position is within the crop and within the frame, so that it is always to be seen
    low, high = max(crop.left, 0.0), min(crop.right, 1.0)
    top, bottom = max(crop.top, 0.0), min(crop.bottom, 1.0)
    x, y = low + spot[0] * (high - low), top + spot[1] * (bottom - top)
    half_x, half_y = max(2, width // 24), max(2, height // 24)
    column, row = int(np.clip(x * width, half_x, width - half_x)), int(np.clip(y * height, half_y, height - half_y))
    x, y = column / width, row / height
    inside = (
        low + half_x / width <= x <= high - half_x / width and top + half_y / height <= y <= bottom - half_y / height
    )
    if not inside:
        return
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[row - half_y : row + half_y, column - half_x : column + half_x] = 255
    seen = sample(frame_of(rgb, aspect, layout), spec_)
    assert seen.crop == crop
    found = center_of(seen.pixels)
    expected = (
        (x - crop.left) / (crop.right - crop.left) * size[1],
        (y - crop.top) / (crop.bottom - crop.top) * size[0],
    )
    # one sample of the model's picture, and one of the frame's where that is the coarser
    assert abs(found[0] - expected[0]) <= 1 + size[1] / width
    assert abs(found[1] - expected[1]) <= 1 + size[0] / height


@settings(max_examples=150, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 400), st.integers(8, 400)),
    aspect=st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(2), Fraction(1, 2)]),
    rule=st.sampled_from(["center", "letterbox"]),
    size=st.sampled_from([(64, 64), (48, 80), (80, 48)]),
)
def test_the_model_sees_the_shape_a_viewer_sees(shape, aspect, rule, size):
    """A square of the shown picture is a square of the sample, but for the rounding of sizes to pixels."""
    seen = sample(frame_of(np.zeros((*shape, 3), np.uint8), aspect), spec(rule, size, 90))
    crop = seen.crop
    assert seen.pixels.shape == (*size, 3)
    assert seen.size == size
    shown = (shape[1] * float(aspect), shape[0])
    across = size[1] / ((crop.right - crop.left) * shown[0])
    down = size[0] / ((crop.bottom - crop.top) * shown[1])
    scaled = (shown[0] * across, shown[1] * down)
    assert abs(across / down - 1) <= 0.51 / (min(scaled) - 0.5) + 0.51 / (max(scaled) - 0.5)
    if rule == "center":
        assert 0 <= crop.left < crop.right <= 1
        assert 0 <= crop.top < crop.bottom <= 1
        assert min(scaled) == pytest.approx(90, abs=0.51)
    else:  # all of the frame, and one side filled
        assert crop.left <= 0
        assert crop.right >= 1
        assert crop.top <= 0
        assert crop.bottom >= 1
        assert (crop.left, crop.right) == (0, 1) or (crop.top, crop.bottom) == (0, 1)
    # centred, to a pixel of the sample
    assert abs(crop.left + crop.right - 1) <= 1.01 / scaled[0]
    assert abs(crop.top + crop.bottom - 1) <= 1.01 / scaled[1]


def test_known_crops():
    black = np.zeros((720, 1280, 3), np.uint8)
    crop = sample(frame_of(black), InputSpec((224, 224), MEAN, STD, "center", 256)).crop
    # 1280x720 to 455x256: 115 columns and 16 rows are cut off before the middle
    assert crop == Crop(115 / 455, 16 / 256, 339 / 455, 240 / 256)
    assert sample(frame_of(black), InputSpec((224, 224), MEAN, STD, "stretch")).crop == Crop()
    boxed = sample(frame_of(black), InputSpec((224, 224), MEAN, STD, "letterbox")).crop
    assert (boxed.left, boxed.right) == (0, 1)
    assert (boxed.top, boxed.bottom) == (-49 / 126, 175 / 126)
    # anamorphic: 720x576 shown as 1024x576 by 64:45 pixels
    wide = sample(frame_of(np.zeros((576, 720, 3), np.uint8), Fraction(64, 45)), spec("center", (64, 64), 64)).crop
    assert wide == Crop(25 / 114, 0, 89 / 114, 1)


def test_letterbox_bars_are_black_and_the_rest_is_not():
    seen = sample(frame_of(np.full((90, 160, 3), 200, np.uint8)), spec("letterbox"))
    picture, crop = seen.pixels, seen.crop
    rows = (picture == 200).all(axis=(1, 2))
    assert rows.sum() == 36
    assert (picture[~rows] == 0).all()
    first = int(np.flatnonzero(rows)[0])
    assert crop.top == pytest.approx(-first / 36)


@pytest.mark.parametrize(
    ("rule", "shape"),
    [
        ("center", (64, 64)),
        ("center", (128, 64)),
        ("center", (64, 128)),
        ("stretch", (64, 64)),
        ("stretch", (64, 128)),
        ("letterbox", (64, 64)),
        ("letterbox", (64, 128)),
    ],
)
def test_a_sample_does_not_change_when_the_frame_is_drawn_on(rule, shape):
    """Windows share samples, and the overlay draws in place on the frame that the sample came from."""
    frame = frame_of(np.full((*shape, 3), 90, np.uint8))
    picture = sample(frame, spec(rule, (64, 64), 64)).pixels
    before = picture.copy()
    frame.picture.planes[0][...] = 255
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("rule", ["center", "stretch", "letterbox"])
def test_tiny_frames_can_be_sampled(rule):
    for shape in [(1, 1), (2, 3), (1, 40), (40, 1)]:
        seen = sample(frame_of(np.full((*shape, 3), 7, np.uint8)), spec(rule))
        assert seen.pixels.shape == (64, 64, 3)
        assert seen.crop.left < seen.crop.right


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5)),
    mean=st.tuples(*[st.floats(-2, 2)] * 3),
    std=st.tuples(*[st.floats(0.01, 3)] * 3),
    seed=st.integers(0, 99),
)
def test_tensor_is_the_formula(shape, mean, std, seed):
    clip_length, height, width = shape
    pictures = np.random.default_rng(seed).integers(0, 256, (clip_length, height, width, 3), dtype=np.uint8)
    clip = Clip(tuple(map(HostSample, pictures)), Span(0, clip_length), Crop(), (0, 1), Fraction(1, 25))
    got = tensor([clip], InputSpec((height, width), mean, std, "stretch"))
    assert got.shape == (1, 3, clip_length, height, width)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    expected = np.moveaxis((pictures / 255 - mean) / std, -1, 0)
    assert np.allclose(got[0], expected, rtol=1e-5, atol=1e-5 * (1 + max(np.abs(mean)) / min(std)))


def test_tensor_of_known_values():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255
    clip = Clip((HostSample(red), HostSample(red // 5)), Span(0, 2), Crop(), (0, 1), Fraction(1, 25))
    got = tensor([clip], InputSpec((2, 2), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "stretch"))
    assert got[0, :, 0, 0, 0].tolist() == [1, -1, -1]
    assert got[0, :, 1, 1, 1] == pytest.approx([-0.6, -1, -1], abs=1e-6)

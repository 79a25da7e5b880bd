"""What the network sees, resized straight from the planes: held to its definition, and to how others resize."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from unittest import mock

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import make_picture
from saliency_tubes.engine import resize as resize_module
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Layout, Picture
from saliency_tubes.engine.resize import resize

_overlay = pytest.importorskip("saliency_tubes.engine._overlay", reason="installed without a C++ compiler")

layouts = st.sampled_from(Layout)
sides = st.one_of(st.integers(1, 12), st.integers(1, 200))
colors = st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans())


@st.composite
def boxes(draw) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """A size, and a part of it."""
    width, height = draw(sides), draw(sides)
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (width, height), (left, top, draw(st.integers(1, width - left)), draw(st.integers(1, height - top)))


cases = {
    "layout": layouts,
    "height": sides,
    "width": sides,
    "part": boxes(),
    "color": colors,
    "pad": st.sampled_from([0, 7]),
    "seed": st.integers(0, 1000),
}


def weights(samples: int, size: int, shrinks: bool) -> np.ndarray:
    """[size, samples]: what each output takes of each sample: of what it covers, or of its two neighbours."""
    edges = np.linspace(0, samples, size + 1)
    index = np.arange(samples)
    if shrinks:
        covered = np.minimum(index + 1, edges[1:, None]) - np.maximum(index, edges[:-1, None])
        return np.maximum(covered, 0) * size / samples
    centers = np.clip((edges[1:] + edges[:-1]) / 2 - 0.5, 0, samples - 1)
    return np.maximum(1 - np.abs(centers[:, None] - index), 0)


def defined(picture: Picture, size: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """RGB [h, w, 3], limited to 0..255 but not rounded."""
    left, top, width, height = box
    channels = []
    for plane in picture.planes:
        samples = plane.reshape(*plane.shape[:2], -1).astype(float)
        shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
        rows = weights(plane.shape[0], size[1], shrinks)[top : top + height]
        columns = weights(plane.shape[1], size[0], shrinks)[left : left + width]
        channels.append(np.einsum("ya,abc,xb->yxc", rows, samples, columns, optimize=True))
    made = np.concatenate(channels, axis=2)
    if picture.layout is not Layout.RGB:
        matrix = picture.color.yuv_to_rgb()
        made = made @ matrix[:, :3].T + matrix[:, 3]
    return np.clip(made, 0, 255)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found.astype(float) - expected).max())


def smooth(layout: Layout, height: int, width: int, seed: int) -> Picture:
    """Slow waves: what is between two samples is no matter of taste."""
    rng = np.random.default_rng(seed)
    planes = []
    for plane in make_picture(layout, height, width).planes:
        y, x = (np.linspace(0, 1, count) for count in plane.shape[:2])
        waves = [
            np.outer(np.cos(rng.uniform(1, 5) * y + rng.uniform(0, 6)), np.cos(rng.uniform(1, 5) * x))
            for _ in range(plane[0, 0].size)
        ]
        planes.append(np.round(128 + 60 * np.stack(waves, axis=2)).astype(np.uint8).reshape(plane.shape))
    return Picture(layout, tuple(planes), Color())


@settings(deadline=None)
@given(**cases)
def test_it_is_its_definition_to_the_rounding(layout, height, width, part, color, pad, seed):
    picture = make_picture(layout, height, width, seed, color, pad)
    made = resize(picture, *part)
    assert made.dtype == np.uint8
    assert off(made, defined(picture, *part)) < 0.51


@settings(deadline=None)
@given(**cases)
def test_every_compiled_path_gives_the_same_bytes(layout, height, width, part, color, pad, seed):
    picture = make_picture(layout, height, width, seed, color, pad)
    expected = resize(picture, *part)
    for number in range(1, len(_overlay.paths())):
        path = SimpleNamespace(sample=lambda _, *rest, number=number: _overlay.sample(number, *rest))
        with mock.patch.object(resize_module, "_compiled", path):
            assert np.array_equal(resize(picture, *part), expected), _overlay.paths()[number]


@settings(deadline=None)
@given(**cases)
def test_without_the_compiled_module_it_is_close(layout, height, width, part, color, pad, seed):
    picture = make_picture(layout, height, width, seed, color, pad)
    with mock.patch.object(resize_module, "_compiled", None):
        plain = resize(picture, *part)
    # it rounds to bytes before it converts, which weighs what it rounded by up to 3.3 in all
    assert off(plain, resize(picture, *part)) <= (1 if layout is Layout.RGB else 3)


@settings(deadline=None)
@given(layouts, sides, sides, boxes(), st.integers(0, 1000))
def test_a_part_is_cut_from_the_whole(layout, height, width, part, seed):
    picture = make_picture(layout, height, width, seed)
    size, (left, top, columns, rows) = part
    whole = resize(picture, size, (0, 0, *size))
    assert np.array_equal(resize(picture, *part), whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize("layout", Layout)
def test_one_colour_stays_one_colour(layout):
    planes = tuple(np.full_like(plane, 90) for plane in make_picture(layout, 37, 53).planes)
    picture = Picture(layout, planes)
    colour = picture.rgb((1, 1))[0, 0]
    for size in ((53, 37), (11, 7), (224, 224), (40, 90), (106, 5)):
        made = resize(picture, size, (0, 0, *size))
        assert off(made, np.broadcast_to(colour, made.shape)) <= 1


@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 7])
def test_whole_ratios_are_opencvs_areas(ratio):
    picture = make_picture(Layout.RGB, 12 * ratio, 17 * ratio, seed=ratio)
    expected = cv2.resize(picture.planes[0], (17, 12), interpolation=cv2.INTER_AREA)
    made = resize(picture, (17, 12), (0, 0, 17, 12))
    # halves may round either way
    assert off(made, expected) <= 1
    assert off(expected, defined(picture, (17, 12), (0, 0, 17, 12))) < 0.51
    assert np.mean(made != expected) < 0.6 / ratio


@pytest.mark.parametrize("size", [(96, 64), (224, 160), (171, 113), (640, 480)])
@pytest.mark.parametrize("layout", [Layout.I420, Layout.RGB])
def test_it_is_close_to_swscale(layout, size):
    """FFmpeg's filters are other ones, and it takes chroma samples to lie elsewhere: close is what they can be."""
    picture = smooth(layout, 240, 320, seed=size[0])
    if layout is Layout.RGB:
        frame = av.VideoFrame.from_ndarray(picture.planes[0], format="rgb24")
    else:
        planes = np.concatenate([plane.ravel() for plane in picture.planes]).reshape(360, 320)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    theirs = frame.reformat(
        *size,
        format="rgb24",
        src_colorspace=Colorspace.ITU709,
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=(Interpolation.AREA if size[0] < 320 else Interpolation.BILINEAR) | exact,
    ).to_ndarray()
    made = resize(picture, size, (0, 0, *size))
    assert np.abs(made.astype(float) - theirs).mean() < 1
    assert off(made, theirs) <= 4


def arguments(plane: object = None, **changes: object) -> list[object]:
    """What makes 2x3 pixels of a picture of 4x6, but for `changes`."""
    given = {
        "path": 0,
        "plane": np.full((4, 6, 3), 100, np.uint8) if plane is None else plane,
        "first_rows": np.array([0, 2], np.int32),
        "rows": np.full((2, 2), 0.5, np.float32),
        "first_columns": np.array([0, 2, 4], np.int32),
        "columns": np.full((3, 2), 0.5, np.float32),
        "matrix": np.eye(3, 4, dtype=np.float32),
        "out": np.zeros((3, 2, 3), np.uint8),
    } | changes
    source = tuple(given[name] for name in ("plane", "first_rows", "rows", "first_columns", "columns"))
    return [given["path"], given.get("sources", (source,)), given["matrix"], given["out"]]


def test_it_samples():
    made = arguments()
    _overlay.sample(*made)
    assert (made[3] == 100).all()


def test_channels_that_are_not_there_are_nothing():
    made = arguments(plane=np.full((4, 6), 100, np.uint8), matrix=np.ones((2, 4), np.float32))
    made[3] = np.zeros((2, 2, 3), np.uint8)
    for number in range(len(_overlay.paths())):
        _overlay.sample(number, *made[1:])
        assert (made[3] == 101).all()


def read_only() -> np.ndarray:
    out = np.zeros((3, 2, 3), np.uint8)
    out.flags.writeable = False
    return out


SOURCE = arguments()[1][0]
GREY = (np.zeros((4, 6), np.uint8), *SOURCE[1:])
ints, floats = partial(np.array, dtype=np.int32), partial(np.full, fill_value=0.5, dtype=np.float32)

WRONG = {
    "no such path": {"path": 9},
    "negative path": {"path": -1},
    "a list of sources": {"sources": [SOURCE]},
    "no sources": {"sources": ()},
    "four sources": {"sources": (GREY,) * 4},
    "a source that is no tuple": {"sources": (None,)},
    "a source of four things": {"sources": (SOURCE[:4],)},
    "four channels out": {"out": np.zeros((4, 2, 3), np.uint8), "matrix": np.eye(4, dtype=np.float32)},
    "six channels": {"sources": (SOURCE, SOURCE)},
    "int8 plane": {"plane": np.zeros((4, 6, 3), np.int8)},
    "float plane": {"plane": np.zeros((4, 6, 3), np.float32)},
    "flat plane": {"plane": np.zeros(72, np.uint8)},
    "four channels": {"plane": np.zeros((4, 6, 4), np.uint8)},
    "no rows": {"plane": np.zeros((0, 6, 3), np.uint8)},
    "no columns": {"plane": np.zeros((4, 0, 3), np.uint8)},
    "small plane": {"plane": np.zeros((3, 6, 3), np.uint8)},
    "narrow plane": {"plane": np.zeros((4, 5, 3), np.uint8)},
    "upside down": {"plane": np.zeros((4, 6, 3), np.uint8)[::-1]},
    "mirrored": {"plane": np.zeros((4, 6, 3), np.uint8)[:, ::-1]},
    "every second column": {"plane": np.zeros((4, 12, 3), np.uint8)[:, ::2]},
    "BGR seen as RGB": {"plane": np.zeros((4, 6, 3), np.uint8)[..., ::-1]},
    "no array": {"plane": [[1, 2], [3, 4]]},
    "tap before the plane": {"first_rows": ints([-1, 2])},
    "tap beyond the plane": {"first_rows": ints([0, 3])},
    "tap far beyond": {"first_columns": ints([0, 2, 2**31 - 1])},
    "taps out of order": {"first_columns": ints([2, 0, 4])},
    "int64 taps": {"first_rows": np.array([0, 2])},
    "unsigned taps": {"first_rows": np.array([0, 2], np.uint32)},
    "strided taps": {"first_rows": np.zeros(4, np.int32)[::2]},
    "taps for another height": {"first_rows": ints([0, 1, 2]), "rows": floats((3, 2))},
    "weights for another height": {"rows": floats((3, 2))},
    "weights for another width": {"columns": floats((2, 2))},
    "no weights": {"rows": floats((2, 0))},
    "more taps than rows": {"first_rows": ints([0, 0]), "rows": floats((2, 5))},
    "flat weights": {"rows": floats(4)},
    "float64 weights": {"rows": np.full((2, 2), 0.5)},
    "strided weights": {"rows": floats((2, 4))[:, ::2]},
    "float64 matrix": {"matrix": np.eye(3, 4)},
    "square matrix": {"matrix": np.eye(3, dtype=np.float32)},
    "matrix upright": {"matrix": np.eye(4, 3, dtype=np.float32)},
    "read-only out": {"out": read_only()},
    "float out": {"out": np.zeros((3, 2, 3), np.float32)},
    "flat out": {"out": np.zeros(18, np.uint8)},
    "out of two channels": {"out": np.zeros((2, 2, 3), np.uint8)},
    "empty out": {"out": np.zeros((3, 0, 3), np.uint8)},
    "larger out": {"out": np.zeros((3, 3, 3), np.uint8)},
    "out not packed": {"out": np.zeros((3, 2, 6), np.uint8)[..., ::2]},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(wrong):
    made = arguments(**wrong)
    before = np.array(made[3])
    with pytest.raises((ValueError, TypeError, BufferError)) as caught:
        _overlay.sample(*made)
    assert str(caught.value)
    assert np.array_equal(before, made[3])


def test_numbers_that_are_none_make_no_trouble():
    for value in (np.nan, np.inf, -np.inf, 3e38):
        made = arguments(rows=np.full((2, 2), value, np.float32), matrix=np.full((3, 4), -value, np.float32))
        _overlay.sample(*made)
        assert np.isin(made[3], (0, 255)).all()

"""The caption: legible at every size, within the frame, and gone where it is to be gone."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.draw.caption import SMALLEST, SMALLEST_NUMBER, Caption, draw_caption
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Scale, Span, Tube

SIZES = [(320, 240), (1280, 720), (3840, 2160), (240, 426), (176, 144)]
ALL = [
    pytest.param(layout, size, marks=[pytest.mark.slow] * (size[0] > 3000 and layout is not Layout.RGB))
    for layout in Layout
    for size in SIZES
]
"""Every size in every layout; make test has 4K in the one alone that is looked at without a conversion."""
CAPTION = Caption("HHH 0.98", "0.0", "12.3")


def grey(layout: Layout, width: int, height: int, level: int = 160, pad: int = 0) -> Picture:
    half = ((height + 1) // 2, (width + 1) // 2)
    if layout is Layout.RGB:
        shapes = [((height, width, 3), level)]
    elif layout is Layout.NV12:
        shapes = [((height, width), level), ((*half, 2), 128)]
    else:
        shapes = [((height, width), level), (half, 128), (half, 128)]
    planes = [
        np.full((shape[0], shape[1] + pad, *shape[2:]), value, np.uint8)[:, : shape[1]] for shape, value in shapes
    ]
    return Picture(layout, tuple(planes), Color("bt709"))


def drawn(picture: Picture) -> np.ndarray:
    """Where the picture is no longer grey, [H, W]."""
    rgb = picture.rgb().astype(np.int16)
    return np.abs(rgb - rgb[-1, -1]).max(axis=2) > 2


def box_of(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def capital_height(picture: Picture) -> int:
    """Height of the first line's letters, which are all capitals or digits: the first run of bright rows."""
    bright = (picture.rgb().min(axis=2) > 200).any(axis=1)
    first = int(np.argmax(bright))
    return int(np.argmin(bright[first:]))


@pytest.mark.parametrize(("layout", "size"), ALL, ids=str)
def test_letters_are_legible_and_the_box_is_in_the_frame(layout, size):
    picture = grey(layout, *size, level=90)
    draw_caption(picture, CAPTION, Style())
    height = capital_height(picture)
    assert height >= SMALLEST - 1  # one row of its edge is softened away
    # about a thirtieth of the frame's height, as on a television
    assert height <= max(1.25 * size[1] / 30, SMALLEST + 1)
    if size[1] > 300:
        assert height >= 0.75 * size[1] / 30
    left, top, right, bottom = box_of(drawn(picture))
    assert left >= 2
    assert top >= 2
    assert right < size[0]
    assert bottom <= size[1] / 4
    assert right <= 0.98 * size[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("letters", [40, 80, 160])
def test_long_labels_shrink_to_fit(size, letters):
    picture = grey(Layout.RGB, *size)
    draw_caption(picture, Caption("W" * letters + " 0.98", "0.0", "12.3"), Style())
    _, _, right, _ = box_of(drawn(picture))
    assert right <= size[0]
    # nothing is cut off: there is some of the box, without letters, to the right of the last one
    column = picture.planes[0][:, min(right, size[0]) - 1].min(axis=1)
    assert column.max() <= 160


@pytest.mark.parametrize("size", [(176, 144), (256, 144), (320, 180), (320, 240), (480, 270), (1280, 720)], ids=str)
def test_the_numbers_are_legible(size):
    """Digits have at least eight rows, one of which may be softened away."""
    picture = grey(Layout.RGB, *size, level=90)
    draw_caption(picture, Caption("", "888", "888"), Style())
    bright = picture.planes[0].min(axis=2) > 170
    assert bright.any(axis=1).sum() >= max(SMALLEST_NUMBER - 1, 0.5 * size[1] / 30)
    _, _, _, bottom = box_of(drawn(picture))
    assert bottom <= max(size[1] / 4, 36)


@pytest.mark.parametrize("size", [(176, 144), (240, 426), (320, 240)], ids=str)
def test_a_long_label_is_broken_before_its_letters_are_too_small(size):
    words = "HHHHHHHH " * (3 if size[0] < 300 else 5)
    picture = grey(Layout.RGB, *size, level=90)
    draw_caption(picture, Caption(words + "0.98", "0.0", "12.3"), Style())
    assert capital_height(picture) >= SMALLEST - 1
    bright = (picture.planes[0].min(axis=2) > 200).any(axis=1)
    assert np.count_nonzero(np.diff(bright.astype(int)) == 1) == 3  # lines: two of the label, one of the numbers
    _, _, right, bottom = box_of(drawn(picture))
    assert right <= size[0]
    assert bottom <= 0.35 * size[1]


@pytest.mark.parametrize("text", ["W" * 5000, "W " * 5000, "", " "])
def test_odd_texts_do_not_fail(text):
    picture = grey(Layout.RGB, 320, 240)
    draw_caption(picture, Caption(text, "0.0", "1.0"), Style())
    assert drawn(picture).any()


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from(Layout),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    aspect=st.sampled_from([1.0, 4 / 3, 2.0, 0.5]),
    opacity=st.sampled_from([0.3, 1.0]),
    pad=st.sampled_from([0, 3]),
)
def test_any_picture_takes_it(layout, width, height, aspect, opacity, pad):
    picture = grey(layout, width, height, pad=pad)
    draw_caption(picture, CAPTION, Style(), aspect, opacity)
    assert (picture.width, picture.height) == (width, height)


@pytest.mark.parametrize("layout", Layout)
def test_sixteen_pixels(layout):
    picture = grey(layout, 16, 16)
    draw_caption(picture, CAPTION, Style())
    changed = picture.planes[0].reshape(16, 16, -1)[..., 0] != 160
    assert changed[2:, 2:].any()
    assert not changed[:2].any()
    assert not changed[:, :2].any()


@pytest.mark.parametrize("layout", Layout)
def test_opacity(layout):
    before = grey(layout, 320, 240, level=201)
    none, half, full = before.copy(), before.copy(), before.copy()
    draw_caption(none, CAPTION, Style(), opacity=0)
    draw_caption(half, CAPTION, Style(), opacity=0.5)
    draw_caption(full, CAPTION, Style(), opacity=1)
    for plane, untouched in zip(none.planes, before.planes, strict=True):
        assert np.array_equal(plane, untouched)
    for a, b, c in zip(before.planes, half.planes, full.planes, strict=True):
        assert np.abs((a.astype(int) + c) / 2 - b).max() <= 1


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
def test_all_layouts_look_alike(layout):
    planes, rgb = grey(layout, 320, 240, level=126), grey(Layout.RGB, 320, 240, level=128)
    for picture in (planes, rgb):
        draw_caption(picture, CAPTION, Style())
    off = np.abs(planes.rgb().astype(int) - rgb.planes[0]).mean(axis=2)
    box = drawn(rgb)
    assert off[box].mean() < 4
    assert not drawn(planes)[~box].any()


def test_wide_pixels_make_a_narrow_box():
    """The same width as shown."""
    square, wide = grey(Layout.RGB, 720, 576), grey(Layout.RGB, 720, 576)
    draw_caption(square, CAPTION, Style(), 1.0)
    draw_caption(wide, CAPTION, Style(), 64 / 45)
    one, other = box_of(drawn(square)), box_of(drawn(wide))
    assert (other[2] - other[0]) * 64 / 45 == pytest.approx(one[2] - one[0], abs=4)
    assert other[3] - other[1] == pytest.approx(one[3] - one[1], abs=1)


def test_the_bar_shows_the_styles_colours():
    """The strong end of turbo is red, of viridis yellow; the weak end is the grey that is left untouched."""
    for colormap, expected in (("turbo", [True, False, False]), ("viridis", [True, True, False])):
        picture = grey(Layout.RGB, 1280, 720)
        draw_caption(picture, CAPTION, Style(colormap=colormap, alpha=1.0))
        rgb = picture.planes[0].astype(int)
        colourful = np.ptp(rgb, axis=2) > 40
        _, top, right, bottom = box_of(colourful)
        end = rgb[(top + bottom) // 2, right - 2]
        assert [bool(value > 100) for value in end] == expected, (colormap, end)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset(preset):
    picture = grey(Layout.I420, 320, 240)
    draw_caption(picture, CAPTION, PRESETS[preset])
    assert drawn(picture).any()


def explanation(*names: str) -> Explanation:
    explained = tuple(ClassScore(i, name, 0.456 / (i + 1), 1.0) for i, name in enumerate(names))
    tube = Tube(np.ones((1, 1, 1), np.float32), Span(0, 8), Crop(), np.ones((1, 1, 1), np.float32), (0, 1))
    return Explanation(0, explained, explained, tube, Scale(-0.25, 12.345), (0, 7), Fraction(1, 25))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["yoga"], "yoga 0.46"),
        (["yoga", "tai chi"], "yoga 0.46 vs tai chi 0.23"),
        (["Añadir café"], "Añadir café 0.46"),
        (["日本"], "日本 0.46"),
        ([" "], "class 0 0.46"),
        (["a", "日本"], "a 0.46 vs 日本 0.23"),
    ],
)
def test_words(names, text):
    caption = Caption.of(explanation(*names), Style())
    assert caption.text == text
    assert float(caption.low) == pytest.approx(-0.25, abs=0.051)
    assert float(caption.high) == pytest.approx(12.345, abs=0.051)


@pytest.mark.parametrize(
    ("age", "text"), [(3.14, "evidence 3.1 s old"), (0.04, "evidence 0.0 s old"), (61.6, "evidence 62 s old")]
)
def test_the_age_of_evidence_in_words(age, text):
    assert Caption.of_age(age).text == text


@pytest.mark.parametrize(("layout", "size"), ALL, ids=str)
def test_a_note_is_small_and_has_no_bar(layout, size):
    note, full = grey(layout, *size, level=90), grey(layout, *size, level=90)
    draw_caption(note, Caption.of_age(3.1), Style())
    draw_caption(full, Caption("evidence 3.1 s old", "0.0", "1.0"), Style())
    left, top, right, bottom = box_of(drawn(note))
    assert (left, top) == box_of(drawn(full))[:2]
    assert right < size[0]
    assert bottom - top < 0.7 * (box_of(drawn(full))[3] - top)
    assert capital_height(note) >= SMALLEST - 1
    assert np.ptp(note.rgb(), axis=2).max() <= 6  # all grey

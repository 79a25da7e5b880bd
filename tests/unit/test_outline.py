"""The thin frame around what the network sees: where it lies, in every layout, and when the painter draws it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import make_picture, padding
from saliency_tubes.engine.draw.host import HostPlace
from saliency_tubes.engine.draw.outline import DARK, LIGHT, draw_outline
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.pipeline.painter import Painter
from saliency_tubes.stream.pipeline.sync import Placed

SQUARE = Crop(0.25, 0.1, 0.75, 0.9)


def changed(before: Picture, after: Picture, plane: int = 0) -> np.ndarray:
    """[H, W]: which samples of a plane are no longer what they were."""
    shape = (*before.planes[plane].shape[:2], -1)
    return np.asarray((before.planes[plane] != after.planes[plane]).reshape(shape).any(axis=2))


def black(layout: Layout, height: int, width: int) -> Picture:
    picture = make_picture(layout, height, width)
    for index, plane in enumerate(picture.planes):
        plane[...] = 7 if layout is Layout.RGB or not index else 99
    return picture


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize(("height", "line"), [(120, 2), (480, 2), (720, 2), (1080, 4), (2160, 8)])
def test_the_line_lies_along_the_crops_edges(layout, height, line):
    width = 2 * height
    before = black(layout, height, width)
    after = before.copy()
    draw_outline(after, SQUARE)
    found, expected = changed(before, after), np.zeros((height, width), bool)
    top, left, bottom, right = height // 10, width // 4, height - height // 10, width - width // 4
    expected[top:bottom, left:right] = True
    expected[top + line : bottom - line, left + line : right - line] = False
    assert np.array_equal(found, expected)
    for plane in range(1, len(before.planes)):
        drawn = changed(before, after, plane)
        assert np.array_equal(drawn, expected[::2, ::2])  # no chroma sample is drawn by half
        assert (after.planes[plane][drawn] == 128).all()


@pytest.mark.parametrize("layout", [Layout.I420, Layout.NV12])
@pytest.mark.parametrize("color", [Color(), Color("bt601", full_range=True)], ids=str)
def test_the_line_is_grey_and_as_light_as_in_rgb(layout, color):
    planes = Picture(layout, black(layout, 96, 128).planes, color)
    for plane in planes.planes[1:]:
        plane[...] = 128  # as the line's: the conversion takes some of the neighbours
    rgb = Picture(Layout.RGB, (planes.rgb(),))
    for picture in (planes, rgb):
        draw_outline(picture, SQUARE)
    line = np.isin(rgb.planes[0], (DARK, LIGHT)).all(axis=2)
    assert {DARK, LIGHT} == set(np.unique(rgb.planes[0][line]))
    assert np.abs(planes.rgb().astype(int) - rgb.planes[0])[line].max() <= 2


@settings(max_examples=200, deadline=None)
@given(
    layout=st.sampled_from(Layout),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    low=st.tuples(st.floats(-1, 1.5), st.floats(-1, 1.5)),
    extent=st.tuples(st.floats(0.001, 2), st.floats(0.001, 2)),
)
def test_any_crop_of_any_picture(layout, height, width, low, extent):
    crop = Crop(low[0], low[1], low[0] + extent[0], low[1] + extent[1])
    before = make_picture(layout, height, width, pad=3)
    after = make_picture(layout, height, width, pad=3)
    draw_outline(after, crop)
    for one, other in zip(after.planes, before.planes, strict=True):
        assert np.array_equal(padding(one), padding(other))
    y, x = np.flatnonzero(changed(before, after).any(axis=1)), np.flatnonzero(changed(before, after).any(axis=0))
    if not len(y):
        return
    # within the crop, but for what a chroma sample reaches beyond it, and for half a pixel
    assert y[0] + 2 > crop.top * height - 1
    assert y[-1] - 1 < crop.bottom * height + 1
    assert x[0] + 2 > crop.left * width - 1
    assert x[-1] - 1 < crop.right * width + 1


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("crop", [Crop(), Crop(-0.3, -0.1, 1.3, 1.1)], ids=str)
def test_a_crop_that_is_the_whole_picture_or_more_is_framed_at_its_border(layout, crop):
    before = black(layout, 60, 80)
    after = before.copy()
    draw_outline(after, crop)
    found = changed(before, after)
    assert found[:2].all()
    assert found[-2:].all()
    assert found[:, :2].all()
    assert found[:, -2:].all()
    assert not found[2:-2, 2:-2].any()


@pytest.mark.parametrize("crop", [Crop(1.2, 0, 1.5, 1), Crop(0, -0.5, 1, -0.1), Crop(0.5001, 0, 0.5002, 1)], ids=str)
def test_a_crop_without_a_pixel_is_not_framed(crop):
    before = black(Layout.I420, 60, 80)
    after = before.copy()
    draw_outline(after, crop)
    assert all(map(np.array_equal, before.planes, after.planes))


class TestPainter:
    def paint(self, painter: Painter, explained: bool, style: Style, size: tuple[int, int] = (90, 160)) -> np.ndarray:
        """Where a frame in the middle of the crop's left edge was drawn on, [width]."""
        before = black(Layout.I420, *size)
        frame = Frame(0, 0, Fraction(1, 25), before.copy())
        tube = Tube(np.zeros((1, 7, 7), np.float32), Span(0, 8), SQUARE, np.full((1, 7, 7), 1 / 49, np.float32), (0, 1))
        score = (ClassScore(0, "yoga", 0.9, 1.0),)
        explanation = Explanation(0, score, score, tube, Scale(0, 1), (0, 7), Fraction(1, 25))
        painter.paint(Placed(frame, ((explanation, 1.0),) if explained else (), 0.0), style)
        return np.asarray(changed(before, frame.picture)[size[0] // 2])

    def test_from_the_first_explanation_on_also_while_there_is_none(self):
        style = Style(frame=True)
        painter = Painter(HostPlace(), style)
        assert not self.paint(painter, False, style).any()
        for explained in (True, False):
            found = self.paint(painter, explained, style)
            assert np.flatnonzero(found).tolist() == [40, 41, 118, 119]
        painter.close()

    def test_not_on_frames_of_another_size_before_they_are_explained(self):
        style = Style(frame=True)
        painter = Painter(HostPlace(), style)
        self.paint(painter, True, style)
        assert not self.paint(painter, False, style, (60, 80)).any()
        painter.close()

    def test_only_where_it_was_asked_for_and_as_it_changes(self):
        painter = Painter(HostPlace(), Style())
        assert not self.paint(painter, True, Style()).any()
        assert self.paint(painter, False, Style(frame=True)).any()
        assert not self.paint(painter, True, Style()).any()
        painter.close()

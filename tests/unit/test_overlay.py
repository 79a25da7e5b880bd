"""The overlay's definition against the published scripts and independent arithmetic; what its tables say."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st
from pictures import make_picture
from saliency_tubes.engine.draw.overlay import Overlay, paths
from saliency_tubes.engine.draw.overlay_ref import overlay_ref
from saliency_tubes.engine.draw.style import PRESETS, Style, palette
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.geometry import axis_positions, axis_weights, blend_cells
from saliency_tubes.engine.picture import Color, Layout, Picture
from saliency_tubes.engine.saliency import Normalize, scale_of
from saliency_tubes.engine.spline import zoom_weights
from saliency_tubes.engine.types import Crop, Explanation, HostOutputs, Span, Tube
from stubs import even_pool

WHOLE = Crop()


def make_explanation(
    tube: np.ndarray, clip_length: int, normalize: Normalize, volume=None, crop: Crop = WHOLE, trusted=None
) -> Explanation:
    slices = len(tube)
    made = Tube(tube, Span(0, clip_length), crop, even_pool(tube), trusted or (0, slices))
    return Explanation(0, (), (), made, scale_of(made, normalize, volume), (0, clip_length - 1), Fraction(1, 25))


@pytest.mark.parametrize(("cells", "pixels"), [(7, 224), (7, 100), (8, 16), (2, 16), (1, 9), (32, 33)])
def test_spline_equals_scipy(cells, pixels):
    if cells == 1:
        assert np.array_equal(zoom_weights(1, pixels), np.ones((pixels, 1)))
        return
    # "mirror": scipy's default lets the last coordinate fall outside by a rounding step and then gives 0 there
    expected = scipy.ndimage.zoom(np.eye(cells), (pixels / cells, 1), order=3, mode="mirror")
    assert np.abs(zoom_weights(cells, pixels) - expected).max() < 1e-12


@given(cells=st.integers(1, 12), pixels=st.integers(1, 200), low=st.floats(-0.5, 0.9), extent=st.floats(0.05, 1.5))
def test_linear_axis_equals_interp(cells, pixels, low, extent):
    high = low + extent
    first, weights = axis_weights("linear", cells, low, high, pixels, False)
    centers = (np.arange(pixels) + 0.5) / pixels
    inside = centers[(centers * pixels >= low * pixels) & (centers * pixels < high * pixels)]
    assert len(weights) == len(inside)
    if len(inside):
        assert centers[first] == inside[0]
        values = np.random.default_rng(cells).random(cells)
        knots = low + (np.arange(cells) + 0.5) / cells * (high - low)
        expected = np.interp(inside, knots, values)
        if centers[0] < low:  # a pixel is cut off there: nothing stands on the crop's edge
            expected = np.minimum(expected, np.interp(inside, [low, knots[0]], [0, values[0]], right=np.inf))
        if not centers[-1] < high:
            expected = np.minimum(expected, np.interp(inside, [knots[-1], high], [values[-1], 0], left=np.inf))
        assert np.allclose(weights @ values, expected, atol=1e-9)


@given(cells=st.integers(1, 12), pixels=st.integers(1, 200), low=st.floats(-0.5, 0.9), extent=st.floats(0.05, 1.5))
def test_chroma_fades_as_luma_does(cells, pixels, low, extent):
    """All planes count the same zeros, and a chroma sample lies between the pixels that it covers."""
    (first, luma), (half, chroma) = (
        axis_positions("linear", cells, low, low + extent, pixels, subsampled) for subsampled in (False, True)
    )
    assert (np.diff(luma) >= -1e-12).all()
    for index, position in enumerate(chroma):
        covered = [2 * (half + index) - first + i for i in range(2)]
        inside = [luma[i] for i in covered if 0 <= i < len(luma)]
        if len(inside) == 2 or 2 * (half + index) == pixels - 1:
            assert min(inside) - 1e-9 <= position <= max(inside) + 1e-9


@given(cells=st.integers(1, 12), pixels=st.integers(1, 200), low=st.floats(-0.5, 0.9), extent=st.floats(0.05, 1.5))
def test_the_papers_geometry_takes_all_of_the_cells(cells, pixels, low, extent):
    _, weights = axis_weights("paper", cells, low, low + extent, pixels, False)
    assert np.allclose(weights.sum(axis=1), 1)


def evidence_of(inputs):
    return HostOutputs(np.zeros(1, np.float32), inputs["activation"]).evidence(inputs["weights"])


class TestGolden:
    """The published scripts' own outputs (../shared/golden)."""

    @pytest.fixture(params=["pytorch", "keras"])
    def case(self, request):
        folder = Path(__file__).resolve().parents[3] / "shared" / "golden"
        if not folder.is_dir():
            pytest.skip(f"the published scripts' outputs are not at {folder}")
        inputs = np.load(folder / "pytorch_script.npz")
        return inputs, np.load(folder / f"{request.param}_script.npz"), PRESETS[f"paper-{request.param}"], request.param

    def volume(self, inputs, style):
        cells = evidence_of(inputs)
        weakest = int(cells.max(axis=(1, 2)).argmin())  # the scripts scale by all slices, whichever can be trusted
        trusted = (weakest, weakest + 1)
        explanation = make_explanation(cells, 16, style.normalize, (16, 224, 224), trusted=trusted)
        return [blend_cells([(explanation, 1.0)], frame, "paper") for frame in range(16)]

    def test_cam(self, case):
        inputs, _, _, _ = case
        assert np.abs(evidence_of(inputs) - inputs["cam"]).max() <= 1e-4

    def test_volume(self, case):
        inputs, golden, style, _ = case
        zoom = zoom_weights(7, 224)
        volume = np.stack([zoom @ cells @ zoom.T for cells in self.volume(inputs, style)])
        assert np.abs(volume - golden["volume"]).max() <= 1e-4

    @pytest.mark.parametrize("path", ["definition", *paths()])
    def test_pictures(self, case, path):
        inputs, golden, style, name = case
        equal = []
        for frame, cells in enumerate(self.volume(inputs, style)):
            picture = Picture(Layout.RGB, (inputs["frames_bgr"][frame][..., ::-1].copy(),))
            if path == "definition":
                overlay_ref(picture, cells, Crop(), style)
            else:
                Overlay(style, path).draw(picture, cells, Crop())
            off = np.abs(picture.planes[0][..., ::-1].astype(int) - golden["heat_bgr"][frame])
            if name == "keras":  # at the threshold's own level the table cannot tell the two sides apart
                off[np.abs(golden["volume"][frame] - 0.2) <= 1 / 255] = 0
            assert off.max() <= 4
            equal.append((off == 0).mean())
        assert np.mean(equal) >= 0.995

    @pytest.fixture
    def focus_case(self, case):
        inputs, golden, _, name = case
        if name == "keras":
            pytest.skip("only the PyTorch script has a focus map")
        cells = evidence_of(inputs)
        style = PRESETS["focus"]
        explanation = make_explanation(cells, 16, style.normalize, (16, 224, 224))
        return [(explanation, 1.0)], inputs["frames_bgr"][..., ::-1], golden["focus"]

    def draw_focus(self, parts, frames, path):
        """The frames [T, H, W, 3] with the focus map drawn on them."""
        overlay, made = Overlay(PRESETS["focus"], "auto" if path == "definition" else path), []
        for index, frame in enumerate(frames):
            picture = Picture(Layout.RGB, (frame.copy(),))
            cells = overlay.blend(parts, index)
            if path == "definition":
                overlay_ref(picture, cells, Crop(), overlay.style)
            else:
                overlay.draw(picture, cells, Crop())
            made.append(picture.planes[0])
        return np.stack(made)

    @pytest.mark.parametrize("path", ["definition", *paths()])
    def test_focus_map(self, focus_case, path):
        """On white what is kept of the picture can be read: the script's alpha channel."""
        parts, frames, focus = focus_case
        drawn = self.draw_focus(parts, np.full_like(frames, 255), path)
        assert (drawn == drawn[..., :1]).all()
        off = np.abs(drawn[..., 0].astype(int) - focus)
        assert off.max() <= 1
        assert (off == 0).mean() >= 0.995
        assert {int(picture.min()) for picture in drawn} == {20}
        assert {int(picture.max()) for picture in drawn} == {255}

    @pytest.mark.parametrize("path", ["definition", *paths()])
    def test_focus_pictures(self, focus_case, path):
        """The script's picture, its alpha channel included, as it looks on black."""
        parts, frames, focus = focus_case
        expected = np.rint(frames * (focus[..., None] / 255))
        off = np.abs(self.draw_focus(parts, frames, path) - expected)
        assert off.max() <= 2  # one for the level, and one for what is kept, in 256ths
        assert (off <= 1).mean() >= 0.995
        assert off.mean() <= 0.1


def test_a_focus_map_is_of_each_frame_by_itself():
    tube = np.zeros((2, 4, 4), np.float32)
    tube[0, 0, 0], tube[1, 3, 3] = 1, 9
    parts = [(make_explanation(tube, 8, PRESETS["focus"].normalize, (8, 64, 64)), 1.0)]
    overlay = Overlay(PRESETS["focus"])
    weak, strong = (overlay.blend(parts, frame) for frame in (0, 7))
    assert np.allclose(weak, strong[::-1, ::-1])
    assert weak[0, 0] == pytest.approx(1)


def test_a_focus_map_fades_into_the_whole_picture():
    tube = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    parts = [(make_explanation(tube, 8, PRESETS["focus"].normalize, (8, 64, 64)), 1.0)]
    for layout in Layout:
        picture = make_picture(layout, 64, 64)
        before, overlay = picture.copy(), Overlay(PRESETS["focus"])
        overlay.draw(picture, overlay.blend(parts, 3, opacity=0.0), Crop())
        assert all(map(np.array_equal, picture.planes, before.planes))


def test_even_evidence_is_least_everywhere_in_a_focus_map():
    parts = [(make_explanation(np.ones((2, 4, 4), np.float32), 8, PRESETS["focus"].normalize, (8, 64, 64)), 1.0)]
    assert np.allclose(Overlay(PRESETS["focus"]).blend(parts, 3), 20 / 255)


@pytest.mark.parametrize("wrong", [{"geometry": "linear"}, {"add": True}])
def test_a_focus_map_is_one_look(wrong):
    with pytest.raises(UsageError, match="a focus map has the geometry paper"):
        replace(PRESETS["focus"], **wrong)


def test_palette_of_the_default_style():
    table = palette(Style(threshold=0.2, alpha=0.6), Layout.RGB, Color())
    assert table.first == 52  # level 51 is the threshold itself, where alpha is still 0
    assert np.all(table.keep[:52] == 1)
    assert np.allclose(table.keep[128:], 0.4)
    assert np.all(np.diff(table.keep) <= 1e-12)


def test_evidence_against_the_class_does_not_erode_its_neighbours():
    tube = np.zeros((1, 1, 3), np.float32)
    tube[0, 0] = [-100, 2, 1]
    explanation = make_explanation(tube, 8, Normalize())
    assert np.allclose(blend_cells([(explanation, 1.0)], 3), [[0, 1, 0.5]])


@pytest.mark.parametrize("path", ["definition", *paths()])
def test_what_is_beyond_the_scale_is_drawn_as_its_end(path):
    """A slice that padding spoils may hold more than the scale's: it is drawn as the strongest, and no stronger."""
    drawn = []
    for spike in (2, 6):
        tube = np.full((2, 3, 3), 0.5, np.float32)
        tube[0, 1, 1], tube[1, 0, 0] = 2, spike
        explanation = make_explanation(tube, 8, Normalize(), trusted=(0, 1))
        assert explanation.scale.high == 2
        picture = Picture(Layout.RGB, (np.full((60, 60, 3), 100, np.uint8),))
        if path == "definition":
            overlay_ref(picture, blend_cells([(explanation, 1.0)], 7), WHOLE, Style())
        else:
            overlay = Overlay(Style(), path)
            overlay.draw(picture, overlay.blend([(explanation, 1.0)], 7), WHOLE)
        drawn.append(picture.planes[0])
    assert np.array_equal(*drawn)
    assert (drawn[0][5, 5] != 100).any()


def test_infinite_evidence_is_none():
    tube = np.ones((2, 2, 2), np.float32)
    tube[0, 0, 0], tube[1, 1, 1] = np.inf, np.nan
    explanation = make_explanation(tube, 8, Normalize())
    cells = blend_cells([(explanation, 1.0)], 0)
    assert np.isfinite(cells).all()
    assert cells[0, 0] == 0
    assert cells[1, 1] == 1

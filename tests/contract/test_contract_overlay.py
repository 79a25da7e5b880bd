"""What every path of the overlay must do: one suite over all that this machine has."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import make_picture, may_be_off, padding
from saliency_tubes.engine.draw import overlay as overlay_module
from saliency_tubes.engine.draw.overlay import TITLES, Overlay, paths
from saliency_tubes.engine.draw.overlay_ref import overlay_ref
from saliency_tubes.engine.draw.style import COLORMAPS, PRESETS, Style
from saliency_tubes.engine.draw.style import colors as colors_of
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Layout, Picture
from saliency_tubes.engine.types import Crop

COMPILED = [path for path in paths() if path != "numpy"]

every_path = pytest.mark.parametrize("path", paths())
colored = st.builds(
    Style,
    colormap=st.sampled_from(sorted(COLORMAPS)),
    alpha=st.floats(0, 1),
    threshold=st.floats(0, 1),
    geometry=st.sampled_from(["linear", "linear", "paper"]),
    soft=st.booleans(),
    add=st.booleans(),
)
styles = st.one_of(colored, colored, st.builds(replace, st.just(PRESETS["focus"]), alpha=st.floats(0, 1)))
colors = st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans())
crops = st.sampled_from(
    [
        Crop(),
        Crop(0.2, 0, 0.8, 1),
        Crop(0.11, 0.07, 0.93, 0.61),
        Crop(0, 0.3, 0.7, 1),
        Crop(-0.3, 0, 1.3, 1),
        Crop(0.5, 0.5, 0.501, 0.501),
    ]
)
maps = st.tuples(st.integers(1, 32), st.integers(1, 32))


def make_map(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Evidence 0..1, rough or smooth, every fifth with cells that are no finite numbers."""
    rng = np.random.default_rng(seed)
    cells = rng.random(shape) ** 3 if seed % 2 else np.clip(rng.normal(0.5, 0.2, shape), 0, 1)
    if seed % 5 == 0:
        cells[rng.random(shape) < 0.2] = rng.choice([np.nan, np.inf, -np.inf])
    return cells


def assert_close(drawn: Picture, expected: Picture, cells: tuple[int, int] = (7, 7)) -> None:
    for one, other in zip(drawn.planes, expected.planes, strict=True):
        off = np.abs(one.astype(int) - other) > 2
        assert off.sum() <= may_be_off(off.shape, cells)


@settings(max_examples=200, deadline=None)
@given(
    layout=st.sampled_from(Layout),
    height=st.integers(1, 90),
    width=st.integers(1, 200),
    cells=maps,
    style=styles,
    color=colors,
    crop=crops,
    pad=st.sampled_from([0, 5]),
    seed=st.integers(0, 1000),
)
def test_every_path_equals_the_definition(layout, height, width, cells, style, color, crop, pad, seed):
    evidence = make_map(cells, seed)
    expected = make_picture(layout, height, width, seed, color, pad)
    overlay_ref(expected, np.where(np.isfinite(evidence), evidence, 0), crop, style)
    by_path = {}
    for path in paths():
        drawn = by_path[path] = make_picture(layout, height, width, seed, color, pad)
        between = [padding(plane).copy() for plane in drawn.planes]
        overlay = Overlay(style, path)
        overlay.draw(drawn, evidence, crop)
        assert_close(drawn, expected, cells)
        assert all(np.array_equal(padding(a), b) for a, b in zip(drawn.planes, between, strict=True))
        assert overlay.not_finite == np.count_nonzero(~np.isfinite(evidence))
    for path in COMPILED[1:]:
        for one, other in zip(by_path[path].planes, by_path[COMPILED[0]].planes, strict=True):
            assert np.array_equal(one, other), path


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2160, 3840), (479, 641), (1081, 1919)])
@pytest.mark.parametrize("layout", Layout)
def test_sizes(size, layout):
    evidence = make_map((7, 7), 1)
    expected = make_picture(layout, *size)
    overlay_ref(expected, evidence, Crop(), Style(alpha=1.0))
    drawn = {path: make_picture(layout, *size) for path in paths()}
    for path, picture in drawn.items():
        Overlay(Style(alpha=1.0), path).draw(picture, evidence, Crop())
        assert_close(picture, expected)
    for path in COMPILED[1:]:
        assert all(map(np.array_equal, drawn[path].planes, drawn[COMPILED[0]].planes))


@every_path
@pytest.mark.parametrize("layout", Layout)
def test_no_evidence_leaves_the_picture_untouched(layout, path):
    for weak in (np.zeros((7, 7)), np.full((7, 7), 0.19), np.full((7, 7), np.nan), np.full((7, 7), np.inf)):
        picture = make_picture(layout, 33, 57)
        before = picture.copy()
        Overlay(Style(), path).draw(picture, weak, Crop())
        assert all(np.array_equal(a, b) for a, b in zip(picture.planes, before.planes, strict=True))


@every_path
def test_only_the_crop_is_drawn_on(path):
    picture = make_picture(Layout.RGB, 40, 100)
    before = picture.copy()
    Overlay(Style(), path).draw(picture, np.ones((7, 7)), Crop(0.3, 0, 0.7, 1))
    changed = (picture.planes[0] != before.planes[0]).any(axis=(0, 2))
    assert not changed[:30].any()
    assert not changed[70:].any()
    assert changed[31:69].all()  # of the outermost two columns less than the threshold is left


@every_path
@pytest.mark.parametrize("cells", [(1, 1), (1, 4), (4, 1), (7, 7)], ids=str)
@pytest.mark.parametrize("crop", [Crop(0.25, 0, 0.75, 1), Crop(0, 0.105, 0.71, 1), Crop(-0.2, 0.2, 0.5, 1.2)], ids=str)
def test_evidence_falls_to_nothing_where_the_crop_cuts_the_picture(path, crop, cells):
    """Over half a cell, in a straight line; and holds at the picture's own border."""
    height, width = 80, 101
    picture = Picture(Layout.RGB, (np.zeros((height, width, 3), np.uint8),))
    style = Style(colormap="viridis", alpha=1.0, threshold=0.0, soft=False)
    Overlay(style, path).draw(picture, np.ones(cells), crop)

    def share(count: int, low: float, high: float, pixels: int) -> np.ndarray:
        """How much of the evidence is left at each pixel."""
        place = (np.arange(pixels) + 0.5) / pixels
        half_cell = (high - low) / count / 2
        from_low = (place - low) / half_cell if low > 0 else np.ones(pixels)
        from_high = (high - place) / half_cell if high < 1 else np.ones(pixels)
        return np.clip(np.minimum(from_low, from_high), 0, 1)

    expected = np.outer(share(cells[0], crop.top, crop.bottom, height), share(cells[1], crop.left, crop.right, width))
    shown = colors_of("viridis").astype(int)
    off = np.abs(picture.planes[0].astype(int)[:, :, None] - shown[None, None]).sum(axis=3)
    drawn = expected > 2 / 255
    assert off.min(axis=2)[drawn].max() <= 2  # what is drawn is a colour of the map
    level = off.argmin(axis=2)
    assert np.abs(level - 255 * expected)[drawn].max() <= 3
    assert not picture.planes[0][expected == 0].any()


@every_path
@pytest.mark.parametrize("style", [PRESETS["paper-pytorch"], PRESETS["paper-keras"]], ids=str)
def test_the_papers_geometry_does_not_fade(path, style):
    whole, part = (Picture(Layout.RGB, (np.zeros((side, side, 3), np.uint8),)) for side in (40, 80))
    evidence = make_map((7, 7), 1)
    Overlay(style, path).draw(whole, evidence, Crop())
    Overlay(style, path).draw(part, evidence, Crop(0.25, 0.25, 0.75, 0.75))
    assert np.array_equal(part.planes[0][20:60, 20:60], whole.planes[0])


@every_path
def test_planes_and_rgb_show_the_same_picture(path):
    """The same grey drawn on as I420 and as RGB: the colours agree after conversion."""
    luma = np.full((64, 64), 126, np.uint8)
    chroma = np.full((32, 32), 128, np.uint8)
    planes = Picture(Layout.I420, (luma, chroma, chroma.copy()), Color())
    rgb = Picture(Layout.RGB, (planes.rgb(),))
    cells = np.outer(np.linspace(0, 1, 7), np.ones(7))
    Overlay(Style(), path).draw(planes, cells, Crop())
    Overlay(Style(), path).draw(rgb, cells, Crop())
    off = np.abs(planes.rgb().astype(int) - rgb.planes[0])
    # rows change colour within a chroma sample, so the means agree closely and single samples less so
    assert off.mean() < 3


@pytest.mark.parametrize("path", COMPILED)
@pytest.mark.parametrize("style", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("layout", Layout)
def test_bands_make_no_difference(path, style, layout):
    evidence, threads = make_map((5, 9), 1), set()
    whole, banded = (make_picture(layout, 101, 67) for _ in range(2))
    Overlay(style, path).draw(whole, evidence, Crop(0.1, 0, 1, 0.9))
    with ThreadPoolExecutor(3, initializer=lambda: threads.add(threading.get_ident())) as pool:
        Overlay(style, path, bands=3, run=pool.map).draw(banded, evidence, Crop(0.1, 0, 1, 0.9))
    assert all(map(np.array_equal, whole.planes, banded.planes))
    assert threads


@every_path
def test_memory_that_cannot_be_drawn_on_is_refused(path):
    overlay = Overlay(Style(), path)
    picture = make_picture(Layout.RGB, 8, 8)
    for wrong in (np.ones(3), np.ones((2, 2, 2)), np.ones((0, 4))):
        with pytest.raises(ValueError, match=r"cells must be \[h, w\]"):
            overlay.draw(picture, wrong, Crop())
    picture.planes[0].flags.writeable = False
    with pytest.raises(ValueError, match="writable"):
        overlay.draw(picture, np.ones((2, 2)), Crop())


def test_a_path_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match=r"overlay must be one of auto, .*numpy, got 'cubist'$"):
        Overlay(Style(), "cubist")
    absent = "neon" if "neon" not in paths() else "avx2"
    with pytest.raises(UsageError, match="which is not to be had here"):
        Overlay(Style(), absent)


def test_without_the_compiled_module_it_draws_by_numpy_and_says_so(monkeypatch):
    monkeypatch.setattr(overlay_module, "_compiled", None)
    overlay = Overlay(Style())
    assert overlay.path == "numpy"
    assert "without a C++ compiler" in overlay.description


@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++, without which the package has no compiled part")
def test_where_there_is_a_compiler_the_module_was_compiled():
    assert "generic" in paths()
    assert set(paths()) <= set(TITLES)
    assert Overlay(Style()).path == paths()[0]

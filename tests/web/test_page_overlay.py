"""The page draws what the overlay draws: its modules, as they are shipped, in a real browser against the Python."""

from __future__ import annotations

import base64
from contextlib import closing
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import pytest
from browser import Page, needs_chromium
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pictures import make_picture
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.overlay_ref import overlay_ref
from saliency_tubes.engine.draw.style import COLORMAPS, Style, colors
from saliency_tubes.engine.geometry import blend_cells
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.saliency import Normalize, scale_of, smooth
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Scale, Span, Tube
from saliency_tubes.stream.app.demo import DEMO_CLIP
from saliency_tubes.stream.sources.open import open_source

pytestmark = needs_chromium
# One page is enough for all examples.
examples = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

DRAW = """(kind, width, height, rgb, cells, shape, crop, style, split) => {
  const { modules } = globalThis.saliencyTubes;
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const source = document.createElement("canvas");
  Object.assign(source, { width, height });
  source.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(bytes(rgb).buffer), width, height), 0, 0);
  const canvas = document.createElement("canvas");
  const painter = modules[kind][kind](canvas);
  const values = new Float32Array(bytes(cells).buffer);
  const given = { values, height: shape[0], width: shape[1], crop };
  const palette = modules.palette.paletteOf(style);
  painter.draw({ source, width, height, cells: given, palette, split, outline: null });
  const copy = document.createElement("canvas");
  const size = [canvas.width, canvas.height];
  Object.assign(copy, { width, height });
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  painter.free();
  const { data } = context.getImageData(0, 0, width, height);
  let text = "";
  for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
  return [...size, btoa(text)];
}"""


def coded(array: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def drawn_by(
    page: Page, kind: str, picture: Picture, cells: np.ndarray, crop: Crop, style: Style, split: float = 0.0
) -> np.ndarray:
    """What the page's painter makes of the picture: RGB."""
    rgba = np.dstack([picture.planes[0], np.full((picture.height, picture.width), 255, np.uint8)])
    box = [crop.left, crop.top, crop.right, crop.bottom]
    look = {name: getattr(style, name) for name in ("threshold", "alpha", "colormap", "soft", "add")}
    shape = list(cells.shape)
    width, height, data = page.run(
        DRAW, kind, picture.width, picture.height, coded(rgba), coded(cells.astype("<f4")), shape, box, look, split
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)[..., :3]


CROPS = [Crop(), Crop(0.2, 0, 0.8, 1), Crop(0.11, 0.07, 0.93, 0.61), Crop(0, 0.3, 0.7, 1), Crop(-0.3, 0, 1.3, 1)]


@pytest.mark.parametrize("kind", ["webgl", "canvas2d"])
@examples
@given(
    height=st.integers(8, 90),
    width=st.integers(8, 200),
    shape=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    crop=st.sampled_from(CROPS),
    style=st.builds(
        Style,
        colormap=st.sampled_from(sorted(COLORMAPS)),
        alpha=st.floats(0, 1),
        threshold=st.floats(0, 1),
        soft=st.booleans(),
        add=st.booleans(),
    ),
    seed=st.integers(0, 1000),
)
def test_the_page_draws_as_the_definition_says(
    modules: Page, kind: str, height: int, width: int, shape: tuple[int, int], crop: Crop, style: Style, seed: int
) -> None:
    picture = make_picture(Layout.RGB, height, width, seed)
    cells = np.random.default_rng(seed).random(shape) ** 2
    drawn = drawn_by(modules, kind, picture, cells, crop, style)
    overlay_ref(picture, cells, crop, style)
    off = np.abs(drawn.astype(int) - picture.planes[0]).max(axis=2)
    # Where a level rounds the other way, its whole cell may: with few cells, or one, that is many pixels.
    step = np.abs(np.diff(colors(style.colormap), axis=0)).max()
    hard = not style.soft
    assert (off > 2).mean() <= (0.02 if hard else 0.005)
    assert hard or off.max() <= 2 + step


@pytest.mark.parametrize("kind", ["webgl", "canvas2d"])
def test_the_page_draws_what_the_overlay_draws(modules: Page, kind: str) -> None:
    """Within 6 levels at 99 % of the pixels, though the overlay draws in the planes of a decoder."""
    with closing(open_source(str(DEMO_CLIP))) as source:
        decoded = next(islice(source, 40, None)).picture.copy()
    before = Picture(Layout.RGB, (decoded.rgb(),))
    cells, crop = np.random.default_rng(3).random((7, 7)), Crop(0.22, 0, 0.78, 1)
    Overlay(Style()).draw(decoded, cells, crop)
    drawn = drawn_by(modules, kind, before, cells, crop, Style())
    off = np.abs(drawn.astype(int) - decoded.rgb()).max(axis=2)
    assert (off <= 6).mean() >= 0.99
    assert np.abs(drawn.astype(int) - before.rgb()).max() > 60  # and there was something to draw


@pytest.mark.parametrize("kind", ["webgl", "canvas2d"])
def test_left_of_the_divider_the_picture_is_as_it_came(modules: Page, kind: str) -> None:
    picture = make_picture(Layout.RGB, 30, 100, 1)
    raw = picture.planes[0].copy()
    drawn = drawn_by(modules, kind, picture, np.ones((3, 3)), Crop(), Style(), split=0.4)
    changed = (drawn != raw).any(axis=(0, 2))
    assert not changed[:40].any()
    assert changed[40:].all()


def test_both_painters_draw_the_same(modules: Page) -> None:
    picture, cells = make_picture(Layout.RGB, 90, 160, 5), np.random.default_rng(5).random((4, 9))
    one, other = (drawn_by(modules, kind, picture, cells, CROPS[2], Style()) for kind in ("webgl", "canvas2d"))
    assert (np.abs(one.astype(int) - other) > 1).mean() < 0.002


def test_colour_maps_are_those_of_the_overlay(modules: Page) -> None:
    given_maps = modules.run(
        "() => { const { COLORMAP_NAMES, colorsOf } = saliencyTubes.modules.colormaps;"
        " return COLORMAP_NAMES.map((name) => [name, Array.from(colorsOf(name))]); }"
    )
    assert [name for name, _ in given_maps] == list(COLORMAPS)
    for name, numbers in given_maps:
        np.testing.assert_array_equal(np.reshape(numbers, (256, 3)), np.rint(colors(name)))


# numbers alone


def window(number: int, start: int, seed: int, *, shape: tuple[int, int, int] = (4, 3, 5)) -> Explanation:
    evidence = np.random.default_rng(seed).normal(0.5, 2, shape).astype(np.float32)
    tube = Tube(evidence, Span(start, 16, 2), Crop(0.1, 0, 0.9, 1), np.full(shape, 1 / evidence.size), (1, 3))
    score = ClassScore(7, "seven", 0.5, 1.0)
    scale = scale_of(tube, Normalize())
    return Explanation(number, (score,), (score,), tube, scale, (start, start + 30), Fraction(1, 25))


def as_message(explanation: Explanation) -> dict[str, Any]:
    """As the page has it after reading; numbers in lists."""
    tube, span, crop = explanation.tube, explanation.tube.span, explanation.tube.crop
    return {
        "n": explanation.window,
        "start": span.start,
        "clip_length": span.clip_length,
        "stride": span.stride,
        "shape": tube.evidence.shape,
        "crop": [crop.left, crop.top, crop.right, crop.bottom],
        "trusted": tube.trusted,
        "t": [float(pts * explanation.time_base) for pts in explanation.pts],
        "explained": [{"id": score.id, "name": score.name} for score in explanation.explained],
        "top": [],
        "low": explanation.scale.low,
        "high": explanation.scale.high,
        "tube": tube.evidence.ravel().tolist(),
    }


BLEND = """(messages, parts, at, opacity, question) => {
  const { Windows } = saliencyTubes.modules.windows;
  const { blend, Scales } = saliencyTubes.modules.evidence;
  const windows = new Windows();
  for (const message of messages) {
    const tube = Float32Array.from(message.tube);
    windows.addWindow({ ...message, tube, evidence: new Map([[7, tube]]) });
  }
  const cells = blend(parts, at, opacity, windows, question, new Scales());
  return cells && [cells.height, cells.width, Array.from(cells.values)];
}"""
STREAMS = {"explain": None, "against": None, "normalize": {"mode": "positive"}, "asServer": True, "smoothed": False}


@examples
@given(
    at=st.floats(-10, 60),
    share=st.floats(0, 1),
    opacity=st.floats(0, 1),
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 8), st.integers(1, 7), st.integers(1, 7)),
)
def test_evidence_at_a_frame_is_blended_as_it_is_for_the_overlay(
    modules: Page, at: float, share: float, opacity: float, seed: int, shape: tuple[int, int, int]
) -> None:
    parts = [(window(0, 0, seed, shape=(*shape[:1], *shape[1:])), 1 - share)] if shape[0] >= 3 else []
    parts += [(window(1, 12, seed + 1, shape=(max(3, shape[0]), *shape[1:])), share if parts else 1.0)]
    named = [[part.window, weight] for part, weight in parts]
    height, width, values = modules.run(BLEND, [as_message(part) for part, _ in parts], named, at, opacity, STREAMS)
    np.testing.assert_allclose(np.reshape(values, (height, width)), opacity * blend_cells(parts, at), atol=1e-6)


@pytest.mark.parametrize("text", ["positive", "volume", "fixed:-1:2.5"])
def test_scales_are_those_of_the_overlay_and_smoothed_as_they_are(modules: Page, text: str) -> None:
    normalize, windows = Normalize.parse(text), [window(n, 8 * n, n) for n in range(5)]
    previous: Scale | None = None
    for explanation in windows:
        previous = smooth(previous, scale_of(explanation.tube, normalize))
    asked = modules.run(
        """(messages, text, smoothed) => {
          const { modules } = saliencyTubes;
          const windows = new modules.windows.Windows();
          for (const message of messages) {
            const tube = Float32Array.from(message.tube);
            windows.addWindow({ ...message, tube, evidence: new Map([[7, tube]]) });
          }
          const normalize = modules.scale.parseNormalize(text);
          const question = { explain: 7, against: null, normalize, asServer: false, smoothed };
          const { low, high } = new modules.evidence.Scales().of(windows.newest, windows, question);
          return [low, high, modules.scale.showNormalize(normalize)];
        }""",
        [as_message(explanation) for explanation in windows],
        text,
        True,
    )
    assert previous is not None
    assert asked[:2] == pytest.approx([previous.low, previous.high], rel=1e-6)
    assert asked[2] == text


@pytest.mark.parametrize("text", ["", "top", "fixed", "fixed:1", "fixed:2:1", "fixed:a:b", "positive:1", "fixed::"])
def test_a_normalisation_that_is_none(modules: Page, text: str) -> None:
    assert modules.run("(text) => saliencyTubes.modules.scale.parseNormalize(text)", text) is None

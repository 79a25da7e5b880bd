"""The compiled module: nothing it is given wrongly may reach memory."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.draw.fixed import cubic_cells, cubic_taps, linear_columns, linear_rows, table
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.geometry import blend_cells
from saliency_tubes.engine.picture import Color, Layout
from saliency_tubes.engine.saliency import Normalize, scale_of
from saliency_tubes.engine.types import Crop, Explanation, Span, Tube
from stubs import even_pool

_overlay = pytest.importorskip("saliency_tubes.engine._overlay", reason="installed without a C++ compiler")

TABLE = table(Style(), Layout.RGB, Color())


def arguments(**changes):
    """What draws 3x4 cells on the whole of a plane of 6x8 RGB pixels, but for `changes`."""
    given = {
        "path": 0,
        "plane": np.full((6, 8, 3), 100, np.uint8),
        "top": 0,
        "left": 0,
        "rows": linear_rows(np.linspace(0, 2, 6), 3),
        "columns": linear_columns(np.linspace(0, 3, 8), 4),
        "channel": 0,
        "cells": np.ones((3, 4), np.float32),
        "table": TABLE,
        "band": 0,
        "bands": 1,
    } | changes
    planes = given.get("planes", (given["plane"],))
    place = tuple(given[name] for name in ("top", "left", "rows", "columns", "channel"))
    places = given.get("places", (place,))
    return given["path"], planes, places, given["cells"], given["table"], given["band"], given["bands"]


def read_only():
    plane = np.zeros((6, 8, 3), np.uint8)
    plane.flags.writeable = False
    return plane


def with_table(**fields):
    made = TABLE.copy()
    for name, value in fields.items():
        made[name] = value
    return made


WRONG = {
    "no such path": {"path": 9},
    "negative path": {"path": -1},
    "int8 plane": {"plane": np.zeros((6, 8, 3), np.int8)},
    "float plane": {"plane": np.zeros((6, 8, 3), np.float32)},
    "flat plane": {"plane": np.zeros(144, np.uint8)},
    "four channels": {"plane": np.zeros((6, 8, 4), np.uint8)},
    "read-only plane": {"plane": read_only()},
    "upside down": {"plane": np.zeros((6, 8, 3), np.uint8)[::-1]},
    "mirrored": {"plane": np.zeros((6, 8, 3), np.uint8)[:, ::-1]},
    "every second column": {"plane": np.zeros((6, 16, 3), np.uint8)[:, ::2]},
    "BGR seen as RGB": {"plane": np.zeros((6, 8, 3), np.uint8)[..., ::-1]},
    "overlapping rows": {"plane": np.lib.stride_tricks.as_strided(np.zeros(99, np.uint8), (6, 8, 3), (8, 3, 1))},
    "no array": {"plane": [[1, 2], [3, 4]]},
    "small plane": {"plane": np.zeros((5, 8, 3), np.uint8)},
    "crop beyond the top": {"top": -1},
    "crop beyond the bottom": {"top": 1},
    "crop beyond the right": {"left": 1},
    "crop far beyond": {"left": 2**31 - 1},
    "float64 cells": {"cells": np.ones((3, 4))},
    "flat cells": {"cells": np.ones(12, np.float32)},
    "no cells": {"cells": np.ones((0, 4), np.float32)},
    "too many cells": {"cells": np.ones((1, 1027), np.float32)},
    "cells of another size": {"cells": np.ones((3, 3), np.float32)},
    "fewer rows of cells": {"cells": np.ones((2, 4), np.float32)},
    "strided cells": {"cells": np.ones((3, 8), np.float32)[:, ::2]},
    "coefficients with linear places": {"cells": np.ones((3, 4), np.int32)},
    "cubic places with evidence": {"rows": cubic_taps(np.linspace(0, 2, 6), 3)},
    "signed places": {"rows": np.zeros((2, 6), np.int16)},
    "three-row places": {"columns": np.zeros((3, 8), np.uint16)},
    "half a table": {"table": np.zeros(100, np.uint8)},
    "a table for ten bits": {"table": table(Style(), Layout.I420, Color(), bits=10)},
    "a first level that is none": {"table": with_table(first=-1)},
    "a table that overflows": {"table": with_table(keep=1 << 30)},
    "channel beyond the table": {"channel": 1},
    "negative channel": {"channel": -1},
    "a band beyond the last": {"band": 1},
    "a negative band": {"band": -1},
    "no bands": {"bands": 0},
    "no planes": {"planes": (), "places": ()},
    "four planes": {"planes": (np.zeros((6, 8), np.uint8),) * 4},
    "planes in a list": {"planes": [np.zeros((6, 8, 3), np.uint8)]},
    "no place": {"places": ()},
    "half a place": {"places": ((0, 0),)},
    "a place that is none": {"places": (None,)},
    "a number that is none": {"top": "0"},
    "a number beyond int": {"top": 2**40},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_arguments_are_refused(wrong):
    given = arguments(**wrong)
    planes = [plane for plane in given[1] if isinstance(plane, np.ndarray)]
    before = [plane.copy() for plane in planes]
    with pytest.raises((ValueError, TypeError, BufferError, OverflowError)) as caught:
        _overlay.draw(*given)
    assert str(caught.value)
    assert all(map(np.array_equal, planes, before))


@pytest.mark.parametrize("style", PRESETS.values(), ids=PRESETS)
@pytest.mark.parametrize("layout", Layout)
def test_bytes_say_what_integers_say(style, layout):
    """For every level that draws and every sample."""
    made = table(style, layout, Color())
    samples = np.arange(256)
    keep = made["keep"][:, None]
    for channel in range(3):
        exact = keep * samples + made["offset"][channel][:, None] >> 8
        if made["bytes"]:
            small = made["add8"][channel][:, None].astype(int) + (keep * (samples - 128) >> 8)
            drawn = slice(int(made["first"]), None)
            assert np.array_equal(exact[drawn], small[drawn])
            assert exact[drawn].min(initial=0) >= 0
            assert exact[drawn].max(initial=0) <= 255
            assert np.array_equal(made["keep"][drawn], made["keep8"][drawn])
        else:
            assert style.add or style.focus


@given(st.integers(1, 32), st.lists(st.floats(0, 1), max_size=50))
def test_places_say_where(cells, shares):
    positions = np.array(shares) * (cells - 1)
    columns, rows = linear_columns(positions, cells).astype(int), linear_rows(positions, cells).astype(int)
    assert np.abs(columns[0] + columns[1] / 65536 - positions).max(initial=0) <= 2**-17
    assert np.abs((rows[0] + rows[1] / 32768) / 2 - positions).max(initial=0) <= 2**-17
    assert (columns[1][columns[0] == cells - 1] == 0).all()
    taps = cubic_taps(positions, cells).astype(int)
    assert taps[:4].max(initial=0) < cells
    assert (taps[4:].sum(axis=0) == 32768).all()


def test_coefficients_of_a_constant_are_the_constant():
    assert np.array_equal(cubic_cells(np.full((5, 7), 0.5)), np.full((5, 7), 32640))


def explanation(rng: np.random.Generator, slices: int, shape: tuple[int, int]) -> Explanation:
    evidence = rng.normal(size=(slices, *shape)).astype(np.float32) * 5
    if rng.random() < 0.3:
        evidence[rng.random(evidence.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    tube = Tube(evidence, Span(int(rng.integers(0, 9)), 16), Crop(), even_pool(evidence), (0, slices))
    return Explanation(0, (), (), tube, scale_of(tube, Normalize()), (0, 15), Fraction(1, 25))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 3), st.floats(-10, 40), st.floats(0, 1))
def test_blending_equals_its_definition(seed, slices, parts, frame, opacity):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 9)), int(rng.integers(1, 9)))
    shares = rng.dirichlet(np.ones(parts))
    made = [(explanation(rng, slices, shape), float(share)) for share in shares]
    expected = opacity * blend_cells(made, frame)
    cells = Overlay(Style(), "generic").blend(made, frame, opacity)
    assert np.abs(cells - expected).max() < 2e-5


@pytest.mark.parametrize(
    "part",
    [
        (np.zeros((2, 3, 3), np.float32), 0, 0.0, 0.0, 1.0, 0.0, 1.0),
        (np.zeros((2, 3, 4), np.float32), 2, 0.0, 0.0, 1.0, 0.0, 1.0),
        (np.zeros((2, 3, 4), np.float32), -1, 0.0, 0.0, 1.0, 0.0, 1.0),
        (np.zeros((2, 3, 4)), 0, 0.0, 0.0, 1.0, 0.0, 1.0),
        (np.zeros((3, 4), np.float32), 0, 0.0, 0.0, 1.0, 0.0, 1.0),
        (np.zeros((2, 3, 4), np.float32), 0),
        None,
    ],
)
def test_wrong_parts_are_refused(part):
    with pytest.raises((ValueError, TypeError)):
        _overlay.blend([part], np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="16 parts"):
        _overlay.blend([part] * 17, np.zeros((3, 4), np.float32))

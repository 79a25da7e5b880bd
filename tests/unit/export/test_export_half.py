"""Rounding weights to float16."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="export needs torch")

from saliency_tubes.export.half import round_to_half


@given(st.integers(0, 2**32 - 1), st.floats(1e-7, 100), st.integers(1, 300))
def test_each_value_is_within_one_step_and_each_sum_is_kept(seed, scale, size):
    weights = np.random.default_rng(seed).normal(0, scale, (3, size)).astype(np.float32)
    half = round_to_half(weights)
    values = weights.astype(np.float64)
    nearest = weights.astype(np.float16).astype(np.float64)
    step = np.spacing(np.abs(weights.astype(np.float16)) * np.float16(1)).astype(np.float64)
    assert half.dtype == np.float16
    assert (np.abs(half - values) <= step).all()
    kept, plain = (np.abs((rounded - values).sum(axis=1)) for rounded in (half.astype(np.float64), nearest))
    assert (kept <= np.maximum(step.max(axis=1), plain)).all()
    assert (kept <= plain + 1e-12).all()


def test_what_float16_holds_is_left_alone():
    weights = np.random.default_rng(0).normal(size=(8, 4, 3, 3, 3)).astype(np.float16)
    np.testing.assert_array_equal(round_to_half(weights.astype(np.float32)), weights)
    np.testing.assert_array_equal(round_to_half(np.zeros((2, 3), np.float32)), 0)


def test_sums_of_filters_survive_where_plain_rounding_drifts():
    weights = np.random.default_rng(1).normal(0, 0.02, (64, 192, 3, 3, 3)).astype(np.float32)
    total = weights.sum(axis=(1, 2, 3, 4), dtype=np.float64)
    kept = np.abs(round_to_half(weights).sum(axis=(1, 2, 3, 4), dtype=np.float64) - total).max()
    plain = np.abs(weights.astype(np.float16).sum(axis=(1, 2, 3, 4), dtype=np.float64) - total).max()
    assert kept < plain / 20


def test_values_beyond_float16_are_refused():
    with pytest.raises(ValueError, match="65504, got 70000"):
        round_to_half(np.array([[1.0, -70000.0]], np.float32))

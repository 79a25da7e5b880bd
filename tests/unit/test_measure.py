"""Numbers about tubes made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.measure import FINENESS, boxes, centroids, peak, shares
from saliency_tubes.engine.types import Crop, Scale, Span, Tube
from scipy.ndimage import label
from stubs import even_pool

SIZE = (700, 350)
SPAN, WHOLE = Span(10, 16, 2), Crop()


def tube_of(cells: object, crop: Crop = WHOLE, pool: object = None, span: Span = SPAN) -> Tube:
    values = np.asarray(cells, np.float32)
    parts = even_pool(values) if pool is None else np.broadcast_to(np.asarray(pool, np.float32), values.shape)
    return Tube(values, span, crop, parts, (0, len(values)))


def one_cell(t: int, y: int, x: int, value: float = 5.0, shape: tuple[int, int, int] = (4, 7, 7)) -> np.ndarray:
    cells = np.zeros(shape, np.float32)
    cells[t, y, x] = value
    return cells


tubes = st.builds(
    lambda seed, shape, crop: tube_of(np.random.default_rng(seed).normal(0, 2, shape), crop),
    st.integers(0, 9999),
    st.tuples(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7)),
    st.sampled_from([Crop(), Crop(0.25, 0, 0.75, 1), Crop(-0.5, 0, 1.5, 1), Crop(0, -0.2, 1, 1.2)]),
)


class TestPeak:
    def test_whole_frame(self):
        found = peak(tube_of(one_cell(2, 1, 5)), SIZE)
        # 4 slices of 16 samples, 2 frames apart, from frame 10 on: slice 2 is of samples 8 to 11, frames 26 to 32
        assert (found.slice, found.frame, found.evidence) == (2, 29, 5)
        assert (found.x, found.y) == (pytest.approx(550), pytest.approx(75))

    def test_crop(self):
        found = peak(tube_of(one_cell(0, 3, 3), Crop(0.5, 0, 1, 0.5)), SIZE)
        assert (found.x, found.y) == (pytest.approx(525), pytest.approx(87.5))

    def test_all_against_the_class(self):
        cells = np.full((2, 2, 2), -3, np.float32)
        cells[1, 0, 1] = -1
        found = peak(tube_of(cells), SIZE)
        assert (found.slice, found.evidence) == (1, -1)

    def test_what_is_not_a_number_is_no_peak(self):
        cells = one_cell(1, 1, 1)
        cells[0, 0, 0], cells[0, 0, 1] = np.nan, np.inf
        assert peak(tube_of(cells), SIZE).slice == 1

    @given(tubes)
    def test_it_is_the_strongest_and_lies_in_its_cell(self, tube):
        found = peak(tube, SIZE)
        assert found == peak(tube, SIZE, all_slices=True)  # all can be trusted
        slices, height, width = tube.evidence.shape
        assert found.evidence == tube.evidence.max()
        across = (found.x / SIZE[0] - tube.crop.left) / (tube.crop.right - tube.crop.left) * width
        down = (found.y / SIZE[1] - tube.crop.top) / (tube.crop.bottom - tube.crop.top) * height
        assert tube.evidence[found.slice, int(down), int(across)] == found.evidence
        assert found.frame == tube.span.slice_center(found.slice, slices)

    def test_a_spike_in_a_spoiled_corner(self):
        cells = one_cell(2, 1, 5)
        cells[3, 0, 6], cells[0, 6, 0] = 15, 14
        tube = replace(tube_of(cells), trusted=(1, 3))
        assert peak(tube, SIZE) == peak(tube_of(one_cell(2, 1, 5)), SIZE)
        assert peak(tube, SIZE, all_slices=True) == peak(tube_of(cells), SIZE)
        assert peak(tube, SIZE, all_slices=True).slice == 3

    @settings(deadline=None)
    @given(tubes, st.data())
    def test_only_slices_that_can_be_trusted_move_it(self, tube, data):
        slices = len(tube.evidence)
        first = data.draw(st.integers(0, slices - 1))
        tube = replace(tube, trusted=(first, data.draw(st.integers(first + 1, slices))))
        found, spike = peak(tube, SIZE), np.float32(abs(tube.evidence).max() + 1)
        for index in range(slices):
            other = tube.evidence.copy()
            other[index, 0, 0] = spike
            moved, trusted = replace(tube, evidence=other), first <= index < tube.trusted[1]
            highest = peak(moved, SIZE, all_slices=True)
            assert (highest.slice, highest.evidence) == (index, spike)
            assert peak(moved, SIZE) == (highest if trusted else found)


class TestCentroids:
    def test_between_two_cells_by_their_weight(self):
        cells = np.zeros((2, 1, 7), np.float32)
        cells[0, 0, 0], cells[0, 0, 6] = 1, 3
        first, second = centroids(tube_of(cells), SIZE)
        assert first == (pytest.approx((50 * 1 + 650 * 3) / 4), pytest.approx(175))
        assert second is None

    def test_evidence_against_does_not_pull(self):
        cells = one_cell(0, 3, 3, shape=(1, 7, 7))
        cells[0, 0, 0] = -100
        assert centroids(tube_of(cells), SIZE) == [(pytest.approx(350), pytest.approx(175))]

    @given(tubes)
    def test_against_plain_sums(self, tube):
        _, height, width = tube.evidence.shape
        for cells, center in zip(tube.evidence, centroids(tube, SIZE), strict=True):
            total = sum(max(0.0, float(value)) for value in cells.flat)
            if not total:
                assert center is None
                continue
            x = sum(max(0.0, float(cells[i, j])) * (j + 0.5) for i in range(height) for j in range(width))
            y = sum(max(0.0, float(cells[i, j])) * (i + 0.5) for i in range(height) for j in range(width))
            crop = tube.crop
            assert center[0] == pytest.approx(SIZE[0] * (crop.left + x / total / width * (crop.right - crop.left)))
            assert center[1] == pytest.approx(SIZE[1] * (crop.top + y / total / height * (crop.bottom - crop.top)))


class TestShares:
    def test_uneven_weights(self):
        cells = np.ones((3, 2, 2), np.float32)
        assert shares(tube_of(cells, pool=[[[1 / 16]], [[1 / 8]], [[1 / 16]]])) == pytest.approx([0.25, 0.5, 0.25])
        cells[1] = -1
        assert shares(tube_of(cells, pool=[[[0.05]], [[0.125]], [[0.075]]])) == pytest.approx([0.4, 0, 0.6])

    def test_uneven_cells(self):
        """Evidence counts as much as its place does: the same in two slices, in places of different weight."""
        cells = np.zeros((2, 1, 2), np.float32)
        cells[0, 0, 0] = cells[1, 0, 1] = 3
        assert shares(tube_of(cells, pool=[[[0.1, 0.4]], [[0.1, 0.4]]])) == pytest.approx([0.2, 0.8])

    def test_none(self):
        for cells in (np.zeros((2, 2, 2)), np.full((2, 2, 2), -1), np.full((2, 2, 2), np.nan)):
            assert shares(tube_of(cells)) == [0, 0]

    @given(tubes)
    def test_they_sum_to_one(self, tube):
        found = shares(tube)
        assert all(0 <= share <= 1 for share in found)
        assert sum(found) == pytest.approx(1 if tube.evidence.max() > 0 else 0)


class TestBoxes:
    def test_one_cell(self):
        """A cell alone is interpolated to a tent: at half height it is as wide as the cell, in each direction."""
        (found,) = boxes(tube_of(one_cell(0, 3, 3, shape=(1, 7, 7))), Scale(0, 5), 0.5, SIZE)
        (box,) = found
        # the tent's sides pass through the cell's edges; the grid is finer by FINENESS, so its samples lie just within
        assert box == (300, 150, 400, 200)

    def test_lower_threshold_larger_box(self):
        tube = tube_of(one_cell(0, 3, 3, shape=(1, 7, 7)))
        areas = []
        for threshold in (0.8, 0.7, 0.5, 0.3, 0.1):
            ((box,),) = boxes(tube, Scale(0, 5), threshold, SIZE)
            areas.append((box[2] - box[0]) * (box[3] - box[1]))
        assert areas == sorted(areas)
        assert len(set(areas)) == 5

    def test_a_threshold_near_one_still_finds_the_strongest_cell(self):
        tube = tube_of(one_cell(0, 3, 3, shape=(1, 7, 7)))
        ((box,),) = boxes(tube, Scale(0, 5), 0.95, SIZE)
        assert box[0] < 350 < box[2]
        assert box[1] < 175 < box[3]

    def test_two_things_largest_first(self):
        cells = one_cell(0, 0, 0, shape=(1, 7, 7))
        cells[0, 4:7, 4:7] = 5
        (found,) = boxes(tube_of(cells), Scale(0, 5), 0.5, SIZE)
        assert len(found) == 2
        assert found[0] == (400, 200, 700, 350)
        assert found[1] == (0, 0, 100, 50)

    def test_the_crop_moves_and_scales(self):
        cells = np.full((1, 2, 2), 5, np.float32)
        assert boxes(tube_of(cells, Crop(0.25, 0.5, 0.75, 1)), Scale(0, 5), 0.5, (100, 80)) == [[(25, 40, 75, 80)]]

    def test_letterbox_is_cut_at_the_frame(self):
        cells = np.full((1, 4, 4), 5, np.float32)
        assert boxes(tube_of(cells, Crop(0, -0.5, 1, 1.5)), Scale(0, 5), 0.5, (100, 80)) == [[(0, 0, 100, 80)]]
        bars = np.zeros((1, 8, 8), np.float32)
        bars[0, 0] = 5  # evidence in the bar only
        assert boxes(tube_of(bars, Crop(0, -0.5, 1, 1.5)), Scale(0, 5), 0.5, (100, 80)) == [[]]

    def test_nothing_strong(self):
        assert boxes(tube_of(np.zeros((2, 3, 3))), Scale(0, 1), 0.2, SIZE) == [[], []]
        assert boxes(tube_of(np.full((1, 3, 3), np.nan)), Scale(0, 1), 0.2, SIZE) == [[]]

    @settings(max_examples=60, deadline=None)
    @given(tubes, st.floats(0.05, 0.95))
    def test_against_a_plain_flood_fill(self, tube, threshold):
        scale = Scale(0, max(1.0, float(tube.evidence.max())))
        found = boxes(tube, scale, threshold, SIZE)
        assert found == boxes(tube, scale, threshold, SIZE)
        _, height, width = tube.evidence.shape
        for cells, seen in zip(tube.evidence, found, strict=True):
            scaled = np.clip(cells.astype(np.float64) / scale.high, 0, 1)
            rows = (np.arange(height * FINENESS) + 0.5) / FINENESS - 0.5
            columns = (np.arange(width * FINENESS) + 0.5) / FINENESS - 0.5
            across = np.stack([np.interp(columns, np.arange(width), row) for row in scaled])
            fine = np.stack([np.interp(rows, np.arange(height), column) for column in across.T], axis=1)
            if (np.abs(fine - threshold) < 1e-9).any():
                continue
            _, count = label(fine >= threshold, np.ones((3, 3)))
            inside = tube.crop.left >= 0 and tube.crop.top >= 0
            assert len(seen) == count if inside else len(seen) <= count
            for left, top, right, bottom in seen:
                assert 0 <= left < right <= SIZE[0]
                assert 0 <= top < bottom <= SIZE[1]
            areas = [(right - left) * (bottom - top) for left, top, right, bottom in seen]
            assert areas == sorted(areas, reverse=True)

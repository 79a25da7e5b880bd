"""The tube against independent sums: evidence, completeness, targets and scales."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from saliency_tubes.engine.runtimes.base import run_one
from saliency_tubes.engine.saliency import (
    Normalize,
    Target,
    make_explanation,
    parse_target,
    pooled,
    run_target,
    scale_of,
    scores,
    smooth,
    softmax,
    top_classes,
)
from saliency_tubes.engine.types import Clip, Crop, Explanation, HostOutputs, HostSample, Outputs, Scale, Span, Tube
from scipy.ndimage import zoom
from stubs import even_pool

LABELS = ("abseiling", "juggling balls", "juggling fire", "yoga", "tossing: salad", "7")


class Head:
    """A synthetic network's last layers: pool (weighted by cell) and a linear layer, in float64. Runs as a Runner."""

    clip_length, batch, description = 8, 1, "head"

    def __init__(self, seed: int, classes: int, channels: int, cells: tuple[int, int, int], even: bool = True) -> None:
        rng = np.random.default_rng(seed)
        self.weights = rng.normal(0, 1, (classes, channels)).astype(np.float32)
        self.bias = rng.normal(0, 1, classes).astype(np.float32)
        self.activation = rng.normal(0, 2, (channels, *cells)).astype(np.float32)
        parts = rng.random(cells[0]) + 0.05
        self.slice_weights = tuple(float(part) for part in parts / parts.sum())
        places = np.full(cells[1:], 1 / (cells[1] * cells[2])) if even else rng.random(cells[1:]) + 0.05
        places /= places.sum()
        self.cell_weights = () if even else tuple(map(tuple, places.tolist()))
        self.pool = np.einsum("t,hw->thw", self.slice_weights, places)
        means = np.einsum("kthw,thw->k", self.activation.astype(np.float64), self.pool)
        self.logits = (self.weights @ means + self.bias).astype(np.float32)
        self.asked: list[int | None] = []

    def run(self, clips: np.ndarray, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        self.asked += class_ids or [None] * len(clips)
        return [self.outputs] * len(clips)

    def explain(self, target: Target, classes: int = 0) -> Explanation:
        outputs, weights = run_target(partial(run_one, self), self.manifest.head, CLIP, target)
        about = (self.manifest, CLIP, target)
        return make_explanation(outputs, weights, *about, window=0, normalize=Normalize(), classes=classes)

    @property
    def outputs(self) -> Outputs:
        return HostOutputs(self.logits, self.activation)

    @property
    def manifest(self) -> Manifest:
        window = WindowSpec(self.slice_weights, (0, len(self.slice_weights)), self.cell_weights)
        labels = tuple(f"class {i}" for i in range(len(self.bias)))
        spec = InputSpec((4, 4), (0, 0, 0), (1, 1, 1), "stretch")
        head, channels = LinearHead(self.weights, self.bias), self.weights.shape[1]
        return Manifest("m", "M", "MIT", spec, {8: window}, 8, labels, "tail", channels, head)


class Gradient(Head):
    """The same where the graph gives the weights: here some numbers for each class, the top class's for None."""

    def run(self, clips: np.ndarray, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        wanted = class_ids or [None] * len(clips)
        self.asked += wanted
        rows = (self.weights[self.top if one is None else one] for one in wanted)
        return [HostOutputs(self.logits, self.activation, row) for row in rows]

    @property
    def top(self) -> int:
        return int(np.argmax(self.logits))

    @property
    def manifest(self) -> Manifest:
        outputs = {name: name for name in ("logits", "activation", "weights")}
        return dataclasses.replace(super().manifest, head=None, outputs=outputs)


heads = st.builds(
    Head,
    seed=st.integers(0, 10_000),
    classes=st.integers(2, 9),
    channels=st.integers(1, 20),
    cells=st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    even=st.booleans(),
)
BLACK = HostSample(np.zeros((4, 4, 3), np.uint8))
CLIP = Clip((BLACK,) * 8, Span(16, 8, 2), Crop(0.1, 0, 0.9, 1), (16, 30), Fraction(1, 25), 3)


def tube_of(cells: object) -> Tube:
    values = np.asarray(cells, np.float32)
    return Tube(values, Span(0, 8), Crop(), even_pool(values), (0, len(values)))


@given(heads)
def test_evidence_is_the_weighted_sum_of_channels(head):
    for weights in head.weights:
        expected = np.einsum("k,kthw->thw", weights.astype(np.float64), head.activation)
        got = head.outputs.evidence(weights)
        assert got.dtype == np.float32
        assert np.allclose(got, expected, atol=1e-4)


@given(heads)
def test_completeness(head):
    """For a linear head the pooled tube and the bias ARE the logit, whatever each slice and each place counts."""
    for index in range(len(head.bias)):
        tube = head.explain(Target(index)).tube
        assert np.allclose(tube.pool, head.pool, rtol=1e-5)
        assert pooled(tube) + head.bias[index] == pytest.approx(float(head.logits[index]), abs=1e-4)


def test_pooling_counts_each_cell_by_its_own_weight():
    cells = np.array([[[1, 2], [3, 4]], [[5, 6], [7, -8]]], np.float32)
    pool = np.array([[[0.5, 0], [0.125, 0]], [[0.125, 0], [0, 0.25]]], np.float32)
    tube = Tube(cells, Span(0, 8), Crop(), pool, (0, 2))
    assert pooled(tube) == 0.5 * 1 + 0.125 * 3 + 0.125 * 5 + 0.25 * -8
    assert pooled(tube_of(cells)) == pytest.approx(cells.mean())


def test_a_pool_that_leaves_out_the_places_is_not_complete():
    """The other side of completeness: the same head said to count all places the same does not add up."""
    head = Head(3, 4, 5, (2, 3, 3), even=False)
    tube = head.explain(Target(0)).tube
    assert pooled(tube) + head.bias[0] == pytest.approx(float(head.logits[0]), abs=1e-4)
    head.cell_weights = ()
    assert abs(pooled(head.explain(Target(0)).tube) + head.bias[0] - head.logits[0]) > 1e-2


@given(heads)
def test_a_against_b_is_their_difference(head):
    one, other = (head.explain(Target(index)).tube for index in (0, 1))
    explanation = head.explain(Target(0, 1))
    both = explanation.tube
    assert np.allclose(both.evidence, one.evidence.astype(np.float64) - other.evidence, atol=1e-4)
    assert [score.id for score in explanation.explained] == [0, 1]
    bias = head.bias[0] - head.bias[1]
    assert pooled(both) + bias == pytest.approx(float(head.logits[0] - head.logits[1]), abs=2e-4)


@given(heads, st.integers(1, 5), st.sampled_from([Target(), Target(1), Target(0, 1)]))
def test_other_classes_have_evidence_that_is_complete_too(head, classes, target):
    explanation = head.explain(target, classes)
    tube = explanation.tube
    maps = {score.id: evidence for score, evidence in explanation.others}
    asked = {score.id for score in (*explanation.top[:classes], *explanation.explained)}
    single = {score.id for score in explanation.explained} if target.against is None else set()
    assert maps.keys() == asked - single  # a single class has its evidence in the tube
    for score, evidence in explanation.others:
        assert (score.name, score.logit) == (f"class {score.id}", pytest.approx(float(head.logits[score.id])))
        found = pooled(dataclasses.replace(tube, evidence=evidence))
        assert found + head.bias[score.id] == pytest.approx(score.logit, abs=1e-4)
    if target.against is not None:
        assert np.allclose(maps[0].astype(np.float64) - maps[1], tube.evidence, atol=1e-4)


def test_no_other_class_has_any_where_nobody_asks_or_the_head_is_not_linear():
    assert Head(0, 6, 4, (2, 2, 2)).explain(Target()).others == ()
    assert Gradient(0, 6, 4, (2, 2, 2)).explain(Target(0, 1), classes=5).others == ()


class TestRunTarget:
    """Which runs a target takes, and whose weights come of them."""

    @pytest.mark.parametrize("target", [Target(), Target(2), Target(2, 0), Target(None, 0)])
    def test_a_linear_head_takes_one_run(self, target):
        head = Head(5, 7, 6, (4, 3, 3))
        outputs, weights = run_target(partial(run_one, head), head.manifest.head, CLIP, target)
        assert len(head.asked) == 1
        assert np.array_equal(outputs.logits, head.logits)
        first = int(np.argmax(head.logits)) if target.first is None else target.first
        expected = head.weights[first] - (0 if target.against is None else head.weights[target.against])
        assert np.array_equal(weights, expected)

    @pytest.mark.parametrize(
        ("target", "asked"),
        [(Target(), [None]), (Target(2), [2]), (Target(0), [0]), (Target(2, 0), [2, 0]), (Target(None, 0), [None, 0])],
    )
    def test_gradients_take_a_run_for_each_class(self, target, asked):
        head = Gradient(5, 7, 6, (4, 3, 3))
        assert head.top not in (0, 2)  # or it could be told from neither
        outputs, weights = run_target(partial(run_one, head), head.manifest.head, CLIP, target)
        assert head.asked == asked
        assert np.array_equal(outputs.activation, head.activation)
        first = head.weights[head.top if target.first is None else target.first]
        assert np.array_equal(weights, first if len(asked) == 1 else first - head.weights[0])

    def test_the_outputs_are_those_of_the_first_class(self):
        head = Gradient(5, 7, 6, (4, 3, 3))
        outputs, _ = run_target(partial(run_one, head), head.manifest.head, CLIP, Target(2, 0))
        assert outputs.weights is not None
        assert np.array_equal(outputs.weights, head.weights[2])

    def test_a_tube_of_gradients(self):
        explanation = Gradient(5, 7, 6, (4, 3, 3)).explain(Target(2, 0))
        linear = Head(5, 7, 6, (4, 3, 3)).explain(Target(2, 0))
        assert np.array_equal(explanation.tube.evidence, linear.tube.evidence)
        assert explanation.explained == linear.explained

    def test_no_weights_at_all(self):
        head = Gradient(5, 7, 6, (4, 3, 3))
        head.run = lambda clips, class_ids=None: [head.outputs]
        with pytest.raises(ModelError, match="gives no weights"):
            run_target(partial(run_one, head), head.manifest.head, CLIP, Target())


def test_an_explanation_says_all_there_is_to_say():
    head = Head(5, 7, 6, (4, 3, 3))
    best = int(np.argmax(head.logits))
    arguments = (head.outputs, head.weights[best], head.manifest, CLIP, Target())
    explanation = make_explanation(*arguments, window=9, normalize=Normalize())
    assert np.array_equal(explanation.tube.evidence, head.outputs.evidence(head.weights[best]))
    assert [score.id for score in explanation.explained] == [best]
    assert [score.id for score in explanation.top] == np.argsort(-head.logits)[:5].tolist()
    assert explanation.top[0] == explanation.explained[0]
    assert (explanation.window, explanation.pts, explanation.repeated) == (9, (16, 30), 3)
    assert (explanation.tube.span, explanation.tube.crop) == (CLIP.span, CLIP.crop)
    assert np.allclose(explanation.tube.pool, head.pool, rtol=1e-5)
    assert explanation.scale == Scale(0, float(explanation.tube.evidence.max()))
    smoothed = make_explanation(*arguments, window=9, normalize=Normalize(), previous=Scale(0, 100))
    assert smoothed.scale.high == pytest.approx(60 + 0.4 * explanation.scale.high)


def test_fewer_classes_than_five():
    assert len(Head(1, 2, 3, (2, 2, 2)).explain(Target()).top) == 2


def test_cells_that_do_not_fit_the_activation():
    head = Head(1, 2, 3, (2, 2, 2))
    head.cell_weights = ((0.5, 0.5),)
    with pytest.raises(ModelError, match=r"\(1, 2\) do not fit 2 x 2"):
        head.explain(Target())


class TestTarget:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("top1", Target()),
            ("yoga", Target(3)),
            ("Juggling FIRE", Target(2)),
            ("  yoga ", Target(3)),
            ("0", Target(0)),
            ("5", Target(5)),
            ("7", Target(5)),  # a name goes before an index
            ("yoga:abseiling", Target(3, 0)),
            ("juggling balls : Juggling Fire", Target(1, 2)),
            ("3:0", Target(3, 0)),
            ("tossing: salad", Target(4)),
            ("yoga:tossing: salad", Target(3, 4)),
        ],
    )
    def test_accepted(self, text, expected):
        assert parse_target(text, LABELS) == expected

    @pytest.mark.parametrize("text", ["Tossing: Salad", "tossing: salad:yoga"])
    def test_names_with_a_colon_in_any_case_and_place(self, text):
        assert parse_target(text, LABELS).first == 4

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("jugling balls", ["'jugling balls'", "did you mean 'juggling balls'"]),
            ("salad", ["did you mean 'tossing: salad'"]),
            ("fire", ["did you mean 'juggling fire'"]),
            ("qqqq", ["'qqqq'", "6"]),
            ("6", ["6", "0 to 5"]),
            ("-1", ["'-1'"]),
            ("yoga:", ["''"]),
            (":", ["''"]),
            ("yoga:Yoga", ["yoga", "itself"]),
            ("3:yoga", ["itself"]),
            ("yoga:abseiling:juggling fire", ["'abseiling:juggling fire'"]),
            ("²", ["'²'"]),
        ],
    )
    def test_refused_in_one_line(self, text, words):
        with pytest.raises(UsageError) as caught:
            parse_target(text, LABELS)
        message = str(caught.value)
        assert "\n" not in message
        assert all(word in message for word in words), message

    @given(st.text(max_size=30))
    def test_nothing_but_usage_errors(self, text):
        try:
            target = parse_target(text, LABELS)
        except UsageError:
            return
        assert target.first is None or 0 <= target.first < len(LABELS)
        assert target.against is None or 0 <= target.against < len(LABELS)

    def test_an_endless_number(self):
        with pytest.raises(UsageError):
            parse_target("9" * 5000, LABELS)


class TestScores:
    @given(st.lists(st.floats(-300, 300, width=32), min_size=1, max_size=12))
    def test_softmax(self, values):
        logits = np.array(values, np.float32)
        got = softmax(logits)
        exact = [1 / sum(np.exp(np.minimum(np.float64(b) - np.float64(a), 700)) for b in logits) for a in logits]
        assert got == pytest.approx(exact, rel=1e-9, abs=1e-300)
        assert got.sum() == pytest.approx(1)

    def test_softmax_of_large_logits(self):
        assert softmax(np.array([3e38, 0, -3e38], np.float32)).tolist() == [1, 0, 0]

    def test_equal_classes_come_in_order(self):
        assert top_classes(np.array([1, 5, 5, 0, 5], np.float32), 3) == [1, 2, 4]
        assert top_classes(np.array([1, np.nan, 5], np.float32), 2) == [2, 0]

    def test_named(self):
        one, two = scores(np.array([0, np.log(3)], np.float32), [1, 0], ("a", "b"))
        assert (one.id, one.name, one.logit) == (1, "b", pytest.approx(np.log(3)))
        assert (one.probability, two.probability) == (pytest.approx(0.75), pytest.approx(0.25))


class TestNormalize:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("positive", Normalize()),
            ("volume", Normalize("volume")),
            ("fixed:0:10", Normalize("fixed", 0, 10)),
            ("fixed:-1.5:2e1", Normalize("fixed", -1.5, 20)),
        ],
    )
    def test_accepted(self, text, expected):
        assert Normalize.parse(text) == expected

    @pytest.mark.parametrize(
        "text",
        [
            *("", "min-max", "Positive", "positive:", "positive:0:1", "volume:0:1"),
            *("fixed", "fixed:", "fixed:1", "fixed:1:2:3", "fixed:a:b", "fixed:1:", "fixed::1"),
            *("fixed:2:1", "fixed:1:1", "fixed:nan:1", "fixed:0:inf", "fixed:-inf:0", "fixed:0:1e999"),
        ],
    )
    def test_refused_in_one_line(self, text):
        with pytest.raises(UsageError, match=r"^normalize .*got") as caught:
            Normalize.parse(text)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["positive:0", "volume:3"])
    def test_one_limit_too_many(self, text):
        with pytest.raises(UsageError):
            Normalize.parse(text)

    @given(st.text(max_size=20) | st.builds("fixed:{}:{}".format, st.floats(), st.floats()))
    def test_nothing_but_usage_errors(self, text):
        try:
            got = Normalize.parse(text)
        except UsageError:
            return
        assert got.mode != "fixed" or got.low < got.high


padded_tubes = st.builds(
    lambda seed, trusted: dataclasses.replace(
        tube_of(np.random.default_rng(seed).normal(0, 3, (8, 2, 3)).astype(np.float32)), trusted=trusted
    ),
    st.integers(0, 9999),
    st.sampled_from([(1, 7), (0, 7), (1, 8), (2, 3), (7, 8), (0, 8)]),
)


class TestScale:
    def test_positive_starts_at_no_evidence(self):
        assert scale_of(tube_of([[[-3, 0, 2]]]), Normalize()) == Scale(0, 2)
        assert scale_of(tube_of([[[1, 1.5, 2]]]), Normalize()) == Scale(0, 2)

    def test_volume_is_min_max(self):
        assert scale_of(tube_of([[[-3, 0, 2]]]), Normalize("volume")) == Scale(-3, 2)

    def test_fixed_ignores_the_window(self):
        assert scale_of(tube_of([[[-3, 0, 200]]]), Normalize("fixed", 1, 4)) == Scale(1, 4)

    @pytest.mark.parametrize("mode", ["positive", "volume"])
    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_what_is_not_a_number_does_not_count(self, mode, bad):
        assert scale_of(tube_of([[[bad, 0, 2]]]), Normalize(mode)) == Scale(0, 2)

    @pytest.mark.parametrize("mode", ["positive", "volume"])
    def test_a_window_without_evidence_draws_nothing(self, mode):
        for cells in ([[[0, 0]]], [[[np.nan, np.nan]]], [[[-3, -3]]], [[[-1e6, -1e6]]]):
            tube = tube_of(cells)
            scale = scale_of(tube, Normalize(mode))
            drawn = (np.nan_to_num(tube.evidence) - scale.low) / (scale.high - scale.low)
            assert drawn.max() <= 0, (cells, scale)

    def test_all_against_the_class(self):
        scale = scale_of(tube_of([[[-5, -1]]]), Normalize())
        assert scale.low == 0
        assert scale.high > 0

    @settings(deadline=None)
    @given(padded_tubes, st.integers(0, 9999))
    def test_slices_that_padding_spoils_do_not_move_it(self, tube, seed):
        first, end = tube.trusted
        other = np.random.default_rng(seed).normal(0, 100, tube.evidence.shape).astype(np.float32)
        other[first:end] = tube.evidence[first:end]
        scale = scale_of(tube, Normalize())
        assert scale == scale_of(dataclasses.replace(tube, evidence=other), Normalize())
        strongest = float(tube.evidence[first:end].max())
        assert scale == Scale(0, strongest if strongest > 0 else 1)

    @settings(deadline=None)
    @given(padded_tubes, st.data())
    def test_a_slice_that_can_be_trusted_moves_it(self, tube, data):
        cell = (data.draw(st.integers(tube.trusted[0], tube.trusted[1] - 1)), 0, 0)
        other = tube.evidence.copy()
        other[cell] = strongest = np.float32(abs(tube.evidence).max() + 1)
        assert scale_of(dataclasses.replace(tube, evidence=other), Normalize()) == Scale(0, float(strongest))

    def test_a_spike_in_a_spoiled_corner(self):
        cells = np.ones((4, 2, 2), np.float32)
        cells[2, 1, 1], cells[3, 0, 0], cells[0, 1, 0] = 2, 6, -7
        tube = dataclasses.replace(tube_of(cells), trusted=(1, 3))
        assert scale_of(tube, Normalize()) == Scale(0, 2)
        assert scale_of(tube, Normalize("volume")) == Scale(-7, 6)  # as the paper defines it
        volume = (4, 2, 2)
        assert scale_of(tube, Normalize(), volume) == Scale(0, 6)  # the published Keras script's
        paper = scale_of(tube, Normalize("volume"), volume)
        assert (paper.low, paper.high) == (pytest.approx(-7), pytest.approx(6))

    @settings(max_examples=40, deadline=None)
    @given(
        cells=st.tuples(st.integers(2, 4), st.integers(2, 5), st.integers(2, 5)),
        grow=st.tuples(st.integers(2, 4), st.integers(2, 4), st.integers(2, 4)),
        seed=st.integers(0, 999),
    )
    def test_the_papers_scale_is_of_the_zoomed_volume(self, cells, grow, seed):
        values = np.random.default_rng(seed).normal(0, 3, cells).astype(np.float32)
        size = tuple(int(n * factor) for n, factor in zip(cells, grow, strict=True))
        zoomed = zoom(values.astype(np.float64), grow, order=3, mode="mirror")
        got = scale_of(tube_of(values), Normalize("volume"), size)
        assert (got.low, got.high) == (pytest.approx(zoomed.min()), pytest.approx(zoomed.max()))

    def test_equal_evidence_however_large_has_a_scale(self):
        assert scale_of(tube_of([[[2.0**60]]]), Normalize("volume")).low == 2.0**60

    @given(
        st.lists(
            st.floats(-(2.0**50), 2.0**50, width=32, allow_subnormal=False)
            | st.sampled_from([np.nan, np.inf, -np.inf]),
            min_size=1,
            max_size=12,
        ),
        st.sampled_from(["positive", "volume", "fixed"]),
    )
    def test_any_evidence_has_a_scale(self, values, mode):
        scale = scale_of(tube_of([[values]]), Normalize(mode))
        assert scale.low < scale.high


class TestSmooth:
    def test_the_first_window_is_taken_as_it_is(self):
        assert smooth(None, Scale(-1, 3)) == Scale(-1, 3)

    def test_it_is_an_exponential_mean(self):
        scale, high = Scale(0, 10), 10.0
        for target in (20, 5, 5, 5):
            scale, high = smooth(scale, Scale(0, target)), 0.6 * high + 0.4 * target
            assert scale.high == pytest.approx(high)
        assert smooth(Scale(-2, 2), Scale(-4, 4), keep=0.5) == Scale(-3, 3)

    def test_it_settles(self):
        scale = Scale(0, 100)
        for _ in range(30):
            scale = smooth(scale, Scale(0, 7))
        assert scale.high == pytest.approx(7, rel=1e-4)

"""Widened stems against the convolutions they replace, computed in float32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ov = pytest.importorskip("openvino")

from openvino import opset13 as ops  # noqa: E402
from saliency_tubes.engine.runtimes import openvino_stem as stem  # noqa: E402
from saliency_tubes.engine.runtimes.models import find_model  # noqa: E402
from saliency_tubes.engine.runtimes.openvino import open_core  # noqa: E402


def network(shape, kernel, strides, begins, ends, *, stored="f32", computed="f32", dilation=1, auto_pad="explicit"):
    """A convolution to two channels, with weights stored in one type, in a graph of another."""
    clip = ops.parameter(shape, ov.Type.f32, name="clip")
    numbers = np.random.default_rng(5).normal(size=(2, shape[1], *kernel)).astype(np.float32)
    weights = ops.constant(numbers, getattr(ov.Type, stored))
    if stored != computed:
        weights = ops.convert(weights, computed)
    data = clip if computed == "f32" else ops.convert(clip, computed)
    made = ops.convolution(data, weights, strides, begins, ends, [dilation] * len(kernel), auto_pad)
    made.output(0).set_names({"made"})
    return ov.Model([made], [clip], "stem")


def values(model, clip):
    compiled = open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled({"clip": clip})["made"], np.float32)


def both(*network_is, batch=1, **options):
    """What comes out before and after, and how many convolutions were rewritten."""
    model = network(*network_is, **options)
    clip = np.random.default_rng(6).normal(size=(batch, *network_is[0][1:])).astype(np.float32)
    before = values(model, clip)
    changed = stem.widen_stems(model)
    return before, values(model, clip), changed


def agree(before, after, tolerance=1e-4):
    assert after.shape == before.shape
    assert np.abs(after - before).max() <= tolerance * max(1.0, np.abs(before).max())


AXIS = st.tuples(
    st.integers(1, 4),  # stride
    st.integers(1, 7),  # kernel
    st.integers(0, 3),  # begin
    st.integers(0, 3),  # end
    st.integers(2, 4),  # blocks
)


@settings(deadline=None, max_examples=60)
@given(axes=st.lists(AXIS, min_size=2, max_size=3), channels=st.integers(1, 4))
def test_the_sums_are_the_same(axes, channels):
    strides, kernel, begins, ends, blocks = map(list, zip(*axes, strict=True))
    sizes = [stride * count for stride, count in zip(strides, blocks, strict=True)]
    kernel = [min(k, size + b + e) for k, size, b, e in zip(kernel, sizes, begins, ends, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stem, "GAIN", 0)  # whether it gains or not
        before, after, changed = both([1, channels, *sizes], kernel, strides, begins, ends)
    behind = [
        (size + b + e - k) // s * s + -(-(-b % s + k) // s) * s - (b + -b % s) - size
        for size, b, e, k, s in zip(sizes, begins, ends, kernel, strides, strict=True)
    ]
    assert changed == (min(behind) >= 0)  # input that nothing looks at would have to be cut off
    agree(before, after)


I3D = ([7, 7, 7], [2, 2, 2], [2, 2, 2], [3, 3, 3])
RESNET = ([3, 7, 7], [1, 2, 2], [1, 3, 3], [1, 3, 3])
X3D = ([1, 3, 3], [1, 2, 2], [0, 1, 1], [0, 1, 1])
MVIT = ([3, 7, 7], [2, 4, 4], [1, 3, 3], [1, 3, 3])


@pytest.mark.parametrize("known", [I3D, RESNET, X3D, MVIT])
@pytest.mark.parametrize(("stored", "computed"), [("f32", "f32"), ("f16", "f32"), ("bf16", "f32"), ("f16", "f16")])
def test_stems_of_known_networks(known, stored, computed):
    before, after, changed = both([1, 3, 8, 32, 32], *known, stored=stored, computed=computed)
    assert changed == 1
    agree(before, after, 2e-3 if computed == "f16" else 1e-4)


@pytest.mark.parametrize("auto_pad", ["same_upper", "same_lower", "valid"])
def test_pads_that_are_worked_out(auto_pad):
    before, after, changed = both([1, 3, 8, 32, 32], *I3D[:2], [0] * 3, [0] * 3, auto_pad=auto_pad)
    assert changed == 1
    agree(before, after)


def test_names_stay():
    model = network([1, 3, 8, 32, 32], *I3D)
    model.get_results()[0].input_value(0).get_node().set_friendly_name("conv1")
    assert stem.widen_stems(model) == 1
    assert model.output(0).get_names() == {"made"}
    assert model.get_results()[0].input_value(0).get_node().get_friendly_name() == "conv1"


def test_several_clips_at_once():
    model = network([ov.Dimension(1, 4), 3, 8, 32, 32], *I3D)
    clips = np.random.default_rng(7).normal(size=(4, 3, 8, 32, 32)).astype(np.float32)
    before = values(model, clips)
    assert stem.widen_stems(model) == 1
    assert next(iter(model.output(0).partial_shape)) == ov.Dimension(1, 4)
    for count in (1, 4):
        agree(before[:count], values(model, clips[:count]))


@pytest.mark.parametrize(
    ("shape", "how", "options"),
    [
        ([1, 64, 8, 16, 16], ([3, 3, 3], [2, 2, 2], [1, 1, 1], [1, 1, 1]), {}),  # channels enough
        ([1, 3, 8, 16, 16], ([3, 3, 3], [1, 1, 1], [1, 1, 1], [1, 1, 1]), {}),  # no blocks
        ([1, 3, 7, 32, 32], I3D, {}),  # no whole blocks
        ([1, 3, -1, 32, 32], I3D, {}),
        ([1, 3, 16, 32, 32], I3D, {"dilation": 2}),
        ([1, 3, 16, 32, 32], (*I3D[:2], [-2, 2, 2], [3, 3, 3]), {}),
    ],
)
def test_what_is_left_alone(shape, how, options):
    assert stem.widen_stems(network(shape, *how, **options)) == 0


@pytest.mark.parametrize(
    ("shape", "weights"),
    [([1, 3, 8, 32, 32], [2, 3, 7, 7, 7]), ([1, 3, 8, 32, 32], [-1, 3, 7, 7, 7]), (None, [2, 3, 7, 7, 7])],
)
def test_weights_that_are_computed_are_left_alone(shape, weights):
    made = [ops.parameter(ov.PartialShape.dynamic() if one is None else one, np.float32) for one in (shape, weights)]
    model = ov.Model([ops.convolution(*made, *I3D[1:], [1, 1, 1])], made, "stem")
    assert stem.widen_stems(model) == 0


def test_an_input_of_unknown_shape_is_left_alone():
    clip = ops.parameter(ov.PartialShape.dynamic(), np.float32)
    made = ops.convolution(clip, ops.constant(np.ones((2, 3, 7, 7, 7), np.float32)), *I3D[1:], [1, 1, 1])
    assert stem.widen_stems(ov.Model([made], [clip], "stem")) == 0


def test_convolutions_in_groups_are_left_alone():
    clip = ops.parameter([1, 3, 8, 32, 32], np.float32)
    made = ops.group_convolution(clip, np.ones((3, 2, 1, 7, 7, 7), np.float32), *I3D[1:], [1, 1, 1])
    assert stem.widen_stems(ov.Model([made], [clip], "stem")) == 0


def test_i3d_says_the_same():
    clip = np.random.default_rng(8).normal(size=(1, 3, 16, 224, 224)).astype(np.float32)
    found = []
    for widen in (lambda model: 0, stem.widen_stems):
        model = open_core().read_model(str(find_model("i3d")))
        model.reshape({"clip": list(clip.shape)})
        changed = widen(model)
        found.append(open_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"clip": clip}))
    assert changed == 1
    for name in ("logits", "activation"):
        agree(found[0][name], found[1][name])

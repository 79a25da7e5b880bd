"""One suite over both runtimes of ONNX files, on a tiny network made here: 1x1x1 convolution, pool, linear."""

import importlib.util
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from saliency_tubes.engine.errors import ModelError, TubesError, UsageError
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec
from saliency_tubes.engine.missed import Missed
from saliency_tubes.engine.processor import processor_features
from saliency_tubes.engine.runtimes import open as runner_module
from saliency_tubes.engine.runtimes.base import ONNX_RUNTIMES
from saliency_tubes.engine.runtimes.models import find_model, read_manifest
from saliency_tubes.engine.runtimes.open import choices, open_runner
from saliency_tubes.engine.saliency import Normalize, Target, make_explanation, pooled, run_target
from saliency_tubes.engine.types import Clip, Crop, HostSample, Span

CHANNELS, CLASSES, SIDE = 4, 3, 6
RNG = np.random.default_rng(0)
CONV = RNG.normal(size=(CHANNELS, 3, 2, 2, 2)).astype(np.float32)
WEIGHTS = RNG.normal(size=(CLASSES, CHANNELS)).astype(np.float16).astype(np.float32)
BIAS = RNG.normal(size=CLASSES).astype(np.float32)


def make_manifest(**changes: object) -> Manifest:
    values: dict = {
        "name": "tiny",
        "title": "Tiny",
        "license": "MIT",
        "input": InputSpec((SIDE, SIDE), (0, 0, 0), (1, 1, 1), "stretch", name="clip"),
        "windows": {4: WindowSpec((0.5, 0.5), (0, 2)), 8: WindowSpec((0.25,) * 4, (1, 3))},
        "default_clip_length": 4,
        "labels": ("a", "b", "c"),
        "tap": "conv",
        "channels": CHANNELS,
        "head": LinearHead(WEIGHTS, BIAS),
    }
    return Manifest(**{**values, **changes})


def write(
    path: Path,
    manifest: Manifest | None = None,
    *,
    shape: tuple[object, ...] = (1, 3, "T", SIDE, SIDE),
    outputs: tuple[str, ...] = ("logits", "activation"),
    operator: str = "Relu",
    name: str = "clip",
) -> Path:
    """The network, with its two outputs, as an ONNX file."""
    tensors = {"conv": CONV, "weights": WEIGHTS.T.copy(), "bias": BIAS, "axes": np.array([2, 3, 4])}
    nodes = [
        helper.make_node("Conv", [name, "conv"], ["raw"], strides=[2, 2, 2]),
        helper.make_node(operator, ["raw"], ["activation"]),
        helper.make_node("ReduceMean", ["activation", "axes"], ["pooled"], keepdims=0),
        helper.make_node("Gemm", ["pooled", "weights", "bias"], ["logits"]),
    ]
    shapes = {"logits": [None, CLASSES], "activation": [None, CHANNELS, None, 3, 3], "pooled": [None, CHANNELS]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shapes[output]) for output in outputs],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, (manifest or make_manifest()).to_properties())
    onnx.save(model, path)
    return path


def gradient_manifest(**changes: object) -> Manifest:
    names = {name: name for name in ("logits", "activation", "weights")}
    return make_manifest(**{"head": None, "outputs": names, **changes})


def write_gradient(path: Path, manifest: Manifest | None = None, *, name: str = "class", channels: int = 0) -> Path:
    """A network whose head squares what it pools, so that each clip has weights of its own, with their gradient.

    logit = W . pool ** 2 + b, so d logit / d activation, summed over cells, = 2 pool * W[class].
    """
    tensors = {"conv": CONV, "matrix": WEIGHTS, "transposed": WEIGHTS.T.copy(), "bias": BIAS}
    tensors |= {"axes": np.array([2, 3, 4]), "kept": np.arange(channels or CHANNELS)}
    tensors |= {"zero": np.array(0), "two": np.array(2, np.float32)}
    nodes = [
        helper.make_node("Conv", ["clip", "conv"], ["raw"], strides=[2, 2, 2]),
        helper.make_node("Relu", ["raw"], ["activation"]),
        helper.make_node("ReduceMean", ["activation", "axes"], ["pooled"], keepdims=0),
        helper.make_node("Mul", ["pooled", "pooled"], ["squared"]),
        helper.make_node("Gemm", ["squared", "transposed", "bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["top"], axis=1, keepdims=0),
        helper.make_node("Less", [name, "zero"], ["any"]),
        helper.make_node("Where", ["any", "top", name], ["chosen"]),
        helper.make_node("Gather", ["matrix", "chosen"], ["row"], axis=0),
        helper.make_node("Mul", ["pooled", "two"], ["double"]),
        helper.make_node("Mul", ["double", "row"], ["all weights"]),
        helper.make_node("Gather", ["all weights", "kept"], ["weights"], axis=1),
    ]
    inputs = [("clip", TensorProto.FLOAT, ["N", 3, "T", SIDE, SIDE]), (name, TensorProto.INT64, ["N"])]
    outputs = {"weights": [None, None], "logits": [None, CLASSES], "activation": [None, CHANNELS, None, 3, 3]}
    graph = helper.make_graph(
        nodes,
        "gradient",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape) for output, shape in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, (manifest or gradient_manifest()).to_properties())
    onnx.save(model, path)
    return path


def reference_gradient(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [K], and the weights of every class [K, C], by differences of the logits rather than by the formula."""
    _, activation = reference(clip)

    def logits(extra: np.ndarray) -> np.ndarray:
        return WEIGHTS @ (activation + extra[:, None, None, None]).mean(axis=(1, 2, 3)) ** 2 + BIAS

    # all cells of a channel moved alike: the sum of the gradient over its cells
    step = 1e-3 * np.eye(CHANNELS)
    return logits(np.zeros(CHANNELS)), np.stack([(logits(one) - logits(-one)) / 2e-3 for one in step], axis=1)


def reference(clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logits [K] and activation [C, t, h, w] in NumPy: a convolution of stride 2 over blocks of 2x2x2."""
    _, _, clip_length, height, width = clip.shape
    blocks = clip[0].reshape(3, clip_length // 2, 2, height // 2, 2, width // 2, 2).astype(np.float64)
    activation = np.maximum(np.einsum("oiabc,itaxbyc->otxy", CONV.astype(np.float64), blocks), 0)
    return WEIGHTS @ activation.mean(axis=(1, 2, 3)) + BIAS, activation


def clip_of(clip_length: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 3, clip_length, SIDE, SIDE)).astype(np.float32)


def message(error: pytest.ExceptionInfo[TubesError], *words: object) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 400
    assert all(str(word) in text for word in words), text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def tiny(folder):
    return write(folder / "tiny.onnx")


@pytest.fixture(scope="module")
def many(folder):
    """The same, for several clips at a time."""
    return write(folder / "many.onnx", shape=("N", 3, "T", SIDE, SIDE))


@pytest.fixture(params=ONNX_RUNTIMES)
def runtime(request):
    """Not by importing it: how the package imports a runtime is part of what is tried."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


class TestContract:
    @pytest.mark.parametrize("clip_length", [4, 8, None])
    def test_outputs_are_the_networks(self, tiny, runtime, clip_length):
        runner = open_runner(tiny, clip_length=clip_length, runtime=runtime)
        assert runner.clip_length == (clip_length or 4)
        assert runner.manifest.labels == ("a", "b", "c")
        for seed in range(3):
            clip = clip_of(runner.clip_length, seed)
            before = clip.copy()
            outputs = runner.infer(clip)[0]
            logits, activation = reference(clip)
            assert outputs.logits.dtype == outputs.activation.dtype == np.float32
            assert np.allclose(outputs.logits, logits, atol=1e-4)
            assert np.allclose(outputs.activation, activation, atol=1e-4)
            assert np.array_equal(clip, before)

    def test_outputs_stay_when_the_next_clip_runs(self, tiny, runtime):
        runner = open_runner(tiny, runtime=runtime)
        first = runner.infer(clip_of(4, 1))[0]
        logits, activation = first.logits.copy(), first.activation.copy()
        runner.infer(clip_of(4, 2))
        assert np.array_equal(first.logits, logits)
        assert np.array_equal(first.activation, activation)

    @pytest.mark.parametrize("shape", [("N", 3, "T", SIDE, SIDE), ("N", 3, "T", "H", "W"), (1, 3, 4, SIDE, SIDE)])
    def test_dynamic_and_fixed_shapes(self, folder, runtime, shape):
        path = write(folder / "shape.onnx", shape=shape)
        outputs = open_runner(path, runtime=runtime).infer(clip_of(4))[0]
        assert np.allclose(outputs.logits, reference(clip_of(4))[0], atol=1e-4)

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_a_batch_says_of_each_clip_what_it_says_of_it_alone(self, many, runtime, count):
        runner, alone = open_runner(many, runtime=runtime, batch=3), open_runner(many, runtime=runtime)
        assert (runner.batch, alone.batch) == (3, 1)
        clips = [clip_of(4, seed) for seed in range(count)]
        found = runner.infer(np.concatenate(clips))
        assert len(found) == count
        for outputs, clip in zip(found, clips, strict=True):
            (expected,) = alone.infer(clip)
            assert outputs.logits.dtype == outputs.activation.dtype == np.float32
            assert np.allclose(outputs.logits, expected.logits, atol=1e-5)
            assert np.allclose(outputs.activation, expected.activation, atol=1e-5)

    def test_batches_of_changing_size(self, many, runtime):
        runner, clips = open_runner(many, runtime=runtime, batch=4), [clip_of(4, seed) for seed in range(4)]
        for size in (4, 1, 3, 2, 4, 1):
            for outputs, clip in zip(runner.infer(np.concatenate(clips[:size])), clips, strict=False):
                assert np.allclose(outputs.logits, reference(clip)[0], atol=1e-4)

    @pytest.mark.parametrize("shape", [(1, 3, "T", SIDE, SIDE), (1, 3, 4, SIDE, SIDE)])
    def test_a_file_that_takes_one_clip_at_a_time(self, folder, runtime, shape):
        runner = open_runner(write(folder / "one.onnx", shape=shape), runtime=runtime, batch=4)
        assert runner.batch == 1
        assert np.allclose(runner.infer(clip_of(4))[0].logits, reference(clip_of(4))[0], atol=1e-4)

    def test_a_file_that_cannot_keep_what_its_input_promises(self, folder, runtime):
        """The batch is open, but inside a size is fixed."""
        model = onnx.load(write(folder / "fixed.onnx", shape=("N", 3, "T", SIDE, SIDE)))
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, CHANNELS]), "fixed"))
        node = next(node for node in model.graph.node if node.op_type == "ReduceMean")
        node.output[0] = "flat"
        model.graph.node.insert(3, helper.make_node("Reshape", ["flat", "fixed"], ["pooled"]))
        onnx.save(model, folder / "fixed.onnx")
        runner = open_runner(folder / "fixed.onnx", runtime=runtime, batch=2)
        assert runner.batch == (2 if runtime == "openvino" else 1)  # which sees that the step can be left out
        clips = [clip_of(4, seed) for seed in range(runner.batch)]
        for outputs, clip in zip(runner.infer(np.concatenate(clips)), clips, strict=True):
            assert np.allclose(outputs.logits, reference(clip)[0], atol=1e-4)

    def test_other_names(self, folder, runtime):
        spec = InputSpec((SIDE, SIDE), (0, 0, 0), (1, 1, 1), "stretch", name="video in")
        path = write(folder / "names.onnx", make_manifest(input=spec), name="video in")
        assert open_runner(path, runtime=runtime).infer(clip_of(4))[0].logits.shape == (CLASSES,)

    def test_the_order_of_outputs_does_not_matter(self, folder, runtime):
        path = write(folder / "order.onnx", outputs=("activation", "pooled", "logits"))
        outputs = open_runner(path, runtime=runtime).infer(clip_of(4))[0]
        assert np.allclose(outputs.logits, reference(clip_of(4))[0], atol=1e-4)

    def test_it_says_what_it_runs_on(self, tiny, runtime):
        text = open_runner(tiny, runtime=runtime).description
        assert runtime in text.lower()
        assert "CPU" in text
        assert "f32" in text
        assert "\n" not in text


class TestGradient:
    """A graph that gives each clip's own weights, of the class asked for."""

    @pytest.fixture
    def path(self, folder):
        return write_gradient(folder / "gradient.onnx")

    @pytest.fixture
    def clip(self):
        """One whose top class is neither the first nor the last, which an index of -1 would give."""
        clips = (clip_of(4, seed) for seed in range(100))
        return next(clip for clip in clips if np.argmax(reference_gradient(clip)[0]) == 1)

    def test_the_top_class_unless_told(self, path, runtime, clip):
        outputs = open_runner(path, runtime=runtime).infer(clip)[0]
        logits, weights = reference_gradient(clip)
        assert np.allclose(outputs.logits, logits, atol=1e-4)
        assert outputs.weights is not None
        assert (outputs.weights.dtype, outputs.weights.shape) == (np.float32, (CHANNELS,))
        assert np.allclose(outputs.weights, weights[1], atol=1e-4)
        assert np.allclose(outputs.activation, reference(clip)[1], atol=1e-4)

    @pytest.mark.parametrize("clip_length", [4, 8])
    def test_a_class_by_its_index(self, path, runtime, clip_length):
        runner = open_runner(path, clip_length=clip_length, runtime=runtime)
        clip = clip_of(clip_length)
        logits, weights = reference_gradient(clip)
        for index in (2, 0, 1):
            outputs = runner.infer(clip, [index])[0]
            assert np.allclose(outputs.weights, weights[index], atol=1e-4), index
            assert np.allclose(outputs.logits, logits, atol=1e-4)

    def test_each_clip_has_its_own(self, path, runtime):
        runner = open_runner(path, runtime=runtime)
        first = runner.infer(clip_of(4, 1), [1])[0]
        kept = first.weights.copy()
        second = runner.infer(clip_of(4, 2), [1])[0]
        assert np.array_equal(first.weights, kept)
        assert np.allclose(first.weights, reference_gradient(clip_of(4, 1))[1][1], atol=1e-4)
        assert np.allclose(second.weights, reference_gradient(clip_of(4, 2))[1][1], atol=1e-4)
        assert not np.allclose(first.weights, second.weights, atol=1e-2)

    def test_a_batch_has_a_class_for_each_clip(self, path, runtime, clip):
        runner = open_runner(path, runtime=runtime, batch=4)
        clips = [clip, clip_of(4, 1), clip_of(4, 2), clip_of(4, 3)]
        asked = [None, 2, 0, 1]
        for outputs, one, index in zip(runner.infer(np.concatenate(clips), asked), clips, asked, strict=True):
            logits, weights = reference_gradient(one)
            assert np.allclose(outputs.weights, weights[1 if index is None else index], atol=1e-4)
            assert np.allclose(outputs.logits, logits, atol=1e-4)
        unasked = runner.infer(np.concatenate(clips))
        assert np.allclose(unasked[0].weights, reference_gradient(clip)[1][1], atol=1e-4)

    @pytest.mark.parametrize(
        ("target", "first", "against"),
        [(Target(), 1, None), (Target(2), 2, None), (Target(2, 0), 2, 0), (Target(None, 2), 1, 2)],
    )
    def test_targets(self, path, runtime, clip, target, first, against):
        """The whole way: of a head that squares, the pooled tube is twice the logit without its bias (Euler)."""
        runner = open_runner(path, runtime=runtime)
        outputs, weights = run_target(
            lambda data, class_id: runner.infer(data, [class_id])[0], runner.manifest.head, clip, target
        )
        logits, expected = reference_gradient(clip)
        part, total = expected[first], 2 * (logits[first] - BIAS[first])
        if against is not None:
            part, total = part - expected[against], total - 2 * (logits[against] - BIAS[against])
        assert np.allclose(weights, part, atol=1e-4)
        pictures = Clip((HostSample(np.zeros((6, 6, 3), np.uint8)),) * 4, Span(0, 4), Crop(), (0, 3), Fraction(1, 25))
        made = make_explanation(outputs, weights, runner.manifest, pictures, target, window=0, normalize=Normalize())
        assert [score.id for score in made.explained] == ([first] if against is None else [first, against])
        assert pooled(made.tube) == pytest.approx(total, abs=1e-3)

    def test_other_names(self, folder, runtime, clip):
        path = write_gradient(folder / "which.onnx", gradient_manifest(class_input="which one"), name="which one")
        outputs = open_runner(path, runtime=runtime).infer(clip, [2])[0]
        assert np.allclose(outputs.weights, reference_gradient(clip)[1][2], atol=1e-4)

    def test_a_linear_head_needs_no_weights(self, tiny, runtime):
        runner = open_runner(tiny, runtime=runtime)
        one, other = runner.infer(clip_of(4))[0], runner.infer(clip_of(4), [2])[0]
        assert one.weights is None
        assert np.array_equal(one.logits, other.logits)

    def refused(self, path, runtime, *words):
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime)
        message(error, path, *words)

    def test_another_class_input(self, folder, runtime):
        path = write_gradient(folder / "input.onnx", gradient_manifest(class_input="target"))
        self.refused(path, runtime, "target")

    def test_a_graph_without_a_class_input(self, folder, runtime):
        self.refused(write(folder / "none.onnx", gradient_manifest()), runtime)

    def test_a_graph_without_weights(self, folder, runtime):
        names = {"logits": "logits", "activation": "activation", "weights": "gradient"}
        path = write_gradient(folder / "output.onnx", gradient_manifest(outputs=names))
        self.refused(path, runtime, "gradient")

    def test_weights_for_other_channels(self, folder, runtime):
        path = write_gradient(folder / "channels.onnx", channels=3)
        self.refused(path, runtime, "weights of shape (1, 3)", "4 channels")

    def test_logits_for_weights(self, folder, runtime):
        names = {"logits": "logits", "activation": "activation", "weights": "logits"}
        path = write_gradient(folder / "swapped.onnx", gradient_manifest(outputs=names))
        self.refused(path, runtime, "weights of shape (1, 3)")

    def test_a_class_input_that_the_manifest_does_not_know(self, folder, runtime):
        """Nothing would ever feed it."""
        self.refused(write_gradient(folder / "unknown.onnx", make_manifest()), runtime, "class")


class TestRefused:
    def test_frames(self, tiny, runtime):
        with pytest.raises(ModelError) as error:
            open_runner(tiny, clip_length=5, runtime=runtime)
        message(error, "4 or 8", 5)

    def test_no_batch(self, tiny, runtime):
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime=runtime, batch=0)
        message(error, "batch must be 1 or more", 0)

    def test_no_frames(self, tiny, runtime):
        with pytest.raises(TubesError):
            open_runner(tiny, clip_length=0, runtime=runtime)

    def test_device(self, tiny, runtime):
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime=runtime, device="TPU")
        message(error, "TPU", "CPU")

    def test_precision(self, tiny, runtime):
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime=runtime, precision="int8")
        message(error, "f32, bf16", "'int8'")

    def test_a_missing_output(self, folder, runtime):
        path = write(folder / "no_tap.onnx", outputs=("logits",))
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime)
        message(error, path, "activation")

    def test_a_graph_that_cannot_run(self, folder, runtime):
        path = write(folder / "operator.onnx", operator="NoSuchOperator")
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime)
        message(error, path, "NoSuchOperator")

    def test_a_cut_file(self, folder, tiny, runtime):
        whole = tiny.read_bytes()
        start = whole.index(b"saliency_tubes.manifest")
        (folder / "cut.onnx").write_bytes(whole[: start - 8])
        with pytest.raises(ModelError) as error:
            open_runner(folder / "cut.onnx", runtime=runtime)
        message(error, folder / "cut.onnx")

    def test_a_damaged_graph(self, folder, tiny, runtime):
        data = bytearray(tiny.read_bytes())
        at = data.index(b"ReduceMean")
        data[at : at + 10] = b"\xff" * 10
        (folder / "damaged.onnx").write_bytes(data)
        with pytest.raises(ModelError) as error:
            open_runner(folder / "damaged.onnx", runtime=runtime)
        message(error, folder / "damaged.onnx")

    def wrong(self, folder, runtime, manifest, **graph):
        """What a contradiction between graph and manifest gives, at the latest with the first clip."""
        path = write(folder / "wrong.onnx", manifest, **graph)
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime).infer(clip_of(4))
        message(error)
        return error

    def test_weights_for_other_classes(self, folder, runtime):
        other = make_manifest(head=LinearHead(WEIGHTS[:2], BIAS[:2]), labels=("a", "b"))
        message(self.wrong(folder, runtime, other), "logits of shape (1, 3)", "2 labels")

    def test_weights_for_other_channels(self, folder, runtime):
        other = make_manifest(head=LinearHead(WEIGHTS[:, :2], BIAS), channels=2)
        message(self.wrong(folder, runtime, other), "(1, 4, 2, 3, 3)", "(1, 2, 2, h, w)")

    @pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 1), (9, 1)])
    def test_other_cells(self, folder, runtime, shape):
        cells = tuple(map(tuple, np.full(shape, 1 / (shape[0] * shape[1])).tolist()))
        path = write(folder / "cells.onnx", make_manifest(windows={4: WindowSpec((0.5, 0.5), (0, 2), cells)}))
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime)
        message(error, path, f"cell_weights {shape} do not fit 3 x 3 cells")

    def test_cells_that_fit(self, folder, runtime):
        cells = tuple(map(tuple, (np.arange(9).reshape(3, 3) / 36).tolist()))
        path = write(folder / "fit.onnx", make_manifest(windows={4: WindowSpec((0.5, 0.5), (0, 2), cells)}))
        manifest = open_runner(path, runtime=runtime).manifest
        assert manifest.window(4).cell_weights == cells

    def test_other_slices(self, folder, runtime):
        other = make_manifest(windows={4: WindowSpec((0.25,) * 4, (0, 4))})
        message(self.wrong(folder, runtime, other), "(1, 4, 2, 3, 3)", "(1, 4, 4, h, w)")

    def test_logits_for_activation(self, folder, runtime):
        other = make_manifest(outputs={"logits": "logits", "activation": "logits"})
        message(self.wrong(folder, runtime, other), "activation of shape (1, 3)")

    def test_another_input_name(self, folder, runtime):
        spec = InputSpec((SIDE, SIDE), (0, 0, 0), (1, 1, 1), "stretch", name="video")
        message(self.wrong(folder, runtime, make_manifest(input=spec)), "video")

    def test_a_graph_of_another_size(self, folder, runtime):
        """Fixed in the graph: OpenVINO can reshape it, onnxruntime cannot."""
        if runtime == "openvino":
            path = write(folder / "size.onnx", shape=(1, 3, 8, SIDE, SIDE))
            assert open_runner(path, runtime=runtime).infer(clip_of(4))[0].logits.shape == (CLASSES,)
            return
        self.wrong(folder, runtime, None, shape=(1, 3, 8, SIDE, SIDE))

    def test_the_first_clip_is_not_the_time_to_find_out(self, folder, runtime):
        """Before any output is opened."""
        path = write(folder / "late.onnx", make_manifest(windows={4: WindowSpec((0.25,) * 4, (0, 4))}))
        with pytest.raises(ModelError) as error:
            open_runner(path, runtime=runtime)
        message(error, path)

    def test_a_runtime_that_fails_later(self, tiny, runtime, monkeypatch):
        """Memory of a GPU that is gone, an index out of the clip: a blank one does not show it."""
        runner = open_runner(tiny, runtime=runtime)

        def fail(*what: object, **options: object) -> None:
            raise RuntimeError("out of memory\nat line 7")

        method = {"onnxruntime": "InferenceSession.run_with_iobinding", "openvino": "InferRequest.infer"}[runtime]
        monkeypatch.setattr(f"{runtime}.{method}", fail)
        with pytest.raises(ModelError, match=r"says: out of memory$"):
            runner.infer(clip_of(4))

    def test_bytes_where_numbers_are_wanted(self, folder, tiny, runtime):
        """Normalised values would be cut off to bytes, in silence."""
        proto = onnx.load(tiny)
        name = proto.graph.input[0].name
        proto.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
        for node in proto.graph.node:
            node.input[:] = ["as float" if one == name else one for one in node.input]
        proto.graph.node.insert(0, helper.make_node("Cast", [name], ["as float"], to=TensorProto.FLOAT))
        onnx.save(proto, folder / "bytes.onnx")
        with pytest.raises(ModelError) as error:
            open_runner(folder / "bytes.onnx", runtime=runtime)
        message(error, "float")

    def test_what_is_wrong_with_a_graph_is_named(self, folder, tiny, runtime):
        """And not a heading of the runtime's, such as what it was doing."""
        proto = onnx.load(tiny)
        proto.graph.node[0].input[0] = "nowhere"
        onnx.save(proto, folder / "edge.onnx")
        with pytest.raises(ModelError) as error:
            open_runner(folder / "edge.onnx", runtime=runtime)
        message(error, "nowhere")


class TestChoice:
    @pytest.mark.parametrize(("asked", "found"), [("GPU", True), ("gpu.1", True), ("GPU.7", False), ("NPU", False)])
    def test_one_gpu_of_several(self, tiny, monkeypatch, asked, found):
        """Where there are two, OpenVINO lists no plain GPU."""
        openvino = pytest.importorskip("saliency_tubes.engine.runtimes.openvino")

        class Core:
            available_devices = ("CPU", "GPU.0", "GPU.1")

            def get_property(self, device, name):
                if device == "GPU.7":
                    raise RuntimeError("no such device")
                return core.get_property("CPU", name)

            def compile_model(self, model, device, config):
                return core.compile_model(model, "CPU", config)

            def read_model(self, path):
                return core.read_model(path)

        core = openvino.open_core()
        monkeypatch.setattr(openvino, "open_core", Core)
        if found:
            assert f"on {asked.upper()}" in open_runner(tiny, runtime="openvino", device=asked).description
            return
        with pytest.raises(UsageError, match=f"OpenVINO has no device '{asked}' here: it has CPU, GPU.0, GPU.1$"):
            open_runner(tiny, runtime="openvino", device=asked)

    def test_unknown_runtime(self, tiny):
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime="torch")
        message(error, "auto, openvino, onnxruntime, onnxruntime-rtx, tensorrt", "'torch'")

    def test_onnxruntime_has_no_bf16(self, tiny):
        pytest.importorskip("onnxruntime")
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime="onnxruntime", precision="bf16")
        message(error, "f32", "'bf16'")

    def test_bf16_is_near_where_there_is_some(self, tiny):
        openvino = pytest.importorskip("saliency_tubes.engine.runtimes.openvino")
        if choices(tiny, runtime="openvino").precisions != ("f32", "bf16"):
            pytest.skip("this processor has no bf16")
        runner = open_runner(tiny, runtime="openvino", precision="bf16")
        by = " by AMX" if "amx_bf16" in openvino.processor_features() else ""
        assert runner.description.endswith(f"on CPU, bf16{by}")
        clips = RNG.normal(size=(1, 3, 4, SIDE, SIDE)).astype(np.float32)
        (found,), (exact,) = runner.infer(clips), open_runner(tiny, runtime="openvino").infer(clips)
        np.testing.assert_allclose(found.activation, exact.activation, atol=0.02 * exact.activation.max())

    @pytest.mark.parametrize("has_bf16", [True, False])
    def test_what_openvino_can_compute_in_is_asked_of_it(self, tiny, monkeypatch, has_bf16):
        """And not of the processor, whose instructions it may not use, as on some of ARM's."""
        openvino = pytest.importorskip("saliency_tubes.engine.runtimes.openvino")

        class Core:
            def __getattr__(self, name):
                return getattr(core, name)

            def get_property(self, device, name):
                return [one for one in core.get_property(device, name) if one != "BF16"] + ["BF16"] * has_bf16

        core = openvino.open_core()
        monkeypatch.setattr(openvino, "open_core", Core)
        found = choices(tiny, runtime="openvino")
        assert found.precisions == (("f32", "bf16") if has_bf16 else ("f32",))
        assert open_runner(tiny, runtime="openvino").description == f"{found.title}, f32"
        if not has_bf16:
            with pytest.raises(UsageError, match="CPU does not compute in bf16: use --precision f32"):
                open_runner(tiny, runtime="openvino", precision="bf16")
        with pytest.raises(UsageError, match="OpenVINO has no device 'TOASTER' here"):
            choices(tiny, runtime="openvino", device="toaster")

    def test_what_the_file_says_is_too_far_off_is_not_among_them(self, tmp_path, monkeypatch):
        openvino = pytest.importorskip("saliency_tubes.engine.runtimes.openvino")

        class Core:
            def __getattr__(self, name):
                return getattr(core, name)

            def get_property(self, device, name):
                return ["FP32", "BF16"]

        core = openvino.open_core()
        monkeypatch.setattr(openvino, "open_core", Core)
        missed = Missed("openvino", "bf16", 4, "activation", 0.035, 0.03)
        for file, expected in (((), ("f32", "bf16")), ((missed,), ("f32",))):
            path = write(tmp_path / "m.onnx", make_manifest(missed=file))
            assert choices(path, runtime="openvino").precisions == expected

    def test_onnxruntime_on_a_gpu_is_f32_and_not_tf32(self):
        session = pytest.importorskip("saliency_tubes.engine.runtimes.onnxruntime_session")
        options = {"device_id": "2", "user_compute_stream": "4096"}
        assert session.gpu_options("cuda", 2, 4096) == {**options, "use_tf32": "0"}
        assert session.gpu_options("rtx", 2, 4096) == {**options, "has_user_compute_stream": "1"}

    @pytest.mark.parametrize(
        ("device", "kind"),
        [("Cpu", ("cpu", 0)), ("CUDA:0", ("cuda", 0)), ("cuda:12", ("cuda", 12)), ("rtx", ("rtx", 0))],
    )
    def test_devices_that_onnxruntime_has(self, device, kind):
        session = pytest.importorskip("saliency_tubes.engine.runtimes.onnxruntime_session")
        assert session.split_device(device) == kind

    @pytest.mark.parametrize("device", ["GPU", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "cuda:0:1", ""])
    def test_devices_that_onnxruntime_has_not(self, device):
        session = pytest.importorskip("saliency_tubes.engine.runtimes.onnxruntime_session")
        with pytest.raises(UsageError, match=r"CPU, cuda or cuda:N, .* got device"):
            session.split_device(device)

    def test_names_of_onnxruntime_are_in_it(self):
        """Of providers and settings that are only used where there is a GPU. That its bindings take the arguments is
        tried on the CPU in every test here."""
        ort = pytest.importorskip("onnxruntime")
        session = pytest.importorskip("saliency_tubes.engine.runtimes.onnxruntime_session")
        library = next(Path(ort.__file__).parent.glob("capi/onnxruntime_pybind11_state*")).read_bytes()
        names = ["disable_synchronize_execution_providers", *(names[0] for names in session.PROVIDERS.values())]
        assert [name for name in names if name.encode() not in library] == []

    def test_onnxruntime_computes_in_f32(self, tiny):
        pytest.importorskip("onnxruntime")
        found = choices(tiny, runtime="onnxruntime")
        assert found.precisions == ("f32",)
        assert open_runner(tiny, runtime="onnxruntime").description == f"{found.title}, f32"

    def test_what_is_quickest_only_measuring_tells(self, tiny):
        with pytest.raises(UsageError, match="precision must be one of f32, bf16, got 'auto'"):
            open_runner(tiny, precision="auto")

    @pytest.mark.parametrize(
        ("line", "features"),
        [
            ("flags\t\t: fpu avx512_bf16 amx_bf16", {"fpu", "avx512_bf16", "amx_bf16"}),
            ("Features\t: fp asimd bf16", {"fp", "asimd", "bf16"}),
            ("model name\t: bf16", set()),
        ],
    )
    def test_what_the_processor_says_of_itself(self, tmp_path, line, features):
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
        assert processor_features(tmp_path / "cpuinfo") == features
        assert processor_features(tmp_path / "none") == set()

    def test_a_provider_that_is_not_there(self, tiny, gpu_double):
        ort = pytest.importorskip("onnxruntime")
        if "CUDAExecutionProvider" in ort.get_available_providers():
            pytest.skip("onnxruntime has CUDA here")
        gpu_double()
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime="onnxruntime", device="cuda")
        message(error, "this onnxruntime has no CUDA: it has", "CPU", "onnxruntime-gpu")

    @pytest.mark.parametrize(("missing", "expected"), [((), "OpenVINO"), (("openvino",), "onnxruntime")])
    def test_auto_takes_the_first_there_is(self, tiny, monkeypatch, missing, expected):
        found = importlib.util.find_spec
        if not all(map(found, ONNX_RUNTIMES)):
            pytest.skip(f"needs all of {', '.join(ONNX_RUNTIMES)}")
        monkeypatch.setattr(runner_module, "find_spec", lambda name: None if name in missing else found(name))
        assert open_runner(tiny).description.startswith(expected)

    @pytest.mark.parametrize("runtime", ["auto", *ONNX_RUNTIMES])
    def test_none_installed(self, tiny, monkeypatch, runtime):
        monkeypatch.setattr(runner_module, "find_spec", lambda name: None)
        with pytest.raises(UsageError) as error:
            open_runner(tiny, runtime=runtime)
        message(error, "pip install", "openvino" if runtime == "auto" else runtime)


class TestFiles:
    @pytest.mark.parametrize("name", ["i4d", "", ".", "no/such/model.onnx", "../i3d", "a\0b"])
    def test_no_such_model(self, name):
        with pytest.raises(ModelError) as error:
            find_model(name)
        message(error, repr(name), "i3d")

    def test_an_endless_name(self):
        with pytest.raises(ModelError):
            find_model("a" * 5000)

    def test_a_path(self, tiny):
        assert find_model(tiny) == find_model(str(tiny)) == tiny

    def test_no_manifest(self, folder):
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        ])  # fmt: skip
        onnx.save(helper.make_model(graph), folder / "plain.onnx")
        with pytest.raises(ModelError) as error:
            read_manifest(folder / "plain.onnx")
        message(error, folder / "plain.onnx", "no saliency-tubes manifest", "saliency-tubes export")

    def test_not_onnx(self, folder):
        (folder / "text.onnx").write_text("hello, I am a model")
        with pytest.raises(ModelError) as error:
            open_runner(folder / "text.onnx")
        message(error, folder / "text.onnx", "not an ONNX file")


SIGNALLED = """
import os, signal, sys
from saliency_tubes.engine.runtimes.open import open_runner
one = open_runner(sys.argv[1], runtime="openvino")
two = open_runner(sys.argv[1], runtime="openvino")
del one, two  # in the order they were made in
caught = []
signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
os.kill(os.getpid(), signal.SIGINT)
print(len(caught))
"""


def test_a_signal_after_runners_have_ended_is_caught(tiny):
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", SIGNALLED, str(tiny)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr

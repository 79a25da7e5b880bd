"""The ONNX file: what it says, what is in it, and that it computes what the network does, on networks of a second."""

import dataclasses
import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("openvino", reason="it runs the file")  # here: its telemetry starts a thread that outlives a test

import tiny  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.engine.runtimes.models import read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.open import open_runner  # noqa: E402
from saliency_tubes.export.onnx import HALF_SUFFIX, describe, stored_weights, write_onnx  # noqa: E402
from saliency_tubes.export.tap import Tapped  # noqa: E402
from torch import nn  # noqa: E402

RECIPE = tiny.recipe((4, 8), compact=True)
PLAIN = "pool-dropout-flatten-linear"


def network(kind=PLAIN):
    return tiny.randomised(tiny.Tiny(tiny.linear_heads()[kind]))


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    return path, tiny.export_onnx(model, path, RECIPE)


def shapes(path):
    graph = onnx.load(path).graph
    return {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


def completeness(outputs, manifest, clip_length):
    pooled = np.tensordot(outputs.activation, manifest.window(clip_length).pool(*outputs.activation.shape[2:]), 3)
    rebuilt = manifest.head.class_weights @ pooled + manifest.head.bias
    return np.abs(rebuilt - outputs.logits).max() / np.abs(outputs.logits).max()


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_runtimes_say_what_the_network_says_at_every_length(model, exported, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    path, manifest = exported
    for clip_length in (4, 8):
        found = open_runner(path, clip_length=clip_length, runtime=runtime).infer(tiny.clip(clip_length).numpy())[0]
        with torch.no_grad():
            logits, activation = (value[0].numpy() for value in Tapped(model, "trunk")(tiny.clip(clip_length)))
        # float16 storage
        np.testing.assert_allclose(found.logits, logits, atol=1e-3 * np.abs(logits).max())
        np.testing.assert_allclose(found.activation, activation, atol=1e-3 * np.abs(activation).max())
        assert completeness(found, manifest, clip_length) < 1e-4


@pytest.mark.parametrize("kind", ["conv-pool", "pool-conv-mean", "two-linears", "uneven"])
def test_every_linear_head_is_complete(kind, tmp_path):
    manifest = tiny.export_onnx(network(kind), tmp_path / "t.onnx", tiny.recipe(), layer="trunk")
    found = open_runner(tmp_path / "t.onnx").infer(tiny.clip().numpy())[0]
    assert completeness(found, manifest, 8) < 1e-4
    logits, activation = Tapped(network(kind), "trunk")(tiny.clip())
    np.testing.assert_allclose(found.logits, logits[0].detach(), atol=1e-5 * float(logits.detach().abs().max()))
    np.testing.assert_allclose(found.activation, activation[0].detach(), atol=1e-5)


def test_the_manifest_comes_back_with_the_weights_of_the_graph(model, exported):
    path, manifest = exported
    found = read_manifest(path)
    assert (found.tap, found.channels, found.labels, sorted(found.windows)) == ("trunk", 6, tuple("abcde"), [4, 8])
    np.testing.assert_array_equal(found.head.class_weights, manifest.head.class_weights)
    np.testing.assert_array_equal(found.head.class_weights, stored_weights(model.head[3].weight))
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    kernel = held["model.head.3.weight" + HALF_SUFFIX]
    np.testing.assert_array_equal(kernel.astype(np.float32), found.head.class_weights)
    np.testing.assert_array_equal(held["model.head.3.bias"], found.head.bias)


def test_the_graph_holds_nothing_but_the_model(exported):
    proto = onnx.load(exported[0])
    assert [entry.version for entry in proto.opset_import] == [20]
    assert not proto.producer_version
    assert not proto.graph.value_info
    for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        assert not part.doc_string
        assert not part.metadata_props
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}
    assert shapes(exported[0]) == {
        "clip": ["batch", 3, "frames", 16, 24],
        "logits": ["batch", 5],
        "activation": ["batch", 6, "slices", 8, 12],
    }


@pytest.mark.parametrize("head", ["linear", "gradient"])
def test_the_same_network_makes_the_same_bytes(head, tmp_path):
    digests = set()
    for name in ("a", "b"):
        tiny.export_onnx(network(), tmp_path / name, tiny.recipe(), head=head)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert len(digests) == 1


def test_one_window_makes_a_file_of_that_length_alone(tmp_path):
    tiny.export_onnx(network(), tmp_path / "t.onnx", tiny.recipe(), dynamic_batch=False)
    assert shapes(tmp_path / "t.onnx") == {
        "clip": [1, 3, 8, 16, 24],
        "logits": [1, 5],
        "activation": [1, 6, 4, 8, 12],
    }


def test_a_head_of_gradients_has_an_input_and_an_output_more(tmp_path):
    model = tiny.randomised(tiny.Tiny(tiny.other_heads()["mlp"])).train()
    manifest, analysis = describe(model, tiny.recipe())
    assert manifest.head is None
    assert "not linear" in analysis.reason
    assert write_onnx(model, manifest, tmp_path / "t.onnx", tiny.recipe()) == ""
    assert model.training
    assert all(one.requires_grad for one in model.parameters())
    found = shapes(tmp_path / "t.onnx")
    assert found["class"] == ["batch"]
    assert found["weights"] == ["batch", 6]
    assert not read_manifest(tmp_path / "t.onnx").head


class Fixed(tiny.Tiny):
    """Only one clip at a time."""

    def forward(self, clip):
        x = self.trunk(clip)
        return self.head(x.reshape(1, *x.shape[1:]) if clip.shape[0] == 1 else 1 / 0)


def test_a_batch_that_cannot_be_dynamic_is_one_and_said_to_be(tmp_path):
    model = tiny.randomised(Fixed(tiny.linear_heads()[PLAIN]))
    manifest, _ = describe(model, tiny.recipe())
    assert "cannot export tiny: " in write_onnx(model, manifest, tmp_path / "t.onnx", tiny.recipe())
    assert shapes(tmp_path / "t.onnx")["clip"] == [1, 3, 8, 16, 24]
    assert open_runner(tmp_path / "t.onnx").infer(tiny.clip().numpy())[0].logits.shape == (5,)


def test_what_cannot_be_traced_leaves_no_file(tmp_path):
    head = nn.Sequential(nn.ConvTranspose3d(6, 6, 2, 2), nn.ReLU(), tiny.Mean(2, 3, 4), nn.Linear(6, 5))
    model = tiny.randomised(tiny.Tiny(head))
    with pytest.raises(ModelError, match="cannot export tiny: a transposed convolution") as raised:
        tiny.export_onnx(model, tmp_path / "t.onnx", tiny.recipe(), layer="trunk")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_labels_that_do_not_fit_are_counted():
    with pytest.raises(UsageError, match="the network has 5 classes, the labels are 2"):
        describe(network(), dataclasses.replace(RECIPE, labels=("a", "b")))


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match=r"cannot write .*: No such file"):
        tiny.export_onnx(network(), tmp_path / "no" / "t.onnx", tiny.recipe())

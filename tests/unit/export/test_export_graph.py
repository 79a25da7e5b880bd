"""The tap, the ONNX file and the check, on a network small enough to export in a second or two."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("openvino", reason="the check runs it")  # here: its telemetry starts a thread that outlives a test

from saliency_tubes.engine.errors import ModelError  # noqa: E402
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec  # noqa: E402
from saliency_tubes.engine.runner import open_runner, read_manifest  # noqa: E402
from saliency_tubes.export.check import check  # noqa: E402
from saliency_tubes.export.onnx import export_onnx, stored_weights  # noqa: E402
from saliency_tubes.export.tap import Tapped  # noqa: E402


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv3d(3, 4, 3, 2, padding=1)
        self.norm = torch.nn.BatchNorm3d(4)
        self.relu = torch.nn.ReLU()
        self.fc = torch.nn.Linear(4, 3)

    def forward(self, clip):
        return self.fc(self.relu(self.norm(self.conv(clip))).mean((2, 3, 4)))


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return Tiny().eval()


@pytest.fixture(scope="module")
def manifest(tiny):
    return Manifest(
        name="tiny",
        title="Tiny",
        license="none",
        input=InputSpec((8, 12), (0.5, 0.4, 0.3), (0.5, 0.4, 0.3), short_side=12),
        windows={4: WindowSpec((0.5, 0.5), (0, 2)), 8: WindowSpec((0.25,) * 4, (1, 3))},
        default_frames=8,
        labels=("a", "b", "c"),
        tap="relu",
        channels=4,
        head=LinearHead(stored_weights(tiny.fc.weight), tiny.fc.bias.detach().numpy()),
    )


@pytest.fixture(scope="module")
def exported(tiny, manifest, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "tiny.onnx"
    export_onnx(tiny, manifest, path, frames_step=2)
    return path


def test_the_tap_gives_logits_and_activation(tiny):
    clip = torch.randn(2, 3, 4, 8, 12)
    logits, activation = Tapped(tiny, "relu")(clip)
    assert torch.equal(logits, tiny(clip))
    assert activation.shape == (2, 4, 2, 4, 6)
    assert not tiny.relu._forward_hooks


def test_a_layer_that_is_not_there_is_answered_with_those_that_are(tiny):
    with pytest.raises(ModelError, match="no layer 'layer4'; there are conv, norm, relu, fc"):
        Tapped(tiny, "layer4")


def test_a_layer_without_an_activation_is_refused(tiny):
    with pytest.raises(ModelError, match=r"it gave \[\[1, 3\]\]"):
        Tapped(tiny, "fc")(torch.zeros(1, 3, 4, 8, 12))


def test_the_file_says_what_the_network_says_at_every_length(tiny, manifest, exported):
    report = check(exported, tiny, manifest)
    assert sorted(report.errors) == [4, 8]
    assert all(not errors.misses() for errors in report.errors.values())


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_runtimes_take_every_length(exported, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    for frames in (4, 8):
        outputs = open_runner(exported, frames=frames, runtime=runtime).run(np.zeros((1, 3, frames, 8, 12), np.float32))
        assert outputs.activation.shape == (4, frames // 2, 4, 6)


def test_the_manifest_comes_back_with_the_weights_of_the_graph(manifest, exported):
    found = read_manifest(exported)
    np.testing.assert_array_equal(found.head.class_weights, manifest.head.class_weights)
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(exported).graph.initializer}
    np.testing.assert_array_equal(held["model.fc.weight.f16"].astype(np.float32), found.head.class_weights)
    np.testing.assert_array_equal(held["model.fc.bias"], found.head.bias)


def test_the_graph_holds_nothing_but_the_model(exported):
    proto = onnx.load(exported)
    assert [entry.version for entry in proto.opset_import] == [20]
    assert not proto.producer_version
    assert not proto.graph.value_info
    for part in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        assert not part.doc_string
        assert not part.metadata_props
    shapes = [
        [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*proto.graph.input, *proto.graph.output)
    ]
    assert shapes == [["batch", 3, "frames", 8, 12], ["batch", 3], ["batch", 4, "slices", 4, 6]]
    assert "BatchNormalization" not in {node.op_type for node in proto.graph.node}


def test_a_wrong_file_is_refused_with_its_errors(tiny, manifest, exported):
    other = Tiny().eval()
    with pytest.raises(ModelError, match=r"tiny at 4 frames: logits error .* at most 1e-03 is accepted"):
        check(exported, other, manifest)


def test_a_tube_that_does_not_add_up_is_refused(tiny, manifest, exported):
    head = dataclasses.replace(manifest.head, bias=manifest.head.bias + np.float32(0.1))
    skewed = dataclasses.replace(manifest, head=head)
    with pytest.raises(ModelError, match="completeness error"):
        check(exported, tiny, skewed)


def test_where_each_place_counts_is_part_of_the_sum(tiny, manifest, exported):
    """The head counts all places the same: a manifest that says otherwise does not add up."""
    even, uneven = np.full((4, 6), 1 / 24), np.arange(24).reshape(4, 6) / 276
    for cells, fits in ((even, True), (uneven, False)):
        windows = {
            frames: dataclasses.replace(spec, cell_weights=tuple(map(tuple, cells.tolist())))
            for frames, spec in manifest.windows.items()
        }
        stated = dataclasses.replace(manifest, windows=windows)
        if fits:
            assert not any(errors.misses() for errors in check(exported, tiny, stated).errors.values())
        else:
            with pytest.raises(ModelError, match="completeness error"):
                check(exported, tiny, stated)


def test_one_window_makes_a_file_of_that_length_alone(tiny, manifest, tmp_path):
    export_onnx(tiny, dataclasses.replace(manifest, windows={8: manifest.windows[8]}), tmp_path / "t.onnx")
    shape = onnx.load(tmp_path / "t.onnx").graph.input[0].type.tensor_type.shape
    assert [d.dim_param or d.dim_value for d in shape.dim] == ["batch", 3, 8, 8, 12]

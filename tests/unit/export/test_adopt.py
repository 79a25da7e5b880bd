"""A manifest for an ONNX file that somebody else made."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.runtimes.models import read_manifest
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.export import adopt as adoption_module
from saliency_tubes.export.adopt import Adoption, adopt
from torch import nn

SPEC = InputSpec((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), resize="stretch")
LABELS = ("walk", "run", "sit")


class Net(nn.Module):
    def __init__(self, head: str = "linear") -> None:
        super().__init__()
        torch.manual_seed(3)
        self.trunk = nn.Sequential(nn.Conv3d(3, 5, 3, stride=2, padding=1), nn.ReLU())
        self.fc = nn.Linear(5, 3)
        self.head = head

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        activation = self.trunk(clip)
        pooled = activation.amax((2, 3, 4)) if self.head == "max" else activation.mean((2, 3, 4))
        return self.fc(pooled)


@pytest.fixture(scope="module", params=["linear", "max"])
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("adopt") / f"{request.param}.onnx"
    program = torch.onnx.export(
        Net(request.param).eval(), (torch.zeros(1, 3, 8, 16, 16),), dynamo=True, input_names=["video"],
        output_names=["scores"], verbose=False,
    )  # fmt: skip
    onnx.save(program.model_proto, path)
    return request.param, path


def activation_of(path):
    return next(node.output[0] for node in onnx.load(path).graph.node if node.op_type == "Relu")


def test_an_adopted_file_runs_and_adds_up(model, tmp_path):
    kind, path = model
    adoption = Adoption(SPEC, 8, LABELS, activation_of(path))
    if kind == "max":
        with pytest.raises(ModelError, match="no class weights add up"):
            adopt(path, tmp_path / "out.onnx", adoption)
        assert not (tmp_path / "out.onnx").exists()
        return
    adopt(path, tmp_path / "out.onnx", adoption)
    manifest = read_manifest(tmp_path / "out.onnx")
    assert manifest.labels == LABELS
    assert manifest.input.name == "video"
    clip = np.random.default_rng(0).standard_normal((1, 3, 8, 16, 16)).astype(np.float32)
    for runtime in ("openvino", "onnxruntime"):
        outputs = open_runner(tmp_path / "out.onnx", runtime=runtime).infer(clip)[0]
        pooled = outputs.activation.mean(axis=(1, 2, 3))
        assert np.allclose(manifest.head.class_weights @ pooled + manifest.head.bias, outputs.logits, atol=1e-4)
        with torch.no_grad():
            assert np.allclose(Net().eval()(torch.from_numpy(clip))[0], outputs.logits, atol=1e-4)


def test_a_bias_hides_no_head(model, tmp_path, monkeypatch):
    """On a clip that hardly stirs the network, the logits are the bias, whatever the head does."""
    kind, path = model
    if kind == "linear":
        pytest.skip("this head adds up")
    noise = adoption_module.smooth_noise
    monkeypatch.setattr(adoption_module, "smooth_noise", lambda *what: 0 * noise(*what))
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:  # a trunk that answers next to nothing
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim == 5 or value.shape == (5,):
            tensor.CopyFrom(onnx.numpy_helper.from_array((1e-6 * value).astype(np.float32), tensor.name))
    onnx.save(proto, tmp_path / "still.onnx")
    with pytest.raises(ModelError, match="the activation adds next to nothing to the logits of a test clip"):
        adopt(tmp_path / "still.onnx", tmp_path / "out.onnx", Adoption(SPEC, 8, LABELS, activation_of(path)))


def test_a_file_may_be_its_own_output_and_is_whole_whatever_happens(model, tmp_path, monkeypatch):
    kind, path = model
    if kind == "max":
        pytest.skip("this head does not add up")
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(path.read_bytes())
    adoption = Adoption(SPEC, 8, LABELS, activation_of(path))

    def full(self, data):
        self.open("wb").write(data[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(ModelError, match="No space left on device"):
            adopt(mine, mine, adoption)
    assert mine.read_bytes() == path.read_bytes()
    assert list(tmp_path.iterdir()) == [mine]
    adopt(mine, mine, adoption)
    assert read_manifest(mine).labels == LABELS


def test_data_that_lies_elsewhere_and_is_not_there(model, tmp_path):
    _, path = model
    onnx.save(onnx.load(path), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match=r"its data is not there: .*m\.data"):
        adopt(tmp_path / "m.onnx", tmp_path / "out.onnx", Adoption(SPEC, 8, LABELS, activation_of(path)))


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"labels": LABELS[:2]}, UsageError, "2 labels do not fit 3 logits"),
        ({"activation": "nothing"}, UsageError, "no tensor 'nothing'"),
        ({"logits": "nothing"}, UsageError, "--logits must be one of scores"),
        ({"class_weights": "nothing"}, UsageError, "no initializer 'nothing'"),
        ({"clip_length": 9}, ModelError, "does not run on such a clip"),
    ],
)
def test_what_does_not_fit_is_refused(model, tmp_path, changes, error, says):
    _, path = model
    adoption = Adoption(
        **{"input": SPEC, "clip_length": 8, "labels": LABELS, "activation": activation_of(path), **changes}
    )
    with pytest.raises(error, match=says) as caught:
        adopt(path, tmp_path / "out.onnx", adoption)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.onnx").exists()


def test_a_tap_without_time_and_space_is_refused(model, tmp_path):
    _, path = model
    flat = onnx.load(path).graph.node[-1].input[0]
    with pytest.raises(UsageError, match="a tap needs"):
        adopt(path, tmp_path / "out.onnx", Adoption(SPEC, 8, LABELS, flat))


def test_not_onnx(tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="not an ONNX file"):
        adopt(tmp_path / "x.onnx", tmp_path / "out.onnx", Adoption(SPEC, 8, LABELS, "a"))

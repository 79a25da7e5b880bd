"""A manifest for an ONNX file that somebody else made."""

import numpy as np
import onnx
import pytest
import torch
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.runner import open_runner, read_manifest
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
        outputs = open_runner(tmp_path / "out.onnx", runtime=runtime).run(clip)[0]
        pooled = outputs.activation.mean(axis=(1, 2, 3))
        assert np.allclose(manifest.head.class_weights @ pooled + manifest.head.bias, outputs.logits, atol=1e-4)
        with torch.no_grad():
            assert np.allclose(Net().eval()(torch.from_numpy(clip))[0], outputs.logits, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"labels": LABELS[:2]}, UsageError, "2 labels do not fit 3 logits"),
        ({"activation": "nothing"}, UsageError, "no tensor 'nothing'"),
        ({"logits": "nothing"}, UsageError, "--logits must be one of scores"),
        ({"class_weights": "nothing"}, UsageError, "no initializer 'nothing'"),
        ({"frames": 9}, ModelError, "does not run on such a clip"),
    ],
)
def test_what_does_not_fit_is_refused(model, tmp_path, changes, error, says):
    _, path = model
    adoption = Adoption(**{"input": SPEC, "frames": 8, "labels": LABELS, "activation": activation_of(path), **changes})
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

"""Every network of the zoo, exported: what runtimes say of it, and its tubes against autograd and two other libraries.

Weights are random, of a trained network's scale. `make test` exports each at a small size, `make test-slow` at its own.
"""

import copy
import dataclasses
import sys
import tempfile
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("torchvision", reason="some of the networks are its own")
pytest.importorskip("openvino", reason="it runs the files")  # here: its telemetry starts a thread that outlives a test

from saliency_tubes.engine.manifest import Manifest  # noqa: E402
from saliency_tubes.engine.noise import smooth_noise  # noqa: E402
from saliency_tubes.engine.preprocess import black_clip  # noqa: E402
from saliency_tubes.engine.runtimes.models import read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.open import open_runner  # noqa: E402
from saliency_tubes.engine.saliency import (  # noqa: E402
    Normalize,
    Target,
    make_explanation,
    parse_target,
    pooled,
    run_target,
)
from saliency_tubes.export import zoo  # noqa: E402
from saliency_tubes.export.head import HeadAnalysis  # noqa: E402
from saliency_tubes.export.onnx import describe, write_onnx  # noqa: E402

SMALL = {
    "i3d": ((16, 24), 64),
    "mfnet": ((4,), 64),
    "r3d_18": ((16,), 32),
    "mc3_18": ((8,), 32),
    "r2plus1d_18": ((16,), 32),
    "s3d": ((16,), 64),
    "x3d_xs": ((3,), 64),
    "x3d_s": ((4,), 64),
    "x3d_m": ((5,), 64),
    "c3d": ((16,), 112),
    "slow_r50": ((2,), 64),
    "slowfast_r50": ((8,), 64),
}
"""clip lengths, and height and width: as little as leaves several slices and 2 x 2 cells; I3D serves several lengths"""
TAPS = {
    "i3d": "Mixed_5c",
    "mfnet": "tail",
    "r3d_18": "layer4",
    "mc3_18": "layer4",
    "r2plus1d_18": "layer4",
    "s3d": "features",
    "x3d_xs": "blocks.5.pool.pre_act",
    "x3d_s": "blocks.5.pool.pre_act",
    "x3d_m": "blocks.5.pool.pre_act",
    "c3d": "relu5b",
    "slow_r50": "blocks.4",
    "slowfast_r50": "activation",
}
GRADIENT = {"x3d_xs", "x3d_s", "x3d_m", "c3d"}
"""networks with more than one layer behind the tap; the others' heads are linear"""
EVERY_TIME = {"r3d_18", "mfnet"}
"""the others are left to the slow run: up to half a minute each"""
RUNTIMES = ["onnxruntime", "openvino"]
NAMED = 7
"""the class asked for by name"""
LOGITS, ACTIVATION, TUBE, WEIGHTS, COMPLETENESS = 1e-4, 1e-3, 1e-4, 1e-4, 1e-4
"""the largest error accepted, as a share of the largest value; of the activation's norm"""


def randomise(model, seed=0):
    """Seeded tensors of a trained network's scale, BatchNorm's running statistics too."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        if tensor.ndim > 1:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        else:
            tensor.uniform_(-0.2, 0.6, generator=generator)


def error(found, expected):
    """The largest difference, as a share of the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@dataclasses.dataclass
class Exported:
    """A network and its file, and what was said of one clip, each worked out once."""

    name: str
    model: torch.nn.Module
    manifest: Manifest
    analysis: HeadAnalysis
    path: Path
    remark: str
    found: dict = dataclasses.field(default_factory=dict)

    @cached_property
    def clip(self):
        """Other noise than the export looks at, of the longest length."""
        return smooth_noise(self.manifest.input, max(self.manifest.windows), seed=1)

    @property
    def layer(self):
        return self.model.get_submodule(self.manifest.tap)

    @property
    def targets(self):
        return Target(), parse_target(self.manifest.labels[NAMED], self.manifest.labels)

    def run(self, runtime, target):
        """The engine's outputs, weights and explanation of the clip."""
        if runtime not in self.found:
            runner, self.found[runtime] = open_runner(self.path, clip_length=self.clip.shape[2], runtime=runtime), {}
            for one in self.targets:
                outputs, weights = run_target(
                    lambda data, class_id, runner=runner: runner.infer(data, [class_id])[0],
                    runner.manifest.head, self.clip, one,
                )  # fmt: skip
                self.found[runtime][one] = outputs, weights, self.explain(outputs, weights, one)
        return self.found[runtime][target]

    def explain(self, outputs, weights, target):
        clip_length = self.clip.shape[2]
        clip = black_clip(self.manifest.input, clip_length)
        return make_explanation(outputs, weights, self.manifest, clip, target, window=0, normalize=Normalize())

    @cached_property
    def reference(self):
        """Logits [K] and the activation [C, t, h, w] of PyTorch."""
        kept = []
        hook = self.layer.register_forward_hook(lambda module, inputs, output: kept.append(output[0].clone()))
        with torch.no_grad():
            logits = self.model(torch.from_numpy(self.clip))[0]
        hook.remove()
        return logits.numpy(), kept[0].numpy()

    @cached_property
    def autograd(self):
        """By target: weights [C] from the definition, every cell's derivative, summed; in float64 from the tap on."""
        network, kept = copy.deepcopy(self.model).requires_grad_(False), []

        def cut(module, inputs, output):
            network.double()  # not before: S3D's trunk, at its full size, would need 8 GB
            kept.append(output.detach().double().requires_grad_(True))
            return kept[-1].clone()

        network.get_submodule(self.manifest.tap).register_forward_hook(cut)
        logits = network(torch.from_numpy(self.clip))[0]
        classes = {target: int(logits.argmax()) if target.first is None else target.first for target in self.targets}
        return {
            target: torch.autograd.grad(logits[index], kept[0], retain_graph=True)[0][0].sum((1, 2, 3)).numpy()
            for target, index in classes.items()
        }


def cases():
    slow = pytest.mark.slow
    small = [pytest.param((name, True), id=name, marks=[slow] * (name not in EVERY_TIME)) for name in zoo.NETWORKS]
    return small + [pytest.param((name, False), id=f"{name}-full", marks=slow) for name in zoo.NETWORKS]


@pytest.fixture(scope="module", params=cases())
def exported(request, tmp_path_factory):
    name, small = request.param
    clip_lengths, size = SMALL[name] if small else (None, None)
    model, recipe = zoo.load(name, weights=None, clip_lengths=clip_lengths, size=size)
    # rounded kernels have bounds of their own: tests/unit/export/test_export_graph.py holds them
    recipe = dataclasses.replace(recipe, compact=False)
    randomise(model)
    manifest, analysis = describe(model, recipe)
    folder = tmp_path_factory.mktemp("zoo")
    path = folder / f"{name}.onnx"
    remark = write_onnx(model, manifest, path, recipe)
    yield Exported(name, model, read_manifest(path), analysis, path, remark)
    path.unlink()  # hundreds of megabytes each


@pytest.fixture(params=[0, 1], ids=["top", "named"])
def target(request, exported):
    return exported.targets[request.param]


@pytest.fixture
def linear(exported):
    if exported.name in GRADIENT:
        pytest.skip("its head is not linear")


def test_the_head_and_the_tap_are_the_networks_own(exported):
    gradient = exported.name in GRADIENT
    assert exported.manifest.tap == TAPS[exported.name]
    assert exported.analysis.linear != gradient
    assert (exported.manifest.head is None) == gradient
    assert ("weights" in exported.manifest.outputs) == gradient
    assert exported.analysis.reason.startswith("not linear: off by " if gradient else "linear: ")
    assert exported.remark == ""


def test_the_file_says_nothing_of_where_it_was_made(exported):
    proto = onnx.load(exported.path)
    for message in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.initializer):
        assert not message.doc_string
    for message in (proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.initializer):
        assert not message.metadata_props
    for tensor in proto.graph.initializer:  # random bytes may spell anything
        tensor.ClearField("raw_data")
    data = proto.SerializeToString()
    folders = {Path(__file__).parents[2], Path.home(), Path(tempfile.gettempdir()), exported.path.parent}
    folders |= {Path(sys.prefix), Path(torch.__file__).parent}
    words = [*(f"{folder}/" for folder in folders), "site-packages", ".py", "Traceback", 'File "', "stack_trace"]
    assert not [word for word in words if word.encode() in data]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_runtimes_say_what_torch_says(exported, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    outputs, _, explanation = exported.run(runtime, Target())
    logits, activation = exported.reference
    assert activation.std() > 0.1 * np.abs(activation).mean() > 0
    assert min(activation.shape[1:]) > 1
    assert error(outputs.logits, logits) <= LOGITS
    assert np.linalg.norm(outputs.activation - activation) <= ACTIVATION * np.linalg.norm(activation)
    assert explanation.explained[0].id == logits.argmax()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_tube_is_captums_grad_cam(exported, runtime, target):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    captum = pytest.importorskip("captum.attr", reason="needs captum")  # here: it takes long to import
    _, _, explanation = exported.run(runtime, target)
    drawn = captum.LayerGradCam(exported.model, exported.layer).attribute(
        torch.from_numpy(exported.clip), explanation.explained[0].id
    )
    found, drawn = explanation.tube.evidence, drawn[0, 0].detach().numpy()
    assert np.ptp(drawn) > 0.01 * np.abs(drawn).max()
    assert error(found, drawn * drawn.size) <= TUBE  # captum takes the mean of the gradient over cells, not the sum


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_tube_of_a_linear_head_is_torchcams(exported, runtime, target, linear):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    methods = pytest.importorskip("torchcam.methods", reason="needs torchcam", exc_type=ImportError)
    _, _, explanation = exported.run(runtime, target)
    classifier = zoo.NETWORKS[exported.name].classifier.removesuffix(".weight")
    with methods.CAM(exported.model, exported.manifest.tap, classifier) as cam, torch.no_grad():
        exported.model(torch.from_numpy(exported.clip))
        (drawn,) = cam(explanation.explained[0].id, normalized=False)
    assert error(explanation.tube.evidence, drawn[0].numpy()) <= TUBE


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_tubes_of_a_linear_head_add_up_to_the_logits(exported, runtime, linear):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    head, (logits, _) = exported.manifest.head, exported.reference
    for target in exported.targets:
        outputs, _, explanation = exported.run(runtime, target)
        index = explanation.explained[0].id
        total = pooled(explanation.tube) + head.bias[index]
        assert total == pytest.approx(logits[index], abs=COMPLETENESS * float(np.abs(logits).max()))
    tubes = np.einsum("kc,cthw->kthw", head.class_weights, outputs.activation, dtype=np.float64)
    totals = (tubes * explanation.tube.pool).sum((1, 2, 3)) + head.bias
    assert error(totals, logits) <= COMPLETENESS


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_are_what_autograd_gives_in_float64(exported, runtime, target):
    """A linear head's own weights too."""
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    _, weights, _ = exported.run(runtime, target)
    assert error(weights, exported.autograd[target]) <= WEIGHTS


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_other_lengths_of_one_file_are_served_too(exported, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    others = sorted(exported.manifest.windows)[:-1]
    assert bool(others) == (exported.name == "i3d")
    for clip_length in others:
        clip = smooth_noise(exported.manifest.input, clip_length, seed=1)
        outputs = open_runner(exported.path, clip_length=clip_length, runtime=runtime).infer(clip)[0]
        with torch.no_grad():
            logits = exported.model(torch.from_numpy(clip))[0].numpy()
        assert error(outputs.logits, logits) <= LOGITS
        head, spec = exported.manifest.head, exported.manifest.window(clip_length)
        weights = spec.pool(*outputs.activation.shape[2:])
        totals = head.class_weights @ np.tensordot(outputs.activation, weights, 3) + head.bias
        assert error(totals, logits) <= COMPLETENESS

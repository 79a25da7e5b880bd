"""Class weights by gradients, inside the graph: what autograd says in float64, in every runtime."""

import copy

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("openvino", reason="it runs the graph")  # here: its telemetry starts a thread that outlives a test

import tiny  # noqa: E402
from saliency_tubes.engine.runtimes.open import open_runner  # noqa: E402
from saliency_tubes.export.gradient import WithGradient, trace_gradient  # noqa: E402
from tiny import export_onnx  # noqa: E402
from torch import nn  # noqa: E402


def by_autograd(model, layer, clip, class_id):
    """Straight from the definition, in float64: every cell's derivative, summed."""
    double, kept = copy.deepcopy(model).double(), []

    def keep(module, inputs, output):
        kept.append(output)
        output.retain_grad()
        return output.clone()

    double.get_submodule(layer).register_forward_hook(keep)
    logits = double(clip.double())
    chosen = int(logits.argmax()) if class_id is None else class_id
    logits[0, chosen].backward()
    return logits.detach()[0].numpy(), kept[0].grad[0].sum((1, 2, 3)).numpy()


def network(kind):
    return tiny.randomised(tiny.Deep() if kind == "deep" else tiny.Tiny(tiny.other_heads()[kind], inplace=True))


@pytest.fixture(
    scope="module",
    params=[("attention", "trunk"), ("conv-pool-mlp", "trunk"), ("deep", "stem"), ("mlp", "trunk.1")],
    ids="-".join,
)
def exported(request, tmp_path_factory):
    kind, layer = request.param
    model, path = network(kind), tmp_path_factory.mktemp("gradient") / "tiny.onnx"
    clip_lengths = (8, 12) if kind == "deep" else (8,)
    return model, layer, path, export_onnx(model, path, tiny.recipe(clip_lengths), layer=layer, head="gradient")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_runtimes_give_what_autograd_gives(exported, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    model, layer, path, manifest = exported
    for clip_length in manifest.windows:
        runner = open_runner(path, clip_length=clip_length, runtime=runtime)
        for class_id in (None, 3):
            found = runner.infer(tiny.clip(clip_length).numpy(), [class_id])[0]
            logits, weights = by_autograd(model, layer, tiny.clip(clip_length), class_id)
            np.testing.assert_allclose(found.weights, weights, atol=1e-4 * np.abs(weights).max())
            np.testing.assert_allclose(found.logits, logits, atol=1e-4 * np.abs(logits).max())


def test_a_batch_has_a_class_for_each_clip(exported):
    ort = pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    model, layer, path, _ = exported
    session, clips = ort.InferenceSession(str(path)), tiny.clip(batch=3)
    classes = [-1, 2, 4]
    feed = {"clip": clips.numpy(), "class": np.array(classes)}
    (found,) = session.run(["weights"], feed)
    for at, class_id in enumerate(classes):
        _, weights = by_autograd(model, layer, clips[at : at + 1], None if class_id < 0 else class_id)
        np.testing.assert_allclose(found[at], weights, atol=1e-4 * np.abs(weights).max())


def test_a_linear_heads_gradient_is_its_class_weights():
    model = tiny.randomised(tiny.Tiny(tiny.linear_heads()["pool-conv-mean"]))
    _, _, weights = WithGradient(model, "trunk")(tiny.clip(batch=2), torch.tensor([1, 4]))
    torch.testing.assert_close(weights, model.head[1].weight.flatten(1)[[1, 4]])


def test_grad_cam_and_class_activation_maps_are_those_of_independent_libraries():
    captum = pytest.importorskip("captum.attr", reason="needs captum")
    model, clip = network("mlp"), tiny.clip()
    _, activation, weights = WithGradient(model, "trunk")(clip, torch.tensor([2]))
    tube = torch.einsum("nk,nkthw->nthw", weights, activation)
    # captum takes the mean over cells, and an attribution of its own is signed unless asked
    expected = captum.LayerGradCam(model, model.trunk).attribute(clip, 2)[:, 0].detach() * activation[0, 0].numel()
    torch.testing.assert_close(tube, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_torchcam_draws_the_same(kind):
    methods = pytest.importorskip("torchcam.methods", reason="needs torchcam")
    head = tiny.linear_heads()["pool-dropout-flatten-linear"] if kind == "linear" else tiny.other_heads()["mlp"]
    model, clip = tiny.randomised(tiny.Tiny(head)), tiny.clip()
    options = {"target_layer": "trunk", "input_shape": tuple(clip.shape[1:])}
    if kind == "linear":
        options["fc_layer"] = "head.3"
    method = (methods.CAM if kind == "linear" else methods.GradCAM)(model, **options)
    (drawn,) = method(2, model(clip), normalized=False)
    method.remove_hooks()
    _, activation, weights = WithGradient(model, "trunk")(clip, torch.tensor([2]))
    tube = torch.einsum("nk,nkthw->nthw", weights, activation)[0]
    if kind == "mlp":
        tube = tube.relu() / activation[0, 0].numel()
    drawn = drawn.reshape(tube.shape).detach()
    torch.testing.assert_close(tube, drawn, atol=1e-4 * float(drawn.abs().max()), rtol=0)


def test_what_has_no_backward_pass_in_onnx_is_said():
    head = nn.Sequential(nn.ConvTranspose3d(6, 6, 2, 2), nn.ReLU(), tiny.Mean(2, 3, 4), nn.Linear(6, 5))
    with pytest.raises(NotImplementedError, match="transposed convolution between tap and logits"):
        trace_gradient(tiny.randomised(tiny.Tiny(head)), "trunk", tiny.clip(batch=2))

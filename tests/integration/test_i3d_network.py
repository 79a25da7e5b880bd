"""I3D on real clips: the module against a definition written out, the shipped file against it, the sum of the tube."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
pytest.importorskip("openvino", reason="it runs the file")  # here: its telemetry starts a thread that outlives a test

from saliency_tubes.engine.preprocess import sample  # noqa: E402
from saliency_tubes.engine.runtimes.compare import compare, completeness  # noqa: E402
from saliency_tubes.engine.runtimes.models import ASSETS, read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.open import open_runner  # noqa: E402
from saliency_tubes.engine.types import HostOutputs  # noqa: E402
from saliency_tubes.export import zoo  # noqa: E402
from saliency_tubes.export.check import check  # noqa: E402
from saliency_tubes.export.onnx import describe, write_onnx  # noqa: E402
from saliency_tubes.export.tap import Tapped  # noqa: E402
from saliency_tubes.export.zoo import i3d_weights as weights  # noqa: E402
from saliency_tubes.stream.sources.open import open_source  # noqa: E402
from torch.nn import functional as F  # noqa: E402

ASSET = ASSETS / "i3d.onnx"
CASES = {
    16: ("arm_wrestling", "arm wrestling"),
    32: ("juggling_soccer_ball", "juggling soccer ball"),
    64: ("ego_washing_dishes", "washing dishes"),
}
"""clip and what is seen in it, by the number of frames from its beginning"""
MIDDLE = pytest.param(32, marks=pytest.mark.slow)
"""Between the shortest and the trained length, which are always tried."""


@pytest.fixture(scope="module")
def checkpoint():
    path = weights.find_installed() or weights.cache_folder() / "i3d-kinetics-400.ckpt"
    if not path.is_file():
        pytest.skip("needs the I3D checkpoint: 'saliency-tubes export i3d' fetches it into the cache")
    return path


@pytest.fixture(scope="module")
def network(checkpoint):
    return Tapped(weights.load_i3d(checkpoint), "Mixed_5c").eval()


@pytest.fixture(scope="module")
def manifest():
    return read_manifest(ASSET)


@pytest.fixture(scope="module")
def real(clips, manifest):
    """The clips of CASES as [1, 3, T, 224, 224] float32 in -1..1."""
    return {
        clip_length: read_clip(clips / f"{name}.mp4", clip_length, manifest) for clip_length, (name, _) in CASES.items()
    }


@pytest.fixture(scope="module")
def expected(network, real):
    """Gives what PyTorch says of the clip of a length, with the weights as they came: float32, batch norm and all."""

    @cache
    def of(clip_length):
        with torch.no_grad():
            logits, activation = network(torch.from_numpy(real[clip_length]))
        return HostOutputs(logits[0].numpy(), activation[0].numpy())

    return of


def read_clip(path, clip_length, manifest):
    source = open_source(str(path))
    try:
        pictures = [sample(frame, manifest.input).pixels for frame, _ in zip(source, range(clip_length), strict=False)]
    finally:
        source.close()
    clip = np.stack(pictures).transpose(3, 0, 1, 2)[None]
    return np.ascontiguousarray(clip / np.float32(127.5) - 1, np.float32)


def same(x, kernel, stride, value):
    """TensorFlow's SAME padding, explicitly."""
    pads = []
    for size, k, s in zip(x.shape[2:], kernel, stride, strict=True):
        total = max((-(-size // s) - 1) * s + k - size, 0)
        pads = [total // 2, total - total // 2, *pads]
    return F.pad(x, pads, value=value)


def literal_i3d(arrays, clip):
    """I3D as a list of TensorFlow's steps over the checkpoint's own arrays. Returns logits [1, 400] and Mixed_5c."""

    def unit(x, name, stride=(1, 1, 1)):
        kernel = torch.from_numpy(np.ascontiguousarray(arrays[f"params.{name}.Conv_0.kernel"].transpose(4, 3, 0, 1, 2)))
        stats = [
            f"batch_stats.{name}.BatchNorm_0.mean",
            f"batch_stats.{name}.BatchNorm_0.var",
            f"params.{name}.BatchNorm_0.bias",
        ]
        mean, var, beta = (torch.from_numpy(arrays[key].reshape(1, -1, 1, 1, 1)) for key in stats)
        x = F.conv3d(same(x, kernel.shape[2:], stride, 0.0), kernel, stride=stride)
        return torch.clamp((x - mean) / torch.sqrt(var + 1e-3) + beta, min=0)

    def pool(x, kernel, stride):
        return F.max_pool3d(same(x, kernel, stride, -torch.inf), kernel, stride)

    def mixed(x, name):
        b1 = unit(unit(x, f"{name}.Branch_1/Conv3d_0a_1x1"), f"{name}.Branch_1/Conv3d_0b_3x3")
        b2 = unit(unit(x, f"{name}.Branch_2/Conv3d_0a_1x1"), f"{name}.Branch_2/Conv3d_0b_3x3")
        b3 = unit(pool(x, (3, 3, 3), (1, 1, 1)), f"{name}.Branch_3/Conv3d_0b_1x1")
        return torch.cat([unit(x, f"{name}.Branch_0/Conv3d_0a_1x1"), b1, b2, b3], 1)

    x = pool(unit(clip, "Conv3d_1a_7x7", (2, 2, 2)), (1, 3, 3), (1, 2, 2))
    x = pool(unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3"), (1, 3, 3), (1, 2, 2))
    for stage, after in (("3bc", ((3, 3, 3), (2, 2, 2))), ("4bcdef", ((2, 2, 2), (2, 2, 2))), ("5bc", None)):
        for letter in stage[1:]:
            x = mixed(x, f"Mixed_{stage[0]}{letter}")
        x = pool(x, *after) if after else x
    means = x.mean((3, 4))
    pairs = (means[:, :, 1:] + means[:, :, :-1]) / 2
    kernel, bias = (arrays[f"params.Logits/Conv3d_0c_1x1.Conv_0.{leaf}"] for leaf in ("kernel", "bias"))
    logits = (
        torch.einsum("nct,ck->nkt", pairs, torch.from_numpy(kernel[0, 0, 0])) + torch.from_numpy(bias)[None, :, None]
    )
    return logits.mean(2), x


@pytest.mark.parametrize("clip_length", [16, MIDDLE])
def test_the_module_is_the_definition_written_out(checkpoint, real, expected, clip_length):
    with torch.no_grad():
        logits, activation = literal_i3d(weights.read_checkpoint(checkpoint), torch.from_numpy(real[clip_length]))
    logits, activation = logits[0].numpy(), activation[0].numpy()
    assert np.abs(expected(clip_length).logits - logits).max() <= 1e-4 * np.abs(logits).max()
    assert np.linalg.norm(expected(clip_length).activation - activation) <= 1e-4 * np.linalg.norm(activation)


@pytest.mark.parametrize(
    ("clip_length", "runtime"),
    [
        (16, "openvino"),
        (16, "onnxruntime"),
        (64, "openvino"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((32, "openvino"), (32, "onnxruntime"), (64, "onnxruntime"))
        ),
    ],
)
def test_the_shipped_file_says_what_the_network_says(real, expected, manifest, clip_length, runtime):
    pytest.importorskip(runtime, reason=f"needs {runtime}")
    found = open_runner(ASSET, clip_length=clip_length, runtime=runtime, precision="f32").infer(real[clip_length])[0]
    assert manifest.labels[int(found.logits.argmax())] == CASES[clip_length][1]
    errors = compare(found, expected(clip_length), manifest, clip_length)
    assert not errors.misses(), errors
    assert errors.completeness <= 1e-5


@pytest.mark.parametrize("clip_length", [16, MIDDLE, 64])
def test_the_tube_adds_up_to_the_logit(real, manifest, clip_length):
    """Needs no checkpoint: weighted mean of the tube plus bias, of the class seen, cell by cell."""
    outputs = open_runner(ASSET, clip_length=clip_length).infer(real[clip_length])[0]
    assert completeness(outputs, manifest, clip_length) <= 1e-5
    seen = manifest.labels.index(CASES[clip_length][1])
    tube = np.einsum("c,cthw->thw", manifest.head.class_weights[seen], outputs.activation, dtype=np.float64)
    total = np.dot(manifest.window(clip_length).slice_weights, tube.mean(axis=(1, 2))) + manifest.head.bias[seen]
    assert total == pytest.approx(outputs.logits[seen], rel=1e-4)
    if clip_length > 16:
        assert abs(tube.mean() + manifest.head.bias[seen] - outputs.logits[seen]) > 1e-2


@pytest.mark.slow
def test_a_layer_far_from_the_head(checkpoint, real, tmp_path):
    """Two Inception blocks and two max pools lie behind Mixed_4f: the graph gives weights by gradient."""
    model, recipe = zoo.load("i3d", weights=checkpoint, clip_lengths=[16])
    path, recipe = tmp_path / "4f.onnx", replace(recipe, compact=False)
    manifest, analysis = describe(model, recipe, layer="Mixed_4f")
    assert not analysis.linear
    write_onnx(model, manifest, path, recipe)
    errors: dict[str, list[float]] = {}
    for clip in real.values():  # each is held to the bounds of f32
        for row in check(path, model, clips=[clip[:, :, :16]], precision="f32").rows:
            if row.errors and "bf16" not in row.runtime:
                errors.setdefault(row.runtime, []).append(row.errors.weights)
    assert errors
    for found in errors.values():  # engine/runtimes/bounds.py says why a clip may come out far worse than the others
        assert np.median(found) <= 1e-5

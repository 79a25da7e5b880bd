"""The file of I3D that ships with the package: what is in it, and that the exporter makes it."""

import re
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")

from saliency_tubes.engine.runtimes.models import ASSETS, read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.onnxfile import read_metadata  # noqa: E402
from saliency_tubes.export import labels, zoo  # noqa: E402
from saliency_tubes.export.half import round_to_half  # noqa: E402
from saliency_tubes.export.onnx import HALF_SUFFIX, describe, write_onnx  # noqa: E402
from saliency_tubes.export.zoo import i3d_weights as weights  # noqa: E402

ASSET = ASSETS / "i3d.onnx"
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
WRITERS = ("torch", "onnx", "onnx-ir", "onnxscript")
"""whose versions decide the bytes"""


@pytest.fixture(scope="module")
def asset():
    return onnx.load(ASSET)


@pytest.fixture(scope="module")
def checkpoint():
    path = weights.find_installed() or weights.cache_folder() / "i3d-kinetics-400.ckpt"
    if not path.is_file():
        pytest.skip("needs the I3D checkpoint: 'saliency-tubes export i3d' fetches it into the cache")
    return path


@pytest.fixture(scope="module")
def model(checkpoint):
    return weights.load_i3d(checkpoint)


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory):
    """As `saliency-tubes export i3d` writes it, before its check."""
    path = tmp_path_factory.mktemp("i3d") / "i3d.onnx"
    model, recipe = zoo.load("i3d")  # the published weights, which are in reach: see `checkpoint`
    manifest, _ = describe(model, recipe)
    assert write_onnx(model, manifest, path, recipe) == ""
    return path


def tensors(proto):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def test_what_the_file_says_of_itself():
    manifest = read_manifest(ASSET)
    assert (manifest.name, manifest.tap, manifest.default_clip_length) == ("i3d", "Mixed_5c", 64)
    assert (manifest.input.size, manifest.input.short_side, manifest.input.rate) == ((224, 224), 256, 25.0)
    assert manifest.input.mean == manifest.input.std == (0.5, 0.5, 0.5)
    assert {clip_length: spec.trusted for clip_length, spec in manifest.windows.items()} == {
        16: (0, 2),
        32: (1, 3),
        64: (1, 7),
    }
    assert manifest.windows[64].slice_weights == pytest.approx([1 / 14, *[1 / 7] * 6, 1 / 14])
    assert "Apache-2.0" in manifest.license
    assert manifest.labels == labels.named("kinetics400")
    assert manifest.channels == 1024
    assert not any(spec.cell_weights for spec in manifest.windows.values())


def test_the_labels_are_those_of_kinetics_400():
    names = labels.named("kinetics400")
    assert len(names) == len(set(names)) == 400
    assert list(names) == sorted(names)
    assert (names[6], names[399]) == ("arm wrestling", "zumba")
    meta = pytest.importorskip("torchvision.models._meta", reason="torchvision carries the same list")
    assert list(names) == meta._KINETICS400_CATEGORIES


def test_the_class_weights_are_those_in_the_graph(asset):
    manifest, held = read_manifest(ASSET), tensors(asset)
    kernel = held["model.Logits.Conv3d_0c_1x1.weight" + HALF_SUFFIX]
    assert kernel.dtype == np.float16
    np.testing.assert_array_equal(kernel.reshape(400, 1024).astype(np.float32), manifest.head.class_weights)
    np.testing.assert_array_equal(held["model.Logits.Conv3d_0c_1x1.bias"], manifest.head.bias)


def test_it_holds_the_model_and_nothing_of_where_it_was_made(asset):
    assert set(read_metadata(ASSET)) == {"saliency_tubes.manifest", "saliency_tubes.class_weights"}
    for part in (asset.graph, *asset.graph.node, *asset.graph.input, *asset.graph.output, *asset.graph.initializer):
        assert not part.doc_string
        assert not part.metadata_props
    asset_without_numbers = onnx.ModelProto()
    asset_without_numbers.CopyFrom(asset)
    asset_without_numbers.graph.ClearField("initializer")
    text = str(asset_without_numbers.graph) + asset.producer_name + asset.producer_version + asset.doc_string
    assert not re.search(r"\.py\b|stack_trace|torch|File \"|\"[^\"]*/(home|root|tmp|usr|work|opt)/", text)
    assert not re.search(rb"site-packages|/home/|/usr/lib|stack_trace|pkg\.torch", ASSET.read_bytes())


def test_it_is_no_larger_than_its_weights_at_two_bytes(asset):
    assert ASSET.stat().st_size < 27_000_000
    assert Counter(node.op_type for node in asset.graph.node)["Conv"] == 58


def other_versions():
    """The packages that decide the bytes and are not here as constraints.txt pins them: "onnx 1.23.1, not 1.23.2"."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    found = {}
    for name in WRITERS:
        try:
            found[name] = version(name).partition("+")[0]  # a build for CPUs is 2.14.1+cpu
        except PackageNotFoundError:
            found[name] = "none"
    return [f"{name} {found[name]}, not {pins[name]}" for name in WRITERS if found[name] != pins[name]]


@pytest.mark.slow
def test_the_exporter_makes_it_byte_by_byte(exported):
    """In another process than the one that made it."""
    if others := other_versions():
        pytest.skip(f"the bytes are those of constraints.txt: here is {'; '.join(others)}")
    assert exported.read_bytes() == ASSET.read_bytes()


@pytest.mark.slow
def test_the_exporter_makes_it_whatever_the_versions(asset, exported):
    """By graph, weights and metadata."""
    again = onnx.load(exported)
    assert [node.op_type for node in again.graph.node] == [node.op_type for node in asset.graph.node]
    assert read_metadata(exported) == read_metadata(ASSET)
    assert [str(value) for value in (*again.graph.input, *again.graph.output)] == [
        str(value) for value in (*asset.graph.input, *asset.graph.output)
    ]
    held, made = tensors(asset), tensors(again)
    parameters = {name for name in held if name.startswith("model.")}
    assert parameters <= set(made)
    for name in parameters:
        step = np.spacing(np.abs(held[name]).max())
        assert np.abs(held[name].astype(np.float64) - made[name]).max() <= step, name


def test_its_kernels_are_the_checkpoint_with_batch_norm_folded_in(asset, model):
    held, state = tensors(asset), model.state_dict()
    name = "Mixed_4d.Branch_1.Conv3d_0b_3x3"
    scale = 1 / np.sqrt(state[f"{name}.norm.running_var"].numpy().astype(np.float64) + 1e-3)
    folded = state[f"{name}.conv.weight"].numpy() * scale[:, None, None, None, None]
    kernel = held[f"model.{name}.conv.weight{HALF_SUFFIX}"]
    assert (kernel == round_to_half(folded.astype(np.float32))).mean() > 0.999

"""Conversion to float16 and int8: what is converted, what stays as it was, and that runtimes take it."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxruntime", reason="int8 is made by it")
pytest.importorskip("openvino", reason="the check runs it")  # here: its telemetry starts a thread that outlives a test

from graphs import graph_of, manifest_of, network, save  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.engine.manifest import Manifest  # noqa: E402
from saliency_tubes.engine.noise import smooth_noise  # noqa: E402
from saliency_tubes.engine.runtimes.bounds import FILE_WORDS, PRECISION_KEY, read_precision  # noqa: E402
from saliency_tubes.engine.runtimes.models import ASSETS, read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.onnxfile import read_metadata  # noqa: E402
from saliency_tubes.export.check import check  # noqa: E402
from saliency_tubes.export.clips import read_clips  # noqa: E402
from saliency_tubes.export.half import round_to_half  # noqa: E402
from saliency_tubes.export.precision import convert, convert_file, expand, trunk  # noqa: E402

KINDS = {"linear": True, "gradient": False}


@pytest.fixture(params=KINDS, scope="module")
def model(request):
    return network(KINDS[request.param])


@pytest.fixture(scope="module")
def manifest(model):
    return manifest_of(model)


@pytest.fixture(scope="module")
def graph(model):
    return graph_of(model)


@pytest.fixture(scope="module")
def seen(manifest):
    return [smooth_noise(manifest.input, 8, seed) for seed in range(16)]


def compact(proto):
    """As the exporter stores it: kernels in float16 under a Cast."""
    out = onnx.ModelProto.FromString(proto.SerializeToString())
    casts = []
    for tensor in out.graph.initializer:
        if len(tensor.dims) > 1:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(round_to_half(numpy_helper.to_array(tensor)), f"{name}.f16"))
            casts.append(helper.make_node("Cast", [f"{name}.f16"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *out.graph.node]
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    out.graph.ClearField("node")
    out.graph.node.extend(nodes)
    return out


def types(proto):
    inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*inferred.input, *inferred.output, *inferred.value_info)}
    return found | {tensor.name: tensor.data_type for tensor in inferred.initializer}


def test_the_trunk_is_what_comes_before_the_tap(graph, manifest):
    nodes = [graph.graph.node[i] for i in trunk(graph.graph, manifest)]
    assert [node.op_type for node in nodes] == ["Conv", "Relu", "Conv", "Relu", "Conv", "Relu", "Concat"]


@pytest.mark.parametrize("stored", [False, True], ids=["plain", "compact"])
def test_f16_computes_the_trunk_in_float16_and_the_rest_in_float32(graph, manifest, stored):
    converted = convert(compact(graph) if stored else graph, "f16", manifest=manifest)
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    found = types(converted)
    for node in converted.graph.node:
        kinds = {found[name] for name in (*node.input, *node.output)} & {half, full}
        if node.op_type in ("Conv", "Concat"):
            assert kinds == {half}
        elif node.op_type != "Cast" and node.output[0] not in ("stem.half", "narrow.half", "wide.half"):
            assert half not in kinds or node.op_type == "Relu"
    assert sum(node.op_type == "Cast" and found[node.input[0]] in (half, full) for node in converted.graph.node) == 2
    ends = {v.name: v.type.tensor_type.elem_type for v in (*converted.graph.input, *converted.graph.output)}
    assert ends == {v.name: v.type.tensor_type.elem_type for v in (*graph.graph.input, *graph.graph.output)}


def test_int8_quantises_the_convolutions_of_the_trunk_only(graph, manifest, seen):
    converted = convert(graph, "int8", manifest=manifest, calibration=seen)
    producers = {name: node for node in converted.graph.node for name in node.output}
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in converted.graph.initializer}
    for node in converted.graph.node:
        sources = [producers[name].op_type if name in producers else "" for name in node.input]
        if node.op_type == "Conv":
            assert sources == ["DequantizeLinear", "DequantizeLinear", ""]
            kernel, scales, zeros = (stored[name] for name in producers[node.input[1]].input)
            assert kernel.dtype == np.int8
            assert scales.shape == (len(kernel),)
            assert not zeros.any()
            _, _, zero = producers[node.input[0]].input
            assert stored[zero].dtype == np.int8
            assert stored[zero] == 0
        else:
            assert node.op_type == "DequantizeLinear" or "DequantizeLinear" not in sources
    quantised = [node.output[0] for node in converted.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantised) == 3, "each convolution has a pair of its own"


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_runtimes_take_what_was_converted(model, graph, manifest, seen, tmp_path, precision):
    path = save(convert(graph, precision, manifest=manifest, calibration=seen), tmp_path / "m.onnx")
    report = check(path, model, manifest, clips=seen[:8])
    ran = [row for row in report.rows if row.errors]
    assert {row.runtime.split()[0] for row in ran} == {"onnxruntime", "OpenVINO"}
    assert {row.clip_length for row in ran} == {4, 8}
    if precision == "f16":
        assert all(row.errors.activation < 1.2e-3 for row in ran if "bf16" not in row.runtime)


@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_tensorrt_takes_what_was_converted_strongly_typed(graph, manifest, seen, precision):
    trt = pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX, which parses and builds without a GPU")
    converted = convert(graph, precision, manifest=manifest, calibration=seen).SerializeToString()
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(converted), [str(parser.get_error(i)) for i in range(parser.num_errors)]
    found = {network.get_output(i).name: network.get_output(i).dtype for i in range(network.num_outputs)}
    assert found == dict.fromkeys(manifest.outputs.values(), trt.float32)
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    profile.set_shape("clip", *[(1, 3, 8, 64, 96)] * 3)
    if manifest.head is None:
        profile.set_shape("class", *[(1,)] * 3)
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config)
    del parser  # before the network it refers to


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
def test_metadata_and_nothing_else_is_kept_and_the_graph_given_is_left_alone(graph, manifest, seen, precision):
    before = graph.SerializeToString(deterministic=True)
    first, second = (convert(graph, precision, manifest=manifest, calibration=seen) for _ in range(2))
    assert graph.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    kept = {entry.key: entry.value for entry in first.metadata_props}
    assert kept.pop(PRECISION_KEY) == FILE_WORDS[precision]
    assert kept == manifest.to_properties()
    assert not any(entry.doc_string for entry in (first, first.graph, *first.graph.node))
    assert not first.graph.value_info
    assert [entry.version for entry in first.opset_import if entry.domain == ""] == [20]


def test_a_compact_graph_stays_as_it_is_in_f32(graph, manifest, tmp_path):
    stored = compact(graph)
    converted = convert(stored, "f32", manifest=manifest)
    assert converted.SerializeToString(deterministic=True) == stored.SerializeToString(deterministic=True)
    assert read_precision(save(converted, tmp_path / "m.onnx")) == "compact"


def test_a_compact_graph_expands_to_the_same_values(graph):
    stored = compact(graph)
    expand(stored)
    assert "Cast" not in {node.op_type for node in stored.graph.node if node.output[0] != "mask"}
    plain = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in stored.graph.initializer}
    assert plain.keys() == found.keys()
    kernel = found["stem.weight"]
    np.testing.assert_array_equal(kernel, round_to_half(plain["stem.weight"]).astype(np.float32))


def test_a_file_is_converted_in_place(graph, manifest, tmp_path):
    path = save(graph, tmp_path / "m.onnx")
    convert_file(path, "f16", manifest=manifest)
    assert read_precision(path) == "f16"
    assert json.dumps(read_manifest(path).to_properties()) == json.dumps(manifest.to_properties())
    assert Manifest.from_properties(read_metadata(path)).name == "branches"


@pytest.mark.parametrize("word", ["fp16", "float16", "f16"])
def test_words_of_earlier_versions_make_and_name_the_same_file(graph, manifest, tmp_path, word):
    converted = convert(graph, word, manifest=manifest)
    assert converted.SerializeToString(deterministic=True) == (
        convert(graph, "f16", manifest=manifest).SerializeToString(deterministic=True)
    )
    onnx.helper.set_model_props(converted, {**manifest.to_properties(), PRECISION_KEY: word})
    assert read_precision(save(converted, tmp_path / "m.onnx")) == "f16"


def test_a_precision_there_is_not(graph, manifest):
    with pytest.raises(UsageError, match="precision must be one of f32, f16, int8, got 'fp8'"):
        convert(graph, "fp8", manifest=manifest)


def test_int8_without_clips_says_how_to_give_them(graph, manifest):
    with pytest.raises(UsageError, match="int8 needs clips to calibrate on: give a folder of videos with --calibrate"):
        convert(graph, "int8", manifest=manifest)


def test_clips_to_calibrate_on_must_fit(graph, manifest):
    with pytest.raises(
        UsageError, match=r"clips must be float32 \[1, 3, T, H, W\] of \(64, 96\), got \(1, 3, 8, 16, 16\)"
    ):
        convert(graph, "int8", manifest=manifest, calibration=[np.zeros((1, 3, 8, 16, 16), np.float32)])
    with pytest.raises(ModelError, match="takes clips of 4 or 8 frames, got 6"):
        convert(graph, "int8", manifest=manifest, calibration=[np.zeros((1, 3, 6, 64, 96), np.float32)])


def test_a_kernel_beyond_float16_is_named(graph, manifest):
    large = onnx.ModelProto.FromString(graph.SerializeToString())
    for tensor in large.graph.initializer:
        if tensor.name == "wide.weight":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1e7, "wide.weight"))
    with pytest.raises(ModelError, match=r"cannot convert wide\.weight: float16 holds values to 65504"):
        convert(large, "f16", manifest=manifest)


def test_a_graph_without_the_manifests_names_is_refused(graph, manifest):
    other = onnx.ModelProto.FromString(graph.SerializeToString())
    other.graph.input[0].name = "video"
    with pytest.raises(ModelError, match="its graph has no clip or no activation"):
        convert(other, "int8", manifest=manifest, calibration=[np.zeros((1, 3, 8, 64, 96), np.float32)])


@pytest.fixture(scope="module")
def i3d():
    """The shipped network at its shortest window, which is the quickest to run."""
    path = ASSETS / "i3d.onnx"
    manifest = read_manifest(path)
    return path, manifest, onnx.load(path)


def on_real_clips(i3d, precision, videos, tmp_path):
    path, manifest, proto = i3d
    spec = manifest.input
    calibration = read_clips(videos, spec, 16, 2) if precision == "int8" else []
    converted = save(convert(proto, precision, manifest=manifest, calibration=calibration), tmp_path / "i3d.onnx")
    only = Manifest(**{**vars(manifest), "windows": {16: manifest.windows[16]}, "default_clip_length": 16})
    # other windows than those it was calibrated on
    return check(converted, manifest=only, reference=path, clips=read_clips(videos, spec, 16, 1))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f16", "int8"])
def test_i3d_keeps_its_tubes_on_real_clips(i3d, clips, tmp_path, precision):
    names = ("bottle", "ego_washing_dishes", "juggling_soccer_ball")
    report = on_real_clips(i3d, precision, [clips / f"{name}.mp4" for name in names], tmp_path)
    print(report.table)
    ran = [row for row in report.rows if row.errors]
    assert len(ran) >= 2
    if precision == "f16":
        assert all(row.errors.activation < 1.2e-3 for row in ran if "bf16" not in row.runtime)
        assert all(row.agreed == row.clips for row in ran)

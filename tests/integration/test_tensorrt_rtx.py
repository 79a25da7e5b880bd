"""Real plans by TensorRT-RTX, which builds without a GPU. None is run: that takes one."""

import io
import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx", exc_type=ImportError)
onnx = pytest.importorskip("onnx", reason="needs onnx to make networks")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.engine.manifest import InputSpec, LinearHead, Manifest, WindowSpec  # noqa: E402
from saliency_tubes.engine.runtimes import tensorrt_builder as tensorrt  # noqa: E402
from saliency_tubes.engine.runtimes.build_options import BuildOptions, Cancelled, Silent  # noqa: E402
from saliency_tubes.engine.runtimes.build_plan import build_plan  # noqa: E402
from saliency_tubes.engine.runtimes.models import ASSETS, read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.onnxfile import read_metadata  # noqa: E402
from saliency_tubes.engine.runtimes.planfile import Range, TensorInfo, check_runtime, json_path, read_plan  # noqa: E402
from saliency_tubes.stream.app.build_progress import BuildProgress, attended, stopped_by_signals  # noqa: E402

I3D = ASSETS / "i3d.onnx"
RTX = "tensorrt-rtx"
CHANNELS, CLASSES, SIDE, FRAMES = 4, 3, 16, 8
F32, F16, I64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def make_manifest(gradient=False, clip_lengths=(FRAMES,), slices=2, side=SIDE):
    head = None if gradient else LinearHead(np.ones((CLASSES, CHANNELS), np.float32), np.zeros(CLASSES, np.float32))
    outputs = {name: name for name in ("logits", "activation", *(["weights"] if gradient else []))}
    return Manifest(
        name="tiny",
        title="Tiny",
        license="none",
        input=InputSpec((side, side), (0.0,) * 3, (1.0,) * 3, resize="stretch"),
        windows={count: WindowSpec((1 / slices,) * slices, (0, slices)) for count in clip_lengths},
        default_clip_length=clip_lengths[0],
        labels=tuple("abc"),
        tap="conv",
        channels=CHANNELS,
        head=head,
        outputs=outputs,
    )


def save(path, manifest, nodes, initializers, inputs, outputs):
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("nowhere", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, manifest.to_properties())
    onnx.save(model, path)
    return path


def value(name, shape, dtype=F32):
    return helper.make_tensor_value_info(name, dtype, shape)


def weights(name, *shape):
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal(shape).astype(np.float32) / 8, name)


def tiny(
    path, *, batch="batch", clip_length=FRAMES, dtype=F32, extra=(), gradient=False, manifest=None, rename="logits"
):
    """clip -> Conv3d, stride (4, 4, 4) -> activation -> mean -> linear -> logits; `extra` nodes after that."""
    nodes = [
        helper.make_node("Conv", ["clip", "kernel"], ["raw"], name="conv", strides=[4, 4, 4]),
        helper.make_node("Relu", ["raw"], ["activation"], name="relu"),
        helper.make_node("ReduceMean", ["activation", "axes"], ["pooled"], name="pool", keepdims=0),
        helper.make_node("MatMul", ["pooled", "linear"], [rename], name="linear"),
    ]
    inputs = [value("clip", [batch, 3, clip_length, SIDE, SIDE])]
    outputs = [value(rename, [batch, CLASSES], dtype), value("activation", [batch, CHANNELS, None, 4, 4])]
    held = [
        weights("kernel", CHANNELS, 3, 4, 4, 4),
        weights("linear", CHANNELS, CLASSES),
        numpy_helper.from_array(np.array([2, 3, 4], np.int64), "axes"),
    ]
    if dtype == F16:
        nodes[-1] = helper.make_node("MatMul", ["pooled", "linear"], ["wide"], name="linear")
        nodes.append(helper.make_node("Cast", ["wide"], [rename], to=F16))
    if gradient:
        nodes.append(helper.make_node("Gather", ["rows", "class"], ["weights"], name="gather"))
        held.append(weights("rows", CLASSES, CHANNELS))
        inputs.append(value("class", [batch], I64))
        outputs.append(value("weights", [batch, CHANNELS]))
    return save(path, manifest or make_manifest(gradient), [*nodes, *extra], held, inputs, outputs)


def kit():
    return tensorrt.find_kit(RTX)


def build_with(trt_kit, path, options=None):
    return tensorrt.build(trt_kit, path, read_manifest(path), options or BuildOptions(), Silent())


class TestI3D:
    """The bundled model: kernels stored as float16 and cast."""

    @pytest.mark.parametrize(("clip_length", "slices"), [(16, 2), (64, 8)])
    def test_a_plan_and_what_is_said_of_it(self, clip_length, slices, tmp_path):
        path = tmp_path / "i3d.plan"
        built = build_plan(I3D, path, BuildOptions(clip_length=clip_length), builder=RTX)
        assert path.stat().st_size > 40e6
        info = read_plan(path)
        assert (info.builder, info.version, info.clip_length) == (RTX, trt.__version__, clip_length)
        assert info.inputs == (TensorInfo("clip", (1, 3, clip_length, 224, 224), "float32"),)
        assert info.outputs == (
            TensorInfo("logits", (1, 400), "float32"),
            TensorInfo("activation", (1, 1024, slices, 7, 7), "float32"),
        )
        assert info.manifest.to_properties() == read_manifest(I3D).to_properties()
        assert info.to_json() == built.info.to_json() == json_path(path).read_text(encoding="utf-8")
        check_runtime(info, RTX, trt.__version__, "8.9")
        with pytest.raises(ModelError, match=r"this GPU's is 7\.5"):
            check_runtime(info, RTX, trt.__version__, "7.5")
        assert not [left for left in tmp_path.iterdir() if left.name not in ("i3d.plan", "i3d.plan.json")]

    def test_several_clips_on_two_kinds_of_gpu(self, tmp_path):
        options = BuildOptions(batch=(1, 2, 4), clip_length=16, compute_capability=("8.9", "12.0"))
        info = build_plan(I3D, tmp_path / "i3d.plan", options, builder=RTX).info
        assert info.profile == {"clip": Range(*((n, 3, 16, 224, 224) for n in (1, 2, 4)))}
        assert info.inputs[0].shape == (-1, 3, 16, 224, 224)
        assert [tensor.shape for tensor in info.outputs] == [(-1, 400), (-1, 1024, 2, 7, 7)]
        assert info.compute_capability == ("8.9", "12.0")

    def test_turing_cannot_take_it(self, tmp_path):
        with pytest.raises(ModelError, match=r"Turing \(SM75\): FP32 3D convolution is not supported\)?$") as error:
            build_plan(
                I3D, tmp_path / "i3d.plan", BuildOptions(clip_length=16, compute_capability=("7.5",)), builder=RTX
            )
        assert str(I3D) in str(error.value)
        assert "_src" not in str(error.value)
        assert not list(tmp_path.iterdir())

    def test_too_little_memory(self, tmp_path):
        with pytest.raises(ModelError, match="OutOfMemory"):
            build_plan(I3D, tmp_path / "i3d.plan", BuildOptions(clip_length=16, workspace=1), builder=RTX)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most"), [("mfnet", 0.7), ("r3d_18", 0.6), ("x3d_s", 2.5)])
def test_networks_of_the_zoo(name, most, tmp_path):
    """With random weights, small, in both precisions.

    most: of the plan's size in float32, in float16. Halves in the file are halves in the plan; but X3D-S's plan, nearly
    all depthwise convolutions, comes out larger by TensorRT-RTX's own choice.
    """
    pytest.importorskip("torch", reason="needs torch")
    pytest.importorskip("torchvision", reason="needs torchvision")
    from saliency_tubes.export import zoo
    from saliency_tubes.export.precision import convert
    from tiny import export_onnx

    model, recipe = zoo.load(name, weights=None, size=64)
    full = tmp_path / f"{name}.f32.onnx"
    manifest = export_onnx(model, full, recipe)
    onnx.save(convert(onnx.load(full), "f16", manifest=manifest), tmp_path / f"{name}.f16.onnx")
    sizes = []
    for precision in ("f32", "f16"):
        path = tmp_path / f"{name}.{precision}.onnx"
        info = build_plan(path, path.with_suffix(".plan"), builder=RTX).info
        expect_outputs(info, manifest)
        assert info.metadata == read_metadata(path)
        sizes.append(info.plan_bytes)
    assert sizes[1] < most * sizes[0]


def expect_outputs(info, manifest):
    clip_length = manifest.default_clip_length
    inputs = {manifest.input.name: ((1, 3, clip_length, *manifest.input.size), "float32")}
    if manifest.head is None:
        inputs[manifest.class_input] = ((1,), "int64")
    assert {tensor.name: (tensor.shape, tensor.dtype) for tensor in info.inputs} == inputs
    found = {tensor.name: tensor.shape for tensor in info.outputs}
    assert {tensor.dtype for tensor in info.outputs} == {"float32"}
    assert set(found) == set(manifest.outputs.values())
    assert found[manifest.outputs["logits"]] == (1, len(manifest.labels))
    slices = len(manifest.window(clip_length).slice_weights)
    assert found[manifest.outputs["activation"]][:3] == (1, manifest.channels, slices)
    if manifest.head is None:
        assert found[manifest.outputs["weights"]] == (1, manifest.channels)


class TestWhatTheNetworkIs:
    @pytest.mark.parametrize("gradient", [False, True])
    def test_names_shapes_and_dtypes(self, gradient, tmp_path):
        built = build_plan(tiny(tmp_path / "a.onnx", gradient=gradient), tmp_path / "a.plan", builder=RTX).info
        found = {tensor.name: (tensor.shape, tensor.dtype) for tensor in (*built.inputs, *built.outputs)}
        expected = {
            "clip": ((1, 3, FRAMES, SIDE, SIDE), "float32"),
            "logits": ((1, CLASSES), "float32"),
            "activation": ((1, CHANNELS, 2, 4, 4), "float32"),
        }
        if gradient:
            expected |= {"class": ((1,), "int64"), "weights": ((1, CHANNELS), "float32")}
        assert found == expected

    def test_the_class_has_its_own_profile(self, tmp_path):
        path = tiny(tmp_path / "a.onnx", gradient=True)
        info = build_plan(path, tmp_path / "a.plan", BuildOptions(batch=(1, 2, 4)), builder=RTX).info
        assert info.profile["class"] == Range((1,), (2,), (4,))

    def test_a_static_batch(self, tmp_path):
        path = tiny(tmp_path / "a.onnx", batch=2)
        assert (
            build_plan(path, tmp_path / "a.plan", BuildOptions(batch=(2, 2, 2)), builder=RTX)
            .info.profile["clip"]
            .min[0]
            == 2
        )
        with pytest.raises(UsageError, match=r"takes batches of 2 only, got 1:1:4"):
            build_plan(path, tmp_path / "b.plan", BuildOptions(batch=(1, 1, 4)), builder=RTX)

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"rename": "scores"}, "no output logits: it has scores, activation"),
            ({"dtype": F16}, "output logits is float16, and should be float32"),
            (
                {"clip_length": 12},
                r"input clip is \[-1, 3, 12, 16, 16\] float32; the manifest says \[-1, 3, 8, 16, 16\]",
            ),
            ({"manifest": make_manifest(slices=3)}, r"activation of shape \(1, 4, 2, 4, 4\) does not fit"),
            ({"manifest": make_manifest(gradient=True)}, "inputs are clip; the manifest says clip, class"),
            ({"manifest": make_manifest(), "gradient": True}, "inputs are clip, class; the manifest says clip"),
        ],
    )
    def test_a_manifest_of_another_network(self, changes, reason, tmp_path):
        with pytest.raises(ModelError, match=reason):
            build_plan(tiny(tmp_path / "a.onnx", **changes), tmp_path / "a.plan", builder=RTX)
        assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


class TestRefusals:
    """Each in one line, with TensorRT's own reason."""

    def test_an_operator_it_does_not_know(self, tmp_path):
        extra = [helper.make_node("Mystery", ["logits"], ["more"], name="riddle", domain="nowhere")]
        path = tiny(tmp_path / "a.onnx", extra=extra)
        with pytest.raises(ModelError, match=r"node riddle \(Mystery\): .*Plugin not found") as error:
            build_plan(path, tmp_path / "a.plan", builder=RTX)
        assert "\n" not in str(error.value)

    def test_not_a_network(self, tmp_path):
        path = tiny(tmp_path / "a.onnx")
        data = path.read_bytes().replace(b"MatMul", b"\xff\xff\xff\xff\xff\xff")
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"TensorRT cannot read .*the file is damaged"):
            build_plan(path, tmp_path / "a.plan", builder=RTX)

    def test_no_profile(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tensorrt, "_add_profile", lambda *_: None)
        path = tiny(tmp_path / "a.onnx")
        with pytest.raises(ModelError, match="no optimization profile has been defined"):
            build_with(kit(), path, BuildOptions(batch=(1, 1, 4)))

    def test_a_profile_out_of_order(self, tmp_path, monkeypatch):
        path = tiny(tmp_path / "a.onnx")
        wrong = BuildOptions(batch=(1, 2, 4))
        object.__setattr__(wrong, "batch", (4, 2, 1))
        with pytest.raises(ModelError, match="MIN<=OPT<=MAX"):
            build_with(kit(), path, wrong)

    def test_a_profile_outside_what_the_network_takes(self, tmp_path):
        path = tiny(tmp_path / "a.onnx", clip_length="frames", manifest=make_manifest(clip_lengths=(2,), slices=1))
        with pytest.raises(
            ModelError, match=r"cannot build .* for these shapes: .*image size is smaller than filter size"
        ):
            build_plan(path, tmp_path / "a.plan", builder=RTX)

    def test_a_gpu_it_does_not_know(self, tmp_path):
        with pytest.raises(UsageError, match=r"builds for compute capability 7\.5, 8\.0, .*12\.1, got 8\.7"):
            build_plan(
                tiny(tmp_path / "a.onnx"), tmp_path / "a.plan", BuildOptions(compute_capability=("8.7",)), builder=RTX
            )

    def test_a_version_compatible_plan_needs_a_library_that_is_not_in_the_wheel(self, tmp_path):
        with pytest.raises(ModelError, match="Unable to load library: libnvinfer_lean"):
            build_plan(
                tiny(tmp_path / "a.onnx"), tmp_path / "a.plan", BuildOptions(version_compatible=True), builder=RTX
            )


class Restricted:
    """A thing of TensorRT-RTX's that has only the names that another version has, and gives only such things."""

    def __init__(self, thing, names, table):
        object.__setattr__(self, "_parts", (thing, names, table))

    def __getattr__(self, name):
        thing, names, table = self._parts
        if name not in names:
            raise AttributeError(f"{type(thing).__name__}.{name} is not in that version")
        return self.wrap(getattr(thing, name), table)

    def __setattr__(self, name, value):
        thing, names, _ = self._parts
        assert name in names, name
        setattr(thing, name, value)

    @staticmethod
    def wrap(value, table):
        if callable(value) and not isinstance(value, type):
            return lambda *args: Restricted.wrap(value(*map(unwrap, args)), table)
        name = type(value).__name__
        if name in table and name in ("IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "ITensor"):
            return Restricted(value, set(table[name].split()), table)
        return value


def unwrap(value):
    return vars(value)["_parts"][0] if isinstance(value, Restricted) else value


class OtherTensorRT:
    """TensorRT-RTX, with the names of another version."""

    def __init__(self, version, table):
        self.__version__, self._table = version, table

    def __getattr__(self, name):
        if name not in self._table:
            raise AttributeError(f"{self.__version__} has no {name}")
        real = getattr(trt, name)
        if name in ("Builder", "OnnxParser"):
            names = set(self._table[name].split())
            return lambda *args: Restricted(real(*map(unwrap, args)), names, self._table)
        return real


TABLE = json.loads((Path(__file__).parents[1] / "unit/export/tensorrt_api.json").read_text(encoding="utf-8"))


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX")
@pytest.mark.parametrize("version", TABLE)
def test_the_way_of_tensorrt_10_and_11(version, tmp_path):
    """TensorRT itself builds on a GPU only. What it does differently is run here against TensorRT-RTX, seen through the
    names that TensorRT has: it takes a timing cache (and keeps nothing in it)."""
    stand_in = tensorrt.Kit("tensorrt", version, OtherTensorRT(version, TABLE[version]))
    path, cache = tiny(tmp_path / "a.onnx"), tmp_path / "a.timing"
    options = BuildOptions(
        batch=(1, 1, 4), tf32=False, workspace=512, optimization_level=2, hardware_compatibility="ampere+"
    )
    for _ in range(2):  # without a cache, then with one
        engine = tensorrt.build(stand_in, path, read_manifest(path), options, Silent(), cache)
        assert engine.data.nbytes > 1000
        assert cache.stat().st_size > 0
    cache.write_bytes(b"of another version")
    assert tensorrt.build(stand_in, path, read_manifest(path), options, Silent(), cache).data.nbytes > 1000


class TestProgress:
    def test_phases_are_told_and_the_build_can_be_stopped(self, tmp_path):
        stream = io.StringIO()
        told = BuildProgress(stream)
        path = tiny(tmp_path / "a.onnx")
        build_plan(path, tmp_path / "a.plan", builder=RTX, watch=told)
        told.close()
        assert "Building engine" in stream.getvalue()
        assert not told._open, "every phase was closed"
        before = (tmp_path / "a.plan").read_bytes()
        stopped = BuildProgress(stream)
        stopped.cancelled = True
        with pytest.raises(Cancelled):
            build_plan(path, tmp_path / "a.plan", builder=RTX, watch=stopped, force=True)
        assert (tmp_path / "a.plan").read_bytes() == before
        assert sorted(left.name for left in tmp_path.iterdir()) == ["a.onnx", "a.plan", "a.plan.json"]

    def test_ctrl_c_stops_it(self, tmp_path):
        class Pressed(BuildProgress):
            def step_complete(self, name, step):
                super().step_complete(name, step)
                if not self.cancelled:
                    os.kill(os.getpid(), signal.SIGINT)
                while not self.cancelled:
                    time.sleep(0.01)

        told = Pressed(io.StringIO())
        work = partial(build_plan, tiny(tmp_path / "a.onnx"), tmp_path / "a.plan", builder=RTX, watch=told)
        with pytest.raises(Cancelled), stopped_by_signals(told):
            attended(work, told)
        assert [left.name for left in tmp_path.iterdir()] == ["a.onnx"]

    def test_its_log(self, tmp_path):
        stream = io.StringIO()
        told = BuildProgress(stream, verbose=True)
        build_plan(tiny(tmp_path / "a.onnx"), tmp_path / "a.plan", builder=RTX, watch=told)
        told.close()
        assert "[info] " in stream.getvalue() or "[verbose] " in stream.getvalue()


def test_nothing_is_built_twice(tmp_path):
    path, plan = tiny(tmp_path / "a.onnx"), tmp_path / "a.plan"
    assert build_plan(path, plan, builder=RTX).why
    stamp = plan.stat().st_mtime_ns
    time.sleep(0.01)
    assert not build_plan(path, plan, builder=RTX).why
    assert plan.stat().st_mtime_ns == stamp
    assert build_plan(path, plan, builder=RTX, force=True).why == "it was asked for"
    assert plan.stat().st_mtime_ns > stamp

"""The parity check: what it measures, what it accepts, what it says when it refuses; and what it reads and prints."""

import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxruntime", reason="it is the reference where there is no other")
pytest.importorskip("openvino", reason="the check runs it")  # here: its telemetry starts a thread that outlives a test

from fakegpu import ORIN, Here, write_plan  # noqa: E402
from graphs import graph_of, manifest_of, network, save  # noqa: E402
from onnx import numpy_helper  # noqa: E402
from saliency_tubes.engine.errors import ModelError, UsageError  # noqa: E402
from saliency_tubes.engine.noise import smooth_noise  # noqa: E402
from saliency_tubes.engine.runtimes import tensorrt as running  # noqa: E402
from saliency_tubes.engine.runtimes.bounds import BOUNDS, TF32, Errors  # noqa: E402
from saliency_tubes.engine.runtimes.compare import compare, completeness  # noqa: E402
from saliency_tubes.engine.runtimes.planfile import json_path, sha256  # noqa: E402
from saliency_tubes.engine.runtimes.tensorrt import TensorRtRunner  # noqa: E402
from saliency_tubes.engine.types import HostOutputs  # noqa: E402
from saliency_tubes.export import check as checking  # noqa: E402
from saliency_tubes.export.check import check  # noqa: E402
from saliency_tubes.export.precision import convert  # noqa: E402
from saliency_tubes.export.table import table  # noqa: E402

KINDS = {"linear": True, "gradient": False}
FINE = Errors(1e-6, 1e-6, 1.0, 1e-6)


@pytest.fixture(params=KINDS, scope="module")
def model(request):
    return network(KINDS[request.param])


@pytest.fixture(scope="module")
def manifest(model):
    return manifest_of(model)


@pytest.fixture(scope="module")
def path(model, manifest, tmp_path_factory):
    return save(convert(graph_of(model), "f32", manifest=manifest), tmp_path_factory.mktemp("model") / "m.onnx")


def damaged(path, folder, name, change):
    """A copy of the file with one initializer changed."""
    proto = onnx.load(path)
    for tensor in proto.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))
    return save(proto, folder / "damaged.onnx")


def outputs_of(manifest, path, clip):
    return checking.open_runner(path, clip_length=clip.shape[2], runtime="onnxruntime").infer(clip)[0]


def test_every_runtime_says_what_the_network_says(path, model, manifest):
    report = check(path, model, manifest)
    assert report.precision == "f32"
    assert report.reference.startswith("PyTorch")
    assert report.inputs == {4: "noise", 8: "noise"}
    ran = [row for row in report.rows if row.errors]
    assert {(row.runtime.split()[0], row.clip_length) for row in ran} >= {("onnxruntime", 4), ("OpenVINO", 8)}
    for row in ran:
        assert (row.errors.completeness is None) == (manifest.head is None)
        assert (row.errors.weights is None) == (manifest.head is not None)
        if "bf16" not in row.runtime:
            assert max(row.errors.logits, row.errors.activation, row.errors.weights or 0) < 1e-5
    assert "TensorRT" in report.table
    assert "accepted (f32)" in report.table


def test_the_weights_of_a_graph_are_held_to_autograd(path, model, manifest, tmp_path):
    if manifest.head is not None:
        pytest.skip("a linear head has its weights in the manifest")
    other = onnx.load(path)
    for node in other.graph.node:
        if node.output[0] == "open":  # the gradient passes where ReLU is closed
            node.op_type = "Less"
    with pytest.raises(ModelError, match="weights error"):
        check(save(other, tmp_path / "m.onnx"), model, manifest)


def test_without_a_reference_runtimes_are_compared_with_one_another(path):
    report = check(path)
    assert report.reference.startswith("itself in onnxruntime")
    assert all(row.errors for row in report.rows if row.clip_length)
    assert not report.misses()


def test_another_file_may_be_the_reference(path, manifest, tmp_path):
    half = save(convert(onnx.load(path), "f16", manifest=manifest), tmp_path / "half.onnx")
    report = check(half, reference=path)
    assert report.reference.startswith("m.onnx in onnxruntime")
    assert all(row.errors.activation > 1e-5 for row in report.rows if row.errors)


def test_clips_given_take_the_place_of_noise(path, model, manifest):
    report = check(path, model, manifest, clips=[smooth_noise(manifest.input, 8, seed) for seed in range(3)])
    assert report.inputs == {4: "noise", 8: "3 clips"}
    assert {(row.clip_length, row.clips) for row in report.rows if row.errors} == {(4, 1), (8, 3)}
    assert "3 of 3" in report.table


def test_clips_that_do_not_fit(path):
    with pytest.raises(UsageError, match=r"clips must be float32 \[1, 3, T, H, W\] of \(64, 96\)"):
        check(path, clips=[np.zeros((1, 3, 8, 96, 64), np.float32)])
    with pytest.raises(ModelError, match="takes clips of 4 or 8 frames, got 5"):
        check(path, clips=[np.zeros((1, 3, 5, 64, 96), np.float32)])


def test_a_damaged_file_is_refused_with_the_table_and_passes_by_force(path, model, manifest, tmp_path):
    bad = damaged(path, tmp_path, "wide.weight", lambda kernel: kernel[::-1].copy())
    with pytest.raises(ModelError) as refused:
        check(bad, model, manifest)
    first, *rest = str(refused.value).splitlines()
    assert first.startswith("branches at 4 frames, onnxruntime")
    assert "activation error" in first
    assert " more" in first
    assert any(line.split()[:2] == ["runtime", "T"] for line in rest)
    report = check(bad, model, manifest, force=True)
    assert report.misses()
    assert report.table.splitlines()[1].split()[:2] == ["runtime", "T"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_never_passes(path, model, manifest, tmp_path, value):
    def spoil(bias):
        bias[0] = value
        return bias

    bad = damaged(path, tmp_path, "narrow.bias", spoil)
    for reference in (model, None):
        with pytest.raises(ModelError, match="error"):
            check(bad, reference, manifest)


def test_a_file_a_runtime_refuses_is_refused(path, model, manifest, tmp_path):
    proto = onnx.load(path)
    proto.graph.node[1].op_type = "NoSuchOperator"
    bad = save(proto, tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match=r"onnxruntime, f32: failed: cannot use model .*NoSuchOperator"):
        check(bad, model, manifest)


def test_a_tube_that_does_not_add_up_is_refused(path, model, manifest):
    if manifest.head is None:
        pytest.skip("only linear heads are complete")
    head = dataclasses.replace(manifest.head, bias=manifest.head.bias + np.float32(0.1))
    with pytest.raises(ModelError, match="completeness error"):
        check(path, model, dataclasses.replace(manifest, head=head))


def test_where_each_place_counts_is_part_of_the_sum(path, model, manifest):
    """The head counts all places the same: a manifest that says otherwise does not add up."""
    if manifest.head is None:
        pytest.skip("only linear heads are complete")
    even, uneven = np.full((32, 48), 1 / 1536), np.arange(1536).reshape(32, 48) / (1535 * 768)
    for cells, fits in ((even, True), (uneven, False)):
        windows = {
            clip_length: dataclasses.replace(spec, cell_weights=tuple(map(tuple, cells.tolist())))
            for clip_length, spec in manifest.windows.items()
        }
        stated = dataclasses.replace(manifest, windows=windows)
        assert bool(check(path, model, stated, force=True).misses()) != fits


class TestPlan:
    """The row of TensorRT, where it and the GPU are doubles."""

    @pytest.fixture
    def trt(self, monkeypatch, gpu_double):
        monkeypatch.setattr(checking, "RUNTIMES", checking.RUNTIMES[:1])  # the rows of the others are tested above
        return Here(gpu_double(**ORIN)).install(monkeypatch)

    @pytest.fixture
    def onnx_file(self, path, tmp_path):
        return save(onnx.load(path), tmp_path / "m.onnx")

    def row(self, report):
        (row,) = (row for row in report.rows if row.runtime.startswith("TensorRT"))
        return row

    def test_there_is_none(self, onnx_file, trt):
        table = check(onnx_file).table
        assert table.count("not run: there is no m.plan beside it ('saliency-tubes build' makes one") == 1
        assert trt.made == []

    @pytest.mark.parametrize("name", ["m.plan", "other.engine"])
    def test_it_is_run_for_its_length(self, name, onnx_file, tmp_path, trt):
        plan = write_plan(onnx_file, tmp_path / name, clip_length=4)
        row = self.row(check(onnx_file, plan=None if name == "m.plan" else plan))
        assert (row.runtime, row.clip_length) == (f"TensorRT 10.3.0 on Orin, plan {name}, float32 I/O", 4)
        assert row.errors.logits == row.errors.activation == 0

    @pytest.mark.parametrize(("tf32", "passes"), [(True, True), (False, False)])
    def test_tf32_may_be_further_off(self, tf32, passes, onnx_file, tmp_path, trt, monkeypatch):
        def rounded(runner, *given):
            found = run(runner, *given)
            return [HostOutputs(one.logits, one.activation * np.float32(1.002), one.weights) for one in found]

        run = TensorRtRunner.infer
        monkeypatch.setattr(TensorRtRunner, "infer", rounded)
        write_plan(onnx_file, tmp_path / "m.plan", options={"tf32": tf32})
        report = check(onnx_file, force=True)
        assert self.row(report).bounds == (BOUNDS["f32"].loosened(TF32) if tf32 else BOUNDS["f32"])
        assert bool(report.misses()) != passes

    def test_a_plan_that_is_wrong_is_refused(self, onnx_file, tmp_path, trt):
        other = damaged(onnx_file, tmp_path, "wide.weight", lambda kernel: kernel[::-1].copy())
        write_plan(other, tmp_path / "m.plan", onnx_sha256=sha256(onnx_file))
        with pytest.raises(
            ModelError, match=r"TensorRT 10\.3\.0 on Orin, plan m\.plan, float32 I/O: .*activation error"
        ):
            check(onnx_file)

    @pytest.mark.parametrize(
        ("why", "words"),
        [
            ("other file", "m.plan was built from another file, or before m.onnx has changed"),
            ("other version", "needs that very version, and here is TensorRT 10.3.0"),
            ("no json", "there is no m.plan.json beside it"),
            ("no driver", "a TensorRT plan runs on an NVIDIA GPU, and here is no NVIDIA driver"),
            ("no TensorRT", "no TensorRT is installed here"),
        ],
    )
    def test_it_cannot_be_run_here(self, why, words, onnx_file, tmp_path, trt, monkeypatch):
        """Said in the row; a failure only where the plan was named."""
        changes = {"other file": {"onnx_sha256": "0" * 64}, "other version": {"version": "10.2.0"}}.get(why, {})
        plan = write_plan(onnx_file, tmp_path / "m.plan", **changes)
        if why == "no json":
            json_path(plan).unlink()
        if why == "no driver":
            monkeypatch.setattr(running, "find_device", lambda index=0: "no NVIDIA driver (it was not found)")
        if why == "no TensorRT":
            monkeypatch.setattr(running, "find_spec", lambda name: None)
        row = self.row(check(onnx_file))
        assert row.remark.startswith("not run: ")
        assert words in row.remark
        assert trt.made == []
        with pytest.raises(ModelError, match="branches, TensorRT: not run: "):
            check(onnx_file, plan=plan)
        assert check(onnx_file, plan=plan, force=True).misses()


def test_a_runtime_that_is_not_there_is_said_not_to_be_run(path, monkeypatch):
    def refuse(model, *, precision="f32", **options):
        if precision == "bf16":
            raise UsageError("CPU does not compute in bf16: use --precision f32")
        return opened(model, precision=precision, **options)

    opened = checking.open_runner
    monkeypatch.setattr(checking, "open_runner", refuse)
    report = check(path)
    assert "openvino, bf16" in report.table
    assert report.table.count("not run: CPU does not compute in bf16") == 1
    assert not report.misses()


def test_errors_are_what_they_say(manifest, path):
    expected = outputs_of(manifest, path, smooth_noise(manifest.input, 8))
    found = dataclasses.replace(
        expected, logits=expected.logits + np.array([0, 0.5, 0], np.float32), activation=expected.activation * 1.25
    )
    errors = compare(found, expected, manifest, 8)
    assert errors.logits == pytest.approx(0.5 / np.abs(expected.logits).max(), rel=1e-5)
    assert errors.activation == pytest.approx(0.25, rel=1e-5)
    assert errors.tube == pytest.approx(1.0)
    assert compare(expected, expected, manifest, 8).tube == pytest.approx(1.0)
    flipped = dataclasses.replace(expected, activation=-expected.activation)
    assert compare(flipped, expected, manifest, 8).tube == pytest.approx(-1.0)


def test_a_tube_without_contrast_correlates_with_itself_and_with_nothing_else(manifest):
    flat = np.ones((8, 4, 32, 48), np.float32)
    weights = None if manifest.head is not None else np.ones(8, np.float32)
    expected = HostOutputs(np.array([1, 0, 0], np.float32), flat, weights)
    assert compare(expected, expected, manifest, 8).tube == 1.0
    other = flat.copy()
    other[:, 0] = 2
    assert math.isnan(compare(dataclasses.replace(expected, activation=other), expected, manifest, 8).tube)


def test_completeness_needs_a_linear_head():
    manifest = manifest_of(network(False))
    with pytest.raises(ValueError, match="has no linear head to be complete"):
        completeness(HostOutputs(np.zeros(3, np.float32), np.zeros((8, 4, 32, 48), np.float32)), manifest, 8)


@pytest.mark.parametrize("name", ["logits", "activation", "tube", "completeness", "weights"])
def test_each_number_has_its_bound_and_nan_is_beyond_it(name):
    full = dataclasses.replace(FINE, weights=1e-6)
    for bounds in BOUNDS.values():
        assert not full.misses(bounds)
        for value in (math.nan, math.inf if name != "tube" else -1.0):
            (miss,) = dataclasses.replace(full, **{name: value}).misses(bounds)
            assert miss.startswith(name)


def test_the_worst_of_several_clips_is_kept():
    worst = Errors.worst([FINE, Errors(1e-3, 1e-7, 0.9, 1e-2), Errors(1e-4, math.nan, 0.95, 1e-3)])
    assert (worst.logits, worst.tube, worst.completeness, worst.weights) == (1e-3, 0.9, 1e-2, None)
    assert math.isnan(worst.activation)
    assert math.isnan(Errors.worst([FINE, dataclasses.replace(FINE, tube=math.nan)]).tube)


@pytest.mark.parametrize(("agreed", "clips", "passes"), [(4, 4, True), (3, 4, True), (2, 4, False), (17, 20, False)])
def test_most_clips_must_keep_their_top_class(agreed, clips, passes):
    row = checking.Row("some", 8, BOUNDS["int8"], FINE, agreed, clips, held=True)
    assert bool(row.misses()) != passes
    assert not dataclasses.replace(row, held=False).misses()


def test_noise_is_seeded_smooth_and_between_black_and_white(manifest):
    clip = smooth_noise(manifest.input, 8)
    assert clip.shape == (1, 3, 8, 64, 96)
    assert clip.dtype == np.float32
    np.testing.assert_array_equal(clip, smooth_noise(manifest.input, 8))
    assert np.abs(clip - smooth_noise(manifest.input, 8, seed=1)).max() > 0.1
    pixels = clip * 0.2 + np.array([0.5, 0.4, 0.3])[:, None, None, None]
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert np.abs(np.diff(pixels, axis=2)).max() < 0.26


def test_columns_are_aligned_and_remarks_may_be_long():
    text = table([("name", "a", "b"), ("x", "1", "22"), ("longer", "a remark that needs room"), ("y", "333", "4")])
    assert text.splitlines() == [
        "  name      a   b",
        "  x         1  22",
        "  longer  a remark that needs room",
        "  y       333   4",
    ]
    with pytest.raises(ValueError, match="at most the header's 1 cells"):
        table([("a",), ("b", "c")])

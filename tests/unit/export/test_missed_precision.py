"""A precision of a runtime that misses its bound where the file itself is right: told, written down, not chosen."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("onnxruntime", reason="it is the reference where there is no other")
pytest.importorskip("openvino", reason="the check runs it")  # here: its telemetry starts a thread that outlives a test

from graphs import graph_of, manifest_of, network, save  # noqa: E402
from saliency_tubes.engine.errors import ModelError  # noqa: E402
from saliency_tubes.engine.missed import Missed  # noqa: E402
from saliency_tubes.engine.runtimes.models import read_manifest  # noqa: E402
from saliency_tubes.export import check as checking  # noqa: E402
from saliency_tubes.export.check import check  # noqa: E402
from saliency_tubes.export.onnx import restate  # noqa: E402
from saliency_tubes.export.precision import convert  # noqa: E402
from saliency_tubes.stream.app import cli as commands  # noqa: E402

SOURCE = """
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv3d(3, 4, 3, stride=4, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                         nn.Linear(4, 5))
"""


class Scripted:
    """A runner whose bfloat16 is off by a factor, or fails."""

    def __init__(self, inner, factor):
        self._inner, self._factor = inner, factor
        self.description = "OpenVINO 0 on CPU, bf16"

    def infer(self, data, class_ids=None):
        if self._factor is None:
            raise ModelError("OpenVINO says: no such kernel")
        found = self._inner.infer(data, class_ids)
        return [dataclasses.replace(one, activation=one.activation * np.float32(self._factor)) for one in found]


@pytest.fixture
def bf16(monkeypatch):
    """Lets bfloat16 be off by a factor, by the number of frames if it is a dictionary; whatever this machine has."""

    def script(factor):
        def opened(model, *, clip_length=None, runtime="auto", precision="f32", **options):
            inner = open_runner(model, clip_length=clip_length, runtime=runtime, precision="f32", **options)
            if precision == "f32":
                return inner
            return Scripted(inner, factor[clip_length] if isinstance(factor, dict) else factor)

        monkeypatch.setattr(checking, "open_runner", opened)

    open_runner = checking.open_runner
    return script


@pytest.fixture(scope="module")
def model():
    return network(True)


@pytest.fixture
def path(model, tmp_path):
    return save(convert(graph_of(model), "f32", manifest=manifest_of(model)), tmp_path / "m.onnx")


def test_a_precision_of_a_runtime_is_no_reason_to_refuse_a_file_that_is_right(path, model, bf16):
    bf16({4: 1.032, 8: 1.035})
    report = check(path, model)
    assert report.misses() == []
    (missed,) = report.missed
    assert (missed.runtime, missed.precision, missed.clip_length, missed.what) == ("openvino", "bf16", 8, "activation")
    assert missed.measured == pytest.approx(0.035, rel=1e-3)
    assert missed.allowed == 0.03
    assert missed.words == "openvino in bf16 at 8 frames: activation error 3.5e-02 (at most 3e-02 is accepted)"


def test_within_its_bound_nothing_is_said(path, model, bf16):
    bf16(1.02)
    assert check(path, model).missed == ()


def test_a_file_that_is_wrong_in_its_own_precision_is_refused_all_the_same(path, model, bf16):
    bf16(1.035)
    manifest = read_manifest(path)
    head = dataclasses.replace(manifest.head, bias=manifest.head.bias + np.float32(0.1))
    with pytest.raises(ModelError, match=r"branches at 4 frames, onnxruntime .* completeness error"):
        check(path, model, dataclasses.replace(manifest, head=head))


@pytest.mark.parametrize(
    ("factor", "what", "measured"),
    [(math.nan, "activation", None), (None, "run", None), (-1.0, "tube", -1.0), (1.2, "activation", 0.2)],
)
def test_what_is_furthest_off_is_told_and_comes_back(path, model, bf16, factor, what, measured):
    bf16(factor)
    (missed,) = check(path, model).missed
    assert missed.what == what
    assert missed.measured == (measured if measured is None else pytest.approx(measured, rel=1e-3))
    restate(path, dataclasses.replace(read_manifest(path), missed=(missed,)))
    assert read_manifest(path).missed == (missed,)


class TestCommands:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch, capsys):
        (tmp_path / "mine.py").write_text(SOURCE)
        monkeypatch.chdir(tmp_path)

        def run(*words):
            assert commands.main(list(words)) == 0
            return capsys.readouterr().out.splitlines()

        return run

    def test_export_writes_it_down_and_check_and_info_say_it(self, run, bf16, tmp_path):
        bf16(1.035)
        said = "openvino in bf16 at 8 frames: activation error 3.5e-02 (at most 3e-02 is accepted)"
        lines = run("export", "mine.py:network", "--input-shape", "3,8,32,32", "-o", "a.onnx")
        assert lines[-1] == f"warning: {said}; --precision auto will not choose it for this file"
        manifest = read_manifest(tmp_path / "a.onnx")
        assert [one.words for one in manifest.missed] == [said]
        assert manifest.missed_precisions("openvino") == {"bf16"}
        assert manifest.missed_precisions("onnxruntime") == frozenset()
        chosen = f"warning: {said}; --precision auto does not choose it for this file"
        assert run("check", "a.onnx")[-1] == chosen
        assert f"warning  {said}; --precision auto does not choose it" in run("info", "a.onnx")
        bf16(1.0)  # a machine on which it is right, or that has none
        elsewhere = f"warning: {said}, where it was exported; --precision auto does not choose it for this file"
        assert run("check", "a.onnx")[-1] == elsewhere

    def test_check_says_what_the_file_does_not(self, run, bf16):
        bf16(1.0)
        lines = run("export", "mine.py:network", "--input-shape", "3,8,32,32", "-o", "a.onnx")
        assert not any("warning" in line for line in (*lines, *run("check", "a.onnx"), *run("info", "a.onnx")))
        bf16(1.035)
        (line,) = (line for line in run("check", "a.onnx") if line.startswith("warning"))
        assert line.endswith("the file does not say so: run it with --precision f32, or export it here")

    @pytest.mark.parametrize("precision", ["f16", "int8"])
    def test_what_the_file_says_is_of_any_precision(self, precision, bf16, path, model):
        """A file that was converted is right in its own, which a runtime calls f32."""
        bf16(1.35)
        report = check(path, model, precision=precision)
        assert [one.precision for one in report.missed] == ["bf16"]


def test_a_plan_says_what_its_file_says(path):
    from fakegpu import write_plan

    missed = Missed("openvino", "bf16", 8, "activation", 0.035, 0.03)
    restate(path, dataclasses.replace(read_manifest(path), missed=(missed,)))
    plan = write_plan(path, path.with_suffix(".plan"), clip_length=4)
    assert read_manifest(plan).missed == (missed,)


@pytest.mark.parametrize(
    ("precision", "live", "words"),
    [
        ("bf16", False, "as this file says; it runs in it all the same, as --precision asks"),
        (None, True, "as this file says, so that --precision auto does not choose it"),
        ("auto", False, "as this file says, so that --precision auto does not choose it"),
        ("f32", True, None),
        (None, False, None),
    ],
)
def test_a_run_says_what_the_file_says(precision, live, words, monkeypatch):
    from saliency_tubes.stream.app import report
    from saliency_tubes.stream.app.config import Config
    from stubs import StubRunner, make_manifest

    said = []
    monkeypatch.setattr(report, "say", lambda what, text, **options: said.append((what, text)))
    missed = Missed("openvino", "bf16", 8, "activation", 0.035, 0.03)
    job = SimpleNamespace(
        config=Config("a.mp4", precision=precision, limit=3),
        runner=StubRunner(dataclasses.replace(make_manifest(), missed=(missed,))),
        source=SimpleNamespace(
            info=SimpleNamespace(expected_frames=3, rate=25, width=8, height=8, notes=(), decoder=""),
            live=live,
            name="a.mp4",
            remarks=(),
        ),
        sinks=(),
        options=SimpleNamespace(sync="aligned", hop=2, delay=0.0, stride=1),
        young="",
        pipeline=SimpleNamespace(
            overlay=SimpleNamespace(description=""), place=SimpleNamespace(description=""), reserved=""
        ),
        placed="",
    )
    report.Report(job, None).begin()
    assert [text for what, text in said if what == "note"] == ([f"{missed.words}, {words}"] if words else [])

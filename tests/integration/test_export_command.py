"""The commands around a model file as users type them: README's network from PyTorch to a film, and wrong input."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from commands import COMMAND

torch = pytest.importorskip("torch", reason="export needs torch")
onnx = pytest.importorskip("onnx", reason="export needs onnx")
pytest.importorskip("onnxscript", reason="export needs onnxscript")
pytest.importorskip("onnxruntime", reason="check needs it")
pytest.importorskip("openvino", reason="it runs the file")  # here: its telemetry starts a thread that outlives a test

from saliency_tubes import explain  # noqa: E402
from saliency_tubes.engine.errors import ModelError  # noqa: E402
from saliency_tubes.engine.runtimes import tensorrt_builder  # noqa: E402
from saliency_tubes.engine.runtimes.device import find_device  # noqa: E402
from saliency_tubes.engine.runtimes.models import read_manifest  # noqa: E402
from saliency_tubes.engine.runtimes.planfile import check_runtime, json_path, read_plan  # noqa: E402
from saliency_tubes.export import cli as export_cli  # noqa: E402
from saliency_tubes.stream.app.cli import main  # noqa: E402
from videos import make_video  # noqa: E402

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SOURCE = """
import torch
from torch import nn

def trunk():
    return [nn.Conv3d(3, 4, 3, stride=4, padding=1), nn.ReLU()]

def linear():
    torch.manual_seed(0)
    return nn.Sequential(*trunk(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 5))

def flat():
    torch.manual_seed(0)
    return nn.Sequential(*trunk(), nn.Flatten(), nn.Linear(4 * 2 * 8 * 8, 5))
"""
SMALL = ("--input-shape", "3,8,32,32")
NAMES = ("a", "b", "c", "d", "e")


def section(title):
    """README's code blocks under a heading, by language."""
    text = README.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))


def command(*words, folder):
    return subprocess.run([COMMAND, *map(str, words)], capture_output=True, text=True, cwd=folder, timeout=120)


def one_error(stderr, table=False):
    """The one line that says what is wrong; with `table` more may follow."""
    lines = stderr.splitlines()
    errors = [line for line in lines if "error:" in line]
    assert len(errors) == 1, stderr
    assert lines[0 if table else -1] == errors[0], stderr
    assert "Traceback" not in stderr
    return errors[0]


@pytest.fixture
def refused(folder, capfd, monkeypatch):
    """Runs a command that must fail with a code and one clear line, and leave no file behind; returns the line.

    In this process, for torch takes seconds to import; `test_in_a_process_of_its_own` has the rest.
    """

    def run(code, *words, table=False):
        before = sorted(folder.iterdir())
        monkeypatch.chdir(folder)
        capfd.readouterr()
        try:
            found = main([str(word) for word in words])
        except SystemExit as exit:  # argparse
            found = exit.code
        out, err = capfd.readouterr()
        assert (found, out) == (code, ""), err
        assert sorted(folder.iterdir()) == before
        line = one_error(err, table)
        return line if table else err.strip()

    return run


@pytest.fixture
def done(folder, capfd, monkeypatch):
    """Runs a command that must succeed; returns what it prints."""

    def run(*words):
        monkeypatch.chdir(folder)
        capfd.readouterr()
        assert main([str(word) for word in words]) == 0, capfd.readouterr().err
        return capfd.readouterr().out

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """README's network with its weights, a linear one, an ONNX file made elsewhere, and a video."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mynet.py").write_text(section("Your own network")["python"])
    (folder / "small.py").write_text(SOURCE)
    spaces: dict[str, dict] = {}
    for name in ("mynet", "small"):
        exec((folder / f"{name}.py").read_text(), spaces.setdefault(name, {}))
    torch.manual_seed(0)
    model, linear = spaces["mynet"]["network"](), spaces["small"]["linear"]().eval()
    torch.save(model.state_dict(), folder / "best.pt")
    torch.save(model, folder / "whole.pt")
    program = torch.onnx.export(
        linear, (torch.zeros(1, 3, 8, 32, 32),), dynamo=True, input_names=["video"], output_names=["scores"],
        verbose=False,
    )  # fmt: skip
    onnx.save(program.model_proto, folder / "bare.onnx")
    (folder / "names.txt").write_text("\n".join(NAMES))
    (folder / "two.txt").write_text("a\nb\n")
    (folder / "empty").mkdir()
    make_video(folder / "clip.mp4", size=(64, 48), frames=24)
    return folder


@pytest.fixture(scope="module")
def typed(folder):
    """What each of README's commands said, by its name; `build` only where it can be run."""
    said = {}
    for line in section("Your own network")["sh"].splitlines():
        program, *words = shlex.split(line, comments=True)
        assert program == "saliency-tubes"
        if words[0] != "build" or find_spec("tensorrt_rtx"):
            said[words[0]] = command(*words, folder=folder)
    return said


@pytest.fixture(scope="module")
def own(typed, folder):
    """The file that README's `export` makes."""
    assert typed["export"].returncode == 0, typed["export"].stderr
    return folder / "mynet.onnx"


@pytest.fixture(scope="module")
def plan(typed, folder):
    pytest.importorskip("tensorrt_rtx", reason="needs TensorRT-RTX, which builds without a GPU")
    assert typed["build"].returncode == 0, typed["build"].stderr
    return folder / "mynet.plan"


class TestReadme:
    def test_export(self, own, typed):
        said = typed["export"]
        assert not said.stderr
        assert said.stdout.startswith("mynet.onnx: network, ONNX, ")
        assert "head        not linear: off by " in said.stdout
        assert "checked against PyTorch" in said.stdout
        manifest = read_manifest(own)
        assert (manifest.head, manifest.tap, manifest.channels, len(manifest.labels)) == (None, "3", 32, 10)

    def test_check(self, own, typed):
        said = typed["check"]
        assert (said.returncode, said.stderr) == (0, "")
        for name in ("onnxruntime", "OpenVINO", "TensorRT"):
            assert name in said.stdout

    def test_build(self, plan, typed):
        assert typed["build"].stdout.startswith("mynet.plan: network, built in ")
        assert json_path(plan).is_file()
        assert read_plan(plan).manifest.labels == read_manifest(plan.with_suffix(".onnx")).labels

    def test_run(self, own, typed, folder):
        assert typed["run"].returncode == 0, typed["run"].stderr
        assert "Traceback" not in typed["run"].stderr
        assert (folder / "clip.tubes.mp4").stat().st_size > 1000

    @pytest.mark.parametrize(("explain", "ids"), [("3", [3]), ("1:2", [1, 2]), ("class 7", [7])])
    def test_any_class_can_be_asked_for(self, own, done, explain, ids):
        lines = [
            json.loads(line) for line in done("run", "clip.mp4", "-", "--model", own, "--explain", explain).splitlines()
        ]
        assert len(lines) == 3
        for line in lines:
            assert [one["id"] for one in line["explained"]] == ids
            assert line["tube"]["shape"] == [8, 14, 14]
            assert np.isfinite(line["tube"]["peak"]["evidence"])
            assert line["tube"]["peak"]["evidence"] != 0

    def test_against_another_class_is_the_difference_of_the_two(self, own, folder):
        """The graph gives gradients of one class a run: there are two runs, of the same activation."""
        first, second, both = (
            next(iter(explain(str(folder / "clip.mp4"), model=own, explain=asked))).explanation.tube.evidence
            for asked in ("1", "2", "1:2")
        )
        np.testing.assert_allclose(both, first - second, atol=1e-5 * np.abs(both).max())
        assert np.abs(both).max() > 0

    @pytest.mark.slow
    def test_two_processes_write_the_same_bytes(self, own, folder):
        words = shlex.split(section("Your own network")["sh"].splitlines()[0])[1:]
        words[words.index("-o") + 1] = "again.onnx"
        assert command(*words, folder=folder).returncode == 0
        assert (folder / "again.onnx").read_bytes() == own.read_bytes()
        (folder / "again.onnx").unlink()


class TestOwnNetwork:
    def test_in_a_process_of_its_own(self, folder):
        """Nothing that other code does when it is imported comes between."""
        said = command("export", "small.py:flat", *SMALL, "--weights", "whole.pt", folder=folder)
        assert (said.returncode, said.stdout) == (1, "")
        assert one_error(said.stderr) == said.stderr.strip()

    def test_the_layers_are_listed(self, done):
        assert done("export", "small.py:linear", *SMALL, "--list-layers").splitlines() == [
            "  layer  C  t  h  w",
            "  0      4  2  8  8",
            "  1      4  2  8  8",
            "  2      4  1  1  1",
            "tapped unless --layer says otherwise: 1",
        ]

    def test_a_layer_that_does_not_exist(self, refused):
        line = refused(2, "export", "small.py:linear", *SMALL, "--layer", "layer4")
        assert line.endswith("no layer 'layer4'; there are 0, 1, 2, 3, 4")

    @pytest.mark.parametrize(("layer", "shape"), [("3", "[1, 4]"), ("4", "[1, 5]")])
    def test_a_layer_without_time(self, refused, layer, shape):
        line = refused(2, "export", "small.py:linear", *SMALL, "--layer", layer)
        assert line.endswith(f"layer {layer} gives {shape}, a tap needs [N, C, t, h, w]")

    @pytest.mark.parametrize("head", ["auto", "linear"])
    def test_a_head_that_mixes_places(self, refused, head):
        line = refused(2, "export", "small.py:flat", *SMALL, "--head", head)
        assert "it has no class activation map" in line
        assert "--head gradient" in line

    def test_what_was_said_to_do_then_works(self, done, folder):
        said = done("export", "small.py:flat", *SMALL, "--head", "gradient", "-o", "flat.onnx")
        assert "gradients, as asked for" in said
        lines = done("run", "clip.mp4", "-", "--model", "flat.onnx", "--explain", "3").splitlines()
        assert all(json.loads(line)["explained"][0]["id"] == 3 for line in lines)

    def test_weights_of_another_network(self, refused):
        line = refused(1, "export", "small.py:linear", *SMALL, "--weights", "best.pt")
        assert "the weights do not fit the network: 2 missing (4.weight, " in line
        assert "unknown (2.weight, " in line
        assert "0.weight is 16x3x3x7x7 where the network has 4x3x3x3x3" in line

    def test_a_checkpoint_that_would_run_code(self, refused):
        line = refused(1, "export", "mynet.py:network", "--input-shape", "3,16,112,112", "--weights", "whole.pt")
        assert "whole.pt holds more than weights: reading it would run torch.nn.modules.container.Sequential" in line
        assert "torch.save(model.state_dict(), FILE)" in line

    def test_weights_that_are_not_there(self, refused):
        assert "none.pt: there is no such file" in refused(
            1, "export", "small.py:linear", *SMALL, "--weights", "none.pt"
        )

    @pytest.mark.parametrize(("labels", "count"), [("two.txt", 2), ("ucf101", 101)])
    def test_labels_of_another_count(self, refused, labels, count):
        line = refused(2, "export", "small.py:linear", *SMALL, "--labels", labels)
        assert line.endswith(f"labels {labels} are {count}, the network has 5 classes")

    def test_classes_of_another_count(self, refused):
        line = refused(2, "export", "small.py:linear", *SMALL, "--classes", "7")
        assert line.endswith("--classes is 7, the network has 5")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["nowhere.py:network", *SMALL], "cannot import nowhere.py: there is no such file"),
            (["small.py:net", *SMALL], "small.py has no 'net'; it has trunk, linear, flat"),
            (["small.py:linear"], "your own network needs --input-shape 3,T,H,W"),
            (["small.py:linear", "--input-shape", "3,8,32"], "--input-shape must be 3,T,H,W, got '3,8,32'"),
            (["small.py:linear", *SMALL, "--precision", "int4"], "precision must be one of f32, f16, int8, got 'int4'"),
            (["small.py:linear", *SMALL, "--precision", "int8"], "give a folder of videos with --calibrate DIR"),
            (["small.py:linear", *SMALL, "--precision", "int8", "--calibrate", "empty"], "no video in empty"),
            (["small.py:linear", *SMALL, "--frames", "0"], "--frames must be 1 or more, got 0"),
            (["small.py:linear", *SMALL, "--short-side", "8"], "short_side must be 32 or more, got 8"),
            (["r3d_18", "--rate", "30"], "--rate 30 is for your own networks: r3d_18 is fed as it was trained"),
            (["small.py:linear", *SMALL, "-o", "no/a.onnx"], "cannot write no/a.onnx: there is no folder no"),
            (["resnet"], "no network 'resnet': there are i3d, "),
        ],
    )
    def test_what_is_wrong_is_said(self, refused, words, said):
        assert said in refused(2, "export", *words)

    def test_int8_with_videos(self, done):
        said = done(
            "export", "small.py:linear", *SMALL, "--precision", "int8", "--calibrate", "clip.mp4", "-o", "8.onnx"
        )
        assert "accepted (int8)" in said

    def test_packages_that_are_missing(self, refused, monkeypatch):
        monkeypatch.setattr(export_cli, "find_spec", lambda name: None if name == "torch" else object())
        line = refused(2, "export", "small.py:linear", *SMALL)
        assert line.endswith("export needs torch: pip install 'saliency-tubes[export]'")


def damaged(path, name="damaged.onnx"):
    """A copy whose last kernel is turned round."""
    proto = onnx.load(path)
    kernel = [tensor for tensor in proto.graph.initializer if len(tensor.dims) == 5][-1]
    values = onnx.numpy_helper.to_array(kernel)[::-1].copy()
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(proto, path.with_name(name))
    return name


class TestCheck:
    def test_a_file_that_is_off_is_refused_with_its_table(self, own, refused, done):
        name = damaged(own)
        line = refused(1, "check", name, "--reference", own, table=True)
        assert "network at 16 frames, onnxruntime" in line
        assert "activation error" in line
        assert "accepted (f32)" in done("check", name, "--reference", own, "--force")

    def test_on_a_video(self, own, done):
        assert "on T = 16: 1 clip;" in done("check", own, "--clip", "clip.mp4")

    def test_another_length(self, own, refused):
        line = refused(2, "check", own, "--clip", "clip.mp4", "--frames", "12")
        assert line.endswith("takes clips of 16 frames, got 12")


class TestMadeElsewhere:
    @pytest.mark.parametrize(
        "words", [["run", "clip.mp4", "null://", "--model"], ["check"], ["build"], ["info"]], ids=lambda words: words[0]
    )
    def test_a_file_without_manifest(self, refused, words):
        line = refused(1, *words, "bare.onnx")
        assert "bare.onnx: it has no saliency-tubes manifest" in line
        assert "saliency-tubes manifest add" in line

    def add(self, **changes):
        options = {"-o": "added.onnx", "--activation": "relu", "--input-shape": "3,8,32,32", "--labels": "names.txt"}
        return ["manifest", "add", "bare.onnx", *sum(({**options, **changes}).items(), ())]

    def test_it_is_given_one(self, done):
        assert "head        linear: found among the initializers" in done(*self.add())
        lines = done("run", "clip.mp4", "-", "--model", "added.onnx", "--explain", "b").splitlines()
        assert all(json.loads(line)["explained"][0]["class"] == "b" for line in lines)
        assert "error of completeness" in done("check", "added.onnx")

    def test_what_does_not_belong_to_it(self, refused, folder):
        assert refused(2, *self.add(**{"--labels": "two.txt"})).endswith("2 labels do not fit 5 logits")
        line = refused(2, *self.add(**{"--activation": "rlu"}))
        assert line.endswith("the graph has no tensor 'rlu'; did you mean relu?")
        flat = onnx.load(folder / "bare.onnx").graph.node[-2].output[0]
        assert "a tap needs [batch, C, t, h, w]" in refused(2, *self.add(**{"--activation": flat}))

    def test_a_folder_that_is_not_there(self, refused):
        assert "cannot write no/a.onnx" in refused(1, *self.add(**{"-o": "no/a.onnx"}))


class TestPlan:
    def test_it_says_what_it_is(self, plan, done):
        said = done("info", plan)
        assert "TensorRT-RTX" in said
        assert re.search(r"^in +clip \[1, 3, 16, 112, 112\] float32$", said, re.MULTILINE)
        assert re.search(r"^for +GPUs of compute capability", said, re.MULTILINE)

    @pytest.fixture
    def no_driver(self):
        if not isinstance(find_device(), str):
            pytest.skip("there is a GPU here")

    def test_it_is_not_run_without_a_driver(self, plan, refused, no_driver):
        line = refused(2, "run", "clip.mp4", "null://", "--model", plan)
        assert "a TensorRT plan runs on an NVIDIA GPU, and here is no " in line

    def test_in_a_process_of_its_own(self, plan, folder, no_driver):
        """TensorRT's runtime would end it."""
        ran = command("run", "clip.mp4", "null://", "--model", plan, folder=folder)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "here is no " in one_error(ran.stderr)

    def test_check_says_why_it_was_not_run(self, plan, own, done, refused, no_driver):
        assert "not run: a TensorRT plan runs on an NVIDIA GPU, and here is no " in done("check", own)
        line = refused(1, "check", own, "--plan", plan, table=True)
        assert "TensorRT: not run: a TensorRT plan runs on an NVIDIA GPU" in line

    def test_in_place_of_an_onnx_file(self, plan, own, refused):
        line = refused(2, "check", plan)
        assert line.endswith(f"check takes an ONNX file, and {plan} is a TensorRT plan: name it by --plan")
        line = refused(2, "check", own, "--reference", plan)
        assert line.endswith(f"--reference takes an ONNX file, and {plan} is a TensorRT plan: name it by --plan")
        line = refused(2, "check", own, "--plan", own)
        assert line.endswith(f"--plan takes a TensorRT plan (.plan, .engine), got {own}")
        line = refused(2, "build", plan)
        assert line.endswith(f"{plan} is a plan already: build takes the ONNX file that it was built from")

    def test_of_another_version_or_gpu(self, plan):
        info = read_plan(plan)
        check_runtime(info, info.builder, info.version, "8.9")
        for builder, version, gpu, said in (
            (
                info.builder,
                "1.0.0",
                "8.9",
                r"was built by TensorRT-RTX .*, needs that very version, and here is TensorRT",
            ),
            (info.builder, info.version, "7.5", r"was built for GPUs of .*8\.0 or newer, and this GPU's is 7\.5"),
            (
                "tensorrt",
                "10.3.0",
                "8.9",
                r"was built by TensorRT-RTX .* and here is TensorRT 10\.3\.0: build it again",
            ),
        ):
            with pytest.raises(ModelError, match=said):
                check_runtime(info, builder, version, gpu)

    def test_without_its_json(self, plan, refused, folder):
        (folder / "lone.plan").write_bytes(plan.read_bytes())
        assert "there is no lone.plan.json beside it" in refused(1, "info", "lone.plan")

    def test_without_tensorrt(self, own, refused, monkeypatch):
        monkeypatch.setattr(tensorrt_builder, "find_spec", lambda name: None)
        line = refused(2, "build", own, "-o", "other.plan")
        assert "building needs TensorRT: on x86 'pip install tensorrt-rtx'" in line

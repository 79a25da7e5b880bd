"""Building, less TensorRT: when a plan is built again, what is left behind, what is refused."""

import argparse
import os
import signal
from dataclasses import replace

import pytest
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.manifest import MANIFEST_KEY
from saliency_tubes.engine.runtimes import build_plan as plan
from saliency_tubes.engine.runtimes import tensorrt as running
from saliency_tubes.engine.runtimes import tensorrt_builder as tensorrt
from saliency_tubes.engine.runtimes.build_options import BuildOptions, Cancelled
from saliency_tubes.engine.runtimes.build_plan import NEW, build_plan
from saliency_tubes.engine.runtimes.device import Device
from saliency_tubes.engine.runtimes.planfile import Range, TensorInfo, json_path, read_plan
from saliency_tubes.engine.runtimes.tensorrt import Kit
from saliency_tubes.engine.runtimes.tensorrt_builder import Engine
from saliency_tubes.stream.app import build_cli
from stubs import make_manifest

CLIP = (1, 3, 8, 32, 32)
OUTPUTS = (TensorInfo("logits", (1, 2), "float32"), TensorInfo("activation", (1, 1, 2, 4, 4), "float32"))


class Here:
    """A builder and a GPU that are not here, and how often something was built."""

    def __init__(self):
        self.kit = Kit("tensorrt", "10.3.0", None)
        self.device = Device("Orin", "8.7")
        self.built = 0
        self.fail = None
        self.cache = None

    def build(self, kit, onnx, manifest, options, watch, timing_cache):
        if self.fail is not None:
            raise self.fail
        self.built += 1
        self.cache = timing_cache
        profile = {"clip": Range(CLIP, CLIP, CLIP)}
        inputs = (TensorInfo("clip", CLIP, "float32"),)
        data = memoryview(f"plan {self.built}".encode())
        return Engine(data, inputs, OUTPUTS, profile, manifest.default_clip_length)


@pytest.fixture
def here(monkeypatch):
    here = Here()
    monkeypatch.setattr(plan, "find_kit", lambda builder: here.kit)
    monkeypatch.setattr(plan, "target", lambda kit, options, index: here.device)
    monkeypatch.setattr(plan, "build", here.build)
    return here


def write_onnx(path, salt=b"", manifest=None):
    """An ONNX file with metadata and, by its bytes, nothing else: ModelProto's graph (7) and metadata_props (14)."""

    def message(number, data):
        size, length = len(data), bytearray()
        while True:
            length.append(size & 0x7F | (0x80 if size > 0x7F else 0))
            size >>= 7
            if not size:
                return bytes([number << 3 | 2]) + bytes(length) + data

    entries = {**(manifest or make_manifest()).to_properties(), "saliency_tubes.precision": "fp32", "someone": "else"}
    pairs = (message(14, message(1, name.encode()) + message(2, text.encode())) for name, text in entries.items())
    path.write_bytes(message(7, salt) + b"".join(pairs))
    return path


@pytest.fixture
def onnx(tmp_path):
    return write_onnx(tmp_path / "a.onnx")


class TestBuilding:
    def test_the_plan_and_its_json(self, here, onnx, tmp_path):
        built = build_plan(onnx, tmp_path / "a.plan")
        assert built.why == NEW
        assert (tmp_path / "a.plan").read_bytes() == b"plan 1"
        info = read_plan(tmp_path / "a.plan")
        assert (info.made_by, info.compute_capability, info.device) == ("TensorRT 10.3.0", ("8.7",), "Orin")
        assert set(info.metadata) == {MANIFEST_KEY, "saliency_tubes.class_weights", "saliency_tubes.precision"}
        assert info.options["frames"] == 8
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.plan", "a.plan.json"]

    def test_not_twice(self, here, onnx, tmp_path):
        for _ in range(2):
            built = build_plan(onnx, tmp_path / "a.plan", BuildOptions(batch=(1, 2, 4)))
        assert (here.built, built.why) == (1, "")
        assert built.info.plan_bytes == 6
        assert (
            build_plan(onnx, tmp_path / "a.plan", BuildOptions(batch=(1, 2, 4)), force=True).why == "it was asked for"
        )
        assert here.built == 2

    def test_frames_that_are_the_default_are_no_change(self, here, onnx, tmp_path):
        build_plan(onnx, tmp_path / "a.plan")
        assert not build_plan(onnx, tmp_path / "a.plan", BuildOptions(clip_length=8)).why

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ("onnx", "the ONNX file has changed"),
            ("weights beside it", "the ONNX file has changed"),
            ("options", "another batch, tf32 is asked for"),
            ("version", "the plan is of TensorRT 10.3.0"),
            ("builder", "the plan is of TensorRT 10.3.0"),
            ("gpu", "the plan is for GPUs of compute capability 8.7 (built on Orin)"),
            ("another of that kind", "the plan is for GPUs of compute capability 8.7 (built on Orin)"),
            ("no json", "there is no a.plan.json beside it"),
            ("damaged json", "it is not JSON"),
            ("damaged plan", "is not the plan that a.plan.json speaks of"),
        ],
    )
    def test_again_when_something_has_changed(self, change, why, here, onnx, tmp_path):
        path, options = tmp_path / "a.plan", BuildOptions()
        build_plan(onnx, path)
        if change == "onnx":
            write_onnx(onnx, b"\x0a\x01a")
        elif change == "weights beside it":
            (tmp_path / "a.onnx.data").write_bytes(b"weights")
        elif change == "options":
            options = BuildOptions(batch=(1, 1, 2), tf32=False)
        elif change == "version":
            here.kit = replace(here.kit, version="10.3.1")
        elif change == "builder":
            here.kit = replace(here.kit, name="tensorrt-rtx")
        elif change == "gpu":
            here.device = Device("Orin", "8.6")
        elif change == "another of that kind":
            here.device = Device("Orin Nano", "8.7")
        elif change == "no json":
            json_path(path).unlink()
        elif change == "damaged json":
            json_path(path).write_text("{")
        else:
            path.write_bytes(b"mischief")
        built = build_plan(onnx, path, options)
        assert why in built.why
        assert here.built == 2
        assert not build_plan(onnx, path, options).why


class TestNothingIsLeftBehind:
    @pytest.mark.parametrize("error", [ModelError("no"), Cancelled(), OSError(28, "No space left on device")])
    def test_a_build_that_fails_leaves_the_old_plan(self, error, here, onnx, tmp_path):
        build_plan(onnx, tmp_path / "a.plan")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        here.fail = error
        expected = ModelError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            build_plan(onnx, tmp_path / "a.plan", force=True)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_between_the_plan_and_its_json_the_pair_is_refused(self, here, onnx, tmp_path, monkeypatch):
        path = tmp_path / "a.plan"
        build_plan(onnx, path)
        write = plan._write

        def once(data, part, target):
            if target == json_path(path):
                raise OSError(28, "No space left on device")
            write(data, part, target)

        monkeypatch.setattr(plan, "_write", once)
        with pytest.raises(ModelError, match=r"cannot write .*a\.plan: No space left on device"):
            build_plan(onnx, path, force=True)
        with pytest.raises(ModelError, match="is not the plan that"):
            read_plan(path)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("a.onnx", "it is the name of an ONNX file"),
            ("nowhere/a.plan", "there is no folder"),
            ("", "it is a folder"),
        ],
    )
    def test_where_no_plan_can_be(self, name, reason, here, onnx, tmp_path):
        with pytest.raises(UsageError, match=reason):
            build_plan(onnx, tmp_path / name)
        assert here.built == 0

    def test_a_clip_length_the_model_does_not_serve(self, here, onnx, tmp_path):
        with pytest.raises(ModelError, match="stub takes clips of 8 frames, got 9"):
            build_plan(onnx, tmp_path / "a.plan", BuildOptions(clip_length=9))

    def test_an_onnx_file_of_someone_else(self, here, tmp_path):
        (tmp_path / "b.onnx").write_bytes(b"\x3a\x00")
        with pytest.raises(ModelError, match="it has no saliency-tubes manifest"):
            build_plan(tmp_path / "b.onnx", tmp_path / "b.plan")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch": (1, 3, 2)}, "batch must be 1 <= MIN <= OPT <= MAX, got 1:3:2"),
        ({"batch": (0, 1, 1)}, "got 0:1:1"),
        ({"workspace": 0}, "workspace must be 1 MiB or more, got 0"),
        ({"hardware_compatibility": "all"}, r"must be one of none, same, ampere\+, got 'all'"),
        ({"optimization_level": 6}, "optimization level must be 0 to 5, got 6"),
    ],
)
def test_options_that_make_no_sense(changes, reason):
    with pytest.raises(UsageError, match=reason):
        BuildOptions(**changes)


class TestWhatIsInstalled:
    @pytest.fixture
    def installed(self, monkeypatch):
        names = {}
        monkeypatch.setattr(tensorrt, "find_spec", lambda name: name if name in names else None)
        monkeypatch.setattr(running, "import_module", lambda name: argparse.Namespace(__version__=names[name]))
        return names

    def test_the_first_there_is(self, installed):
        installed["tensorrt_rtx"] = "1.7.1"
        assert tensorrt.find_kit().title == "TensorRT-RTX 1.7.1"
        installed["tensorrt"] = "11.4.0"
        assert tensorrt.find_kit().title == "TensorRT 11.4.0"
        assert tensorrt.find_kit("tensorrt-rtx").is_rtx

    def test_none(self, installed):
        installed["tensorrt_lean"] = installed["tensorrt_dispatch"] = "11.4.0"  # they run plans, and build none
        with pytest.raises(UsageError, match=r"pip install tensorrt-rtx.*JetPack.*--system-site-packages") as error:
            tensorrt.find_kit()
        assert "\n" not in str(error.value)
        with pytest.raises(UsageError, match=r"tensorrt is not installed; .*pip install tensorrt-rtx"):
            tensorrt.find_kit("tensorrt")

    def test_one_of_an_old_jetpack(self, installed):
        installed["tensorrt"] = "8.6.2"
        with pytest.raises(UsageError, match=r"TensorRT 10 or newer is needed, here is 8\.6\.2"):
            tensorrt.find_kit()

    def test_one_that_cannot_be_loaded(self, installed, monkeypatch):
        def fail(name):
            raise ImportError("libnvinfer.so.10: cannot open\nshared object file")

        installed["tensorrt"] = "10.3.0"
        monkeypatch.setattr(running, "import_module", fail)
        with pytest.raises(UsageError, match=r"cannot be loaded: libnvinfer\.so\.10: cannot open shared object file"):
            tensorrt.find_kit()

    def test_an_unknown_one(self):
        with pytest.raises(UsageError, match="builder must be one of auto, tensorrt, tensorrt-rtx, got 'tvm'"):
            tensorrt.find_kit("tvm")


class TestTarget:
    KIT = Kit("tensorrt", "11.4.0", None)

    def test_tensorrt_builds_for_the_gpu_that_is_here(self, monkeypatch):
        monkeypatch.setattr(tensorrt, "find_device", lambda index: Device("Thor", "11.0", index))
        assert tensorrt.target(self.KIT, BuildOptions()) == Device("Thor", "11.0")
        with pytest.raises(UsageError, match="--compute-capability is for --builder tensorrt-rtx"):
            tensorrt.target(self.KIT, BuildOptions(compute_capability=("8.9",)))

    def test_and_without_one_nothing_of_it_is_touched(self, monkeypatch):
        monkeypatch.setattr(tensorrt, "find_device", lambda index: "no NVIDIA driver")
        with pytest.raises(UsageError, match=r"TensorRT 11\.4\.0 builds on the GPU .* here is no NVIDIA driver"):
            tensorrt.target(self.KIT, BuildOptions())


class TestCommand:
    def run(self, *words):
        parser = argparse.ArgumentParser()
        build_cli.add_arguments(parser)
        return build_cli.run(parser.parse_args(words))

    def test_it_says_what_it_did(self, here, onnx, tmp_path, capsys):
        assert self.run(str(onnx)) == 0
        out = capsys.readouterr().out.splitlines()
        assert out[0].startswith(f"{tmp_path / 'a.plan'}: Stub, built in 0.")
        assert "  plan      0.0 MB, TensorRT 10.3.0, T = 8" in out
        assert out[-1] == "  beside it a.plan.json"
        assert here.cache == tmp_path / "a.plan.timing"
        assert self.run(str(onnx)) == 0
        assert "nothing has changed since it was built by TensorRT 10.3.0 (--force" in capsys.readouterr().out
        assert self.run(str(onnx), "--batch", "1:2:4", "--no-timing-cache") == 0
        assert "another batch is asked for" in capsys.readouterr().out
        assert here.cache is None

    def test_a_model_of_the_package_is_built_here(self, here, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert self.run("i3d") == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["i3d.plan", "i3d.plan.json"]

    def test_a_plan_is_not_built_again_from_itself(self, here, onnx, tmp_path):
        build_plan(onnx, tmp_path / "a.plan")
        with pytest.raises(
            UsageError, match=r"a\.plan is a plan already: build takes the ONNX file that it was built from"
        ):
            self.run(str(tmp_path / "a.plan"), "-o", str(tmp_path / "b.plan"))
        assert here.built == 1

    def test_no_such_model(self, here):
        with pytest.raises(ModelError, match="no model 'nothing'"):
            self.run("nothing")

    def test_a_build_that_was_stopped(self, here, onnx, tmp_path, monkeypatch):
        def stop(work, progress):
            os.kill(os.getpid(), signal.SIGINT)
            assert progress.cancelled
            raise Cancelled

        monkeypatch.setattr(build_cli, "attended", stop)
        assert self.run(str(onnx)) == 130

    @pytest.mark.parametrize(("text", "batch"), [("4", (4, 4, 4)), ("1:2:4", (1, 2, 4))])
    def test_batches(self, text, batch):
        assert build_cli._batch(text) == batch

    @pytest.mark.parametrize("text", ["", "a", "1:2", "1:2:3:4", "1:b:3"])
    def test_no_batches(self, text, capsys):
        with pytest.raises(SystemExit):
            self.run("a.onnx", "--batch", text)
        assert "a number or MIN:OPT:MAX" in capsys.readouterr().err


def test_reasons_of_tensorrt():
    assert running.reason([]) == ""
    error = (
        "IBuilder::build: Error Code 4: API Usage Error (No profile. In validate at /_src/optimizer/api/network.cpp:40)"
    )
    noise = "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at /_src/a.cpp:2)"
    assert running.reason([error, noise, error]) == "IBuilder::build: Error Code 4: API Usage Error (No profile)"
    assert "Cuda Runtime" in running.reason([noise])

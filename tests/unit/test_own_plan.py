"""Plans that a run builds for itself, by the real TensorRT-RTX, which builds without a GPU. It needs one to run them: a
stand-in does that."""

import os
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks are made by it")
pytest.importorskip("onnx", reason="the networks are made by it")
pytest.importorskip("onnxruntime", reason="it runs the plan's file in the plan's place")
pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx", exc_type=ImportError)

import fakeort
from graphs import graph_of, network, save
from saliency_tubes.engine.cachefile import cache_folder
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.engine.runtimes import open as opening
from saliency_tubes.engine.runtimes import own_plan, plan_cache
from saliency_tubes.engine.runtimes.build_options import Cancelled, Silent
from saliency_tubes.engine.runtimes.open import choices, open_attended, open_runner
from saliency_tubes.engine.runtimes.planfile import json_path, read_plan
from saliency_tubes.engine.types import HostOutputs

ADA, HOPPER = {"name": "Ada", "capability": "8.9"}, {"name": "Hopper", "capability": "9.0"}


class StandIn:
    """In the place of TensorRtRunner: the ONNX file in onnxruntime. off: what it adds to the activation."""

    onnx, off = None, 0.0

    def __init__(self, plan, info, device, batch):
        assert plan.stat().st_size == info.plan_bytes > 1000
        assert read_plan(plan).plan_sha256 == info.plan_sha256
        self.info, self.device, self.batch = info, device, batch
        self.inner = open_runner(self.onnx, runtime="onnxruntime", clip_length=info.clip_length)

    def infer(self, data, class_ids=None):
        return [HostOutputs(one.logits, one.activation + np.float32(self.off), one.weights)
                for one in self.inner.infer(data, class_ids)]  # fmt: skip


@pytest.fixture(params=["linear", "gradient"])
def onnx(request, tmp_path):
    return save(graph_of(network(request.param == "linear")), tmp_path / "net.onnx")


@pytest.fixture
def built(onnx, monkeypatch):
    """How many plans were built."""
    counted = []
    monkeypatch.setattr(StandIn, "onnx", onnx)
    monkeypatch.setattr(own_plan, "TensorRtRunner", StandIn)
    build = own_plan.build_plan
    monkeypatch.setattr(own_plan, "build_plan", lambda *given, **named: counted.append(named) or build(*given, **named))
    return counted


def plans():
    return sorted(path.name for path in cache_folder("plans").iterdir() if path.suffix == ".plan")


def test_it_is_built_once_and_kept(onnx, built, gpu_double):
    gpu_double(gpus=2, **ADA)
    for how in ("built now", "kept from an earlier start"):
        runner = open_runner(onnx, device="cuda:1")
        assert runner.description.endswith(f"on Ada, f32, a plan of its own, {how}")
        assert runner.device == "cuda:1"
    assert len(built) == 1
    assert runner.info.options["tf32"] is False
    assert runner.info.compute_capability == ("8.9",)
    (name,) = plans()
    assert (cache_folder("plans") / name).stat().st_mode & 0o777 == 0o600


def test_everything_it_depends_on_makes_another(onnx, built, gpu_double):
    gpu_double(**ADA)
    open_runner(onnx, device="cuda")
    open_runner(onnx, device="cuda", clip_length=4)
    assert open_runner(onnx, device="cuda", batch=3).info.profile["clip"].max[0] == 4
    open_runner(onnx, device="cuda", batch=4)  # the same as for 3
    assert len(plans()) == len(built) == 3
    gpu_double(driver=13010, **ADA)
    open_runner(onnx, device="cuda")
    gpu_double(name="Another", capability="8.9")
    open_runner(onnx, device="cuda")
    onnx.with_name("net.onnx.data").write_bytes(b"weights")
    open_runner(onnx, device="cuda")
    assert len(plans()) == len(built) == 6


@pytest.mark.parametrize("what", ["damaged", "another's to write", "no JSON"])
def test_one_that_cannot_be_trusted_is_built_again(what, onnx, built, gpu_double):
    gpu_double(**ADA)
    open_runner(onnx, device="cuda")
    plan = cache_folder("plans") / plans()[0]
    if what == "damaged":
        plan.write_bytes(plan.read_bytes()[:-1] + b"?")
    elif what == "no JSON":
        json_path(plan).unlink()
    else:
        os.chmod(json_path(plan), 0o622)
    assert open_runner(onnx, device="cuda").description.endswith("built now")
    assert len(built) == 2


def test_wrong_numbers_are_not_used_nor_built_again(onnx, built, gpu_double, monkeypatch):
    double = gpu_double(**ADA)
    fakeort.install(monkeypatch, double)
    monkeypatch.setattr(StandIn, "off", 0.1)
    for again in ("", "(at an earlier start; to try again, delete "):
        with pytest.raises(ModelError, match=r"TensorRT-RTX 1.*is not used, its numbers are wrong: .*") as error:
            open_runner(onnx, runtime="tensorrt")
        assert again in str(error.value)
    assert len(built) == 1
    assert plans() == []
    fakeort.install(monkeypatch, double, "CUDAExecutionProvider")
    runner = open_runner(onnx, device="cuda")
    assert runner.place == "cuda:0"
    assert "onnxruntime" in runner.description
    assert "; not by tensorrt: the plan that TensorRT-RTX" in runner.description


def test_a_folder_that_cannot_be_written_to(onnx, built, gpu_double, monkeypatch, tmp_path):
    gpu_double(**ADA)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert "built now, and not kept: " in open_runner(onnx, device="cuda").description


def test_a_build_is_attended_and_may_be_cancelled(onnx, built, gpu_double):
    gpu_double(**ADA)
    told = []

    class Watch(Silent):
        cancelled = True

        def phase_start(self, name, parent, steps):
            told.append(name)

    with pytest.raises(Cancelled):
        open_attended(onnx, None, "auto", "f32", "cuda", 1, lambda work: work(Watch()))
    assert told
    assert plans() == []


def test_a_gpu_that_tensorrt_rtx_does_not_know(onnx, gpu_double, monkeypatch):
    double = gpu_double(**HOPPER)
    fakeort.install(monkeypatch, double)
    with pytest.raises(UsageError) as error:
        open_runner(onnx, device="cuda")
    line = str(error.value)
    assert "nothing here runs ONNX files on Hopper: not by tensorrt: TensorRT-RTX" in line
    assert "has nothing for compute capability 9.0; not by onnxruntime: this onnxruntime has no CUDA" in line
    assert "pip install" in line
    fakeort.install(monkeypatch, double, "CUDAExecutionProvider")
    assert choices(onnx, device="cuda").precisions == ("f32",)
    assert "has nothing for compute capability 9.0" in open_runner(onnx, device="cuda").description


def test_where_there_is_no_gpu(onnx, monkeypatch):
    monkeypatch.setattr(opening, "find_device", lambda index=0: "no NVIDIA driver")
    with pytest.raises(UsageError, match="a model runs by CUDA on an NVIDIA GPU, and here is no NVIDIA driver"):
        open_runner(onnx, device="cuda")


def test_bf16_is_not_of_cuda(onnx, gpu_double):
    gpu_double(**ADA)
    with pytest.raises(UsageError, match=r"on CUDA a model runs in f32, .* got 'bf16'"):
        open_runner(onnx, device="cuda", precision="bf16")


def test_the_key_is_the_same_for_equal_wishes(onnx, gpu_double):
    gpu_double(**ADA)
    made = own_plan.OwnPlan(onnx, opening.read_manifest(onnx), 8, 1, own_plan.Kit("tensorrt", "10.3.0", None),
                            opening.find_device())  # fmt: skip
    assert made.key == replace(made).key != replace(made, kit=own_plan.Kit("tensorrt", "10.4.0", None)).key


def grown(folder, name, size, days):
    """A plan that was used so many days before the newest."""
    plan = folder / f"{name}.plan"
    plan.write_bytes(bytes(size))
    json_path(plan).write_text("{}")
    os.utime(plan, (1e9 - days * 86400,) * 2)
    return plan


@pytest.mark.parametrize(
    ("plans_of", "most", "gone"),
    [
        ({"new": (10, 0), "old": (10, 100), "older": (10, 170)}, 1000, []),
        ({"new": (10, 0), "older": (10, 181), "oldest": (10, 400)}, 1000, ["oldest", "older"]),
        ({"new": (500, 0), "old": (300, 1), "older": (300, 2)}, 900, ["older"]),
        ({"new": (500, 0), "old": (300, 1), "older": (300, 2)}, 100, ["older", "old"]),
        ({"new": (10, 1), "old": (10, 0), "older": (10, 200)}, 5, ["older", "old"]),
        ({"new": (10, 0), "old": (10, 100), "of a wrong clock": (10, -999)}, 1000, []),
    ],
)
def test_plans_unused_for_longest_go_first_and_never_the_one_in_use(plans_of, most, gone, tmp_path, monkeypatch):
    monkeypatch.setattr(plan_cache, "MOST_BYTES", most)
    made = {name: grown(tmp_path, name, *told) for name, told in plans_of.items()}
    (tmp_path / "other.timing").touch()
    for name, days in (("now", 0.5), ("left", 2.5)):
        (tmp_path / f".building-{name}").mkdir()
        (tmp_path / f".building-{name}" / "part.plan").touch()
        os.utime(tmp_path / f".building-{name}", (1e9 - days * 86400,) * 2)
    assert [path.stem for path in plan_cache.prune(tmp_path, made["new"])] == gone
    left = {path.name for path in tmp_path.iterdir()}
    kept = [path for name, path in made.items() if name not in gone]
    assert left == {
        "other.timing",
        ".building-now",
        *(path.name for path in kept),
        *(json_path(path).name for path in kept),
    }


def test_a_start_removes_what_nobody_uses_and_says_so(onnx, built, gpu_double):
    gpu_double(**ADA)
    open_runner(onnx, device="cuda")
    (name,) = plans()
    folder = cache_folder("plans")
    os.utime(folder / name, (1e9, 1e9))  # used long ago, and now again
    for number in range(4):
        grown(folder, f"old-{number}", 10, 200 + number)
    told = open_runner(onnx, device="cuda").description
    assert told.endswith(
        f"kept from an earlier start; removed from {folder}, unused for longest: old-3.plan, old-2.plan and 2 more"
    )
    assert plans() == [name]
    assert open_runner(onnx, device="cuda").description.endswith("kept from an earlier start")
    assert len(built) == 1

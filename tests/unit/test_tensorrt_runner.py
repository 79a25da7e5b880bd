"""Plans, run against doubles of TensorRT and of CUDA: what is asked of them, in which order, and what is refused."""

import gc
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks are made by it")
pytest.importorskip("onnx", reason="the networks are made by it")
pytest.importorskip("onnxruntime", reason="it is what plans are compared with")

from fakegpu import MAGIC, ORIN, Here, write_plan
from graphs import graph_of, manifest_of, network, save
from saliency_tubes.engine.errors import ModelError, TubesError, UsageError
from saliency_tubes.engine.runtimes import tensorrt
from saliency_tubes.engine.runtimes.models import read_manifest
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.runtimes.planfile import json_path, read_plan, sha256
from saliency_tubes.stream.app.cli import main
from videos import make_video

LINEAR, GRADIENT = "linear.onnx", "gradient.onnx"
NO_DRIVER = "no NVIDIA driver (libcuda.so.1 was not found)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    for name in (LINEAR, GRADIENT):
        save(graph_of(network(name == LINEAR)), folder / name)
    make_video(folder / "clip.mp4", frames=12)
    return folder


OUT_OF_MEMORY, ILLEGAL_ADDRESS = 2, 700
"""CUDA_ERROR_OUT_OF_MEMORY, CUDA_ERROR_ILLEGAL_ADDRESS, cuda.h"""


@pytest.fixture
def here(gpu_double):
    return Here(gpu_double(gpus=3, **ORIN))


@pytest.fixture
def trt(here, monkeypatch):
    """TensorRT 10.3.0 and cuda-bindings on an Orin."""
    return here.install(monkeypatch)


@pytest.fixture
def plan(folder, tmp_path):
    return write_plan(folder / LINEAR, tmp_path / "x.plan")


def clip_of(clip_length=8, seed=1):
    return np.random.default_rng(seed).normal(size=(1, 3, clip_length, 64, 96)).astype(np.float32)


def same(one, other):
    for name in ("logits", "activation", "weights"):
        found, expected = getattr(one, name), getattr(other, name)
        assert (found is None) == (expected is None)
        assert found is None or (found.dtype == np.float32 and np.array_equal(found, expected)), name


def refused(kind, *words, call=open_runner, **options):
    """The one line that `call` refuses with."""
    with pytest.raises(TubesError) as error:
        call(**options)
    line = str(error.value)
    assert type(error.value) is kind, line
    assert "\n" not in line
    assert all(str(word) in line for word in words), line
    return line


class TestRunning:
    @pytest.mark.parametrize("clip_length", [8, 4])
    @pytest.mark.parametrize("batch", [(1, 1), (1, 4)])
    @pytest.mark.parametrize("name", [LINEAR, GRADIENT])
    def test_outputs_are_those_of_the_onnx_file(self, name, batch, clip_length, folder, tmp_path, trt):
        path = write_plan(folder / name, tmp_path / "x.plan", batch=batch, clip_length=clip_length)
        runner, reference = (
            open_runner(path),
            open_runner(folder / name, clip_length=clip_length, runtime="onnxruntime"),
        )
        assert runner.clip_length == clip_length
        for seed, class_id in ((1, None), (2, 2), (3, 0), (4, None)):
            same(
                runner.infer(clip_of(clip_length, seed), [class_id])[0],
                reference.infer(clip_of(clip_length, seed), [class_id])[0],
            )

    @pytest.mark.parametrize("name", [LINEAR, GRADIENT])
    def test_a_batch(self, name, folder, tmp_path, trt):
        """Of changing size, in the same memory."""
        path = write_plan(folder / name, tmp_path / "x.plan", batch=(1, 4))
        runner, reference = open_runner(path, batch=3), open_runner(folder / name, runtime="onnxruntime", batch=3)
        assert runner.batch == 3
        clips, classes = np.concatenate([clip_of(seed=seed) for seed in range(3)]), [2, None, 0]
        for size in (3, 1, 2, 3):
            found = runner.infer(clips[:size], classes[:size])
            for one, other in zip(found, reference.infer(clips[:size], classes[:size]), strict=True):
                same(one, other)

    def test_no_more_than_the_plan_takes(self, folder, tmp_path, trt):
        assert open_runner(write_plan(folder / LINEAR, tmp_path / "x.plan", batch=(1, 4)), batch=6).batch == 4
        runner = open_runner(write_plan(folder / LINEAR, tmp_path / "y.plan"), batch=6)
        assert runner.batch == 1
        with pytest.raises(ValueError, match=r"clip must be of shape \(1, 3, 8, 64, 96\), got \(2, 3, 8, 64, 96\)"):
            runner.infer(np.concatenate([clip_of(), clip_of()]))

    def test_it_says_what_it_runs_on(self, plan, trt):
        assert open_runner(plan).description == "TensorRT 10.3.0 on Orin, plan x.plan, float32 I/O"

    @pytest.mark.parametrize("name", ["x.plan", "x.engine"])
    @pytest.mark.parametrize("options", [{}, {"runtime": "tensorrt"}, {"clip_length": 8}, {"device": "CUDA"}])
    def test_options_that_fit(self, name, options, folder, tmp_path, trt):
        path = write_plan(folder / LINEAR, tmp_path / name)
        assert open_runner(path, **options).infer(clip_of())[0].logits.shape == (3,)

    def test_outputs_stay_when_the_next_clip_runs(self, plan, trt):
        runner = open_runner(plan)
        first = runner.infer(clip_of(seed=1))[0]
        kept = first.activation.copy()
        runner.infer(clip_of(seed=2))
        assert np.array_equal(first.activation, kept)

    def test_a_clip_of_another_shape(self, plan, trt):
        with pytest.raises(ValueError, match=r"clip must be of shape \(1, 3, 8, 64, 96\), got \(1, 3, 1, 64, 96\)"):
            open_runner(plan).infer(clip_of(1))

    def test_in_another_thread_than_it_was_made_in(self, plan, trt):
        runner, found = open_runner(plan), []
        thread = threading.Thread(target=lambda: found.append(runner.infer(clip_of())[0]))
        thread.start()
        thread.join()
        same(found[0], runner.infer(clip_of())[0])

    def test_on_another_gpu(self, plan, trt, here):
        runner = open_runner(plan, device="cuda:2")
        assert runner.place == "cuda:2"
        assert runner.infer(clip_of())[0].logits.shape == (3,)

    def test_outputs_nobody_asks_for_have_room_too(self, folder, tmp_path, trt):
        model = graph_of(network(True))
        model.graph.output.append(type(model.graph.output[0])())
        model.graph.output[-1].CopyFrom(model.graph.output[1])
        model.graph.output[-1].name = "stem"
        del model.graph.output[-1].type.tensor_type.shape.dim[:]
        for _ in range(5):
            model.graph.output[-1].type.tensor_type.shape.dim.add()
        onnx = save(model, tmp_path / "more.onnx")
        runner = open_runner(write_plan(onnx, tmp_path / "x.plan"))
        same(runner.infer(clip_of())[0], open_runner(folder / LINEAR, runtime="onnxruntime").infer(clip_of())[0])

    def test_the_manifest_is_that_of_its_one_length(self, folder, tmp_path, trt):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", clip_length=4)
        assert read_manifest(folder / LINEAR).default_clip_length == 8
        manifest = read_manifest(path)
        assert (manifest.default_clip_length, sorted(manifest.windows)) == (4, [4])
        assert open_runner(path).manifest.to_properties() == manifest.to_properties()

    @pytest.mark.parametrize(("builder", "module"), [("tensorrt", "tensorrt"), ("tensorrt-rtx", "tensorrt_rtx")])
    def test_each_builder_has_its_module(self, builder, module, folder, tmp_path, here, monkeypatch):
        here.install(monkeypatch, module, "1.7.1")
        monkeypatch.setitem(tensorrt.OLDEST, "tensorrt", 1)
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", builder=builder, version="1.7.1")
        assert open_runner(path).description.startswith(
            f"{'TensorRT-RTX' if 'rtx' in builder else 'TensorRT'} 1.7.1 on"
        )

    @pytest.mark.parametrize("module", ["tensorrt", "tensorrt_lean", "tensorrt_dispatch"])
    def test_version_compatible_plans_run_with_later_ones_and_with_the_small_ones(
        self, module, folder, tmp_path, here, monkeypatch
    ):
        here.install(monkeypatch, module, "11.4.0")
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", options={"version_compatible": True})
        assert open_runner(path).description.startswith("TensorRT 11.4.0")


class TestGivingBack:
    """The fixture finds what is left on the GPU."""

    def test_tensorrts_objects_in_their_order(self, plan, trt, here):
        runner = open_runner(plan)
        outputs = runner.infer(clip_of())[0]
        del runner
        gc.collect()
        assert here.events == ["execution context", "engine", "runtime"]
        assert outputs.activation.shape == (8, 4, 32, 48)  # outputs outlive the runner

    def test_at_exit_too(self, plan, here):
        """While there still is a driver: what was registered first is called last."""
        code = """
import atexit, sys
import fakegpu, pytest
from gpu_double.double import Double
from gpu_double.nvrtc import StubNvrtc
from pathlib import Path
from saliency_tubes.engine.runtimes.open import open_runner
sys.modules["cuda.bindings.nvrtc"] = StubNvrtc()
here = fakegpu.Here(Double(Path(sys.argv[2]), **fakegpu.ORIN))
atexit.register(lambda: print(*here.events, here.double.live["streams"], *here.double.violations, sep=", "))
here.install(pytest.MonkeyPatch())
runner = open_runner(sys.argv[1])
"""
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        words = [sys.executable, "-c", code, str(plan), str(plan.parent)]
        run = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout == "execution context, engine, runtime, 0\n"

    @pytest.mark.parametrize("what", ["runtime", "context", "run", "address"])
    def test_whatever_fails(self, what, plan, trt, here):
        trt.refuse.add(what)
        refused(ModelError, plan, model=plan)

    @pytest.mark.parametrize("function", ["cuMemAlloc", "cuMemHostAlloc", "cuLaunchKernel"])
    def test_whatever_of_cuda_fails(self, function, plan, trt, here):
        here.double.fail(function, OUT_OF_MEMORY)
        refused(ModelError, plan, "the GPU says: out of memory", model=plan)

    def test_a_gpu_that_fails_while_it_runs(self, plan, trt, here):
        runner = open_runner(plan)
        here.double.fail("cuEventSynchronize", ILLEGAL_ADDRESS, sticky=True)
        refused(ModelError, "the GPU says: ", "illegal", call=runner.infer, data=clip_of())
        here.double.may_leave |= set(here.double.live)  # a GPU in this state frees nothing


class TestWhereItCannotRun:
    """And nothing of TensorRT's is made."""

    @pytest.fixture(autouse=True)
    def nothing_is_made(self, trt, here):
        yield
        assert trt.made == []
        assert here.double.live["streams"] == 0

    def test_no_driver(self, plan, monkeypatch):
        monkeypatch.setattr(tensorrt, "find_device", lambda index=0: NO_DRIVER)
        refused(UsageError, f"a TensorRT plan runs on an NVIDIA GPU, and here is {NO_DRIVER}", model=plan)

    def test_the_driver_that_is_really_here(self, plan, here):
        here.double.close()
        refused(UsageError, "a TensorRT plan runs on an NVIDIA GPU, and here is no ", model=plan)

    @pytest.mark.parametrize("version_compatible", [False, True])
    def test_tensorrt_is_not_installed(self, version_compatible, folder, tmp_path, monkeypatch):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", options={"version_compatible": version_compatible})
        monkeypatch.setattr(tensorrt, "find_spec", lambda name: None)
        words = ("built by TensorRT 10.3.0, and no TensorRT is installed here: on x86 'pip install tensorrt-rtx'",)
        refused(UsageError, *words, "JetPack", "python3-libnvinfer", "--system-site-packages", model=path)

    def test_a_small_one_runs_no_other_plans(self, plan, here, monkeypatch):
        here.install(monkeypatch, "tensorrt_lean")
        refused(UsageError, "no TensorRT is installed here", model=plan)

    def test_tensorrt_that_does_not_load(self, plan, monkeypatch):
        def fail(name):
            raise ImportError("libnvinfer.so.10: cannot open\nshared object file")

        monkeypatch.setattr(tensorrt, "import_module", fail)
        refused(UsageError, "tensorrt is installed but cannot be loaded: libnvinfer.so.10: cannot open", model=plan)

    def test_another_builder(self, plan, here, monkeypatch):
        here.install(monkeypatch, "tensorrt_rtx", "1.7.1")
        refused(ModelError, plan, "built by TensorRT 10.3.0 and here is TensorRT-RTX 1.7.1: build it again", model=plan)

    def test_another_version(self, folder, tmp_path):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", version="10.2.0")
        refused(ModelError, path, "TensorRT 10.2.0, needs that very version, and here is TensorRT 10.3.0", model=path)

    def test_another_gpu(self, folder, tmp_path):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", compute_capability=("8.6",), device="RTX")
        refused(ModelError, path, "compute capability 8.6 (built on RTX), and this GPU's is 8.7", model=path)

    def test_several_clips_only(self, folder, tmp_path):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", batch=(2, 4))
        refused(
            ModelError, path, "2 clips or more at a time, and one may come alone: build it with --batch 1", model=path
        )

    @pytest.mark.parametrize("device", ["CPU", "cuda:", "cuda:x", "cuda:-1", "auto:1", "GPU.0", ""])
    def test_a_device_that_is_none(self, device, plan):
        refused(UsageError, "a GPU is named cuda or cuda:N", repr(device), model=plan, device=device)

    def test_another_length(self, plan):
        refused(ModelError, f"{plan} takes clips of 8 frames, got 4: a plan serves one", model=plan, clip_length=4)

    def test_a_precision(self, plan):
        refused(UsageError, "types it was built with", "'bf16'", plan, model=plan, precision="bf16")

    @pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
    def test_a_runtime_for_onnx_files(self, runtime, plan):
        line = refused(UsageError, model=plan, runtime=runtime)
        assert line == f"{runtime} runs ONNX files, and {plan} is a TensorRT plan: use --runtime tensorrt"

    def test_no_json(self, plan):
        json_path(plan).unlink()
        refused(ModelError, "there is no x.plan.json beside it; 'saliency-tubes build' writes both", model=plan)


class TestWhereThePlanIsWrong:
    """Each in one line, before anything runs."""

    def refused(self, folder, tmp_path, *words, name=LINEAR, **changes):
        path = write_plan(folder / name, tmp_path / "x.plan", **changes)
        refused(ModelError, f"cannot use model {path}: ", *words, model=path)

    def test_cuda_bindings_are_not_installed(self, plan, trt, monkeypatch):
        monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
        words = ("cuda-bindings are not installed: pip install 'saliency-tubes[cuda]'", "JetPack 6: [cuda12]")
        refused(UsageError, *words, model=plan)
        assert trt.made == []

    def test_other_bytes(self, plan, trt):
        data = plan.read_bytes()
        plan.write_bytes(data[:-1] + b"?")
        refused(ModelError, "it is not the plan that x.plan.json speaks of: build it again", model=plan)
        assert trt.made == []

    def test_bytes_that_are_no_plan(self, folder, tmp_path, trt):
        """With TensorRT's own reason, less where it was raised."""
        plan = write_plan(folder / LINEAR, tmp_path / "x.plan")
        data = plan.read_bytes().replace(MAGIC, b"b plan\n")
        plan.write_bytes(data)
        info = read_plan(plan, verify=False)
        json_path(plan).write_text(replace(info, plan_sha256=sha256(plan)).to_json())
        line = refused(ModelError, model=plan)
        reason = "IRuntime: Error Code 1: Internal Error (Serialization assertion magic failed)"
        assert line == f"cannot use model {plan}: TensorRT 10.3.0 cannot read it: {reason}"

    @pytest.mark.parametrize(
        ("what", "words"),
        [
            (
                "runtime",
                "cannot be used: IRuntime: Error Code 1: Internal Error (CUDA initialization failure with error: 35",
            ),
            ("context", "cannot prepare it: IRuntime: Error Code 1: Internal Error (OutOfMemory"),
            (
                "address",
                "the plan takes no memory for clip: IRuntime: Error Code 1: Internal Error (clip has no address",
            ),
            (
                "run",
                "TensorRT cannot run the plan: IRuntime: Error Code 1: Internal Error (neither shape nor address of []",
            ),
        ],
    )
    def test_what_tensorrt_refuses(self, what, words, folder, tmp_path, trt):
        trt.refuse.add(what)
        self.refused(folder, tmp_path, words)

    def test_a_version_compatible_plan_that_its_json_does_not_call_so(self, folder, tmp_path, trt):
        self.refused(folder, tmp_path, "contains host code", engine={"version_compatible": True})

    CLIP = (1, 3, 8, 64, 96)

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({"video": (CLIP, "float32")}, "the plan's inputs are video; its manifest names clip"),
            ({"clip": (CLIP, "bfloat16")}, "bfloat16; its manifest says [1, 3, 8, 64, 96] float32 or float16"),
            ({"clip": ((1, 3, 8, 96, 64), "float32")}, "the plan's input clip is [1, 3, 8, 96, 64] float32"),
            ({"clip": ((1, 3, 8), "float32")}, "the plan's input clip is [1, 3, 8] float32"),
            ({"clip": (CLIP, "float32"), "class": ((1,), "int64")}, "the plan's inputs are clip, class"),
        ],
    )
    def test_other_inputs(self, inputs, words, folder, tmp_path, trt):
        self.refused(folder, tmp_path, words, engine={"inputs": inputs})

    LOGITS, ACTIVATION = ((1, 3), "float32"), ((1, 8, 4, 32, 48), "float32")

    @pytest.mark.parametrize(
        ("outputs", "words"),
        [
            ({"activation": ACTIVATION}, "the plan has no output logits: it has activation"),
            ({"logits": ((1, 3), "bfloat16"), "activation": ACTIVATION}, "output logits is bfloat16, and should be"),
            ({"logits": ((1, 4), "float32"), "activation": ACTIVATION}, "(1, 4) do not fit the manifest's 3 labels"),
            ({"logits": LOGITS, "activation": ((1, 8, 3, 32, 48), "float32")}, "activation of shape (1, 8, 3, 32, 48)"),
            ({"logits": LOGITS, "activation": ((1, 8, 4, -1, 48), "float32")}, "activation cannot be told before it"),
        ],
    )
    def test_other_outputs(self, outputs, words, folder, tmp_path, trt):
        self.refused(folder, tmp_path, words, engine={"outputs": outputs})

    def test_a_class_of_another_type(self, folder, tmp_path, trt):
        inputs = {"clip": (self.CLIP, "float32"), "class": ((1,), "float32")}
        self.refused(
            folder, tmp_path, "the plan's input class is [1] float32", name=GRADIENT, engine={"inputs": inputs}
        )

    def test_a_profile_that_is_not_the_jsons(self, folder, tmp_path, trt):
        profile = {"clip": ((2, *self.CLIP[1:]), (4, *self.CLIP[1:]))}
        words = (
            "does not take clip of shape (1, 3, 8, 64, 96): IRuntime: Error Code 1: Internal Error (Static dimension"
        )
        self.refused(folder, tmp_path, words, engine={"profile": profile})

    def test_a_tensor_on_the_host(self, folder, tmp_path, trt):
        self.refused(folder, tmp_path, "the plan wants class on the host", name=GRADIENT, on_host=["class"])


class TestCommand:
    """`saliency-tubes run --model x.plan`."""

    def run(self, capfd, *words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as exit:  # argparse
            code = exit.code
        return code, *capfd.readouterr()

    def error(self, capfd, code, *words):
        found, out, err = self.run(capfd, *words)
        assert (found, out) == (code, ""), err
        (line,) = err.splitlines()
        assert line.startswith("saliency-tubes: error: ")
        return line

    def test_a_video_is_explained(self, plan, folder, tmp_path, trt, capfd):
        code, out, err = self.run(capfd, "run", folder / "clip.mp4", tmp_path / "a.jsonl", "--model", plan)
        assert code == 0, err
        assert "TensorRT 10.3.0 on Orin, plan x.plan, float32 I/O" in out + err
        assert self.run(capfd, "run", folder / "clip.mp4", tmp_path / "b.jsonl", "--model", folder / LINEAR,
                        "--runtime", "onnxruntime")[0] == 0  # fmt: skip
        assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()

    def test_the_plans_own_length_is_the_default(self, folder, tmp_path, trt, capfd):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", clip_length=4)
        assert self.run(capfd, "run", folder / "clip.mp4", "null://", "--model", path)[0] == 0
        line = self.error(capfd, 1, "run", folder / "clip.mp4", "null://", "--model", path, "--frames", 8)
        assert line.endswith("x.plan takes clips of 4 frames, got 8: a plan serves one length")

    def test_no_driver(self, plan, folder, trt, capfd, monkeypatch):
        monkeypatch.setattr(tensorrt, "find_device", lambda index=0: NO_DRIVER)
        line = self.error(capfd, 2, "run", folder / "clip.mp4", "null://", "--model", plan)
        assert line.endswith(f"a TensorRT plan runs on an NVIDIA GPU, and here is {NO_DRIVER}")
        assert trt.made == []

    def test_another_version(self, folder, tmp_path, trt, capfd):
        path = write_plan(folder / LINEAR, tmp_path / "x.plan", version="10.2.0")
        line = self.error(capfd, 1, "run", folder / "clip.mp4", "null://", "--model", path)
        assert "needs that very version, and here is TensorRT 10.3.0" in line

    def test_options_for_the_other_kind_of_file(self, plan, folder, trt, capfd):
        words = ("run", folder / "clip.mp4", "null://")
        assert "openvino runs ONNX" in self.error(capfd, 2, *words, "--model", plan, "--runtime", "openvino")
        assert "'bf16' cannot be asked" in self.error(capfd, 2, *words, "--model", plan, "--precision", "bf16")


def test_graphs_have_the_manifests_they_are_said_to_have(folder):
    """So that the linear one has no class input and the other has."""
    assert read_manifest(folder / LINEAR).head is not None
    assert read_manifest(folder / GRADIENT).to_properties() == manifest_of(network(False)).to_properties()


def test_cycles_end_before_tensorrt_may_log_and_not_meanwhile():
    ended = []

    class Builder:
        def __init__(self, name):
            self.itself, self.name = self, name

        def __del__(self):
            ended.append(self.name)

    thresholds = gc.get_threshold()
    Builder("kept by an error")
    try:
        with tensorrt.uncollected():
            assert ended == ["kept by an error"]
            Builder("another")
            gc.set_threshold(1, 1, 1)
            assert [[number] for number in range(100)]  # what makes Python look
            assert len(ended) == 1
        assert gc.isenabled()
        assert [[number] for number in range(100)]
        assert len(ended) == 2
    finally:
        gc.set_threshold(*thresholds)

"""Plans on a real GPU: built, run, and compared with onnxruntime on the CPU."""

import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch", reason="the networks are made by it")
pytest.importorskip("onnx", reason="the networks are made by it")
pytest.importorskip("onnxruntime", reason="it is what plans are compared with")

from graphs import graph_of, network, save
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.runtimes.bounds import BOUNDS, TF32
from saliency_tubes.engine.runtimes.build_options import BuildOptions
from saliency_tubes.engine.runtimes.build_plan import build_plan
from saliency_tubes.engine.runtimes.compare import compare
from saliency_tubes.engine.runtimes.models import ASSETS
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.runtimes.planfile import json_path, read_plan, sha256
from saliency_tubes.export.check import check

pytestmark = pytest.mark.usefixtures("kit")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module", params=["linear", "gradient"])
def onnx(request, folder):
    return save(graph_of(network(request.param == "linear")), folder / f"{request.param}.onnx")


@pytest.fixture(scope="module")
def plan(onnx, kit):
    """In full float32, for several clips at a time or one."""
    build_plan(onnx, onnx.with_suffix(".plan"), BuildOptions(tf32=False, batch=(1, 1, 2)), builder=kit.name)
    return onnx.with_suffix(".plan")


def clip_of(seed, clip_length=8):
    return np.random.default_rng(seed).normal(size=(1, 3, clip_length, 64, 96)).astype(np.float32)


def test_a_plan_says_what_onnxruntime_says(onnx, plan, gpu, kit):
    runner, reference = open_runner(plan), open_runner(onnx, runtime="onnxruntime")
    assert runner.description == f"{kit.title} on {gpu.name}, plan {plan.name}, float32 I/O"
    for seed, class_id in ((1, 2), (2, 0), (3, 1)):
        found, expected = runner.infer(clip_of(seed), [class_id])[0], reference.infer(clip_of(seed), [class_id])[0]
        assert not compare(found, expected, runner.manifest, 8).misses(BOUNDS["f32"])
    # a class of its own choice
    found, expected = runner.infer(clip_of(4))[0], reference.infer(clip_of(4))[0]
    assert not compare(found, expected, runner.manifest, 8).misses(BOUNDS["f32"])


def test_the_same_clip_gives_the_same_numbers(plan):
    runner = open_runner(plan)
    first = runner.infer(clip_of(1))[0]
    runner.infer(clip_of(2))
    again = runner.infer(clip_of(1))[0]
    assert np.array_equal(first.logits, again.logits)
    assert np.array_equal(first.activation, again.activation)


def test_in_another_thread(plan):
    runner, found = open_runner(plan), []
    thread = threading.Thread(target=lambda: found.append(runner.infer(clip_of(1))[0]))
    thread.start()
    thread.join()
    assert np.array_equal(found[0].activation, runner.infer(clip_of(1))[0].activation)


def test_runners_come_and_go(plan):
    for _ in range(5):
        open_runner(plan).infer(clip_of(1))


def test_a_plan_that_is_damaged(plan, folder, kit):
    """With TensorRT's own reason, and the process goes on."""
    bad = folder / "bad.plan"
    bad.write_bytes(bytes(1000))
    json_path(bad).write_text(replace(read_plan(plan), plan_bytes=1000, plan_sha256=sha256(bad)).to_json())
    with pytest.raises(ModelError, match="cannot read it: ") as error:
        open_runner(bad)
    assert "it gave no reason" not in str(error.value)


def test_an_onnx_file_gets_a_plan_of_its_own(onnx, gpu, kit, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for how in ("built now", "kept from an earlier start"):
        runner = open_runner(onnx, runtime="tensorrt", device=f"cuda:{gpu.index}")
        assert runner.description == f"{kit.title} on {gpu.name}, f32, a plan of its own, {how}"


def test_evidence_is_summed_there(onnx, plan):
    runner = open_runner(plan)
    outputs = runner.infer(clip_of(1))[0]
    weights = np.random.default_rng(0).normal(size=runner.manifest.channels).astype(np.float32)
    expected = np.tensordot(weights, outputs.activation, 1)
    assert np.allclose(outputs.evidence(weights), expected, rtol=1e-4, atol=1e-5)


def test_check_has_a_row_of_it(onnx, plan):
    (row,) = (row for row in check(onnx, plan=plan).rows if row.runtime.startswith("TensorRT"))
    assert row.errors is not None
    assert not row.misses()


def test_i3d(folder, kit):
    """The bundled network, as TensorRT likes it best: with TF32."""
    plan = folder / "i3d.plan"
    build_plan(ASSETS / "i3d.onnx", plan, BuildOptions(clip_length=16), builder=kit.name)
    runner, reference = open_runner(plan), open_runner("i3d", clip_length=16, runtime="onnxruntime")
    clip = np.random.default_rng(0).uniform(-1, 1, (1, 3, 16, 224, 224)).astype(np.float32)
    bounds = BOUNDS["compact"].loosened(TF32)
    assert not compare(runner.infer(clip)[0], reference.infer(clip)[0], runner.manifest, 16).misses(bounds)

"""What every runner must do: the tests' own, all runtimes of ONNX files, and TensorRT, onnxruntime and PyTorch on the
GPU that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from saliency_tubes.engine.preprocess import black_clip
from saliency_tubes.engine.runtimes.base import ONNX_RUNTIMES, RUNTIMES, Runner
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.engine.types import Clip, HostOutputs, HostSample, Outputs
from stubs import StubRunner

BATCH = 3
SIZE = (16, 24)
"""height and width of the networks' input: the GPU that is not there computes each number on the CPU"""
HEADS = ("linear", "gradient")
ON_GPU = ("tensorrt", "tensorrt half", "onnxruntime cuda", "onnxruntime-rtx", "torch cuda")
CASES = ["stub", *(f"{runtime}-{head}" for runtime in (*ONNX_RUNTIMES, "torch", *ON_GPU) for head in HEADS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of each head."""
    pytest.importorskip("torch", reason="the networks are made by it")
    pytest.importorskip("onnx", reason="the networks are made by it")
    from graphs import graph_of, network, save

    made = tmp_path_factory.mktemp("models")
    for head in HEADS:
        save(graph_of(network(head == "linear"), SIZE), made / f"{head}.onnx")
    return made


@pytest.fixture(autouse=True)
def gpu_first(request: pytest.FixtureRequest) -> None:
    """The GPU is there before the runner is, and is looked at for what is left after the runner is gone."""
    if "runner" in request.fixturenames and request.node.callspec.params["runner"].startswith(ON_GPU):
        request.getfixturevalue("gpu_double")


TWINS = ("tensorrt half", "onnxruntime-rtx", "torch cuda")
"""They share all but a few lines with one that is always tested."""


@pytest.fixture(params=[pytest.param(case, marks=[pytest.mark.slow] * case.startswith(TWINS)) for case in CASES])
def runner(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    """For clips of 8 frames, BATCH of them at a time."""
    yield made_runner(request, tmp_path, monkeypatch)
    request.node.funcargs.clear()


def made_runner(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    runtime, _, head = request.param.rpartition("-")
    if not runtime:
        return StubRunner(batch=BATCH)
    file = request.getfixturevalue("folder") / f"{head}.onnx"
    if runtime in ONNX_RUNTIMES:
        pytest.importorskip(runtime)
        return open_runner(file, runtime=runtime, clip_length=8, batch=BATCH)
    pytest.importorskip("onnxruntime", reason="it computes in place of the GPU")
    if runtime == "torch":
        return torch_runner(head)
    return gpu_runner(runtime, file, tmp_path, monkeypatch, request.getfixturevalue("gpu_double"))


def torch_runner(head: str, double: Any = None) -> Runner:
    """On the CPU, or on the GPU that is not there."""
    from graphs import manifest_of, network
    from torch_networks import TorchDoubleRunner, TorchRunner, tapped

    model = network(head == "linear")
    given = (tapped(model, head == "linear"), manifest_of(model, SIZE), 8)
    if double is None:
        return TorchRunner(*given, batch=BATCH)
    return TorchDoubleRunner(double, *given, index=1, batch=BATCH)


def gpu_runner(runtime: str, file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, gpu_double: Any) -> Runner:
    """Of ON_GPU, on the second GPU of two."""
    import fakeort
    from fakegpu import ORIN, Here, write_plan

    double = gpu_double(seed=7, gpus=2, **ORIN)
    options: dict[str, Any] = {"clip_length": 8, "device": "cuda:1", "batch": BATCH}
    if runtime.startswith("tensorrt"):
        Here(double).install(monkeypatch)
        halves = ("clip", "activation", "weights") if runtime.endswith("half") else ()
        plan = write_plan(file, folder / "x.plan", batch=(1, BATCH), clip_length=8, halves=halves)
        return open_runner(plan, **options)
    if runtime == "torch cuda":
        return torch_runner(file.stem, double)
    fakeort.install(monkeypatch, double, *fakeort.OPTIONS)
    return open_runner(file, runtime=runtime.partition(" ")[0], **options)


def test_all_runtimes_are_here() -> None:
    assert all(any(case.startswith(runtime) for case in CASES) for runtime in RUNTIMES)


def test_where_it_wants_its_samples(runner: Runner, request: pytest.FixtureRequest) -> None:
    on_gpu = request.node.callspec.params["runner"].startswith(ON_GPU)
    assert runner.place == ("cuda:1" if on_gpu else "host")


def clips_of(runner: Runner, count: int = 1, seed: int = 0) -> list[Clip]:
    """Of random pixels, darker than grey: brighter ones leave all of the hidden layer of `graphs` at zero."""
    shape = (count, runner.clip_length, *runner.manifest.input.size, 3)
    pixels = np.random.default_rng(seed).integers(0, 128, shape, np.uint8)
    black = black_clip(runner.manifest.input, runner.clip_length)
    return [replace(black, samples=tuple(map(HostSample, one))) for one in pixels]


def near(one: Outputs, other: Outputs) -> bool:
    """But for float noise, where a runtime chooses other kernels for another number of clips."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in ("logits", "activation", "weights"))
    return all(a is b is None or np.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs)


def copied(outputs: Outputs) -> Outputs:
    weights = None if outputs.weights is None else outputs.weights.copy()
    return HostOutputs(outputs.logits.copy(), outputs.activation.copy(), weights)


def test_it_says_what_it_is(runner: Runner) -> None:
    assert runner.clip_length == 8
    assert runner.clip_length in runner.manifest.windows
    assert runner.batch == BATCH
    assert runner.description.isprintable()
    assert runner.description


def test_outputs_are_what_the_manifest_says(runner: Runner) -> None:
    manifest, (outputs,) = runner.manifest, runner.run(clips_of(runner))
    slices = len(manifest.window(runner.clip_length).slice_weights)
    assert outputs.logits.shape == (len(manifest.labels),)
    assert outputs.activation.shape[:2] == (manifest.channels, slices)
    assert runner.cells in (None, outputs.activation.shape[2:])
    assert (outputs.weights is None) == (manifest.head is not None)
    values = [outputs.logits, outputs.activation, *([] if outputs.weights is None else [outputs.weights])]
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in values)


def test_more_clips_than_it_takes_are_refused(runner: Runner) -> None:
    clips = clips_of(runner)
    with pytest.raises(ValueError, match=f"1 to {BATCH} clips, got {BATCH + 1}"):
        runner.run(clips * (BATCH + 1))
    with pytest.raises(ValueError, match=f"1 to {BATCH} clips, got 0"):
        runner.run([])


def test_the_evidence_of_a_linear_head_adds_up_to_its_logits(runner: Runner) -> None:
    head = runner.manifest.head
    if head is None:
        pytest.skip("the head is not linear")
    (outputs,) = runner.run(clips_of(runner))
    pool = runner.manifest.window(runner.clip_length).pool(*outputs.activation.shape[2:])
    for weights, bias, logit in zip(head.class_weights, head.bias, outputs.logits, strict=True):
        found = (pool * outputs.evidence(weights)).sum() + bias
        assert found == pytest.approx(logit, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("count", range(1, BATCH + 1))
def test_what_a_clip_gives_does_not_depend_on_its_neighbours(runner: Runner, count: int) -> None:
    clips = clips_of(runner, count)
    together = [copied(one) for one in runner.run(clips)]
    assert len(together) == count
    for number, outputs in enumerate(together):
        (alone,) = runner.run(clips[number : number + 1])
        assert near(outputs, alone)
    assert count == 1 or not near(together[0], together[1])


def test_the_same_clip_gives_the_same_bytes(runner: Runner) -> None:
    clips = clips_of(runner)
    (first,), (second,) = [copied(one) for one in runner.run(clips)], runner.run(clips)
    assert np.array_equal(first.logits, second.logits)
    assert np.array_equal(first.activation, second.activation)


def test_outputs_stay_when_the_next_clip_runs(runner: Runner) -> None:
    (first,) = runner.run(clips_of(runner))
    kept = copied(first)
    runner.run(clips_of(runner, seed=1))
    assert np.array_equal(first.logits, kept.logits)
    assert np.array_equal(first.activation, kept.activation)


def test_a_clip_is_only_read(runner: Runner) -> None:
    clips = clips_of(runner)
    before = [sample.pixels.copy() for sample in clips[0].samples]
    for sample in clips[0].samples:
        sample.pixels.flags.writeable = False
    runner.run(clips)
    assert np.array_equal([sample.pixels for sample in clips[0].samples], before)


def test_weights_are_those_of_the_class_asked_for(runner: Runner) -> None:
    clips = clips_of(runner, 2)
    asked = runner.run(clips, [1, 0])
    if runner.manifest.head is not None:
        assert all(outputs.weights is None for outputs in asked)
        return
    found = [outputs.weights for outputs in map(copied, asked)]
    others = [outputs.weights for outputs in map(copied, runner.run(clips, [0, 1]))]
    assert not any(np.allclose(one, other) for one, other in zip(found, others, strict=True))
    top = [int(outputs.logits.argmax()) for outputs in runner.run(clips)]
    unasked = [outputs.weights for outputs in map(copied, runner.run(clips))]
    named = [outputs.weights for outputs in map(copied, runner.run(clips, top))]
    assert all(np.array_equal(one, other) for one, other in zip(unasked, named, strict=True))


def test_it_runs_in_another_thread_than_it_was_made_in(runner: Runner) -> None:
    clips, found = clips_of(runner), []
    thread = threading.Thread(target=lambda: found.extend(map(copied, runner.run(clips))))
    thread.start()
    thread.join()
    assert near(found[0], runner.run(clips)[0])


@pytest.mark.parametrize(
    ("test", "break_it"),
    [
        (test_the_evidence_of_a_linear_head_adds_up_to_its_logits, lambda outputs: outputs.logits.__iadd__(1)),
        (test_outputs_are_what_the_manifest_says, lambda outputs: outputs.logits.fill(np.nan)),
    ],
)
def test_a_runner_that_is_wrong_is_found(
    test: Callable[[Runner], None], break_it: Callable[[Outputs], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StubRunner.run

    def wrong(*arguments: object) -> list[Outputs]:
        made = run(*arguments)  # type: ignore[arg-type]
        for outputs in made:
            break_it(outputs)
        return made

    monkeypatch.setattr(StubRunner, "run", wrong)
    with pytest.raises(AssertionError):
        test(StubRunner(batch=BATCH))

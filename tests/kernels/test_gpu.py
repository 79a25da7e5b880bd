"""The one `Gpu` of a process: contexts, streams, memory, and whose work it waits for."""

import gc
import inspect
import json
import re
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from saliency_tubes.engine.cuda import driver, staging
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.jobs import Format, Surface
from saliency_tubes.engine.cuda.memory import contiguous, view_of
from saliency_tubes.engine.cuda.work import CudaEvidence, CudaOverlay, Part
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.types import Crop
from waiting import LONG

ONES = np.ones((2, 3, 3), np.float32)


def current():
    """The context that is current in this thread, as a number."""
    cuda = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)
    return int(cuda.cuCtxGetCurrent()[1])


class Cupy:
    """As cupy says where an array lies and on which stream it is made."""

    def __init__(self, array, stream):
        self.__cuda_array_interface__ = {**array.__cuda_array_interface__, "stream": stream}


class Torch:
    """As torch: the second version of the interface, which knows no stream, and DLPack, which waits by itself."""

    def __init__(self, array, wait):
        told = {**array.__cuda_array_interface__, "version": 2}
        self.__cuda_array_interface__, self.wait = told, wait

    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream=None):
        self.wait(stream)


def test_there_is_one_for_each_gpu_and_its_context_stays(gpu_double):
    double = gpu_double(gpus=2)
    first, second = Gpu.of(0), Gpu.of(1)
    assert Gpu.of(0) is first is not second
    assert (first.name, second.name, first.integrated) == ("cuda:0", "cuda:1", False)
    first.clear()
    calls = double.report["calls"]
    assert calls["cuDevicePrimaryCtxRetain"] == 2
    assert not any(name.startswith("cuDevicePrimaryCtxRelease") for name in calls)
    with first.entered():
        free, total = first.memory_left()
    assert 0 < free <= total


def test_an_integrated_one_says_so(gpu_double):
    gpu_double(kind="integrated")
    assert Gpu.of(0).integrated


def test_the_thread_stays_on_its_own_gpu_whatever_is_made_and_dropped(gpu_double):
    gpu_double(gpus=2)
    first, second = Gpu.of(0), Gpu.of(1)
    with second.entered():
        before = current()
        with first.entered():
            inner, stream = first.allocate(100), first.stream("high")
            event = stream.record()
            assert current() != before
        assert current() == before
        stream.close()
        inner.close()
        del event, inner
        gc.collect()
        assert current() == before
    assert current() == 0


def test_garbage_of_any_thread_is_freed_when_memory_is_next_needed(gpu_double):
    double = gpu_double(seed=3)
    gpu = Gpu.of(0)

    def elsewhere():
        with gpu.entered():
            gpu.allocate(1000)
            gpu.pinned((10,), np.float32)
        assert current() == 0

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with gpu.entered():
        kept = gpu.allocate(10)
    assert double.counts["allocations"] - double.counts["frees"] == 1
    kept.close()
    kept.close()
    assert double.counts["allocations"] == double.counts["frees"]


def test_garbage_is_not_forgotten_by_an_error_that_passes(gpu_double):
    double = gpu_double()
    gpu = Gpu.of(0)
    with gpu.entered():
        first, second = gpu.allocate(100), gpu.allocate(100)
        del first, second
        double.fail("cuCtxSynchronize", 1)
        with pytest.raises(ModelError):
            gpu.allocate(100)
        gpu.collect()
    assert double.live["device"] == 0


@pytest.mark.parametrize("seed", [0, 5])
def test_memory_is_not_freed_before_its_last_use(gpu_double, seed):
    double = gpu_double(seed=seed)
    gpu, done = Gpu.of(0), []
    with gpu.entered():
        memory, stream = gpu.allocate(64), gpu.stream()
        double.work(stream.handle, lambda: done.append(1), writes=[(memory.pointer, 64)])
        memory.used_until(stream.record())
        del memory
        while gpu.dropped:
            gpu.collect()  # asks the GPU, which thereby comes further
            assert bool(done) or gpu.dropped
    stream.close()


@pytest.mark.parametrize("seed", range(6))
def test_waits_for_the_stream_that_an_array_names(gpu_double, seed):
    """The double calls every read that no event orders after its write an error."""
    double = gpu_double(seed=seed)
    double.may_leave = {"streams"}  # the thread's own default one
    gpu, evidence = Gpu.of(0), CudaEvidence()
    values = np.random.default_rng(seed).normal(size=(5, 2, 3, 3)).astype(np.float32)
    given, out = double.array(np.zeros_like(values)), double.array(np.zeros((2, 3, 3), np.float32))
    with gpu.entered():
        theirs, ours = gpu.stream(), gpu.stream()

        def made():
            given.values[...] = values

        for producer in (theirs.handle, driver.PER_THREAD_STREAM, driver.LEGACY_STREAM):
            given.values[...] = 0
            double.work(producer, made, writes=[(given.pointer, given.nbytes)])
            evidence.compute(Cupy(given, producer), np.ones(5, np.float32), Cupy(out, None), ours)
            ours.synchronize()
            assert np.allclose(out.values, values.sum(0), atol=1e-5)
    theirs.close()
    ours.close()


@pytest.mark.parametrize("seed", range(3))
def test_asks_by_dlpack_with_its_own_stream(gpu_double, seed):
    double = gpu_double(seed=seed)
    gpu = Gpu.of(0)
    planes = [double.array(np.zeros(shape, np.uint8)) for shape in ((16, 32), (8, 32))]
    with gpu.entered():
        theirs, ours = gpu.stream(), gpu.stream()
        asked = []

        def wait(stream):
            asked.append(stream)
            if stream not in (None, -1):
                gpu.cuda.cuStreamWaitEvent(stream, theirs.record().handle, 0)

        for plane in planes:
            double.work(
                theirs.handle, lambda plane=plane: plane.values.fill(200), writes=[(plane.pointer, plane.nbytes)]
            )
        surface = Surface(Format.NV12, [Torch(plane, wait) for plane in planes], 32, 16)
        CudaOverlay(Style()).draw([surface], [[Part(ONES, 0.5, 0.0, 1.0)]], [Crop()], ours)
        assert asked == [ours.handle] * 2
        ours.synchronize()
    assert planes[0].values.min() < 200
    theirs.close()
    ours.close()


def test_dlpack_alone_is_asked_again_with_the_stream():
    class Array:
        def __dlpack_device__(self):
            return 2, 0

        def __dlpack__(self, stream=None):
            raise RuntimeError(f"asked with {stream}")

    with pytest.raises(RuntimeError, match="asked with -1"):
        view_of(Array())


def test_waits_let_the_thread_sleep(gpu_double):
    double = gpu_double()
    gpu = Gpu.of(0)
    with gpu.entered():
        stream = gpu.stream()
        double.work(stream.handle, lambda: None)
        stream.synchronize()
        double.work(stream.handle, lambda: None)
        gpu.wait(stream.handle)
    waits = double.report["waits"]
    assert sum(waits.values()) == 2
    assert all(name.endswith("|waited|sleeps") for name in waits)
    stream.close()


def test_copies_pass_through_pinned_memory(gpu_double):
    """Whatever becomes of the array after the call."""
    double = gpu_double(seed=0)
    gpu = Gpu.of(0)
    with gpu.entered():
        stream, memory = gpu.stream(), gpu.allocate(4000)
        for number in range(20):
            sent = np.full(1000, number, np.float32)
            gpu.write(memory.pointer, sent, stream.handle)
            sent[:] = -1
            got = np.zeros(1000, np.float32)
            gpu.read(memory.pointer, got, stream.handle)
            assert np.all(got == number)
    assert double.counts["pinned_allocations"] <= 2
    stream.close()
    memory.close()


def test_what_a_captured_graph_reads_is_never_trimmed(gpu_double, monkeypatch):
    gpu_double()
    monkeypatch.setattr(driver, "MOST_KEPT", 4)
    gpu = Gpu.of(0)
    with gpu.entered():
        stream = gpu.stream()
        first = gpu.kept("first", lambda: np.arange(10), stream.handle).pointer
        assert int(gpu.cuda.cuStreamBeginCapture(stream.handle, gpu.cuda.CUstreamCaptureMode(1))[0]) == 0
        assert gpu.kept("first", lambda: np.arange(10), stream.handle).pointer == first
        with pytest.raises(ModelError, match="draw one such frame before"):
            gpu.kept("second", lambda: np.arange(10), stream.handle)
        graph = gpu.cuda.cuStreamEndCapture(stream.handle)[1]
        for number in range(20):
            held = gpu.kept(number, lambda: np.arange(10), stream.handle)
            gpu.trim()
        assert gpu.kept("first", lambda: np.zeros(10), stream.handle).pointer == first
        gpu.cuda.cuGraphDestroy(graph)
        del held
    stream.close()


def test_what_is_trimmed_lives_as_long_as_somebody_holds_it(gpu_double, monkeypatch):
    double = gpu_double()
    monkeypatch.setattr(driver, "MOST_KEPT", 4)
    gpu = Gpu.of(0)
    with gpu.entered():
        held = gpu.kept("first", lambda: np.arange(10), 0)
        for number in range(20):
            gpu.kept(number, lambda: np.arange(10), 0)
            gpu.trim()
        assert double.memory(held.pointer, (10,), np.int64)[9] == 9
        assert held.strides == contiguous(held.dtype, held.shape)
        assert double.live["device"] <= 5 + 2


def test_cuda_bindings_of_every_version_take_what_they_are_given():
    """Where parameters had another order, the double, which is beneath one version of them, would not show it."""
    driver_module = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)
    folders = [Path(driver.__file__).parent, Path(driver.__file__).parents[2] / "stream" / "media"]
    source = "".join(path.read_text(encoding="utf-8") for folder in folders for path in sorted(folder.glob("*.py")))
    used = set(re.findall(r"""cuda\.(cu[A-Z]\w+)\(|"(cu[A-Z]\w+)\"""", source))
    names = {name for pair in used for name in pair if name}
    assert len(names) > 35
    table = json.loads((Path(__file__).parents[1] / "unit" / "cuda_api.json").read_text(encoding="utf-8"))
    for version, functions in table.items():
        assert names <= set(functions), f"{version}: add {names - set(functions)} to cuda_api.json"
        for name in names:
            assert functions[name] == table["12.8.0"][name], f"{version}: {name}"
    for name in names:
        assert [*inspect.signature(getattr(driver_module, name)).parameters] == table["12.8.0"][name], name


def test_memory_is_not_lost_where_its_last_use_cannot_be_waited_for(gpu_double):
    double, gpu = gpu_double(), Gpu.of(0)
    with gpu.entered():
        stream, memory = gpu.stream(), gpu.allocate(1000)
        double.fail("cuEventQuery", 2)
        for _ in range(9):  # so many that those are looked for that have passed
            memory.used_until(stream.record())
        double.fail("cuEventSynchronize", 2)
        with pytest.raises(ModelError):
            memory.close()
        memory.close()
    assert double.live["device"] == 0
    stream.close()


def test_a_slot_that_another_thread_takes_first(gpu_double, monkeypatch):
    """It is there when this thread looks how many there are, and then no more."""

    class Taken(deque):
        def __getitem__(self, index):
            self.clear()
            return super().__getitem__(index)

    gpu_double()
    gpu = Gpu.of(0)
    monkeypatch.setattr(staging, "deque", Taken)
    copies = staging.Staging(gpu)
    with gpu.entered():
        memory, array = gpu.allocate(100), np.arange(100, dtype=np.uint8)
        for _ in range(2):
            copies.write(memory.pointer, array, 0)
        gpu.wait(0)
    memory.close()


def test_nobody_waits_while_a_program_is_compiled_that_he_does_not_need(gpu_double, monkeypatch):
    gpu_double()
    gpu, begun, go_on, build = Gpu.of(0), threading.Event(), threading.Event(), driver.build

    def slow(name, architecture):
        if name == "gather":
            begun.set()
            assert go_on.wait(LONG)
        return build(name, architecture)

    def found(program):
        with gpu.entered():
            return gpu.function(program, program), gpu.kept(program, lambda: np.arange(10), 0)

    monkeypatch.setattr(driver, "build", slow)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(found, "gather") for _ in range(2)]
        assert begun.wait(LONG)
        try:
            assert pool.submit(found, "marks").result(LONG)
        finally:
            go_on.set()
        (one, kept), (other, also) = [each.result(LONG) for each in waiting]
    assert int(one) == int(other)
    assert kept is also

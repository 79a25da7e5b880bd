"""The GPU that is not there: what cuda-bindings get from it, and that each of its rules catches a wrong program."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from waiting import wait_for

SEEDS = (0, 1, 2, 3, 4)
NON_BLOCKING = 1


@pytest.fixture
def cuda():
    return pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings", exc_type=ImportError)


def ok(result):
    code, *values = result
    assert int(code) == 0, code
    return values[0] if values else None


class Program:
    """A program under test: what it makes is freed at its end, after the GPU has come to rest."""

    def __init__(self, cuda, double):
        self.cuda, self.double = cuda, double
        self.memories, self.streams, self.events, self.pinned = [], [], [], []
        ok(cuda.cuInit(0))
        self.context = ok(cuda.cuDevicePrimaryCtxRetain(0))
        ok(cuda.cuCtxPushCurrent(self.context))

    def memory(self, size=1024):
        self.memories.append(int(ok(self.cuda.cuMemAlloc(size))))
        return self.memories[-1]

    def stream(self, flags=NON_BLOCKING):
        self.streams.append(ok(self.cuda.cuStreamCreate(flags)))
        return int(self.streams[-1])

    def event(self, stream):
        self.events.append(ok(self.cuda.cuEventCreate(3)))
        ok(self.cuda.cuEventRecord(self.events[-1], stream))
        return self.events[-1]

    def host(self, size=1024):
        self.pinned.append(int(ok(self.cuda.cuMemHostAlloc(size, 0))))
        return np.frombuffer((ctypes.c_ubyte * size).from_address(self.pinned[-1]), np.uint8)

    def fill(self, memory, value, stream, size=1024):
        ok(self.cuda.cuMemsetD8Async(memory, value, size, stream))

    def fetch(self, array, memory, stream):
        ok(self.cuda.cuMemcpyDtoHAsync(array.ctypes.data, memory, array.nbytes, stream))

    def follow(self, stream, event):
        ok(self.cuda.cuStreamWaitEvent(stream, event, 0))

    def end(self):
        self.cuda.cuCtxSynchronize()
        for names, free in (
            (self.memories, self.cuda.cuMemFree),
            (self.pinned, self.cuda.cuMemFreeHost),
            (self.streams, self.cuda.cuStreamDestroy),
            (self.events, self.cuda.cuEventDestroy),
        ):
            for name in names:
                free(name)
        self.cuda.cuCtxPopCurrent()


@pytest.fixture
def program(gpu_double, cuda):
    made = []

    def start(**settings):
        made.append(Program(cuda, gpu_double(**settings)))
        return made[-1]

    yield start
    for each in made:
        each.end()


def only(program, words):
    """That one rule was broken, and how it was said."""
    (line,) = program.double.caught()
    assert re.search(words, line), line


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_there_and_back(program, seed):
    here = program(seed=seed)
    memory, stream, sent = here.memory(4000), here.stream(), np.arange(1000, dtype=np.float32)
    ok(here.cuda.cuMemcpyHtoDAsync(memory, sent.ctypes.data, sent.nbytes, stream))
    got, sent[:] = np.zeros(1000, np.float32), -1  # pageable: read before the call returned
    here.fetch(got, memory, stream)  # pageable: there when the call returns
    assert np.array_equal(got, np.arange(1000))
    assert here.double.copies == {"HtoD": 1, "DtoH": 1}
    assert here.double.report["copied_bytes"] == {"HtoD": 4000, "DtoH": 4000}
    assert here.double.counts["allocations"] == 1


def test_a_pinned_source_is_read_when_the_copy_is_carried_out(program):
    here = program(seed=0)
    memory, stream, sent = here.memory(), here.stream(), here.host()
    sent[:] = 1
    ok(here.cuda.cuMemcpyHtoDAsync(memory, sent.ctypes.data, 1024, stream))
    sent[:] = 2  # wrong: nobody has waited
    ok(here.cuda.cuStreamSynchronize(stream))
    assert (here.double.memory(memory, (1024,)) == 2).all()


def test_a_pinned_target_holds_rubbish_until_somebody_waits(program):
    here = program(seed=0)
    memory, stream, got = here.memory(), here.stream(), here.host()
    here.fill(memory, 7, stream)
    here.fetch(got, memory, stream)
    assert (got == 0xDF).all()
    assert here.double.pending(stream) == 2
    event = here.event(stream)
    assert int(here.cuda.cuEventQuery(event)[0]) == 600
    ok(here.cuda.cuEventSynchronize(event))
    assert (got == 7).all()
    ok(here.cuda.cuEventQuery(event))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("waits", ["event", "host", "none"])
def test_a_read_that_nothing_orders_after_its_write(program, seed, waits):
    here = program(seed=seed)
    memory, first, second, got = here.memory(), here.stream(), here.stream(), here.host()
    here.fill(memory, 7, first)
    if waits == "event":
        here.follow(second, here.event(first))
    elif waits == "host":
        ok(here.cuda.cuStreamSynchronize(first))
    here.fetch(got, memory, second)
    ok(here.cuda.cuStreamSynchronize(second))
    ok(here.cuda.cuStreamSynchronize(first))
    if waits == "none":
        only(here, "cuM.*no event orders it after cuM")
    else:
        assert (got == 7).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("waits", [True, False])
def test_a_write_that_nothing_orders_after_a_read(program, seed, waits):
    here = program(seed=seed)
    memory, first, second, got = here.memory(), here.stream(), here.stream(), here.host()
    here.fill(memory, 7, first)
    here.follow(second, here.event(first))
    here.fetch(got, memory, second)
    if waits:
        here.follow(first, here.event(second))
    here.fill(memory, 8, first)
    ok(here.cuda.cuCtxSynchronize())
    if waits:
        assert (got == 7).all()
    else:
        only(here, "no event orders it after")


def test_an_event_tells_only_what_was_queued_before_it(program):
    here = program(seed=1)
    memory, first, second = here.memory(), here.stream(), here.stream()
    early = here.event(first)
    here.fill(memory, 7, first)
    here.follow(second, early)
    here.fetch(here.host(), memory, second)
    ok(here.cuda.cuCtxSynchronize())
    only(here, "reads .* no event orders it after cuMemsetD8Async, which writes it")


def test_parts_of_one_memory_are_told_apart(program):
    here = program(seed=2)
    memory = here.memory(2048)
    here.fill(memory, 1, here.stream())
    here.fill(memory + 1024, 2, here.stream())
    ok(here.cuda.cuCtxSynchronize())
    assert here.double.memory(memory, (2048,)).tolist() == [1] * 1024 + [2] * 1024


@pytest.mark.parametrize("seed", SEEDS)
def test_stream_0_waits_for_blocking_streams_and_they_for_it(program, seed):
    here = program(seed=seed)
    memory, blocking, free, got = here.memory(), here.stream(flags=0), here.stream(), here.host()
    here.fill(memory, 1, blocking)
    here.fill(memory, 2, 0)
    here.fetch(got, memory, blocking)
    ok(here.cuda.cuStreamSynchronize(blocking))
    assert (got == 2).all()
    here.fill(memory, 3, free)
    here.fill(memory, 4, 0)  # which a non-blocking stream does not wait for, nor it for that one
    ok(here.cuda.cuCtxSynchronize())
    only(here, "cuMemsetD8Async writes .* no event orders it after cuMemsetD8Async, which writes it")


def test_freed_memory(program):
    here = program(seed=0)
    memory, stream, other = here.memory(), here.stream(), here.memory()
    ok(here.cuda.cuMemFree(memory))
    assert int(here.cuda.cuMemFree(memory)[0]) == 1
    only(here, "cuMemFree of byte 0 of memory #1 of 1024 bytes, which was freed")
    here.fill(other, 1, stream)
    ok(here.cuda.cuMemFree(other))  # while the fill is queued
    assert int(here.cuda.cuStreamSynchronize(stream)[0]) == 700
    here.memories.clear()
    only(here, "cuMemsetD8Async writes byte 0 of memory #2 of 1024 bytes, which was freed")
    assert int(here.cuda.cuMemAlloc(4)[0]) == 700  # as everything from then on


def test_memory_freed_before_anybody_waited_for_its_last_use(program):
    here = program(seed=1)  # done at once, so that only its order is wrong
    memory, stream = here.memory(), here.stream()
    here.fill(memory, 1, stream)
    ok(here.cuda.cuMemFree(memory))
    here.memories.clear()
    only(here, "was freed, and nobody waited for the end of cuMemsetD8Async, which writes it")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_destroyed_stream_is_waited_for_too(program, seed):
    here = program(seed=seed)
    memory, stream = here.memory(), here.stream()
    here.fill(memory, 1, stream)
    ok(here.cuda.cuStreamDestroy(here.streams.pop()))
    ok(here.cuda.cuCtxSynchronize())
    ok(here.cuda.cuMemFree(here.memories.pop()))


def test_beyond_the_end(program):
    here = program()
    here.fill(here.memory(100), 1, 0, size=101)
    assert int(here.cuda.cuStreamSynchronize(0)[0]) == 700
    only(here, "writes 101 bytes from byte 0 of memory #1 of 100 bytes")


def test_another_gpus_memory_and_stream(program):
    here = program(gpus=2)
    memory = here.memory()
    other = ok(here.cuda.cuDevicePrimaryCtxRetain(1))
    ok(here.cuda.cuCtxPushCurrent(other))
    here.fill(memory, 1, 0)
    ok(here.cuda.cuCtxPopCurrent())
    stream = here.stream()
    ok(here.cuda.cuCtxPushCurrent(other))
    here.cuda.cuStreamQuery(stream)
    assert int(here.cuda.cuCtxSynchronize()[0]) == 700
    ok(here.cuda.cuCtxPopCurrent())
    lines = here.double.caught()
    assert any("of GPU 0 was used while a context of GPU 1 is current" in line for line in lines)
    assert any("on GPU 1 writes memory #1 of 1024 bytes of GPU 0" in line for line in lines)


def test_contexts_are_the_threads_own(program):
    here = program()

    def work():
        assert int(here.cuda.cuMemAlloc(4)[0]) == 201  # none is current here
        ok(here.cuda.cuCtxPushCurrent(here.context))  # and never popped

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()  # which may return a moment before the thread has ended
    wait_for(lambda: here.double.violations)
    only(here, "a thread ended with 1 contexts that it had made current and not given back")


def test_failures_on_demand(program):
    here = program()
    here.double.fail("cuMemAlloc", 2, after=1)
    here.memory()
    assert int(here.cuda.cuMemAlloc(4)[0]) == 2
    here.memory()
    stream = here.stream()
    here.double.fail("run cuMemsetD8Async", 719)
    here.fill(here.memory(), 1, stream)
    assert int(here.cuda.cuStreamSynchronize(stream)[0]) == 719
    assert int(here.cuda.cuEventCreate(2)[0]) == 719


def test_memory_is_limited(program):
    here = program(memory=10_000)
    here.memory(9_000)
    assert int(here.cuda.cuMemAlloc(1_001)[0]) == 2
    assert [int(value) for value in here.cuda.cuMemGetInfo()[1:]] == [1_000, 10_000]


def test_a_leak_is_told(gpu_double, cuda):
    double = gpu_double()
    here = Program(cuda, double)
    memory = here.memory()
    with pytest.raises(AssertionError, match=r"left on the GPU: \{'device': 1, 'device_bytes': 1024\}"):
        double.check()
    here.end()
    assert int(memory) % 512 == 0


def test_waits_of_the_host_are_counted(program):
    here = program(seed=0)
    stream = here.stream()
    here.fill(here.memory(), 1, stream)
    ok(here.cuda.cuEventSynchronize(here.event(stream)))
    ok(here.cuda.cuStreamSynchronize(stream))
    thread = threading.get_native_id()
    assert here.double.report["waits"] == {
        f"{thread}|cuEventSynchronize|{stream}|waited|sleeps": 1,
        f"{thread}|cuStreamSynchronize|{stream}|done|spins": 1,
    }


@pytest.mark.parametrize(("kind", "integrated"), [("discrete", 0), ("integrated", 1)])
def test_kinds(program, kind, integrated):
    here = program(kind=kind)
    attribute = here.cuda.CUdevice_attribute.CU_DEVICE_ATTRIBUTE_INTEGRATED
    assert ok(here.cuda.cuDeviceGetAttribute(attribute, 0)) == integrated


def test_a_graph_is_queued_again_at_each_launch(program):
    here = program(seed=0)
    memory, stream = here.memory(4), here.stream()
    ok(here.cuda.cuStreamBeginCapture(stream, here.cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL))
    assert int(here.cuda.cuMemAlloc(4)[0]) == 900
    here.fill(memory, 5, stream, size=4)
    graph = ok(here.cuda.cuStreamEndCapture(stream))
    assert here.double.pending(stream) == 0
    made = ok(here.cuda.cuGraphInstantiate(graph, 0))
    for value in (1, 2):
        here.fill(memory, value, stream, size=4)
        ok(here.cuda.cuGraphLaunch(made, stream))
        ok(here.cuda.cuStreamSynchronize(stream))
        assert here.double.memory(memory, (4,)).tolist() == [5] * 4
    ok(here.cuda.cuGraphExecDestroy(made))
    ok(here.cuda.cuGraphDestroy(graph))


def test_work_of_python(program):
    here = program(seed=0)
    memory, stream, got = here.memory(), here.stream(), here.host()

    def work():
        here.double.memory(memory, (1024,))[:] = 9

    assert here.double.work(stream, work, writes=[(memory, 1024)]) == 0
    here.fetch(got, memory, stream)
    assert (here.double.memory(memory, (1024,)) != 9).any()
    ok(here.cuda.cuStreamSynchronize(stream))
    assert (got == 9).all()
    here.double.work(here.stream(), work, writes=[(memory, 1024)])
    ok(here.cuda.cuCtxSynchronize())  # the host has waited for the copy
    here.fetch(got, memory, stream)
    here.double.work(here.stream(), work, writes=[(memory, 1024)], name="a network")
    ok(here.cuda.cuCtxSynchronize())
    only(here, "no event orders it after")


def test_without_a_gpu(gpu_double, cuda):
    double = gpu_double(gpus=0)
    assert int(cuda.cuInit(0)[0]) == 100
    assert double.live["device"] == 0


CHILD = """
import ctypes, sys
from cuda.bindings import driver as cuda
def ok(result):
    assert not int(result[0]), result
    return result[1] if len(result) > 1 else None
ok(cuda.cuInit(0))
ok(cuda.cuCtxPushCurrent(ok(cuda.cuDevicePrimaryCtxRetain(0))))
memory = int(ok(cuda.cuMemAlloc(100)))
if sys.argv[1] == "touch":
    ctypes.string_at(memory, 1)
"""


@pytest.mark.parametrize("what", ["touch", "leave"])
def test_another_process(gpu_double, what):
    double = gpu_double()
    command = [sys.executable, "-c", CHILD, what]
    run = subprocess.run(command, env=double.environment, capture_output=True, text=True, timeout=120)
    if what == "touch":  # an address of the device, by the host
        assert run.returncode == -11
        assert "gpu double: memory of the device was touched outside of an operation: 0x" in run.stderr
    else:
        assert run.returncode == 0, run.stderr
        (report,) = double.children()
        assert report["live"]["device_bytes"] == 100

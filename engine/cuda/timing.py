"""Times work on a GPU by the GPU's own clock. For benchmarks and tests."""

from __future__ import annotations

from collections.abc import Callable

from .driver import Gpu
from .resources import given


def seconds_of(gpu: Gpu, work: Callable[[int], object], times: int, rounds: int = 1) -> list[float]:
    """Seconds on the GPU of one `work`, which queues on the stream it is given and waits for nothing; one number for
    each round.

    It is captured into a graph `times` times, and in each round that graph is launched between two events: queued one
    by one from Python, more time would pass between two launches than each of them takes. `work` runs once before,
    uncaptured, so that its tables are there. Raises ModelError with CUDA's own message.
    """
    cuda = gpu.cuda
    with gpu.entered():
        stream = gpu.stream("high")
        try:
            work(stream.handle)
            stream.synchronize()
            given(cuda, cuda.cuStreamBeginCapture(stream.handle, cuda.CUstreamCaptureMode(_THREAD_LOCAL)))
            for _ in range(times):
                work(stream.handle)
            graph = given(cuda, cuda.cuStreamEndCapture(stream.handle))
            launch = given(cuda, cuda.cuGraphInstantiate(graph, 0))
            begin, end = (given(cuda, cuda.cuEventCreate(0)) for _ in range(2))
            given(cuda, cuda.cuGraphLaunch(launch, stream.handle))  # a first time, to warm up
            found = []
            for _ in range(rounds):
                given(cuda, cuda.cuEventRecord(begin, stream.handle))
                given(cuda, cuda.cuGraphLaunch(launch, stream.handle))
                given(cuda, cuda.cuEventRecord(end, stream.handle))
                given(cuda, cuda.cuEventSynchronize(end))
                found.append(float(given(cuda, cuda.cuEventElapsedTime(begin, end))) / 1000 / times)
            for event in (begin, end):
                given(cuda, cuda.cuEventDestroy(event))
            given(cuda, cuda.cuGraphExecDestroy(launch))
            given(cuda, cuda.cuGraphDestroy(graph))
        finally:
            stream.close()
    return found


def seconds_of_a_copy(gpu: Gpu, size: int, times: int, rounds: int = 1) -> list[float]:
    """As `seconds_of`, of a copy of `size` bytes within the GPU's memory, which reads and writes each: the bound for a
    kernel that changes as many bytes in place."""
    with gpu.entered():
        source, target = gpu.allocate(size), gpu.allocate(size)

    def copy(stream: int) -> None:
        given(gpu.cuda, gpu.cuda.cuMemcpyDtoDAsync(target.pointer, source.pointer, size, stream))

    try:
        return seconds_of(gpu, copy, times, rounds)
    finally:
        source.close()
        target.close()


_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may do what they like meanwhile, cuda.h"""

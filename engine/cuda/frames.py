"""The CUDA stream of a GPU on which frames are sampled and drawn on: those of all cameras and files of the program,
together where they come at the same time."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ModelError
from .combiner import Combiner, Task
from .driver import Gpu
from .jobs import MOST_JOBS
from .kernel import KERNELS, BatchKernel, KernelJob
from .resources import CudaEvent, Moment


class _Work(Task):
    """What one thread wants to be done with one picture."""

    __slots__ = ("after", "event", "jobs")

    def __init__(self, after: Moment | None, jobs: Mapping[str, KernelJob]) -> None:
        super().__init__()
        self.after, self.jobs = after, jobs
        self.event: CudaEvent | None = None


class FrameEvent:
    """The moment at which one frame's jobs are done: a `Moment` that is there before they are queued."""

    __slots__ = ("_queue", "_work", "stream")

    def __init__(self, queue: FrameQueue, work: _Work) -> None:
        self._queue, self._work = queue, work
        self.stream = queue.stream.number

    @property
    def handle(self) -> Any:
        """CUDA's own; jobs that are not queued yet are queued now. Raises ModelError if that could not be done."""
        return self._bound().handle

    @property
    def refused(self) -> bool:
        return self._work.error is not None

    def check(self) -> None:
        """Raises ModelError if it is known by now that the jobs could not be queued."""
        self._work.check()

    def done(self) -> bool:
        work = self._work
        return work.done and (work.event is None or work.event.done())

    def synchronize(self) -> None:
        self._bound().synchronize()

    def _bound(self) -> CudaEvent:
        if not self._work.done:
            self._queue.settle()
        self._work.check()
        assert self._work.event is not None
        return self._work.event


class FrameQueue:
    """Queues kernels on frames. `of` opens the one of a GPU; any thread may call `do`.

    Frames that come while others are being queued go together with the next ones: up to MOST_JOBS in a launch, and all
    with one event; their threads do not wait for that. They share one stream of high priority, which never waits for a
    network. It works in order, so a picture that is not ready yet holds up those behind it; copies from the host
    therefore have streams of their own.
    """

    @classmethod
    def of(cls, gpu: Gpu) -> FrameQueue:
        """The GPU's queue, to be given back by `close`."""
        with _OPENING:
            found = _OPEN.get(gpu)
            if found is None:
                found = _OPEN[gpu] = cls(gpu)
            found.users += 1
            return found

    def __init__(self, gpu: Gpu) -> None:
        """For `of` alone."""
        self.gpu = gpu
        self.users = 0
        """how many have opened it and not given it back"""
        with gpu.entered():
            self.stream = gpu.stream("high")
        self._kernels = {name: BatchKernel(gpu, name) for name in KERNELS}
        self.combiner = Combiner(self._queue)

    def do(self, after: Moment | None, jobs: Mapping[str, KernelJob]) -> FrameEvent:
        """Queues one frame's jobs, by the names of their kernels, in the order of KERNELS, behind an event and behind
        all that was given here before. Returns the event at which they are done, and waits for nothing. What they read
        must live until that event.

        Raises ModelError where they cannot be queued; where another thread queues them, the event raises it, or its
        `check`. What fails with another frame's jobs is not told here.
        """
        work = _Work(after, jobs)
        self.combiner.add(work)
        work.check()
        return FrameEvent(self, work)

    def settle(self) -> None:
        """Queues what waits to be queued: to be called before anything else is queued on `stream` that must come after
        it."""
        self.combiner.settle()

    def close(self) -> None:
        """Gives the queue back; the last one of its users closes the stream. Raises ModelError where the GPU fails."""
        with _OPENING:
            self.users -= 1
            if self.users:
                return
            del _OPEN[self.gpu]
        self.settle()
        self.stream.close()

    def _queue(self, works: Sequence[_Work]) -> None:
        """Queues the jobs of all, and tells each its event or its error."""
        stream = self.stream
        with self.gpu.entered():
            for work in works:
                # The jobs of this queue are in order: to ask one for its handle would be to wait for this thread.
                if work.after is None or work.after.stream == stream.number:
                    continue
                try:
                    stream.wait(work.after)
                except ModelError as error:
                    work.error = error.with_traceback(None)
            for name in self._kernels:
                chosen = [work for work in works if name in work.jobs and work.error is None]
                for first in range(0, len(chosen), MOST_JOBS):
                    self._launch(name, chosen[first : first + MOST_JOBS])
            event = stream.record()
        for work in works:
            if work.error is None:
                work.event = event

    def _launch(self, name: str, works: Sequence[_Work]) -> None:
        """One launch for all. If it is refused, nothing of it was queued: then each has a launch of its own, which
        shows whose jobs are at fault."""
        try:
            self._kernels[name].launch([work.jobs[name] for work in works], self.stream.handle)
        except ModelError as error:
            if len(works) == 1:
                works[0].error = error.with_traceback(None)
                return
            for work in works:
                self._launch(name, [work])


_OPEN: dict[Gpu, FrameQueue] = {}
_OPENING = threading.Lock()

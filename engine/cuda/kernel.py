"""A kernel that does several jobs in one launch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .driver import Arguments
from .jobs import JOB, MOST_JOBS
from .marks import MARKS, THREADS
from .shots import SHOT

if TYPE_CHECKING:
    from .driver import Gpu


KERNELS = {
    "preprocess": ("preprocess", SHOT, (32, 8, 1)),
    "overlay_linear": ("overlay", JOB, (256, 1, 1)),
    "overlay_cubic": ("overlay", JOB, (256, 1, 1)),
    "marks": ("marks", MARKS, (THREADS, 1, 1)),
}
"""Kernel -> kernels/PROGRAM.cu, the record of a frame, the threads of a block; in the order in which a frame needs
them."""


class KernelJob(NamedTuple):
    """What a kernel is told of one frame."""

    record: bytes | bytearray
    """one of the kernel's structs"""
    blocks: int
    """number of blocks that it needs; 0: there is nothing to do"""


class BatchKernel:
    """A kernel whose one parameter is an array of MOST_JOBS records, and whose grid is (blocks, jobs). For one thread
    at a time."""

    def __init__(self, gpu: Gpu, name: str) -> None:
        """name: of KERNELS."""
        self._gpu, self._name = gpu, name
        self._program, record, self._block = KERNELS[name]
        self._size = record.itemsize
        jobs = np.zeros(MOST_JOBS * record.itemsize, np.uint8)
        self._bytes = memoryview(jobs.data)
        self._arguments = Arguments(jobs)

    def launch(self, jobs: Sequence[KernelJob], stream: int) -> None:
        """Queues up to MOST_JOBS jobs, all in one launch. Within `Gpu.entered`."""
        start = most = 0
        for record, blocks in jobs:  # written in place, which costs less than making them anew
            self._bytes[start : start + self._size] = record
            start += self._size
            most = max(most, blocks)
        if most:
            function = self._gpu.function(self._program, self._name)
            self._gpu.launch(function, (most, len(jobs), 1), self._block, self._arguments, stream)

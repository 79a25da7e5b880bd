"""What is kept on a GPU for one stream: sent once, the least used goes first, and nothing waits for it."""

from __future__ import annotations

import numpy as np
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.frames import FrameQueue
from saliency_tubes.engine.cuda.uploads import Uploads


class Sender:
    def __init__(self, gpu_double, count: int, **settings) -> None:
        self.double, self.gpu = gpu_double(**settings), Gpu.of(0)
        self.frames = FrameQueue.of(self.gpu)
        self.stream = self.frames.stream
        self.uploads = Uploads[str](self.frames, count)
        self.made: list[object] = []

    def find(self, key: np.ndarray) -> int:
        """The address. The array to send is the key itself."""

        def make():
            self.made.append(key)
            return key, f"{key.nbytes} bytes"

        with self.gpu.entered():
            pointer, note = self.uploads.find(key, make)
        assert note == f"{key.nbytes} bytes"
        return pointer

    def read(self, pointer: int, like: np.ndarray) -> np.ndarray:
        found = np.empty_like(like)
        with self.gpu.entered():
            self.gpu.read(pointer, found, self.stream.handle)
        return found

    def close(self) -> None:
        with self.gpu.entered():
            self.uploads.close()
            self.stream.synchronize()
        self.frames.close()


def test_an_object_is_sent_once_and_the_least_used_goes_first(gpu_double):
    sender = Sender(gpu_double, 2)
    first, second, third, alike = (np.full((3, 5), value, np.float32) for value in (1, 2, 3, 1))
    for key in (first, second, first, third, first):  # the third takes the place of the second
        assert np.array_equal(sender.read(sender.find(key), key), key)
    assert [key is other for key, other in zip(sender.made, (first, second, third), strict=True)] == [True] * 3
    sender.find(alike)
    assert len(sender.made) == 4, "the object counts, not what it equals"
    assert sender.double.counts["allocations"] == 2
    sender.close()


def test_what_is_larger_gets_new_memory_and_nothing_waits(gpu_double):
    sender = Sender(gpu_double, 2, seed=0)
    for size in (100, 9_000, 20_000, 20_001):
        sender.find(np.arange(size, dtype=np.uint8))
    assert sender.double.pending(sender.stream.handle)
    sender.find(np.arange(60_000, dtype=np.uint8))  # the copy from the slot's old memory is waited for, nothing else
    allocations = sender.double.counts["allocations"]
    for size in (64_000, 100, 65_536):
        sender.find(np.arange(size, dtype=np.uint8))
    assert sender.double.counts["allocations"] == allocations + 1, "the other slot, once"
    assert not any("cuCtxSynchronize" in wait for wait in sender.double.report["waits"])
    sender.close()

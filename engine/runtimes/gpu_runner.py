"""Runs a network on an NVIDIA GPU, whatever computes it: samples are gathered there, and activations stay there.

The network has a stream of its own, of low priority, so that pictures go first. A run writes its activation into a
block of memory that is leased for it: outputs stay what they are when the next run begins, and nothing is copied.
Giving a network another address for each run costs about a microsecond of the host's time; copying the activation out
of a fixed buffer would cost the GPU a read and a write of it, 1.6 MB for I3D.
"""

from __future__ import annotations

import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ..cuda.clips import Gather
from ..cuda.driver import Gpu
from ..cuda.memory import View, contiguous
from ..cuda.outputs import DeviceOutputs, Readout
from ..cuda.pool import Pool
from ..cuda.resources import Stream
from ..errors import ModelError
from ..manifest import Manifest
from ..picture import F32
from ..preprocess import black_clip
from ..types import Clip, Outputs
from .base import ArrayAt, TensorRunner, check_count

MOST_HELD = 64
"""Maximum number of runs whose outputs may be held at a time. A stream holds those of one, while it explains it."""
_ALIGNED = 256
"""Bytes: every array in a block begins at a multiple of this."""


@dataclass(frozen=True)
class TensorOnGpu:
    """One of a network's inputs or outputs."""

    name: str
    shape: tuple[int, ...]
    """of one clip, without the batch"""
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Bytes for one clip."""
        return prod(self.shape) * self.dtype.itemsize

    def at(self, pointer: int, count: int) -> ArrayAt:
        """The tensor for so many clips, at an address."""
        return ArrayAt(pointer, (count, *self.shape), self.dtype)


class GpuRunner(TensorRunner):
    """A Runner on a GPU. A subclass opens the network, calls `prepare` and has `queue`. For one thread at a time; what
    `run` returns may be used by any."""

    def __init__(self, gpu: Gpu, manifest: Manifest, clip_length: int) -> None:
        self.manifest, self.clip_length = manifest, clip_length
        self.place = gpu.name
        self.gpu = gpu
        with gpu.entered():
            self.stream = gpu.stream("low")
        self.at_end: list[Callable[[], None]] = []
        """what frees the network itself, once nothing is queued any more; also at exit, while there is a driver"""
        weakref.finalize(self, _close, gpu, self.stream, self.at_end)

    def prepare(self, batch: int, clip: TensorOnGpu, outputs: Mapping[str, TensorOnGpu]) -> None:
        """Takes the memory for runs of up to `batch` clips. outputs: by their role, logits, activation and weights.

        Within `gpu.entered`. Raises ModelError where the GPU has not so much, UsageError where no kernels can be made.
        """
        self.batch, gpu = batch, self.gpu
        self._clip, self._outputs = clip, dict(outputs)
        self._input = gpu.allocate(batch * clip.size)
        self._classes = gpu.pinned((batch,), np.int64)
        self._class_ids = gpu.allocate(self._classes.nbytes)
        small = {role: one for role, one in outputs.items() if role != "activation"}
        self._on_host = {role: gpu.pinned((batch, *one.shape), one.dtype) for role, one in small.items()}
        self._on_gpu = {role: gpu.allocate(batch * one.size) for role, one in small.items()}
        activation = self._outputs["activation"]
        self.cells = activation.shape[2], activation.shape[3]
        cells = prod(activation.shape[1:]) * 4
        self._scratch = _rounded_up(batch * activation.size)
        self._pool = Pool(gpu, self._scratch + batch * _rounded_up(cells), MOST_HELD)
        self._gather = Gather(gpu, self.manifest.input, self.clip_length)
        self._readout = Readout(gpu)

    @abstractmethod
    def queue(self, given: Mapping[str, ArrayAt], wanted: Mapping[str, ArrayAt]) -> None:
        """Queues a run on `self.stream`, within `gpu.entered`. given, wanted: the inputs and the outputs on the GPU, by
        the names that the graph has for them; their first axis is the number of clips."""

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `Runner.run`. Raises ModelError where the GPU fails."""
        check_count(clips, self.batch)  # for more the kernel would write beyond the input's memory
        with self.gpu.entered():
            self._gather.write(clips, self._clips(len(clips)), self.stream)
            return self._finish(len(clips), class_ids)

    def infer(self, data: F32, class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        """As `TensorRunner.infer`. Raises ModelError where the GPU fails."""
        expected = (min(len(data), self.batch), *self._clip.shape)
        if data.shape != expected:
            raise ValueError(f"{self._clip.name} must be of shape {expected}, got {data.shape}")
        with self.gpu.entered():
            sent = np.ascontiguousarray(data, self._clip.dtype)
            self.gpu.write(self._input.pointer, sent, self.stream.handle)
            return self._finish(len(data), class_ids)

    def warm_up(self) -> None:
        """Makes a run whose outputs nobody needs: what is compiled or loaded for a first run is so now, and what fails
        then fails now."""
        (first, *_) = self.run([black_clip(self.manifest.input, self.clip_length)] * self.batch)
        first.evidence(np.zeros(self.manifest.channels, np.float32))

    def _clips(self, count: int) -> View:
        return self._view(self._input.pointer, (count, *self._clip.shape), self._clip.dtype, self._input)

    def _view(self, pointer: int, shape: tuple[int, ...], dtype: npt.DTypeLike, owner: object) -> View:
        kind = np.dtype(dtype)
        return View(pointer, shape, contiguous(kind, shape), kind, device=self.gpu.device.index, owner=owner)

    def _finish(self, count: int, class_ids: Sequence[int | None] | None) -> list[Outputs]:
        """The outputs of the clips that are in the input's memory once the stream's work so far is done."""
        block = self._pool.take(self.stream)
        pointers = {"activation": block.pointer, **{role: memory.pointer for role, memory in self._on_gpu.items()}}
        given = {self._clip.name: self._clip.at(self._input.pointer, count)}
        if self.manifest.head is None:
            self._classes[:count] = [-1 if one is None else one for one in class_ids or [None] * count]
            self.gpu.send(self._class_ids.pointer, self._classes[:count], self.stream.handle)
            given[self.manifest.class_input] = ArrayAt(self._class_ids.pointer, (count,), self._classes.dtype)
        self.queue(given, {one.name: one.at(pointers[role], count) for role, one in self._outputs.items()})
        for role, memory in self._on_gpu.items():
            self.gpu.fetch(self._on_host[role][:count], memory.pointer, self.stream.handle)
        self.stream.synchronize()
        return [self._outputs_of(row, block) for row in range(count)]

    def _outputs_of(self, row: int, block: Any) -> DeviceOutputs:
        kept = {role: np.array(array[row], np.float32) for role, array in self._on_host.items()}
        shape, dtype = self._outputs["activation"].shape, self._outputs["activation"].dtype
        activation = self._view(block.pointer + row * self._outputs["activation"].size, shape, dtype, block)
        step = _rounded_up(prod(shape[1:]) * 4)
        scratch = self._view(block.pointer + self._scratch + row * step, shape[1:], np.float32, block)
        return DeviceOutputs(kept["logits"], kept.get("weights"), activation, scratch, self._readout)


def _close(gpu: Gpu, stream: Stream, at_end: list[Callable[[], None]]) -> None:
    with suppress(ModelError), gpu.entered():  # a GPU that has failed fails again here
        stream.synchronize()
    while at_end:
        at_end.pop()()
    with suppress(ModelError):
        stream.close()


def _rounded_up(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED

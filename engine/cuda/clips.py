"""Clips as a network takes them, from samples that lie on a GPU or on the host."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from ..manifest import InputSpec
from ..types import Clip, Sample
from .driver import Arguments, Gpu
from .memory import View
from .pool import Block, Pool
from .resources import Moment, Stream
from .samples import DeviceSample
from .shots import GATHERED, MOST_SAMPLES, STEP_PIXELS, check_clips, numbers

_MOST_UPLOADED = 1 << 16
"""Maximum number of samples from the host; those that live decide how many there are."""


class Gather:
    """Writes clips into a network's input on a GPU: the bytes of `preprocess.tensor`. For one thread at a time."""

    def __init__(self, gpu: Gpu, spec: InputSpec, clip_length: int) -> None:
        self._gpu, self._spec, self._clip_length = gpu, spec, clip_length
        self._pixels = spec.size[0] * spec.size[1]
        self._pool = Pool(gpu, 3 * self._pixels, _MOST_UPLOADED)
        self._uploaded: WeakKeyDictionary[Sample, Block] = WeakKeyDictionary()
        """samples that lie on the host, which neighbouring windows share"""

    def write(self, clips: Sequence[Clip], out: View, stream: Stream) -> None:
        """Queues the writing of n clips of T samples. Within `Gpu.entered`; this waits for nothing.

        out: [n, 3, T, H, W] float32 or float16 on the GPU, without gaps. Raises ValueError for what does not fit.
        """
        check_clips(out, len(clips), self._spec, self._clip_length, self._gpu.device.index)
        samples = [sample for clip in clips for sample in clip.samples]
        lengths, sizes = {len(clip.samples) for clip in clips}, {sample.size for sample in samples}
        if lengths != {self._clip_length} or sizes != {self._spec.size}:
            raise ValueError(
                f"clips must be of {self._clip_length} samples of {self._spec.size}, got {lengths}, {sizes}"
            )
        blocks = self._blocks(samples, stream)
        self._launch([block.pointer for block in blocks], out, stream)
        event = stream.record()
        for block in blocks:
            block.used(event)

    def _blocks(self, samples: Sequence[Sample], stream: Stream) -> list[Block]:
        """Where the samples lie, after what makes them."""
        blocks, waited = [], set[Moment]()
        for sample in samples:
            if isinstance(sample, DeviceSample) and sample.gpu is self._gpu:
                if sample.ready not in waited:
                    waited.add(sample.ready)
                    stream.wait(sample.ready)
                blocks.append(sample.block)
                continue
            if sample not in self._uploaded:
                block = self._pool.take(stream)
                planes = np.ascontiguousarray(sample.pixels.transpose(2, 0, 1))
                self._gpu.write(block.pointer, planes, stream.handle)
                self._uploaded[sample] = block
            blocks.append(self._uploaded[sample])
        return blocks

    def _launch(self, pointers: Sequence[int], out: View, stream: Stream) -> None:
        gpu, job = self._gpu, np.zeros(1, GATHERED)
        table = gpu.kept(("numbers", self._spec), lambda: numbers(self._spec), stream.handle)
        function = gpu.function("gather", "gather")
        job["out"], job["table"], job["clip_length"] = out.pointer, table.pointer, self._clip_length
        job["pixels"], job["half"] = self._pixels, out.dtype == np.float16
        arguments = Arguments(job)
        for first in range(0, len(pointers), MOST_SAMPLES):
            part = pointers[first : first + MOST_SAMPLES]
            job["first"], job["samples"][0, : len(part)] = first, part
            gpu.launch(function, (-(-self._pixels // STEP_PIXELS), len(part), 1), (256, 1, 1), arguments, stream.handle)

"""Pipelines on the GPU that is not there: the runs of samebytes.py, with frames, samples and clips on the GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from saliency_tubes.engine.cuda.clips import Gather
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.memory import View, contiguous
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.manifest import Manifest
from saliency_tubes.engine.types import Clip, Outputs
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import Source
from samebytes import ExactRunner, Script, Way


class GatheringRunner(ExactRunner):
    """The network of whole numbers on clips that the GPU has made: they are gathered there, and read back as a whole.

    It has a stream and a buffer of its own, as a plan would have.
    """

    place = "cuda:0"

    def __init__(self, manifest: Manifest, batch: int = 1, script: Script | None = None) -> None:
        super().__init__(manifest, batch=batch)
        self.script, self.gpu = script, Gpu.of(0)
        self._gather = Gather(self.gpu, manifest.input, self.clip_length)
        self._shape = (batch, 3, self.clip_length, *manifest.input.size)
        with self.gpu.entered():
            self._stream = self.gpu.stream("low")
            self._memory = self.gpu.allocate(4 * int(np.prod(self._shape)))
            self._host = self.gpu.pinned(self._shape, np.float32)

    def run(self, clips: Sequence[Clip], class_ids: Sequence[int | None] | None = None) -> list[Outputs]:
        shape, host = (len(clips), *self._shape[1:]), self._host[: len(clips)]
        strides, dtype = contiguous(np.dtype("f4"), shape), np.dtype("f4")
        with self.gpu.entered():
            self._gather.write(clips, View(self._memory.pointer, shape, strides, dtype), self._stream)
            self.gpu.fetch(host, self._memory.pointer, self._stream.handle)
            self._stream.synchronize()
        outputs = self.infer(host, class_ids)
        if self.script is not None:
            self.script.run()
        return outputs

    def close(self) -> None:
        with suppress(ModelError):  # the GPU has failed, in tests of that
            self._memory.close()
            self._stream.close()


@dataclass
class OnGpu(Way):
    """Frames live on the GPU. At the end of each stream nothing of it may be leased."""

    double: Any
    runners: list[GatheringRunner] = field(default_factory=list)
    uploads: int = 0
    downloads: int = 0
    """frames copied to and from the GPU"""
    reserved: list[str] = field(default_factory=list)
    """what each stream said of its memory"""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def runner(self, manifest: Manifest, batch: int = 1, script: Script | None = None) -> GatheringRunner:
        self.runners.append(GatheringRunner(manifest, batch, script))
        return self.runners[-1]

    def place(self) -> CudaPlace:
        return CudaPlace(Gpu.of(0))

    def ended(self, pipeline: Pipeline, place: Any) -> None:
        assert place.leases == 0
        with self.lock:
            self.uploads += place.uploads
            self.downloads += place.host_copies
            self.reserved.append(pipeline.reserved)

    def run(self, source: Source, runner: Any, options: Options, sinks: Sequence[Sink]) -> None:
        """Runs a stream to its end, and looks at no frame."""
        place = self.place()
        try:
            with Pipeline(source, runner, sinks, options, place=place) as pipeline:
                for shown in pipeline:
                    del shown
            self.ended(pipeline, place)
        finally:
            place.close()

    def close(self) -> None:
        while self.runners:
            self.runners.pop().close()

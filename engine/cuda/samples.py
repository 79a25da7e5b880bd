"""What the network sees of a frame, made and kept on a GPU: once a frame, as RGB bytes, for all windows it is in."""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..manifest import InputSpec
from ..picture import U8
from ..preprocess import place
from ..types import Crop, Frame
from .driver import Gpu, stream_of
from .frames import FrameEvent, FrameQueue
from .jobs import Surface
from .kernel import BatchKernel, KernelJob
from .memory import View, view_of
from .pictures import DevicePicture
from .pool import Block, Pool
from .resources import Moment
from .shots import SHOT, SOURCE, check_sample, filters_of, shot_of

_MOST_KINDS = 16
"""Kinds of frames (format, size, colour, pitch, shape of pixels) whose records are kept."""
_FIELDS: Any = SHOT.fields
_OUT: int = _FIELDS["out"][1]
_ADDRESS = struct.Struct("<Q")


@dataclass(frozen=True, eq=False)
class _Kind:
    """What frames of one kind have in common."""

    record: bytes
    """one of `shots.SHOT`; without the addresses of planes and sample"""
    crop: Crop
    tables: tuple[View, ...]
    """what the record points to"""


class CudaPreprocess:
    """Makes samples of frames on a GPU: the bytes of `preprocess.sample`. For one thread at a time."""

    def __init__(self, spec: InputSpec, device: int = 0) -> None:
        """device: the number of the GPU, from 0. Raises UsageError if it cannot be used."""
        self.spec = spec
        self.gpu = Gpu.of(device)
        self._kinds: OrderedDict[tuple[Any, ...], _Kind] = OrderedDict()
        self._kernel = BatchKernel(self.gpu, "preprocess")
        height, width = spec.size
        self._blocks = -(-width // 32) * -(-height // 8)

    def sample(self, surface: Surface, out: Any, pixel_aspect: Any = 1, stream: Any = None) -> Crop:
        """Queues the conversion of a frame. Returns where in the frame the model looks.

        surface: of any format. out: RGB [3, H, W] uint8 on the GPU, without gaps, with H, W = spec.size. pixel_aspect:
        width / height of one pixel as it is to be shown. stream: the caller's. Raises ValueError for what does not fit.
        """
        gpu, handle, view = self.gpu, stream_of(stream), view_of(out)
        check_sample(surface, view, self.spec, gpu.device.index)
        with gpu.entered():
            for array in (*surface.views, view):
                gpu.follow(array, handle)
            job, crop = self.job(surface, view.pointer, pixel_aspect, handle)
            self._kernel.launch([job], handle)
        return crop

    def job(self, surface: Surface, pointer: int, pixel_aspect: Any, stream: int) -> tuple[KernelJob, Crop]:
        """What the kernel is told of one surface, and where in it the model looks; for memory that fits. A new kind of
        surface uploads its tables and waits for that."""
        kind = self._kind(surface, pixel_aspect, stream)
        data, at = bytearray(kind.record), 0
        for plane in surface.places:
            _ADDRESS.pack_into(data, at, plane.pointer)
            at += SOURCE.itemsize
        _ADDRESS.pack_into(data, _OUT, pointer)
        return KernelJob(data, self._blocks), kind.crop

    def _kind(self, surface: Surface, pixel_aspect: Any, stream: int) -> _Kind:
        key = (surface.kind, pixel_aspect)
        found = self._kinds.get(key)
        if found is None:
            found = self._kinds[key] = self._made(surface, pixel_aspect, stream)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
        return found

    def _made(self, surface: Surface, pixel_aspect: Any, stream: int) -> _Kind:
        gpu, tables, filters = self.gpu, list[View](), []
        placed = place(surface.width, surface.height, pixel_aspect, self.spec)
        for key, made in filters_of(surface, placed, self.spec):
            with gpu.entered():
                first = gpu.kept(("first samples", key), partial(_same, made.first), stream)
                weights = gpu.kept(("weights", key), partial(_same, made.weights), stream)
            tables += [first, weights]
            filters.append((first.pointer, weights.pointer, made.weights.shape[1]))
        return _Kind(shot_of(surface, self.spec, filters).tobytes(), placed.crop(self.spec), tuple(tables))


def _same(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return array


@dataclass(frozen=True, eq=False)
class DeviceSample:
    """A `Sample` in a GPU's memory."""

    gpu: Gpu
    block: Block
    """RGB [3, H, W] uint8"""
    size: tuple[int, int]
    crop: Crop
    ready: Moment
    """when it is written; who reads it lets his stream wait for that, and tells the block until when"""

    @cached_property
    def pixels(self) -> U8:
        """RGB [H, W, 3] uint8, copied to the host when it is first asked for: windows that overlap ask again."""
        found = np.empty((3, *self.size), np.uint8)
        with self.gpu.entered():
            self.ready.synchronize()
            stream = self.gpu.stream("high")
            try:
                self.gpu.read(self.block.pointer, found, stream.handle)
            finally:
                stream.close()
        rgb: U8 = found.transpose(1, 2, 0)
        return rgb


class CudaSampler:
    """A `Sampler` for pictures on a GPU. For one thread at a time."""

    def __init__(self, spec: InputSpec, pool: Pool, frames: FrameQueue) -> None:
        """pool: of blocks of 3 H W bytes, which the samples lease. frames: on which they are made."""
        self._preprocess = CudaPreprocess(spec, frames.gpu.device.index)
        self._pool, self._frames = pool, frames
        self._last: FrameEvent | None = None

    def put(self, frame: Frame) -> DeviceSample:
        """As `Sampler.put`; this waits for nothing. Raises ValueError for a picture that is not on this GPU, ModelError
        if all samples are in use, or if the GPU fails, or has failed with the frame before."""
        image, frames, gpu = frame.image, self._frames, self._frames.gpu
        if not isinstance(image, DevicePicture) or image.gpu is not gpu:
            raise ValueError(f"an image on {image.where} cannot be sampled on {gpu.name}: `Place.bring` it there")
        last, self._last = self._last, None
        if last is not None:
            last.check()  # another thread may have queued it
        block = self._pool.take(frames.stream)
        job, crop = self._preprocess.job(image.surface, block.pointer, frame.pixel_aspect, frames.stream.handle)
        ready = self._last = frames.do(image.ready, {"preprocess": job})
        block.used(ready)
        image.used(ready)
        return DeviceSample(gpu, block, self._preprocess.spec.size, crop, ready)

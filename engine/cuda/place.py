"""A GPU's memory as the place of one stream's frames: they are brought there once, and drawn on there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from ..draw.style import Style
from ..errors import ModelError
from ..fit import fit, is_fit
from ..manifest import InputSpec
from ..picture import U8, Color, Image, Layout, Picture
from ..place import Needs
from .driver import Gpu
from .fit import CudaFit
from .frames import FrameQueue
from .jobs import Format, Surface, check_cells
from .painter import CudaPainter
from .pictures import DevicePicture, bytes_of, copy, laid_out, rows_of
from .pinned import PinnedArrays, PinnedRing
from .pool import Block, Pool
from .resources import Stream
from .samples import CudaSampler

OWN, SHARED = 0.9, 0.5
"""Maximum part of the free memory that a stream takes: of a GPU's own, or of the host's where the GPU uses that."""
_PICTURES, _SAMPLES = 16, 512
"""Numbers of pictures and of samples that there is memory for where nobody has called `reserve`."""
_SIZES = 2
"""Sizes of pictures that there is memory for at a time: of the source, and of the outputs."""
_UPLOADS = 4
"""Pictures on their way to the GPU at a time."""


class CudaPlace:
    """A `Place`: the memory of one GPU, for one stream.

    Samples and drawing are queued together with those of other places on the GPU (`FrameQueue`); copies from and to the
    host have CUDA streams of their own. Raises ModelError where the GPU fails or its memory does not suffice.
    """

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.name = gpu, gpu.name
        memory = "its memory is the host's" if gpu.integrated else "with memory of its own"
        self.description = f"{gpu.device.name} ({gpu.name}, {memory}); frames from the host are copied there once"
        self.uploads = self.host_copies = self.copies = 0
        with gpu.entered():
            self._arrivals, self._downloads = gpu.stream("high"), gpu.stream("low")
        self.frames = FrameQueue.of(gpu)
        """where samples and drawing are queued"""
        self._closed = False
        self._most_pictures, self._most_samples = _PICTURES, _SAMPLES
        self._pictures: OrderedDict[int, Pool] = OrderedDict()
        self._samples: dict[int, Pool] = {}
        """by the bytes of a block"""
        self._old: list[Pool] = []
        """pools that were closed and of which something is still held"""
        self._fit = CudaFit(gpu)
        self._ring, self._arrays = PinnedRing(gpu, _UPLOADS), PinnedArrays(gpu)

    @property
    def leases(self) -> int:
        """As `Place.leases`."""
        return sum(pool.leased for pool in (*self._pictures.values(), *self._samples.values(), *self._old))

    def reserve(self, needs: Needs) -> str:
        """As `Place.reserve`."""
        if needs.cells is not None:
            check_cells(needs.cells)
        self._most_pictures, self._most_samples = needs.pictures, needs.samples
        width, height = needs.size
        rows, columns = needs.spec.size
        format = Format(needs.stored or needs.layout.value)
        wanted = self._pool_of(bytes_of(format, needs.size)), self._samples_of(needs.spec)
        sizes = [count * pool.block_bytes for count, pool in zip((needs.pictures, needs.samples), wanted, strict=True)]
        larger = "" if format.value == needs.layout.value else f" in {format.value}"
        told = (
            f"{sum(sizes) / 1e6:.0f} MB: {needs.pictures} pictures of {width}x{height}{larger}, {needs.samples} "
            f"samples of {columns}x{rows}"
        )
        with self.gpu.entered():
            self._fit.prepare()  # pictures may change in the middle, where compiling it would take too long
            free, _ = self.gpu.memory_left()
            most = int(free * (SHARED if self.gpu.integrated else OWN))
            try:
                if sum(sizes) > most:
                    raise ModelError(f"it may take {most / 1e6:.0f} MB")
                for count, pool in zip((needs.pictures, needs.samples), wanted, strict=True):
                    pool.fill(count)
            except ModelError as error:
                for pool in wanted:
                    pool.close()
                self.gpu.collect()
                raise ModelError(
                    f"{self.gpu.device.name} has {free / 1e6:.0f} MB free, and this stream needs {told} ({error}): "
                    "use fewer streams, smaller pictures, a shorter window, or --memory host"
                ) from None
        return told

    def bring(self, image: Image, *, keep: bool = False) -> DevicePicture:
        """As `Place.bring`; this waits only if many pictures are on their way. Raises ValueError for a picture in the
        memory of another GPU."""
        if isinstance(image, DevicePicture) and image.where == self.name:
            return self._kept(image) if (keep or image.scarce) and not self._owns(image) else image
        if not isinstance(image, Picture):
            raise ValueError(f"an image on {image.where} cannot be brought to {self.name}")
        format, size, stream = Format(image.layout.value), (image.width, image.height), self._arrivals
        pool = self._pool_of(bytes_of(format, size))
        with self.gpu.entered():
            block = pool.take(stream)
            surface = laid_out(format, size, image.color, block.pointer)
            with self._ring.taken(pool.block_bytes) as slot:
                sent = slot.array[: pool.block_bytes]
                for plane, (rows, length), to in zip(image.planes, rows_of(format, size), surface.places, strict=True):
                    start = to.pointer - block.pointer
                    target = sent[start : start + rows * to.pitch].reshape(rows, to.pitch)[:, :length]
                    target[...] = plane.reshape(rows, length)
                self.gpu.send(block.pointer, sent, stream.handle)
                ready = slot.read = stream.record()
        block.used(ready)
        self.uploads += 1
        return DevicePicture(self.gpu, surface, ready, block)

    def lay(self, format: Format, size: tuple[int, int], color: Color, stream: Stream) -> tuple[Surface, Block]:
        """Memory of this place for a picture that work on the stream is about to write, and its lease. For decoders,
        whose pictures then are this place's own. Within `Gpu.entered`, from any thread. Raises ModelError where all
        that a stream may hold is leased."""
        block = self._pool_of(bytes_of(format, size)).take(stream)
        return laid_out(format, size, color, block.pointer), block

    def sampler(self, spec: InputSpec) -> CudaSampler:
        return CudaSampler(spec, self._samples_of(spec), self.frames)

    def painter(self, style: Style) -> CudaPainter:
        """As `Place.painter`."""
        return CudaPainter(self.frames, style)

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Image:
        """As `Place.fit`; this waits for nothing but the upload of weights for a new size. Raises ValueError for an
        image in the memory of another GPU."""
        if isinstance(image, Picture):
            return fit(image, size, layout, color)
        if is_fit(image, size, layout, color):
            return image
        if not isinstance(image, DevicePicture) or image.where != self.name:
            raise ValueError(f"an image on {image.where} cannot be made alike on {self.name}")
        format, stream = Format(layout.value), self.frames.stream  # behind what was drawn
        pool = self._pool_of(bytes_of(format, size))
        with self.gpu.entered():
            block = pool.take(stream)
            self.frames.settle()  # what waits there may be to be drawn in this block, for its last owner
            surface = laid_out(format, size, color, block.pointer)
            stream.wait(image.ready)
            self._fit.queue(image.surface, surface, stream.handle)
            ready = stream.record()
        image.used(ready)
        block.used(ready)
        return DevicePicture(self.gpu, surface, ready, block)

    def host(self, image: Image) -> Picture:
        """As `Place.host`; this waits for the copy. Raises ValueError for an image in the memory of another GPU."""
        if isinstance(image, Picture):
            return image
        if not isinstance(image, DevicePicture) or image.where != self.name:
            raise ValueError(f"an image on {image.where} cannot be copied from {self.name}")
        surface, stream, planes = image.surface, self._downloads, []
        shapes = rows_of(image.format, (image.width, image.height))
        size = sum(rows * plane.pitch for (rows, _), plane in zip(shapes, surface.places, strict=True))
        with self.gpu.entered():
            found = self._arrays.take(size)
            stream.wait(image.ready)
            start = 0
            for (rows, length), plane in zip(shapes, surface.places, strict=True):
                whole = found[start : start + (rows - 1) * plane.pitch + length]  # the last row may end the memory
                self.gpu.fetch(whole, plane.pointer, stream.handle)
                planes.append(found[start : start + rows * plane.pitch].reshape(rows, plane.pitch)[:, :length])
                start += rows * plane.pitch
            stream.synchronize()
        self.host_copies += 1
        return _picture(image, planes)

    def close(self) -> None:
        """As `Place.close`. Errors of a GPU that has failed before are ignored: they were told."""
        if self._closed:
            return
        self._closed = True
        for pool in (*self._pictures.values(), *self._samples.values()):
            pool.close()
        with suppress(ModelError):
            self.synchronize()
        with suppress(ModelError), self.gpu.entered():
            self.gpu.collect()  # now: streams that run on may allocate nothing for hours
        for each in (self._arrivals, self._downloads, self.frames):
            with suppress(ModelError):
                each.close()

    def synchronize(self) -> None:
        """Waits until all that is queued for its pictures so far is done. Raises ModelError if some of it failed."""
        self.frames.settle()
        with self.gpu.entered():
            for stream in (self._arrivals, self.frames.stream, self._downloads):
                stream.synchronize()

    def _owns(self, image: DevicePicture) -> bool:
        lease = image.lease
        return isinstance(lease, Block) and self._pictures.get(lease.pool.block_bytes) is lease.pool

    def _kept(self, image: DevicePicture) -> DevicePicture:
        """A copy of a picture in another owner's memory, which is given back once it is read."""
        size, stream = (image.width, image.height), self._arrivals
        pool = self._pool_of(bytes_of(image.format, size))
        with self.gpu.entered():
            block = pool.take(stream)
            surface = laid_out(image.format, size, image.color, block.pointer)
            if image.ready is not None:
                stream.wait(image.ready)
            copy(self.gpu, image.surface, surface, stream.handle)
            ready = stream.record()
        image.used(ready)
        block.used(ready)
        self.copies += 1
        return DevicePicture(self.gpu, surface, ready, block)

    def _pool_of(self, size: int) -> Pool:
        """The pool of pictures of so many bytes. Beyond _SIZES, the one unused for longest is freed."""
        pool = self._pictures.get(size)
        if pool is not None:
            with suppress(KeyError):  # another thread has just freed it
                self._pictures.move_to_end(size)
        else:  # two threads may ask: one brings frames, one fits them to the outputs
            pool = self._pictures.setdefault(size, Pool(self.gpu, size, self._most_pictures))
            if len(self._pictures) > _SIZES:
                _, old = self._pictures.popitem(last=False)
                old.close()
                self._old = [each for each in (*self._old, old) if each.leased]
        return pool

    def _samples_of(self, spec: InputSpec) -> Pool:
        size = 3 * spec.size[0] * spec.size[1]
        if size not in self._samples:
            self._samples[size] = Pool(self.gpu, size, self._most_samples)
        return self._samples[size]


def _picture(image: DevicePicture, planes: Sequence[U8]) -> Picture:
    """planes: [rows, bytes of a row] of each plane, as they lie on the GPU."""
    if image.format is Format.P010:  # ten bits, of which the host's pictures have eight
        planes = [np.minimum((plane.view(np.uint16) >> 6) + 2 >> 2, 255).astype(np.uint8) for plane in planes]
    elif image.layout is Layout.RGB and image.format is not Format.RGB:
        pixels = planes[0].reshape(image.height, image.width, -1)[..., :3]
        ordered = pixels[..., ::-1] if image.format in (Format.BGR, Format.BGRA) else pixels
        planes = [np.ascontiguousarray(ordered)]
    shapes = image.layout.shapes((image.width, image.height))
    shaped = tuple(plane.reshape(shape) for plane, shape in zip(planes, shapes, strict=True))
    return Picture(image.layout, shaped, image.color)

"""Pictures in a GPU's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..picture import Color, Layout
from .jobs import PLANES, Format, RawPlane, Surface
from .resources import Moment, given

if TYPE_CHECKING:
    from .driver import Gpu

ALIGNED = 64
"""Bytes: rows of our own pictures begin at multiples of this, so that kernels read whole words."""


@dataclass(eq=False)
class DevicePicture:
    """An `Image` in a GPU's memory. Whoever reads or writes it lets his stream wait for `ready` first."""

    gpu: Gpu
    surface: Surface
    """where its planes lie"""
    ready: Moment | None = None
    """when the last write to it is done; None: it is done already"""
    lease: Any = None
    """what owns the memory, kept alive as long as the picture is; its `used(event)` is told of the work on it"""

    @property
    def format(self) -> Format:
        return self.surface.format

    @property
    def width(self) -> int:
        return self.surface.width

    @property
    def height(self) -> int:
        return self.surface.height

    @property
    def layout(self) -> Layout:
        """The layout of its copy on the host: that of P010 is NV12, with 8 bits a sample."""
        return self.surface.layout

    @property
    def color(self) -> Color:
        return self.surface.color

    @property
    def stored(self) -> str:
        return self.format.value

    @property
    def where(self) -> str:
        return self.gpu.name

    @property
    def scarce(self) -> bool:
        """Whether its owner has lent so many that he would soon wait for one: it should be copied."""
        return bool(getattr(self.lease, "scarce", False))

    def used(self, event: Moment) -> None:
        """Says that it is read until the event: its memory is not given back before."""
        if self.lease is not None:
            self.lease.used(event)

    def drawn(self, event: Moment) -> None:
        """Says that it is written to until the event."""
        self.ready = event
        self.used(event)


def copy(gpu: Gpu, source: Surface, target: Surface, stream: int) -> None:
    """Queues the copy of a picture to one of the same size and format. Within `Gpu.entered`."""
    cuda = gpu.cuda
    sizes = rows_of(source.format, (source.width, source.height))
    for here, there, (rows, length) in zip(source.places, target.places, sizes, strict=True):
        job = cuda.CUDA_MEMCPY2D()
        job.srcMemoryType = job.dstMemoryType = cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE
        job.srcDevice, job.srcPitch = here.pointer, here.pitch
        job.dstDevice, job.dstPitch = there.pointer, there.pitch
        job.WidthInBytes, job.Height = length, rows
        given(cuda, cuda.cuMemcpy2DAsync(job, stream))


def rows_of(format: Format, size: tuple[int, int]) -> list[tuple[int, int]]:
    """For each plane of a picture of `size` = (width, height): its number of rows, and the bytes of a row."""
    (width, height), found = size, []
    for form in PLANES[format]:
        rows, columns = ((height + 1) // 2, (width + 1) // 2) if form.subsampled else (height, width)
        found.append((rows, columns * form.channels * form.sample_bytes))
    return found


def bytes_of(format: Format, size: tuple[int, int]) -> int:
    """The memory of a picture as `laid_out` places it."""
    return sum(rows * _pitch(length) for rows, length in rows_of(format, size))


def laid_out(format: Format, size: tuple[int, int], color: Color, pointer: int) -> Surface:
    """A picture of `size` = (width, height) whose planes follow each other from an address on, which is a multiple of
    ALIGNED."""
    planes = []
    for rows, length in rows_of(format, size):
        planes.append(RawPlane(pointer, _pitch(length)))
        pointer += rows * _pitch(length)
    return Surface(format, planes, *size, color)


def _pitch(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED

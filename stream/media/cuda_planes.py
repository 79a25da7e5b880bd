"""Copies pictures from one place on a GPU to another."""

from __future__ import annotations

from ...engine.cuda.driver import Gpu
from ...engine.cuda.jobs import Surface
from ...engine.cuda.pictures import rows_of
from ...engine.cuda.resources import given
from ...engine.picture import Picture


def gpu_of(where: str) -> Gpu:
    """The GPU of a place such as "cuda:0". Raises UsageError if there is none."""
    return Gpu.of(int(where.partition(":")[2]))


def send(gpu: Gpu, picture: Picture, target: Surface, stream: int) -> None:
    """Queues the copy of a picture on the host to one of the same size and layout; the picture must stay until that is
    done. Within `Gpu.entered`."""
    cuda = gpu.cuda
    sizes = rows_of(target.format, (target.width, target.height))
    for plane, there, (rows, length) in zip(picture.planes, target.places, sizes, strict=True):
        job = cuda.CUDA_MEMCPY2D()
        job.srcMemoryType = cuda.CUmemorytype.CU_MEMORYTYPE_HOST
        job.dstMemoryType = cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE
        job.srcHost, job.srcPitch = plane.ctypes.data, plane.strides[0]
        job.dstDevice, job.dstPitch = there.pointer, there.pitch
        job.WidthInBytes, job.Height = length, rows
        given(cuda, cuda.cuMemcpy2DAsync(job, stream))

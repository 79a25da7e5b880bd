"""Pictures on a GPU, as tests look at them."""

from __future__ import annotations

import numpy as np
from saliency_tubes.engine.cuda.pictures import DevicePicture, rows_of
from saliency_tubes.engine.draw.host import HostPlace
from saliency_tubes.engine.picture import U8, Color, Image, Layout, Picture
from saliency_tubes.stream.media.cuda_planes import gpu_of


class OnGpu(HostPlace):
    """A place on a GPU as far as sources know it."""

    name = "cuda:0"

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Image:
        same = (image.width, image.height) == size and (image.layout, image.color) == (layout, color)
        return image if same else super().fit(downloaded(image), size, layout, color)


def downloaded(image: Image) -> Picture:
    """A copy on the host."""
    if not isinstance(image, DevicePicture):
        assert isinstance(image, Picture)
        return image
    gpu, surface, planes = gpu_of(image.where), image.surface, list[U8]()
    sizes = rows_of(surface.format, (image.width, image.height))
    with gpu.entered():
        stream = gpu.stream()
        stream.wait(image.ready)
        for place, (rows, length), shape in zip(
            surface.places, sizes, image.layout.shapes((image.width, image.height)), strict=True
        ):
            plane = np.empty((rows - 1) * place.pitch + length, np.uint8)
            gpu.read(place.pointer, plane, stream.handle)
            strided = np.lib.stride_tricks.as_strided(plane, (rows, length), (place.pitch, 1))
            planes.append(np.ascontiguousarray(strided).reshape(shape))
    stream.close()
    return Picture(image.layout, tuple(planes), image.color)


def bytes_on_gpu(image: Image) -> range:
    """The addresses of a picture on a GPU, from its first byte to its last."""
    assert isinstance(image, DevicePicture)
    sizes = rows_of(image.format, (image.width, image.height))
    ends = [
        (place.pointer, place.pointer + (rows - 1) * place.pitch + length)
        for place, (rows, length) in zip(image.surface.places, sizes, strict=True)
    ]
    return range(min(start for start, _ in ends), max(end for _, end in ends))


def scribble(image: Image) -> None:
    """Overwrites a picture, wherever it lies, and waits for that."""
    if isinstance(image, Picture):
        for plane in image.planes:
            plane[:] = 255
        return
    assert isinstance(image, DevicePicture)
    gpu, sizes = gpu_of(image.where), rows_of(image.format, (image.width, image.height))
    with gpu.entered():
        stream = gpu.stream()
        stream.wait(image.ready)
        for place, (rows, length) in zip(image.surface.places, sizes, strict=True):
            gpu.cuda.cuMemsetD2D8Async(place.pointer, place.pitch, 255, length, rows, stream.handle)
        stream.synchronize()
    stream.close()

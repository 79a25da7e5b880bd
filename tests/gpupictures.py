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

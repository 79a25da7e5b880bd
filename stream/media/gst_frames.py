"""Gives pictures to GStreamer: their caps, and buffers with GStreamer's strides."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.picture import HOST, U8, Image, Layout, Picture, on_host
from .info import VideoInfo

FORMATS = {Layout.I420: "I420", Layout.NV12: "NV12", Layout.RGB: "RGB"}
_MATRIX = {"bt709": 3, "bt601": 4, "bt2020": 6}
"""GstVideoColorMatrix"""
FALLBACK_RATE = 25


class FrameBuffers:
    """Copies pictures of one size into buffers. Odd sizes are padded to even ones, which H.264 needs."""

    where = HOST
    """the place of the pictures that it copies without a detour, as `Image.where`"""

    def __init__(self, gst: Any, info: VideoInfo) -> None:
        """gst: the namespace of `gst_load.load`, with GstVideo."""
        self.gst = gst
        self.size = (info.width, info.height)
        width, height = (side + side % 2 for side in self.size)
        self.coded = (width, height)
        self.notes: tuple[str, ...] = ()
        if self.coded != self.size:
            self.notes = (f"H.264 needs an even size: {info.width}x{info.height} is padded to {width}x{height}",)
        rate, aspect = info.rate or FALLBACK_RATE, info.pixel_aspect
        self.rate = float(rate)
        self.convert = ""
        """the part of a pipeline before an encoder that converts RGB to a format that every player shows correctly"""
        if info.layout is Layout.RGB:
            self.convert = "videoconvert ! video/x-raw,format=I420,colorimetry=bt709 ! "
        caps = (
            f"video/x-raw,format={FORMATS[info.layout]},width={width},height={height},"
            f"framerate={rate.numerator}/{rate.denominator},"
            f"pixel-aspect-ratio={aspect.numerator}/{aspect.denominator}"
        )
        if info.layout is not Layout.RGB:
            span = 1 if info.color.full_range else 2
            caps += f",colorimetry=(string){span}:{_MATRIX[info.color.matrix]}:0:0"
        self.caps = gst.Gst.Caps.from_string(caps)
        layout = gst.GstVideo.VideoInfo.new_from_caps(self.caps)
        self.bytes = int(layout.size)
        self.places = [(int(layout.offset[i]), int(layout.stride[i])) for i in range(layout.finfo.n_planes)]
        """offset and stride of each plane in a buffer that does not tell them itself"""

    def make(self, image: Image) -> Any:
        """A GstBuffer with the picture in it, without a time. image: on the host, or in the place `where`."""
        picture = on_host(image)
        gst = self.gst.Gst
        buffer = gst.Buffer.new_allocate(None, self.bytes, None)
        try:
            with buffer.map(gst.MapFlags.WRITE) as mapped:
                self._fill(np.frombuffer(mapped.data, np.uint8), picture)
        except (TypeError, AttributeError, ValueError):  # without gst-python's overrides a mapped buffer is a copy
            data = np.zeros(self.bytes, np.uint8)
            self._fill(data, picture)
            buffer = gst.Buffer.new_wrapped(data.tobytes())
        return buffer

    def attach(self, pipeline: Any) -> None:
        """Gives a new pipeline what its elements need to take the buffers."""

    def close(self) -> None:
        """Frees what it holds."""

    def _fill(self, data: U8, picture: Picture) -> None:
        for (offset, stride), plane in zip(self.places, picture.planes, strict=True):
            height, width = plane.shape[:2]
            channels = plane.shape[2] if plane.ndim == 3 else 1
            luma = plane is picture.planes[0]
            rows, columns = (self.coded[1], self.coded[0]) if luma else (self.coded[1] // 2, self.coded[0] // 2)
            target = data[offset : offset + rows * stride].reshape(rows, stride)[:, : columns * channels]
            target[:height, : width * channels] = plane.reshape(height, width * channels)
            if columns > width:
                target[:height, width * channels :] = plane[:, -1].reshape(height, channels)
            target[height:] = target[height - 1 : height]


def with_own_times(gst: Any, buffer: Any) -> Any:
    """Another GstBuffer with the same bytes. `buffer.copy()` does not work: PyGObject 3.42 returns the same buffer.

    gst: the namespace of `gst_load.load`.
    """
    flags = gst.Gst.BufferCopyFlags
    return buffer.copy_region(flags.FLAGS | flags.TIMESTAMPS | flags.META | flags.MEMORY, 0, buffer.get_size())

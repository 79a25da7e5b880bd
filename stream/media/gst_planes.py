"""Converts GStreamer's samples to pictures: planes are copied out of mapped buffers."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from ...engine.picture import U8, Color, Layout, Picture
from .info import first_rate

FORMATS = {"I420": Layout.I420, "NV12": Layout.NV12, "RGB": Layout.RGB}
"""GStreamer's names of the formats that pictures can have."""
CAPS = "video/x-raw,format=(string){{ {} }}".format(", ".join(FORMATS))
_H273 = {"bt601": 6, "bt709": 1, "bt2020": 9}


class CapsReader:
    """What caps of raw video tell of all samples that have them."""

    def __init__(self, video: Any, caps: Any, formats: Iterable[str]) -> None:
        """video: the module GstVideo. formats: those that are taken. Raises ValueError for others."""
        info = video.VideoInfo.new_from_caps(caps)
        self.name = str(info.finfo.name)
        """GStreamer's name of the format"""
        if self.name not in formats:
            raise ValueError(f"raw video in {' or '.join(formats)} is read, not {self.name}")
        self.size = (int(info.width), int(info.height))
        self.rate = first_rate(Fraction(info.fps_n, info.fps_d) if info.fps_d else None)
        self.pixel_aspect = Fraction(info.par_n or 1, info.par_d or 1)
        self.color, self.matrix = _colorimetry(video, info, self.size, self.name == "RGB")
        self.offsets, self.strides = list(info.offset), list(info.stride)
        """bytes, of each plane of a buffer that does not tell them itself"""

    def close(self) -> None:
        """Lets go of what it keeps of buffers."""


class SampleReader(CapsReader):
    """Reads samples that all have the same caps, out of the host's memory."""

    def __init__(self, gst: Any, video: Any, caps: Any) -> None:
        """gst, video: the modules Gst and GstVideo. caps: raw video in one of FORMATS. Raises ValueError for others."""
        super().__init__(video, caps, FORMATS)
        self._gst, self._video = gst, video
        self.layout = FORMATS[self.name]

    def read(self, buffer: Any) -> Picture:
        """The buffer's picture in memory of its own. Raises ValueError if the buffer is too small."""
        offsets, strides = self.offsets, self.strides
        meta = self._video.buffer_get_video_meta(buffer)
        if meta is not None:
            offsets, strides = list(meta.offset), list(meta.stride)
        done, mapped = buffer.map(self._gst.MapFlags.READ)
        if not done:
            raise ValueError("a buffer cannot be mapped")
        try:
            memory = np.frombuffer(mapped.data, np.uint8)
            planes = tuple(
                self._plane(memory, offset, stride, shape)
                for offset, stride, shape in zip(offsets, strides, self.layout.shapes(self.size), strict=False)
            )
        finally:
            buffer.unmap(mapped)
        return Picture(self.layout, planes, self.color)

    @staticmethod
    def _plane(memory: U8, offset: int, stride: int, shape: tuple[int, ...]) -> U8:
        height, width, channels = (*shape, 1)[:3]
        end = offset + stride * (height - 1) + width * channels  # the last row may lack its padding
        if end > memory.size:
            raise ValueError(f"a plane ends at byte {end} of a buffer of {memory.size}")
        steps = (stride, channels, 1)[: len(shape)]
        return np.array(np.lib.stride_tricks.as_strided(memory[offset:], shape, steps), order="C")


def _colorimetry(video: Any, info: Any, size: tuple[int, int], rgb: bool) -> tuple[Color, int]:
    kinds = video.VideoColorMatrix
    names = {kinds.BT601: "bt601", kinds.BT709: "bt709", kinds.BT2020: "bt2020"}
    said = names.get(info.colorimetry.matrix)
    width, height = size
    guessed = said or ("bt709" if width >= 1280 or height > 576 else "bt601")
    full = info.colorimetry.range == getattr(video.VideoColorRange, "0_255")
    return Color(guessed, full), 0 if rgb else _H273.get(said or "", 2)

"""Converts between PyAV's frames and pictures: planes are copied, turned upright and padded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, VideoReformatter

from ...engine.errors import one_line
from ...engine.picture import U8, Color, Layout, Picture, in_one_block

MATRICES = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
"""Numbers of ITU-T H.273 table 4 -> the matrix of a `Color`. FCC (4) differs from BT.601 by less than one level."""
OTHER_MATRICES = {7: "SMPTE 240M", 8: "YCgCo", 11: "SMPTE 2085", 12: "derived", 13: "derived", 14: "ICtCp"}
HDR = {16: "PQ", 18: "HLG"}
"""Transfers of ITU-T H.273 table 3 that look washed out on ordinary screens."""

_SWS_MATRIX = {"bt601": 5, "bt709": 1, "bt2020": 9}
"""swscale's SWS_CS_ numbers; PyAV 17 has no name for the last one."""
_SWS_EXACT = 0x4 | 0x4000 | 0x40000 | 0x80000
"""swscale's BICUBIC, FULL_CHR_H_INP, ACCURATE_RND and BITEXACT; PyAV 17 has no names for the last three."""
_BYTES = {"yuv420p": (1, 1, 1), "nv12": (1, 2), "rgb24": (3,), "gray": (1,)}
_FIRST_TO = {"yuyv422": "yuv422p", "uyvy422": "yuv422p", "nv24": "yuv444p", "nv42": "yuv444p"}
"""Formats whose direct conversion to yuv420p by swscale leaves the last row or column of odd sizes unwritten -> the
format that they are converted to first."""
_LAYOUTS = {"yuv420p": Layout.I420, "nv12": Layout.NV12, "rgb24": Layout.RGB, "gray": Layout.I420}


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to turn and mirror a picture: transpose first, then mirror."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of(cls, frame: VideoFrame) -> Orientation:
        """The orientation that the display matrix asks for, to the nearest quarter turn.

        x' = a x + c y and y' = b x + d y, in 16.16 fixed point (ISO/IEC 14496-12, section 6.2.2).
        """
        side: Any = frame.side_data.get("DISPLAYMATRIX")  # a buffer; PyAV's stubs name another type
        if side is None:
            return cls()
        a, b, _, c, d = (int(value) for value in np.frombuffer(side, np.int32, 5))
        if abs(b) > abs(a):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def view(self, plane: U8) -> U8:
        """The plane [H, W] or [H, W, C] as it is to be shown, without a copy."""
        if self.transpose:
            plane = plane.swapaxes(0, 1)
        return plane[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


class PictureReader:
    """Copies decoded frames into pictures that all have the size, layout, colour and orientation of the first one."""

    def __init__(self, first: VideoFrame) -> None:
        self._format = _target(first)
        self._size = (first.width, first.height)
        self._range = _range(first)
        self._reformatter = VideoReformatter()
        self.layout = _LAYOUTS[self._format]
        self.color = Color(_matrix(first), self._range == ColorRange.JPEG)
        self.orientation = Orientation.of(first)
        self.size = self._size[::-1] if self.orientation.transpose else self._size
        """width, height of the pictures"""
        self.notes = tuple(_notes(first, self._format, self.color.matrix))

    def fits(self, frame: VideoFrame) -> bool:
        """Whether the frame has the size of the first one; `read` scales a frame of another size."""
        return (frame.width, frame.height) == self._size

    def read(self, frame: VideoFrame) -> Picture:
        """The frame in memory of its own. Raises av.FFmpegError where FFmpeg cannot convert it."""
        name = frame.format.name
        if name in _FIRST_TO and (frame.width % 2 or frame.height % 2):
            frame = self._convert(frame, (frame.width, frame.height), _FIRST_TO[name])
        if name.replace("yuvj", "yuv") != self._format or not self.fits(frame):
            frame = self._convert(frame, self._size, self._format)
        views = [
            self.orientation.view(samples(plane, count))
            for plane, count in zip(frame.planes, _BYTES[self._format], strict=True)
        ]
        # The decoder may still predict later frames from its memory, so the overlay must draw on a copy.
        planes = in_one_block(views)
        if self._format == "gray":
            height, width = planes[0].shape
            planes += tuple(np.full(shape, 128, np.uint8) for shape in self.layout.shapes((width, height))[1:])
        return Picture(self.layout, planes, self.color)

    def _convert(self, frame: VideoFrame, size: tuple[int, int], format: str) -> VideoFrame:
        matrix = _SWS_MATRIX[self.color.matrix]
        return self._reformatter.reformat(
            frame,
            *size,
            format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=_range(frame),
            dst_color_range=self._range,
            interpolation=_SWS_EXACT,
        )


def samples(plane: VideoPlane, channels: int) -> U8:
    """A view of the plane's memory: [h, w], or [h, w, channels] for 2 or more. Valid as long as the frame lives."""
    rows: U8 = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, abs(plane.line_size))
    if plane.line_size < 0:
        rows = rows[::-1]
    rows = rows[:, : plane.width * channels]
    return rows if channels == 1 else rows.reshape(plane.height, plane.width, channels)


def borrowed(picture: Picture, format: str) -> VideoFrame | None:
    """A frame that uses the picture's memory; None if its planes do not lie as `in_one_block` and FFmpeg put them.

    Only for encoders that have copied the frame when `encode` returns. All of FFmpeg's do: libx264 and those on GPUs.
    """
    memory = picture.planes[0].base
    # PyAV computes the height as rows // 6 * 4, which is two too low if the height is not divisible by four.
    if picture.height % 4 or picture.width % 2 or picture.layout is Layout.RGB or not isinstance(memory, np.ndarray):
        return None
    # Not by __array_interface__: its strings fill Python's table of interned strings, which grows by megabytes.
    start = end = memory.ctypes.data
    for plane in picture.planes:
        if not plane.flags.c_contiguous or plane.ctypes.data != end:
            return None
        end += plane.nbytes
    if not memory.flags.c_contiguous or end - start != memory.nbytes:
        return None
    frame = VideoFrame.from_numpy_buffer(memory.reshape(-1, picture.width), format)
    return frame if (frame.width, frame.height) == (picture.width, picture.height) else None


def fill(frame: VideoFrame, picture: Picture) -> None:
    """Copies the picture into a frame of its layout; where the frame is larger, the last column and row repeat."""
    for plane, source in zip(frame.planes, picture.planes, strict=True):
        target = samples(plane, source.shape[2] if source.ndim == 3 else 1)
        height, width = source.shape[:2]
        target[:height, :width] = source
        target[:height, width:] = source[:, -1:]
        target[height:] = target[height - 1 : height]


def _target(frame: VideoFrame) -> str:
    kind = frame.format
    if kind.name == "nv12":
        return "nv12"
    if kind.is_rgb or kind.has_palette or kind.is_bayer:
        return "rgb24"
    # Do not use PyAV's is_chroma: it is false if chroma planes are as large as luma.
    return "yuv420p" if len(kind.components) > 2 else "gray"


def _range(frame: VideoFrame) -> ColorRange:
    if frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj"):
        return ColorRange.JPEG
    # As FFmpeg does: if a frame does not name its range, grey and RGB have the full range 0..255 and YUV has not.
    says_nothing = frame.color_range != ColorRange.MPEG
    return ColorRange.JPEG if says_nothing and _target(frame) in ("gray", "rgb24") else ColorRange.MPEG


def _matrix(frame: VideoFrame) -> str:
    return MATRICES.get(frame.colorspace, "bt709" if frame.width >= 1280 or frame.height > 576 else "bt601")


def _notes(frame: VideoFrame, target: str, matrix: str) -> list[str]:
    name = frame.format.name
    said = {
        "yuv420p": "is converted to 8-bit 4:2:0",
        "gray": "is shown as 8-bit 4:2:0 without colour",
        "rgb24": "is converted to 8-bit RGB",
    }
    notes = [] if name.replace("yuvj", "yuv") == target != "gray" else [f"{name} {said[target]}"]
    if target in ("yuv420p", "nv12"):
        if frame.colorspace in OTHER_MATRICES:
            notes.append(
                f"the colour matrix {OTHER_MATRICES[frame.colorspace]} is read as {matrix}: colours may be off"
            )
        if frame.color_trc in HDR:
            notes.append(f"high dynamic range ({HDR[frame.color_trc]}) is passed on as it is, without tone mapping")
    return notes


def rgb_to_i420(frame: VideoFrame, reformatter: VideoReformatter) -> VideoFrame:
    """Converts an rgb24 frame of even size to yuv420p, BT.709, limited range, which every player shows correctly."""
    return reformatter.reformat(
        frame,
        format="yuv420p",
        dst_colorspace=_SWS_MATRIX["bt709"],
        dst_color_range=ColorRange.MPEG,
        interpolation=_SWS_EXACT,
    )


def time_of(coded: Packet[Any] | VideoFrame) -> float | None:
    """Seconds by the stream's own clock; None if it has no time."""
    return float(coded.pts * coded.time_base) if coded.pts is not None and coded.time_base else None


def reason(error: Exception) -> str:
    """FFmpeg's message for an error, without its number and the path."""
    if isinstance(error, av.FFmpegError | OSError) and error.strerror:
        return str(error.strerror)
    return one_line(error)

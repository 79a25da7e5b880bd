"""Converts pictures to the layout, colour and size of an output, for streams that change theirs."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ...engine.picture import U8, Color, Layout, Picture
from ...engine.types import Frame, Shown
from .info import UNSPECIFIED, VideoInfo

_CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}
"""Colour matrix -> its number in ITU-T H.273, table 4."""


def fitted(shown: Shown, info: VideoInfo) -> Shown:
    """The frame at the size in `info`, for outputs that cannot change theirs; the frame itself if it has that size."""
    frame, size = shown.frame, (info.width, info.height)
    if size == (frame.picture.width, frame.picture.height):
        return shown
    picture = fit(frame.picture, size, info.layout, info.color)
    return replace(shown, frame=replace(frame, picture=picture, pixel_aspect=info.pixel_aspect))


def followed(info: VideoInfo, frame: Frame) -> VideoInfo:
    """The description of a video that goes on with frames like this one."""
    # If no matrix is named, players guess it by the size. The size changes here and the colours do not, so name it.
    named = info.matrix != UNSPECIFIED or info.layout is Layout.RGB
    return replace(
        info,
        width=frame.picture.width,
        height=frame.picture.height,
        pixel_aspect=frame.pixel_aspect,
        matrix=info.matrix if named else _CODES[info.color.matrix],
    )


def fit(picture: Picture, size: tuple[int, int], layout: Layout, color: Color) -> Picture:
    """The picture at `size` = (width, height), in that layout and colour; the picture itself if nothing changes.

    YUV planes are resized directly; only another colour matrix or range, or RGB, needs a conversion through RGB.
    """
    same_size = (picture.width, picture.height) == size
    if same_size and picture.layout is layout and (picture.color == color or layout is Layout.RGB):
        return picture
    if layout is Layout.RGB:
        return Picture(layout, (picture.rgb(size),), color)
    if picture.layout is Layout.RGB or picture.color != color:
        return from_rgb(picture.rgb(size), layout, color)
    luma, *chroma = picture.planes
    if picture.layout is Layout.NV12:
        chroma = [chroma[0][..., 0], chroma[0][..., 1]]
    half = _chroma_size(size)
    return _join(_resized(luma, size), [_resized(plane, half) for plane in chroma], layout, color)


def from_rgb(rgb: U8, layout: Layout, color: Color) -> Picture:
    """RGB [H, W, 3] as a picture; chroma is averaged over 2x2 pixels."""
    if layout is Layout.RGB:
        return Picture(layout, (np.ascontiguousarray(rgb),), color)
    matrix, offset = color.rgb_to_yuv()
    yuv = np.asarray(cv2.transform(rgb, np.hstack([matrix, offset[:, None]])), np.uint8)
    height, width = rgb.shape[:2]
    luma, *chroma = cv2.split(yuv)
    half = _chroma_size((width, height))
    return _join(
        np.asarray(luma, np.uint8), [_resized(np.asarray(plane, np.uint8), half) for plane in chroma], layout, color
    )


def _chroma_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the planes U and V, of the picture's."""
    height, width = Layout.I420.shapes(size)[1]
    return width, height


def _join(luma: U8, chroma: list[U8], layout: Layout, color: Color) -> Picture:
    planes = (luma, *chroma) if layout is Layout.I420 else (luma, np.stack(chroma, axis=-1))
    return Picture(layout, tuple(np.ascontiguousarray(plane) for plane in planes), color)


def _resized(plane: U8, size: tuple[int, int]) -> U8:
    if plane.shape[::-1] == size:
        return plane
    shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
    resized = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)

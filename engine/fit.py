"""Pictures made alike: one in the size, the layout and the colour that are asked for."""

from __future__ import annotations

import cv2
import numpy as np

from .picture import U8, Color, Image, Layout, Picture, on_host


def fit(image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Picture:
    """A picture at `size` = (width, height), in that layout and colour; the picture itself if nothing changes.

    image: in the host's memory. YUV planes are resized directly; only another colour matrix or range,
    or RGB, needs a conversion through RGB.
    """
    picture = on_host(image)
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

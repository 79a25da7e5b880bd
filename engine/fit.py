"""Pictures made alike: one in the size, the layout and the colour that are asked for.

Each plane that is made is a weighted sum of samples (resample.py) of the picture's planes, and a colour, in one step:
by the compiled kernels/sample.h, and on a GPU by kernels/fit.cu, which gives the same bytes. Without the compiled
module by OpenCV, which rounds after each of its steps and differs by a few levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .picture import F32, U8, Color, Image, Layout, Picture, on_host
from .resize import has_compiled, resampled


def fit(image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Picture:
    """A picture at `size` = (width, height), in that layout and colour; the picture itself if nothing changes.

    image: in the host's memory.
    """
    picture = on_host(image)
    if is_fit(picture, size, layout, color):
        return picture
    if not has_compiled():
        return _by_opencv(picture, size, layout, color)
    luma, *chroma = [_made(picture, group) for group in groups_of(picture.layout, picture.color, size, layout, color)]
    if layout is Layout.RGB:
        return Picture(layout, (_woven([*luma]),), color)
    return _join(luma[0], [*chroma[0]], layout, color)


def is_fit(image: Image, size: tuple[int, int], layout: Layout, color: Color) -> bool:
    """Whether an image is as `fit` would make it. RGB has one colour only."""
    same = (image.width, image.height) == size and image.layout is layout
    return same and (image.color == color or layout is Layout.RGB)


@dataclass(frozen=True, eq=False)
class Group:
    """Planes of one size that are made of a picture: Y, or U and V, or RGB."""

    size: tuple[int, int]
    """width, height"""
    matrix: F32
    """[n, 4]: their n channels, of the picture's three channels, (Y, U, V) or (R, G, B), and 1"""

    @property
    def used(self) -> tuple[bool, bool, bool]:
        """Which of the picture's channels count."""
        first, second, third = (self.matrix[:, :3] != 0).any(axis=0).tolist()
        return first, second, third


def groups_of(source: Layout, seen: Color, size: tuple[int, int], layout: Layout, color: Color) -> tuple[Group, ...]:
    """What is made of a picture of layout `source` and colour `seen`, for one of `size` in `layout` and `color`."""
    whole = np.eye(4)
    if source is not Layout.RGB and (layout is Layout.RGB or seen != color):
        whole[:3] = seen.yuv_to_rgb()
    if layout is not Layout.RGB and (source is Layout.RGB or seen != color):
        matrix, offset = color.rgb_to_yuv()
        whole[:3] = np.hstack([matrix, offset[:, None]]) @ whole
    made = whole[:3].round(12).astype(np.float32)  # what rounding has left is nothing
    if layout is Layout.RGB:
        return (Group(size, made),)
    return Group(size, made[:1]), Group(_chroma_size(size), made[1:])


def _made(picture: Picture, group: Group) -> U8:
    """[n, h, w], from the planes that count alone."""
    planes, columns, channel = [], list[int](), 0
    for plane in picture.planes:
        own = range(channel, channel + (plane.shape[2] if plane.ndim == 3 else 1))
        channel = own.stop
        if any(group.used[index] for index in own):
            planes.append(plane)
            columns += own
    matrix = np.zeros_like(group.matrix)
    matrix[:, : len(columns)], matrix[:, 3] = group.matrix[:, columns], group.matrix[:, 3]
    return resampled(planes, group.size, (0, 0, *group.size), matrix)


def _by_opencv(picture: Picture, size: tuple[int, int], layout: Layout, color: Color) -> Picture:
    """YUV planes are resized directly; only another colour matrix or range, or RGB, needs a conversion through RGB."""
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
    planes = (luma, *chroma) if layout is Layout.I420 else (luma, _woven(chroma))
    return Picture(layout, tuple(np.ascontiguousarray(plane) for plane in planes), color)


def _woven(channels: list[U8]) -> U8:
    """[h, w, n] of n planes [h, w]."""
    return np.asarray(cv2.merge(channels), np.uint8).reshape(*channels[0].shape, len(channels))


def _resized(plane: U8, size: tuple[int, int]) -> U8:
    if plane.shape[::-1] == size:
        return plane
    shrinks = size[0] <= plane.shape[1] and size[1] <= plane.shape[0]
    resized = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)

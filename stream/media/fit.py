"""Converts pictures to the layout, colour and size of an output, for streams that change theirs."""

from __future__ import annotations

from dataclasses import replace

from ...engine.picture import Layout
from ...engine.place import Fit
from ...engine.types import Frame, Shown
from .info import UNSPECIFIED, VideoInfo

_CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}
"""Colour matrix -> its number in ITU-T H.273, table 4."""


def fitted(shown: Shown, info: VideoInfo, fit: Fit) -> Shown:
    """The frame at the size in `info`, for outputs that cannot change theirs; the frame itself if it has that size."""
    frame, size = shown.frame, (info.width, info.height)
    if size == (frame.image.width, frame.image.height):
        return shown
    image = fit(frame.image, size, info.layout, info.color)
    return replace(shown, frame=replace(frame, image=image, pixel_aspect=info.pixel_aspect))


def followed(info: VideoInfo, frame: Frame) -> VideoInfo:
    """The description of a video that goes on with frames like this one."""
    # If no matrix is named, players guess it by the size. The size changes here and the colours do not, so name it.
    named = info.matrix != UNSPECIFIED or info.layout is Layout.RGB
    return replace(
        info,
        width=frame.image.width,
        height=frame.image.height,
        pixel_aspect=frame.pixel_aspect,
        matrix=info.matrix if named else _CODES[info.color.matrix],
    )

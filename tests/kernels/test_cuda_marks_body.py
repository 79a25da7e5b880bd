"""The kernel that draws the caption and the outline, run on the CPU: its bytes against the host's drawing."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.cuda.jobs import MOST_JOBS, Format, Surface
from saliency_tubes.engine.cuda.marks import MARKS, MOST_LINES, THREADS, marks_of, packed
from saliency_tubes.engine.draw.caption import Caption, caption_patches, draw_caption
from saliency_tubes.engine.draw.outline import draw_outline, outline_lines
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.picture import LUMA_WEIGHTS, Color, Picture
from saliency_tubes.engine.types import Crop
from surfaces import HostFrame, host_frame

LOOSE = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CAPTIONS = [
    None,
    Caption("playing guitar 0.93", "0.0", "12.3"),
    Caption("弹吉他 vs عزف الجيتار 0.46", "least", "most"),
    Caption("evidence 3.1 s old"),
    Caption("W" * 60, "0.0", "1.0"),
]
CROPS = [None, Crop(), Crop(0.2, 0, 0.8, 1), Crop(0.11, 0.07, 0.93, 0.61), Crop(-0.3, 0, 1.3, 1), Crop(1.2, 0, 1.4, 1)]


def run(kernels, surface: Surface, style: Style, caption, crop, aspect: float, backwards: bool) -> None:
    """The kernel on the frame, as its painter calls it."""
    size = (surface.height, surface.width)
    patches = None
    if caption is not None:
        made = caption_patches(caption, style, surface.layout, surface.color, size, aspect)
        patches = packed(made, surface.format)
    lines = () if crop is None else outline_lines(surface.layout, surface.color, size, crop)
    assert max([sum(line.plane == plane for line in lines) for plane in range(3)]) <= MOST_LINES
    record, blocks = marks_of(surface, patches, lines)
    for plane, place in zip(record["planes"], surface.places, strict=False):
        plane["data"] = place.pointer
        if patches is not None:
            plane["cover"] += np.uint64(patches.data.ctypes.data)
    if blocks:
        frames = np.zeros(MOST_JOBS, MARKS)
        frames[0] = record
        arguments = (ctypes.c_void_p * 1)(frames.ctypes.data)
        assert not kernels.run_kernel(b"marks", blocks, 1, 1, THREADS, 1, 1, arguments, int(backwards))


def host_drawing(frame: HostFrame, style: Style, caption, crop, aspect: float) -> list[np.ndarray]:
    """What the host draws on a copy of the frame: [rows, columns, channels] for each plane, as its bytes lie."""
    surface = frame.surface
    planes = [plane.copy() for plane in frame.planes]
    if surface.format in (Format.BGR, Format.BGRA, Format.RGBA):
        alpha = planes[0][..., 3:]
        order = slice(2, None, -1) if surface.format is not Format.RGBA else slice(0, 3)
        picture = Picture(surface.layout, (np.ascontiguousarray(planes[0][..., order]),))
        mark(picture, style, caption, crop, aspect)
        return [np.concatenate([picture.planes[0][..., order], alpha], axis=2)]
    flat = [plane[..., 0] if plane.shape[2] == 1 else plane for plane in planes]
    mark(Picture(surface.layout, tuple(flat), surface.color), style, caption, crop, aspect)
    return planes


def mark(picture: Picture, style: Style, caption, crop, aspect: float) -> None:
    if crop is not None:
        draw_outline(picture, crop)
    if caption is not None:
        draw_caption(picture, caption, style, aspect)


@LOOSE
@given(
    format=st.sampled_from([format for format in Format if format is not Format.P010]),
    height=st.integers(1, 130),
    width=st.integers(1, 300),
    style=st.sampled_from([Style(), Style(alpha=1.0, colormap="jet"), *PRESETS.values()]),
    color=st.builds(Color, st.sampled_from(sorted(LUMA_WEIGHTS)), st.booleans()),
    caption=st.sampled_from(CAPTIONS),
    crop=st.sampled_from(CROPS),
    aspect=st.sampled_from([1.0, 64 / 45, 0.7]),
    pad=st.sampled_from([0, 5, 64]),
    backwards=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_bytes_are_the_hosts(kernels, format, height, width, style, color, caption, crop, aspect, pad, backwards, seed):
    frame = host_frame(format, height, width, seed, pad, color=color)
    saved = [memory.copy() for memory in frame.memory]
    expected = host_drawing(frame, style, caption, crop, aspect)
    run(kernels, frame.surface, style, caption, crop, aspect, backwards)
    assert all(map(np.array_equal, frame.planes, expected))
    found = [memory.copy() for memory in frame.memory]
    frame.restore(saved)
    for plane, drawn in zip(frame.planes, expected, strict=True):
        plane[...] = drawn
    assert all(map(np.array_equal, frame.memory, found)), "beside the planes"


@pytest.mark.parametrize("caption", CAPTIONS[1:3])
@pytest.mark.parametrize("crop", [None, Crop(0, 0, 0.7, 0.9)])
def test_ten_bits_are_the_same_picture(kernels, caption, crop):
    """Samples that are four times those of eight bits become four times what those become, but for rounding."""
    eight, ten = host_frame(Format.NV12, 121, 203, 5), host_frame(Format.P010, 121, 203, 5)
    for plane, other in zip(eight.planes, ten.planes, strict=True):
        other[...] = plane.astype(np.uint16) << 8
    for frame in (eight, ten):
        run(kernels, frame.surface, Style(), caption, crop, 1.0, False)
    for plane, other in zip(eight.planes, ten.planes, strict=True):
        assert np.all(other % 64 == 0)
        off = (other >> 6).astype(int) - 4 * plane.astype(int)
        assert np.all((off >= -2) & (off <= 2))


def test_the_record_is_the_struct(kernels):
    assert kernels.size_of(b"Marks") == MARKS.itemsize

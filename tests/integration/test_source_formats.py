"""Every pixel format, range, matrix and orientation comes out with the right layout and the right colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from saliency_tubes.engine.picture import Layout
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.media.av_planes import PictureReader, samples
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.sources.open import open_source
from videos import gradient, make_video, patch

ORANGE = (200, 60, 30)
FORMATS = [
    ("ffv1", "yuv420p", "mkv", Layout.I420, False),
    ("mpeg4", "yuv420p", "avi", Layout.I420, False),
    ("libvpx-vp9", "yuv420p", "webm", Layout.I420, False),
    ("rawvideo", "nv12", "nut", Layout.NV12, False),
    ("rawvideo", "rgb24", "nut", Layout.RGB, False),
    ("rawvideo", "bgr24", "nut", Layout.RGB, True),
    ("rawvideo", "rgba", "nut", Layout.RGB, True),
    ("ffv1", "bgr0", "mkv", Layout.RGB, True),
    ("ffv1", "yuv420p10le", "mkv", Layout.I420, True),
    ("ffv1", "yuv422p", "mkv", Layout.I420, True),
    ("ffv1", "yuv422p10le", "mkv", Layout.I420, True),
    ("ffv1", "yuv444p", "mkv", Layout.I420, True),
    ("ffv1", "yuv411p", "mkv", Layout.I420, True),
    ("mjpeg", "yuvj420p", "avi", Layout.I420, False),
    ("mjpeg", "yuvj422p", "avi", Layout.I420, True),
    ("mjpeg", "yuvj444p", "avi", Layout.I420, True),
]


def read(path: Path) -> tuple[VideoInfo, list[Frame]]:
    source = open_source(str(path))
    frames = list(source)
    source.close()
    assert source.errors == 0
    return source.info, frames


def assert_color(rgb: Any, color: tuple[int, int, int], tolerance: int = 3) -> None:
    np.testing.assert_allclose(rgb[4:-4, 4:-4].reshape(-1, 3).mean(axis=0), color, atol=tolerance)


@pytest.mark.parametrize("size", [(64, 48), (853, 481), (65, 33)])
@pytest.mark.parametrize(("codec", "pix_fmt", "suffix", "layout", "converted"), FORMATS)
def test_pixel_formats(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str, layout: Layout, converted: bool, size: tuple[int, int]
) -> None:
    path = make_video(
        tmp_path / f"clip.{suffix}", size=size, frames=2, codec=codec, pix_fmt=pix_fmt, draw=patch(*ORANGE)
    )
    info, frames = read(path)
    assert (info.width, info.height, info.layout, len(frames)) == (*size, layout, 2)
    assert bool(info.notes) == converted
    if converted:
        assert info.notes[0].startswith(pix_fmt)
    assert_color(frames[1].rgb, ORANGE)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12", "rgb24", "gray"])
def test_a_single_pixel(tmp_path: Path, pix_fmt: str) -> None:
    info, frames = read(make_video(tmp_path / "clip.nut", size=(1, 1), frames=1, codec="rawvideo", pix_fmt=pix_fmt))
    assert (info.width, info.height, frames[0].rgb.shape) == (1, 1, (1, 1, 3))


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
def test_grey_has_no_colour(tmp_path: Path, pix_fmt: str) -> None:
    info, frames = read(
        make_video(tmp_path / "clip.mkv", size=(65, 33), codec="ffv1", pix_fmt=pix_fmt, draw=patch(90, 90, 90))
    )
    assert info.layout is Layout.I420
    assert "without colour" in info.notes[0]
    assert_color(frames[0].rgb, (90, 90, 90), 1)


def test_lossless_rgb_from_planar_gbr(tmp_path: Path) -> None:
    path = make_video(
        tmp_path / "clip.mkv", frames=2, codec="libx264rgb", pix_fmt="rgb24", options={"qp": "0"}, size=(65, 33)
    )
    info, frames = read(path)
    assert info.layout is Layout.RGB
    assert info.notes == ("gbrp is converted to 8-bit RGB",)
    np.testing.assert_array_equal(frames[1].rgb, gradient(1, (65, 33)))


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "nv12"])
def test_planes_are_the_decoders_bit_for_bit(tmp_path: Path, pix_fmt: str) -> None:
    path = make_video(tmp_path / "clip.nut", size=(35, 23), frames=2, codec="rawvideo", pix_fmt=pix_fmt)
    _, frames = read(path)
    with av.open(str(path)) as container:
        for frame, decoded in zip(frames, container.decode(video=0), strict=True):
            channels = [plane.shape[2] if plane.ndim == 3 else 1 for plane in frame.picture.planes]
            for plane, raw, count in zip(frame.picture.planes, decoded.planes, channels, strict=True):
                np.testing.assert_array_equal(plane, samples(raw, count))


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p10le"])
@pytest.mark.parametrize("color", [ORANGE, (20, 180, 220), (250, 250, 250)])
def test_tagged_colours(tmp_path: Path, matrix: int, full_range: bool, pix_fmt: str, color: Any) -> None:
    path = make_video(
        tmp_path / "clip.mkv",
        frames=1,
        codec="ffv1",
        pix_fmt=pix_fmt,
        matrix=matrix,
        full_range=full_range,
        draw=patch(*color),
    )
    info, frames = read(path)
    assert (info.color.matrix, info.color.full_range) == ("bt709" if matrix == 1 else "bt601", full_range)
    assert info.matrix == matrix
    assert_color(frames[0].rgb, color)


@pytest.mark.parametrize(("size", "matrix"), [((64, 48), "bt601"), ((1280, 32), "bt709"), ((32, 578), "bt709")])
def test_untagged_colours_are_guessed_by_size(tmp_path: Path, size: tuple[int, int], matrix: str) -> None:
    path = make_video(
        tmp_path / "clip.mkv",
        size=size,
        frames=1,
        codec="ffv1",
        coded_as=1 if matrix == "bt709" else 5,
        draw=patch(*ORANGE),
    )
    info, frames = read(path)
    assert (info.color.matrix, info.matrix) == (matrix, 2)
    assert_color(frames[0].rgb, ORANGE)


@pytest.mark.parametrize("turn", [0, 90, 180, 270, "mirror"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_pictures_come_out_upright(tmp_path: Path, turn: int | str, pix_fmt: str) -> None:
    options = {"qp": "0"}
    size, aspect = (48, 32), Fraction(4, 3)
    path = make_video(
        tmp_path / "clip.mp4", size=size, frames=2, pix_fmt=pix_fmt, turn=turn, pixel_aspect=aspect, options=options
    )
    straight = make_video(tmp_path / "straight.mp4", size=size, frames=2, pix_fmt=pix_fmt, options=options)
    info, frames = read(path)
    for frame, other in zip(frames, read(straight)[1], strict=True):
        for plane, unturned in zip(frame.picture.planes, other.picture.planes, strict=True):
            turned = unturned[:, ::-1] if turn == "mirror" else np.rot90(unturned, -int(turn) // 90)
            np.testing.assert_array_equal(plane, turned)
    assert (info.width, info.height) == (frames[0].picture.width, frames[0].picture.height)
    assert info.pixel_aspect == (1 / aspect if turn in (90, 270) else aspect)


def test_odd_sizes_turn_too(tmp_path: Path) -> None:
    info, frames = read(make_video(tmp_path / "clip.mp4", size=(65, 33), codec="libvpx-vp9", frames=1, turn=90))
    assert (info.width, info.height) == (33, 65)
    assert frames[0].picture.planes[1].shape == (33, 17)


@pytest.mark.parametrize(("transfer", "said"), [(16, "PQ"), (18, "HLG"), (1, None)])
def test_high_dynamic_range_is_said(tmp_path: Path, transfer: int, said: str | None) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.color_trc = transfer
        output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    info, _ = read(path)
    assert info.transfer == transfer
    assert [said in note for note in info.notes] == ([True] if said else [])


@pytest.mark.parametrize("size", [(64, 48), (64, 49), (65, 48), (65, 49), (66, 51), (67, 50), (71, 55)])
@pytest.mark.parametrize(
    "pix_fmt",
    ["yuyv422", "uyvy422", "nv24", "nv42", "nv21", "nv16", "yuv422p", "yuv444p", "yuv440p", "p010le", "yuv420p"],
)
def test_every_row_and_column_is_converted(pix_fmt: str, size: tuple[int, int]) -> None:
    """Of an odd size the last ones are easily forgotten: they then hold whatever was in memory."""
    width, height = size
    ramps = [np.add.outer(np.arange(height + 9), np.arange(width + 9)) + start for start in (40, 0, 0)]
    planes = [ramps[0], 90 + ramps[1][::2, ::2] // 2, 180 - ramps[2][::2, ::2] // 2]
    larger = av.VideoFrame(width + 8 + width % 2, height + 8 + height % 2, "yuv420p")
    for plane, values in zip(larger.planes, planes, strict=True):
        samples(plane, 1)[:] = values[: plane.height, : plane.width]
    larger = larger.reformat(format=pix_fmt)
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, source in zip(frame.planes, larger.planes, strict=True):
        target, rows = (np.frombuffer(memoryview(one), np.uint8).reshape(one.height, -1) for one in (plane, source))
        columns = min(target.shape[1], rows.shape[1])
        target[:, :columns] = rows[: target.shape[0], :columns]
    seen = PictureReader(frame).read(frame)
    assert (seen.width, seen.height) == size
    for plane, values in zip(seen.planes, planes, strict=True):
        off = np.abs(plane - values[: plane.shape[0], : plane.shape[1]])
        assert max(off.mean(axis=0).max(), off.mean(axis=1).max()) < 4

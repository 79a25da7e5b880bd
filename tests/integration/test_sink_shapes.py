"""Pictures of every width and height modulo 8 come out of every output that encodes as they went in, plane by plane."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest
from listeners import LISTENERS, decode_cut_off, needs_gst
from pictures import packed, shapes
from rtspclients import FAST
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.engine.fit import from_rgb
from saliency_tubes.engine.picture import U8, Color, Layout, Picture
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media import av_encoder
from saliency_tubes.stream.media.av_planes import samples
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.gst_pipeline import GstSink
from saliency_tubes.stream.sinks.gst_rtsp import GstRtspSink
from saliency_tubes.stream.sinks.open import open_sink
from videos import make_info
from waiting import wait_for

Size = tuple[int, int]
Planes = list[U8]

SIZES = list(product(range(64, 72), range(48, 56)))
"""width, height: every pair of remainders modulo 8"""
FEW = [(64 + (3 * i) % 8, 48 + i) for i in range(8)]
"""every remainder once, for outputs that take their time to start"""
OFF = 1.0
"""levels that a plane may be off on average, and a third of what one row or column may be"""
FINE = SinkOptions(crf=6)
STREAMED = SinkOptions(crf=6, bitrate=8_000_000)


def info_of(layout: Layout, size: Size) -> VideoInfo:
    color, rate = Color("bt709"), Fraction(25)
    return make_info(
        width=size[0], height=size[1], layout=layout, color=color, matrix=1, rate=rate, time_base=Fraction(1, 90_000)
    )


def shown_of(layout: Layout, size: Size, index: int, as_decoded: bool = True) -> Shown:
    picture = shapes(layout, size[1], size[0])
    picture = packed(picture) if as_decoded else picture
    return Shown(Frame(index, 3600 * index, Fraction(1, 90_000), picture), ())


def wanted(picture: Picture) -> Planes:
    """Y, U and V of the picture as they ought to be decoded, each as large as in the picture."""
    if picture.layout is Layout.RGB:
        even = [(0, picture.height % 2), (0, picture.width % 2), (0, 0)]
        picture = from_rgb(np.pad(picture.planes[0], even, "edge"), Layout.I420, Color("bt709"))
    luma, *chroma = picture.planes
    if picture.layout is Layout.NV12:
        chroma = [chroma[0][..., 0], chroma[0][..., 1]]
    return [luma, *chroma]


def assert_same(decoded: av.VideoFrame, layout: Layout, size: Size) -> None:
    """The decoded frame is the picture, whose last row and column are repeated where it is larger by one."""
    assert (decoded.width, decoded.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2), (layout, size)
    assert decoded.format.name == "yuv420p"
    for i, (plane, target) in enumerate(zip(decoded.planes, wanted(shapes(layout, size[1], size[0])), strict=True)):
        seen = samples(plane, 1)
        edges = [(0, seen.shape[0] - target.shape[0]), (0, seen.shape[1] - target.shape[1])]
        off = np.abs(seen.astype(int) - np.pad(target, edges, "edge"))
        worst = (off.mean(), off.mean(axis=0).max() / 3, off.mean(axis=1).max() / 3)
        assert max(worst) <= OFF, f"plane {i} of {layout.value} {size}: {worst}"


def decode(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("size", FEW)
def test_a_shift_by_one_sample_would_show(layout: Layout, size: Size) -> None:
    """What the other tests allow is less than the smallest of the mistakes they look for."""
    for plane, (axis, step) in product(wanted(shapes(layout, size[1], size[0])), product((0, 1), (-1, 1))):
        moved = np.roll(plane, step, axis).astype(int)
        off = np.abs(moved - plane)[1:-1, 1:-1].mean()
        assert off > 1.5 * OFF


@pytest.mark.parametrize("as_decoded", [True, False], ids=["in one piece", "planes apart"])
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_files(tmp_path: Path, suffix: str, layout: Layout, as_decoded: bool) -> None:
    for size in SIZES:
        path = tmp_path / f"{size[0]}x{size[1]}.{suffix}"
        sink = open_sink(str(path), FINE)
        write(sink, layout, size, 2, as_decoded)
        frames = decode(path)
        assert len(frames) == 2
        for frame in frames:
            assert_same(frame, layout, size)


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_segments(tmp_path: Path, suffix: str, layout: Layout) -> None:
    for size in FEW:
        folder = tmp_path / f"{size[0]}x{size[1]}"
        sink = open_sink(str(folder / f"%H%M%S.{suffix}"), SinkOptions(crf=6, segment_seconds=0.05))
        write(sink, layout, size, 6)
        segments = sorted(folder.iterdir())
        assert len(segments) > 1
        for frame in (frame for path in segments for frame in decode(path)):
            assert_same(frame, layout, size)


@pytest.mark.parametrize("layout", list(Layout))
def test_pipelines(tmp_path: Path, layout: Layout) -> None:
    needs_gst("GstApp", "GstVideo")
    for size in FEW:
        path = tmp_path / f"{size[0]}x{size[1]}.mkv"
        convert = "videoconvert ! video/x-raw,format=I420,colorimetry=bt709 ! " if layout is Layout.RGB else ""
        encoder = "x264enc pass=quant quantizer=8 tune=zerolatency threads=1 ! h264parse"
        sink = GstSink(Address.parse(f"gst://{convert}{encoder} ! matroskamux ! filesink location={path}"), STREAMED)
        write(sink, layout, size, 2)
        frames = decode(path)
        assert len(frames) == 2
        for frame in frames:
            assert_same(frame, layout, size)


@pytest.mark.parametrize("layout", list(Layout))
def test_what_is_served(layout: Layout) -> None:
    needs_gst("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
    for size in FEW:
        sink = GstRtspSink(Address.parse("rtsp://@:0/live"), STREAMED)
        sink.open(info_of(layout, size))
        try:
            with (
                feeding(sink, layout, size),
                av.open(f"rtsp://127.0.0.1:{sink.port}/live", options=FAST, timeout=(10, 10)) as container,
            ):
                for frame, _ in zip(container.decode(video=0), range(4), strict=False):
                    assert_same(frame, layout, size)
        finally:
            sink.close()


@pytest.mark.slow  # seconds for each size
@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "srt"])
def test_what_is_pushed(tmp_path: Path, scheme: str, layout: Layout) -> None:
    for size in FEW:
        path = tmp_path / f"{size[0]}x{size[1]}"
        with LISTENERS[scheme](path) as address:
            sink = open_sink(address, STREAMED)
            sink.open(info_of(layout, size))
            try:
                with feeding(sink, layout, size):
                    wait_for(lambda path=path: path.is_file() and path.stat().st_size > 40_000, 20)
            finally:
                sink.close()
        frames = decode_cut_off(path)
        assert len(frames) > 3
        for frame in frames:
            assert_same(frame, layout, size)


def write(sink: Sink, layout: Layout, size: Size, count: int, as_decoded: bool = True) -> None:
    sink.open(info_of(layout, size))
    for index in range(count):
        sink.write(shown_of(layout, size, index, as_decoded))
    sink.close()
    assert (sink.frames_written, sink.dropped) == (count, 0)


@contextmanager
def feeding(sink: Sink, layout: Layout, size: Size) -> Iterator[None]:
    """Writes frames at their pace, from a thread, while the block runs."""
    stop = threading.Event()

    def feed() -> None:
        index = 0
        while not stop.wait(0.02):
            sink.write(shown_of(layout, size, index))
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("segments", [False, True])
def test_a_frame_that_came_out_smaller_is_refused(
    tmp_path: Path, suffix: str, segments: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes a frame of another size: it is one line, and what was written before it plays."""
    size = (64, 50)
    sink = open_sink(str(tmp_path / ("%H%M%S." if segments else "out.")) + suffix, FINE)
    sink.open(info_of(Layout.I420, size))
    for index in range(5):
        sink.write(shown_of(Layout.I420, size, index))
    cut = av.VideoFrame(64, 48, "yuv420p")
    monkeypatch.setattr(av_encoder, "borrowed", lambda picture, format: cut)
    if segments:
        sink.write(shown_of(Layout.I420, size, 5))
        assert sink.dropped == 1
        assert "frame 5 would be coded as 64x48, the video is 64x50; tried again" in sink.notes[-1]
    else:
        with pytest.raises(SinkError, match=r"^[^\n]*: frame 5 would be coded as 64x48, the video is 64x50$"):
            sink.write(shown_of(Layout.I420, size, 5))
    sink.close()
    (path,) = tmp_path.iterdir()
    frames = decode(path)
    assert len(frames) == 5
    for frame in frames:
        assert_same(frame, Layout.I420, size)

"""PyNvVideoCodec behind PyAV's demuxer: its pictures on the GPU that is not there, its names against the real wheel."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nvcwheel
import pytest
from gpu_double import Double, build
from gpupictures import downloaded
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.engine.picture import Layout
from saliency_tubes.engine.place import Needs
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sources.av_feed import AvFeed
from saliency_tubes.stream.sources.av_file import AvSource
from saliency_tubes.stream.sources.feed import Feed, FeedEnded, FeedFrame
from videos import make_video

Start = Callable[..., Double]


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", nvcwheel)
    monkeypatch.setattr(nvcwheel.Decoder, "latencies", [])
    return nvcwheel


def frames_of(path: Path, gpu: bool) -> list[FeedFrame]:
    address = Address.parse(str(path))
    place = CudaPlace(Gpu.of(0)) if gpu else None
    feed = AvFeed(address, address, None, {}, (5.0, 2.0), place=place)
    try:
        return list(read(feed))
    finally:
        feed.close()
        if place is not None:
            place.close()


def read(feed: Feed) -> Iterator[FeedFrame]:
    try:
        while True:
            frame = feed.read(1.0)
            if frame is not None:
                yield frame
    except FeedEnded:
        return


@pytest.mark.parametrize("b_frames", [0, 2])
def test_pictures_are_decoded_on_the_gpu(gpu_double: Start, wheel: Any, tmp_path: Path, b_frames: int) -> None:
    """With the bytes and the times that FFmpeg gives, and in memory of their own: the decoder has two surfaces."""
    gpu_double(seed=5)
    options = {"bf": str(b_frames), "g": "6", "x264-params": "b-adapt=0"}
    path = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=12, options=options)
    here, there = frames_of(path, gpu=False), frames_of(path, gpu=True)
    assert [(frame.pts, frame.time_base, frame.rate) for frame in there] == [
        (frame.pts, frame.time_base, frame.rate) for frame in here
    ]
    assert there[0].decoder == "decoded by NVDEC (PyNvVideoCodec) on cuda:0, pictures stay there"
    assert {frame.image.where for frame in there} == {"cuda:0"}
    assert wheel.Decoder.latencies[0].name == ("NATIVE" if b_frames else "LOW")
    for frame, other in zip(there, here, strict=True):
        planes = downloaded(frame.image).planes
        u, v = (planes[1][..., index] for index in (0, 1))
        for plane, same in zip((planes[0], u, v), downloaded(other.image).planes, strict=True):
            assert (plane == same).all()


def test_pictures_are_copied_once_into_the_memory_that_the_stream_has_reserved(
    gpu_double: Start, wheel: Any, tmp_path: Path
) -> None:
    """Also where they are kept for long; and the first one comes before the memory is reserved."""
    double = gpu_double(seed=2)
    place = CudaPlace(Gpu.of(0))
    source = AvSource(make_video(tmp_path / "clip.mp4", size=(64, 48), frames=12), place=place)
    assert "decoded by NVDEC" in source.info.decoder
    spec = InputSpec((16, 16), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), short_side=16)
    place.reserve(Needs((64, 48), Layout.NV12, 5, 4, spec))
    allocated = double.counts["allocations"]
    held: deque[Any] = deque(maxlen=4)
    for frame in source:
        image = place.bring(frame.image, keep=True)
        assert image is frame.image
        assert place.leases <= 6
        held.append(image)
        del frame, image
    assert (place.copies, place.uploads, double.copies["DtoD"]) == (0, 0, 12 * 2)
    surfaces = nvcwheel.SURFACES
    assert double.counts["allocations"] - allocated <= surfaces
    held.clear()
    source.close()
    assert place.leases == 0
    place.close()


@pytest.mark.parametrize(
    ("pix_fmt", "turn", "why"),
    [
        ("yuv422p", 0, "its pixels are yuv422p"),
        ("yuv420p", 90, "it is turned"),
        ("yuv420p10le", 0, "this GPU has no decoder for h264"),
    ],
)
def test_what_the_gpu_cannot_decode_is_decoded_by_ffmpeg_and_said(
    gpu_double: Start, wheel: Any, tmp_path: Path, pix_fmt: str, turn: int, why: str
) -> None:
    gpu_double(seed=1)
    path = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=6, pix_fmt=pix_fmt, turn=turn)
    frames = frames_of(path, gpu=True)
    assert len(frames) == 6
    assert {frame.image.where for frame in frames} == {"host"}
    assert frames[0].decoder == f"decoded by FFmpeg's h264; each picture is copied to cuda:0, because {why}"


def test_without_the_wheel_the_way_to_get_it_is_said(
    gpu_double: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu_double()
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", None)
    (frame, *_) = frames_of(make_video(tmp_path / "clip.mp4", frames=3), gpu=True)
    assert frame.decoder.endswith("because PyNvVideoCodec is not installed (pip install PyNvVideoCodec)")


NAMES = """
import PyNvVideoCodec as nvc
print(nvc.CreateDecoder.__doc__, nvc.PyNvDecoder.Decode.__doc__, nvc.PyNvDecoder.WaitOnCUStream.__doc__)
print(nvc.GetDecoderCaps.__doc__, nvc.DecodedFrame.cuda.__doc__, nvc.DecodedFrame.getPTS.__doc__)
print(sorted(nvc.cudaVideoCodec.__members__), sorted(nvc.DisplayDecodeLatencyType.__members__))
print([name for name in dir(nvc.PacketData) if not name.startswith("_")])
print([name for name in dir(nvc.CAIMemoryView) if "cuda" in name])
"""


@pytest.mark.skipif(importlib.util.find_spec("PyNvVideoCodec") is None, reason="needs PyNvVideoCodec")
def test_the_real_wheel_has_every_name_and_argument(gpu_double: Start) -> None:
    environment = gpu_double().environment
    environment["LD_LIBRARY_PATH"] += f":{build() / 'encode'}"
    done = subprocess.run([sys.executable, "-c", NAMES], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    said = done.stdout
    for argument in ("gpuid", "codec", "cudacontext", "cudastream", "usedevicememory", "latency", "bitdepth"):
        assert re.search(rf"\b{argument}: ", said), argument
    for name in (*nvcwheel.cudaVideoCodec.__members__, *nvcwheel.DisplayDecodeLatencyType.__members__):
        assert f"'{name}'" in said, name
    for name in ("bsl", "bsl_data", "pts", "__cuda_array_interface__"):
        assert f"'{name}'" in said, name
    assert "List[_PyNvVideoCodec.DecodedFrame]" in said
    assert "getPTS(self: _PyNvVideoCodec.DecodedFrame) -> int" in said
    assert "WaitOnCUStream(self: _PyNvVideoCodec.PyNvDecoder, arg0: int) -> None" in said

"""Pictures on a GPU, encoded where they lie by FFmpeg's own NVENC encoder, on the GPU that is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import nvencsinks
import pytest
from gpu_double import Double
from nvcodec import HERE, run
from saliency_tubes.engine.picture import Layout

Start = Callable[..., Double]
PROGRAM = HERE / "nvencsinks.py"
COUNT = 7


def decoded(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Times, and the pictures as NV12."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float(frame.time) for frame in frames], [frame.to_ndarray(format="nv12") for frame in frames]


def coded_keys(path: Path) -> list[bool]:
    """Whether each coded picture is an IDR picture, by its NAL unit type."""
    with av.open(str(path)) as container:
        return [bytes(packet)[4] & 31 == 5 for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ("name", "how", "seed"), [("film.mp4", "file", 0), ("film.mkv", "live", 1), ("film-%Y.mp4", "live", 5)]
)
def test_recordings_take_pictures_from_the_gpu(
    gpu_double: Start, tmp_path: Path, name: str, how: str, seed: int
) -> None:
    """Exactly: bytes and times come back, and nothing is copied to the host but by the encoder that is not there."""
    double = gpu_double(seed=seed)
    said = run(double, PROGRAM, tmp_path / name, str(COUNT), how, encoder=True).splitlines()
    assert said[0].startswith("H.264 by h264_nvenc on cuda:0")
    assert said[1:] == [f"['cuda:0', 'host'] {COUNT} 0 0", "0"]
    (path,) = tmp_path.glob("film*.m*")
    times, pictures = decoded(path)
    first = nvencsinks.pts_of(0) if "%" in name else 0
    assert times == [(nvencsinks.pts_of(index) - first) / 1000 for index in range(COUNT)]
    for picture, given in zip(pictures, nvencsinks.pictures(COUNT), strict=True):
        luma, chroma = given.planes
        assert (picture == np.concatenate([luma, chroma.reshape(24, 64)])).all()
    assert coded_keys(path) == [True] + [False] * (COUNT - 1)
    (report,) = [child for child in double.children() if child["copies"]]
    tries = 2  # pictures that are encoded to see whether it can be
    assert report["copies"]["DtoD"] == 2 * (COUNT - 1 + tries)
    assert report["copies"]["DtoH"] == 2 * (COUNT + tries)


def test_pictures_of_three_planes_are_made_nv12_there(gpu_double: Start, tmp_path: Path) -> None:
    """As FFmpeg's decoders leave them, which then are copied to the GPU."""
    said = run(gpu_double(seed=3), PROGRAM, tmp_path / "film.mp4", "5", "file", "64x48", "i420", encoder=True)
    assert said.splitlines() == ["H.264 by h264_nvenc on cuda:0", "['cuda:0', 'host'] 5 0 0", "0"]
    with av.open(str(tmp_path / "film.mp4")) as container:
        pictures = [frame.to_ndarray(format="yuv420p").ravel() for frame in container.decode(video=0)]
    for picture, given in zip(pictures, nvencsinks.pictures(5, layout=Layout.I420), strict=True):
        assert (picture == np.concatenate([plane.ravel() for plane in given.planes])).all()


@pytest.mark.parametrize(
    ("size", "layout", "why"),
    [
        ((65, 48), Layout.NV12, "an odd size is padded there"),
        ((64, 48), Layout.RGB, "NVENC is given pictures of YUV there"),
    ],
)
def test_what_nvenc_cannot_take_there_is_copied_and_said(
    gpu_double: Start, tmp_path: Path, size: tuple[int, int], layout: Layout, why: str
) -> None:
    words = "x".join(map(str, size))
    said = run(gpu_double(seed=2), PROGRAM, tmp_path / "film.mp4", "5", "file", words, layout.value, encoder=True)
    lines = said.splitlines()
    assert lines[0] == f"H.264 by h264_nvenc pictures are copied to the host, because {why}"
    assert lines[1].startswith("['host'] 5 0 4")
    assert len(decoded(tmp_path / "film.mp4")[0]) == 5


OTHER = """
import sys
from dataclasses import replace
import nvencsinks
from saliency_tubes.stream.media import av_nvenc
from saliency_tubes.stream.media.av_encoder import H264, near

if sys.argv[1] == "old":
    import av.video.frame
    del av.video.frame.CudaContext
encoder = "libx264" if sys.argv[1] == "x264" else "h264_nvenc"
settings, way = near(H264(encoder=encoder), nvencsinks.BASE)
print(settings.where, way)
from saliency_tubes.engine.cuda.driver import Gpu
Gpu.of(0).clear()
"""


@pytest.mark.parametrize(
    ("what", "encoder", "why"),
    [
        ("x264", True, "libx264 takes no others"),
        ("old", True, f"PyAV {av.__version__} takes no pictures from a GPU (pip install -U av)"),
        ("none", False, "h264_nvenc does not take them there: "),
    ],
)
def test_the_way_is_chosen_before_the_first_picture(gpu_double: Start, what: str, encoder: bool, why: str) -> None:
    double = gpu_double(seed=1)
    said = run(double, "-c", OTHER, what, encoder=encoder)
    assert said.startswith(f"host pictures are copied to the host, because {why}"), said


FAILS = """
import sys
from pathlib import Path
import nvencsinks
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.errors import ModelError, SinkError
from saliency_tubes.engine.types import Frame, Shown
from saliency_tubes.stream.media.av_encoder import H264
from saliency_tubes.stream.media.av_nvenc import NvencFrames
from saliency_tubes.stream.sinks.av_file import AvSink

place = CudaPlace(Gpu.of(0))
sink = AvSink(Path(sys.argv[1]), "mp4", H264(encoder="h264_nvenc", low_latency=True))
sink.open(nvencsinks.BASE)
good = NvencFrames.make
for index, picture in enumerate(nvencsinks.pictures(6)):
    def make(frames, image):
        if index == 4:
            raise ModelError("the GPU says: it was lost")
        return good(frames, image)
    NvencFrames.make = make
    image = place.bring(picture)
    try:
        sink.write(Shown(Frame(index, nvencsinks.pts_of(index), nvencsinks.TIME_BASE, image)))
    except SinkError as error:
        print(str(error).partition(": ")[2])
        break
sink.close()
sink.close()
del image
print(place.leases)
place.close()
place.gpu.clear()
"""


def test_a_recording_whose_gpu_fails_can_be_played_up_to_there(gpu_double: Start, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    said = run(gpu_double(seed=4), "-c", FAILS, path, encoder=True)
    assert said.splitlines() == ["the GPU says: it was lost", "0"]
    assert len(decoded(path)[0]) == 4


def test_a_recording_without_a_frame_is_closed(gpu_double: Start, tmp_path: Path) -> None:
    said = run(gpu_double(seed=4), PROGRAM, tmp_path / "film.mp4", "0", "file", encoder=True)
    assert said.splitlines()[1:] == ["['cuda:0', 'host'] 0 0 0", "0"]

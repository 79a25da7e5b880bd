"""Frames in GStreamer's CUDA memory: its real elements, on the GPU that is not there, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from gpu_double import Double
from nvcodec import HERE, run
from saliency_tubes.stream.media.cuda_planes import gpu_of
from saliency_tubes.stream.media.gst_cuda import InCuda
from saliency_tubes.stream.sources.gst_feed import available
from servers import python_with_gi
from videos import make_video

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")

Start = Callable[..., Double]


SOURCES, FAULTS = HERE / "contract" / "test_contract_sources.py", HERE / "integration" / "test_live_faults.py"

needs_server = pytest.mark.skipif(python_with_gi() is None, reason="no Python has GstRtspServer (make system-deps)")


def passed(double: Double, folder: Path, *words: object) -> int:
    """Runs tests in a process that has the GPU; how many there were."""
    words = ("-q", "-p", "no:cacheprovider", "--basetemp", folder / "suite", *words)
    said = run(double, "-m", "pytest", *map(str, words), timeout=3000)
    assert "skipped" not in said, said
    return int(said.rsplit(" passed", 1)[0].split()[-1])


@needs_server
def test_the_suites_of_sources_hold_on_a_gpu(gpu_double: Start, tmp_path: Path) -> None:
    """Of the suites in tests/contract and test_live_faults.py, make test has what is special about a GPU's memory."""
    special = "numbered or asked_for or outlive or another_size or test_faults"
    words = ("-m", "not slow", "-k", f"cuda and ({special})")
    assert passed(gpu_double(seed=7), tmp_path, SOURCES, FAULTS, *words) == 17


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 7])
def test_sources_keep_all_their_promises(gpu_double: Start, tmp_path: Path, seed: int) -> None:
    assert passed(gpu_double(seed=seed), tmp_path, SOURCES, "-k", "cuda") >= 70


@needs_server
@pytest.mark.slow
def test_live_streams_are_back_after_any_fault(gpu_double: Start, tmp_path: Path) -> None:
    assert passed(gpu_double(seed=7), tmp_path, FAULTS, "-k", "cuda and not hundred") == 10


ROUND = """
import sys
from dataclasses import replace
from gpupictures import OnGpu
from saliency_tubes.stream.media.gst_load import load
from saliency_tubes.stream.media.gst_memory import InHost
from saliency_tubes.stream.media.gst_ways import frames_for
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source

gst, options = load("GstApp", "GstVideo", "GstCuda"), SourceOptions(backend="gst")
there, here = open_source(sys.argv[1], options, place=OnGpu()), open_source(sys.argv[1], options)
frames, way = frames_for(gst, replace(there.info, where="cuda:0"), "nvh264enc")
pipeline = gst.Gst.parse_launch("appsrc name=in format=time ! cudadownload ! video/x-raw ! appsink name=out sync=false")
frames.attach(pipeline)
pipeline.get_by_name("in").set_property("caps", frames.caps)
pipeline.set_state(gst.Gst.State.PLAYING)
same = []
for there_frame, here_frame in zip(there, here):
    # One came before the output was open, and lies on the host.
    buffer = frames.make(there_frame.image if there_frame.index else here_frame.image)
    buffer.pts = 0
    pipeline.get_by_name("in").push_buffer(buffer)
    sample = pipeline.get_by_name("out").try_pull_sample(10 * gst.Gst.SECOND)
    picture = InHost().reader(sample.get_caps()).read(sample.get_buffer())
    same.append(all((a == b).all() for a, b in zip(picture.planes, here_frame.picture.planes)))
pipeline.set_state(gst.Gst.State.NULL)
frames.close()
there.close()
here.close()
print(way, same)
"""


def test_pictures_reach_an_encoder_without_leaving_the_gpu(gpu_double: Start, tmp_path: Path) -> None:
    double = gpu_double(seed=3)
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=6)
    assert run(double, "-c", ROUND, video) == f"on cuda:0 {[True] * 6}"
    (report,) = [child for child in double.children() if child["copies"]]
    # Six frames of three planes each: over to the encoder's memory but for the first, down by the test's cudadownload.
    assert (report["copies"]["DtoD"], report["copies"]["DtoH"]) == (15, 18)


READ_ON = """
import sys
from gpupictures import OnGpu
from saliency_tubes.stream.media.cuda_planes import gpu_of
from saliency_tubes.engine.cuda.pictures import bytes_of, copy, laid_out
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source

gpu = gpu_of("cuda:0")
source = open_source(sys.argv[1], SourceOptions(backend="gst"), place=OnGpu())
with gpu.entered():
    stream, scratch = gpu.stream(), gpu.allocate(1 << 20)
for frame in source:
    image = frame.image
    with gpu.entered():
        stream.wait(image.ready)
        copy(gpu, image.surface, laid_out(image.format, (64, 48), image.color, scratch.pointer), stream.handle)
        if sys.argv[2] == "told":
            image.used(stream.record())
    del frame, image
with gpu.entered():
    stream.synchronize()
source.close()
scratch.close()
stream.close()
print("done")
"""


@pytest.mark.parametrize("told", ["told", "not told"])
def test_memory_goes_back_to_gstreamer_when_the_gpu_has_read_it(gpu_double: Start, tmp_path: Path, told: str) -> None:
    """Where nobody says that the GPU still reads a picture, GStreamer writes the next one over it."""
    double = gpu_double(seed=0)
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=30)
    if told == "told":
        assert run(double, "-c", READ_ON, video, told) == "done"
        return
    with pytest.raises(AssertionError):
        run(double, "-c", READ_ON, video, told)
    (report,) = [child for child in double.children() if child["copies"]]
    assert any("writes byte" in line and "which reads it" in line for line in report["violations"])
    double.report_of_children.unlink()  # it was wrong on purpose


def test_a_decoder_of_another_gpu_is_named(gpu_double: Start) -> None:
    class Element:
        find_property, get_property = (lambda self, name: name == "cuda-device-id"), (lambda self, name: 0)

        def get_factory(self) -> SimpleNamespace:
            return SimpleNamespace(get_name=lambda: "nvh264dec")

    gpu_double(gpus=2)
    first, second = (InCuda(gpu_of(f"cuda:{index}")) for index in (0, 1))
    assert first.wrong([Element()]) == ""
    assert second.wrong([Element()]) == (
        "nvh264dec works on cuda:0, not on cuda:1: set CUDA_VISIBLE_DEVICES=1 and use cuda:0"
    )


DECODED = """
import sys
from gpupictures import OnGpu, downloaded
from saliency_tubes.stream.sources.open import open_source

source = open_source(sys.argv[1], place=OnGpu())
pictures = [downloaded(frame.image) for frame in source]
print(source.info.decoder, [int(picture.planes[0][0, 0]) for picture in pictures], *source.remarks)
source.close()
"""


def test_what_nvidias_decoder_decodes_stays_where_it_is(gpu_double: Start, tmp_path: Path) -> None:
    """Without a word of the user's: GStreamer is taken because it has a decoder of NVIDIA's. Nothing goes up."""
    double = gpu_double(seed=5)
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=6)
    levels = [16 + 8 * number for number in range(6)]  # what the decoder that is not there gives (nvdec.cpp)
    said = run(double, "-c", DECODED, video, decoder=True)
    assert said == f"decoded by nvh264sldec on cuda:0, pictures stay there {levels}"
    (report,) = [child for child in double.children() if child["copies"]]
    assert report["copies"].get("HtoD", 0) == 0

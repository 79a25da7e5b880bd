"""A Jetson's memory:NVMM, by stand-ins of its elements (tests/jetson.py) in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jetson
import pytest
from gpu_double import Double
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.jobs import Format, Surface
from saliency_tubes.engine.cuda.pictures import DevicePicture, laid_out
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.picture import Color
from saliency_tubes.stream.media import gst_lend
from saliency_tubes.stream.media.gst_load import load
from saliency_tubes.stream.sources.gst_feed import available
from videos import make_video

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")

Start = Callable[..., Double]
HERE = Path(__file__).resolve().parents[1]
READ = """
import sys
import jetson
from saliency_tubes.stream.sources.open import SourceOptions, open_source
jetson.install()
source = open_source(sys.argv[1], SourceOptions(backend="gst"))
frames = [frame for frame, _ in zip(source, range(5))]
print([(frame.picture.width, int(frame.picture.planes[0][0, 0])) for frame in frames], *source.remarks)
source.close()
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    """What a program prints in which the stand-ins can be imported."""
    environment = {**os.environ, "PYTHONPATH": str(HERE), **environment}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "input", ["{}", "gst://filesrc location={} ! qtdemux ! h264parse ! identity sync=true ! nvv4l2decoder"]
)
def test_frames_that_decoders_leave_in_nvmm_are_copied_from_there(input: str, tmp_path: Path) -> None:
    """Where a Jetson's decoder is the one that decodebin takes, and where a pipeline ends in it."""
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=5)
    assert run(READ, input.format(video)) == str([(64, number) for number in range(5)])


CAMERA = """
import sys
import jetson
from saliency_tubes.stream.sources.open import SourceOptions, open_source
gst = jetson.install()
camera = gst.ElementFactory.find("nvarguscamerasrc").get_element_type().pytype
camera.lost_after = 6
source = open_source("csi://1", SourceOptions(size=(64, 48), first_timeout=5.0))
frames = [frame for frame, _ in zip(source, range(9))]
print([int(frame.picture.planes[0][0, 0]) for frame in frames], [frame.index for frame in frames if frame.gap])
print(source.name, source.info.width, source.info.height, source.reconnects, set(camera.sensors))
source.close()
"""


def test_a_jetsons_camera_that_fails_is_opened_again() -> None:
    assert run(CAMERA).splitlines() == ["[0, 1, 2, 3, 4, 5, 0, 1, 2] [6]", "csi://1 64 48 1 {1}"]


ON_GPU = """
import ctypes, sys
import jetson
from gpupictures import OnGpu, downloaded
from saliency_tubes.stream.media.cuda_planes import gpu_of
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source

gpu = gpu_of("cuda:0")
library = ctypes.CDLL(jetson.LIBRARY)
library.make_surface.restype = ctypes.c_void_p
library.make_surface.argtypes = (*[ctypes.c_uint32] * 3, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p)
with gpu.entered():
    memories = [gpu.allocate(256 * 48 * 3 // 2) for _ in range(3)]
made = [library.make_surface(64, 48, 256, int(sys.argv[2]), 7 + i, memory.pointer) for i, memory in enumerate(memories)]
gst = jetson.install([ctypes.string_at(surface, library.surface_size()) for surface in made])

def egl_frame(resource, index, level):
    frame = gpu.cuda.CUeglFrame()
    frame.frameType, frame.planeCount = gpu.cuda.CUeglFrameType.CU_EGL_FRAME_TYPE_PITCH, 2
    frame.frame.pPitch = [int(resource), int(resource) + 256 * 48, 0]
    return 0, frame

registered = []
gpu.cuda.cuGraphicsEGLRegisterImage = lambda image, flags: (registered.append(int(image)), (0, int(image)))[1]
gpu.cuda.cuGraphicsResourceGetMappedEglFrame = egl_frame
gpu.cuda.cuGraphicsUnregisterResource = lambda resource: (registered.remove(resource), (0,))[1]

source = open_source(sys.argv[1], SourceOptions(backend="gst"), place=OnGpu())
frames = [frame for frame, _ in zip(source, range(7))]
places = [frame.image.surface.places for frame in frames]
print([[memory.pointer for memory in memories].index(place[0].pointer) for place in places])
print({(place[0].pitch, place[1].pointer - place[0].pointer) for place in places}, frames[0].image.where)
print(source.info.decoder, "|", len(registered), library.mapped_images())
del frames
source.close()
print(len(registered), library.mapped_images())
for memory in memories:
    memory.close()
"""


def test_pictures_in_nvmm_are_drawn_on_where_they_lie(gpu_double: Start, tmp_path: Path) -> None:
    """Each of the surfaces that take turns is shown to the driver once, and forgotten at the end."""
    double = gpu_double(kind="integrated")
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=8)
    said = run(ON_GPU, str(video), "0", **jetson_environment(double, tmp_path)).splitlines()
    assert said == [
        "[0, 1, 2, 0, 1, 2, 0]",
        "{(256, 12288)} cuda:0",
        "decoded by nvv4l2decoder and nvvidconv into memory:NVMM, pictures stay on cuda:0 | 3 3",
        "0 0",
    ]


def test_pictures_in_blocks_are_refused(gpu_double: Start, tmp_path: Path) -> None:
    double = gpu_double(kind="integrated")
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=4)
    with pytest.raises(AssertionError, match="nvvidconv gives pictures in blocks"):
        run(ON_GPU, str(video), "1", **jetson_environment(double, tmp_path))
    double.report_of_children.unlink()  # the process ended with an error


def jetson_environment(double: Double, folder: Path) -> dict[str, str]:
    there = double.environment
    return there | {"LD_LIBRARY_PATH": f"{jetson.build(folder)}{os.pathsep}{there['LD_LIBRARY_PATH']}"}


def test_when_few_surfaces_are_left_pictures_are_copied(gpu_double: Start) -> None:
    """So that nvvidconv, which has a fixed number of them, never waits for those that are held for long."""
    gpu_double(kind="integrated")
    place, allocate = CudaPlace(Gpu.of(0)), load("GstApp").Gst.Buffer.new_allocate
    lender = gst_lend.BufferLender(place.gpu, few=4)

    def pictures(count: int) -> list[DevicePicture]:
        lent = [lender.lend(allocate(None, 8192, None), gst_lend.READ) for _ in range(count)]
        return [DevicePicture(place.gpu, surface_at(memory.pointer), lease=lease) for lease in lent]

    def surface_at(pointer: int) -> Surface:
        return laid_out(Format.NV12, (64, 48), Color(), pointer)

    with place.gpu.entered():
        memory = place.gpu.allocate(8192)
    lent = pictures(3)
    brought = [place.bring(picture) for picture in lent]
    assert [one is other for one, other in zip(brought, lent, strict=True)] == [True, True, False]
    assert (place.copies, place.leases) == (1, 1)
    with place.gpu.entered():
        place.gpu.cuda.cuCtxSynchronize()
    del lent, brought
    lender.collect(wait=True)
    lent = pictures(2)
    assert [place.bring(picture) for picture in lent] == lent
    assert place.copies == 1
    del lent
    lender.collect(wait=True)
    memory.close()
    place.close()

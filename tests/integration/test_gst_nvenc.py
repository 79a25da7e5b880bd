"""GStreamer's own nvh264enc on the GPU that is not there, which takes pictures where they lie; and what it says of
itself, against what is recorded of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gpu_double import Double
from nvcodec import HERE, run
from saliency_tubes.stream.sources.gst_feed import available

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")

Start = Callable[..., Double]

ENCODED = """
import sys
import threading
from dataclasses import replace
import av
import numpy as np
import nvencsinks
from saliency_tubes.engine.cuda.driver import Gpu
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.picture import Layout
from saliency_tubes.stream.media.gst_load import load
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.gst_encode import Encode
from saliency_tubes.stream.sinks.gst_rtsp_server import PARTS

layout, latency, bitrate = Layout(sys.argv[1]), sys.argv[2], int(sys.argv[3])
place, came, got = CudaPlace(Gpu.of(0)), threading.Semaphore(0), []

def give(buffer, key):
    got.append((round(buffer.pts / 1e9, 2), key, buffer.extract_dup(0, buffer.get_size())))
    came.release()

options = SinkOptions(encoder="nvh264enc", latency=latency, bitrate=bitrate)
encode = Encode(load(*PARTS), replace(nvencsinks.BASE, layout=layout), options, give)
given = nvencsinks.pictures(6, layout=layout)
for index, picture in enumerate(given):
    encode.push(encode.frames.make(place.bring(picture)), 1 + index / 25)
    assert came.acquire(timeout=20)
print(encode.description, place.host_copies)
encode.close()
decoder = av.CodecContext.create("h264", "r")
frames = [frame for _, _, data in got for frame in decoder.decode(av.Packet(data))] + decoder.decode(None)
for frame, picture in zip(frames, given, strict=True):
    same = frame.to_ndarray(format="nv12" if layout is Layout.NV12 else "yuv420p").ravel()
    assert (same == np.concatenate([plane.ravel() for plane in picture.planes])).all()
print([pts for pts, _, _ in got], [key for _, key, _ in got])
del encode
place.close()
place.gpu.clear()
"""


@pytest.mark.parametrize(
    ("layout", "latency", "bitrate"),
    [("nv12", "low", "2000000"), ("i420", "low", "2147483647"), ("nv12", "quality", "2000000")],
)
def test_pictures_are_encoded_where_they_lie(gpu_double: Start, layout: str, latency: str, bitrate: str) -> None:
    """Bytes and times come back, and each picture at once; also at the largest bit rate that can be asked for."""
    said = run(gpu_double(seed=6), "-c", ENCODED, layout, latency, bitrate, encoder=True).splitlines()
    assert said[0] == "H.264 by nvh264enc on cuda:0 0"
    assert said[1] == f"{[1.0, 1.04, 1.08, 1.12, 1.16, 1.2]} {[True] + [False] * 5}"


def test_what_is_recorded_of_the_elements_is_so(gpu_double: Start) -> None:
    recorded = json.loads((Path(HERE) / "unit" / "nvcodec.json").read_text())
    said = json.loads(run(gpu_double(), HERE / "nvinspect.py", encoder=True, decoder=True))
    if said["version"] != recorded["version"]:
        pytest.skip(f"GStreamer {said['version']} is here, {recorded['version']} is recorded")
    assert said == recorded

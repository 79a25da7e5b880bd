"""The promises of sources (test_contract_sources.py), of frames that GStreamer leaves in the memory of a GPU.

tests/integration/test_gst_cuda.py runs this in a process that has the GPU that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from gpupictures import OnGpu, downloaded
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.sources.open import open_source
from test_contract_sources import (
    ADDRESSES,
    address,
    clip,
    server,
    take,
    test_a_good_stream_has_no_remarks,
    test_a_second_iteration_goes_on,
    test_close_ends_the_stream_and_may_be_called_twice,
    test_frames_are_numbered_and_fit_the_info,
    test_stop_ends_the_stream_from_another_thread,
)

__all__ = [
    "address",
    "clip",
    "server",
    "test_a_good_stream_has_no_remarks",
    "test_a_second_iteration_goes_on",
    "test_close_ends_the_stream_and_may_be_called_twice",
    "test_frames_are_numbered_and_fit_the_info",
    "test_stop_ends_the_stream_from_another_thread",
]

FILES = {"gst": SourceOptions(), "loop": SourceOptions(loop=True)}
PIPELINE = "gst://videotestsrc is-live=true ! video/x-raw,width=96,height=64,framerate=30/1"
LIVE = ["rtsp-gst", "mjpeg-gst", "pipeline-gst"]


@pytest.fixture(autouse=True)
def pictures_can_be_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Frame, "picture", property(lambda frame: downloaded(frame.image)))


@pytest.fixture(params=[*FILES, *LIVE])
def source(request: pytest.FixtureRequest, clip: Path) -> Iterator[Source]:
    kind = request.param.removesuffix("-gst")
    if request.param in FILES:
        uri, options = str(clip), FILES[request.param]
    elif kind == "pipeline":
        uri, options = PIPELINE, SourceOptions()
    else:
        served = request.getfixturevalue("server").url() if kind == "rtsp" else ""
        uri = served or ADDRESSES[kind].format(request.getfixturevalue("address"))
        options = SourceOptions()
    opened = open_source(uri, SourceOptions(**{**vars(options), "backend": "gst"}), place=OnGpu())
    yield opened
    opened.close()


def test_frames_are_on_the_gpu_and_no_two_share_memory(source: Source) -> None:
    frames = take(source, 6)
    assert {frame.image.where for frame in frames} == {"cuda:0"}
    places = [frame.image.surface.places[0].pointer for frame in frames]  # type: ignore[attr-defined]
    assert all(one != other for one, other in pairwise(places))
    assert "uploaded to cuda:0 by cudaupload" in source.info.decoder


def test_the_cpu_sees_the_same(clip: Path) -> None:
    options = SourceOptions(backend="gst")
    here, there = open_source(str(clip), options), open_source(str(clip), options, place=OnGpu())
    frames = list(zip(here, there, strict=True))
    assert len(frames) == 12
    for frame, other in frames:
        assert (frame.pts, frame.picture.layout) == (other.pts, other.picture.layout)
        for plane, same in zip(frame.picture.planes, other.picture.planes, strict=True):
            assert (plane == same).all()
    here.close()
    there.close()


def test_a_connection_that_breaks_is_made_again_and_every_frame_is_given_back() -> None:
    """Frames of an earlier connection stay as they are for as long as somebody holds them."""
    source = open_source(f"{PIPELINE} ! identity error-after=4", SourceOptions(), place=OnGpu())
    frames = take(source, 8)
    assert [frame.gap for frame in frames].count(True) >= 1
    first = downloaded(frames[0].image)
    source.close()
    assert (downloaded(frames[0].image).planes[0] == first.planes[0]).all()


def test_another_size_comes_with_a_gap() -> None:
    kinds = [f"video/x-raw,format=I420,width={width},height=64,framerate=30/1" for width in (96, 128)]
    parts = " ".join(f"videotestsrc num-buffers=5 ! {kind} ! joined." for kind in kinds)
    source = open_source(f"gst://{parts} concat name=joined ! identity sync=true", SourceOptions(), place=OnGpu())
    frames = take(source, 9)
    assert {frame.image.width for frame in frames} == {96, 128}
    assert [frame.gap for frame in frames].count(True) == 1
    source.close()

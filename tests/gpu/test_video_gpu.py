"""Decoders and encoders of the GPU: frames that never leave it, with the bytes of the CPU's decoder.

H.264 is exact: every decoder gives the same samples. `nvdec` is promised for a card, `jetson` for a Jetson.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from promises import missing
from saliency_tubes.engine.cuda.driver import Gpu, why_not
from saliency_tubes.engine.cuda.place import CudaPlace
from saliency_tubes.engine.place import Place
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.app.demo import DEMO_CLIP
from saliency_tubes.stream.media.encoders import FAMILIES
from saliency_tubes.stream.media.gst_encoder import choose_encoder
from saliency_tubes.stream.media.gst_load import load
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.gst_encode import Encode
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from waiting import wait_for

FRAMES = 40
CLOSE = 30.0
"""dB that an encoded picture must be near its original"""


@pytest.fixture(scope="module")
def here(gpu: Any) -> Gpu:
    reason = why_not(gpu.index)
    return missing(reason, "nvdec", "jetson") if reason is not None else Gpu.of(gpu.index)


@pytest.fixture
def place(here: Gpu) -> Iterator[Place]:
    made = CudaPlace(here)
    yield made
    made.close()


def samples(place: Place, frame: Frame) -> tuple[np.ndarray[Any, Any], ...]:
    """Y, U and V, whatever the layout."""
    luma, *chroma = (np.array(plane) for plane in place.host(frame.image).planes)
    if len(chroma) == 1:
        chroma = [chroma[0][..., 0], chroma[0][..., 1]]
    return luma.reshape(luma.shape[:2]), *(plane.reshape(plane.shape[:2]) for plane in chroma)


@pytest.mark.parametrize(("kind", "backend"), [("nvdec", "gst"), ("nvc", "av"), ("jetson", "gst")])
def test_decoded_frames_stay_there_and_are_exact(
    kind: str, backend: str, place: Place, request: pytest.FixtureRequest
) -> None:
    """By GStreamer's decoders, and by PyNvVideoCodec behind PyAV's demuxer."""
    request.getfixturevalue(kind)
    on_gpu = open_source(str(DEMO_CLIP), SourceOptions(backend=backend), place=place)
    on_cpu = open_source(str(DEMO_CLIP))
    try:
        for number, (one, other) in enumerate(zip(on_gpu, on_cpu, strict=False)):
            assert one.image.where == place.name
            found, expected = samples(place, one), samples(place, other)
            assert all(map(np.array_equal, found, expected)), f"frame {number}"
            if number == FRAMES:
                break
    finally:
        on_gpu.close()
        on_cpu.close()
    assert place.uploads == 0


@pytest.mark.parametrize("kind", ["nvdec", "jetson"])
def test_encoded_frames_are_near_the_original(
    kind: str, place: Place, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """From decoder to encoder without a copy to the host, and read again by the CPU's decoder."""
    request.getfixturevalue(kind)
    chosen = choose_encoder("auto")
    if chosen.name not in FAMILIES["nvenc"]:
        pytest.skip(f"this GPU does not encode: {chosen.passed_over}")  # Orin Nano, data-centre cards
    film, coded = tmp_path / "out.h264", list[bytes]()
    source = open_source(str(DEMO_CLIP), SourceOptions(backend="gst"), place=place)

    def take(buffer: Any, key: bool) -> None:
        coded.append(buffer.extract_dup(0, buffer.get_size()))

    encode = Encode(load("GstApp", "GstVideo"), source.info, SinkOptions(bitrate=20_000_000), take)
    try:
        assert encode.frames.where == place.name, "pictures would be copied to the host"
        for number, frame in enumerate(islice(source, FRAMES)):
            encode.push(encode.frames.make(frame.image), number / 25)
            wait_for(lambda number=number: len(coded) >= number - 1, 10)  # its queue drops what it has no time for
        wait_for(lambda: len(coded) == FRAMES, 10)
    finally:
        encode.close()
        source.close()
    assert place.host_copies == 0
    film.write_bytes(b"".join(coded))
    again, original = open_source(str(film)), open_source(str(DEMO_CLIP))
    try:
        pairs = list(zip(again, original, strict=False))
        assert len(pairs) == FRAMES
        for one, other in pairs:
            error = np.mean((samples(place, one)[0].astype(float) - samples(place, other)[0]) ** 2)
            assert 10 * np.log10(255**2 / max(error, 1e-9)) >= CLOSE
    finally:
        again.close()
        original.close()


def test_a_jetsons_camera(jetson: frozenset[str], place: Place) -> None:
    """Where one is connected: csi://0 gives frames that stay on the GPU."""
    if "nvarguscamerasrc" not in jetson:
        missing("there is no nvarguscamerasrc", "jetson")
    if not list(Path("/dev").glob("video*")):
        pytest.skip("no camera is connected")
    source = open_source("csi://0", place=place)
    try:
        frames = [frame for frame, _ in zip(source, range(30), strict=False)]
    finally:
        source.close()
    assert {frame.image.where for frame in frames} == {place.name}

"""What is asked of GStreamer's plugin nvcodec, against what the plugin of GStreamer 1.22 says of its own elements.

nvcodec.json is what tests/nvinspect.py prints. The properties are the plugin's; the sizes and formats in the caps are
those of the decoder and the encoder that are not there (tests/gpu_double).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.stream.media import gst_cuda, gst_cuda_frames
from saliency_tubes.stream.media.gst_encoder import settings_of
from saliency_tubes.stream.media.gst_frames import FORMATS
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.media.gst_ways import DECODERS

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("nvcodec.json").read_text())["elements"]
MOST_BITS = (1 << 31) - 1
"""largest that --bitrate takes"""


def fits(told: dict[str, Any], value: Any) -> bool:
    if told["type"] == "GEnum":
        return value in told["values"]
    if told["type"] == "gboolean":
        return value in ("true", "false")
    least, most = told["range"]
    return isinstance(value, int) and least <= value <= most


@pytest.mark.parametrize("name", sorted(gst_cuda_frames.ENCODERS))
@pytest.mark.parametrize("low", [True, False], ids=["low", "quality"])
@pytest.mark.parametrize(("bits", "interval"), [(1, 1), (7_500_000, 30), (MOST_BITS, 1000 * 60)])
def test_every_property_that_is_set_is_there_and_takes_the_value(
    name: str, low: bool, bits: int, interval: int
) -> None:
    """A property that an installed version does not have is left out, so a wrong name would never be noticed."""
    known = RECORDED[name]["properties"]
    for key, value in settings_of(name, bits, interval, "superfast", low).items():
        assert key in known, key
        assert fits(known[key], value), (key, value, known[key])


def test_what_does_not_fit_is_found() -> None:
    known = RECORDED["nvh264enc"]["properties"]
    assert not fits(known["bitrate"], MOST_BITS // 1000)
    assert not fits(known["preset"], "p4")
    assert not fits(known["zerolatency"], "1")


def test_the_elements_that_are_looked_for_are_there() -> None:
    assert {name for name in DECODERS if not name.startswith("nvv4l2")} <= set(RECORDED)
    assert set(gst_cuda_frames.ENCODERS) <= set(RECORDED)
    assert "cuda-device-id" in RECORDED["cudaupload"]["properties"]


def cuda_caps(format: str) -> str:
    return f"video/x-raw(memory:CUDAMemory),format={format},width=1280,height=720,framerate=25/1"


CASES = [
    *((name, "src", f"video/x-h264,profile={profile}") for name in ("nvh264enc",) for profile in ("main",)),
    ("nvh264enc", "src", "video/x-h264,stream-format=byte-stream,alignment=au"),
    *(("nvh264enc", "sink", cuda_caps(FORMATS[layout])) for layout in gst_cuda_frames.CudaFrames.formats),
    *((name, "src", cuda_caps("NV12")) for name in RECORDED if name.endswith("dec")),
    *(("cudaupload", "src", cuda_caps(format)) for format in gst_cuda.FORMATS),
    *(("cudaupload", "sink", f"video/x-raw,format={format}") for format in ("I420", "NV12")),
]


@pytest.mark.parametrize(("element", "pad", "wanted"), CASES)
def test_caps_meet_those_of_the_elements(element: str, pad: str, wanted: str) -> None:
    try:
        caps = load().Gst.Caps
    except Missing as missing:
        pytest.skip(str(missing))
    offered = caps.from_string(RECORDED[element]["pads"][pad])
    assert offered.can_intersect(caps.from_string(wanted))
    assert not offered.can_intersect(caps.from_string(wanted.replace("video/", "audio/")))

"""H.264 through GStreamer: finds an encoder that works here, and sets each one to low latency."""

from __future__ import annotations

from functools import cache
from typing import Any

from .encoders import ABSENT, Chosen, choose, default_bitrate
from .gst_load import load

ENCODERS = ("nvv4l2h264enc", "nvh264enc", "v4l2h264enc", "vah264enc", "vaapih264enc", "x264enc")
"""In order of preference. A Jetson's own comes first: the others are available there as well, and slower."""

PROBE_SECONDS = 5
_MOST_KILOBITS = 2_048_000
"""Largest bit rate that nvh264enc takes, in kbit/s."""
_BEFORE = {"nvv4l2h264enc": "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! "}
_AFTER = {"v4l2h264enc": " ! video/x-h264,level=(string)4"}


@cache
def choose_encoder(wanted: str) -> Chosen:
    """The encoder to use, tried once. Raises UsageError, gst_load.Missing."""
    return choose(wanted, ENCODERS, probe)


def probe(name: str) -> str | None:
    """None if this encoder encodes a few frames here, else what failed."""
    gst = load("GstApp").Gst
    if gst.ElementFactory.find(name) is None:
        return ABSENT
    source = "videotestsrc num-buffers=8 ! video/x-raw,format=I420,width=640,height=368,framerate=25/1"
    try:
        pipeline = gst.parse_launch(f"{source} ! {encoder(name, 640, 368, 25.0)} ! appsink name=out sync=false")
    except Exception as error:  # GLib.Error, which can be named only after gi is imported
        return _first_line(error)
    try:
        pipeline.set_state(gst.State.PLAYING)
        sample = pipeline.get_by_name("out").try_pull_sample(PROBE_SECONDS * gst.SECOND)
        failed = pipeline.get_bus().pop_filtered(gst.MessageType.ERROR)
        if failed is not None:
            return _first_line(failed.parse_error()[0])
        return None if sample is not None else "it gives nothing"
    finally:
        pipeline.set_state(gst.State.NULL)


def encoder(
    name: str,
    width: int,
    height: int,
    rate: float,
    bitrate: int | None = None,
    preset: str | None = None,
    low_latency: bool = True,
    keyframe_seconds: float = 1.0,
    convert: str | None = None,
) -> str:
    """The part of a pipeline from raw video to H.264. The encoder's element is called "enc".

    bitrate: bits a second. convert: the elements before the encoder; None: those that give it what it takes. The caps
    behind the encoder ask for the profile constrained baseline at low latency, else for main.
    """
    bits = bitrate or default_bitrate(width, height, rate)
    wanted = settings_of(name, bits, max(1, round(keyframe_seconds * rate)), preset or "superfast", low_latency)
    element = load().Gst.ElementFactory.make(name)
    known = " ".join(f"{key}={value}" for key, value in wanted.items() if element.find_property(key))
    profile = "constrained-baseline" if low_latency and name == "x264enc" else "main"
    fixed = f",profile={profile}" if name in ("x264enc", "nvh264enc") else ""
    if convert is None:
        convert = _BEFORE.get(name, "videoconvert ! video/x-raw,format={I420,NV12} ! ")
    return f"{convert}{name} name=enc {known}{_AFTER.get(name, '')} ! video/x-h264{fixed} ! h264parse"


def settings_of(name: str, bits: int, interval: int, preset: str, low_latency: bool) -> dict[str, Any]:
    """The properties to set for an encoder. Those that its installed version does not have are left out."""
    kilobits = max(1, bits // 1000)
    if name == "x264enc":
        settings: dict[str, Any] = {"bitrate": kilobits, "speed-preset": preset, "key-int-max": interval, "threads": 2}
        return settings | ({"tune": "zerolatency", "bframes": 0} if low_latency else {"bframes": 2})
    if name == "nvh264enc":
        tuned = {"preset": "low-latency-hq", "zerolatency": "true"} if low_latency else {}
        return {"bitrate": min(kilobits, _MOST_KILOBITS), "gop-size": interval, "rc-mode": "cbr", "bframes": 0, **tuned}
    if name == "nvv4l2h264enc":
        return {"bitrate": bits, "iframeinterval": interval, "idrinterval": interval, "insert-sps-pps": "true"}
    if name == "v4l2h264enc":
        controls = f"controls,video_bitrate={bits},h264_i_frame_period={interval},repeat_sequence_header=1"
        return {"extra-controls": f'"{controls}"'}
    return {"bitrate": kilobits, "key-int-max": interval, "keyframe-period": interval, "b-frames": 0, "max-bframes": 0}


def _first_line(error: Any) -> str:
    text = str(getattr(error, "message", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__

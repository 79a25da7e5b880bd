"""Inputs as pipelines in the words of gst-launch. GStreamer itself is not needed for that."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ...engine.errors import UsageError
from ..net.address import Address
from .base import SourceOptions

JITTER = 200
"""Milliseconds to wait for a lost UDP packet; packets that arrive in order are not held back."""
BACKLOG = "queue max-size-buffers=0 max-size-bytes=0 max-size-time=0"
"""A queue without limit for packets that wait to be decoded. `LiveSource` connects again when they wait too long;
without this queue they would wait in rtspsrc."""


def describe(address: Address, options: SourceOptions) -> tuple[str, dict[str, Any]]:
    """The pipeline up to raw video, in whatever memory, and the properties of its element `src`. Pure.

    The password is only in the properties, so that an error can quote the pipeline."""
    scheme, rest = address.scheme, address.rest.reveal()
    if scheme in ("rtsp", "rtsps"):
        protocols = "tcp" if scheme == "rtsps" else options.transport  # TLS protects only this connection
        location = address.full.reveal()
        settings = {"location": location, "protocols": protocols, "latency": JITTER, "drop-on-latency": False}
        return f"rtspsrc name=src ! application/x-rtp,media=video ! {BACKLOG} ! decodebin", settings
    if scheme == "v4l2":
        return f"v4l2src name=src ! {_camera_caps(options)}decodebin", {"device": rest}
    if scheme == "csi":
        if not rest.isdigit():
            raise UsageError(f"{address}: csi:// takes the number of a sensor, as csi://0")
        width, height = options.size or (1280, 720)
        rate = Fraction(options.rate or 30)
        caps = f"video/x-raw(memory:NVMM),width={width},height={height},framerate={_ratio(rate)}"
        return f"nvarguscamerasrc name=src sensor-id={rest} ! {caps}", {}
    if scheme == "gst":
        if not rest.strip():
            raise UsageError("gst:// takes a pipeline, as gst://videotestsrc is-live=true")
        return rest.strip().rstrip("!"), {}
    if address.file is not None:
        return "filesrc name=src ! decodebin", {"location": str(address.file)}
    return "uridecodebin name=src", {"uri": address.full.reveal()}


def _camera_caps(options: SourceOptions) -> str:
    if not (options.size or options.rate or options.format):
        return ""
    kind = {"mjpeg": "image/jpeg", "h264": "video/x-h264"}.get(options.format or "", "video/x-raw")
    parts = [kind]
    if kind == "video/x-raw" and options.format:
        names = {"yuyv422": "YUY2", "uyvy422": "UYVY", "nv12": "NV12", "yuv420p": "I420", "rgb24": "RGB"}
        parts.append(f"format={names.get(options.format, options.format.upper())}")
    if options.size:
        parts += [f"width={options.size[0]}", f"height={options.size[1]}"]
    if options.rate:
        parts.append(f"framerate={_ratio(Fraction(options.rate))}")
    return ",".join(parts) + " ! "


def _ratio(rate: Fraction) -> str:
    return f"{rate.numerator}/{rate.denominator}"

"""Probes of what reads and writes video: PyAV, GStreamer, cameras. Pure."""

from __future__ import annotations

import re

from ...engine.runtimes.device import Device
from ..media.encoders import FAMILIES
from .finding import ABSENT, BROKEN, OK, SLOWER, Finding
from .gpu import has_no_nvenc
from .system import System

PLUGINS = {
    "rtspsrc": "gstreamer1.0-plugins-good",
    "rtph264depay": "gstreamer1.0-plugins-good",
    "decodebin": "gstreamer1.0-plugins-base",
    "appsink": "gstreamer1.0-plugins-base",
    "appsrc": "gstreamer1.0-plugins-base",
    "videoconvert": "gstreamer1.0-plugins-base",
    "h264parse": "gstreamer1.0-plugins-bad",
    "avdec_h264": "gstreamer1.0-libav",
    "x264enc": "gstreamer1.0-plugins-ugly",
    "rtph264pay": "gstreamer1.0-plugins-good",
    "v4l2src": "gstreamer1.0-plugins-good",
}
"""GStreamer's elements that runs need -> the package of Debian and Ubuntu that brings each."""
NVCODEC = ("cudaupload", "cudadownload", "nvh264dec", "nvh265dec", "nvh264enc")
"""Elements of GStreamer's plugin nvcodec: decoders and encoders of NVIDIA's cards, and copies to and from them."""
JETSON = ("nvv4l2decoder", "nvvidconv", "nvv4l2h264enc", "nvarguscamerasrc")
"""Elements of a Jetson: decoder, scaler, encoder, camera."""
ELEMENTS = (*PLUGINS, *NVCODEC, *JETSON)


def pyav(machine: System) -> Finding:
    version = machine.packages.get("av")
    if version is None:
        return Finding(BROKEN, "PyAV", "not installed: it reads and writes video files", "pip install av")
    chosen = machine.asked.encoders.get("PyAV", "")
    if isinstance(chosen, str):
        return Finding(BROKEN, "PyAV", f"{version}, {chosen or 'no encoder was tried'}", "pip install --upgrade av")
    return Finding(
        OK,
        "PyAV",
        f"{version}; reads {', '.join(machine.asked.decoders)}; writes H.264 by {chosen.name}{_notes(chosen.notes)}",
    )


def gstreamer(machine: System) -> Finding:
    asked = machine.asked
    if not asked.gstreamer:
        text, _, install = asked.gstreamer_missing.partition("apt-get install ")
        text = f"not used: {text.rstrip(': ')} (RTSP outputs, SRT and CSI cameras need it)"
        return Finding(ABSENT, "GStreamer", text, f"{machine.apt} {install}" if install else "")
    chosen = asked.encoders.get("GStreamer", "")
    lacking = [name for name in PLUGINS if name not in asked.elements]
    if lacking:
        names = " ".join(dict.fromkeys(PLUGINS[name] for name in lacking))
        text = f"{asked.gstreamer}, without {', '.join(lacking)}"
        return Finding(ABSENT, "GStreamer", text, f"{machine.apt} {names}")
    if isinstance(chosen, str):
        return Finding(ABSENT, "GStreamer", f"{asked.gstreamer}; {chosen}", "")
    return Finding(OK, "GStreamer", f"{asked.gstreamer}; H.264 by {chosen.name}{_notes(chosen.notes)}")


def rtsp_server(machine: System) -> Finding | None:
    if not machine.asked.gstreamer:
        return None
    missing = machine.asked.rtsp_server_missing
    if missing:
        text, _, _ = missing.partition(": apt-get install")
        return Finding(ABSENT, "RTSP server", text, f"{machine.apt} gir1.2-gst-rtsp-server-1.0")
    return Finding(OK, "RTSP server", "rtsp://@:8554/path is served")


def on_gpu(machine: System) -> Finding | None:
    """GStreamer's elements that keep frames on the GPU."""
    if not machine.asked.gstreamer or not isinstance(machine.asked.device, Device):
        return None
    every = JETSON if machine.is_jetson else NVCODEC
    wanted = [name for name in every if not (name in FAMILIES["nvenc"] and has_no_nvenc(machine))]
    lacking = [name for name in wanted if name not in machine.asked.elements]
    title = "Jetson video" if machine.is_jetson else "nvcodec"
    if not lacking:
        return Finding(OK, title, f"GStreamer has {', '.join(wanted)}")
    text = f"GStreamer lacks {', '.join(lacking)}"
    command = f"{machine.apt} nvidia-l4t-gstreamer" if machine.is_jetson else (
        f"{machine.apt} gstreamer1.0-plugins-bad && rm -rf ~/.cache/gstreamer-1.0")  # fmt: skip
    return Finding(SLOWER, title, text, command)


def cameras(machine: System) -> Finding | None:
    """Cameras at this machine, and whether this user may use them."""
    cameras = [path for path in machine.has("/dev/video") if re.fullmatch(r"/dev/video\d+", path)]
    denied = [path for path in cameras if path in machine.denied]
    if denied:
        group = machine.denied[denied[0]]
        text = f"{', '.join(denied)}: this user is not in the group {group}"
        if machine.in_container:
            return Finding(ABSENT, "cameras", text, f"docker run --device {denied[0]} --group-add {group} ...")
        return Finding(ABSENT, "cameras", text, f"sudo usermod -aG {group} $USER    # then log in again")
    if cameras:
        return Finding(OK, "cameras", ", ".join(cameras))
    hint = "docker run --device /dev/video0 ...    # if the host has one" if machine.in_container else ""
    return Finding(ABSENT, "cameras", "none at this machine (/dev/video*); network cameras need none", hint)


def _notes(notes: tuple[str, ...]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""

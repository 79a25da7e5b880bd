"""Cameras of this machine, as Linux has them."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ...engine.errors import SourceError

_QUERYCAP = 0x80685600
"""VIDIOC_QUERYCAP: fills a v4l2_capability (videodev2.h)"""
_CAPABILITY = struct.Struct("=16s32s32sIII12x")
"""v4l2_capability: driver, card, bus, version, what the hardware can, what this node of it can"""
_CAPTURES = 0x1 | 0x1000
"""V4L2_CAP_VIDEO_CAPTURE, and with several planes"""
_HAS_OWN = 0x80000000
"""V4L2_CAP_DEVICE_CAPS: the node tells what it can itself"""
_JETSON = "tegra"
"""how the drivers of a Jetson's CSI sensors begin; what they give is raw, and read by csi:// alone"""


class VideoNode(NamedTuple):
    """What /dev/videoN is: a camera has several, of which some give descriptions of frames, and codecs have some."""

    driver: str
    captures: bool
    """whether it gives pictures that nothing was put in for"""


def first_camera(devices: Sequence[str] | None = None, ask: Callable[[str], VideoNode] | None = None) -> str:
    """The input that means this machine's first camera: /dev/videoN, or csi://0 for a Jetson's own connector.

    devices: paths to look at; None: those that there are. ask: what each is. Raises SourceError if there is none, or
    none that may be used.
    """
    if devices is None:
        devices = [str(path) for path in Path("/dev").glob("video*") if re.fullmatch(r"video\d+", path.name)]
    refused = ""
    for device in sorted(devices, key=_number):
        try:
            node = (ask or _ask)(device)
        except OSError as error:
            refused = refused or f"{device}: {error.strerror}"
            continue
        if node.captures:
            return "csi://0" if node.driver.startswith(_JETSON) else device
    if refused:
        raise SourceError(f"no camera that can be used: {refused}; see 'saliency-tubes doctor'")
    raise SourceError("no camera at this machine (/dev/video*): name one, as in saliency-tubes run rtsp://camera/live")


def _number(device: str) -> int:
    return int(device.rpartition("video")[2])


def _ask(device: str) -> VideoNode:
    """Raises OSError where the user may not ask, or it is no V4L2 device."""
    opened = os.open(device, os.O_RDWR | os.O_NONBLOCK)
    try:
        answer = bytearray(_CAPABILITY.size)
        fcntl.ioctl(opened, _QUERYCAP, answer)
    finally:
        os.close(opened)
    driver, _, _, _, hardware, own = _CAPABILITY.unpack(answer)
    can = own if hardware & _HAS_OWN else hardware
    return VideoNode(driver.split(b"\0", 1)[0].decode("ascii", "replace"), bool(can & _CAPTURES))


def watch_device(device: str) -> select.poll | None:
    """Tells when an open V4L2 device has a frame: FFmpeg itself would wait for one for ever, without asking `stop`."""
    watched = select.poll()
    for one in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor that listed this folder is closed by now
            if os.path.realpath(one) == os.path.realpath(device):
                watched.register(int(one.name), select.POLLIN)
                return watched
    return None

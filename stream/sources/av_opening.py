"""How FFmpeg opens cameras and servers: its options for each scheme. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ..net.address import Address
from ..net.tls import checks
from .base import SourceOptions

# Without these options FFmpeg would collect seconds of video to find its rate, and give them out late and all at once.
# An RTSP server describes its streams beforehand; in a transport stream the description has to be found first.
_QUICK = {"probesize": "32", "fpsprobesize": "0", "analyzeduration": "0"}
# When the encoder of a transport stream restarts, its streams may get other numbers.
_ON = {"merge_pmt_versions": "1"}
_BROADCAST = {"probesize": "500000", "fpsprobesize": "0", "analyzeduration": "0", **_ON}
_WEB = {"fpsprobesize": "0", "analyzeduration": "500000", **_ON}
_RTSP = {"allowed_media_types": "video", **_QUICK}
_BUFFER = str(4 << 20)
"""Bytes of the UDP sockets' buffers: one large key frame is too much for the system's default."""
_REACHES = {
    **dict.fromkeys(("http", "https"), "http,https,httpproxy,tls,tcp,crypto,data"),
    **dict.fromkeys(("rtsp", "rtsps"), "rtp,srtp,udp,tcp,tls,http,https,httpproxy"),
    **dict.fromkeys(("rtmp", "rtmps"), "rtmp,rtmps,ffrtmphttp,http,tcp,tls"),
    "udp": "udp",
    "srt": "srt",
}
"""Scheme -> the protocols that FFmpeg may use for it: a playlist could name a file of this machine."""


def opening(address: Address, options: SourceOptions) -> tuple[str | None, dict[str, str]]:
    """How FFmpeg has to open it: container format, options."""
    make: Callable[[], dict[str, str]] = {
        "rtsp": lambda: {"rtsp_transport": options.transport, "buffer_size": _BUFFER, **_RTSP},
        "rtsps": lambda: {"rtsp_transport": "tcp", **_RTSP, **checks(options.tls_ca)},
        "udp": lambda: {"buffer_size": _BUFFER, **_BROADCAST},
        "srt": lambda: _BROADCAST,
        **dict.fromkeys(("http", "rtmp"), lambda: _WEB),
        **dict.fromkeys(("https", "rtmps"), lambda: {**_WEB, **checks(options.tls_ca)}),
        "v4l2": lambda: _camera(options),
    }.get(address.scheme, dict)
    if address.scheme == "v4l2":
        return "v4l2", make()
    return None, {"protocol_whitelist": _REACHES[address.scheme], **make()}


def _camera(options: SourceOptions) -> dict[str, str]:
    asked = {
        "video_size": "{}x{}".format(*options.size) if options.size else None,
        "framerate": str(options.rate) if options.rate else None,
        "input_format": options.format,
    }
    return {name: value for name, value in asked.items() if value is not None}

"""Where frames come from: what a source promises, and which source a URI means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...engine.errors import UsageError
from ..net.address import PORTS, check_server, file_path, split
from ..net.redact import redact as redact
from ..net.tls import check_authorities
from .base import NETWORK, Source, SourceOptions

ACCEPTED = "give a video file, rtsp://, http://, /dev/videoN, csi://N, gst://PIPELINE or test://"


def open_source(
    uri: str,
    options: SourceOptions | None = None,
    *,
    stream: str = "",
    given_up: Callable[[], bool] = lambda: False,
) -> Source:
    """Opens the input and waits for its first frame. stream: what it is called in the log, where there are several.
    given_up: asked between two attempts to connect: whether there is to be none after it.

    `uri`: a path or file://, rtsp(s)://, http(s)://, udp://, srt://, rtmp://, /dev/videoN or v4l2:///dev/videoN,
    csi://N, gst://PIPELINE, test://?size=1280x720&rate=30&frames=300.

    Raises UsageError for what is no input, and for a `tls_ca` that cannot be read; SourceError for what cannot be read
    or does not answer.
    """
    options = options or SourceOptions()
    if not uri:
        raise UsageError(f"the input is empty; {ACCEPTED}")
    check_authorities(options.tls_ca)
    if uri == "-":
        raise UsageError(f"{uri}: standard input is not an input of this version; {ACCEPTED}")
    path = file_path(uri)
    if uri.startswith("/dev/video"):
        return _open_live(f"v4l2://{uri}", uri, options, stream, given_up)
    if path is not None:
        return _open_file(path, redact(uri), options)
    scheme = uri.split("://")[0].lower()
    if scheme == "test":
        from .pattern import open_pattern

        return open_pattern(uri, options.realtime)
    if scheme in NETWORK or scheme in ("v4l2", "csi", "gst"):
        return _open_live(uri, redact(uri), options, stream, given_up)
    raise UsageError(f"{redact(uri)}: {scheme}:// is not an input of this version; {ACCEPTED}")


def _open_file(path: Path, name: str, options: SourceOptions) -> Source:
    def once() -> Source:
        if options.backend == "gst":
            from .gst_file import open_file

            return open_file(path, name, options)
        from .av_file import AvSource

        return AvSource(path, name, options.max_size)

    if not (options.realtime or options.loop):
        return once()
    from .replay import Replay

    return Replay(once, options.realtime, options.loop)


def _open_live(uri: str, name: str, options: SourceOptions, stream: str, given_up: Callable[[], bool]) -> Source:
    from .live import LiveSource
    from .patience import Patience

    scheme = uri.split("://")[0].lower()
    if scheme in PORTS:
        check_server(uri, name)
    web = scheme in ("http", "https")
    # Servers of HLS hand out seconds at once, and nothing between.
    segments = web and split(uri).path.lower().endswith(".m3u8")
    stall = options.stall or (10.0 if segments else 2.0)
    if scheme in ("csi", "gst") and options.backend == "av":
        raise UsageError(f"{name}: {scheme}:// needs GStreamer: leave out the backend, or say gst")
    # FFmpeg in PyAV's wheels has no SRT.
    if scheme in ("csi", "gst") or options.backend == "gst" or (scheme == "srt" and options.backend == "auto"):
        from .gst_feed import connector
    else:
        from .av_feed import connector
    patience = Patience(stall, options.first_timeout, options.wait, options.retries)
    return LiveSource(connector(uri, options, stall), name, patience, stream=stream, given_up=given_up)

"""Where drawn frames go: what a sink promises, and which sink a URI means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ...engine.errors import UsageError
from ..net.address import file_path, identity, serves
from ..net.redact import redact
from ..net.tls import check_authorities
from .base import Sink, SinkOptions, check_writable
from .null import NullSink

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""suffix of a video file -> FFmpeg's name of its muxer"""

ACCEPTED = (
    "an output is a .mp4, .mov or .mkv file, recordings/%Y%m%d-%H%M%S.mkv for one in segments, frames/%06d.png, "
    "events.jsonl, - for JSON lines on stdout, rtsp://@:8554/path to serve, rtsp://, rtmp:// or srt:// to push, "
    "mqtt://broker/topic, hook+https://..., web://:8345 for browsers, gst:// and a pipeline, display:// or null://"
)


def open_sink(uri: str, options: SinkOptions | None = None) -> Sink:
    """The sink for `uri`, by scheme and suffix. Writes and connects nothing yet: `Sink.open` does.

    Raises UsageError where no sink takes such a URI, or `tls_ca` cannot be read; SinkError where its folder is missing
    or cannot be written to.
    """
    options = options or SinkOptions()
    check_authorities(options.tls_ca)
    if uri == "null://":
        return NullSink(uri)
    path = file_path(uri)
    sink: Sink
    if uri == "-":
        from .json_lines import JsonSink

        sink = JsonSink(None, options.live)
    elif path is not None:
        sink = _file_sink(uri, path, options)
    else:
        scheme = uri.split("://")[0].lower()
        if scheme not in _BY_SCHEME:
            raise UsageError(f"{redact(uri)}: {scheme}:// is not an output of this version; {ACCEPTED}")
        sink = _BY_SCHEME[scheme](uri, options)
    if sink.never_waits or not (options.live or sink.reconnects):
        return sink
    from .threaded import Threaded

    return Threaded(sink)


def _file_sink(uri: str, path: Path, options: SinkOptions) -> Sink:
    suffix = path.suffix.lower()
    if suffix == ".png":
        from .png import PngSink

        return PngSink(path, options.live, options.overwrite)
    if suffix == ".jsonl":
        from .json_lines import JsonSink

        check_writable(path)
        return JsonSink(path, options.live, options.overwrite)
    if suffix in CONTAINERS and _STRFTIME.search(str(path)):
        from .av_segments import AvSegmentSink

        return AvSegmentSink(path, CONTAINERS[suffix], options)
    if suffix in CONTAINERS:
        from .av_file import FLUSH_SECONDS, AvSink, file_settings

        check_writable(path)
        flush = FLUSH_SECONDS if options.live else None
        return AvSink(path, CONTAINERS[suffix], file_settings(options), flush, overwrite=options.overwrite)
    wrong = (
        f"no output is known by the suffix {suffix!r}" if suffix else "a file's name tells by its suffix what to write"
    )
    raise UsageError(f"{uri or repr(uri)}: {wrong}; {ACCEPTED}")


def _rtsp(uri: str, options: SinkOptions) -> Sink:
    if serves(uri):
        from .gst_rtsp import GstRtspSink

        return GstRtspSink(uri, options)
    return _push(uri, options)


def _push(uri: str, options: SinkOptions) -> Sink:
    from .av_push import AvPushSink

    return AvPushSink(uri, options)


def _gst(uri: str, options: SinkOptions) -> Sink:
    from .gst_pipeline import GstSink

    return GstSink(uri, options)


def _mqtt(uri: str, options: SinkOptions) -> Sink:
    from .mqtt import MqttSink

    return MqttSink(uri, options)


def _webhook(uri: str, options: SinkOptions) -> Sink:
    from .webhook import WebhookSink

    return WebhookSink(uri, options)


def _web(uri: str, options: SinkOptions) -> Sink:
    from .web import WebSink

    return WebSink(uri, options)


def _display(uri: str, options: SinkOptions) -> Sink:
    from .display import DisplaySink

    return DisplaySink(uri)


_BY_SCHEME: dict[str, Callable[[str, SinkOptions], Sink]] = {
    "rtsp": _rtsp,
    **dict.fromkeys(("rtsps", "rtmp", "rtmps"), _push),
    **dict.fromkeys(("gst", "srt"), _gst),
    **dict.fromkeys(("mqtt", "mqtts"), _mqtt),
    **dict.fromkeys(("hook+http", "hook+https"), _webhook),
    "web": _web,
    "display": _display,
}

_STRFTIME = re.compile(r"(?<!%)(?:%%)*%[A-Za-z]")


def check_outputs(source: str, outputs: Sequence[str], listen: str = "127.0.0.1") -> None:
    """Raises UsageError where two outputs, or an output and the input, are the same place. Opens nothing.

    listen: the address that servers bind to where the output names none.
    """
    taken = {identity(source, listen): "the input"} if source != "-" else {}
    for uri in outputs:
        place = identity(uri, listen)
        if place in taken:
            same = taken[place]
            raise UsageError(f"{redact(uri)}: is also {same}; every output needs a name of its own")
        if uri != "null://":
            taken[place] = "another output" if uri != "-" else "already an output"

"""Where drawn frames go: what a sink promises, and which sink a URI means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from ...engine.errors import UsageError
from ...engine.lazy import lazily
from ..net.address import Address, AddressLike
from ..net.tls import check_authorities
from .base import Sink, SinkOptions, check_writable
from .null import NullSink

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""suffix of a video file -> FFmpeg's name of its muxer"""

ACCEPTED = (
    "an output is a .mp4, .mov or .mkv file, recordings/%Y%m%d-%H%M%S.mkv for one in segments, frames/%06d.png, "
    "events.jsonl, - for JSON lines on stdout, rtsp://@:8554/path to serve, rtsp://, rtmp:// or srt:// to push, "
    "mqtt://broker/topic, hook+https://..., web://:8080 for browsers, gst:// and a pipeline, display:// or null://"
)


def open_sink(uri: AddressLike, options: SinkOptions | None = None) -> Sink:
    """The sink for `uri`, by scheme and suffix. Writes and connects nothing yet: `Sink.open` does.

    Raises UsageError where no sink takes such a URI, or `tls_ca` cannot be read; SinkError where its folder is missing
    or cannot be written to.
    """
    options = options or SinkOptions()
    check_authorities(options.tls_ca)
    address = Address.parse(uri)
    sink: Sink
    if address.is_null:
        return NullSink(address.shown)
    if address.is_standard:
        from .json_lines import JsonSink

        sink = JsonSink(None, options.live)
    elif address.file is not None:
        sink = _file_sink(address, address.file, options)
    elif address.scheme in _BY_SCHEME:
        sink = _BY_SCHEME[address.scheme](address, options)
    else:
        raise UsageError(f"{address}: {address.scheme}:// is not an output of this version; {ACCEPTED}")
    if sink.never_waits or not (options.live or sink.reconnects):
        return sink
    from .threaded import Threaded

    return Threaded(sink)


def can_show_pages() -> bool:
    """Whether the web server is installed: the extra `web`."""
    return all(find_spec(name) for name in ("starlette", "uvicorn", "websockets"))


def _file_sink(address: Address, path: Path, options: SinkOptions) -> Sink:
    suffix = path.suffix.lower()
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix](path, options)
    wrong = (
        f"no output is known by the suffix {suffix!r}" if suffix else "a file's name tells by its suffix what to write"
    )
    raise UsageError(f"{address.shown or repr(address.shown)}: {wrong}; {ACCEPTED}")


def _pictures(path: Path, options: SinkOptions) -> Sink:
    from .png import PngSink

    return PngSink(path, options.live, options.overwrite)


def _lines(path: Path, options: SinkOptions) -> Sink:
    from .json_lines import JsonSink

    check_writable(path)
    return JsonSink(path, options.live, options.overwrite)


def _film(path: Path, options: SinkOptions) -> Sink:
    container = CONTAINERS[path.suffix.lower()]
    if _STRFTIME.search(str(path)):
        from .av_segments import AvSegmentSink

        return AvSegmentSink(path, container, options)
    from .av_file import FLUSH_SECONDS, AvSink, file_settings

    check_writable(path)
    flush = FLUSH_SECONDS if options.live else None
    return AvSink(path, container, file_settings(options), flush, overwrite=options.overwrite)


def _rtsp(address: Address, options: SinkOptions) -> Sink:
    made: Sink = (_served if address.is_served else _pushed)(address, options)
    return made


def _display(address: Address, options: SinkOptions) -> Sink:
    from .display import DisplaySink

    return DisplaySink(address)


_served, _pushed = lazily(__package__, "gst_rtsp:GstRtspSink"), lazily(__package__, "av_push:AvPushSink")
_BY_SUFFIX: dict[str, Callable[[Path, SinkOptions], Sink]] = {
    ".png": _pictures,
    ".jsonl": _lines,
    **dict.fromkeys(CONTAINERS, _film),
}
_BY_SCHEME: dict[str, Callable[[Address, SinkOptions], Sink]] = {
    "rtsp": _rtsp,
    **dict.fromkeys(("rtsps", "rtmp", "rtmps"), _pushed),
    **dict.fromkeys(("gst", "srt"), lazily(__package__, "gst_pipeline:GstSink")),
    **dict.fromkeys(("mqtt", "mqtts"), lazily(__package__, "mqtt:MqttSink")),
    **dict.fromkeys(("hook+http", "hook+https"), lazily(__package__, "webhook:WebhookSink")),
    "web": lazily(__package__, "web:WebSink"),
    "display": _display,
}

_STRFTIME = re.compile(r"(?<!%)(?:%%)*%[A-Za-z]")


def check_outputs(source: AddressLike, outputs: Sequence[AddressLike], listen: str = "127.0.0.1") -> None:
    """Raises UsageError where two outputs, or an output and the input, are the same place. Opens nothing.

    listen: the address that servers bind to where the output names none.
    """
    read = Address.parse(source)
    taken = {} if read.is_standard else {read.place(listen): "the input"}
    for output in map(Address.parse, outputs):
        place = output.place(listen)
        if place in taken:
            same = taken[place]
            raise UsageError(f"{output}: is also {same}; every output needs a name of its own")
        if not output.is_null:
            taken[place] = "already an output" if output.is_standard else "another output"

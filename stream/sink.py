"""Where drawn frames go: what a sink promises, and which sink a URI means."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..engine.errors import SinkError, UsageError
from ..engine.types import Shown
from .source import VideoInfo, file_path, redact

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""suffix of a video file -> FFmpeg's name of its muxer"""

ACCEPTED = (
    "an output is a .mp4, .mov or .mkv file, frames/%06d.png, events.jsonl, - for JSON lines on stdout, or null://"
)


class Sink:
    """One output. `open` once, then `write` for every frame and `event` for every window, then `close`.

    A sink overrides what it needs; what it does not override does nothing. All four raise SinkError: one line that
    names the output. After an error only `close` may be called, and it raises no second one.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        """safe to print"""
        self.notes: tuple[str, ...] = ()
        """one-line remarks for the user, complete after `close`; what concerns the format is there after `open`"""
        self.frames = 0
        """frames taken so far"""
        self.events = 0
        """lines taken so far"""

    def open(self, info: VideoInfo) -> None:
        """Called once, before the first frame."""

    def write(self, shown: Shown) -> None:
        """Takes a drawn frame, as large as `info` said, pts increasing. The frame is the caller's again afterwards."""

    def event(self, line: str) -> None:
        """Takes one JSON document, on one line, without the line's end."""

    def close(self) -> None:
        """Finishes the output; may be called twice, and without `open`."""


class NullSink(Sink):
    """Takes everything and keeps nothing: for measuring."""

    def write(self, shown: Shown) -> None:
        self.frames += 1

    def event(self, line: str) -> None:
        self.events += 1


def open_sink(uri: str) -> Sink:
    """The sink for `uri`, by scheme and suffix. Writes nothing yet: files are made by `Sink.open`.

    Raises UsageError where no sink takes such a URI, SinkError where its folder is missing or cannot be written to.
    """
    if uri == "-":
        from .json_sink import JsonSink

        return JsonSink(None)
    if uri == "null://":
        return NullSink(uri)
    path = file_path(uri)
    if path is None:
        scheme = uri.split("://")[0]
        raise UsageError(f"{redact(uri)}: {scheme}:// is not an output of this version; {ACCEPTED}")
    suffix = path.suffix.lower()
    if suffix == ".png":
        from .png_sink import PngSink

        return PngSink(path)
    if suffix == ".jsonl":
        from .json_sink import JsonSink

        check_writable(path)
        return JsonSink(path)
    if suffix in CONTAINERS:
        from .av_sink import AvSink

        check_writable(path)
        return AvSink(path, CONTAINERS[suffix])
    raise UsageError(f"{uri or repr(uri)}: no output is known by the suffix {suffix or 'it has'!r}; {ACCEPTED}")


def check_outputs(source: str, outputs: Sequence[str]) -> None:
    """Raises UsageError where two outputs, or an output and the input, are the same file. Opens nothing."""
    taken = {_identity(source): "the input"} if source != "-" else {}
    for uri in outputs:
        identity = _identity(uri)
        if identity in taken:
            same = taken[identity]
            raise UsageError(f"{redact(uri)}: is also {same}; every output needs a name of its own")
        if uri != "null://":
            taken[identity] = "another output" if uri != "-" else "already an output"


def check_writable(path: Path) -> None:
    """Raises SinkError where the file could not be made: before hours of work, not after."""
    if path.is_dir():
        raise SinkError(f"{path}: is a folder")
    folder = path.parent
    if not folder.is_dir():
        raise SinkError(f"{path}: the folder {folder} does not exist")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise SinkError(f"{path}: no permission to write {'it' if path.exists() else f'in {folder}'}")


def os_reason(error: OSError) -> str:
    """The system's words for an error, without its number and the path."""
    return error.strerror or str(error)


def _identity(uri: str) -> object:
    """Equal for two names of one file: through links, and through relative paths."""
    path = file_path(uri) if uri != "-" else None
    if path is None:
        return uri
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino

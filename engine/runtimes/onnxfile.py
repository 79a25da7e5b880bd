"""Reads the metadata of an ONNX file without `onnx`: a walk over the top-level fields of its protobuf message.

Wire format: protobuf.dev, "Encoding". Field numbers: onnx.proto, ModelProto (graph 7, metadata_props 14) and
StringStringEntryProto (key 1, value 2). The graph itself is skipped, so reading takes equally long for any file size.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError

_GRAPH, _METADATA = 7, 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_metadata(path: Path) -> dict[str, str]:
    """The `metadata_props` of an ONNX file. Raises ModelError if the file cannot be read or is not ONNX."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _metadata(data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is not an ONNX file"
        raise ModelError(f"cannot read model {path}: {reason}") from None


def _metadata(data: mmap.mmap) -> dict[str, str]:
    properties: dict[str, str] = {}
    has_graph = False
    for number, start, end in _fields(data, 0, len(data)):
        has_graph = has_graph or number == _GRAPH
        if number == _METADATA:
            entry = {part: data[first:last].decode() for part, first, last in _fields(data, start, end)}
            properties[entry.get(1, "")] = entry.get(2, "")
    if not has_graph:
        raise ValueError("no graph")
    return properties


def _fields(data: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number and content [start, end) of each field of a message. Raises ValueError if the bytes are not a message."""
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        kind, length = tag & 7, 0
        if tag < 8:  # protobuf has no field 0: a file of zeros is refused at once and not walked through
            raise ValueError("field 0")
        if kind == _VARINT:
            _, after = _varint(data, position, end)
            length = after - position
        elif kind == _BYTES:
            length, position = _varint(data, position, end)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if position + length > end:
            raise ValueError("a field ends after its message")
        yield tag >> 3, position, position + length
        position += length


def _varint(data: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number without an end")

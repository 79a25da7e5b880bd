"""Watches the input of a pipeline's video decoders: the size of pictures, and whether parts of them are missing."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from .damage import Damage
from .limits import Size, coded_size, exceeds

HEAD = 4096
"""Bytes at the start of a coded picture in which its size is looked for first; if it is not there, in all of it."""
_HEADED = ("image/jpeg", "image/png", "video/x-vp8")
_TRUSTING = ("h264parse", "h265parse")
"""Parsers that pass on the size in the container and not that of the pictures."""
_SIZE = re.compile(r", (?:width|height)=\(int\)\d+")


def decodes(factory: Any) -> bool:
    """Whether elements of this kind decode pictures."""
    classes = (factory.get_metadata("klass") or "").split("/")
    return "Decoder" in classes and ("Video" in classes or "Image" in classes)


class DecoderWatch:
    """A probe at the decoders' inputs. GStreamer calls it in its own threads, a few times for each coded frame."""

    def __init__(self, gst: Any, most: Size) -> None:
        """gst: the module Gst. most: see `SourceOptions.max_size`."""
        self.too_large: Size | None = None
        """size of the first picture that was too large; from then on nothing reaches the decoder"""
        self._gst, self._most, self._damage = gst, most, Damage()
        self._lost: deque[float | None] = deque(maxlen=256)
        """times in seconds of coded frames before which something is missing, not yet asked for by `damaged`"""
        self._keys: deque[int] = deque(maxlen=64)
        """times of the newest key frames, in nanoseconds"""
        self._kinds: dict[str, str] = {}
        """decoder -> kind of its coded pictures, if their size must be read from the pictures themselves"""
        self._decoding = False

    def add(self, element: Any) -> None:
        """Watches an element of the pipeline if it is a video decoder or a parser in front of one."""
        factory = element.get_factory()
        pad = element.get_static_pad("sink")
        if factory is None or pad is None:
            return
        kinds = self._gst.PadProbeType
        if factory.get_name() in _TRUSTING:
            pad.add_probe(kinds.EVENT_DOWNSTREAM, self._doubt)
        elif decodes(factory):
            pad.add_probe(kinds.EVENT_DOWNSTREAM, self._caps)
            pad.add_probe(kinds.BUFFER, self._buffer)

    def damaged(self, pts: int, guessed: bool) -> bool:
        """Whether the decoded frame of this time is damaged. guessed: the decoder had to guess parts of it."""
        while self._lost:
            self._damage.lost(self._lost.popleft())
        return self._damage.shown_in(self._seconds(pts), pts in self._keys, guessed)

    def _seconds(self, pts: int) -> float | None:
        return None if pts == self._gst.CLOCK_TIME_NONE else pts / self._gst.SECOND

    def _doubt(self, pad: Any, info: Any) -> Any:
        """Removes the size from the caps in front of a parser: a container may name a wrong one, and a parser that is
        given none reads the size of the pictures."""
        event = info.get_event()
        if event.type != self._gst.EventType.CAPS:
            return self._gst.PadProbeReturn.OK
        said = event.parse_caps().to_string()
        sizeless = _SIZE.sub("", said)
        if sizeless == said:
            return self._gst.PadProbeReturn.OK
        pad.send_event(self._gst.Event.new_caps(self._gst.Caps.from_string(sizeless)))
        return self._gst.PadProbeReturn.DROP

    def _caps(self, pad: Any, info: Any) -> Any:
        event = info.get_event()
        if event.type == self._gst.EventType.CAPS:
            what = event.parse_caps().get_structure(0)
            (_, width), (_, height) = what.get_int("width"), what.get_int("height")
            self._refuse((width, height))
            self._kinds.pop(pad.get_parent_element().get_name(), None)
            if what.get_name() in _HEADED:
                self._kinds[pad.get_parent_element().get_name()] = what.get_name()
        return self._gst.PadProbeReturn.OK

    def _buffer(self, pad: Any, info: Any) -> Any:
        buffer, flags = info.get_buffer(), self._gst.BufferFlags
        kind = self._kinds.get(pad.get_parent_element().get_name()) if self._kinds else None
        if kind is not None:
            self._refuse(coded_size(kind, buffer.extract_dup(0, HEAD)) or self._deep_size(kind, buffer))
        if self.too_large:
            return self._gst.PadProbeReturn.DROP
        if not buffer.has_flags(flags.DELTA_UNIT):
            self._keys.append(buffer.pts)
        elif self._decoding and buffer.has_flags(flags.DISCONT):
            self._lost.append(self._seconds(buffer.pts))
        self._decoding = True
        return self._gst.PadProbeReturn.OK

    def _deep_size(self, kind: str, buffer: Any) -> Size | None:
        return coded_size(kind, buffer.extract_dup(0, buffer.get_size())) if kind == "image/jpeg" else None

    def _refuse(self, size: Size | None) -> None:
        if size is not None and exceeds(size, self._most):
            self.too_large = size

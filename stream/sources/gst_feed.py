"""Cameras, servers, files and whole pipelines, through GStreamer."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any, cast

from ...engine.errors import UsageError
from ...engine.picture import HOST
from ...engine.place import Place
from ..media.gst_decoder import DecoderWatch, decodes
from ..media.gst_load import Missing, load
from ..media.gst_memory import InHost, PictureMemory, Reader
from ..media.gst_ways import choose_memory
from ..media.limits import Size, exceeds
from ..net.address import Address
from ..net.guard import FLOOD, PLAYLIST_FLOOD, Guard
from ..net.web_gate import Gate
from .base import ENDLESS, SourceOptions
from .feed import (
    KEY_FRAME,
    REFUSALS,
    Connect,
    FeedEnded,
    FeedError,
    FeedFrame,
    FeedLost,
    FeedRefused,
    FeedTooLarge,
    failure,
)
from .gst_description import describe
from .gst_inbox import CAPACITY, Inbox
from .gst_tail import assemble, is_unlinked
from .gst_trust import gate_to, gio, is_video, prepare, trust, trusted_by

CLOSED = 3
"""Maximum number of times in a row that a server may end the control connection; then it counts as lost. With UDP,
rtspsrc would ask a dead server behind a proxy a thousand times a second."""
NANOSECONDS = Fraction(1, 10**9)
SINCE_1900 = 2_208_988_800
"""Seconds from NTP's zero, 1900, to 1970 (RFC 868)."""
SLICE = 0.05
"""Seconds between two looks at the pipeline's messages while no frame comes."""
_WEB = ("http", "https")


def modules() -> tuple[Any, Any]:
    """Gst and GstVideo, initialised. Raises UsageError where they are not installed."""
    try:
        found = load("GstApp", "GstVideo")  # loading GstApp is what gives appsink its methods
    except Missing as missing:
        raise UsageError(f"GStreamer cannot be used: the input {missing}") from None
    return found.Gst, found.GstVideo


def available() -> bool:
    """Whether GStreamer can be used here."""
    try:
        modules()
    except UsageError:
        return False
    return True


def connector(address: Address, options: SourceOptions, stall: float, place: Place | None = None) -> Connect:
    """A function that opens a connection to the address. place: the one that pictures are wanted in. Raises
    UsageError."""
    description, settings = describe(address, options)
    modules()
    memory = choose_memory(place.name if place else HOST)
    if address.scheme == "rtsps" and not gio().TlsBackend.get_default().supports_tls():
        raise UsageError(f"{address}: GStreamer needs glib-networking for TLS: apt-get install glib-networking")
    # Web servers send faster than real time and wait for the reader: there is no reason to drop frames.
    drop = address.scheme not in _WEB
    return lambda: GstFeed(
        description, address, settings, options.open_timeout, drop, options.tls_ca, options.max_size, memory
    )


class GstFeed:
    """A pipeline that ends in an appsink, from which frames are read."""

    def __init__(
        self,
        description: str,
        address: Address,
        settings: dict[str, Any],
        open_timeout: float,
        drop: bool = True,
        tls_ca: str | None = None,
        max_size: Size = SourceOptions.max_size,
        memory: PictureMemory | None = None,
    ) -> None:
        """drop: frames that are not fetched in time are lost, the oldest first; otherwise the pipeline waits. memory:
        where pictures come out; None: in the host's.

        Raises FeedError, or UsageError if GStreamer cannot make the pipeline.
        """
        gst, _ = modules()
        self.errors, self.idle = 0, 0.0
        self._gst, self._address, self._tls_ca, self._most = gst, address, tls_ca, max_size
        self._decoders = DecoderWatch(gst, max_size)
        self._finite = description.startswith("filesrc ")
        self._caps: Any = None
        self._ntp = gst.Caps.from_string("timestamp/x-ntp")
        self._memory, self._reader = memory or InHost(), cast("Reader | None", None)
        web = address.scheme in _WEB
        trusted = None if web else trusted_by(tls_ca)
        self._pipeline = self._assembled(description, drop)
        self._gate = gate_to(address, tls_ca) if web else None
        if self._gate is not None:
            settings = {"uri": self._gate.url}
        self._rtsp = self._set_up(settings, trusted)
        for element in self._elements():  # others are added once the contents are known
            self._decoders.add(element)
        self._pipeline.connect("deep-element-added", _added, trusted, self._gate, self._decoders)
        self._sink = self._pipeline.get_by_name("saliency_tubes")
        self._inbox = Inbox(gst, self._sink) if drop else None
        self._bus = self._pipeline.get_bus()
        self._held: Any = None
        self._broken: FeedError | None = None
        self._closed = 0
        """number of times that the server ended the control connection since the last frame"""
        self._guard = Guard(address, PLAYLIST_FLOOD if address.is_playlist else FLOOD)
        try:
            self._open(open_timeout)
        except BaseException:
            self.close()
            raise
        self.bursts = web and (address.is_playlist or self._ends())

    def _assembled(self, description: str, drop: bool) -> Any:
        """Raises UsageError if GStreamer cannot make the pipeline."""
        sink = f"appsink name=saliency_tubes sync=false max-buffers={CAPACITY} drop={str(drop).lower()}"
        try:
            pipeline = assemble(self._gst, description, f"{self._memory.tail} ! {sink}")
        except Exception as error:  # GLib.Error, which can be named only after gi is imported
            what = f"{self._address}: GStreamer cannot make this pipeline: {error}"
            raise UsageError(self._address.scrub(what)) from None
        self._memory.attach(pipeline)
        return pipeline

    def _set_up(self, settings: dict[str, Any], trusted: Any) -> Any:
        """Gives the element `src` its properties, and returns it if it is an RTSP source."""
        source = self._pipeline.get_by_name("src")
        for name, value in settings.items():
            if name == "protocols":
                self._gst.util_set_object_arg(source, name, value)
            else:
                source.set_property(name, value)
        if source is None or source.get_factory().get_name() != "rtspsrc":
            return None
        if source.find_property("add-reference-timestamp-meta"):  # since GStreamer 1.22
            source.set_property("add-reference-timestamp-meta", True)
        source.connect("select-stream", is_video)
        trust(source, trusted)
        return source

    @property
    def dropped(self) -> int:
        return self._inbox.dropped if self._inbox is not None else 0

    def read(self, timeout: float) -> FeedFrame | None:
        sample, self._held = self._held or self._pull(timeout), None
        if sample is None:
            return None
        caps = sample.get_caps()
        if self._reader is None or not caps.is_equal(self._caps):
            self._forget()
            self._look_at_elements()
            self._reader, self._caps = self._memory.reader(caps), caps
        buffer, reader = sample.get_buffer(), self._reader
        if exceeds(reader.size, self._most):
            raise FeedTooLarge(reader.size, self._most)
        guessed = bool(buffer.has_flags(self._gst.BufferFlags.CORRUPTED))
        damaged = self._decoders.damaged(buffer.pts, guessed)
        self.errors += guessed
        try:
            picture = reader.read(buffer)
        except ValueError:
            self.errors += 1
            return None
        # Running time and not pts: a file's pts start after 0 if its first frames in coding order are shown later.
        none = self._gst.CLOCK_TIME_NONE
        running = none
        if buffer.pts != none:
            running = sample.get_segment().to_running_time(self._gst.Format.TIME, buffer.pts)
        pts = None if running == none else int(running)
        return FeedFrame(
            picture, time.monotonic(), pts, NANOSECONDS, reader.pixel_aspect, reader.rate, matrix=reader.matrix,
            sent=self._sent(buffer), damaged=damaged, decoder=self._words,
        )  # fmt: skip

    def _look_at_elements(self) -> None:
        """Notes what decodes. Raises FeedRefused where its pictures are out of reach."""
        elements = self._elements()
        wrong = self._memory.wrong(elements)
        if wrong:
            raise FeedRefused(wrong)
        factories = [factory for element in elements if (factory := element.get_factory()) is not None]
        self._words = self._memory.words([factory.get_name() for factory in factories if decodes(factory)])

    def _sent(self, buffer: Any) -> float | None:
        """When the camera took the frame, by its own clock; None before its first report (RTCP)."""
        found = buffer.get_reference_timestamp_meta(self._ntp) if self._rtsp is not None else None
        return found.timestamp / self._gst.SECOND - SINCE_1900 if found is not None else None

    def close(self) -> None:
        # The traceback of a raised error keeps this feed and its pipeline alive: let go of the error.
        self._held = self._broken = None
        self._guard.closing()
        self._pipeline.set_state(self._gst.State.NULL)
        self._guard.close()
        self._bus.set_flushing(True)
        self._forget()
        if self._gate is not None:
            self._gate.close()

    def _forget(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def _open(self, timeout: float) -> None:
        self._pipeline.set_state(self._gst.State.PLAYING)
        self._held = self._pull(timeout)
        came, deadline = 0, time.monotonic() + KEY_FRAME - timeout
        while self._held is None and (now := self._packets()) > came:
            if time.monotonic() >= deadline:
                raise FeedLost("no key frame came")
            came, self._held = now, self._pull(1.0)
        if self._held is None:
            raise FeedLost(f"nothing came for {timeout:g} s")

    def _packets(self) -> int:
        """Number of RTP packets that have come."""
        buffers = [one for one in self._elements() if one.get_factory().get_name() == "rtpjitterbuffer"]
        return sum(one.get_property("stats").get_value("num-pushed") for one in buffers)

    def _elements(self) -> list[Any]:
        """All elements that the pipeline has at the moment."""
        found: list[Any] = []
        elements, results = self._pipeline.iterate_recurse(), self._gst.IteratorResult
        while (step := elements.next())[0] in (results.OK, results.RESYNC):
            if step[0] == results.RESYNC:  # elements were added or removed meanwhile
                found = []
                elements.resync()
            else:
                found.append(step[1])
        return found

    def _pull(self, timeout: float) -> Any:
        """The next sample, or None after `timeout` seconds. Raises FeedError if the pipeline reports an error."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            asked = time.monotonic()
            sample = self._fetch(max(0.0, min(left, SLICE)))
            self.idle += time.monotonic() - asked
            self._listen()
            if sample is not None:
                self._closed = 0
                self._guard.picture()
                return sample
            if self._decoders.too_large is not None:
                raise FeedTooLarge(self._decoders.too_large, self._most)
            if self._guard.reason:
                raise FeedLost(self._guard.reason)
            if self._broken is not None:
                raise self._broken
            if self._sink.is_eos():
                raise FeedEnded("it has ended") if self._ends() else FeedLost("the server ended the stream")
            if left <= 0:
                return None

    def _fetch(self, seconds: float) -> Any:
        if self._inbox is not None:
            return self._inbox.take(seconds)
        return self._sink.try_pull_sample(int(seconds * self._gst.SECOND))

    def _listen(self) -> None:
        """Reads the pipeline's messages. An error is kept, so that the frames before it are still given out."""
        if self._gate is not None and self._gate.refused:
            self._broken = self._broken or FeedRefused(self._gate.refused)
        kinds = self._gst.MessageType
        while message := self._bus.pop_filtered(kinds.ERROR | kinds.WARNING):
            if message.type == kinds.WARNING and message.src != self._rtsp:
                self.errors += not is_unlinked(message)
            elif message.type == kinds.WARNING:  # the server ended the control connection, and rtspsrc makes a new one
                self._closed += 1
                if self._closed > CLOSED:
                    self._broken = self._broken or FeedLost("the server closes the connection again and again")
            else:
                self._broken = self._broken or self._failure(message)

    def _failure(self, message: Any) -> FeedError:
        refused = REFUSALS.get(_status(self._gst, message))
        if refused is not None:
            return FeedRefused(*refused)
        return failure(self._address, self._tls_ca) or FeedLost(self._address.scrub(message.parse_error()[0].message))

    def _ends(self) -> bool:
        """Whether the stream has an end, as a file: it has a duration."""
        if self._finite:
            return True
        if self._address.scheme in ENDLESS:
            return False
        known, duration = self._pipeline.query_duration(self._gst.Format.TIME)
        return bool(known and duration > 0)


def _status(gst: Any, message: Any) -> int:
    """The status that a server answered, if that is the error; 0 for other errors.

    It is read from the message's details and not from its text, which may hold any number in addresses and paths.
    """
    details = message.parse_error_details()
    for name in ("http-status-code", "rtsp-status-code"):
        if details is not None and details.has_field(name) and details.get_value(name) in REFUSALS:
            return int(details.get_value(name))
    error, kinds = message.parse_error()[0], gst.ResourceError
    named = {int(kinds.NOT_AUTHORIZED): 401, int(kinds.NOT_FOUND): 404}
    return named.get(error.code, 0) if error.domain == "gst-resource-error-quark" else 0


def _added(pipeline: Any, parent: Any, element: Any, trusted: Any, gate: Gate | None, decoders: DecoderWatch) -> None:
    decoders.add(element)
    prepare(element, trusted, gate)

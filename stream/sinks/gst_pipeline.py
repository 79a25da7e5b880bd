"""gst://PIPELINE: drawn frames for any GStreamer pipeline, such as a v4l2 loopback. srt:// uses this too."""

from __future__ import annotations

from typing import Any

from ...engine.errors import SinkError, UsageError
from ...engine.picture import HOST
from ...engine.types import Shown
from ..media.encoders import Chosen
from ..media.gst_encoder import choose_encoder, encoder
from ..media.gst_load import need
from ..media.gst_ways import frames_for
from ..media.info import VideoInfo
from ..media.live_clock import LiveClock
from ..net.address import Address
from .base import Sink, SinkOptions

QUEUE = 4
"""Maximum number of frames that wait for the pipeline; then the oldest is dropped for a new one."""
END_SECONDS = 3


class GstSink(Sink):
    """Feeds a pipeline. `gst://videoconvert ! v4l2sink device=/dev/video9` gets raw video; for srt:// it is encoded.

    If a pipeline fails, the network or a device is the reason: it can be opened again.
    """

    reconnects = True
    shows_outages = True

    def __init__(self, address: Address, options: SinkOptions) -> None:
        """Raises UsageError for a gst:// that is no pipeline, a srt:// without a port, or an encoder that does not work
        here; SinkError without GStreamer.
        """
        # An SRT address has its passphrase in its query.
        self._srt = address.scheme == "srt"
        super().__init__(address.shown.partition("?")[0] if self._srt else address.shown)
        self._address, self._rest = address, address.rest.reveal()
        if not self._rest.strip() or (self._srt and address.port is None):
            accepted = "srt://host:port" if self._srt else "gst://videoconvert ! v4l2sink device=/dev/video9"
            raise UsageError(f"{self.name}: say where to, as in {accepted}")
        self._options = options
        self._pipeline: Any = None
        self._gst = need(SinkError, self.name, "GstApp", "GstVideo")
        if not self._srt:
            self._parse(self._rest)
        elif options.encoder != "auto":
            choose_encoder(options.encoder)

    def open(self, info: VideoInfo) -> None:
        gst = self._gst
        chosen = choose_encoder(self._options.encoder) if self._srt else Chosen("")
        self._clock, (self._frames, way) = LiveClock(), frames_for(gst, info, chosen.name)
        self.takes = frozenset({HOST, self._frames.where})
        self.description = f"{f'H.264 by {chosen.name}' if self._srt else 'raw video'} {way}".strip()
        self.notes = (*self._frames.notes, *chosen.notes)
        pipeline = self._parse(self._srt_part(chosen.name) if self._srt else self._rest)
        self._frames.attach(pipeline)
        if self._srt:
            pipeline.get_by_name("srt").set_property("uri", f"srt://{self._rest}")
        self._feed = pipeline.get_by_name("saliency_feed")
        self._feed.set_property("caps", self._frames.caps)
        self._pipeline = pipeline
        self._system = gst.Gst.SystemClock.obtain()
        pipeline.set_state(gst.Gst.State.PLAYING)
        self._check(20)
        self.state = "running"

    def write(self, shown: Shown) -> None:
        frame = shown.frame
        if self._pipeline is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        if (frame.image.width, frame.image.height) != self._frames.size:
            raise SinkError(f"{self.name}: frame {frame.index} has another size than was announced")
        self._check(0)
        base = self._feed.get_base_time()
        now = self._system.get_time()
        stamp = round(self._clock.stamp(frame.time, now / 1e9) * 1e9)
        buffer = self._frames.make(frame.image)
        buffer.pts = max(0, stamp - (base or now))
        full = self._feed.get_property("current-level-buffers") >= QUEUE
        self._feed.push_buffer(buffer)
        if shown.outage:
            return
        if full:  # the oldest frame is dropped, which was counted as written, so this one is not counted
            self._drop("too slow")
        else:
            self.frames_written += 1

    def close(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline is None:
            return
        gst = self._gst.Gst
        if self.state == "running":
            self._feed.end_of_stream()
            ends = gst.MessageType.EOS | gst.MessageType.ERROR
            pipeline.get_bus().timed_pop_filtered(END_SECONDS * gst.SECOND, ends)
            self.state = "closed"
        pipeline.set_state(gst.State.NULL)
        self._frames.close()

    def _parse(self, behind: str) -> Any:
        """Makes the whole pipeline, which opens nothing yet. Raises UsageError."""
        feed = "appsrc name=saliency_feed is-live=true format=time block=false leaky-type=downstream"
        try:
            return self._gst.Gst.parse_launch(f"{feed} max-buffers={QUEUE} max-bytes=0 ! {behind}")
        except self._gst.GLib.Error as error:
            raise UsageError(f"{self.name}: {self._address.scrub(error.message)}") from None

    def _srt_part(self, name: str) -> str:
        width, height = self._frames.coded
        low = self._options.latency == "low"
        bitrate, preset = self._options.bitrate, self._options.preset
        convert = None if self._frames.where == HOST else ""
        chain = encoder(name, width, height, self._frames.rate, bitrate, preset, low, convert=convert)
        sink = "srtsink name=srt sync=false wait-for-connection=false"
        return f"{self._frames.convert}{chain} config-interval=-1 ! mpegtsmux alignment=7 ! {sink}"

    def _check(self, milliseconds: int) -> None:
        gst = self._gst.Gst
        ends = gst.MessageType.EOS | gst.MessageType.ERROR
        failed = self._pipeline.get_bus().timed_pop_filtered(milliseconds * gst.MSECOND, ends)
        if failed is not None:
            self.state = "failed"
            if failed.type == gst.MessageType.EOS:
                raise SinkError(f"{self.name}: the pipeline has ended by itself")
            raise SinkError(f"{self.name}: {self._address.scrub(failed.parse_error()[0].message)}")

"""A GStreamer pipeline that turns pictures into H.264, one access unit at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from .gst_encoder import choose_encoder, encoder
from .gst_frames import FrameBuffers, with_own_times
from .sink import SinkOptions
from .source import VideoInfo

RAW_FRAMES = 2
"""pictures that wait for the encoder; the oldest is lost for a new one"""
MEND_EVERY = 5.0
"""seconds between two attempts to start an encoder that failed"""


class Encode:
    """Calls `give(buffer, key)` in the encoder's thread for every encoded picture.

    buffer: a GstBuffer in Annex B form, its pts the stamp of the picture. key: whether it is a keyframe.
    """

    def __init__(self, gst: Any, info: VideoInfo, options: SinkOptions, give: Callable[[Any, bool], None]) -> None:
        """gst: with GstApp and GstVideo. Raises UsageError where no encoder works, gst_load.Missing."""
        self._gst, self._give = gst, give
        self.frames = FrameBuffers(gst, info)
        chosen = choose_encoder(options.encoder)
        low = options.latency == "low"
        preset, (width, height) = options.preset, self.frames.coded
        self._chain = encoder(chosen.name, width, height, self.frames.rate, options.bitrate, preset, low)
        self.description = f"H.264 by {chosen.name}"
        self.notes = (*self.frames.notes, *chosen.notes)
        self._mended = 0.0
        self._stamp = 0
        self._lock = threading.Lock()
        self._start()

    def push(self, buffer: Any, stamp: float) -> bool:
        """Takes a picture to be shown at `stamp` seconds. False: another one was lost for it."""
        with self._lock:
            # A picture sent again in silence may be later than the next one that comes.
            self._stamp = buffer.pts = buffer.dts = max(self._stamp + 1000, round(stamp * 1e9))
            full = self._feed.get_property("current-level-buffers") >= RAW_FRAMES
            self._feed.push_buffer(buffer)
        return not full

    def keyframe(self) -> None:
        """The next picture becomes a keyframe."""
        event = self._gst.GstVideo.video_event_new_upstream_force_key_unit(self._gst.Gst.CLOCK_TIME_NONE, True, 0)
        self._pipeline.get_by_name("enc").get_static_pad("src").send_event(event)

    def mend(self) -> str:
        """Starts the pipeline anew where it failed, and says what failed; nothing where none did, or just before."""
        if time.monotonic() - self._mended < MEND_EVERY:
            return ""  # what failed meanwhile waits on the bus
        failed = self._pipeline.get_bus().pop_filtered(self._gst.Gst.MessageType.ERROR)
        if failed is None:
            return ""
        self._mended = time.monotonic()
        self.close()
        self._start()
        return str(failed.parse_error()[0].message)

    def close(self) -> None:
        self._pipeline.set_state(self._gst.Gst.State.NULL)

    def _start(self) -> None:
        gst = self._gst.Gst
        self._pipeline = gst.parse_launch(
            f"appsrc name=feed is-live=true format=time block=false max-buffers={RAW_FRAMES} max-bytes=0 "
            f"leaky-type=downstream ! {self.frames.convert}{self._chain} config-interval=-1 "
            "! video/x-h264,stream-format=byte-stream,alignment=au "
            "! appsink name=out sync=false emit-signals=true max-buffers=4 drop=false"
        )
        self._feed = self._pipeline.get_by_name("feed")
        self._feed.set_property("caps", self.frames.caps)
        self._pipeline.get_by_name("out").connect("new-sample", self._pull)
        self._pipeline.set_state(gst.State.PLAYING)

    def _pull(self, sink: Any) -> Any:
        gst = self._gst.Gst
        sample = sink.pull_sample()
        if sample is not None:
            buffer = with_own_times(self._gst, sample.get_buffer())
            # x264enc moves all times by 1000 hours, and the segment with them; running time stays what was pushed.
            buffer.pts = sample.get_segment().to_running_time(gst.Format.TIME, buffer.pts)
            self._give(buffer, not buffer.has_flags(gst.BufferFlags.DELTA_UNIT))
        return gst.FlowReturn.OK

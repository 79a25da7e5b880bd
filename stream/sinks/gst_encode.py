"""A GStreamer pipeline that turns pictures into H.264, one access unit at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ...engine.picture import HOST
from ..media.gst_encoder import choose_encoder, encoder
from ..media.gst_frames import with_own_times
from ..media.gst_ways import frames_for
from ..media.info import VideoInfo
from .base import SinkOptions

RAW_FRAMES = 2
"""Maximum number of pictures that wait for the encoder; then the oldest is dropped for a new one."""
REORDERS = 16
"""Maximum number of pictures that H.264 may reorder (max_dec_frame_buffering)."""
SHORTEST = 1_000_000
"""Minimum nanoseconds between two pictures: RTP counts in 1/90000 s, and two pictures at one time would count as
one."""
MEND_EVERY = 5.0
"""Minimum seconds between two attempts to start an encoder that failed."""


class Account:
    """Keeps account of the pictures in an encoder: each comes out or is lost. Safe for several threads."""

    def __init__(self, reorders: int) -> None:
        """reorders: maximum number of later pictures that may come out before a picture, because of B-frames."""
        self._reorders, self._lock = reorders, threading.Lock()
        self._inside: dict[int, int] = {}
        """time of each picture -> number of later pictures that have come out"""

    def put(self, stamp: int) -> None:
        """A picture with this time went in."""
        with self._lock:
            self._inside[stamp] = 0

    def out(self, stamp: int) -> tuple[bool, int]:
        """A picture with this time came out. Returns whether it had been put in, and how many pictures before it are
        newly known to be lost."""
        with self._lock:
            known = self._inside.pop(stamp, None) is not None
            for earlier in [other for other in self._inside if other < stamp]:
                self._inside[earlier] += 1
            lost = [other for other, later in self._inside.items() if later > self._reorders]
            for other in lost:
                del self._inside[other]
        return known, len(lost)

    def empty(self) -> int:
        """Removes all pictures inside, which are lost, and returns their number."""
        with self._lock:
            left = len(self._inside)
            self._inside.clear()
        return left


class Encode:
    """Calls `give(buffer, key)` in the encoder's thread for every encoded picture.

    buffer: a GstBuffer in Annex B form; its pts is the stamp of the picture. key: whether it is a key frame.
    """

    def __init__(self, gst: Any, info: VideoInfo, options: SinkOptions, give: Callable[[Any, bool], None]) -> None:
        """gst: the namespace of `gst_load.load`, with GstApp and GstVideo. Raises UsageError if no encoder works, and
        gst_load.Missing."""
        self._gst, self._give = gst, give
        chosen = choose_encoder(options.encoder)
        self.frames, way = frames_for(gst, info, chosen.name)
        low = options.latency == "low"
        preset, (width, height) = options.preset, self.frames.coded
        convert = None if self.frames.where == HOST else ""
        self._chain = encoder(
            chosen.name, width, height, self.frames.rate, options.bitrate, preset, low, convert=convert
        )
        self.description = f"H.264 by {chosen.name} {way}".strip()
        self.notes = (*self.frames.notes, *chosen.notes)
        self.account = Account(0 if low else REORDERS)
        self._mended = 0.0
        self._stamp = 0
        self._lock = threading.Lock()
        self._start()

    def push(self, buffer: Any, stamp: float, counts: bool = True) -> None:
        """Takes a picture to be shown at `stamp` seconds. counts: whether it is counted; repeated pictures are not."""
        with self._lock:
            # A picture that was repeated during a pause may have a later time than the next new one.
            self._stamp = buffer.pts = buffer.dts = max(self._stamp + SHORTEST, round(stamp * 1e9))
            if counts:
                self.account.put(self._stamp)
            self._feed.push_buffer(buffer)

    def keyframe(self) -> None:
        """Makes the next picture a key frame."""
        event = self._gst.GstVideo.video_event_new_upstream_force_key_unit(self._gst.Gst.CLOCK_TIME_NONE, True, 0)
        self._pipeline.get_by_name("enc").get_static_pad("src").send_event(event)

    def mend(self) -> str:
        """Restarts the pipeline if it has failed, and returns what failed; empty if it works, or was restarted just
        now."""
        if time.monotonic() - self._mended < MEND_EVERY:
            return ""  # errors wait on the bus until the next attempt
        failed = self._pipeline.get_bus().pop_filtered(self._gst.Gst.MessageType.ERROR)
        if failed is None:
            return ""
        self._mended = time.monotonic()
        self._pipeline.set_state(self._gst.Gst.State.NULL)
        self._start()
        return str(failed.parse_error()[0].message)

    def close(self) -> None:
        self._pipeline.set_state(self._gst.Gst.State.NULL)
        self.frames.close()

    def _start(self) -> None:
        gst = self._gst.Gst
        self._pipeline = gst.parse_launch(
            f"appsrc name=feed is-live=true format=time block=false max-buffers={RAW_FRAMES} max-bytes=0 "
            f"leaky-type=downstream ! {self.frames.convert}{self._chain} config-interval=-1 "
            "! video/x-h264,stream-format=byte-stream,alignment=au "
            "! appsink name=out sync=false emit-signals=true max-buffers=4 drop=false"
        )
        self.frames.attach(self._pipeline)
        self._feed = self._pipeline.get_by_name("feed")
        self._feed.set_property("caps", self.frames.caps)
        self._pipeline.get_by_name("out").connect("new-sample", self._pull)
        self._pipeline.set_state(gst.State.PLAYING)

    def _pull(self, sink: Any) -> Any:
        gst = self._gst.Gst
        sample = sink.pull_sample()
        if sample is not None:
            buffer = with_own_times(self._gst, sample.get_buffer())
            # x264enc shifts all times by 1000 hours, and the segment with them; running time is what was pushed.
            buffer.pts = sample.get_segment().to_running_time(gst.Format.TIME, buffer.pts)
            self._give(buffer, not buffer.has_flags(gst.BufferFlags.DELTA_UNIT))
        return gst.FlowReturn.OK

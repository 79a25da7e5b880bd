"""A GStreamer pipeline that turns pictures into H.264, one access unit at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from ..media.gst_encoder import choose_encoder, encoder
from ..media.gst_frames import FrameBuffers, with_own_times
from ..media.info import VideoInfo
from .base import SinkOptions

RAW_FRAMES = 2
"""pictures that wait for the encoder; the oldest is lost for a new one"""
REORDERS = 16
"""most pictures that H.264 may hold back to show them later (max_dec_frame_buffering)"""
SHORTEST = 1_000_000
"""nanoseconds from one picture to the next: RTP counts in 1/90000 s, and two at one time would be taken for one"""
MEND_EVERY = 5.0
"""seconds between two attempts to start an encoder that failed"""


class Account:
    """Which pictures went into an encoder, and what became of them: each comes out, or is lost. For several threads."""

    def __init__(self, reorders: int) -> None:
        """reorders: so many later ones at most may come out before a picture does: B-frames."""
        self._reorders, self._lock = reorders, threading.Lock()
        self._inside: dict[int, int] = {}
        """time of each picture -> how many later ones have come out"""

    def put(self, stamp: int) -> None:
        """A picture of that time went in."""
        with self._lock:
            self._inside[stamp] = 0

    def out(self, stamp: int) -> tuple[bool, int]:
        """One of that time came out: whether it was put in, and how many before it are lost, told once."""
        with self._lock:
            known = self._inside.pop(stamp, None) is not None
            for earlier in [one for one in self._inside if one < stamp]:
                self._inside[earlier] += 1
            lost = [one for one, later in self._inside.items() if later > self._reorders]
            for one in lost:
                del self._inside[one]
        return known, len(lost)

    def empty(self) -> int:
        """How many are inside; they are lost."""
        with self._lock:
            left = len(self._inside)
            self._inside.clear()
        return left


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
        self.account = Account(0 if low else REORDERS)
        self._mended = 0.0
        self._stamp = 0
        self._lock = threading.Lock()
        self._start()

    def push(self, buffer: Any, stamp: float, counts: bool = True) -> None:
        """Takes a picture to be shown at `stamp` seconds. counts: it is kept account of, as all but repeated ones."""
        with self._lock:
            # A picture sent again in silence may be later than the next one that comes.
            self._stamp = buffer.pts = buffer.dts = max(self._stamp + SHORTEST, round(stamp * 1e9))
            if counts:
                self.account.put(self._stamp)
            self._feed.push_buffer(buffer)

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

"""A whole pipeline around a source, in a thread, with what tests ask about it."""

from __future__ import annotations

import gc
import threading
from collections import deque
from typing import Any

from memories import ON_HOST, Memory
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.engine.picture import HOST
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.info import VideoInfo
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink
from saliency_tubes.stream.sources.base import SourceOptions
from stubs import StubRunner
from waiting import wait_for


class CountingSink(Sink):
    """Counts frames wherever they lie, and keeps what is wrong with them."""

    takes = frozenset({HOST, "cuda:0"})

    def __init__(self) -> None:
        super().__init__("count")
        self.gaps = 0
        self.wrong: list[str] = []
        self.recent: deque[Any] = deque(maxlen=100)
        """(index, pts, gap) of the last frames"""

    def open(self, info: VideoInfo) -> None:
        self._size = (info.width, info.height)

    def write(self, shown: Shown) -> None:
        frame = shown.frame
        index, pts, _ = self.recent[-1] if self.recent else (-1, -1, False)
        if frame.index <= index or frame.pts <= pts:
            self.wrong.append(f"frame {frame.index} at {frame.pts} after {index} at {pts}")
        if (frame.image.width, frame.image.height) != self._size:
            self.wrong.append(f"frame {frame.index} has another size")
        self.gaps += frame.gap
        self.recent.append((frame.index, frame.pts, frame.gap))
        self.frames_written += 1


class Viewer:
    """Runs a stub network over a source in live mode. At the end every frame must be accounted for, and every copy."""

    def __init__(self, url: str, memory: Memory = ON_HOST, **options: Any) -> None:
        self.source: Any = memory.open(url, SourceOptions(**options))
        self.sink = CountingSink()
        self.error: Exception | None = None
        self._place = memory.place
        self._pipeline = Pipeline(self.source, StubRunner(), [self.sink], Options(sync="live"), place=memory.place)
        self._thread = threading.Thread(target=self._run, name="saliency-tubes viewer")
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._pipeline as pipeline:
                for shown in pipeline:
                    del shown
        except SourceError as error:
            self.error = error

    def more(self, frames: int = 5, within: float = 5.0) -> float:
        """Waits for that many more frames to leave the pipeline; returns after how many seconds the first did."""
        start = self.sink.frames_written
        first = wait_for(lambda: self.sink.frames_written > start, within)
        wait_for(lambda: self.sink.frames_written >= start + frames, within)
        return first

    def drain(self) -> None:
        """Waits until every frame that came has left the pipeline, or was dropped."""
        wait_for(lambda: (now := self._pipeline.summary).frames_read == now.frames_written + now.frames_dropped)

    @property
    def dropped(self) -> int:
        """Frames so far that came and did not leave."""
        return self._pipeline.summary.frames_dropped

    def close(self) -> None:
        self._pipeline.stop()
        self._thread.join(SourceOptions().open_timeout + 2)  # an attempt to connect is not cut short
        assert not self._thread.is_alive()
        self.source.close()
        assert self.sink.wrong == []
        assert self.error is None
        self._account()

    def _account(self) -> None:
        summary, snapshot = self._pipeline.summary, self._pipeline.snapshot()
        assert summary.frames_written == snapshot.frames_out == self.sink.frames_written
        assert summary.frames_read == summary.frames_written + summary.frames_dropped
        lost = snapshot.dropped[("source", "too late")] + snapshot.dropped[("read", "queue full")]
        assert snapshot.frames_in == snapshot.frames_out + lost
        if self._place is not None:
            self._account_there()

    def _account_there(self) -> None:
        """Of a place on a GPU: no frame is held any more, and none was copied to the host but one for the picture of
        each outage."""
        gc.collect()
        assert self._place.leases == 0
        assert self._place.host_copies <= self.source.reconnects

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

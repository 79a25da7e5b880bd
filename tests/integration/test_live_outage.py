"""A camera that goes away and comes back, seen by who watches, and not by what records."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
from rtspclients import FAST
from saliency_tubes.stream.media.gst_load import Missing, load
from servers import RtspServer, python_with_gi
from videos import all_pts
from waiting import free_port, wait_for

try:
    load("GstApp", "GstVideo", "GstRtsp", "GstRtspServer")
except Missing as missing:
    pytest.skip(str(missing), allow_module_level=True)
if python_with_gi() is None:
    pytest.skip("needs GstRtspServer", allow_module_level=True)

FIRST = 20
"""frames at whose times a client is still guessing"""


class Viewer(threading.Thread):
    """Watches until told to stop: of each frame its time, how often its middle line turns bright: letters do often."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.seen: list[tuple[float, int]] = []
        self.done = threading.Event()
        self.error: Exception | None = None
        self._url = url

    def run(self) -> None:
        try:
            with av.open(self._url, options=FAST, timeout=(10, 3)) as container:
                for frame in container.decode(video=0):
                    bright = frame.to_ndarray(format="gray")[frame.height // 2] > 128
                    self.seen.append((frame.time or 0.0, int(np.diff(bright.astype(int)).clip(0).sum())))
                    if self.done.is_set():
                        return
        except Exception as error:
            self.error = error


def test_the_served_view_goes_on(tmp_path: Path) -> None:
    port, film = free_port(), tmp_path / "out.mkv"
    with RtspServer(rate=20) as camera:
        words = [camera.url(), f"rtsp://@:{port}/view", str(film), "--stall", "1", "--sync", "live", "--frames", "16"]
        command = [Path(sys.executable).with_name("saliency-tubes"), "run", *words]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
            viewer = Viewer(f"rtsp://127.0.0.1:{port}/view")
            try:
                wait_for(lambda: film.exists() and film.stat().st_size > 2000, 60)
                viewer.start()
                wait_for(lambda: len(viewer.seen) > 2 * FIRST, 60)
                camera.kill()
                count = len(viewer.seen)
                wait_for(lambda: len(viewer.seen) > count + 16, 60)  # some are the last ones, sent again
                camera.start()
                back = len(viewer.seen)
                wait_for(lambda: len(viewer.seen) > back + 60, 60)
            finally:
                viewer.done.set()
                viewer.join()
                run.terminate()
                _, told = run.communicate(timeout=60)
    assert viewer.error is None
    times, edges = np.array(viewer.seen[FIRST:]).T
    assert np.all(np.diff(times) > 0), [(i, times[i - 2 : i + 3]) for i in np.flatnonzero(np.diff(times) <= 0)]
    assert np.diff(times).max() < 2.5
    away = edges > 10
    assert away.sum() >= 5
    assert not away[:5].any()
    assert not away[-20:].any()
    assert np.diff(np.flatnonzero(away)).max() == 1  # one outage, and nothing else in it
    assert "connected again" in told
    assert "frames said that there was no signal" in told
    recorded = [float(pts) for pts in all_pts(film)]
    assert max(np.diff(recorded)) > 2.0  # nothing was recorded meanwhile

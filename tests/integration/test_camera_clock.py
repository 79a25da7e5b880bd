"""The camera's own clock, as its RTCP reports tell it, through both backends."""

from __future__ import annotations

import time

import pytest
from saliency_tubes.stream.sources import gst_feed
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, python_with_gi

pytestmark = pytest.mark.skipif(python_with_gi() is None, reason="needs GstRtspServer")


@pytest.mark.parametrize("backend", ["av", "gst"])
def test_frames_carry_the_time_of_the_camera_s_reports(backend: str) -> None:
    if backend == "gst" and not gst_feed.available():
        pytest.skip("needs GStreamer")
    with RtspServer(rate=10) as server:
        source = open_source(server.url(), SourceOptions(backend=backend))
        try:
            late, deadline = [], time.monotonic() + 30
            for frame in source:
                if frame.wall is not None:
                    assert frame.wall.clock == "camera"
                    late.append(time.time() - frame.wall.seconds)
                assert time.monotonic() < deadline, "no report came"
                if len(late) == 20:
                    break
        finally:
            source.close()
    # The camera's clock is this machine's, and a frame is not taken after it has come.
    assert -0.1 < min(late) <= max(late) < 10

"""Video that was damaged on its way: it is shown, and left out of what is explained, up to the next key frame."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from proxy import Proxy
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sources.av_feed import AvFeed
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import FeedEnded
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import NOISE, RtspServer, python_with_gi
from stubs import MemorySink, StubRunner
from videos import make_video

BACKENDS = [
    "av",
    pytest.param("gst", marks=pytest.mark.skipif(not available(), reason="this Python has no GStreamer")),
]
GROUP, HIT, FRAMES = 20, 25, 60
"""frames from one key frame to the next; the one whose packet is damaged"""


def textured(index: int, size: tuple[int, int]) -> Any:
    """Something that moves, and that a decoder cannot guess."""
    noise = np.random.default_rng(7).integers(0, 255, (size[1], size[0] + 200, 3), np.uint8)
    return np.ascontiguousarray(noise[:, 2 * index : 2 * index + size[0]])


def damaged_clip(folder: Path, codec: str, options: dict[str, str], cut: bool = False) -> Path:
    """A clip, and of one of its packets the second half garbage, or cut off."""
    whole = make_video(folder / "whole.mkv", codec=codec, frames=FRAMES, size=(160, 120), draw=textured,
                       options=options, pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p")  # fmt: skip
    path = folder / f"damaged-{codec}.mkv"
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if not packet.size:
                continue
            data = bytearray(bytes(packet))
            if index == HIT:
                half = len(data) // 2
                data[half:] = b"" if cut else bytes(255 - byte for byte in data[half:])
            copy = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            output.mux(copy)
    return path


@pytest.mark.parametrize("realtime", [False, True])
@pytest.mark.parametrize(
    ("codec", "options", "last"),
    [
        ("libx264", {"g": str(GROUP), "preset": "ultrafast", "tune": "zerolatency"}, 2 * GROUP),
        ("mpeg4", {"g": str(GROUP)}, 2 * GROUP),
    ],
)
def test_a_file(tmp_path: Path, codec: str, options: dict[str, str], last: int, realtime: bool) -> None:
    path = damaged_clip(tmp_path, codec, options)
    source = open_source(str(path), SourceOptions(realtime=realtime))
    frames = list(source)
    source.close()
    found = {round(25 * frame.time): frame.damaged for frame in frames}
    assert set(range(FRAMES)) - set(found) <= {HIT}  # of which there may be nothing left to show
    first = min(number for number, damaged in found.items() if damaged)
    # Each of FFmpeg's threads works at a frame, and says late what is wrong with it.
    assert HIT - (os.cpu_count() or 1) - 1 <= first <= HIT + 1
    assert all(found[number] == (first <= number < last) for number in found)
    assert source.health().errors > 0


def test_a_camera_whose_pictures_are_of_one_slice_each(tmp_path: Path) -> None:
    """FFmpeg's decoder of H.264 says nothing of what it guessed in threads by slices."""
    path = damaged_clip(tmp_path, "libx264", {"g": str(GROUP), "bf": "2"}, cut=True)
    feed = AvFeed(Address.parse(path), Address.parse(path), None, {}, (5.0, 5.0))
    found: dict[int, bool] = {}
    with suppress(FeedEnded):
        while True:
            frame = feed.read(1.0)
            if frame is not None:
                found[round(25 * frame.pts * frame.time_base)] = frame.damaged
    feed.close()
    damaged = [number for number, marked in found.items() if marked]
    assert damaged == list(range(damaged[0], 2 * GROUP))
    assert HIT <= damaged[0] <= HIT + 2  # packets come in another order than frames are shown in


def test_its_events_say_what_was_left_out(tmp_path: Path) -> None:
    path = damaged_clip(tmp_path, "mpeg4", {"g": "2"})
    sink = MemorySink()
    source = open_source(str(path))
    with Pipeline(source, StubRunner(), [sink], Options(hop=2)) as pipeline:
        assert len(list(pipeline)) == FRAMES
    source.close()
    events = [json.loads(line) for line in sink.lines]
    told = [event for event in events if "damaged" in event]
    assert told
    assert len(told) < len(events)
    for event in told:
        assert event["frames"][0] <= HIT <= event["frames"][1]
        assert 0 < event["damaged"] == pipeline.snapshot().frames_damaged


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
def test_packets_lost_on_their_way_from_a_camera(backend: str) -> None:
    """A tenth of a second of losses in a stream with a key frame each half second."""
    marks: list[bool] = []
    with RtspServer(launch=NOISE) as server, Proxy(server.port, drop=0.2) as proxy:
        proxy.active = False
        source = open_source(proxy.url(), SourceOptions(backend=backend))
        for frame in source:
            marks.append(frame.damaged)
            if len(marks) == 40:
                proxy.active = True
            if len(marks) > 40 and proxy.spoiled >= 2:
                proxy.active = False
            if len(marks) > 40 and any(marks) and len(marks) >= 40 + 5 * 15 and not marks[-1]:
                break
            assert len(marks) < 300
        source.close()
    assert not any(marks[:40])
    first, last = marks.index(True), len(marks) - 1 - marks[::-1].index(True)
    assert all(marks[first : last + 1]) or last - first > 15  # losses over a key frame
    assert last - first < 3 * 15
    assert not any(marks[-15:])

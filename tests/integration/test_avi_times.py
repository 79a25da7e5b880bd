"""AVI stores no times, only an order: frames get even ones, whatever the codec does with B-frames."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from saliency_tubes.engine.picture import on_host
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.media.av_planes import samples
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.av_feed import connector
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import FeedEnded, FeedFrame
from saliency_tubes.stream.sources.open import open_source
from videos import Rgb, make_video, packets
from web import web

FRAMES = 31
"""the last one is a keyframe or a P-frame: all before it can be shown"""
RATE = 25
STEP = Fraction(1, RATE)
FINE = {"qmin": "1", "qmax": "2"}
B_FRAMES = {
    "mpeg4": {"bf": "2", **FINE},
    "mpeg2video": {"bf": "2", **FINE},
    "libx264": {"bf": "3", "b-adapt": "0", "crf": "10"},
}
NO_B_FRAMES = {codec: {**options, "bf": "0"} for codec, options in B_FRAMES.items()}
KINDS = [(codec, options) for kinds in (B_FRAMES, NO_B_FRAMES) for codec, options in kinds.items()]


def grey(index: int, size: tuple[int, int]) -> Rgb:
    """A picture that says its number."""
    return np.full((size[1], size[0], 3), 10 + 7 * index, np.uint8)


def number(luma: Any) -> int:
    """That number, of a frame in limited range."""
    return round(((float(luma.mean()) - 16) * 255 / 219 - 10) / 7)


def make_avi(path: Path, codec: str, options: dict[str, str], **how: Any) -> Path:
    return make_video(path, codec=codec, frames=FRAMES, rate=RATE, options={"g": "100", **options}, draw=grey, **how)


def make_packed(path: Path) -> Path:
    """MPEG-4 with packed B-frames, as DivX and Xvid write it: two pictures in one chunk, then a chunk with none."""
    plain = make_avi(path.with_suffix(".m4v"), "mpeg4", {"bf": "1", **FINE}, container="m4v")
    chunks: list[bytes] = []
    with av.open(str(plain)) as source:
        data = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    for picture in data:
        start = picture.index(b"\0\0\1\xb6")  # of the picture's own header, whose first two bits are its type
        if picture[start + 4] >> 6 == 2:
            chunks[-1] += picture
            chunks.append(b"\0\0\1\xb6\x51\0\0")
        else:
            # What the encoder calls itself says that it packs.
            chunks.append(picture if chunks else picture[:start] + b"\0\0\1\xb2DivX503b1393p" + picture[start:])
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.codec_tag = 64, 48, "XVID"
        output.start_encoding()
        for index, chunk in enumerate(chunks):
            output.mux_one(chunk_packet(stream, chunk, index))
    return path


def chunk_packet(stream: Any, chunk: bytes, index: int) -> av.Packet:
    packet = av.Packet(chunk)
    packet.stream, packet.time_base, packet.is_keyframe = stream, STEP, index == 0
    packet.pts = packet.dts = index
    return packet


def played(path: Path) -> list[tuple[Fraction, int]]:
    """Time and number of every frame; nothing may have been repaired."""
    source = open_source(str(path))
    found = [(frame.pts * frame.time_base, number(frame.picture.planes[0])) for frame in source]
    source.close()
    assert source.remarks == ()
    return found


def guessed(path: Path) -> list[int | None]:
    """What FFmpeg takes for the pts of the frames, in the order they are shown."""
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


EVEN = [(index * STEP, index) for index in range(FRAMES)]


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mp4"])
@pytest.mark.parametrize(("codec", "options"), KINDS)
def test_every_frame_has_its_time(tmp_path: Path, codec: str, options: dict[str, str], suffix: str) -> None:
    assert played(make_avi(tmp_path / f"clip.{suffix}", codec, options)) == EVEN


def test_packed_b_frames(tmp_path: Path) -> None:
    path = make_packed(tmp_path / "clip.avi")
    stamps = guessed(path)
    assert stamps != sorted(stamps), "the clip is not of the kind that is meant"
    assert played(path) == EVEN


def test_h264_with_b_frames_is_guessed_wrong(tmp_path: Path) -> None:
    stamps = guessed(make_avi(tmp_path / "clip.avi", "libx264", B_FRAMES["libx264"]))
    assert stamps != sorted(stamps), "the test above needs another clip"


@pytest.mark.parametrize("missing", [5, 6])
def test_a_chunk_that_is_missing_moves_no_other_frame(tmp_path: Path, missing: int) -> None:
    """missing: the place of a B-frame in the order of decoding, I0 P3 B1 B2 P6 B4 B5."""
    whole, path = make_avi(tmp_path / "whole.avi", "mpeg4", B_FRAMES["mpeg4"]), tmp_path / "clip.avi"
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and index != missing:
                packet.stream = stream
                output.mux_one(packet)
    assert played(path) == [pair for pair in EVEN if pair[1] != missing - 1]


@pytest.mark.parametrize("make", [make_packed, lambda path: make_avi(path, "libx264", B_FRAMES["libx264"])])
def test_over_the_web(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "clip.avi")
    with web(tmp_path) as address:
        frames = list(fed(f"{address}/clip.avi"))
    times = [frame.pts * frame.time_base for frame in frames if frame.pts is not None]
    assert times == [time for time, _ in EVEN]
    assert [number(on_host(frame.image).planes[0]) for frame in frames] == [index for _, index in EVEN]


def fed(uri: str) -> Iterator[FeedFrame]:
    feed = connector(Address.parse(uri), SourceOptions(), 5.0)()
    try:
        while True:
            frame = feed.read(1.0)
            if frame is not None:
                yield frame
    except FeedEnded:
        return
    finally:
        feed.close()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(("codec", "options"), KINDS)
def test_sound_stays_where_it_is(tmp_path: Path, codec: str, options: dict[str, str], suffix: str) -> None:
    path, copy = make_avi(tmp_path / "in.avi", codec, options, audio="libmp3lame"), tmp_path / f"out.{suffix}"
    source, sink = open_source(str(path)), open_sink(str(copy))
    sink.open(source.info)
    for frame in source:
        sink.write(Shown(frame, ()))
    sink.close()
    source.close()
    assert (source.remarks, sink.notes) == ((), ())
    tolerance = 0 if suffix == "mp4" else Fraction(1, 1000)
    with av.open(str(copy)) as container:
        frames = list(container.decode(video=0))
    shown = [(frame.pts * frame.time_base, number(samples(frame.planes[0], 1))) for frame in frames]
    assert [index for _, index in shown] == [index for _, index in EVEN]
    assert all(abs(time - even) <= tolerance for (time, _), (even, _) in zip(shown, EVEN, strict=True))
    before, after = packets(path), packets(copy)
    assert before[0][0] == 0
    assert len(after) >= len(before) - 3
    for (time, data), (moved, copied) in zip(before, after, strict=False):
        assert copied == data
        assert abs(time - moved) <= Fraction(1, 1000)

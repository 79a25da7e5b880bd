"""The test pattern: what it draws can be read back, through a bad encoder, a change of size, and an overlay."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from barcodes import read_barcode, read_time
from hypothesis import given, settings
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from saliency_tubes.stream.sources.pattern import (
    MARK,
    PatternSource,
    PatternSpec,
    draw,
    mark_at,
    now_ms,
    open_pattern,
)
from videos import make_video

SIZES = [(160, 96), (320, 240), (641, 479), (1280, 720), (96 * 2, 640)]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.sampled_from(SIZES))
@settings(max_examples=50, deadline=None)
def test_what_is_drawn_is_read(number: int, milliseconds: int, size: tuple[int, int]) -> None:
    luma = draw(number, milliseconds, size).planes[0]
    assert (read_barcode(luma), read_time(luma)) == (number, milliseconds)


@pytest.mark.parametrize("size", [(320, 240), (640, 480)])
def test_it_survives_a_bad_encoder(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_video(
        tmp_path / "clip.mp4",
        size=size,
        frames=40,
        options={"crf": "40", "preset": "ultrafast", "tune": "zerolatency"},
        draw=lambda index, size: draw(1_000_003 * index, 77 * index, size).rgb(),
    )
    source = open_source(str(path))
    read = [(read_barcode(frame.picture.planes[0]), read_time(frame.picture.planes[0])) for frame in source]
    source.close()
    assert read == [(1_000_003 * i, 77 * i) for i in range(40)]


@pytest.mark.parametrize("size", [(640, 360), (320, 180), (854, 480), (1920, 1080)])
def test_it_survives_scaling(size: tuple[int, int]) -> None:
    luma = draw(4321, 1234, (1280, 720)).planes[0]
    scaled = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)
    assert (read_barcode(scaled), read_time(scaled)) == (4321, 1234)


def test_it_survives_an_overlay() -> None:
    luma = draw(4321, 1234, (640, 480)).planes[0].astype(float)
    tint = np.linspace(0, 0.7, 640)
    assert read_barcode((luma * (1 - tint) + 180 * tint).astype(np.uint8)) == 4321


def test_no_barcode_is_none() -> None:
    random = np.random.default_rng(1)
    assert read_barcode(np.full((240, 320), 128, np.uint8)) is None
    noise = [random.integers(0, 256, (240, 320), dtype=np.uint8) for _ in range(50)]
    assert all(read_barcode(luma) is None for luma in noise)
    damaged = draw(5, 6, (320, 240)).planes[0]
    damaged[:4, :8], damaged[4:8, :8] = damaged[4:8, :8].copy(), damaged[:4, :8].copy()
    assert read_barcode(damaged) is None


@pytest.mark.parametrize("size", SIZES)
def test_the_mark_is_where_it_is_said_to_be(size: tuple[int, int]) -> None:
    for number in range(0, 15_000, 111):
        luma = draw(number, 0, size).planes[0]
        y, x = np.nonzero(luma == MARK)
        assert luma.max() == MARK
        assert (x.mean(), y.mean()) == pytest.approx(mark_at(number, size), abs=0.51)
        assert read_barcode(luma) == number


def test_as_fast_as_it_is_read() -> None:
    source = open_source("test://?size=320x240&rate=30000/1001&frames=5")
    frames = list(source)
    assert (source.live, source.info.expected_frames, source.info.rate) == (False, 5, Fraction(30_000, 1001))
    assert [read_barcode(frame.picture.planes[0]) for frame in frames] == list(range(5))
    assert [read_time(frame.picture.planes[0]) for frame in frames] == [0, 33, 67, 100, 133]
    assert [frame.time for frame in frames] == pytest.approx([i * 1001 / 30_000 for i in range(5)])


def test_in_real_time() -> None:
    now = [50.0]

    def wait(seconds: float) -> bool:
        now[0] += seconds
        return False

    spec = PatternSpec((160, 96), Fraction(10), None, realtime=True)
    source = PatternSource(spec, clock=lambda: now[0], wait=wait)
    frames = iter(source)
    times = []
    for frame, _ in zip(frames, range(20), strict=False):
        times.append(now[0])
        assert abs(now_ms() - (read_time(frame.picture.planes[0]) or 0)) < 1000
    assert [b - a for a, b in pairwise(times)] == pytest.approx([0.1] * 19)
    source.stop()
    assert next(frames, None) is None


def test_without_an_end_it_is_a_camera() -> None:
    assert PatternSpec.parse(Address.parse("test://")) == PatternSpec(realtime=True)
    assert PatternSpec.parse(Address.parse("test://?realtime=0")) == PatternSpec()
    assert open_pattern(Address.parse("test://?frames=3"), SourceOptions(realtime=True)).live


@pytest.mark.parametrize(
    "query", ["size=9", "size=10x10", "rate=0", "rate=x", "rate=1/0", "frames=0", "colour=red", "realtime=yes"]
)
def test_what_it_does_not_know(query: str) -> None:
    with pytest.raises(UsageError, match="an example: test://"):
        open_source(f"test://?{query}")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("size=abc", "size must be WxH in pixels, got 'abc'"),
        ("size=1x2x3", "size must be WxH in pixels, got '1x2x3'"),
        ("rate=1/0", "rate must be frames a second, as 25 or 30000/1001, got '1/0'"),
        ("frames=1.5", "frames must be a whole number, got '1.5'"),
        ("realtime=yes", "realtime must be 0 or 1, got 'yes'"),
        ("realtime=2", "realtime must be 0 or 1, got '2'"),
        ("size=100000x100000", "size must be 160x96 to 8192x8192, got 100000x100000"),
        ("size=640x8193", "size must be 160x96 to 8192x8192, got 640x8193"),
        ("size=-640x480", "size must be 160x96 to 8192x8192, got -640x480"),
        ("rate=1001", "rate must be 0.01 to 1000, got 1001"),
        ("rate=0.000001", "rate must be 0.01 to 1000, got 1e-06"),
        ("rate=1e999999999", "rate must be frames a second, as 25 or 30000/1001, got '1e999999999'"),
        ("frames=-1", "frames must be 1 to 1000000000, got -1"),
        ("frames=1000000000000000000000", "frames must be 1 to 1000000000, got 1000000000000000000000"),
        ("colour=red", "'colour' is not one of size, rate, frames, realtime"),
    ],
)
def test_what_it_accepts_is_said(query: str, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"test://?{query}: {says}; an example")):
        PatternSpec.parse(Address.parse(f"test://?{query}"))

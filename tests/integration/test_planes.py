"""Between decoder and encoder a frame stays in its planes: no full-size RGB, and no other copy of its size."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from pictures import make_picture
from saliency_tubes.engine.draw.caption import Caption, draw_caption
from saliency_tubes.engine.draw.overlay import Overlay, paths
from saliency_tubes.engine.draw.style import PRESETS, Style
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.types import Crop
from saliency_tubes.stream.media import av_encoder, av_planes
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.open import open_source
from stubs import StubRunner
from videos import make_video

WIDTH, HEIGHT, FRAMES = 640, 480, 24


def refuse(*arguments: object, **options: object) -> None:
    raise AssertionError("a picture was converted to RGB, or from it")


class NoReformatter:
    reformat = refuse


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of everything OpenCV makes; conversions of whole pictures fail."""
    made: list[int] = []

    def watch(name: str) -> None:
        original = getattr(cv2, name)

        def counted(*arguments: object, **options: object) -> object:
            result = original(*arguments, **options)
            made.append(np.asarray(result).nbytes)
            return result

        monkeypatch.setattr(cv2, name, counted)

    for name in ("cvtColor", "transform", "merge", "resize", "LUT", "applyColorMap", "addWeighted"):
        watch(name)
    monkeypatch.setattr(Picture, "rgb", refuse)
    for module in (av_planes, av_encoder):
        monkeypatch.setattr(module, "VideoReformatter", NoReformatter)
    monkeypatch.setattr(av_encoder, "rgb_to_i420", refuse)
    return made


@pytest.mark.skipif(len(paths()) == 1, reason="installed without a C++ compiler: OpenCV resizes for the network")
@pytest.mark.parametrize("sync", ["aligned", "live"])
@pytest.mark.parametrize(("codec", "pix_fmt", "suffix"), [("libx264", "yuv420p", "mp4"), ("rawvideo", "nv12", "nut")])
def test_no_full_size_rgb(watched: list[int], tmp_path: Path, sync: str, codec: str, pix_fmt: str, suffix: str) -> None:
    clip = make_video(tmp_path / f"in.{suffix}", size=(WIDTH, HEIGHT), frames=FRAMES, codec=codec, pix_fmt=pix_fmt)
    source = open_source(str(clip))
    sink = open_sink(str(tmp_path / "out.mp4"))
    with Pipeline(source, StubRunner(), [sink], Options(hop=4, sync=sync)) as pipeline:
        drawn = sum(bool(shown.parts) for shown in pipeline)
    source.close()
    assert pipeline.summary.frames_written + pipeline.summary.frames_dropped == FRAMES
    assert drawn or sync == "live"
    assert watched, "OpenCV made nothing: it is not being watched"
    assert max(watched) < WIDTH * HEIGHT


@pytest.mark.skipif(len(paths()) == 1, reason="installed without a C++ compiler: NumPy works with levels of full size")
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("layout", Layout)
def test_drawing_takes_next_to_no_memory(layout: Layout, preset: str) -> None:
    """What is allocated while a frame is drawn on, at its peak: nothing of the frame's size."""
    style, picture, cells = PRESETS[preset], make_picture(layout, 1080, 1920), np.random.default_rng(0).random((7, 7))
    overlay, caption = Overlay(style), Caption("juggling soccer ball 0.98", "0.0", "21.4")

    def draw() -> None:
        overlay.draw(picture, cells, Crop(0.2, 0, 0.8, 1))
        draw_caption(picture, caption, Style())

    draw()  # tables and the caption are made once
    tracemalloc.start()
    try:
        draw()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < sum(plane.nbytes for plane in picture.planes) / 2

"""What is drawn where evidence grows old, is gone, or never was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from saliency_tubes.engine.draw import host as module
from saliency_tubes.engine.draw.host import HostPlace
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.types import ClassScore, Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.pipeline.painter import Painter
from saliency_tubes.stream.pipeline.sync import Gaps, Live, Placed
from stubs import StubSource, even_pool


def explanation() -> Explanation:
    cells = np.ones((2, 4, 4), np.float32)
    yoga = (ClassScore(0, "yoga", 0.9, 12.0),)
    crop = Crop(0.5, 0.5, 1.0, 1.0)
    tube = Tube(cells, Span(0, 8), crop, even_pool(cells), (0, 2))
    return Explanation(0, yoga, yoga, tube, Scale(0, 1), (0, 7), StubSource(1).info.time_base)


def paint(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], bool]:
    """What is written, and whether a tube was drawn."""
    written: list[str] = []
    monkeypatch.setattr(module, "draw_caption", lambda picture, caption, *rest: written.append(caption.text))
    before = placed.frame.picture.planes[1].copy()
    painter = Painter(HostPlace(), Style())
    painter.paint(placed, painter.painter.style)
    painter.close()
    return written, not np.array_equal(before, placed.frame.picture.planes[1])


def frames(count: int) -> list[Frame]:
    return list(StubSource(count, size=(320, 240)))


def test_the_picture_says_how_old_its_evidence_is_once_it_fades(monkeypatch):
    live, newest, video = Live(max_age=1.0, fade=1.0), explanation(), frames(100)
    found = {index: paint(live.place(video[index], newest), monkeypatch) for index in (10, 25, 45, 70, 99)}
    assert found == {
        10: (["yoga 0.90"], True),
        25: (["yoga 0.90"], True),
        45: (["evidence 1.6 s old"], True),  # half faded
        70: (["evidence 2.6 s old"], False),
        99: (["evidence 3.7 s old"], False),
    }


def test_the_picture_says_for_how_long_no_evidence_has_come(monkeypatch):
    gaps, video = Gaps(), frames(120)
    live = Live(max_age=1.0, gaps=gaps)
    video[60] = replace(video[60], gap=True)  # what was there before it is not drawn after it
    gaps.add(60)
    found = {index: paint(live.place(video[index], None if index < 50 else explanation()), monkeypatch)[0]
             for index in (0, 24, 26, 60, 84, 110)}  # fmt: skip
    assert found == {0: [], 24: [], 26: ["no evidence yet, 1 s"], 60: [], 84: [], 110: ["no evidence yet, 2 s"]}


def test_where_there_is_no_evidence_there_is_no_age(monkeypatch):
    assert paint(Live(max_age=1.0).place(frames(100)[99], None), monkeypatch) == ([], False)
    assert paint(Placed(frames(5)[4], at=4), monkeypatch) == ([], False)

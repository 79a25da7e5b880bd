"""Files that play like a camera, where their clock makes a leap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import pytest
from saliency_tubes.engine.types import Frame
from saliency_tubes.stream.sources.replay import Replay
from stubs import StubSource


class Joined(StubSource):
    """Two recordings in one file: the second one's clock is a day ahead."""

    def __iter__(self) -> Iterator[Frame]:
        for frame in super().__iter__():
            yield replace(frame, pts=frame.pts + (frame.index >= 20) * 25 * 86_400)


@pytest.mark.parametrize(("rate", "gaps"), [(Fraction(25), [20]), (Fraction(1, 100_000), [])])
def test_a_leap_is_not_waited_for(rate: Fraction, gaps: list[int]) -> None:
    now = 100.0

    def wait(seconds: float) -> bool:
        nonlocal now
        now += seconds
        return False

    source = Joined()
    source.info = replace(source.info, rate=rate)  # of a file that shows the passing of years, a day is one frame
    replay = Replay(lambda: source, True, False, clock=lambda: now, wait=wait)
    frames = list(replay)
    assert [frame.index for frame in frames if frame.gap] == gaps
    assert now - 100 == pytest.approx(38 / 25 if gaps else 86_400 + 39 / 25, abs=0.01)

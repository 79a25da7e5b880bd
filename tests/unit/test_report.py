"""What a run says at its end."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import ClassScore, Explanation
from saliency_tubes.stream.app.report import SEEN, Report
from saliency_tubes.stream.pipeline.explainer import Look
from saliency_tubes.stream.telemetry.log import logging_to
from saliency_tubes.stream.telemetry.summary import Summary, Tally
from stubs import StubRunner, StubSource


def window(best: str, probability: float, explained: str = "", its: float = 0.0, repeated: int = 0) -> Explanation:
    top = (ClassScore(0, best, probability, 1.0),)
    chosen = (ClassScore(1, explained, its, 0.5),) if explained else top
    given = {"window": 0, "explained": chosen, "top": top, "repeated": repeated}
    return Explanation(tube=None, scale=None, pts=(0, 1), time_base=None, **given)  # type: ignore[arg-type]


@dataclass
class Job:
    """As much of one as a report asks for."""

    pipeline: Any
    options: Any
    config: Any = field(default_factory=lambda: SimpleNamespace(name="", limit=None))
    source: Any = field(default_factory=StubSource)
    runner: Any = field(default_factory=StubRunner)
    sinks: list[Any] = field(default_factory=list)


def end(windows: list[Explanation], target: Target | None = None, sync: str = "live", drawn: int = 30) -> list[str]:
    tally = Tally()
    for one in windows:
        tally.add(one)
    summary = Summary(41, 40, 1, len(windows), {}, 0, drawn, tally.saw, tally.explained, tally.repeated)
    final = SimpleNamespace(
        frames_in=41, frames_out=40, frames_dropped=1, frames_drawn=drawn, windows=len(windows), not_finite=0,
        outage_frames=0, frames_damaged=0, dropped={("read", "queue full"): 1},
    )  # fmt: skip
    pipeline = SimpleNamespace(summary=summary, look=Look(target or Target()))
    said = io.StringIO()
    with logging_to(said):
        Report(Job(pipeline, SimpleNamespace(sync=sync)), None).end(final)  # type: ignore[arg-type]
    return [" ".join(line.split()) for line in said.getvalue().splitlines()]


def test_all_windows_count_whether_they_were_drawn_or_not():
    *saw, dropped, done = end([window("yoga", 0.5), window("tai chi", 0.4), window("yoga", 0.9)], drawn=0)
    assert saw == ["saw yoga: 2 of 3 windows, up to 0.90", "saw tai chi: 1 of 3 windows, up to 0.40"]
    assert dropped == "dropped read, queue full: 1"
    assert done.startswith("done 41 frames in, 40 out, 1 dropped; 3 windows, a tube on 0% of the frames; ")


def test_it_saw_what_was_most_probable_and_not_what_was_held_or_asked_for():
    windows = [window("yoga", 0.6, "tai chi", 0.3), window("yoga", 0.7, "tai chi", 0.2)]
    assert end(windows)[:-2] == ["saw yoga: 2 of 2 windows, up to 0.70"]
    assert end(windows, Target(1))[:-2] == [
        "saw yoga: 2 of 2 windows, up to 0.70",
        "saw tai chi, which was asked for: up to 0.30",
    ]


def test_the_most_frequent_classes_are_named():
    windows = [window(f"class {number}", 0.5) for number in range(9) for _ in range(number + 1)]
    saw = end(windows)[:-2]
    assert len(saw) == SEEN
    assert saw[0] == "saw class 8: 9 of 45 windows, up to 0.50"


@pytest.mark.parametrize(
    ("sync", "words"), [("live", "1 windows, a tube on 75% of the frames;"), ("aligned", "1 windows; ")]
)
def test_how_many_frames_had_a_tube_is_said_of_live_runs(sync: str, words: str):
    assert words in end([window("yoga", 0.5)], sync=sync)[-1]


def test_a_video_shorter_than_a_window_is_noted():
    assert "note the video is shorter than a window of 8 frames: its last frame is repeated" in end(
        [window("yoga", 0.5, repeated=3)]
    )

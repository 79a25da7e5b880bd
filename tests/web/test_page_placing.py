"""Which windows the page draws on which frame: as the pipeline places them; and what it reads and remembers."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from browser import Page, needs_chromium
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.engine.types import Crop, Explanation, Frame, Scale, Span, Tube
from saliency_tubes.stream.pipeline.sync import Delayed, Gaps, Live

pytestmark = needs_chromium
RATE = 25
PLACE = """(windows, frames, sync, hello, gaps) => frames.map((frame) => {
  const placed = saliencyTubes.modules.placing.place(frame, windows, sync, hello, gaps);
  return [placed.parts, placed.at, placed.age, placed.opacity];
})"""


def explained(starts: Sequence[int], clip_length: int, stride: int, slices: int = 4) -> list[Explanation]:
    made = []
    for number, start in enumerate(starts):
        evidence = np.zeros((slices, 1, 1), np.float32)
        tube = Tube(evidence, Span(start, clip_length, stride), Crop(), evidence, (1, slices - 1))
        last = tube.span.last
        made.append(Explanation(number, (), (), tube, Scale(0, 1), (start, last), Fraction(1, RATE)))
    return made


def messages(windows: Sequence[Explanation]) -> list[dict[str, Any]]:
    return [
        {
            "n": window.window,
            "start": window.tube.span.start,
            "clip_length": window.tube.span.clip_length,
            "stride": window.tube.span.stride,
            "shape": window.tube.evidence.shape,
            "trusted": window.tube.trusted,
            "t": [float(pts * window.time_base) for pts in window.pts],
        }
        for window in windows
    ]


def frames(count: int) -> list[Frame]:
    picture = Picture(Layout.RGB, (np.zeros((1, 1, 3), np.uint8),))
    return [Frame(index, index, Fraction(1, RATE), picture) for index in range(count)]


def as_facts(made: Sequence[Frame]) -> list[dict[str, Any]]:
    return [{"i": frame.index, "t": frame.time, "parts": []} for frame in made]


def same(placed: Sequence[Any], expected: Sequence[Any]) -> None:
    for (parts, at, age, opacity), wanted in zip(placed, expected, strict=True):
        assert [number for number, _ in parts] == [window.window for window, _ in wanted.parts]
        assert [share for _, share in parts] == pytest.approx([share for _, share in wanted.parts])
        assert [at, age, opacity] == pytest.approx([wanted.at, wanted.age, wanted.opacity])


@pytest.mark.parametrize(
    ("starts", "clip_length", "stride"),
    [
        (range(0, 120, 8), 8, 2),
        (range(0, 120, 16), 8, 2),
        (range(3, 120, 5), 16, 1),
        (range(0, 120, 30), 4, 3),
    ],
)
def test_aligned_is_placed_as_the_pipeline_does(modules: Page, starts: range, clip_length: int, stride: int) -> None:
    windows, made = explained(starts, clip_length, stride), frames(140)
    delayed = Delayed(starts.step, Gaps())
    for window in windows:
        delayed.explain(window)
    hello = {"sync": "live", "clip_length": clip_length, "stride": stride}
    placed = modules.run(PLACE, messages(windows), as_facts(made), "aligned", hello, [])
    same(placed, [delayed.place(frame) for frame in made])


def test_live_is_placed_as_the_pipeline_would_if_the_network_took_no_time(modules: Page) -> None:
    windows, made = explained(range(0, 40, 8), 8, 2), frames(160)
    live = Live(max_age=1.5, fade=0.5)
    done = [max((one for one in windows if one.tube.span.last <= f.index), key=lambda one: one.window, default=None)
            for f in made]  # fmt: skip
    hello = {"sync": "aligned", "clip_length": 8, "stride": 2, "max_age": 1.5, "fade": 0.5}
    placed = modules.run(PLACE, messages(windows), as_facts(made), "live", hello, [])
    expected = [live.place(frame, newest) for frame, newest in zip(made, done, strict=True)]
    assert {wanted.opacity for wanted in expected} > {0.0, 1.0}
    same(placed, expected)


def test_no_window_is_drawn_beyond_a_gap(modules: Page) -> None:
    windows, made = explained(range(0, 100, 8), 8, 2), frames(100)
    gaps, delayed = Gaps(), Delayed(8, None)
    gaps.add(41)
    delayed = Delayed(8, gaps)
    for window in windows:
        delayed.explain(window)
    hello = {"sync": "live", "clip_length": 8, "stride": 2}
    placed = modules.run(PLACE, messages(windows), as_facts(made), "aligned", hello, [41])
    expected = [delayed.place(frame) for frame in made]
    for (parts, *_), frame, wanted in zip(placed, made, expected, strict=True):
        starts = [windows[number].tube.span.start for number, _ in parts]
        assert all((start < 41) == (frame.index < 41) for start in starts)
        if frame.index >= 60:
            assert [number for number, _ in parts] == [window.window for window, _ in wanted.parts]


def test_what_the_server_placed_is_drawn_as_it_says(modules: Page) -> None:
    frame = {"i": 5, "t": 0.2, "at": 3, "opacity": 0.5, "age": 0.08, "parts": [[2, 1]]}
    assert modules.run(PLACE, [], [frame], "live", {"sync": "live"}, []) == [[[[2, 1]], 3, 0.08, 0.5]]


# frames and windows by time


KEEP = """(calls, asked) => {
  const { Windows } = saliencyTubes.modules.windows;
  const windows = new Windows();
  for (const [name, value] of calls) {
    windows[name](name === "addWindow" ? { ...value, tube: Float32Array.from(value.tube) } : value);
  }
  return asked.map(([name, ...values]) =>
    typeof windows[name] === "function" ? windows[name](...values) : windows[name]);
}"""


def facts(*times: float, first: int = 0) -> list[dict[str, Any]]:
    return [{"i": first + index, "t": t} for index, t in enumerate(times)]


def test_a_frame_is_found_by_its_time_within_half_a_frame(modules: Page) -> None:
    given = facts(*(index / 25 for index in range(100)))
    asked = [["frameAt", 1.0], ["frameAt", 1.019], ["frameAt", 1.021], ["frameAt", -1], ["frameAt", 5]]
    found = modules.run(KEEP, [["addFrames", given]], asked)
    assert [frame and frame["i"] for frame in found] == [25, 25, 26, None, None]
    asked = [["frameFrom", 1.0, 1], ["frameFrom", 1.0, -2], ["frameFrom", 0.0, -1], ["frameFrom", 3.96, 1]]
    assert [frame["i"] for frame in modules.run(KEEP, [["addFrames", given]], asked)] == [26, 23, 0, 99]


def test_frames_that_come_again_are_there_once(modules: Page) -> None:
    again = [["addFrames", facts(0, 0.04, 0.08, 0.12)], ["addFrames", facts(0.08, 0.12, 0.16, first=2)]]
    first, last, found = modules.run(KEEP, again, [["firstFrame"], ["lastFrame"], ["frameAt", 0.08]])
    assert (first["i"], last["i"], found["i"]) == (0, 4, 2)


def past(number: int, end: float, cells: int = 2) -> dict[str, Any]:
    score = {"id": number % 3, "name": f"class {number % 3}", "p": 0.5, "logit": 1.0}
    tube = [1.0, 3.0] * (cells // 2)
    return {"n": number, "t": [end - 1, end], "wall": None, "top": [score], "explained": [score], "tube": tube,
            "shape": [2, 1, cells // 2]}  # fmt: skip


def test_old_windows_go_and_what_is_in_short_stays_for_five_minutes(modules: Page) -> None:
    calls = [["addWindow", past(number, float(number))] for number in range(400)]
    kept, short, name = modules.run(KEEP, calls, [["all"], ["past"], ["name", 2]])
    assert [window["n"] for window in kept] == list(range(354, 400))
    assert [window["n"] for window in short] == list(range(99, 400))
    assert short[-1]["shares"] == [0.25, 0.75]
    assert short[-1]["explained"] == [399 % 3]
    assert name == "class 2"


def test_the_bytes_of_evidence_are_bounded(modules: Page) -> None:
    script = """() => {
      const { Windows } = saliencyTubes.modules.windows;
      const windows = new Windows();
      for (let n = 0; n < 30; n++) {
        const tube = new Float32Array(2e6);
        windows.addWindow({ n, t: [0, n / 10], wall: null, top: [], explained: [], tube, shape: [1, 1, 2e6] });
      }
      return windows.all.map((window) => window.n);
    }"""
    assert modules.run(script) == list(range(18, 30))


# messages


def binary(header: dict[str, Any] | bytes, payload: bytes = b"", length: int | None = None) -> list[int]:
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return list(struct.pack("<I", len(said) if length is None else length) + said + payload)


DECODE = """(given) => {
  const { decode, ProtocolError } = saliencyTubes.modules.protocol;
  try {
    const message = decode(typeof given === "string" ? given : Uint8Array.from(given).buffer);
    const listed = (numbers) => numbers && Array.from(numbers);
    const evidence = message.evidence && [...message.evidence].map(([id, map]) => [id, listed(map)]);
    return { ...message, data: listed(message.data), tube: listed(message.tube), evidence };
  } catch (error) {
    if (error instanceof ProtocolError) return error.message;
    throw error;
  }
}"""


def test_a_window_is_read(modules: Page) -> None:
    header = {"type": "window", "n": 3, "shape": [1, 2, 2], "maps": [9, 4]}
    numbers = np.arange(12, dtype="<f4")
    read = modules.run(DECODE, binary(header, numbers.tobytes()))
    assert read["tube"] == [0, 1, 2, 3]
    assert read["evidence"] == [[9, [4, 5, 6, 7]], [4, [8, 9, 10, 11]]]


def test_a_fragment_is_read(modules: Page) -> None:
    read = modules.run(DECODE, binary({"type": "media", "key": True, "frames": []}, b"abc"))
    assert (read["type"], read["key"], read["data"]) == ("media", True, list(b"abc"))


@pytest.mark.parametrize(
    "given",
    [
        "",
        "{",
        "[]",
        "null",
        '{"t":1}',
        [],
        [1, 0],
        binary(b"{}", length=99),
        binary(b"nothing"),
        binary({"type": "hello"}),
        binary({"type": "window", "n": 1, "shape": [1, 2, 2], "maps": []}, b"\0" * 12),
        binary({"type": "window", "n": 1, "shape": [1e4, 1e4, 1e4], "maps": []}),
        binary({"type": "window", "n": 1, "shape": [0, 2, 2], "maps": []}),
        binary({"type": "window", "n": 1, "shape": "abc", "maps": []}),
        binary({"type": "window", "n": 1}),
    ],
)
def test_what_is_no_message_is_refused_in_words(modules: Page, given: Any) -> None:
    said = modules.run(DECODE, given)
    assert isinstance(said, str)
    assert said


# the look


SHOWN = "(text) => { const { readLook, showLook } = saliencyTubes.modules.state; return showLook(readLook(text)); }"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stream=door&explain=31&against=44&threshold=0.3&alpha=0.5",
        "colormap=viridis&normalize=fixed%3A-1%3A2&sync=aligned&split=0.25&outline=true",
        "threshold=0",
        "explain=0",
    ],
)
def test_a_look_is_written_into_the_address_and_read_from_it(modules: Page, text: str) -> None:
    assert modules.run(SHOWN, f"#{text}") == text


@pytest.mark.parametrize(
    "text", ["threshold=2", "alpha=-1", "explain=1.5", "explain=x", "against=3", "sync=maybe", "split=a", "%"]
)
def test_a_look_that_is_none_is_left_out(modules: Page, text: str) -> None:
    assert modules.run(SHOWN, text) == ""

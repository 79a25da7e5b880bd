"""Messages between page and server, and the boxes that video travels in."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from saliency_tubes.engine.types import ClassScore
from saliency_tubes.stream.web import messages
from saliency_tubes.stream.web.fmp4 import Track, units
from saliency_tubes.stream.web.history import SECONDS, History
from saliency_tubes.stream.web.messages import LONGEST, MessageError, PageRequest, read_request
from stubs import CELLS, SLICES, make_event


def answer_to(text: str | bytes) -> str:
    """The type of a message, or why it is none."""
    try:
        return read_request(text).type
    except MessageError as error:
        return str(error)


class TestRequests:
    def test_those_that_are(self) -> None:
        assert read_request('{"type":"pause"}') == PageRequest("pause")
        assert read_request(' {"type": "play"} ') == PageRequest("play")
        assert read_request('{"type":"behind","seconds":0.25}') == PageRequest("behind", 0.25)

    @given(some.text(max_size=2 * LONGEST) | some.binary(max_size=64))
    def test_whatever_comes_is_read_or_refused_in_one_line(self, text: str | bytes) -> None:
        answer = answer_to(text)
        assert answer in ("pause", "play", "behind") or answer.isprintable()
        assert len(answer.encode()) <= 123  # what a close frame can hold

    @given(some.recursive(some.none() | some.booleans() | some.floats() | some.text(), some.lists, max_leaves=4),
           some.sampled_from(["pause", "play", "behind", "x"]))  # fmt: skip
    def test_so_are_values_of_other_kinds(self, seconds: object, kind: str) -> None:
        text = json.dumps({"type": kind, "seconds": seconds})
        valid = isinstance(seconds, float) and 0 <= seconds <= 3600 and kind == "behind" and len(text) <= LONGEST
        if valid:
            assert read_request(text).seconds == seconds
        else:
            with pytest.raises(MessageError):
                read_request(text)

    def test_deep_nesting_is_refused(self) -> None:
        with pytest.raises(MessageError):
            read_request("[" * LONGEST)


class TestBinary:
    @given(some.text(max_size=9), some.binary(max_size=9))
    def test_it_comes_back_and_its_payload_is_aligned(self, text: str, payload: bytes) -> None:
        message = messages.binary("x", payload, kind=text)
        assert messages.split(message) == ({"type": "x", "kind": text}, payload)
        assert (len(message) - len(payload)) % 4 == 0

    def test_numbers_that_are_none_are_null(self) -> None:
        told = json.loads(messages.text("x", a=float("nan"), b=[float("inf"), 1.5], c={"d": -float("inf")}))
        assert told == {"type": "x", "a": None, "b": [None, 1.5], "c": {"d": None}}


class TestWindow:
    def test_evidence_that_is_none_is_no_evidence(self) -> None:
        made = make_event().explanation
        cells = np.full((SLICES, CELLS, CELLS), 2, np.float32)
        cells[0, 0, 0] = np.nan
        told, payload = messages.split(messages.window(replace(made, tube=replace(made.tube, evidence=cells))))
        maps = np.frombuffer(payload, "<f4").reshape(-1, SLICES, CELLS, CELLS)
        assert np.isfinite(maps).all()
        assert maps[0, 0, 0, 0] == 0
        assert told["maps"] == [7]

    def test_a_against_b_has_the_difference_first_and_both_after_it(self) -> None:
        made = make_event().explanation
        a, b = (ClassScore(number, f"class {number}", 0.5, 1.0) for number in (7, 9))
        maps = {number: np.full((SLICES, CELLS, CELLS), number, np.float32) for number in (7, 9)}
        tube = replace(made.tube, evidence=maps[7] - maps[9])
        made = replace(made, explained=(a, b), tube=tube, others=((a, maps[7]), (b, maps[9])))
        told, payload = messages.split(messages.window(made))
        found = np.frombuffer(payload, "<f4").reshape(3, -1)
        assert told["maps"] == [7, 9]
        assert (found == np.array([[-2], [7], [9]])).all()


class TestHistory:
    def test_it_is_a_message_of_what_was_added(self) -> None:
        history = History()
        for second in range(3):
            history.add(make_event(second).explanation)
        history.mark(1.5, "gap", "here")
        told = json.loads(history.message())
        assert told["type"] == "history"
        assert [window["t"] for window in told["windows"]] == [0, 1, 2]
        assert told["windows"][0]["top"] == [[7, 0.9]]
        assert told["names"] == {"7": "yoga"}
        assert told["marks"] == [{"t": 1.5, "kind": "gap", "text": "here"}]

    def test_it_forgets(self) -> None:
        history = History()
        for number in range(2 * round(SECONDS)):
            history.add(make_event(number, end=number).explanation)
            history.add(make_event(number, end=number + 0.01).explanation)  # a fast network's next one
        windows = json.loads(history.message())["windows"]
        assert len(windows) == round(SECONDS) + 1
        assert windows[-1]["t"] == 2 * SECONDS - 1

    def test_the_newest_picture_up_to_a_window(self) -> None:
        history = History()
        assert history.picture(3) is None
        history.add_picture(2, b"two")
        history.add_picture(5, b"five")
        assert [history.picture(number) for number in (1, 2, 4, 5, 9)] == [None, b"two", b"two", b"five", b"five"]


class TestBoxes:
    def test_units_are_found(self) -> None:
        assert units(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [b"\x67ab", b"\x68c", b"\x65d"]
        assert units(b"") == units(b"abc") == units(b"\0\0\1") == []

    @given(some.lists(some.binary(min_size=1, max_size=9).filter(lambda one: b"\0\0" not in one and one[-1])))
    def test_whatever_they_hold(self, given: list[bytes]) -> None:
        assert units(b"".join(b"\0\0\0\1" + one for one in given)) == given

    def test_a_video_without_parameter_sets_is_none(self) -> None:
        with pytest.raises(ValueError, match="no parameter sets"):
            Track((64, 48), (1, 1), b"\0\0\0\1\x67abcd")

    def test_times_that_need_more_than_32_bits(self) -> None:
        track = Track((64, 48), (1, 1), b"\0\0\1\x67\x42\0\x1eabc\0\0\1\x68d")
        assert track.codec == "avc1.42001e"
        week = round(7 * 86_400 / Fraction(1, 1_000_000))
        fragment = track.fragment(1, week, 40_000, True, b"\0\0\1\x65frame")
        assert week.to_bytes(8, "big") in fragment
        assert fragment.endswith(b"\0\0\0\6\x65frame")

"""How far a run is: the line, and when it is said."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.stream.app import progress
from saliency_tubes.stream.app.progress import BAR_EVERY, BAR_WIDTH, LINE_EVERY, Progress, progress_line


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


class TestLine:
    def test_all_there_is(self):
        assert progress_line(50, 200, 2.0, "yoga 0.98", bar=False) == "50/200 frames  25.0 fps  ETA 0:06  yoga 0.98"
        bar = "#" * (BAR_WIDTH // 4) + "." * (BAR_WIDTH - BAR_WIDTH // 4)
        assert progress_line(50, 200, 2.0, "", bar=True) == f"[{bar}]  50/200 frames  25.0 fps  ETA 0:06"

    def test_total_unknown(self):
        assert progress_line(50, None, 2.0, "yoga", bar=True) == "50 frames  25.0 fps  yoga"

    def test_nothing_yet(self):
        assert progress_line(0, 200, 0.0, "", bar=False) == "0/200 frames  0.0 fps"
        assert progress_line(0, 0, 0.0, "", bar=True) == "0/0 frames  0.0 fps"

    @pytest.mark.parametrize(
        ("left", "text"),
        [(0, "0:00"), (59, "0:59"), (60, "1:00"), (3599, "59:59"), (3600, "1:00:00"), (36_061, "10:01:01")],
    )
    def test_clock(self, left, text):
        assert progress_line(1, 1 + left, 1.0, "", bar=False).endswith(f"ETA {text}")

    @given(st.integers(0, 10**6), st.none() | st.integers(0, 10**6), st.floats(0, 1e6), st.booleans())
    def test_it_never_fails_and_the_bar_has_its_width(self, done, total, elapsed, bar):
        line = progress_line(done, total, elapsed, "", bar)
        assert "\n" not in line
        for found in re.findall(r"\[([#.]*)\]", line):
            assert len(found) == BAR_WIDTH


class TestProgress:
    def test_plain_lines_now_and_then(self, clock):
        stream = io.StringIO()
        shown = Progress(1000, stream)
        for _ in range(1000):
            clock.now += 0.0151
            shown.step("yoga")
        shown.close()
        lines = stream.getvalue().splitlines()
        assert len(lines) == int(15.1 / LINE_EVERY)
        assert not any("\r" in line or "\x1b" in line or "[" in line for line in lines)
        assert all(line.endswith("yoga") for line in lines)
        assert shown.elapsed == pytest.approx(15.1)

    def test_a_bar_on_a_terminal_is_cleared_at_the_end(self, clock, monkeypatch):
        monkeypatch.setenv("COLUMNS", "40")
        stream = Terminal()
        shown = Progress(100, stream)
        for _ in range(100):
            clock.now += BAR_EVERY / 2 + 1e-6
            shown.step("a very long class name " * 5)
        shown.close()
        text = stream.getvalue()
        assert "\n" not in text
        assert text.endswith("\r\x1b[K")
        bars = text.split("\r\x1b[K")[1:-1]
        assert len(bars) == 50
        assert all(len(bar) <= 39 for bar in bars)

    def test_a_quick_run_says_nothing(self, clock):
        stream = io.StringIO()
        shown = Progress(None, stream)
        shown.step("yoga")
        shown.close()
        assert stream.getvalue() == ""

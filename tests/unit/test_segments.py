"""Recordings in segments: names, cuts, and what is deleted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.segments import Cutter, Keep, Names, Recorded

NOW = datetime(2026, 3, 4, 5, 6, 7)


class TestNames:
    def test_by_time(self) -> None:
        names = Names(Path("rec/%Y-%m-%d/cam 100%%-%H%M%S.mkv"))
        path = names.at(NOW, lambda _: False)
        assert path == Path("rec/2026-03-04/cam 100%-050607.mkv")
        assert path in names
        assert names.folder == Path("rec")
        assert names.dated_folders

    def test_one_folder(self) -> None:
        names = Names(Path("rec/%Y%m%d-%H%M%S.mkv"))
        assert names.folder == Path("rec")
        assert not names.dated_folders
        assert Names(Path("%S.mkv")).folder == Path()

    def test_a_taken_name_gets_a_number(self) -> None:
        names = Names(Path("%H.mp4"))
        taken = {Path("05.mp4"), Path("05~1.mp4")}
        path = names.at(NOW, taken.__contains__)
        assert path == Path("05~2.mp4")
        assert path in names

    @pytest.mark.parametrize(
        ("ours", "theirs"),
        [("rec/%Y%m%d.mkv", "rec/%Y%m%d-%H%M%S.mkv"), ("rec/%Y-%m.mkv", "rec/%Y-%m-%d.mkv"), ("%H.mp4", "%H-%M.mp4")],
    )
    def test_a_recording_beside_it_with_longer_names_is_not_ours(self, ours: str, theirs: str) -> None:
        names = Names(Path(theirs))
        plain = names.at(NOW, lambda _: False)
        for path in (plain, names.at(NOW, {plain}.__contains__)):
            assert path in names
            assert path not in Names(Path(ours))

    @pytest.mark.parametrize(
        "other", ["rec/notes.mkv", "rec/2026.mkv", "rec/20260304-050607.mp4", "20260304-050607.mkv",
                  "rec/x/20260304-050607.mkv", "rec/20260304-050607.mkv.bak", "rec/20260304-050607-best.mkv"]
    )  # fmt: skip
    def test_what_is_not_ours_is_never_recognised(self, other: str) -> None:
        assert Path(other) not in Names(Path("rec/%Y%m%d-%H%M%S.mkv"))

    def test_other_directives_are_refused(self) -> None:
        with pytest.raises(UsageError, match="got %A"):
            Names(Path("%A.mkv"))


def test_cuts_by_time_and_by_size() -> None:
    cutter = Cutter(10.0, 1000)
    assert not cutter.due(9.99, 999)
    assert cutter.due(10.0, 0)
    assert cutter.due(0.0, 1000)
    assert cutter.due(-5.0, 0)  # a source that began anew
    assert not Cutter(10.0).due(1.0, 1 << 40)
    with pytest.raises(ValueError, match="positive"):
        Cutter(0)


class TestKeep:
    @pytest.mark.parametrize(
        ("text", "keep"),
        [("", Keep()), ("50", Keep(files=50)), ("20GB", Keep(size=20 * 10**9)), ("1.5 mb", Keep(size=1_500_000)),
         ("14d", Keep(age=14 * 86_400)), ("30m", Keep(age=1800)), ("10, 5d", Keep(files=10, age=5 * 86_400))],
    )  # fmt: skip
    def test_parse(self, text: str, keep: Keep) -> None:
        assert Keep.parse(text) == keep

    @pytest.mark.parametrize("text", ["0", "-1", "x", "5 parsecs", "1.5", "GB"])
    def test_nonsense(self, text: str) -> None:
        with pytest.raises(UsageError, match="a number of files"):
            Keep.parse(text)

    def test_each_limit(self) -> None:
        files = [Recorded(Path(f"{i}"), modified=100.0 * i, size=10) for i in range(5)]
        assert Keep(files=2).doomed(files, 500) == [Path("0"), Path("1"), Path("2")]
        assert Keep(size=25).doomed(files, 500) == [Path("0"), Path("1"), Path("2")]
        assert Keep(age=250).doomed(files, 500) == [Path("0"), Path("1"), Path("2")]
        assert Keep().doomed(files, 500) == []

    @given(
        st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 100)), max_size=20), st.integers(1, 5), st.integers(1, 500)
    )
    def test_the_newest_stays_and_the_oldest_go_first(
        self, files: list[tuple[float, int]], count: int, size: int
    ) -> None:
        recorded = [Recorded(Path(f"{i:03}"), *one) for i, one in enumerate(files)]
        gone = Keep(files=count, size=size).doomed(recorded, 0.0)
        order = [one.path for one in sorted(recorded, key=lambda one: (one.modified, str(one.path)))]
        assert gone == order[: len(gone)]
        assert len(gone) < max(1, len(recorded))

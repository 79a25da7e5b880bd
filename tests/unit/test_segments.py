"""Recordings in segments: names, cuts, and what is deleted."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.sinks.segments import Cutter, Keep, Names, Recorded

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
        with pytest.raises(UsageError, match="%z says the same"):
            Names(Path("%Y%m%d-%H%M%S%Z.mkv"))

    @pytest.mark.parametrize(
        "pattern", ["rec/%Y%m%d-%H%M%S.mkv", "%Y-%m-%d/%H%M%S.mp4", "%y%j-%H.%M.%S.mkv", "%Y/%Y-%m-%d %H%M%S%z.mkv"]
    )
    def test_a_name_tells_when_it_began(self, pattern: str) -> None:
        names = Names(Path(pattern))
        path = names.at(NOW, lambda _: False)
        assert path in names
        assert names.begun(path) == (NOW.timestamp(), 0)
        assert names.begun(names.at(NOW, {path}.__contains__)) == (NOW.timestamp(), 1)

    def test_the_zone_in_a_name_is_counted(self) -> None:
        names = Names(Path("%Y%m%dT%H%M%S%z.mkv"))
        east = names.at(NOW.replace(tzinfo=timezone(timedelta(hours=2))), lambda _: False)
        assert east == Path("20260304T050607+0200.mkv")
        west = names.at(NOW.replace(tzinfo=timezone(-timedelta(hours=3, minutes=30))), lambda _: False)
        assert west in names
        later, earlier = names.begun(west)[0], names.begun(east)[0]
        assert later is not None
        assert earlier is not None
        assert later - earlier == 5.5 * 3600

    @pytest.mark.parametrize(("pattern", "path"), [("%H%M%S.mkv", "050607.mkv"), ("%Y%m%d.mkv", "20260231.mkv")])
    def test_a_name_that_tells_no_day(self, pattern: str, path: str) -> None:
        assert Names(Path(pattern)).begun(Path(path)) == (None, 0)


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
        files = [Recorded(Path(f"{i}"), begun=100.0 * i, size=10) for i in range(5)]
        assert paths(Keep(files=2).doomed(files, 500)) == ["0", "1", "2"]
        assert paths(Keep(size=25).doomed(files, 500)) == ["0", "1", "2"]
        assert paths(Keep(age=350).doomed(files, 500)) == ["0", "1"]
        assert Keep().doomed(files, 500) == []
        assert [why for _, why in Keep(files=4, age=350).doomed(files, 500)] == [
            "there are more than 4",
            "it is older than 350 s",
        ]

    def test_own_order_goes_before_names(self) -> None:
        """The clock was set back while we recorded: what this run wrote is newer all the same."""
        files = [
            Recorded(Path("2031"), 5e9, 1),
            Recorded(Path("a"), 10.0, 1, order=1),
            Recorded(Path("b"), 9.0, 1, order=2),
        ]
        assert paths(Keep(files=1).doomed(files, 0.0)) == ["2031", "a"]

    def test_numbers_count_as_numbers(self) -> None:
        files = [Recorded(Path(f"x~{number}"), 7.0, 1, number) for number in (0, 2, 10, 1)]
        assert paths(Keep(files=1).doomed(files, 0.0)) == ["x~0", "x~1", "x~2"]

    def test_years_ahead_of_a_sudden_only_a_step_s_worth_goes(self) -> None:
        files = [Recorded(Path(f"{i}"), begun=600.0 * i, size=10) for i in range(100)]
        assert paths(Keep(age=86_400).doomed(files, 5e9)) == ["0", "1"]

    @given(
        st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 100)), max_size=20), st.integers(1, 5), st.integers(1, 500)
    )
    def test_the_newest_stays_and_the_oldest_go_first(
        self, files: list[tuple[float, int]], count: int, size: int
    ) -> None:
        recorded = [Recorded(Path(f"{i:03}"), *one) for i, one in enumerate(files)]
        gone = paths(Keep(files=count, size=size).doomed(recorded, 0.0))
        order = [str(one.path) for one in sorted(recorded, key=lambda one: (one.begun, str(one.path)))]
        assert gone == order[: len(gone)]
        assert len(gone) < max(1, len(recorded))


def paths(doomed: list[tuple[Path, str]]) -> list[str]:
    return [str(path) for path, _ in doomed]

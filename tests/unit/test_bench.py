"""The benchmarks' own arithmetic, and that they run: no test here asserts how long anything takes."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench.harness import Row, Setup, Target, exit_code, interleave, ratio, table, write
from servers import python_with_gi

RUN = Path(__file__).parents[1] / "bench" / "run.py"
KEYS = {"name", "value", "unit", "target", "holds"}


def test_what_is_measured_is_installed():
    """tests/bench/live.py runs `--metrics`."""
    makefile = (RUN.parents[2] / "Makefile").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^\$\(VENV\)/\.bench:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "[live,onnxruntime]" in recipe


class Work:
    """Callables that take as long as they say on a clock of their own, and note their turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.turns: list[str] = []

    def clock(self) -> float:
        return self.now

    def taking(self, name: str, *seconds: float) -> Callable[[], None]:
        left = list(seconds)

        def run() -> None:
            self.turns.append(name)
            self.now += left.pop(0)

        return run


def test_rounds_take_turns_and_alternate_their_order() -> None:
    work = Work()
    interleave({name: work.taking(name, 1, 1, 1) for name in "abc"}, 3, warmup=0, clock=work.clock)
    assert work.turns == list("abccbaabc")


def test_no_round_begins_that_the_budget_has_no_time_for() -> None:
    for budget, rounds in ((9.9, 1), (19.9, 1), (20, 2), (35, 3), (1000, 5)):
        work = Work()
        times = interleave({"a": work.taking("a", *[10] * 5)}, 5, warmup=0, budget=budget, clock=work.clock)
        assert len(times["a"]) == rounds


def test_times_are_in_the_order_of_rounds_without_the_warm_up() -> None:
    work = Work()
    calls = {"a": work.taking("a", 90, 1, 2), "b": work.taking("b", 80, 3, 4)}
    times = interleave(calls, 2, warmup=1, clock=work.clock)
    assert times == {"a": [1, 2], "b": [3, 4]}


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be 1 or more, got 0"):
        interleave({}, 0)


def test_a_ratio_is_the_median_of_the_rounds_own() -> None:
    # one round on a machine ten times as slow, and one with a stall in the numerator
    assert ratio([2, 20, 90], [1, 10, 1]) == 2


@pytest.mark.parametrize(
    ("target", "value", "holds"),
    [
        (Target(0.1), 0.1, True),
        (Target(0.1), 0.11, False),
        (Target(30, at_most=False), 30, True),
        (Target(30, at_most=False), 29, False),
        (Target(0.1), math.nan, False),
        (None, 1, None),
    ],
)
def test_a_target_is_a_limit_on_one_side(target: Target | None, value: float, holds: bool | None) -> None:
    assert Row("x", value, "ms", target).holds is holds


def test_records_have_the_documented_keys() -> None:
    plain, kept = Row("a: b", 1.23456, "fps"), Row("c: d", 0.25, "x", Target(0.5))
    assert plain.record() == {"name": "a: b", "value": 1.235, "unit": "fps", "target": None, "holds": None}
    assert kept.record() == {"name": "c: d", "value": 0.25, "unit": "x", "target": "<= 0.5", "holds": True}


def test_only_strict_fails_for_a_missed_target() -> None:
    missed, kept, plain = Row("a", 2, "x", Target(1)), Row("b", 1, "x", Target(1)), Row("c", 1, "x")
    assert exit_code([plain, missed], strict=False) == 0
    assert exit_code([plain, missed], strict=True) == 1
    assert exit_code([plain, kept], strict=True) == 0


def test_the_table_says_what_fails() -> None:
    lines = table([Row("a", 2, "x", Target(1)), Row("longer", 1, "fps")]).splitlines()
    assert lines[0].startswith("a ")
    assert lines[0].endswith("<= 1      FAILS")
    assert lines[1].endswith("1 fps")


def test_the_file_is_a_list_of_records(tmp_path: Path) -> None:
    rows = [Row("a", 2, "x", Target(1)), Row("b", 1, "fps")]
    write(rows, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()) == [row.record() for row in rows]


def test_quick_picks_the_smaller_number(tmp_path: Path) -> None:
    assert Setup(tmp_path).pick(9, 2) == 9
    assert Setup(tmp_path, quick=True).pick(9, 2) == 2


def test_quick_rows_have_the_documented_keys(tmp_path: Path) -> None:
    rows = _run_quick(tmp_path, "overlay")
    assert len({row["name"] for row in rows}) == len(rows)
    assert {"overlay numpy: 720p i420 full", "overlay numpy: 4K rgb 46 % / memcpy"} <= {row["name"] for row in rows}


@pytest.mark.slow
def test_every_subject_runs(tmp_path: Path) -> None:
    rows = _run_quick(tmp_path)
    assert {row["name"].split(":")[0].split(" ")[0] for row in rows} == {
        "overlay",
        "explanation",
        "video",
        "memory",
        "live",
        "streams",
    } - ({"live"} if python_with_gi() is None else set())


def _run_quick(folder: Path, *only: str) -> list[dict[str, Any]]:
    options = [word for name in only for word in ("--only", name)]
    done = subprocess.run(
        [sys.executable, RUN, "--quick", "--strict", *options], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads((folder / "bench.json").read_text())
    assert rows
    for row in rows:
        assert set(row) == KEYS
        assert row["name"] in done.stdout
        assert isinstance(row["value"], float)
        # so little work tells nothing of how fast it is
        assert row["target"] is None
        assert row["holds"] is None
    return rows

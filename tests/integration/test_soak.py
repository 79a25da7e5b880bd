"""The soak's judgement: what leaks is found, what is steady passes, what is too short is said to be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soak
from servers import python_with_gi
from soak import Fit, Sample, Verdict, judge

STEADY = Sample(0, 500, 300, 8, (100, 0.8), 120, 119, 0, 5, 20, 0.5, 0.02, 20, 40)


def run(minutes: float = 30, leak: float = 0, drift: float = 0, **other: float) -> list[Sample]:
    """One sample a second. leak: MB/h; drift: ms/h; memory moves by an allocator's steps, latency by chance."""
    luck = np.random.default_rng(1)
    return [
        replace(
            STEADY,
            time=float(second),
            rss=500 + leak * second / 3600 + 0.3 * luck.integers(2),
            allocated=300 + leak * second / 3600 + luck.exponential(0.3),
            latency=8 + drift * second / 3600 + luck.exponential(0.5),
            **other,
        )
        for second in range(int(minutes * 60))
    ]


def told(samples: list[Sample], summary: tuple[int, int, int] | None = (100, 90, 10)) -> dict[str, bool | None]:
    return {verdict.name: verdict.holds for verdict in judge(samples, summary, warm=300, rate=120)}


def test_a_steady_run_holds() -> None:
    assert set(told(run()).values()) == {True}


def test_what_is_wrong_is_found() -> None:
    assert told(run(leak=5))["RSS slope, MB/h"] is False
    assert told(run(leak=5))["allocated memory, slope, MB/h"] is False
    assert told(run(drift=60))["latency drift, ms"] is False
    assert told(run(), (100, 90, 9))["frames in = out + dropped"] is False
    assert told(run(), None)["frames in = out + dropped"] is False
    assert told(run(fps_out=0.0))["frames come and leave"] is False
    assert told(run(fps_in=60.0))["frames come and leave"] is False
    assert told(run(lag=0.7))["frames are not late"] is False
    more = [replace(sample, threads=20 + int(sample.time) // 300) for sample in run()]
    assert told(more)["threads"] is False


def test_what_cannot_be_told_is_said() -> None:
    noisy = [replace(sample, rss=sample.rss + 20 * np.sin(sample.time / 40)) for sample in run()]
    assert told(noisy)["RSS slope, MB/h"] is None
    assert told(run(minutes=5.5)) == {"samples": None}


def test_a_fit_knows_how_sure_it_is() -> None:
    luck, times = np.random.default_rng(2), np.arange(1500.0)
    inside = 0
    for _ in range(200):
        fit = Fit.of(times, 3 + 0.01 * times + luck.normal(0, 5, times.size))
        inside += abs(fit.slope - 0.01) <= fit.error
    assert 180 <= inside <= 199  # 95 of 100


def test_single_outliers_do_not_count() -> None:
    samples = run()
    samples[1500] = replace(samples[1500], rss=5000, latency=5000)
    assert set(told(samples).values()) == {True}


@pytest.mark.slow
@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
def test_a_leak_in_a_real_run_is_found(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = [sys.executable, soak.__file__, "--minutes", "1.5", "--report", str(report), "--leak", "4000"]
    assert subprocess.run(words, timeout=200, check=False).returncode == 1
    verdicts = {one["name"]: Verdict(**one) for one in json.loads(report.read_text())["verdicts"]}
    assert {name for name, verdict in verdicts.items() if verdict.holds is False} == {
        "RSS slope, MB/h",
        "allocated memory, slope, MB/h",
    }

"""The tests of tests/gpu run on the GPU that is not there, so that they are right before somebody has a real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(double: Any, folder: Path, promised: str, *words: str) -> subprocess.CompletedProcess[str]:
    """pytest over tests/gpu in a process that has the double."""
    command = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "no:cacheprovider", "--basetemp", str(folder)]
    return subprocess.run(
        [*command, *words],
        env={**double.environment, "SALIENCY_TUBES_GPU": promised},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )


def passed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout[-4000:]
    return int(done.stdout.rsplit(" passed", 1)[0].split()[-1])


def test_some_of_them_run(gpu_double: Callable[..., Any], tmp_path: Path) -> None:
    done = run(
        gpu_double(),
        tmp_path / "t",
        "cuda",
        "-k",
        "test_cuda_overlay and (test_evidence or test_samples_are) or same_bytes",
    )
    assert passed(done) == 6


@pytest.mark.slow
def test_whole_pipelines_run(gpu_double: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures of the CPU with copies counted, eight streams, and a soak, which is short here."""
    pytest.importorskip("torch")
    monkeypatch.setenv("SALIENCY_TUBES_SOAK", "5")
    double = gpu_double()
    assert passed(run(double, tmp_path / "t", "cuda", "-k", "test_pipeline_gpu")) == 3
    double.check()  # of the process too: what it left, and what no event orders


@pytest.mark.slow
def test_all_but_those_of_time_run(gpu_double: Callable[..., Any], tmp_path: Path) -> None:
    assert passed(run(gpu_double(), tmp_path / "t", "cuda", "-k", "test_cuda_overlay and not bandwidth")) > 80


def test_what_is_promised_and_missing_fails(gpu_double: Callable[..., Any], tmp_path: Path) -> None:
    done = run(gpu_double(), tmp_path / "t", "cuda,jetson", "-k", "jetsons_camera")
    assert done.returncode == 1
    assert "SALIENCY_TUBES_GPU promises cuda, jetson: needs a Jetson" in done.stdout

"""How much power the machine takes, where it tells: NVIDIA's driver, a Jetson's tegrastats, or the processor (RAPL)."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

PATIENCE = 5.0
"""Maximum seconds that a tool that tells the power is waited for."""
EVERY = 0.5
"""Seconds between two readings."""
RAPL = Path("/sys/class/powercap")
_SMI = ("nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits")
_RAILS = ("VDD_IN", "VIN", "POM_5V_IN", "VIN_SYS_5V0")
"""Names of the rail that feeds a whole Jetson board, in tegrastats."""


def smi_watts(text: str) -> float:
    """The power of all GPUs, from what nvidia-smi prints; nan if none tells."""
    numbers = [float(line) for line in text.split("\n") if re.fullmatch(r"\s*\d+(\.\d+)?\s*", line)]
    return sum(numbers) if numbers else math.nan


def tegra_watts(line: str) -> float:
    """The power of the board, from a line of tegrastats; nan if it does not tell."""
    told = {rail: float(now) / 1000 for rail, now in re.findall(r"(\w+) (\d+)(?:mW)?/\d+(?:mW)?", line)}
    return next((told[rail] for rail in _RAILS if rail in told), math.nan)


def rapl_joules(folder: Path = RAPL) -> float:
    """Energy that the processor's packages have taken since some moment; nan if it cannot be read."""
    packages = sorted(folder.glob("intel-rapl:[0-9]"))  # AMD's have the same name
    try:
        return sum(int((package / "energy_uj").read_text()) for package in packages) / 1e6 if packages else math.nan
    except (OSError, ValueError):
        return math.nan


class Meter:
    """Reads power in a thread of its own, while a block is `measured`."""

    def __init__(self) -> None:
        self.source = ""
        """what tells the watts; empty if nothing does"""
        self.watts = math.nan
        """mean of the last block"""
        self._read: Callable[[], float] = lambda: math.nan
        if shutil.which("tegrastats") and not math.isnan(_tegra()):
            self.source, self._read = "the board, by tegrastats", _tegra
        elif shutil.which(_SMI[0]) and not math.isnan(_smi()):
            self.source, self._read = "the GPU, by nvidia-smi", _smi
        elif not math.isnan(rapl_joules()):
            self.source, self._read = "the processor, by RAPL", _Rapl()

    @contextmanager
    def measured(self) -> Iterator[None]:
        """`watts` is the mean over the block."""
        self.watts, done, readings = math.nan, threading.Event(), list[float]()
        if not self.source:
            yield
            return
        self._read()

        def work() -> None:
            while not done.wait(EVERY):
                readings.append(self._read())

        thread = threading.Thread(target=work, name="saliency-tubes power", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            told = [reading for reading in readings if not math.isnan(reading)]
            self.watts = fmean(told) if told else math.nan


class _Rapl:
    """Watts between two calls. The counter starts anew now and then: such a reading is left out."""

    def __init__(self) -> None:
        self._last = (time.monotonic(), rapl_joules())

    def __call__(self) -> float:
        (before, energy), self._last = self._last, (time.monotonic(), rapl_joules())
        now, joules = self._last
        return (joules - energy) / (now - before) if joules >= energy and now > before else math.nan


def _smi() -> float:
    return smi_watts(_output(_SMI))


def _tegra() -> float:
    """tegrastats prints for ever: one line is read."""
    try:
        with subprocess.Popen(
            ["tegrastats", "--interval", "200"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as running:
            silent = threading.Timer(PATIENCE, running.kill)
            silent.start()
            try:
                return tegra_watts(running.stdout.readline() if running.stdout else "")
            finally:
                silent.cancel()
                running.terminate()
    except OSError:
        return math.nan


def _output(command: tuple[str, ...]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""

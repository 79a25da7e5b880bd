"""Soak: `saliency-tubes run` over a lossy stream at four times real time, for minutes or days, and verdicts on it.

    .venv/bin/python tests/soak.py --minutes 30 --report soak.json
    .venv/bin/python tests/soak.py --hours 24 --report soak.json
    .venv/bin/python tests/soak.py --minutes 15 --speed 1 --cut-every 20      a connection that never lasts

An RTSP server sends 120 frames a second through a line that loses and damages packets and is cut now and then. I3D
explains them into RTSP with a client that reads, a recording in segments, and JSON lines. Exit code 0: all holds; 1:
something does not; 2: nothing fails, but the run was too short or too noisy to tell.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from proxy import Proxy
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer
from waiting import free_port

CAMERA = 30
"""frames a second that are real time"""
EVERY, CUT_EVERY = 1.0, 60.0
"""seconds between two samples; between two cuts of the line, unless --cut-every says otherwise"""
LOSSES = {"drop": 0.002, "flip": 0.001, "cut": 0.001, "tear": 0.0002}
BINS = 30
"""that a run is divided into for a fit, by their medians: neighbouring samples are not independent"""
RSS_LIMIT = 1.0
"""MB/h"""
LATENCY_LIMIT = 5.0
"""ms that latency may move from the beginning to the end"""
LAG_LIMIT = 0.5
"""seconds that frames may wait in front of the decoder"""
FULL = 0.9
"""of the frames sent come and leave: the line is cut now and then"""
GROWTH = 3
"""threads or file handles more at the end than at the beginning: a client comes and goes"""

WORDS = {True: "holds", False: "FAILS", None: "cannot be told"}
PROGRAM = """
import sys, threading, time
from saliency_tubes.stream.app.cli import main
def leak(kept=[]):
    while True:
        kept.append(bytearray(b"x" * int(float(sys.argv[1]) * 1e6 / 3600 / 10)))
        time.sleep(0.1)
if float(sys.argv[1]):
    threading.Thread(target=leak, daemon=True).start()
sys.exit(main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Sample:
    """What the process was like at one moment."""

    time: float
    """seconds since the start"""
    rss: float
    """MB"""
    allocated: float
    """MB that malloc has given out: the same without holes; nan where the C library does not say"""
    latency: float
    """ms from a frame's arrival to its being written, the mean since the sample before; nan in the first"""
    timed: tuple[float, float]
    """frames whose latency was measured so far, and the sum, in seconds"""
    fps_in: float
    fps_out: float
    dropped: float
    reconnects: float
    errors: float
    tube_age: float
    """seconds"""
    lag: float
    """seconds that frames come later than the promptest did"""
    threads: int
    files: int


@dataclass(frozen=True)
class Fit:
    """A straight line through the medians of a run's parts."""

    slope: float
    """a second"""
    error: float
    """half of its 95 % confidence interval"""

    @classmethod
    def of(cls, times: Sequence[float], values: Sequence[float]) -> Fit:
        """Least squares. Medians of parts shrug off single outliers, and are nearly independent of each other."""
        known = np.isfinite(values)
        if not known.any():
            return cls(float("nan"), float("inf"))
        parts = np.array_split(np.stack([np.array(times)[known], np.array(values)[known]]), BINS, axis=1)
        x, y = np.array([np.median(part, axis=1) for part in parts if part.shape[1]]).T
        if len(x) < 4:
            return cls(float("nan"), float("inf"))
        slope, offset = np.polyfit(x, y, 1)
        free = len(x) - 2
        spread = np.sqrt(((y - slope * x - offset) ** 2).sum() / free / ((x - x.mean()) ** 2).sum())
        student = 1.96 + (1.96**3 + 1.96) / (4 * free)  # Abramowitz and Stegun 26.7.5, first term
        return cls(float(slope), float(student * spread))


@dataclass(frozen=True)
class Verdict:
    """One thing that must hold."""

    name: str
    holds: bool | None
    """None: it cannot be told"""
    text: str


def judge(samples: Sequence[Sample], summary: tuple[int, int, int] | None, warm: float, rate: float) -> list[Verdict]:
    """Everything that the run must show. Pure. summary: frames in, out, dropped, as told at the end; warm: seconds that
    are not looked at; rate: frames a second that are sent."""
    run = [sample for sample in samples if sample.time >= warm]
    if len(run) < 2 * BINS:
        return [Verdict("samples", None, f"{len(run)} after the warm-up, {2 * BINS} are needed")]
    times = [sample.time for sample in run]
    seconds = times[-1] - times[0]
    fits = {name: Fit.of(times, [getattr(one, name) for one in run]) for name in ("rss", "allocated", "latency")}
    lag = float(np.nanmedian([sample.lag for sample in run[-len(run) // 4 :]]))
    fps_in, fps_out = (float(np.median([getattr(sample, name) for sample in run])) for name in ("fps_in", "fps_out"))
    counted = summary is not None and summary[0] == summary[1] + summary[2] > 0
    return [
        *(
            _limited(f"{title}, MB/h", fits[name].slope * 3600, fits[name].error * 3600, RSS_LIMIT)
            for name, title in (("rss", "RSS slope"), ("allocated", "allocated memory, slope"))
            if np.isfinite([getattr(sample, name) for sample in run]).any()
        ),
        _limited("latency drift, ms", fits["latency"].slope * seconds, fits["latency"].error * seconds, LATENCY_LIMIT),
        *(_steady(name, [getattr(sample, name) for sample in run]) for name in ("threads", "files")),
        Verdict("frames in = out + dropped", counted, "not told" if summary is None else f"{summary}"),
        Verdict(
            "frames come and leave",
            fps_in >= FULL * rate and fps_out >= FULL * rate,
            f"{fps_in:.1f} fps in, {fps_out:.1f} out, medians, of {rate:g}",
        ),
        Verdict("frames are not late", lag <= LAG_LIMIT, f"{lag:.2f} s at last, limit {LAG_LIMIT:g}"),
        Verdict("reconnects", run[-1].reconnects > 0, f"{run[-1].reconnects:.0f}, {run[-1].errors:.0f} decoder errors"),
    ]


def _limited(name: str, value: float, error: float, limit: float) -> Verdict:
    text = f"{value:+.2f} ± {error:.2f}, limit {limit:g}"
    if value + error <= limit:
        return Verdict(name, True, text)
    if value - error > limit:
        return Verdict(name, False, text)
    return Verdict(name, None, f"{text}: the interval holds the limit; run longer")


def _steady(name: str, values: list[int]) -> Verdict:
    quarter = len(values) // 4
    before, after = np.median(values[:quarter]), np.median(values[-quarter:])
    return Verdict(name, bool(after - before <= GROWTH), f"{before:.0f} at first, {after:.0f} at last")


@contextmanager
def running(words: list[str], leak: float, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command line in a process; what it says goes to `log`. leak: MB an hour that it loses on purpose."""
    with log.open("wb") as said:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(leak), *words], stderr=said)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def watch(address: str, stop: threading.Event) -> None:
    """A client of the output that reads all the time."""
    while not stop.is_set():
        with suppress(SourceError):
            source = open_source(address, SourceOptions(backend="av"))
            while next(iter(source), None) is not None and not stop.is_set():
                pass
            source.close()


def measure(port: int, process: int, start: float, before: Sample | None = None) -> Sample | None:
    """What /metrics and /proc say now; None where they do not answer. before: the sample before it."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        threads = re.search(r"^Threads:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
        files = len(os.listdir(f"/proc/{process}/fd"))
    except OSError:
        return None

    def total(name: str, *labels: str) -> float:
        found = [
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if re.match(rf"saliency_tubes_{name}[ {{]", line) and all(label in line for label in labels)
        ]
        return sum(found) if found else float("nan")

    timed = total("latency_seconds_count"), total("latency_seconds_sum")
    frames, spent = (now - then for now, then in zip(timed, before.timed, strict=True)) if before else (0.0, 0.0)
    return Sample(
        time=time.monotonic() - start,
        rss=total("resident_memory_bytes") / 1e6,
        allocated=total("allocated_memory_bytes") / 1e6,
        latency=spent / frames * 1e3 if frames > 0 else float("nan"),
        timed=timed,
        fps_in=total("fps_in"),
        fps_out=total("fps_out"),
        dropped=total("dropped_total"),
        reconnects=total("reconnects_total"),
        errors=total("decoder_errors_total"),
        tube_age=total("tube_age_seconds"),
        lag=total("lag_seconds"),
        threads=int(threads[1]) if threads else 0,
        files=files,
    )


def soak(seconds: float, args: argparse.Namespace, folder: Path) -> tuple[list[Sample], tuple[int, int, int] | None]:
    """Runs it all; samples, and the frames in, out and dropped that are told at the end."""
    output, metrics, log = free_port(), free_port(), folder / "log"
    with RtspServer(size=args.size, rate=round(CAMERA * args.speed)) as server, Proxy(server.port, **LOSSES) as line:
        served = f"rtsp://127.0.0.1:{output}/explained"
        words = ["run", line.url(), f"rtsp://@:{output}/explained", str(folder / "%Y%m%d-%H%M%S.mkv"),
                 str(folder / "events.jsonl"), "--segment-seconds", "20", "--keep", "3", "--metrics", str(metrics),
                 "--model", args.model, "--frames", str(args.frames), "--backend", args.backend]  # fmt: skip
        with running(words, args.leak, log) as process:
            stop = threading.Event()
            client = threading.Thread(target=watch, args=(served, stop))
            client.start()
            try:
                samples = sample_all(seconds, metrics, process, line, min(args.cut_every, seconds / 4))
            finally:
                stop.set()
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(60)
                client.join()
    said = re.findall(r"(\d+) frames in, (\d+) out, (\d+) dropped", log.read_text(errors="replace"))
    print(*islice(log.read_text(errors="replace").splitlines(), 6), sep="\n")
    return samples, (int(said[-1][0]), int(said[-1][1]), int(said[-1][2])) if said else None


def sample_all(
    seconds: float, metrics: int, process: subprocess.Popen[bytes], line: Proxy, cut_every: float
) -> list[Sample]:
    samples: list[Sample] = []
    start, cuts = time.monotonic(), 0
    while (elapsed := time.monotonic() - start) < seconds and process.poll() is None:
        if elapsed > (cuts + 1) * cut_every:
            cuts += 1
            line.sever()
        sample = measure(metrics, process.pid, start, samples[-1] if samples else None)
        if sample is not None:
            samples.append(sample)
        time.sleep(max(0.0, EVERY - (time.monotonic() - start - elapsed)))
    return samples


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=30.0)
    length.add_argument("--hours", type=float)
    parser.add_argument("--speed", type=float, default=4.0, help=f"times {CAMERA} frames a second")
    parser.add_argument("--cut-every", type=float, default=CUT_EVERY, help="seconds between two reconnects")
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--model", default="i3d")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--backend", default="auto", help="of the input")
    parser.add_argument("--report", type=Path, help="a JSON file of all samples and verdicts")
    parser.add_argument("--leak", type=float, default=0.0, help="MB an hour lost on purpose, to see that it is found")
    args = parser.parse_args()
    seconds = args.hours * 3600 if args.hours else args.minutes * 60
    with tempfile.TemporaryDirectory() as folder:
        samples, summary = soak(seconds, args, Path(folder))
    verdicts = judge(samples, summary, warm=min(300.0, 0.2 * seconds), rate=CAMERA * args.speed)
    if args.report:
        told = {"verdicts": [asdict(one) for one in verdicts], "samples": [asdict(one) for one in samples]}
        args.report.write_text(json.dumps(told, indent=1))
    for one in verdicts:
        print(f"{WORDS[one.holds]:>14}  {one.name}: {one.text}")
    return 1 if any(one.holds is False for one in verdicts) else 2 if any(one.holds is None for one in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())

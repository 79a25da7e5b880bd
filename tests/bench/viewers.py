"""What viewers of web:// cost the stream: frames and tube age with twenty of them, against nobody, in turns.

    python tests/bench/viewers.py --rounds 5 --seconds 20

Of the twenty, one reads 10 kB/s and one reads nothing; they are in a process of their own, and share the processor with
the stream.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from harness import Row, Target, ratio, table
from saliency_tubes.stream.bench.running import Found, Running, Wanted
from waiting import free_port
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

VIEWERS = 20
SLOW = 10_000
"""bytes a second that one of them reads"""
CAMERA = "test://?size=640x480&rate=25&realtime=1"
FEWER, OLDER = Target(0.97, at_most=False), Target(1.03)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--view", type=int, metavar="PORT", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.view:
        view(asked.view)
        return
    alone, watched = [], []
    for _ in range(asked.rounds):
        alone.append(measure(asked.seconds, viewers=False))
        watched.append(measure(asked.seconds, viewers=True))
    print(table(rows(alone, watched)))


def rows(alone: list[Found], watched: list[Found]) -> list[Row]:
    def fps(found: list[Found]) -> list[float]:
        return [one.fps[0] for one in found]

    def age(found: list[Found]) -> list[float]:
        return [median(one.ages) for one in found]

    what = f"{VIEWERS} viewers"
    return [
        Row("viewers: frames a second, nobody", median(fps(alone)), "1/s"),
        Row(f"viewers: frames a second, {what}", median(fps(watched)), "1/s"),
        Row(f"viewers: frames a second, {what} / nobody", ratio(fps(watched), fps(alone)), "x", FEWER),
        Row("viewers: tube age, nobody", median(age(alone)), "s"),
        Row(f"viewers: tube age, {what}", median(age(watched)), "s"),
        Row(f"viewers: tube age, {what} / nobody", ratio(age(watched), age(alone)), "x", OLDER),
    ]


def measure(seconds: float, viewers: bool) -> Found:
    port = free_port()
    options = {"sync": "live", "max_age": 60.0}
    running = Running(Wanted(CAMERA, ((f"web://127.0.0.1:{port}",),), options, seconds, every_window=True))
    watching = None
    try:
        ready = running.is_ready()
        if viewers:
            watching = subprocess.Popen(
                [sys.executable, __file__, "--view", str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            assert watching.stdout is not None
            watching.stdout.readline()  # all of them are there
        running.begin()
        found = running.found()
    finally:
        running.close()
        if watching is not None:
            watching.kill()
            watching.wait()
    if not ready or found is None:
        raise RuntimeError("the stream ended before it was measured")
    return found


def view(port: int) -> None:
    """Twenty viewers, until this process is ended."""
    ready = threading.Barrier(VIEWERS + 1)
    for number in range(VIEWERS):
        threading.Thread(target=read, args=(port, number, ready), daemon=True).start()
    ready.wait()
    print("ready", flush=True)
    threading.Event().wait()


def read(port: int, number: int, ready: threading.Barrier) -> None:
    """number: 0 reads SLOW bytes a second, 1 reads nothing after the first message."""
    url = f"ws://127.0.0.1:{port}/api/streams/live/live"
    with suppress(ConnectionClosed), connect(url, proxy=None, compression=None, max_size=None, max_queue=1) as page:
        page.recv()
        ready.wait()
        if number == 1:
            threading.Event().wait()
        while True:
            size = len(page.recv())
            if number == 0:
                time.sleep(size / SLOW)


if __name__ == "__main__":
    main()

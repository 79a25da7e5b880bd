"""make bench: measures every subject, prints a table and writes bench.json into the current folder."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import device
import explanation
import live
import memory
import overlay
import streams
import video
from harness import Row, Setup, Subject, exit_code, table, write

SUBJECTS: dict[str, Subject] = {
    "overlay": overlay.rows,
    "explanation": explanation.rows,
    "video": video.rows,
    "memory": memory.rows,
    "live": live.rows,
    "streams": streams.rows,
    "device": device.rows,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 1 with --strict where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: says whether it runs, not how fast")
    parser.add_argument(
        "--only", action="append", choices=sorted(SUBJECTS), metavar="NAME",
        help=f"one of {', '.join(SUBJECTS)}; may be given again",
    )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--output", type=Path, default=Path("bench.json"), metavar="FILE")
    args = parser.parse_args(arguments)
    found: list[Row] = []
    for name in args.only or SUBJECTS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="saliency-tubes-bench-") as folder:
            rows = SUBJECTS[name](Setup(Path(folder), args.quick))
        found += rows
        print(table(rows), f"({name}: {time.perf_counter() - start:.0f} s)", sep="\n", flush=True)
        write(found, args.output)  # after every subject, so that a run cut short leaves what it has
    return exit_code(found, args.strict)


if __name__ == "__main__":
    sys.exit(main())

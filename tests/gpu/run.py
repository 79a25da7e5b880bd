"""Runs everything here that this machine's GPU allows, then `saliency-tubes bench`, and prints what to send back.

    SALIENCY_TUBES_GPU=cuda,tensorrt python tests/gpu/run.py [--to FOLDER] [--short] [options of pytest]

SALIENCY_TUBES_GPU says what is promised (tests/promises.py); without it everything that is missing is skipped.
--to: where the log, the findings of `doctor` and the results of `bench` go (default: gpu-results). --short: a soak of
ten seconds instead of ten minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Returns 0 if every test passed and the benchmark ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("gpu-results"), metavar="FOLDER")
    parser.add_argument("--short", action="store_true", help="a soak of ten seconds")
    args, others = parser.parse_known_args()
    args.to.mkdir(parents=True, exist_ok=True)
    environment = os.environ | ({"SALIENCY_TUBES_SOAK": "10"} if args.short else {})
    command = [str(Path(sys.executable).with_name("saliency-tubes"))]
    steps = {
        "doctor.json": [*command, "doctor", "--json"],
        "tests.txt": [sys.executable, "-m", "pytest", str(HERE), "-s", "-rA", *others],
        "bench.txt": [*command, "bench", "--to", str(args.to / "bench.json")],
    }
    codes = {}
    for file, words in steps.items():
        print(f"$ {' '.join(words)}", flush=True)
        with (args.to / file).open("w") as told:
            codes[file] = subprocess.run(words, stdout=told, env=environment).returncode
        print((args.to / file).read_text(errors="replace"), flush=True)
    failed = [file for file, code in codes.items() if code and file != "doctor.json"]
    print(f"failed: {', '.join(failed)}" if failed else f"all passed; send the folder {args.to}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())

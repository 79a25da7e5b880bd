"""The compiled rows on random planes, every path against the generic one, under sanitizers; NEON in an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "rows_check.cpp"
FLAGS = ["-std=c++17", "-O2", "-ffp-contract=off"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
SECONDS, SEED = "2", "1"


def check(folder: Path, compiler: str, flags: list[str], run: list[str]) -> str:
    program = folder / "rows_check"
    subprocess.run([compiler, *FLAGS, *flags, str(SOURCE), "-o", str(program)], check=True)
    done = subprocess.run([*run, str(program), SECONDS, SEED], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="there is no g++ to compile rows_check.cpp")
def test_every_path_gives_the_same_bytes(tmp_path):
    said = check(tmp_path, "g++", SANITIZE, [])
    assert "equal by generic" in said


@pytest.mark.skipif(
    not shutil.which("aarch64-linux-gnu-g++") or not shutil.which("qemu-aarch64"),
    reason="there is no aarch64-linux-gnu-g++, or no qemu-aarch64 to run what it compiles (make system-deps)",
)
def test_neon_gives_the_same_bytes(tmp_path):
    said = check(tmp_path, "aarch64-linux-gnu-g++", ["-static"], ["qemu-aarch64"])
    assert said.rstrip().endswith("neon")

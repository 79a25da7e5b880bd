"""The third signal ends the process, whatever the main thread does."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# hashlib's loop hears no signal, and lets other threads run.
BUSY = """
import hashlib, signal
from saliency_tubes.stream.app.settings import Settings
from saliency_tubes.stream.app.fleet import Fleet
from saliency_tubes.stream.app.config import Config

with Fleet(Settings((Config("test://", ("null://",)),))).signals():
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", (1 << 31) - 1)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_library_that_does_not_come_back_is_left_at_the_third(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(2):
                process.send_signal(number)
                with pytest.raises(subprocess.TimeoutExpired):  # one signal at a time: two of a kind may become one
                    process.wait(0.3)
            process.send_signal(number)
            assert process.wait(20) == 128 + number
        finally:
            process.kill()

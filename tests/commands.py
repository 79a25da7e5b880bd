"""`saliency-tubes run` in a process of its own, and what it answers at --metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brokers import wait_for

COMMAND = str(Path(sys.executable).with_name("saliency-tubes"))


class Run:
    """A command that is running; what it says is kept in `folder`/`log`."""

    def __init__(self, folder: Path, *words: object, env: Mapping[str, str] | None = None, log: str = "stderr") -> None:
        """env: variables of the environment besides those of this process."""
        self._log = folder / log
        with self._log.open("w") as said:
            self.process = subprocess.Popen(
                [COMMAND, "run", *map(str, words)], stderr=said, cwd=folder, env={**os.environ, **(env or {})}
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, count: int = 1) -> None:
        wait_for(lambda: self.said.count(text) >= count or self.process.poll() is not None, 30)
        assert self.said.count(text) >= count, self.said

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@contextmanager
def running(folder: Path, *words: object, env: Mapping[str, str] | None = None, log: str = "stderr") -> Iterator[Run]:
    run = Run(folder, *words, env=env, log=log)
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def healthz(port: int) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of the health page; 0 and nothing where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except OSError:
        return 0, {}


def metrics(port: int) -> str:
    """The page for Prometheus; empty where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""

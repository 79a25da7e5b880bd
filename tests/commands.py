"""`saliency-tubes run` in a process of its own, and what it answers at --metrics."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from waiting import wait_for

COMMAND = str(Path(sys.executable).with_name("saliency-tubes"))
LONG = 60.0
"""seconds after which a command is taken to hang; the machine may be busy with other tests"""


class Run:
    """A command that is running; what it says is kept in `folder`/`log`."""

    def __init__(
        self,
        folder: Path,
        *words: object,
        env: Mapping[str, str] | None = None,
        log: str = "stderr",
        out: str | None = None,
        alone: bool = False,
        command: Sequence[object] = (COMMAND,),
    ) -> None:
        """env: variables of the environment besides those of this process. alone: there are no others but the few that
        a service has. out: the file for standard output; None: that of the tests. command: what is given `run` and
        the words.
        """
        self.folder, self._log = folder, folder / log
        names = ("PATH", "HOME") if alone else tuple(os.environ)
        environment = {name: os.environ[name] for name in names if name in os.environ} | dict(env or {})
        with self._log.open("w") as said, (folder / out).open("w") if out else nullcontext() as printed:
            self.process = subprocess.Popen(
                [*map(str, command), "run", *map(str, words)], stdout=printed, stderr=said, cwd=folder, env=environment
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, *texts: str, count: int = 1) -> None:
        """Until each of the texts has been said so often."""

        def all_said() -> bool:
            return all(self.said.count(text) >= count for text in texts)

        wait_for(lambda: all_said() or self.process.poll() is not None, LONG)
        assert all_said(), self.said

    def end(self, number: int = signal.SIGTERM) -> int:
        """Sends it a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=LONG)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


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

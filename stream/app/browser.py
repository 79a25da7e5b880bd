"""Opens a page in the user's browser, where somebody sits in front of a screen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

from ..telemetry.log import say


def is_attended() -> bool:
    """Whether a person reads what is printed: standard output is a terminal, and this is no run of CI."""
    return sys.stdout.isatty() and not os.environ.get("CI")


def has_screen(environment: Mapping[str, str], platform: str = sys.platform) -> bool:
    """Whether a window that is opened here would be seen by the user. Pure."""
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return False  # a display that SSH forwards is too slow for video
    if platform == "darwin":
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def offer(urls: list[str]) -> None:
    """Opens the first of these pages if somebody would see it. Never waits. The log has all of them in either case."""
    if urls and is_attended() and has_screen(os.environ):
        say("browser", f"opening {urls[0]}")
        threading.Thread(target=_open, args=(urls[0],), name="saliency-tubes browser", daemon=True).start()


def _open(url: str) -> None:
    """By the standard library's `webbrowser`, in a process of its own: it waits for some browsers, and those for text
    would take the terminal. Without TERM it does not consider them."""
    environment = {name: value for name, value in os.environ.items() if name != "TERM"}
    with suppress(OSError):
        subprocess.run(
            [sys.executable, "-m", "webbrowser", url],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for the browser
        )

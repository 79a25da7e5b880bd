"""What tests wait for, and ports that they wait at. The standard library only: tests/servers.py runs in any Python."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONG = 20.0
"""seconds after which what should happen is taken not to; a bound against hanging, and no claim about speed"""


def wait_for(what: Callable[[], object], seconds: float = LONG) -> float:
    """Waits until `what()` is true; returns how many seconds it took. Fails after `seconds`."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, f"it did not happen within {seconds:g} s"
        time.sleep(0.01)
    return time.monotonic() - start


@contextmanager
def ends(within: float = LONG) -> Iterator[None]:
    """Fails where the block takes more than `within` seconds: it hung, or waited for what it should not wait for."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < within, f"it did not end within {within:g} s"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of the loopback that nobody listens at now. kind: SOCK_STREAM is TCP, SOCK_DGRAM is UDP."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def deaf_port() -> Iterator[int]:
    """A TCP port of the loopback that refuses everybody, and that nobody else gets while the block lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # without listen()
        yield int(held.getsockname()[1])

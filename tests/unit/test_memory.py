"""What nobody uses is found, and goes back to the system, while a run lasts."""

from __future__ import annotations

import ctypes
import gc
import threading
import weakref
from typing import Any

import pytest
from saliency_tubes.stream.telemetry.memory import kept_small
from waiting import wait_for


class Library:
    """A C library that counts how often it is asked to trim."""

    def __init__(self) -> None:
        self.trims = 0
        self.settings: list[tuple[int, int]] = []

    def mallopt(self, name: int, value: int) -> int:
        self.settings.append((name, value))
        return 1

    def malloc_trim(self, pad: int) -> int:
        self.trims += 1
        return 1


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "saliency-tubes memory"]


def test_it_is_trimmed_while_the_block_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    with kept_small(every=0.001):
        assert library.settings == [(-8, 2)]
        wait_for(lambda: library.trims > 2)
    assert threads() == []


class Ring:
    """Refers to itself."""

    def __init__(self) -> None:
        self.ring = self


def test_cycles_are_found_when_python_itself_does_not_look() -> None:
    gc.disable()
    try:
        with kept_small(every=0.001):
            wait_for(lambda: gc.get_freeze_count() > 0)
            lost = [weakref.ref(Ring()) for _ in range(3)]
            wait_for(lambda: not any(ring() for ring in lost))
    finally:
        gc.enable()
    assert gc.get_freeze_count() == 0


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    other: Any = object()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: other)
    with kept_small(every=0.001):
        wait_for(lambda: gc.get_freeze_count() > 0)
    assert threads() == []

"""Threads whose work on frames of a GPU comes at the same time, so that it is queued together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

SOON = 60
"""seconds after which a thread that hangs is a failure"""


def at_once(frames: Any, works: Sequence[Callable[[], Any]]) -> tuple[list[BaseException | None], list[float]]:
    """Does each work in a thread of its own. Another thread keeps the queue busy until all have left their jobs there,
    and then queues them.

    frames: a `FrameQueue`. Each work asks it once, and returns the event. Returns what each has raised, or its event,
    and the seconds of the processor that each thread took, with those of the one that queues at the end.
    """
    errors: list[BaseException | None] = [None] * len(works)
    events: list[Any] = [None] * len(works)
    spent = [0.0] * len(works)

    def do(index: int) -> None:
        begun = time.thread_time()
        try:
            events[index] = works[index]()
        except BaseException as error:
            errors[index] = error
        spent[index] = time.thread_time() - begun

    threads = [threading.Thread(target=do, args=(index,)) for index in range(len(works))]
    combiner = frames.combiner
    with combiner.busy():
        for thread in threads:
            thread.start()
        until = time.monotonic() + SOON
        while combiner.waiting < len(works) and any(map(threading.Thread.is_alive, threads)):
            assert time.monotonic() < until
            time.sleep(0.0002)
    for thread in threads:
        thread.join(SOON)
    assert not any(map(threading.Thread.is_alive, threads))
    begun = time.thread_time()
    frames.settle()
    spent.append(time.thread_time() - begun)
    for index, event in enumerate(events):
        try:
            if event is not None:
                event.check()
        except Exception as error:
            errors[index] = error
    return errors, spent

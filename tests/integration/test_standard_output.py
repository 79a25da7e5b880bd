"""The output `-` of a live run: whoever reads it may stand still, or leave, and harms no other output by it."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from commands import COMMAND, LONG
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import Source
from stubs import MemorySink, StubRunner, StubSource, make_event
from waiting import wait_for

WORDS = ["test://?size=160x120&rate=15", "-", "out.jsonl", "--frames", "16", "--realtime"]
SMALL = 4096
"""bytes that a pipe holds here: a few lines"""
LIVE = SinkOptions(live=True)


@contextmanager
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard output is a small pipe; gives the end that is read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, SMALL)
    with open(writer, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        try:
            yield reader
        finally:
            with suppress(OSError):
                os.close(reader)


def read_all(reader: int) -> bytes:
    got = b""
    while select.select([reader], [], [], 0.5)[0]:
        got += os.read(reader, 1 << 16)
    return got


def test_a_reader_that_stands_still_holds_up_nobody(monkeypatch):
    with piped(monkeypatch) as reader:
        sink, other = open_sink("-", LIVE), MemorySink()
        assert sink.never_waits
        source: Source = StubSource(frames=10_000)
        with Pipeline(source, StubRunner(), [sink, other], Options(hop=4)) as pipeline:
            for shown in pipeline:
                if shown.frame.index == 2000:
                    assert len(other.indices) >= 2000
                    pipeline.stop()
        assert sink.dropped > 100
        assert "given up" in sink.notes[0]
        assert other.closed == 1
        read_all(reader)


@pytest.mark.parametrize("blocking", [True, False])
def test_a_line_that_the_pipe_takes_bit_by_bit_arrives_whole(blocking, monkeypatch):
    with piped(monkeypatch) as reader:
        os.set_blocking(sys.stdout.fileno(), blocking)
        sink = open_sink("-", LIVE)
        sink.open(StubSource().info)
        events = [make_event(number, name="ü" * 5000) for number in range(3)]
        for event in events:
            sink.event(event)
        time.sleep(0.2)  # it waits
        got = read_all(reader)
        sink.close()
    assert got.decode().splitlines() == [event.json for event in events]
    assert (sink.events, sink.dropped) == (3, 0)


def test_a_reader_that_has_left_ends_the_run(monkeypatch):
    with piped(monkeypatch) as reader:
        sink = open_sink("-", LIVE)
        sink.open(StubSource().info)
        os.close(reader)
        sink.event(make_event())
        wait_for(lambda: sink.wants_stop)
        assert (sink.state, sink.drops) == ("running", {"nobody reads": 1})
        with pytest.raises(BrokenPipeError):
            sink.close()
        sink.close()


def lines_of(folder: Path) -> int:
    path = folder / "out.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


@contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        (folder / "stderr").open("w") as said,
        subprocess.Popen([COMMAND, "run", *WORDS], stdout=subprocess.PIPE, stderr=said, cwd=folder) as run,
    ):
        assert run.stdout is not None
        fcntl.fcntl(run.stdout, fcntl.F_SETPIPE_SZ, SMALL)
        try:
            yield run
        finally:
            run.kill()


@pytest.mark.slow
def test_sigterm_while_the_reader_stands_still(tmp_path):
    with running(tmp_path) as run:
        lines = tmp_path / "out.jsonl"
        wait_for(lambda: lines.exists() and lines.stat().st_size > 2.5 * SMALL, 60)  # the file goes on
        run.send_signal(signal.SIGTERM)
        assert run.wait(LONG) == 143
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_a_reader_that_leaves_as_head_does(tmp_path):
    with running(tmp_path) as run:
        assert run.stdout is not None
        json.loads(run.stdout.readline())
        run.stdout.close()
        assert run.wait(60) == 128 + signal.SIGPIPE
    said = (tmp_path / "stderr").read_text()
    assert "Traceback" not in said
    assert "error" not in said
    assert lines_of(tmp_path) > 0

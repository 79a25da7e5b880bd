"""What an earlier run wrote is kept, and no two processes write one file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.sinks import av_segments as av_segment_sink
from saliency_tubes.stream.sinks import json_lines
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.claim import claim
from saliency_tubes.stream.sinks.json_lines import JsonSink
from saliency_tubes.stream.sinks.open import open_sink
from stubs import make_event
from videos import all_pts, make_info, make_shown
from waiting import wait_for

INFO = make_info()
FILMS = ["out.mp4", "out.mkv", "out.mov"]

HOLD = """
import sys
from pathlib import Path
from saliency_tubes.stream.sinks.open import SinkOptions, open_sink
from videos import make_info
sink = open_sink(sys.argv[1], SinkOptions(live=sys.argv[2] == "live"))
sink.open(make_info())
print("open", flush=True)
sys.stdin.read()
sink.close()
"""


@contextmanager
def another_process(uri: Path, live: bool = False) -> Iterator[subprocess.Popen[str]]:
    """One that has the output open; it closes it when its standard input ends."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", HOLD, str(uri), "live" if live else "file"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def write(uri: Path, frames: int = 3, **options: bool) -> Sink:
    sink = open_sink(str(uri), SinkOptions(**options))
    try:
        sink.open(INFO)
        for index in range(frames):
            sink.write(make_shown(index, index * 512, INFO))
            sink.event(make_event(index))
    finally:
        sink.close()
    return sink


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", FILMS)
def test_films_are_kept_and_the_new_one_gets_a_number(name: str, live: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    for _ in range(3):
        sink = write(path, live=live)
    numbered = [path, *(path.with_stem(f"out-{number}") for number in (1, 2))]
    assert sorted(tmp_path.iterdir()) == sorted(numbered)
    assert all(len(all_pts(one)) == 3 for one in numbered)
    assert sink.name == str(numbered[-1])
    assert f"{name} holds what was written before and is kept; --overwrite would replace it" in sink.notes
    write(path, frames=5, live=live, overwrite=True)
    assert len(all_pts(path)) == 5
    assert len(list(tmp_path.iterdir())) == 3


def test_an_empty_file_holds_nothing_that_could_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.touch()
    assert write(path).name == str(path)
    assert len(all_pts(path)) == 3


def test_pictures_are_kept(tmp_path: Path) -> None:
    pattern = tmp_path / "frames" / "%02d.png"
    write(pattern, 3)
    (pattern.parent / "00-1.jpg").touch()
    assert write(pattern, 2).name == str(pattern.parent / "%02d-1.png")
    write(pattern, 1, overwrite=True)
    names = sorted(path.name for path in pattern.parent.glob("*.png"))
    assert names == ["00-1.png", "00.png", "01-1.png", "01.png", "02.png"]
    assert not list(pattern.parent.glob(".*"))


class TestLines:
    def lines(self, path: Path) -> list[str]:
        return path.read_text().splitlines()

    def test_of_files_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, 3)
        assert write(path, 2).name == str(tmp_path / "events-1.jsonl")
        assert (len(self.lines(path)), len(self.lines(tmp_path / "events-1.jsonl"))) == (3, 2)
        write(path, 1, overwrite=True)
        assert self.lines(path) == [make_event(0).json]

    def test_of_live_inputs_are_added(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        write(path, 2, live=True)
        write(path, 1, live=True)
        assert self.lines(path) == [make_event(0).json, make_event(1).json, make_event(0).json]
        write(path, 1, live=True, overwrite=True)
        assert self.lines(path) == [make_event(0).json]

    @pytest.mark.parametrize(
        ("before", "after"),
        [('{"a":1}\n{"b":', ['{"a":1}']), ('{"a":1}\n{"b":2}', ['{"a":1}', '{"b":2}']), ('{"a', [])],
    )
    def test_a_line_that_a_kill_has_torn_spoils_no_other(self, before: str, after: list[str], tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        path.write_text(before)
        sink = write(path, 1, live=True)
        assert self.lines(path) == [*after, make_event(0).json]
        assert any("cut short" in note for note in sink.notes) == (not before.endswith("}"))

    def test_a_file_that_was_emptied_meanwhile_is_written_from_its_beginning(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        sink = open_sink(str(path))
        sink.open(INFO)
        sink.event(make_event(0))
        os.truncate(path, 0)  # as logrotate's copytruncate does
        sink.event(make_event(1))
        sink.close()
        assert path.read_text() == f"{make_event(1).json}\n"

    def test_a_file_that_fails_to_close_is_given_back(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As on a drive of the network that is full: it says so only then."""

        class Full(FileIO):
            def close(self) -> None:
                super().close()
                raise OSError(errno.ENOSPC, "No space left on device")

        path = tmp_path / "events.jsonl"
        monkeypatch.setattr(json_lines, "FileIO", Full)
        sink = JsonSink(path)
        sink.open(INFO)
        with pytest.raises(SinkError, match="No space left on device"):
            sink.close()
        again = claim(path, replace=True)
        assert again.path == path
        again.release()

    def test_a_pipe_is_written_to_and_not_numbered(self, tmp_path: Path) -> None:
        path = tmp_path / "pipe.jsonl"
        os.mkfifo(path)
        with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE, text=True) as reader:
            write(path, 2)
            assert reader.communicate()[0] == f"{make_event(0).json}\n{make_event(1).json}\n"


@pytest.mark.parametrize(
    ("name", "live"),
    [*((name, live) for name in (*FILMS, "events.jsonl", "%d.png") for live in (False, True)), ("%Y%m%d.mkv", False)],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_two_processes_never_write_one_file(name: str, live: bool, overwrite: bool, tmp_path: Path) -> None:
    with another_process(tmp_path / name, live) as other:
        there = sorted(tmp_path.iterdir())
        with pytest.raises(SinkError) as caught:
            write(tmp_path / name, live=live, overwrite=overwrite)
        assert sorted(tmp_path.iterdir()) == there
        where = "it" if "%" not in name else "there"
        assert str(caught.value) in (
            f"{tmp_path / name}: process {other.pid} (python) is writing {where}",
            f"{tmp_path / name}: another process is writing {where}",
        )
        assert caught.value.exit_code == 1
        other.send_signal(signal.SIGKILL)
        other.wait()
    write(tmp_path / name, live=live, overwrite=overwrite)  # the lock died with its process


def test_a_live_recording_waits_until_the_other_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av_segment_sink, "RETRY_SECONDS", 0.05)
    pattern = tmp_path / "rec" / "%Y%m%d-%H%M%S.mkv"
    index = 0

    def send(sink: Sink) -> None:
        nonlocal index
        sink.write(make_shown(index, index * 512, INFO))
        index += 1

    with another_process(pattern, live=False) as other:
        sink = open_sink(str(pattern), SinkOptions(live=True))
        sink.open(INFO)
        wait_for(lambda: (send(sink), sink.state == "retrying")[1])
        assert f"{pattern}: " in sink.notes[-1]
        assert "is writing there; tried again" in sink.notes[-1]
        assert not list(pattern.parent.glob("*.mkv"))
        assert other.stdin is not None
        other.stdin.close()
        other.wait()
        wait_for(lambda: (send(sink), sink.frames_written > 0)[1])
    sink.close()
    assert sink.frames_written + sink.dropped == index
    assert not list(pattern.parent.glob(".*"))


def test_two_outputs_of_one_process_find_a_name_each(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"mine")
    first = claim(tmp_path / "out.mp4")
    second = claim(tmp_path / "out-1.mp4")
    assert (first.path.name, second.path.name) == ("out-1.mp4", "out-1-1.mp4")
    for one in (first, second):
        one.release()
        one.release()
    assert (tmp_path / "out.mp4").read_bytes() == b"mine"


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    write(tmp_path / "out.mp4")
    assert len(all_pts(tmp_path / "out.mp4")) == 3

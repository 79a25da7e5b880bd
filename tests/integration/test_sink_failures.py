"""Full disks and killed processes: one line, and a file that still plays."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.open import open_source
from stubs import make_event
from videos import all_pts, make_info, make_shown

FOLDER = str(Path(__file__).parents[1])
WRITER = f"""
import resource, sys, time
sys.path.insert(0, {FOLDER!r})
import numpy as np
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.sinks.open import open_sink
from videos import make_info, make_shown

noise = np.random.default_rng(0)
info = make_info()
sink = open_sink(sys.argv[1])
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
lines = []
try:
    sink.open(info)
    for index in range(300):
        draw = lambda i, size: noise.integers(0, 256, (size[1], size[0], 3), np.uint8)
        sink.write(make_shown(index, 37 + index * 512, info, draw))
    if not limit:
        print("written", flush=True)
        time.sleep(60)
except SinkError as error:
    lines.append(str(error))
try:
    sink.close()
except SinkError as error:
    lines.append(str(error))
sink.close()
print("\\n".join(lines))
"""


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_killed_run_leaves_a_file_that_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out.{suffix}"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    times = all_pts(path)
    assert len(times) >= 230
    if suffix != "mkv":
        assert times == [Fraction(37 + 512 * i, 12_800) for i in range(len(times))]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9, 0.999])
def test_a_full_disk_is_one_line_and_what_fitted_plays(tmp_path: Path, suffix: str, share: float) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    limit = max(100, int(share * self_size(whole)))
    run = subprocess.run(
        [sys.executable, "-c", WRITER, str(cut), str(limit)], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{cut}: File too large\n"
    assert run.stderr == ""
    assert cut.stat().st_size <= limit
    if share:
        assert len(all_pts(cut)) > 250 * share - 50


CUTS = f"""
import re, resource, struct, sys
from pathlib import Path
sys.path.insert(0, {FOLDER!r})
from saliency_tubes.engine.errors import SinkError
from saliency_tubes.stream.sinks.av_file import FLUSH_SECONDS, AvSink, file_settings
from saliency_tubes.stream.sinks.base import SinkOptions
from videos import all_pts, make_info, make_shown

path, info = Path(sys.argv[1]), make_info()

def writes():
    return int(re.search("syscw: (.*)", Path("/proc/self/io").read_text())[1])

def record(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    sink = AvSink(path, "mp4", file_settings(SinkOptions(live=True)), FLUSH_SECONDS, overwrite=True)
    pieces, end = [], 0
    try:
        sink.open(info)
        for index in range(40):
            shown, before = make_shown(index, 37 + index * 512, info), writes()
            sink.write(shown)
            if path.stat().st_size != end:
                pieces.append(writes() - before)
                end = path.stat().st_size
    except SinkError:
        pass
    finally:
        sink.close()
    return pieces

pieces, whole, boxes, start = record(1 << 40), path.read_bytes(), [], 0
while start < len(whole):
    length, kind = struct.unpack_from(">I4s", whole, start)
    boxes.append((kind.decode(), start, length))
    start += length
print(*pieces)
print(*(kind for kind, *_ in boxes))
_, start, length = boxes[4]
for limit in range(start - 20, start + length + 20, 5):
    record(limit)
    print(len(all_pts(path)), path.stat().st_size - start)
"""


def test_fragments_are_written_in_one_piece_and_half_a_head_is_taken_away(tmp_path: Path) -> None:
    """FFmpeg opens no MP4 with half a head (moof) of a fragment. So a kill must not leave one, nor a full disk."""
    run = subprocess.run([sys.executable, "-c", CUTS, str(tmp_path / "out.mp4")], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
    pieces, boxes, *lines = run.stdout.splitlines()
    assert boxes.split()[:8] == ["ftyp", "moov"] + ["moof", "mdat"] * 3
    assert pieces.split()[1:] == ["1"] * (len(pieces.split()) - 1)  # the first has ftyp and moov before it
    assert len(pieces.split()) >= 3
    played, beyond = zip(*(map(int, line.split()) for line in lines), strict=True)
    assert len(played) > 20
    assert min(played) >= 12  # half a second is a fragment
    assert beyond.count(0) > 10


def self_size(path: Path) -> int:
    """Bytes of the same video where there is room."""
    run = subprocess.run([sys.executable, "-c", WRITER, str(path), str(1 << 40)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "\n")
    return path.stat().st_size


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "events.jsonl", "0.png"])
def test_no_space_left(tmp_path: Path, name: str) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    info = make_info()
    sink = open_sink(str(tmp_path / name.replace("0.png", "%d.png")))
    with pytest.raises(SinkError, match=rf"^\S+{name}: No space left on device$"):  # noqa: PT012
        sink.open(info)
        for index in range(200):
            sink.write(make_shown(0, index * 512, info))
            sink.event(make_event())
        sink.close()
    sink.close()


def test_a_folder_removed_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    sinks = [open_sink(str(folder / name)) for name in ("out.mp4", "events.jsonl")]
    folder.rmdir()
    for sink in sinks:
        with pytest.raises(SinkError, match="No such file or directory"):
            sink.open(make_info())
        sink.close()


class TestPng:
    def test_numbers_and_pixels(self, tmp_path: Path) -> None:
        sink = open_sink(str(tmp_path / "deep" / "frames" / "f%03d.png"))
        info = make_info(width=65, height=33, pixel_aspect=Fraction(4, 3))
        sink.open(info)
        shown = [make_shown(index, index, info) for index in (0, 7, 1234)]
        for one in shown:
            sink.write(one)
        sink.close()
        assert "4/3" in sink.notes[0]
        for one, name in zip(shown, ("f000.png", "f007.png", "f1234.png"), strict=True):
            bgr = cv2.imread(str(tmp_path / "deep" / "frames" / name))
            np.testing.assert_array_equal(bgr[..., ::-1], one.rgb)

    def test_a_percent_sign(self, tmp_path: Path) -> None:
        sink = open_sink(str(tmp_path / "100%%_%d.png"))
        sink.open(make_info())
        sink.write(make_shown(3, 0, make_info()))
        assert (tmp_path / "100%_3.png").is_file()


class TestJsonLines:
    def test_every_line_is_there_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "events.jsonl"
        sink = open_sink(str(path))
        sink.open(make_info())
        for window in range(3):
            sink.event(make_event(window, name="größer"))
            lines = path.read_text("utf-8").splitlines()
            assert [json.loads(line)["window"] for line in lines] == list(range(window + 1))
        sink.close()

    def test_standard_output(self, capsys: pytest.CaptureFixture[str]) -> None:
        sink = open_sink("-")
        sink.open(make_info())
        sink.event(make_event())
        sink.close()
        print("still open")
        assert capsys.readouterr().out == f"{make_event().json}\nstill open\n"


def test_close_makes_a_plain_mp4(tmp_path: Path) -> None:
    info, path = make_info(), tmp_path / "out.mp4"
    sink = open_sink(str(path))
    sink.open(info)
    for index in range(100):
        sink.write(make_shown(index, index * 512, info))
    sink.close()
    source = open_source(str(path))
    assert (source.info.expected_frames, source.info.duration) == (100, 4.0)
    source.close()

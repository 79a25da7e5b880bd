"""GStreamer's own CUDA elements on the GPU that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from saliency_tubes.stream.media.gst_load import Missing, load
from videos import make_video

PROGRAM = Path(__file__).with_name("gst_round_trip.py")


@pytest.fixture
def round_trip(gpu_double):
    try:
        load("GstApp", "GstVideo", "GstCuda")
    except Missing as missing:
        pytest.skip(str(missing))

    def run(how):
        double = gpu_double(seed=0)
        command = [sys.executable, str(PROGRAM), how]
        done = subprocess.run(command, env=double.environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.split("\n")[:-1], double.children()[-1], double

    return run


def test_frames_go_up_are_written_to_and_come_down(round_trip):
    lines, report, _ = round_trip("sync")
    assert lines == [f"16 {value} {value} 16" for value in range(100, 104)]
    assert report["violations"] == []
    assert report["copies"]["HtoD"] >= 4
    assert report["copies"]["DtoH"] >= 4
    assert report["live"]["streams"] == 0


def test_who_hands_a_frame_on_too_early_is_caught(round_trip):
    _, report, double = round_trip("forget")
    assert any("no event orders it after cuMemsetD2D8Async" in line for line in report["violations"])
    double.report_of_children.unlink()  # it was wrong on purpose


def test_a_decoder_of_nvidias_decodes(gpu_double, tmp_path):
    try:
        load("GstApp", "GstVideo", "GstCuda")
    except Missing as missing:
        pytest.skip(str(missing))
    video = make_video(tmp_path / "clip.mp4", frames=6)
    double = gpu_double(seed=3)
    command = [sys.executable, str(PROGRAM.with_name("gst_decode.py")), str(video)]
    done = subprocess.run(command, env=double.decoding_environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split("\n")[:-1] == [f"64 48 {16 + 8 * number} 128" for number in range(6)]
    report = double.children()[-1]  # before it, GStreamer looked for its plugins in another process
    assert (report["live"]["device"], report["live"]["streams"]) == (0, 0)

"""A Jetson's memory:NVMM, by stand-ins of its elements (tests/jetson.py) in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from saliency_tubes.stream.sources.gst_feed import available
from videos import make_video

pytestmark = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")

HERE = Path(__file__).resolve().parents[1]
READ = """
import sys
import jetson
from saliency_tubes.stream.sources.open import SourceOptions, open_source
jetson.install()
source = open_source(sys.argv[1], SourceOptions(backend="gst"))
frames = [frame for frame, _ in zip(source, range(5))]
print([(frame.picture.width, int(frame.picture.planes[0][0, 0])) for frame in frames], *source.remarks)
source.close()
"""


def run(program: str, *arguments: str) -> str:
    """What a program prints in which the stand-ins can be imported."""
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "input", ["{}", "gst://filesrc location={} ! qtdemux ! h264parse ! identity sync=true ! nvv4l2decoder"]
)
def test_frames_that_decoders_leave_in_nvmm_are_copied_from_there(input: str, tmp_path: Path) -> None:
    """Where a Jetson's decoder is the one that decodebin takes, and where a pipeline ends in it."""
    video = make_video(tmp_path / "clip.mp4", size=(64, 48), frames=5)
    assert run(READ, input.format(video)) == str([(64, number) for number in range(5)])

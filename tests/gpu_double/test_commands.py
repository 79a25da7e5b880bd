"""`saliency-tubes run` in processes of their own that have the GPU that is not there, and in one that has none."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from commands import COMMAND, Run
from saliency_tubes.engine.cuda.jobs import MOST_JOBS
from videos import make_video
from waiting import wait_for

Start = Callable[..., Any]
HERE = [sys.executable, Path(__file__).with_name("command.py")]
MADE = ("allocations", "frees", "pinned_allocations", "pinned_frees", "modules_loaded", "contexts_made", "streams_made")


def ran(folder: Path, *words: object, command: list[Any], env: dict[str, str] | None = None) -> str:
    """What a run that must succeed says."""
    with Run(folder, *words, env=env, command=command) as run:
        assert run.process.wait(timeout=120) == 0, run.said
        return run.said


def played(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray() for frame in film.decode(video=0)]


@pytest.mark.parametrize(
    ("words", "command", "said"),
    [
        pytest.param(
            ["--memory", "cuda"],
            [COMMAND],
            "as asked; what the model sees is copied to the host",
            marks=pytest.mark.slow,  # NVRTC compiles
        ),
        (["--device", "cuda", "--runtime", "onnxruntime"], HERE, "the model reads its samples there"),
    ],
    ids=["memory", "device"],
)
def test_a_file_comes_out_the_same(
    words: list[str], command: list[Any], said: str, gpu_double: Start, small_model: Path, tmp_path: Path
) -> None:
    """The first by the installed command and NVRTC itself, whose programs the GPU that is not there takes too."""
    video = make_video(tmp_path / "clip.mp4", size=(160, 120), frames=40)
    outputs = ["out.mp4", "out.jsonl"]
    common = ["--model", small_model, "--hop", 4, "--runtime", "onnxruntime"]
    folders = [tmp_path / "host", tmp_path / "cuda"]
    for folder in folders:
        folder.mkdir()
    ran(folders[0], video, *outputs, *common, command=[COMMAND])
    double = gpu_double(seed=3)
    told = ran(folders[1], video, *outputs, *common, *words, command=command, env=double.environment)
    assert (
        f"Discrete double (cuda:0, with memory of its own); frames from the host are copied there once: {said}" in told
    )
    here, there = ((folder / "out.jsonl").read_text() for folder in folders)
    assert here == there
    for frame, other in zip(*(played(folder / "out.mp4") for folder in folders), strict=True):
        assert (frame == other).all()
    # Frames that are drawn while their stream's sampler is queuing share a launch: MOST_JOBS of them at most.
    assert 40 / MOST_JOBS <= double.children()[-1]["launches"]["overlay_linear"] <= 40


CONFIG = """model = "{model}"
hop = 4
device = "cuda"
runtime = "onnxruntime"
realtime = true
sync = "live"
{more}
[[stream]]
name = "door"
input = "test://?size=320x240&rate=5"
outputs = ["door.jsonl"]
[[stream]]
name = "yard"
input = "test://?size=160x120&rate=5"
outputs = ["yard.jsonl"]
alpha = {alpha}
[[stream]]
name = "short"
input = "test://?size=640x480&rate=5&frames={frames}"
outputs = ["short.jsonl"]
"""
SHORT_PICTURE, DOOR_PICTURE = 640 * 480 * 3 // 2, 320 * 240 * 3 // 2
"""bytes, at least"""


@pytest.mark.slow
def test_a_reload_reaches_one_stream_and_costs_the_others_nothing(
    gpu_double: Start, small_model: Path, tmp_path: Path
) -> None:
    """SIGHUP changes how `yard` is drawn; `door` goes on; what `short` had is given back when it ends."""
    double, config, counted = gpu_double(seed=1), tmp_path / "live.toml", tmp_path / "counted.json"

    def write(**changes: object) -> None:
        config.write_text(CONFIG.format(**{"model": small_model, "alpha": 0.5, "frames": 60, "more": "", **changes}))

    def events(name: str) -> int:
        path = tmp_path / f"{name}.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def more_events() -> None:
        before = events("door"), events("yard")
        wait_for(lambda: events("door") >= before[0] + 3 and events("yard") >= before[1] + 3, 60)

    write()
    env = {**double.environment, "COUNTED_SO_FAR": str(counted)}
    with Run(tmp_path, "--config", config, "--log-format", "json", env=env, command=HERE) as run:

        def so_far() -> dict[str, Any]:
            counted.unlink(missing_ok=True)
            run.process.send_signal(signal.SIGUSR1)
            wait_for(counted.exists)
            report: dict[str, Any] = json.loads(counted.read_text())
            return report

        def settled() -> dict[str, Any]:
            """Once a few windows pass for which nothing is made: outputs of the first ones take memory bit by bit."""
            reports = [so_far()]
            for _ in range(20):
                more_events()
                reports.append(so_far())
                if all(reports[-2]["counts"][name] == reports[-1]["counts"][name] for name in MADE):
                    return reports[-1]
            raise AssertionError([report["counts"] for report in reports])

        wait_for(lambda: min(map(events, ("door", "yard", "short"))) >= 2 or run.process.poll() is not None, 60)
        full = so_far()["live"]["device_bytes"]
        run.wait_for('"done"')
        wait_for(lambda: so_far()["live"]["device_bytes"] <= full - 8 * SHORT_PICTURE)
        before = settled()
        write(alpha=0.1)
        run.process.send_signal(signal.SIGHUP)
        run.wait_for("changed: alpha")
        changed = settled()
        more = changed["live"]["device_bytes"] - before["live"]["device_bytes"]
        assert more < DOOR_PICTURE  # tables for what `yard` draws now
        write(alpha=0.1, more="alfa = 1")
        run.process.send_signal(signal.SIGHUP)
        run.wait_for("did you mean alpha")
        assert run.end() == 143
    (done,) = [line for line in run.said.splitlines() if '"done"' in line and '"door"' in line]
    counted_frames = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", done)
    assert counted_frames, done
    received, written, dropped = map(int, counted_frames.groups())
    assert received == written + dropped  # a GPU that is not there may be slower than the camera
    assert not double.children()[-1]["violations"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--memory", "cuda"],
            "frames cannot live on cuda:0: no [^;]*; use --memory host; 'saliency-tubes doctor' says",
        ),
        (["--device", "cuda"], "and here is no [^;]*: leave out the device; 'saliency-tubes doctor' says"),
    ],
)
def test_without_a_gpu_one_line_says_why_and_what_to_do(words: list[str], says: str, tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=3)
    with Run(tmp_path, video, "out.mp4", *words, env={"CUDA_VISIBLE_DEVICES": ""}) as run:
        assert run.process.wait(timeout=60) == 2
    (line,) = run.said.splitlines()
    assert re.search(rf"^saliency-tubes: error: .*{says}", line), line
    assert not (tmp_path / "out.mp4").exists()

"""The command as a user types it: real files, the real network, and every kind of wrong input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from commands import COMMAND
from saliency_tubes.stream.app.cli import main
from videos import all_pts, make_audio, make_video

FAST = ["--frames", "16", "--hop", "16"]


def command(*words: object, folder: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, words)], capture_output=True, text=True, cwd=folder, timeout=120, **options
    )


def only_error(code: int, expected: int, stderr: str) -> str:
    """The one clear line with which a command failed, its last one."""
    assert code == expected, stderr
    errors = [line for line in stderr.splitlines() if "error:" in line]
    assert len(errors) == 1, stderr
    assert stderr.splitlines()[-1] == errors[0]
    assert "Traceback" not in stderr
    return errors[0]


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command that must fail with a code and one clear line; returns the line.

    In this process, for to start one takes longer than to fail. `test_in_a_process_of_its_own` has the rest.
    """

    def run(code: int, *words: object, folder: Path | None = None) -> str:
        if folder is not None:
            monkeypatch.chdir(folder)
        capfd.readouterr()
        try:
            found = main([str(word) for word in words])
        except SystemExit as exit:  # argparse
            found = int(exit.code or 0)
        return only_error(found, code, capfd.readouterr().err)

    return run


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "in.mp4", size=(128, 96), frames=40, audio="aac")


class TestWrongInput:
    def test_in_a_process_of_its_own(self, video):
        done = command("run", video, "null://", "--hop", "0")
        assert "hop must be 1 or more" in only_error(done.returncode, 2, done.stderr)

    def test_no_such_file(self, tmp_path, refused):
        assert "nothing.mp4: no such file" in refused(1, "run", tmp_path / "nothing.mp4", "null://")

    def test_not_a_video(self, tmp_path, refused):
        (tmp_path / "a.mp4").write_bytes(os.urandom(5000))
        assert "not a video" in refused(1, "run", tmp_path / "a.mp4", "null://")

    def test_audio_only(self, tmp_path, refused):
        assert "only audio" in refused(1, "run", make_audio(tmp_path / "a.m4a"), "null://")

    def test_mp4_cut_off_before_its_index(self, tmp_path, video, refused):
        (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:3000])
        assert "moov" in refused(1, "run", tmp_path / "cut.mp4", "null://")

    def test_not_onnx(self, tmp_path, video, refused):
        (tmp_path / "model.onnx").write_text("not a model")
        assert "it is not an ONNX file" in refused(1, "run", video, "null://", "--model", tmp_path / "model.onnx")

    def test_no_such_model(self, video, refused):
        assert "i3d" in refused(1, "run", video, "null://", "--model", "resnet")

    def test_onnx_without_manifest(self, tmp_path, video, refused):
        onnx = pytest.importorskip("onnx")
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [value])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "bare.onnx")
        assert "no saliency-tubes manifest" in refused(1, "run", video, "null://", "--model", tmp_path / "bare.onnx")

    def test_manifest_of_another_network(self, tmp_path, video, refused):
        onnx = pytest.importorskip("onnx")
        from saliency_tubes.engine.runtimes.models import find_model

        model = onnx.load(find_model("i3d"))
        for entry in model.metadata_props:
            if entry.key == "saliency_tubes.manifest":
                text = json.loads(entry.value)
                text["windows"]["64"]["slice_weights"] = [0.25] * 4
                text["windows"]["64"]["trusted"] = [0, 4]
                entry.value = json.dumps(text)
        onnx.save(model, tmp_path / "other.onnx")
        line = refused(1, "run", video, "null://", "--model", tmp_path / "other.onnx")
        assert "(1, 1024, 8, 7, 7) does not fit the manifest" in line

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["--explain", "washing dish"], "'washing dishes'"),
            (["--explain", "400"], "0 to 399"),
            (["--explain", "zumba:zumba"], "against itself"),
            (["--frames", "20"], "16, 32 or 64"),
            (["--hop", "0"], "hop must be 1 or more"),
            (["--hop", "65"], "hop must be 1 to 64"),
            (["--alpha", "2"], "alpha must be between 0 and 1"),
            (["--normalize", "fixed:3:1"], "LOW < HIGH"),
            (["--normalize", "maximum"], "positive, volume or fixed:LOW:HIGH"),
            (["--device", "TPU"], "'TPU'"),
            (["--colormap", "rainbow"], "rainbow"),
            (["--limit", "none"], "--limit"),
        ],
    )
    def test_options(self, words, says, video, refused):
        code = 1 if words[0] == "--frames" else 2
        assert says in refused(code, "run", video, "null://", *words)

    @pytest.mark.parametrize(
        ("output", "code", "says"),
        [
            ("no/such/folder/out.mp4", 1, "does not exist"),
            ("out.avi", 2, ".mp4"),
            ("frames/x.png", 2, "%06d"),
            ("ftp://host/app", 2, "ftp:// is not an output"),
            ("/dev/full/out.mp4", 1, "/dev/full"),
        ],
    )
    def test_outputs(self, output, code, says, video, tmp_path, refused):
        assert says in refused(code, "run", video, output, folder=tmp_path)

    @pytest.mark.parametrize("form", ["text", "json"])
    def test_the_error_is_said_once_and_as_everything_else(self, form, tmp_path):
        done = command("run", "nothing.mp4", "null://", "--log-format", form, folder=tmp_path)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        if form == "text":
            assert line == "saliency-tubes: error: nothing.mp4: no such file"
        else:
            record = json.loads(line)
            assert record.pop("time")
            assert record == {"level": "error", "event": "error", "message": "nothing.mp4: no such file"}

    def test_options_between_the_names(self, tmp_path, refused):
        words = ["run", "nothing.mp4", "--hop", "4", "out.mp4"]
        assert "nothing.mp4: no such file" in refused(1, *words, folder=tmp_path)
        assert "unrecognized arguments: --foo" in refused(2, *words, "--foo")

    def test_the_output_is_the_input(self, video, refused):
        before = video.read_bytes()
        assert "is also the input" in refused(2, "run", video, video)
        assert video.read_bytes() == before

    def test_a_password_is_never_shown(self, refused):
        line = refused(1, "run", "rtsp://user:secret@127.0.0.1:1/live", "null://", "--first-timeout", "0.5")
        assert "secret" not in line
        assert "127.0.0.1:1/live" in line

    def test_disk_full(self, video, tmp_path):
        """A limit on the size of files stands for the disk: the error is one line, the exit code 1."""
        limit = "import resource,sys,signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " \
            "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000)); " \
            "from saliency_tubes.stream.app.cli import main; sys.exit(main(sys.argv[1:]))"  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", limit, "run", str(video), str(tmp_path / "out.mp4"), *FAST],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr
        assert "out.mp4: File too large" in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


class TestOddInput:
    """In this process, with a small network: what is odd is the video."""

    @pytest.fixture
    def explained(self, small_model, capfd) -> Callable[..., str]:
        """Runs the command, which must succeed; returns what it says."""

        def run(*words: object) -> str:
            capfd.readouterr()
            code = main(["run", *map(str, words), "--model", str(small_model), "--frames", "8", "--hop", "8"])
            said = capfd.readouterr().err
            assert code == 0, said
            return said

        return run

    @pytest.mark.parametrize(
        "options",
        [
            {"size": (853, 481), "codec": "mpeg4"},
            {"pix_fmt": "yuv420p10le"},
            {"codec": "ffv1", "pix_fmt": "gray"},
            {"pix_fmt": "yuvj420p", "full_range": True},
            {"turn": 90},
        ],
        ids=["odd", "10-bit", "grey", "full-range", "rotated"],
    )
    def test_is_explained(self, options, tmp_path, explained):
        name = "in.mp4" if "turn" in options else "in.mkv"
        source = make_video(tmp_path / name, frames=20, **{"size": (128, 96), **options})
        said = explained(source, tmp_path / "out.mp4", tmp_path / "out.jsonl")
        assert "20 frames in, 20 out, 0 dropped" in said
        assert len(all_pts(tmp_path / "out.mp4")) == 20

    @pytest.mark.parametrize("frames", [1, 5])
    def test_shorter_than_the_window(self, frames, tmp_path, explained):
        source = make_video(tmp_path / "in.mp4", frames=frames)
        said = explained(source, tmp_path / "out.mp4")
        assert "shorter than a window of 8 frames: its last frame is repeated" in said
        assert len(all_pts(tmp_path / "out.mp4")) == frames

    def test_a_cut_off_recording_is_explained_as_far_as_it_goes(self, tmp_path, explained):
        source = make_video(tmp_path / "in.mkv", frames=60, size=(256, 192))
        data = source.read_bytes()
        source.write_bytes(data[: len(data) // 2])
        explained(source, tmp_path / "out.mp4")
        assert 1 < len(all_pts(tmp_path / "out.mp4")) < 60


def test_all_outputs_at_once(video, tmp_path):
    done = command("run", video, "out.mp4", "out.mkv", "frames/%04d.png", "out.jsonl", *FAST, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all_pts(tmp_path / "out.mp4") == all_pts(video)
    assert len(list((tmp_path / "frames").glob("*.png"))) == 40
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["frames"] for line in lines] == [[0, 15], [16, 31], [24, 39]]
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert len(made.streams.audio) == 1
    assert "OpenVINO" in done.stderr


def test_same_input_same_bytes(video, tmp_path):
    """With other queue timings too: the second run is slowed down by pinning it to one core, at low priority."""
    for run, words in enumerate(([], ["nice", "-n", "19", "taskset", "-c", "0"])):
        subprocess.run(
            [*words, COMMAND, "run", str(video), str(tmp_path / f"{run}.mp4"), str(tmp_path / f"{run}.jsonl"), *FAST],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
    pictures = []
    for run in range(2):
        with av.open(str(tmp_path / f"{run}.mp4")) as made:
            pictures.append([frame.to_ndarray() for frame in made.decode(video=0)])
    assert all(np.array_equal(one, other) for one, other in zip(*pictures, strict=True))


def test_json_lines_to_a_program(video):
    done = command("run", video, "-", *FAST, "--timings")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 3
    assert records[0]["timings"]["infer"] > 0


def test_the_default_output(video, tmp_path):
    done = command("run", video, *FAST, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(all_pts(tmp_path / "in.tubes.mp4")) == 40


def test_live(video):
    done = command("run", video, "null://", "--sync", "live", "--frames", "16")
    assert done.returncode == 0, done.stderr
    frames = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", done.stderr)
    assert frames
    read, written, dropped = map(int, frames.groups())  # a busy machine may drop some, and then says so
    assert read == 40 == written + dropped


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_output(number, code, tmp_path):
    source = make_video(tmp_path / "in.mp4", frames=1500, options={"preset": "ultrafast"})
    process = subprocess.Popen(
        [COMMAND, "run", str(source), str(tmp_path / "out.mp4"), str(tmp_path / "out.jsonl"), *FAST],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "out.jsonl").exists():
        time.sleep(0.05)
    while time.monotonic() < deadline and not (tmp_path / "out.jsonl").read_text():
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    frames = len(all_pts(tmp_path / "out.mp4"))
    assert 0 < frames < 1500
    assert f"{frames} frames in, {frames} out, 0 dropped" in errors
    last = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[-1])
    assert last["frames"][1] == frames - 1


def test_help_has_examples():
    done = command("run", "--help")
    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert "saliency-tubes run clip.mp4" in done.stdout
    text = " ".join(done.stdout.split())
    assert "avx512, avx2, neon, generic or numpy" in text
    assert "an encoder's own name, which only some outputs know" in text


def test_info():
    done = command("info")
    assert done.returncode == 0
    assert "Mixed_5c, 1024 channels" in done.stdout
    assert "linear: the tube adds up to the logit" in done.stdout
    assert "T = 64" in done.stdout

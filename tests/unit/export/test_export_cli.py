"""The arguments of `saliency-tubes export`, `check` and `manifest`, and what they say when they cannot."""

import argparse
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import ModelError, SourceError, UsageError
from saliency_tubes.export import check_cli, cli

HEAVY = {"torch", "onnx", "onnxscript", "onnxruntime", "openvino", "torchvision", "tensorrt", "tensorrt_rtx"}


def parse(*words, add=cli.add_export_arguments):
    parser = argparse.ArgumentParser()
    add(parser)
    return parser.parse_args([str(word) for word in words])


def test_defaults_leave_all_to_the_network():
    args = parse("i3d")
    assert (args.output, args.weights, args.frames, args.size, args.layer, args.labels, args.compact) == (None,) * 7
    assert (args.head, args.precision, args.clip, args.calibrate, args.force) == ("auto", "f32", [], [], False)
    assert (args.mean, args.std, args.resize, args.rate, args.stride, args.short_side) == (None,) * 6


def test_a_users_network_is_fed_as_most_are_unless_told_otherwise():
    spec, clip_length = cli.input_spec_of(parse("a.py:b", "--input-shape", "3,8,48,64"))
    assert (clip_length, spec.size, spec.mean, spec.std) == (8, (48, 64), (0.45,) * 3, (0.225,) * 3)
    assert (spec.resize, spec.short_side, spec.rate, spec.stride) == ("center", 64, 25.0, 1)


def test_a_users_network_with_everything():
    words = (
        "mynet.py:network -o a.onnx --weights w.pt --labels ucf101 --frames 8 16 --input-shape 3,16,64,96 --classes 7"
    )
    words += " --mean 0 0.5 1 --std 1 2 3 --resize stretch --rate 30 --stride 2 --no-compact --precision int8"
    args = parse(*words.split(), "--calibrate", "videos", "--clip", "a.mp4", "b.mp4", "--layer", "1", "--list-layers")
    assert (args.output, args.weights, args.frames, args.classes) == (Path("a.onnx"), "w.pt", [8, 16], 7)
    assert (args.calibrate, args.clip) == ([Path("videos")], [Path("a.mp4"), Path("b.mp4")])
    assert (args.layer, args.list_layers, args.compact) == ("1", True, False)
    spec, clip_length = cli.input_spec_of(args)
    assert (clip_length, spec.size, spec.mean, spec.std) == (16, (64, 96), (0, 0.5, 1), (1, 2, 3))
    assert (spec.resize, spec.short_side, spec.rate, spec.stride) == ("stretch", 96, 30, 2)


@pytest.mark.parametrize("text", ["16,112,112", "1,16,112,112", "3,0,112,112", "3,16,112,-1", "3x16x112x112", ""])
def test_an_input_shape_that_is_none(text):
    with pytest.raises(UsageError, match=r"--input-shape must be 3,T,H,W, got '"):
        cli.input_spec_of(parse("a.py:b", f"--input-shape={text}"))


def test_numbers_that_no_network_sees_by():
    with pytest.raises(UsageError, match=r"--mean is of values in 0\.\.1, got 123\.675 116\.28 103\.53: divide it"):
        cli.input_spec_of(parse("a.py:b", "--input-shape", "3,8,32,32", "--mean", 123.675, 116.28, 103.53))
    with pytest.raises(UsageError, match=r"input\.std must be positive"):
        cli.input_spec_of(parse("a.py:b", "--input-shape", "3,8,32,32", "--std", 0, 1, 1))
    for pixels in (8, 0):
        with pytest.raises(UsageError, match=f"short_side must be 32 or more, got {pixels}"):
            cli.input_spec_of(parse("a.py:b", "--input-shape", "3,8,32,32", "--short-side", pixels))
    for words in (("--stride", 0), ("--rate", 0)):
        with pytest.raises(UsageError, match=r"input\.stride must be a whole number and rate a number, both positive"):
            cli.input_spec_of(parse("a.py:b", "--input-shape", "3,8,32,32", *words))


@pytest.mark.parametrize("words", [["export"], ["check"], ["manifest", "add"], ["build"]])
def test_asking_for_help_imports_nothing_heavy(words):
    code = f"""
import contextlib, sys
from saliency_tubes.stream.app.cli import main
with contextlib.suppress(SystemExit):
    main({[*words, "--help"]})
print(sorted({HEAVY} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"usage: saliency-tubes {words[0]}")
    assert done.stdout.splitlines()[-1] == "[]"
    assert not done.stderr


@pytest.mark.parametrize(
    ("missing", "said"), [(("onnxscript",), "onnxscript"), (("torch", "onnx", "onnxscript"), "torch, onnx, onnxscript")]
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch, missing, said):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name in missing else object())
    with pytest.raises(UsageError) as raised:
        cli.export(parse("i3d"))
    assert str(raised.value) == f"export needs {said}: pip install 'saliency-tubes[export]'"


def test_the_other_commands_name_what_they_need(monkeypatch):
    for module in (cli, check_cli):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"check needs onnxruntime: pip install 'saliency-tubes\[onnxruntime\]'"):
        check_cli.check_file(parse("i3d", add=check_cli.add_check_arguments))
    words = ("add", "a.onnx", "-o", "b.onnx", "--activation", "relu", "--input-shape", "3,8,32,32", "--labels", "a.txt")
    with pytest.raises(UsageError, match=r"manifest add needs onnx, onnxruntime: pip install 'saliency-tubes\[export,"):
        cli.manifest_add(parse(*words, add=cli.add_manifest_arguments))


def test_check_takes_frames_with_clips_only():
    pytest.importorskip("onnxruntime", reason="check needs it")
    with pytest.raises(UsageError, match=r"^--frames 32 goes with --clip: without clips all lengths are checked, on"):
        check_cli.check_file(parse("i3d", "--frames", 32, add=check_cli.add_check_arguments))
    for frames in (0, 24):
        with pytest.raises(UsageError, match=f"^i3d takes clips of 16, 32 or 64 frames, got {frames}$"):
            check_cli.check_file(
                parse("i3d", "--clip", "none.mp4", "--frames", frames, add=check_cli.add_check_arguments)
            )


class TestRefusals:
    @pytest.fixture(autouse=True)
    def _packages(self):
        for name in cli.NEEDS:
            pytest.importorskip(name, reason=f"export needs {name}")

    def test_a_folder_that_is_not_there(self, tmp_path):
        with pytest.raises(UsageError, match="there is no folder"):
            cli.export(parse("r3d_18", "--weights", "random", "-o", tmp_path / "no" / "a.onnx"))

    def test_a_file_that_is_not_the_checkpoint_leaves_nothing_behind(self, tmp_path):
        (tmp_path / "w").write_bytes(b"x")
        with pytest.raises(ModelError, match="SHA-256"):
            cli.export(parse("i3d", "-o", tmp_path / "i3d.onnx", "--weights", tmp_path / "w"))
        assert [path.name for path in tmp_path.iterdir()] == ["w"]

    def test_a_network_that_is_not_in_the_zoo(self):
        with pytest.raises(UsageError, match=r"no network 'r3d18': there are i3d, .*; did you mean r3d_18"):
            cli.export(parse("r3d18"))

    def test_your_own_network_needs_its_input_shape(self):
        with pytest.raises(UsageError, match="your own network needs --input-shape 3,T,H,W"):
            cli.export(parse("mynet.py:network"))

    @pytest.mark.parametrize("frames", [0, -8])
    def test_a_clip_length_that_is_none(self, frames):
        with pytest.raises(UsageError, match=f"^--frames must be 1 or more, got {frames}$"):
            cli.export(parse("mynet.py:network", "--input-shape", "3,8,32,32", "--frames", 16, frames))
        with pytest.raises(UsageError, match=f"^r3d_18 takes clips of 8 frames or more, by 8, got {frames}$"):
            cli.export(parse("r3d_18", "--weights", "random", "--frames", frames))

    @pytest.mark.parametrize(
        "words",
        [
            ("--resize", "center"),
            ("--short-side", "256"),
            ("--rate", "30"),
            ("--stride", "2"),
            ("--classes", "400"),
            ("--input-shape", "3,16,112,112"),
        ],
        ids=lambda words: words[0],
    )
    def test_a_network_of_the_zoo_knows_how_it_sees(self, words):
        with pytest.raises(UsageError) as raised:
            cli.export(parse("r3d_18", "--weights", "random", *words))
        said = f"{' '.join(words)} is for your own networks: r3d_18 is fed as it was trained; --frames, --size"
        assert str(raised.value) == f"{said}, --mean and --std are what can be changed"

    def test_weights_that_were_trained_on_other_colours_are_fed_so(self):
        """The script of Saliency Tubes, for one, does not divide as MF-Net's own authors do."""
        _, recipe = cli.network_of(parse("mfnet", "--weights", "random"))
        assert recipe.input.mean == (124 / 255, 117 / 255, 104 / 255)
        assert recipe.input.std == (1 / (0.0167 * 255),) * 3
        words = ("mfnet", "--weights", "random", "--std", "0.229", "0.224", "0.225")
        _, script = cli.network_of(parse(*words))
        assert script.input == replace(recipe.input, std=(0.229, 0.224, 0.225))
        _, other = cli.network_of(parse(*words, "--mean", "0.5", "0.5", "0.5"))
        assert other.input.mean == (0.5, 0.5, 0.5)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--mean", "124", "117", "104"), "--mean is of values in 0..1, got 124 117 104: divide it"),
            (("--std", "0", "1", "1"), "input.std must be positive"),
        ],
    )
    def test_colours_that_are_none(self, words, said):
        with pytest.raises(UsageError, match=re.escape(said)):
            cli.export(parse("mfnet", "--weights", "random", *words))

    def test_labels_that_are_none_are_found_out_before_weights_are_loaded(self, tmp_path):
        with pytest.raises(UsageError, match=r"no labels 'kinetics': .*did you mean kinetics400"):
            cli.export(parse("r3d_18", "--weights", tmp_path / "none.pt", "--labels", "kinetics"))

    def test_a_clip_that_cannot_be_read(self, tmp_path):
        words = ("r3d_18", "--weights", "random", "--size", 32, "--frames", 8, "-o", tmp_path / "a.onnx")
        with pytest.raises(SourceError, match="no such file"):
            cli.export(parse(*words, "--clip", tmp_path / "none.mp4"))
        assert not list(tmp_path.iterdir())

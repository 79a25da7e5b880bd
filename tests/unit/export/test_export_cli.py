"""The arguments of `saliency-tubes export`, and what it says when it cannot."""

import argparse
import subprocess
import sys

import pytest
from saliency_tubes.engine.errors import ModelError, UsageError
from saliency_tubes.export import cli


def parse(*words):
    parser = argparse.ArgumentParser()
    cli.add_arguments(parser)
    return parser.parse_args(words)


def test_defaults():
    args = parse("i3d")
    assert (args.output, args.weights, args.frames, args.size) == (None, None, [16, 32, 64], 224)


def test_asking_for_help_does_not_import_torch():
    code = "import sys, argparse, saliency_tubes.export.cli as c; c.add_arguments(argparse.ArgumentParser());"
    code += "print(sorted({'torch', 'onnx', 'onnxscript', 'torchvision'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"export needs onnxscript: pip install 'saliency-tubes\[export\]'"):
        cli.run(parse("i3d"))


def test_a_folder_that_is_not_there(tmp_path):
    pytest.importorskip("onnxscript", reason="export needs onnxscript")
    with pytest.raises(UsageError, match="there is no folder"):
        cli.run(parse("i3d", "-o", str(tmp_path / "no" / "i3d.onnx")))


def test_a_file_that_is_not_the_checkpoint_leaves_nothing_behind(tmp_path):
    pytest.importorskip("onnxscript", reason="export needs onnxscript")
    (tmp_path / "w").write_bytes(b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        cli.run(parse("i3d", "-o", str(tmp_path / "i3d.onnx"), "--weights", str(tmp_path / "w")))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]

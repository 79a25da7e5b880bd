"""One vocabulary of precisions, in every command and option; the words of earlier versions still mean what they did."""

import argparse

import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.engine.precision import (
    EXPORT_PRECISIONS,
    PRECISIONS,
    RUN_PRECISIONS,
    check_precision,
    precision_word,
)
from saliency_tubes.engine.runtimes.open import open_runner
from saliency_tubes.export.cli import add_export_arguments
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.app.settings import read_settings


@pytest.mark.parametrize(
    ("word", "found"),
    [
        *((word, word) for word in PRECISIONS),
        *(("fp32", "f32"), ("float32", "f32"), ("fp16", "f16"), ("float16", "f16"), ("FP16", "f16"), ("half", "f16")),
        *(("bfloat16", "bf16"), ("BF16", "bf16"), ("INT8", "int8")),
        *(("fp8", "fp8"), ("auto", "auto"), ("", "")),
    ],
)
def test_words(word, found):
    assert precision_word(word) == found


def test_every_word_is_for_something():
    assert set(PRECISIONS) == {*RUN_PRECISIONS, *EXPORT_PRECISIONS}


def test_what_is_not_accepted_here_is_told_where_it_belongs():
    assert check_precision("bfloat16", RUN_PRECISIONS) == "bf16"
    for word, accepted, message in (
        ("fp16", RUN_PRECISIONS, "f32, bf16, got 'fp16'; 'saliency-tubes export' makes files in it"),
        ("bf16", EXPORT_PRECISIONS, "f32, f16, int8, got 'bf16'; 'saliency-tubes run' computes in it"),
        ("fp8", EXPORT_PRECISIONS, "f32, f16, int8, got 'fp8'"),
    ):
        with pytest.raises(UsageError) as caught:
            check_precision(word, accepted)
        assert str(caught.value) == f"precision must be one of {message}"


def test_run_and_export_take_old_words_and_new(capsys):
    export = argparse.ArgumentParser()
    add_export_arguments(export)
    for word, found in (("bfloat16", "bf16"), ("FP32", "f32"), ("auto", "auto")):
        assert read_settings(["a.mp4", "--precision", word]).streams[0].precision == found
    for word in ("fp16", "f16"):
        assert export.parse_args(["--precision", word, "i3d"]).precision == "f16"
    assert Config("a.mp4", precision="bfloat16").precision == "bf16"
    with pytest.raises(SystemExit):
        export.parse_args(["--precision", "bf16", "i3d"])
    assert "f32, f16, int8, got 'bf16'; 'saliency-tubes run' computes in it" in capsys.readouterr().err
    with pytest.raises(UsageError, match="auto, f32, bf16, got 'int8'; 'saliency-tubes export' makes files in it"):
        Config("a.mp4", precision="int8")
    with pytest.raises(UsageError, match="f32, bf16, got 'int8'; 'saliency-tubes export' makes files in it"):
        open_runner("i3d", precision="int8")

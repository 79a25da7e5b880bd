"""What fails on the GPU ends the run with one line, exit code 1 and outputs that are finished; nothing is held."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import nvcwheel
import pytest
from saliency_tubes.engine.cuda.jobs import MOST_JOBS
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.saliency import Target
from saliency_tubes.engine.types import Shown
from saliency_tubes.stream.app.cli import main
from saliency_tubes.stream.pipeline.pipeline import Options, Pipeline
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from samebytes import ExactRunner, exact_manifest
from servers import RtspServer, python_with_gi
from waiting import ends

from gpu_double.pipelines import OnGpu

OUT_OF_MEMORY, ILLEGAL_ADDRESS, LOST = 2, 700, 999
FRAMES, AT = {"aligned": 60, "live": 300}, 20
"""FRAMES: live, frames come a hundred a second, and some are still to come when a busy machine has written the AT-th"""
FAULTS = {"out of memory": (OUT_OF_MEMORY, False), "illegal address": (ILLEGAL_ADDRESS, True), "lost": (LOST, True)}
"""Kind of fault -> its code, and whether everything fails from then on; else one call fails."""
PLACES = {
    "upload": "cuMemcpyHtoDAsync",
    "sampler": "run kernel preprocess",
    "painter": "run kernel overlay_linear",
    "caption": "run kernel marks",
    "runner": "run kernel gather",
    "download": "cuMemcpyDtoHAsync",
    "any call": "cuCtxPushCurrent",
}


class Breaking(Sink):
    """Breaks the GPU at one frame."""

    takes_pictures = False

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__("breaking")
        self._work, self.seen = work, 0

    def write(self, shown: Shown) -> None:
        self.seen += 1
        if self.seen == AT:
            self._work()


@pytest.fixture
def way(gpu_double: Callable[..., Any]) -> Iterator[OnGpu]:
    way = OnGpu(gpu_double(seed=1))
    yield way
    way.close()


CASES = [
    pytest.param(where, kind, sync, marks=[pytest.mark.slow] * ((number + place) % 3 > 0))
    for place, where in enumerate(PLACES)
    for number, kind in enumerate(FAULTS)
    for sync in ("aligned", "live")
]
"""make test has one kind of fault for each place; the slow tests have all."""


@pytest.mark.parametrize(("where", "kind", "sync"), CASES)
def test_a_fault_ends_the_run_and_leaves_a_film_that_can_be_played(
    where: str, kind: str, sync: str, way: OnGpu, tmp_path: Path
) -> None:
    code, sticky = FAULTS[kind]
    breaking = Breaking(lambda: way.double.fail(PLACES[where], code, sticky=sticky))
    path = tmp_path / "film.mkv"
    sinks = [breaking, open_sink(str(path), SinkOptions(live=sync == "live"))]
    source = open_source(f"test://?size=160x96&rate=100&frames={FRAMES[sync]}")
    runner, place = way.runner(exact_manifest("stretch")), way.place()
    options = Options(Target(0), hop=2, sync=sync)
    with pytest.raises(ModelError, match=r"^the GPU says: .+$") as error:
        follow(Pipeline(source, runner, sinks, options, place=place))
    assert "\n" not in str(error.value)
    assert place.leases == 0
    place.close()
    with av.open(str(path)) as film:
        played = sum(1 for _ in film.decode(video=0))
    assert AT - 1 <= played <= breaking.seen < FRAMES[sync]


DECODER = "cuMemcpy2DAsync"
"""what copies a picture out of the decoder's surfaces"""
CAMERA_CASES = [
    pytest.param(where, kind, marks=[pytest.mark.slow] * (where != DECODER))
    for where in (DECODER, *(PLACES[place] for place in ("sampler", "painter", "runner", "any call")))
    for kind in FAULTS
]


@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)")
@pytest.mark.parametrize(("where", "kind"), CAMERA_CASES)
def test_a_fault_ends_a_live_stream_or_costs_it_frames(
    where: str, kind: str, way: OnGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a camera whose pictures are decoded on the GPU, and that is connected to again whatever its connection says. A
    GPU that has failed is no such thing; a picture that could not be decoded, once, is."""
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", nvcwheel)
    code, sticky = FAULTS[kind]
    breaking = Breaking(lambda: way.double.fail(where, code, sticky=sticky))
    runner, place = way.runner(exact_manifest("stretch")), way.place()
    with RtspServer(rate=30) as server:
        source = open_source(server.url(), SourceOptions(backend="av", stall=1.0), place=place)
        pipeline = Pipeline(source, runner, [breaking], Options(Target(0), hop=2, sync="live", limit=90), place=place)
        with closing(source), ends(within=30):
            assert "pictures stay there" in source.info.decoder
            said = ended_by(pipeline)
        errors = source.health().errors
    if where == DECODER and not sticky:
        assert (said, errors) == ("", 1)
    # any thread may be the one that makes "any call": also the one that decodes
    may_recover = where in (DECODER, PLACES["any call"]) and not sticky
    assert re.fullmatch(r"the GPU says: [^\n]+", said) or (may_recover and errors <= 1), said
    summary = pipeline.summary
    assert summary.frames_written <= summary.frames_read <= summary.frames_written + summary.frames_dropped + 8
    gc.collect()  # the call that failed held a frame, and a cycle that call
    assert place.leases == 0
    place.close()


def follow(pipeline: Pipeline) -> None:
    with pipeline:
        for shown in pipeline:
            del shown  # an error would keep it


def ended_by(pipeline: Pipeline) -> str:
    """What ended it; empty: its limit."""
    try:
        follow(pipeline)
    except ModelError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(("kind", "memory"), [("discrete", 8), ("discrete", 18), ("integrated", 30)])
def test_too_little_memory_is_refused_in_one_line(kind: str, memory: int, gpu_double: Callable[..., Any]) -> None:
    """Of 17 MB that it needs."""
    gpu_double(kind=kind, memory=memory << 20)
    place, sink = OnGpu(None).place(), Breaking(lambda: None)
    source = open_source("test://?size=640x480&frames=10")
    with pytest.raises(ModelError, match=r"MB.*--memory host") as error:
        follow(Pipeline(source, ExactRunner(exact_manifest("stretch")), [sink], Options(hop=2), place=place))
    assert "\n" not in str(error.value)
    assert (place.leases, sink.seen) == (0, 0)
    place.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with a linear head, whose evidence has 8 x 12 cells."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from tiny import Tiny, export_onnx, linear_heads, recipe

    path = tmp_path_factory.mktemp("model") / "tiny.onnx"
    export_onnx(Tiny(linear_heads()["pool-dropout-flatten-linear"]).eval(), path, recipe())
    return path


def words(model: Path, tmp_path: Path) -> list[str]:
    return ["run", "test://?size=160x120&frames=40", str(tmp_path / "out.mkv"), str(tmp_path / "out.jsonl"),
            "--model", str(model), "--hop", "4", "--overwrite", "--memory"]  # fmt: skip


def test_the_command_says_where_frames_live_and_gives_the_same_lines(
    gpu_double: Callable[..., Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words(model, tmp_path), "host"]) == 0
    expected = (tmp_path / "out.jsonl").read_bytes()
    assert "frames" in capsys.readouterr().err
    double = gpu_double()
    assert main([*words(model, tmp_path), "cuda"]) == 0
    assert (tmp_path / "out.jsonl").read_bytes() == expected
    said = capsys.readouterr().err
    assert "Discrete double (cuda:0, " in said
    assert "as asked; what the model sees is copied to the host; " in said
    assert "MB: " in said
    assert 40 / MOST_JOBS <= double.launches["overlay_linear"] <= 40  # frames may share a launch


def test_a_fault_is_one_line_of_the_command_and_exit_code_1(
    gpu_double: Callable[..., Any], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gpu_double().fail("run kernel overlay_linear", ILLEGAL_ADDRESS, after=20, sticky=True)
    assert main([*words(model, tmp_path), "cuda"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "the GPU says" in line] == [
        "saliency-tubes: error: the GPU says: an illegal memory access was encountered"
    ]
    assert not [line for line in lines if "Traceback" in line]
    with av.open(str(tmp_path / "out.mkv")) as film:
        assert sum(1 for _ in film.decode(video=0)) > 0

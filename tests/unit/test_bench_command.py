"""`saliency-tubes bench`: its own arithmetic and what it prints. No test here asserts how long anything takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.errors import TubesError
from saliency_tubes.engine.manifest import InputSpec
from saliency_tubes.stream.app.arguments import known_options
from saliency_tubes.stream.app.cli import main
from saliency_tubes.stream.bench import command, kernels, power, running, streams
from saliency_tubes.stream.bench.film import make_film
from saliency_tubes.stream.bench.power import Meter, rapl_joules, smi_watts, tegra_watts
from saliency_tubes.stream.bench.report import COLUMNS, as_text, header, row
from saliency_tubes.stream.bench.results import Results, Streams, Timing
from saliency_tubes.stream.bench.stages import Asked
from saliency_tubes.stream.bench.streams import first_count, hold, next_count
from saliency_tubes.stream.bench.turns import Metered
from saliency_tubes.stream.sources.open import open_source
from stubs import make_event

ROOT = Path(__file__).parents[2]


def run_of(size: str, count: int, fps: float = 30.0, drawn: float = 1.0, watts: float = math.nan) -> Streams:
    return Streams(size, count, 6.0, fps, 0.84, drawn, 1.5, watts)


TIMINGS = (
    Timing("decode", "720p", "frame", 0.002, 0.003),
    Timing("decode", "1080p", "frame", 0.004, 0.005),
    Timing("sample", "1080p", "frame", 0.001, 0.001),
    Timing("overlay", "1080p avx512", "frame", 0.00031, 0.0004),
    Timing("overlay", "1080p numpy", "frame", 0.02, 0.02),
    Timing("encode", "1080p live", "frame", 0.005, 0.006),
    Timing("inference", "T=16 bf16", "window", 0.08, 0.09),
    Timing("inference", "T=64 f32", "window", 0.7, 0.8),
    Timing("inference", "T=64 bf16", "window", 0.5, 0.6),
    Timing("inference", "T=64 bf16, 4 at a time", "window", 0.4, 0.4),
)
RESULTS = Results(
    "0.1.0",
    "AMD EPYC, 2 cores",
    "I3D",
    "OpenVINO 2026.4.1 on CPU",
    TIMINGS,
    (run_of("720p", 2), run_of("720p", 4, fps=29.0), run_of("720p", 3, watts=31.4), run_of("1080p", 1, fps=21.0)),
    "the processor, by RAPL",
    88.0,
)


# what is held


@pytest.mark.parametrize(
    ("fps", "drawn", "held"), [(30.0, 1.0, True), (29.4, 0.95, True), (29.3, 1.0, False), (30.0, 0.94, False)]
)
def test_a_stream_is_held_if_its_frames_leave_with_tubes(fps: float, drawn: float, held: bool) -> None:
    assert run_of("720p", 1, fps, drawn).held is held


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("first", [1, 2, 5, 9, 64])
@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 7, 8, 20, 63, 64, 200])
def test_the_number_of_streams_is_found(
    capacity: int, first: int, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []

    def run(film: object, count: int, asked: object, meter: object) -> Streams:
        runs.append(count)
        return run_of("720p", count, fps=30.0 if count <= capacity else 20.0)

    monkeypatch.setattr(streams, "_run", run)
    film = type("F", (), {"size": "720p"})()
    found = hold(film, first, Asked("i3d", quick=quick), Meter(), lambda text: None)
    most = max((one.count for one in found if one.held), default=0)
    expected = min(capacity, streams.MOST)
    assert len(set(runs)) == len(runs) <= 14
    assert most <= expected
    assert most == expected or (quick and most >= 0.6 * expected) or expected - most <= max(1, most // 2) == most // 2
    if capacity == 0:
        assert found[-1].count == 1, "it is told how far one stream comes"


def test_the_next_number() -> None:
    assert next_count(4, None, False) == 6
    assert next_count(4, 8, False) == 6
    assert next_count(4, 5, False) == 0
    assert next_count(0, 1, False) == 0
    assert next_count(8, 10, True) == 0


def test_the_first_number_follows_the_cost_of_a_frame() -> None:
    stages = (("decode", "720p"), ("sample", "720p"), ("overlay", "720p avx2"), ("encode", "720p live"))
    # while it is timed alone, each stage keeps two cores busy
    timings = [Timing(stage, what, "frame", 0.00125, 0.00125, cpu=0.0025) for stage, what in stages]
    assert first_count(timings, "720p", 8) == 16  # 0.6 of 8 cores, 10 ms for each of 30 frames
    assert first_count(timings, "720p", 2.5) == 5
    assert first_count(timings, "720p", 1) == 2
    assert first_count([], "720p", 8) == 1


def test_the_processor_time_of_a_call_is_told() -> None:
    now = iter([0.0, 2.0, 10.0, 10.5, 20.0, 24.0])
    metered = Metered(lambda: None, clock=lambda: next(now))
    for _ in range(3):
        metered()
    assert metered.cpu == [2.0, 0.5, 4.0]
    timing = Timing.of("encode", "720p live", "frame", [0.4, 0.2, 1.0], 2, cpu=metered.cpu)
    assert (timing.seconds, timing.slowest, timing.rounds, timing.cpu) == (0.2, 0.5, 3, 1.0)


# power


def test_what_nvidia_smi_prints() -> None:
    assert smi_watts("61.20\n88.80\n") == pytest.approx(150.0)
    assert math.isnan(smi_watts("[N/A]\n"))
    assert math.isnan(smi_watts(""))


@pytest.mark.parametrize(
    ("line", "watts"),
    [
        ("RAM 3000/7620MB CPU [2%@729] VDD_IN 4932mW/4932mW VDD_CPU_GPU_CV 1200mW/1200mW", 4.932),
        ("RAM 3000/62000MB GPU 0% VIN 31200mW/30900mW", 31.2),
        ("RAM 1/2MB POM_5V_IN 2500/2400 POM_5V_GPU 100/100", 2.5),
        ("RAM 3000/7620MB", math.nan),
        ("", math.nan),
    ],
)
def test_what_tegrastats_prints(line: str, watts: float) -> None:
    assert tegra_watts(line) == pytest.approx(watts, nan_ok=True)


def test_the_processors_counter(tmp_path: Path) -> None:
    assert math.isnan(rapl_joules(tmp_path))
    for number, micro in enumerate((1_500_000, 2_500_000)):
        package = tmp_path / f"intel-rapl:{number}"
        package.mkdir()
        (package / "energy_uj").write_text(f"{micro}\n")
        (tmp_path / f"intel-rapl:{number}:0").mkdir()  # a part of the package, which is counted already
    assert rapl_joules(tmp_path) == 4.0


def test_a_meter_takes_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    joules = iter(range(0, 10_000, 5))
    monkeypatch.setattr(power, "rapl_joules", lambda: float(next(joules)))
    monkeypatch.setattr(power.shutil, "which", lambda name: None)
    monkeypatch.setattr(power, "EVERY", 0.01)
    meter = Meter()
    assert meter.source == "the processor, by RAPL"
    with meter.measured():
        for _ in range(20):
            power.time.sleep(0.01)
    assert meter.watts > 0


def test_a_machine_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "rapl_joules", lambda: math.nan)
    monkeypatch.setattr(power.shutil, "which", lambda name: None)
    meter = Meter()
    with meter.measured():
        pass
    assert (meter.source, math.isnan(meter.watts)) == ("", True)


# what is printed


def test_the_tables() -> None:
    text = as_text(RESULTS)
    assert re.search(r"^overlay +1080p avx512 +0\.31 ms +0\.4 ms of 1 +3226 frames$", text, re.MULTILINE)
    assert re.search(r"^3 x 720p30 +30\.0 +0\.84 s +100% +1\.50 +31\.4 +held$", text, re.MULTILINE)
    assert re.search(r"^4 x 720p30 .* not held$", text, re.MULTILINE)
    assert row(RESULTS) in text


def test_the_row_of_the_page() -> None:
    cells = [cell.strip() for cell in row(RESULTS, date(2026, 11, 30)).strip("|").split("|")]
    assert dict(zip(COLUMNS, cells, strict=True)) == {
        "device": "AMD EPYC, 2 cores",
        "model, runtime": "I3D, OpenVINO 2026.4.1 on CPU",
        "window: T, precision, ms": "T=64 bf16, 500 ms",
        "decode 1080p": "4 ms",
        "overlay 1080p": "0.31 ms (avx512)",
        "encode 1080p": "5 ms",
        "720p30 streams (tube age)": "3 (0.8 s)",
        "1080p30 streams (tube age)": "0: one has 21 fps, its tubes are 0.8 s old",
        "watts": "31 (the processor)",
        "version, date": "0.1.0, 2026-11-30",
    }


def test_json_is_json() -> None:
    told = json.loads(json.dumps(RESULTS.record(), allow_nan=False))
    assert told["streams"][2] == {
        "size": "720p", "rate": 30, "streams": 3, "held": True, "seconds": 6.0, "fps": 30.0, "tube_age_seconds": 0.84,
        "drawn": 1.0, "cores": 1.5, "watts": 31.4,
    }  # fmt: skip
    assert told["timings"][3]["milliseconds"] == 0.31


def test_the_page_has_the_table() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert header() in text


# kernels, on a GPU that is not there: how long they take there means nothing


def test_kernels_are_timed_and_leave_nothing(gpu_double: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    double = gpu_double()
    monkeypatch.setattr(kernels, "SIZES", {"64p": (96, 64)})
    monkeypatch.setattr(kernels, "TIMES", 3)
    monkeypatch.setattr(kernels, "ROUNDS", 2)
    spec = InputSpec((32, 32), (0.5,) * 3, (0.5,) * 3, "center", 36)
    found = kernels.time_kernels(0, spec)
    assert [(one.stage, one.what) for one in found] == [
        ("overlay", "64p NV12 CUDA, 8 at a time"),
        ("sample", "64p NV12 CUDA"),
    ]
    assert [one.rounds for one in found] == [2, 2]
    assert all(0 < one.seconds <= one.slowest for one in found)
    assert found[0].of_bound > 0
    assert math.isnan(found[1].of_bound)
    # once by itself, three times to be captured, and in three launches of the graph, of which the first does not count
    assert double.launches == dict.fromkeys(("overlay_linear", "preprocess"), 1 + 3 + 3 * 3)


def test_a_place_is_timed_and_given_back(gpu_double: Callable[..., Any], tmp_path: Path) -> None:
    double, film = gpu_double(seed=2), make_film(tmp_path, "720p", 3)
    spec = InputSpec((32, 32), (0.5,) * 3, (0.5,) * 3, "center", 36)
    found = kernels.time_place(film, spec, make_event().explanation, 0, 1)
    assert [(one.stage, one.what) for one in found] == [
        (stage, "720p cuda:0") for stage in ("upload", "sample", "overlay", "download")
    ]
    assert double.launches["overlay_linear"] == 2 * 3, "a round to warm up, and one that counts"


# it runs


def test_a_film_has_the_size_and_the_rate_that_it_should(tmp_path: Path) -> None:
    film = make_film(tmp_path, "1080p", 12)
    assert [frame.picture.planes[0].shape[:2] for frame in film.frames] == [(1080, 1920)] * 12
    source = open_source(str(film.path))
    try:
        assert (source.info.width, source.info.height, source.info.rate) == (1920, 1080, 30)
        assert sum(1 for _ in source) == 12
    finally:
        source.close()


def test_streams_that_fail_are_said_in_one_line(tmp_path: Path) -> None:
    film = type("F", (), {"size": "720p", "path": tmp_path / "no.mp4"})()
    with pytest.raises(TubesError, match=r"^1 streams of 720p ended by themselves: .*no\.mp4"):
        hold(film, 1, Asked("i3d", quick=True), Meter(), lambda text: None)


class Fleet:
    """Of no stream."""

    stopped = 0

    def snapshots(self) -> dict[str, Any]:
        return {}

    def stop(self) -> None:
        self.stopped += 1


def test_streams_stop_when_whoever_measures_them_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*words: object, **how: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    fleet: Any = Fleet()
    running.watch(fleet, running.Wanted("a.mp4", (("null://",),), {}, 1.0, patience=0.0))
    assert fleet.stopped == 1


def test_the_gpu_that_is_asked_for_is_the_one_that_is_timed(gpu_double: Callable[..., Any]) -> None:
    gpu_double(gpus=2)
    assert [getattr(command.gpu_of(Asked("i3d", device=device)), "index", None)
            for device in ("auto", "CPU", "cuda", "cuda:1")] == [0, 0, 0, 1]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "gpu"], "--memory: must be auto, host, cuda or cuda:N, the GPU number N, got 'gpu'"),
        (["--runtime", "torch"], "torch"),
        (["--memory", "cuda"], "frames cannot live on cuda:0: .*; use --memory host"),
        (["--device", "cuda"], "NVIDIA GPU, and here is"),
    ],
)
def test_what_cannot_be_measured_is_said_before_anything_is(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "make_film", None)
    try:
        code = main(["bench", *words])
    except SystemExit as error:  # argparse's own
        code = int(str(error.code))
    assert code == 2
    told = capsys.readouterr().err.strip()
    assert re.search(said, told)
    assert len(told.splitlines()) == 1


def test_options_of_run_say_what_they_say_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name in command.AS_OF_RUN:
        assert " ".join(known_options()[name].declared.meaning.split()) in told.replace("- ", "-")


def test_a_folder_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--to", "nowhere/at/all.json"]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_all_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["bench", "--quick", "--to", str(tmp_path / "b.json")]) == 0
    told = json.loads((tmp_path / "b.json").read_text())
    stages = {one["stage"] for one in told["timings"]}
    assert stages == {"decode", "sample", "inference", "evidence", "overlay", "encode", "whole run"}
    assert {one["size"] for one in told["streams"]} == {"720p", "1080p"}
    assert re.search(r"^\| .* \|$", capsys.readouterr().out, re.MULTILINE)

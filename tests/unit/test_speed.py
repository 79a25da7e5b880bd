"""How long a model takes: measured in turns by a scripted clock, and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from saliency_tubes.engine import processor
from saliency_tubes.engine.cachefile import write_cached
from saliency_tubes.engine.cores import Cores
from saliency_tubes.engine.errors import ModelError
from saliency_tubes.engine.runtimes.base import Choices
from saliency_tubes.stream.app import speed
from saliency_tubes.stream.app.speed import Speeds, race, run_takes, speeds_of
from stubs import StubRunner

BOTH = Choices("OpenVINO 1 on CPU", ("f32", "bf16"))


class Machine:
    """A clock that only runs of a model move. takes: seconds of each run, by precision, the last one for ever."""

    def __init__(self, **takes: list[float]) -> None:
        self.now, self.order, self.opened = 0.0, list[str](), list[str]()
        self.takes = {name: list(times) for name, times in takes.items()}

    def clock(self) -> float:
        return self.now

    def load(self, precision: str) -> StubRunner:
        self.opened.append(precision)
        if precision not in self.takes:
            raise ModelError(f"cannot use it in {precision}")
        machine, runner = self, StubRunner()

        def run(clips: object, class_ids: object = None) -> list[object]:
            times = machine.takes[precision]
            machine.now += times.pop(0) if len(times) > 1 else times[0]
            machine.order.append(precision)
            if times == [-1.0]:
                raise ModelError("it failed")
            return []

        runner.run = run  # type: ignore[method-assign, assignment]
        return runner

    def race(self) -> dict[str, float]:
        return race({name: self.load(name) for name in self.takes}, self.clock)


def test_they_run_in_turns_and_the_first_runs_do_not_count():
    machine = Machine(f32=[0.9, 0.2], bf16=[0.01, 0.1])
    assert machine.race() == pytest.approx({"f32": 0.2, "bf16": 0.1})
    assert machine.order == ["f32", "bf16"] * (len(machine.order) // 2)
    assert machine.now <= speed.BUDGET


def test_the_shortest_run_counts():
    """The machine is busy with something else for the second and the third round."""
    machine = Machine(f32=[0.02, 0.3, 0.3, 0.1], bf16=[0.02, 0.1, 0.2, 0.05])
    assert machine.race() == pytest.approx({"f32": 0.1, "bf16": 0.05})


@pytest.mark.parametrize(("takes", "rounds"), [(0.001, 1 + speed.ROUNDS), (0.3, 3), (0.5, 2), (0.51, 1), (9.0, 1)])
def test_it_takes_two_seconds_at_most_but_for_the_first_round(takes: float, rounds: int):
    machine = Machine(f32=[takes], bf16=[takes])
    assert machine.race() == pytest.approx({"f32": takes, "bf16": takes})
    assert len(machine.order) == 2 * rounds
    assert machine.now <= max(speed.BUDGET, 2 * takes)


@pytest.mark.parametrize(
    ("seconds", "precision", "words"),
    [
        ({"f32": 0.5, "bf16": 0.277}, "bf16", "277 ms a window of 32 against 500 ms in f32, measured"),
        ({"f32": 0.1, "bf16": 0.16}, "f32", "100 ms a window of 32 against 160 ms in bf16, measured"),
        ({"f32": 0.1, "bf16": 0.091}, "f32", "100 ms a window of 32 against 91 ms in bf16, measured"),
        ({"f32": 0.0052, "bf16": 0.002}, "bf16", "2.0 ms a window of 32 against 5.2 ms in f32, measured"),
        ({"f32": 0.1}, "f32", ""),
        ({"bf16": 0.1}, "bf16", ""),
    ],
)
def test_the_quickest_by_a_tenth(seconds: dict[str, float], precision: str, words: str):
    found = Speeds(32, seconds)
    assert (found.quickest, found.in_words) == (precision, words)
    kept = Speeds(32, seconds, kept=True).in_words
    assert kept == words.replace("measured", "kept from an earlier start")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"a network")
    return path


def ask(
    model: Path, choices: Choices = BOTH, clip_length: int = 8, machine: Machine | None = None
) -> tuple[Speeds, int]:
    """What is said, and how many models were opened to find out."""
    machine = machine or Machine(f32=[0.4], bf16=[0.2])
    found = speeds_of(model, choices, clip_length, machine.load, folder=model.parent / "cache", clock=machine.clock)
    return found, len(machine.opened)


def test_it_is_measured_once(model: Path):
    first, opened = ask(model)
    assert (first.quickest, first.kept, opened) == ("bf16", False, 2)
    again, opened = ask(model)
    assert (again.seconds, again.kept, opened) == (first.seconds, True, 0)


@pytest.mark.parametrize("what", ["model", "runtime", "clip_length", "precisions", "processor", "cores"])
def test_of_something_else_it_is_measured_anew(what: str, model: Path, monkeypatch: pytest.MonkeyPatch):
    ask(model)
    choices, clip_length = BOTH, 8
    if what == "model":
        model.write_bytes(b"another network")
    elif what == "runtime":
        choices = Choices("OpenVINO 2 on CPU", BOTH.precisions)
    elif what == "clip_length":
        clip_length = 16
    elif what == "precisions":
        choices = Choices(BOTH.title, ("f32",))
    elif what == "processor":
        monkeypatch.setattr(speed, "processor_identity", lambda: "another one")
    else:
        monkeypatch.setattr(speed, "cores", lambda: Cores(99, 99))
    found, opened = ask(model, choices, clip_length)
    assert (found.kept, opened) == (False, len(choices.precisions))


BAD = [b"", b"no json", b"[]", b"{}", b'{"bf16": 0.2}', b'{"f32": "fast"}', b'{"f32": 0.0}', b'{"f32": NaN}',
       b'{"f32": 1.0, "int4": 1.0}', b'{"f32": true}', b"\xff"]  # fmt: skip


@pytest.mark.parametrize("body", BAD)
def test_what_makes_no_sense_is_measured_anew(body: bytes, model: Path):
    first, _ = ask(model)
    (path,) = (model.parent / "cache").iterdir()
    head = path.read_bytes().partition(b"\n")[0] + b"\n" + path.read_bytes().split(b"\n")[1] + b"\n"
    write_cached(path, head, body)
    found, opened = ask(model)
    assert (found, opened) == (first, 2)
    assert ask(model)[1] == 0  # and kept again


SPOIL: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(path.read_bytes().replace(b'"bf16"', b'"f32" ')),
    lambda path: path.chmod(0o666),
    lambda path: (path.unlink(), path.mkdir()),
]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
@pytest.mark.parametrize("spoil", SPOIL, ids=["short", "changed", "open to all", "a folder"])
def test_a_file_that_is_not_what_was_written_is_measured_anew(spoil: Callable[[Path], object], model: Path):
    first, _ = ask(model)
    (path,) = (model.parent / "cache").iterdir()
    spoil(path)
    assert ask(model) == (first, 2)


def test_a_cache_that_cannot_be_written_is_no_failure(model: Path):
    (model.parent / "cache").write_text("no folder")
    for _ in range(2):
        assert ask(model)[1] == 2


@pytest.mark.parametrize("takes", [{"f32": [0.4]}, {"f32": [0.4], "bf16": [-1.0]}], ids=["not opened", "not run"])
def test_a_precision_that_the_runtime_only_promised(takes: dict[str, list[float]], model: Path):
    found, _ = ask(model, machine=Machine(**takes))
    assert found.seconds == pytest.approx({"f32": 0.4})
    assert (found.quickest, found.in_words) == ("f32", "")


def test_a_model_that_cannot_be_used_at_all_is_an_error(model: Path):
    with pytest.raises(ModelError, match="cannot use it in f32"):
        ask(model, machine=Machine())


def test_processors_are_told_apart_by_what_they_can_do(tmp_path: Path):
    """A virtual machine's may all have one name. The clock rate, and which core it is, do not count."""

    def told(text: str) -> str:
        (tmp_path / "cpuinfo").write_text(text)
        return processor.processor_identity(tmp_path / "cpuinfo")

    one = told(
        "processor\t: 0\nmodel name\t: AMD EPYC\ncpu MHz\t: 1.0\nflags\t: fpu avx2\n\nprocessor\t: 1\nflags\t: x\n"
    )
    assert told("processor\t: 1\nmodel name\t: AMD EPYC\ncpu MHz\t: 2.0\nflags\t: fpu avx2\n") == one
    assert told("processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: fpu avx2 avx512_bf16\n") != one
    assert told("processor\t: 0\nmodel name\t: another\nflags\t: fpu avx2\n") != one
    arm = told("processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n")
    assert arm != told("processor\t: 0\nFeatures\t: fp asimd bf16\nCPU part\t: 0xd49\n")
    assert processor.processor_identity(tmp_path / "none")


@pytest.mark.parametrize(("takes", "order"), [([0.9, 0.2], 2), ([2.1, 9.9], 1)])
def test_a_slow_run_is_not_made_twice(takes: list[float], order: int):
    machine = Machine(f32=takes)
    assert run_takes(machine.load("f32"), 3, machine.clock) == pytest.approx(takes[order - 1])
    assert len(machine.order) == order

"""Streams around one model: what a reload changes, what is opened, and what is told of one that cannot be."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.engine.runtimes.base import Choices
from saliency_tubes.engine.saliency import Target
from saliency_tubes.stream.app import fleet as fleets
from saliency_tubes.stream.app import job as jobs
from saliency_tubes.stream.app import model_choice, roster
from saliency_tubes.stream.app.config import Config, ProcessOptions
from saliency_tubes.stream.app.fleet import Fleet, Interrupted
from saliency_tubes.stream.app.job import open_job, open_source
from saliency_tubes.stream.app.settings import Settings
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.webhook import WebhookSink
from saliency_tubes.stream.sources.base import Source, SourceOptions
from saliency_tubes.stream.telemetry.health import health
from saliency_tubes.stream.telemetry.log import logging_to
from saliency_tubes.stream.telemetry.stats import Snapshot
from stubs import StubRunner, make_manifest
from waiting import wait_for

CAMERA = "test://?size=160x96&rate=15"
HOOK = "hook+http://me:hunter22@127.0.0.1:9/?class=dark&over="
"""never called: what is seen is bright"""


@pytest.fixture(autouse=True)
def stub_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (roster, model_choice):
        monkeypatch.setattr(module, "find_model", lambda model: Path("stub.onnx"))
        monkeypatch.setattr(module, "read_manifest", lambda path: make_manifest())
    monkeypatch.setattr(model_choice, "open_attended", lambda model, *, batch, **_: StubRunner(batch=batch))
    # where the processor has bf16, the first start would measure it
    monkeypatch.setattr(model_choice, "choices", lambda model, **_: Choices("stub", ("f32",)))


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    with logging_to(stream):
        yield stream


def camera(name: str, over: object = 0.5, **changed: object) -> Config:
    return Config(CAMERA, (f"{HOOK}{over}",), name=name, **changed)  # type: ignore[arg-type]


DOOR, YARD = camera("door"), camera("yard")


class Run:
    """A fleet in a thread of its own, and the streams of its file as it would be read the next time."""

    def __init__(self, *streams: Config) -> None:
        self.file = streams
        self.reread = lambda: Settings(self.file)
        self.fleet = Fleet(Settings(streams), lambda: self.reread())
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            self.fleet.run()
        except Exception as error:
            self.error = error

    def reload(self, *streams: Config) -> None:
        self.file = streams
        self.fleet.reload()

    def rules(self, name: str) -> list[float]:
        return [sink.rule.over for sink in self.fleet.running[name].sinks if isinstance(sink, WebhookSink)]

    def alpha(self, name: str) -> float:
        return self.fleet.running[name].pipeline.look.style.alpha


@contextmanager
def running(*streams: Config, opened: int | None = None) -> Iterator[Run]:
    """opened: how many streams are waited for; None: all."""
    run = Run(*streams)
    run.thread.start()
    try:
        wait_for(lambda: len(run.fleet.running) == (len(streams) if opened is None else opened))
        yield run
    finally:
        run.fleet.stop()
        run.thread.join(30)


class TestReload:
    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"over": 7}, "over must be 0.2 to 1, got 7"),
            ({"explain": "drak"}, "no class 'drak' among the model's 2; did you mean 'dark'?"),
            ({"over": "0.5&class=drak"}, "no class 'drak' among the model's 2; did you mean 'dark'?"),
        ],
    )
    @pytest.mark.parametrize("added", [False, True])
    def test_a_mistake_in_one_stream_changes_nothing_in_any(self, wrong, says, added, said):
        look = Style(alpha=0.1)
        with running(DOOR, YARD) as run:
            bad = camera("pond" if added else "yard", **wrong)
            run.reload(camera("door", 0.8, style=look), *([YARD] if added else []), bad)
            assert (run.rules("door"), run.alpha("door")) == ([0.5], Style().alpha)
            refused = [line for line in said.getvalue().splitlines() if line.startswith("reload")]
            assert len(refused) == 1
            assert "refused, nothing changes: " in refused[0]
            assert refused[0].endswith(says)
            assert "hunter22" not in refused[0]
            run.reload(camera("door", 0.8, style=look), YARD)
            assert (run.rules("door"), run.rules("yard"), run.alpha("door")) == ([0.8], [0.5], 0.1)
            assert "changed: alpha, rules" in said.getvalue()

    def test_a_stream_that_waits_for_its_first_frame_takes_it_when_that_comes(self, said, monkeypatch):
        gate, late = threading.Event(), replace(YARD, input=f"{CAMERA}&frames=1000&realtime=1")

        def wait(uri: str, options: SourceOptions, **given: Any) -> Source:
            assert str(uri) == CAMERA or gate.wait(30)
            return open_source(uri, options, **given)

        monkeypatch.setattr(jobs, "open_source", wait)
        with running(DOOR, late, opened=1) as run:
            try:
                run.reload(DOOR, replace(late, explain="dark", style=Style(alpha=0.1), outputs=(f"{HOOK}0.9",)))
            finally:
                gate.set()
            wait_for(lambda: "yard" in run.fleet.running)
            assert (run.rules("yard"), run.alpha("yard")) == ([0.9], 0.1)
            assert run.fleet.running["yard"].pipeline.look.target == Target(1)
        assert "changed: explain, alpha, rules" in said.getvalue()

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"outputs": ("out.avi",)}, "no output is known by the suffix '.avi'; "),
            ({"outputs": ("film",)}, "film: a file's name tells by its suffix what to write; an output is a .mp4, "),
            ({"outputs": ("none/out.mp4",)}, "the folder none does not exist"),
            ({"outputs": ("%Y.mkv",), "sink": SinkOptions(keep="some")}, "keep takes a number of files"),
            ({"outputs": ("a.mp4", "./a.mp4")}, "is also another output"),
        ],
    )
    def test_outputs_that_cannot_be_opened_change_nothing(self, wrong, says, said, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        with running(DOOR, YARD) as run:
            run.reload(camera("door", 0.8, style=Style(alpha=0.1)), replace(YARD, **wrong))
            assert (run.rules("door"), run.alpha("door")) == ([0.5], Style().alpha)
        (refused,) = [line for line in said.getvalue().splitlines() if line.startswith("reload")]
        assert "refused, nothing changes: " in refused
        assert says in refused
        assert list(tmp_path.iterdir()) == []

    def test_how_the_file_was_read_last_is_known(self, said):
        assert Fleet(Settings((DOOR,))).reloaded is None
        with running(DOOR, YARD) as run:
            assert run.fleet.reloaded.successful
            run.reload(replace(DOOR, explain="drak"), YARD)
            refused = run.fleet.reloaded
            assert not refused.successful
            run.reload(camera("door", 0.8, style=Style(alpha=0.1)), YARD)
            accepted = run.fleet.reloaded
            assert accepted.successful
            assert accepted.accepted > refused.accepted

    def test_one_stream_without_a_name_may_get_another_input(self, said):
        nameless = camera("")
        with running(nameless) as run:
            run.reload(replace(nameless, input=f"{CAMERA}&frames=9", style=Style(alpha=0.1), hop=3))
            assert [job.pipeline.look.style.alpha for job in run.fleet.running.values()] == [0.1]
            run.reload(replace(nameless, style=Style(alpha=0.2)))
            assert [job.pipeline.look.style.alpha for job in run.fleet.running.values()] == [0.2]
        told = [line.split(maxsplit=1)[1] for line in said.getvalue().splitlines() if line.startswith("reload")]
        assert told == ["needs a restart: input, hop", "changed: alpha", "changed: alpha"]

    def test_what_cannot_change_is_named(self, said):
        with running(DOOR, YARD) as run:
            run.reread = lambda: Settings((DOOR, YARD), ProcessOptions("9100", "json"))
            run.fleet.reload()
        assert "needs a restart: metrics" in said.getvalue()
        assert "needs a restart: log-format" in said.getvalue()


class TestSignals:
    def test_a_reload_that_fails_is_not_the_last(self, said):
        def fail() -> Settings:
            raise ZeroDivisionError("Fraction(1, 0)")

        fleet = Fleet(Settings((DOOR,)), fail)
        assert fleet.reloaded.successful  # it was accepted when all this began
        with fleet.signals():
            for times in (1, 2):
                os.kill(os.getpid(), signal.SIGHUP)
                wait_for(lambda times=times: said.getvalue().count("failed: ZeroDivisionError") == times)
            assert not fleet.reloaded.successful

    def test_the_second_waits_for_less(self, monkeypatch):
        fleet, halted = Fleet(Settings((DOOR,))), threading.Event()
        stopped = threading.Event()
        monkeypatch.setattr(fleet, "stop", stopped.set)
        monkeypatch.setattr(fleet, "halt", halted.set)
        with fleet.signals():
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(stopped.is_set)
            assert not halted.is_set()
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(halted.is_set)


class Away:
    """Cameras that are not there, until `back` is set: who does not wait for them is told so."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.back, self.ended = addresses, threading.Event(), threading.Event()

    def open(self, uri: str, options: SourceOptions, **given: Any) -> Source:
        if str(uri) in self.addresses:
            while options.wait and not (self.back.wait(0.05) or self.ended.is_set()):
                pass
            if not self.back.is_set():
                raise SourceError("rtsp://me:hunter22@camera/: it is away")
        return open_source(uri, options, **given)


class TestAway:
    @pytest.fixture
    def away(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Away]:
        cameras = Away(f"{CAMERA}&frames=9&realtime=1", f"{CAMERA}&frames=8&realtime=1")
        monkeypatch.setattr(jobs, "open_source", cameras.open)
        yield cameras
        cameras.ended.set()

    def test_one_of_several_is_tried_again_while_others_run(self, away, said):
        late = replace(YARD, input=away.addresses[0])
        with running(DOOR, late, opened=1) as run:
            wait_for(lambda: run.fleet.snapshots()["yard"] is not None)
            assert run.fleet.snapshots()["yard"] == "waited for: rtsp://me:***@camera/: it is away"
            assert run.fleet.snapshots()["door"].alive
            away.back.set()
            wait_for(lambda: isinstance(run.fleet.snapshots()["yard"], Snapshot))
        assert run.error is None
        assert "yard: rtsp://me:***@camera/: it is away; tried again while other streams run" in said.getvalue()

    def test_none_at_all_ends_the_run(self, away, said):
        run = Run(*(replace(DOOR, name=name, input=uri) for name, uri in zip("ab", away.addresses, strict=True)))
        run.thread.start()
        run.thread.join(30)
        assert not run.thread.is_alive()
        assert isinstance(run.error, SourceError)
        assert "no stream came up" in said.getvalue()

    def test_it_is_not_waited_for_once_the_others_have_ended(self, away, said):
        short = replace(DOOR, input=f"{CAMERA}&frames=5&realtime=1")
        run = Run(short, replace(YARD, input=away.addresses[0]))
        run.thread.start()
        run.thread.join(30)
        assert not run.thread.is_alive()
        assert isinstance(run.error, SourceError)
        assert "no stream came up" not in said.getvalue()

    def test_a_file_that_is_not_there_is_no_camera_that_is_away(self, said):
        with running(DOOR, replace(YARD, input="none.mp4"), opened=0) as run:
            wait_for(lambda: str(run.fleet.snapshots()["yard"]).startswith("failed: "))
        assert "tried again" not in said.getvalue()


class TestOpening:
    def test_a_webhook_of_a_class_that_is_not_there(self):
        with pytest.raises(UsageError, match=r"^hook\+http://me:\*\*\*@.*: no class 'drak' .* did you mean 'dark'"):
            open_job(camera("door", "0.5&class=drak")).__enter__()

    def test_nothing_is_opened_once_it_is_to_stop(self, monkeypatch):
        """As when SIGTERM comes while the shared model is loaded."""
        share: Callable[..., object] = model_choice.share_model
        opened: list[str] = []
        run = Run(DOOR, YARD)

        def stopped_meanwhile(configs):
            run.fleet.stop()
            return share(configs)

        monkeypatch.setattr(fleets, "share_model", stopped_meanwhile)
        monkeypatch.setattr(jobs, "open_source", lambda uri, options, **given: opened.append(uri))
        run.thread.start()
        run.thread.join(30)
        assert not run.thread.is_alive()
        assert (opened, run.error) == ([], None)

    @pytest.mark.parametrize("streams", [(DOOR,), (DOOR, YARD)], ids=["one", "two"])
    def test_a_signal_that_a_library_takes_for_an_error_of_its_own_is_no_failure(self, streams, monkeypatch):
        """As where SIGTERM comes while a compiled module is imported: "ImportError: initialization failed"."""

        def load(*_: object, **__: object) -> None:
            with suppress(Interrupted):
                signal.raise_signal(signal.SIGTERM)
            raise ImportError("initialization failed")

        monkeypatch.setattr(model_choice, "open_attended", load)
        fleet = Fleet(Settings(streams))
        with fleet.signals(), pytest.raises(Interrupted, match="SIGTERM"):
            fleet.run()

    @pytest.mark.parametrize("streams", [(DOOR,), (DOOR, YARD)], ids=["one", "two"])
    def test_an_error_without_a_signal_is_raised(self, streams, monkeypatch):
        def load(*_: object, **__: object) -> None:
            raise ImportError("initialization failed")

        monkeypatch.setattr(model_choice, "open_attended", load)
        with pytest.raises(ImportError):
            Fleet(Settings(streams)).run()

    @pytest.mark.parametrize("fails", ["at first", "later"])
    def test_the_health_page_tells_why_one_failed(self, fails, monkeypatch):
        gone = SourceError("rtsp://me:hunter22@camera/: the camera is gone")

        class Gone:
            def __init__(self, inner: Source) -> None:
                self._inner = inner

            def __getattr__(self, name: str) -> object:
                return getattr(self._inner, name)

            def __iter__(self):
                yield next(iter(self._inner))
                raise gone

        def open_it(uri: str, options: SourceOptions, **given: Any) -> Source:
            if "frames" not in str(uri):
                return open_source(uri, options, **given)
            if fails == "at first":
                raise gone
            return Gone(open_source(uri, options, **given))  # type: ignore[return-value]

        monkeypatch.setattr(jobs, "open_source", open_it)
        with running(DOOR, replace(YARD, input=f"{CAMERA}&frames=9"), opened=0) as run:
            wait_for(lambda: "failed: " in str(run.fleet.snapshots()["yard"]))  # and no field of that name
            wait_for(lambda: "door" in run.fleet.running)
            facts = health(run.fleet.snapshots(), 1.0)
        assert facts["status"] == "failing"
        assert facts["streams"]["yard"]["state"] == "failed: rtsp://me:***@camera/: the camera is gone"
        assert isinstance(run.fleet.snapshots()["yard"], str if fails == "at first" else Snapshot)
        assert run.error is gone

"""A camera, the real command, and all it writes to: small, and on this machine. Incidents happen to it."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from brokers import MOSQUITTO, broker, listening
from commands import Run, healthz, metrics
from proxy import Proxy
from saliency_tubes.engine.errors import SourceError
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, python_with_gi
from waiting import free_port, wait_for

RATE, SIZE = 15, "160x120"
LONG = 60.0
"""seconds after which what should happen is taken not to, on a machine that is busy with something else"""
DISK = 6 << 20
"""bytes of the small disk"""
EVERY = 0.1
"""seconds between two looks"""
TESTS = Path(__file__).resolve().parents[1]
EXPORT = """
import sys, tiny
from pathlib import Path
model = tiny.randomised(tiny.Tiny(tiny.linear_heads()["pool-dropout-flatten-linear"]))
tiny.export_onnx(model, Path(sys.argv[1]), tiny.recipe(), layer="trunk")
"""


def make_model(folder: Path) -> Path:
    """A network of a few milliseconds, so that what is measured is the rest."""
    path = folder / "tiny.onnx"
    subprocess.run([sys.executable, "-c", EXPORT, path], check=True, env={**os.environ, "PYTHONPATH": str(TESTS)})
    return path


@dataclass(frozen=True)
class Setting:
    """What differs from the usual scene."""

    camera: Mapping[str, Any] = field(default_factory=dict)
    """options of RtspServer"""
    damage: Mapping[str, float] = field(default_factory=dict)
    """shares of packets that the line spoils once it is told to"""
    line: bool = False
    """whether there is a line to the camera that can be interrupted; one that damages packets implies it"""
    broker: bool = False
    """whether events go to one as well"""
    disk: bool = False
    """whether what is recorded goes to a disk of its own, a small one"""
    clock: bool = False
    """whether the command's wall clock can be set"""
    options: str = ""
    """lines of the TOML file"""

    def missing(self) -> str:
        """What this machine lacks for it; empty where it lacks nothing."""
        if python_with_gi() is None:
            return "no Python here has GstRtspServer (make system-deps)"
        if self.broker and MOSQUITTO is None:
            return "needs mosquitto (make system-deps)"
        if self.disk and os.geteuid() != 0:
            return "only root can mount a small disk"
        if self.clock and shutil.which("g++") is None:
            return "needs g++ for a clock that can be set"
        return ""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few MB in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Clock:
    """The wall clock of the command alone: seconds by which it is off."""

    def __init__(self, folder: Path) -> None:
        self._offset, library = folder / "offset", folder / "clock.so"
        source = Path(__file__).with_name("clock.c")
        subprocess.run(["g++", "-x", "c", "-shared", "-fPIC", "-O2", "-o", library, source], check=True)
        self._offset.write_bytes(struct.pack("q", 0))
        self.env = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(self._offset)}

    def set(self, seconds: float) -> None:
        """So far from the true time from now on."""
        with self._offset.open("r+b") as file:  # not replaced: the command has it in its memory
            file.write(struct.pack("q", int(seconds)))


class Watcher:
    """Somebody who watches what is served, and connects again where that breaks."""

    def __init__(self, address: str) -> None:
        self.frames = 0
        self._address, self._done = address, threading.Event()
        self._thread = threading.Thread(target=self._work, name="watcher")
        self._thread.start()

    def _work(self) -> None:
        while not self._done.wait(0.2):
            with suppress(SourceError):
                source = open_source(
                    self._address, SourceOptions(backend="av", open_timeout=2, first_timeout=2, retries=0)
                )
                try:
                    for _ in source:
                        self.frames += 1
                        if self._done.is_set():
                            return
                finally:
                    source.close()

    def close(self) -> None:
        self._done.set()
        self._thread.join(LONG)


@dataclass(frozen=True)
class Page:
    """What the health page said at one moment."""

    time: float
    status: int
    """of HTTP; 0 where nobody answered"""
    text: str
    """what is wrong, in words; empty where nothing is"""

    @classmethod
    def of(cls, moment: float, status: int, facts: Mapping[str, Any]) -> Page:
        said = []
        for stream in facts.get("streams", {}).values():
            reasons = [f"{one['reason']}: {one['detail']}" for one in stream.get("reasons", [])]
            others = [str(one) for name in ("failed", "degraded") for one in stream.get(name, [])]
            state = [stream["state"]] if stream.get("state") not in (None, "live") and not reasons else []
            said += state + reasons + others
        return cls(moment, status, "; ".join(said))


class Observer:
    """Looks at everything ten times a second, and keeps when what moved."""

    def __init__(self, port: int, probes: Mapping[str, Callable[[], object]]) -> None:
        """probes: by what they look at: something that is another value once there is more of it."""
        self._port, self._probes = port, dict(probes)
        self._before: dict[str, object] = {}
        self.moved: dict[str, list[float]] = {name: [] for name in ("frames", "tubes", *probes)}
        """moments when there was more"""
        self.pages: list[Page] = []
        self.up: list[tuple[float, float]] = []
        """moments, and what the metric `up` was then"""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work, name="observer")
        self._thread.start()

    def _work(self) -> None:
        while not self._done.wait(EVERY):
            values = counters(self._port)
            page = Page.of(time.monotonic(), *healthz(self._port))
            self.pages.append(page)
            seen: dict[str, object] = {name: look() for name, look in self._probes.items()}
            for name, counter in (("frames", "frames_out_total"), ("tubes", "windows_total")):
                if counter in values:
                    seen[name] = values[counter]
            if "up" in values:
                self.up.append((time.monotonic(), values["up"]))
            for name, value in seen.items():
                if value != self._before.get(name, value):
                    self.moved[name].append(time.monotonic())
                self._before[name] = value

    def after(self, name: str, moment: float) -> float | None:
        """Seconds from that moment to the first sign of more; None: none yet."""
        return next((moved - moment for moved in tuple(self.moved[name]) if moved > moment), None)

    def pause(self, name: str, start: float, end: float) -> float:
        """Seconds that there was no more, at the longest."""
        moments = [start, *(moved for moved in tuple(self.moved[name]) if start < moved < end), end]
        return max(later - earlier for earlier, later in pairwise(moments))

    def close(self) -> None:
        self._done.set()
        self._thread.join(LONG)


def counters(port: int) -> dict[str, float]:
    """Every counter, and `up` and `lag_seconds`, by name and labels, that of the stream left out."""
    found = {}
    for line in metrics(port).splitlines():
        match = re.fullmatch(r"saliency_tubes_(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and (match[1].endswith("_total") or match[1] in ("up", "lag_seconds")):
            labels = re.sub(r'stream="[^"]*",?', "", match[2] or "").strip(",")
            found[match[1] + (f"{{{labels}}}" if labels else "")] = float(match[3])
    return found


def handles(process: int) -> tuple[int, int]:
    """Threads and open files of a process."""
    return len(os.listdir(f"/proc/{process}/task")), len(os.listdir(f"/proc/{process}/fd"))


class Scene:
    """Everything, running, until the block ends. `ended` is set by the incident once it is over."""

    def __init__(self, folder: Path, model: Path, setting: Setting) -> None:
        self.folder, self.model, self.setting = folder, model, setting
        self.ended = 0.0
        self._noted = ""
        self._stack = ExitStack()
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise

    def _build(self) -> None:
        enter, setting = self._stack.enter_context, self.setting
        self.camera = enter(RtspServer(**{"size": SIZE, "rate": RATE, **setting.camera}))
        if setting.line or setting.damage:
            self.line = enter(Proxy(self.camera.port, **setting.damage))
            self.line.active = False
        self.disk = enter(small_disk(self.folder / "disk")) if setting.disk else self.folder
        self.clock = Clock(self.folder) if setting.clock else None
        self.served, self.port = free_port(), free_port()
        outputs = [f"rtsp://@:{self.served}/live", f"{self.disk}/%Y%m%d-%H%M%S.mkv", f"{self.disk}/events.jsonl"]
        probes: dict[str, Callable[[], object]] = {"recording": self._newest, "events": self._events}
        if setting.broker:
            self.broker = enter(broker(self.folder))
            self.heard = enter(listening(self.broker.port))
            outputs.append(f"mqtt://127.0.0.1:{self.broker.port}/tubes")
            probes["mqtt"] = lambda: sum(topic == "tubes" for topic, *_ in self.heard)
        login = f"{setting.camera['user']}:{setting.camera['password']}" if "user" in setting.camera else ""
        self.input = (self.line if setting.line or setting.damage else self.camera).url(login)
        lines = [f"input = {json.dumps(self.input)}", f"outputs = {json.dumps(outputs)}",
                 f"model = {json.dumps(str(self.model))}", f"metrics = {self.port}", "segment-seconds = 3"]  # fmt: skip
        self.config = self.folder / "live.toml"
        self.config.write_text("\n".join([*lines, setting.options]) + "\n")
        env = self.clock.env if self.clock else {}
        self.run: Run = enter(Run(self.folder, "--config", self.config, env=env))
        wait_for(self._ready, LONG)
        self.watcher = Watcher(f"rtsp://127.0.0.1:{self.served}/live")
        self._stack.callback(self.watcher.close)
        probes["viewer"] = lambda: self.watcher.frames
        self.observer = Observer(self.port, probes)
        self._stack.callback(self.observer.close)
        wait_for(lambda: all(len(moments) > 3 for moments in self.observer.moved.values()), LONG)

    def _ready(self) -> bool:
        assert self.run.process.poll() is None, self.run.said
        return counters(self.port).get("windows_total", 0) > 3

    def _newest(self) -> object:
        """Names and sizes of the recordings: other ones where something was written."""
        found = []
        for path in self.recordings():
            with suppress(OSError):
                found.append((path.name, path.stat().st_size))
        return found

    def _events(self) -> int:
        with suppress(OSError):
            return (self.disk / "events.jsonl").stat().st_size
        return 0

    def recordings(self) -> list[Path]:
        return sorted(self.disk.glob("*.mkv"))

    @property
    def said(self) -> str:
        """All that the log says, and what was noted besides."""
        return self.run.said + self._noted

    def note(self, line: str) -> None:
        """What an operator was told elsewhere."""
        self._noted += f"{line}\n"

    def hears(self, pattern: str, seconds: float = LONG) -> None:
        """Waits until the log says so."""
        wait_for(lambda: re.search(pattern, self.run.said) or self.run.process.poll() is not None, seconds)
        assert re.search(pattern, self.run.said), self.run.said

    def reads(self, pattern: str, seconds: float = LONG) -> None:
        """Waits until the health page says so, from now on."""
        seen = len(self.observer.pages)
        wait_for(
            lambda: any(re.search(pattern, f"{page.status} {page.text}") for page in self.observer.pages[seen:]),
            seconds,
        )

    def drained(self) -> None:
        """Waits until no frame of before is on its way any more."""
        wait_for(lambda: self.observer.pause("frames", time.monotonic() - 1, time.monotonic()) > 0.9, LONG)

    def over(self) -> None:
        """The incident has ended: from now on all should be as before."""
        self.ended = time.monotonic()

    def plain(self, text: str) -> str:
        """The text without what is different in every run: folders, ports and dates."""
        text = text.replace(urlsplit(self.input).netloc.rpartition("@")[2], "camera")
        ports = {self.served: "8554", self.port: "8346", self.camera.port: "554"}
        if self.setting.broker:
            ports[self.broker.port] = "1883"
        for port, name in ports.items():
            text = re.sub(rf"\b{port}\b", name, text)
        text = re.sub(r"\b\d{8}-\d{6}", "20260304-101530", text)
        return text.replace(f"{self.disk}/", "").replace(f"{self.folder}/", "")

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def pin(process: int, processor: int, nice: int) -> None:
    """All threads of a process to one processor, behind whatever else runs there."""
    for thread in os.listdir(f"/proc/{process}/task"):
        with suppress(OSError):
            os.sched_setaffinity(int(thread), {processor})
            os.setpriority(os.PRIO_PROCESS, int(thread), nice)


def free(process: int) -> None:
    """To all processors again."""
    for thread in os.listdir(f"/proc/{process}/task"):
        with suppress(OSError):
            os.sched_setaffinity(int(thread), os.sched_getaffinity(0))

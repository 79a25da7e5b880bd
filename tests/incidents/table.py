"""The incidents: what happens in each, and what is promised then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import partial

from commands import Run
from incidents.incident import WORKS, Incident
from incidents.scene import LONG, Scene, Setting, counters, free, pin
from rtspclients import clients
from servers import NOISE
from waiting import free_port, wait_for

AWAY = 3.0
"""seconds of most incidents"""
REFUSED = r"cannot be reached: connection refused"
HOGS = 4
SET = r"clock of this machine was set by .\d+ s"
KEPT = 'keep = "14d"'
SILENT = r"no frame for \d|nothing came for \d"
LOGIN = r"wrong user or password \(401\)"
CONNECTED = r"connected again, \d+ times so far"


def camera_killed(scene: Scene, seconds: float = AWAY) -> None:
    scene.camera.kill()
    scene.drained()
    time.sleep(seconds)
    scene.camera.start()
    scene.over()


def camera_frozen(scene: Scene) -> None:
    scene.camera.freeze()
    scene.drained()
    time.sleep(AWAY)
    scene.camera.thaw()
    scene.over()


def camera_unplugged(scene: Scene) -> None:
    scene.line.slow(0)
    scene.drained()
    time.sleep(AWAY)
    scene.line.slow(None)
    scene.over()


def password_changed(scene: Scene) -> None:
    scene.camera.kill()
    scene.camera.start(password="changed")
    scene.drained()
    scene.reads(LOGIN)
    scene.camera.kill()
    scene.camera.start(password="hush")
    scene.over()


def camera_resized(scene: Scene) -> None:
    scene.camera.kill()
    scene.drained()
    scene.camera.start(size="320x240")
    scene.over()


def pictures_damaged(scene: Scene) -> None:
    scene.line.active = True
    wait_for(lambda: scene.line.spoiled >= 20, LONG)
    scene.line.active = False
    scene.over()


def viewer_stuck(scene: Scene) -> None:
    with clients("stuck", scene.served, 1):
        wait_for(lambda: any("slow client" in name for name in counters(scene.port)), LONG)
    scene.over()


def broker_killed(scene: Scene) -> None:
    scene.broker.kill()
    scene.hears(r"mqtt://\S+: retrying")
    time.sleep(AWAY)
    scene.broker.start()
    scene.over()


def broker_refuses(scene: Scene) -> None:
    scene.broker.kill()
    scene.broker.configure(("tubes", "other"))
    scene.broker.start()
    scene.hears(r"mqtt://\S+: refused")
    scene.broker.kill()
    scene.broker.configure(None)
    scene.broker.start()
    scene.over()


def disk_full(scene: Scene) -> None:
    filler = scene.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    scene.hears(r"\.mkv: disk full")
    time.sleep(AWAY)
    filler.unlink()
    scene.over()


def port_taken(scene: Scene, option: str) -> None:
    """Another run wants a port that this one has; then one that is free."""
    folder = scene.folder / "other"
    folder.mkdir()

    def words(port: int) -> list[object]:
        given = [f"rtsp://@:{port}/live"] if option == "output" else ["null://", "--metrics", port]
        return [scene.input, *given, "--model", scene.model]

    with Run(folder, *words(scene.served if option == "output" else scene.port)) as run:
        assert run.process.wait(LONG) in (1, 2), "it should have failed"
        scene.note(run.said.splitlines()[-1])
    scene.over()
    with Run(folder, *words(free_port())) as run:
        run.wait_for("window ")
        assert run.end() == 143


def reload(scene: Scene, line: str, answer: str) -> None:
    with scene.config.open("a") as file:
        file.write(f"{line}\n")
    scene.run.process.send_signal(signal.SIGHUP)
    scene.hears(answer)
    scene.over()


def clock_set(scene: Scene, sign: int) -> None:
    """By hours and by days, for longer than MQTT's keep-alive, and back to what it was."""
    assert scene.clock is not None
    known = set(scene.recordings())
    for hours in (3, 240):
        scene.clock.set(sign * hours * 3600)
        day = (datetime.now() + sign * timedelta(hours=hours)).strftime("%Y%m%d-")
        wait_for(lambda day=day: any(path.name.startswith(day) for path in scene.recordings()), LONG)
        time.sleep(13)
        assert known <= set(scene.recordings()), "a recording was deleted before its time"
        known = set(scene.recordings())
    scene.clock.set(0)
    scene.over()
    wait_for(lambda: len(scene.recordings()) > len(known), LONG)
    assert known <= set(scene.recordings()), "a recording was deleted before its time"


def overloaded(scene: Scene) -> None:
    """Others take the processor that it has to share with them."""
    process, processor = scene.run.process.pid, min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        for _ in range(HOGS):
            hog = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(hog.kill)
            pin(hog.pid, processor, 0)
        pin(process, processor, 10)
        scene.hears(r"falls behind the camera")
        free(process)
    scene.over()


NO_CAMERA = {"health": f"503.*({REFUSED})", "counted": ("reconnects_total",)}
CAMERAS = (
    Incident("camera killed", "its process dies, and is back 3 s later", camera_killed,
             lines=("lost: ", REFUSED, CONNECTED), slow=False, **NO_CAMERA),
    Incident("camera away for 20 s", "as after a power cut", partial(camera_killed, seconds=20),
             lines=("lost: ", REFUSED, CONNECTED), **NO_CAMERA),
    Incident("camera away for 6 minutes", "as after a power cut", partial(camera_killed, seconds=360),
             lines=("lost: ", REFUSED, CONNECTED), **NO_CAMERA),
    Incident("camera frozen", "its connection stays, no frame comes; it goes on 3 s after that was noticed",
             camera_frozen, lines=(f"lost: .*({SILENT})", CONNECTED), health=f"503.*({SILENT})",
             counted=("reconnects_total",)),
    Incident("camera's cable pulled", "nothing passes any more, and no connection is ended; for 3 s after that was "
             "noticed", camera_unplugged, lines=(f"lost: .*({SILENT})", CONNECTED), health=f"503.*({SILENT})",
             counted=("reconnects_total",), setting=Setting(line=True)),
    Incident("camera's password changed", "and changed back once that was noticed", password_changed,
             lines=(LOGIN, CONNECTED), health=f"503.*{LOGIN}", counted=("reconnects_total",), back=45,
             setting=Setting(camera={"user": "me", "password": "hush"})),
    Incident("camera of another size", "it restarts with 320x240 in place of 160x120", camera_resized,
             lines=(CONNECTED, ), health=f"503.*({REFUSED})", counted=("reconnects_total",)),
    Incident("pictures damaged", "packets are lost, altered and cut on the way, for some seconds", pictures_damaged,
             counted=("decoder_errors_total", "frames_damaged_total"),
             setting=Setting(camera={"launch": NOISE}, damage={"drop": 0.03, "flip": 0.03, "cut": 0.03})),
)  # fmt: skip
OUTPUTS = (
    Incident("viewer stuck", "one who watches by RTSP stops reading, and vanishes", viewer_stuck,
             counted=(r'dropped_total\{place="sink rtsp.*reason="slow client"',),
             setting=Setting(camera={"launch": NOISE})),
    Incident("broker killed", "and back 3 s after that was noticed", broker_killed,
             lines=(r"mqtt://\S+: retrying: (lost|no connection to) the broker", r"mqtt://\S+: running"),
             works=("frames", "mqtt"), back=45, setting=Setting(broker=True)),
    Incident("broker refuses the login", "it restarts with a password, and without one once that was noticed",
             broker_refuses, lines=(r"mqtt://\S+: refused: the broker refuses: Not authorized", r"mqtt://\S+: running"),
             health="200 output_refused: ", works=("frames", "mqtt"), back=120, setting=Setting(broker=True)),
    Incident("disk full", "of what is recorded, and of the events; there is room again 3 s after that was noticed",
             disk_full, lines=(r"\.mkv: disk full", r"events\.jsonl: disk full", r"\.mkv: running"),
             health=r"200 disk_full: .*No space left",
             counted=(r'dropped_total\{place="sink .*\.mkv",reason="disk full"',), setting=Setting(disk=True)),
    Incident("port of an output taken", "another run wants to serve RTSP on it; then on a free one",
             partial(port_taken, option="output"), lines=(r"error: rtsp://\S+: .*(in use|cannot be)",)),
    Incident("port of the metrics taken", "another run wants it; then a free one",
             partial(port_taken, option="metrics"), lines=("error: metrics cannot be served at .* in use",),
             slow=False),
)  # fmt: skip
OTHERS = (
    Incident("SIGHUP with a good file", "which changes the look",
             partial(reload, line="alpha = 0.3", answer="changed: alpha"),
             lines=("changed: alpha",)),
    Incident("SIGHUP with a bad file", "with an option that there is not",
             partial(reload, line="alfa = 0.3", answer="refused"),
             lines=("refused, nothing changes: .*did you mean alpha",)),
    Incident("clock set forward", "by three hours, by ten days, and back to what it was", partial(clock_set, sign=1),
             lines=(SET,), works=(*WORKS, "mqtt"),
             setting=Setting(broker=True, clock=True, options=KEPT)),
    Incident("clock set back", "by three hours, by ten days, and forward to what it was", partial(clock_set, sign=-1),
             lines=(SET,), works=(*WORKS, "mqtt"),
             setting=Setting(broker=True, clock=True, options=KEPT)),
    Incident("machine overloaded", "other programs take the processor, until the stream is late", overloaded,
             lines=("falls behind the camera",), health="200 overloaded: ", counted=("skips_total",), back=60,
             well=lambda scene: counters(scene.port).get("lag_seconds", 9) < 0.5,
             setting=Setting(camera={"size": "640x480", "rate": 30})),
)  # fmt: skip
INCIDENTS = {incident.name: incident for incident in (*CAMERAS, *OUTPUTS, *OTHERS)}

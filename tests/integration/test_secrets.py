"""No password leaves: a secret in every place that takes one, and everything that a run produces searched for them.

Every secret begins with "hush", however it is encoded, and then says where it was put.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from brokers import MOSQUITTO, Broker, listening
from commands import LONG, Run
from saliency_tubes.stream.app.cli import main
from saliency_tubes.stream.net.redact import redact, secrets
from saliency_tubes.stream.sources.gst_feed import available
from servers import RtspServer, python_with_gi
from waiting import free_port, wait_for

CAMERA = "test://?size=640x480&rate=30"
needs_gst = pytest.mark.skipif(not available(), reason="this Python has no GStreamer")


def secret(place: str) -> str:
    """As it stands in an address: decoded it has an @, a slash and a colon."""
    return f"hush{place}%40%2F%3A"


def search(text: str, whose: str) -> None:
    """Fails where a secret is in it, plainly or in the base64 of a login."""
    found = re.search(r"hush[\w%]*", text, re.IGNORECASE)
    assert not found, f"{found[0]} is in {whose}: ...{text[max(0, found.start() - 200) : found.end()]}"
    for login in re.findall(r"[A-Za-z0-9+/]{16,}={0,2}", text):
        with suppress(ValueError):
            assert b"me:hush" not in base64.b64decode(login), f"a login is in {whose}, in base64"


class Searched(Run):
    """The command, with all that it says and all that the system tells of it."""

    def __init__(self, folder: Path, *words: str, **environment: str) -> None:
        folder.mkdir()
        super().__init__(folder, *words, env=environment, out="stdout", alone=True)

    def look_from_outside(self) -> None:
        """What `ps` shows anybody: the command line, and the names of threads."""
        process = Path(f"/proc/{self.process.pid}")
        for path in (process / "cmdline", process / "status", *process.glob("task/*/comm")):
            search(path.read_text(errors="replace"), str(path))

    def search_all(self, code: int | None = None) -> None:
        """Ends it, unless it ends itself with a code, and searches all the files that it made."""
        assert (self.end() if code is None else self.process.wait(LONG)) == (143 if code is None else code), self.said
        assert "Traceback" not in self.said
        for path in self.folder.rglob("*"):
            if path.is_file():
                search(path.read_bytes().decode("latin-1"), path.name)


@contextmanager
def web(status: int) -> Iterator[tuple[int, list[str]]]:
    """A server for webhooks: its port, and the bodies that it got."""
    bodies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert b"me:hush" in base64.b64decode(self.headers["Authorization"].removeprefix("Basic "))
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1], bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def read(port: int, page: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())


def hook(port: int, place: str) -> str:
    rule = "class=tossing coin&over=0.2&cooldown=0&retries=0"
    return f"hook+http://me:{secret(place)}@127.0.0.1:{port}/x?token={secret(place + 'query')}&{rule}"


@needs_gst
def test_outputs_that_work_and_outputs_that_do_not(tmp_path: Path) -> None:
    nobody, metrics, served = free_port(), free_port(), free_port()
    (tmp_path / "broker").mkdir()
    broker = Broker(tmp_path / "broker") if MOSQUITTO else None
    with web(200) as (good, bodies), web(403) as (bad, refused):
        outputs = [
            f"rtsp://@:{served}/x",
            f"rtsp://me:{secret('rtsp')}@127.0.0.1:{nobody}/x",
            f"rtmp://me:{secret('rtmp')}@127.0.0.1:{nobody}/x/y?key={secret('streamkey')}",
            f"srt://127.0.0.1:{nobody}?passphrase={secret('srt')}",
            f"mqtt://me:{secret('mqtt')}@127.0.0.1:{broker.port if broker else nobody}/home/events",
            f"mqtt://me:{secret('nobroker')}@127.0.0.1:{nobody}/home/events",
            hook(good, "hook"),
            hook(bad, "refused"),
            hook(nobody, "unreachable"),
            f'gst://videoconvert ! souphttpclientsink user-pw="{secret("gst")} {secret("space")}" '
            f"location=http://127.0.0.1:{nobody}/x",
            f"gst://videoconvert ! filesink location=rtsp://me:{secret('in')}@h/x",
            "out.mkv",
            "rec/%Y%m%d-%H%M%S.mp4",
            "events.jsonl",
            "-",
        ]
        words = [CAMERA, *outputs, "--frames", "16", "--log-format", "json", "--metrics", str(metrics)]
        login = {"SALIENCY_TUBES_RTSP_USER": "me", "SALIENCY_TUBES_RTSP_PASSWORD": secret("served")}
        with Searched(tmp_path / "run", *words, **login) as run:
            if broker is not None:
                broker.start()
            run.wait_for("127.0.0.1", "class", f":{nobody}/x: retrying", "Could not open file", "HTTP 403", "refused")
            wait_for(lambda: bodies and refused, 60)
            run.look_from_outside()
            for page in ("metrics", "healthz", "other"):
                search(read(metrics, page), page)
            assert "sink_state" in read(metrics, "metrics")
            run.search_all()
        for body in bodies + refused:
            search(json.dumps({**json.loads(body), "snapshot": None}), "a webhook's body")
    if broker is not None:
        with listening(broker.port) as heard:
            wait_for(lambda: heard)
        broker.kill()
        search(str(heard), "what the broker got")


@needs_gst
@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer")
@pytest.mark.parametrize("backend", ["av", "gst"])
def test_inputs_that_refuse_and_inputs_that_are_not_there(backend: str, small_model: Path, tmp_path: Path) -> None:
    form = {"av": "text", "gst": "json"}[backend]
    fast = ["null://", "--backend", backend, "--model", str(small_model), "--frames", "8", "--log-format", form]
    with RtspServer(user="me", password="right") as server:
        with Searched(tmp_path / "wrong", server.url(f"me:{secret('wrong')}"), *fast) as run:
            run.process.wait(60)
            assert "wrong user or password" in run.said
            run.search_all(1)
        config = tmp_path / "live.toml"
        streams = "".join(
            f'[[stream]]\nname = "{name}"\noutputs = ["null://"]\n'
            f'input = "rtsp://me:${{{name.upper()}}}@127.0.0.1:{port}/live"\n'
            for name, port in (("door", server.port), ("yard", free_port()))
        )
        config.write_text(f'wait = true\nmodel = "{small_model}"\nframes = 8\nbackend = "{backend}"\n{streams}')
        metrics = free_port()
        words = ("--config", str(config), "--metrics", str(metrics), "--log-format", form)
        with Searched(tmp_path / "waits", *words, DOOR=secret("door"), YARD=secret("yard")) as run:
            run.wait_for("/metrics")
            run.look_from_outside()
            for page in ("metrics", "healthz"):
                search(read(metrics, page), page)
            run.search_all()
    for name, login in (("slash", "me:hush/slash#1@%zz[?"), ("two ways", "me:12/hush")):
        url = f"rtsp://{login}@127.0.0.1:{free_port()}/live"
        with Searched(tmp_path / name, url, *fast, "--first-timeout", "0.5") as run:
            run.process.wait(60)
            run.search_all(1 if name == "slash" else 2)
    address = f"rtsp://me:{secret('nobody')}@127.0.0.1:{free_port()}/live"
    with Searched(tmp_path / "nobody", address, *fast, "--first-timeout", "0.5") as run:
        run.process.wait(60)
        run.search_all(1)
    login = ("--rtsp-user", "me", "--rtsp-password", secret("option"))
    with Searched(tmp_path / "later", address, *fast, "--wait", *login) as run:
        wait_for(lambda: b"*****" in Path(f"/proc/{run.process.pid}/cmdline").read_bytes(), 30)
        run.look_from_outside()
        run.search_all()


RTSP = f"rtsp://me:{secret('in')}@127.0.0.1/live"


@pytest.mark.parametrize(
    "words",
    [
        [RTSP],
        ["run", RTSP],
        ["run", RTSP, "out.mp4", "--alpha", "much"],
        ["run", RTSP, "out.webm"],
        ["run", RTSP, "null://", "--config", "missing.toml"],
        ["run", "in.mp4", "null://", f"--nonsense=mqtt://me:{secret('flag')}@h/x"],
        ["run", f"ftp://me:{secret('ftp')}@h/x", "null://"],
        ["run", f"rtsp://me:{secret('slash')}/with/slashes@h/x", "nowhere/out.mp4"],
        ["run", f"gst://nosuch ! x user-pw='{secret('one')} {secret('two')}'", "null://"],
        ["run", f"test://?token={secret('test')}", "null://"],
        ["run", "in.mp4", f"mqtt://me:{secret('mqtt')}@h/x?qos=9"],
        ["run", "in.mp4", f"mqtt://me:{secret('mqtt')}@h:port/x"],
        ["run", "in.mp4", f"hook+https://me:{secret('hook')}@h/x?token={secret('token')}&over=7"],
        ["run", "in.mp4", f"srt://h?passphrase={secret('srt')}"],
        ["run", "in.mp4", f'gst://videoconvert ! nosuch user-pw="{secret("out")} {secret("more")}"'],
        ["run", "in.mp4", f"rtsp://me:{secret('serve')}@:99999/x"],
        ["run", "in.mp4", f"rtsp://me:{secret('serve')}@:8554"],
        ["run", "in.mp4", "null://", "--rtsp-passwd", secret("option")],
        ["run", "in.mp4", "null://", f"--rtsp-passwd={secret('option')}", "--alpha", "0.5"],
        ["run", "in.mp4", "null://", f"--rtsp={secret('ambiguous')}"],
        ["run", "in.mp4", "null://", f"--client-secret={secret('option')}"],
        ["run", "in.mp4", "null://", "--access-token", secret("option")],
        ["run", "in.mp4", "null://", "--rtsp-password", secret("option"), "--alpha", "much"],
        ["run", "in.mp4", "null://", f"--rts={secret('short')}"],
        *(
            ["run", *words]
            for login in ("me:12/hush", "me:hush@two/hush", "me:hush?a=hush", "me:12#hush")
            for words in (
                *([f"{scheme}://{login}@cam/x", "null://"] for scheme in ("rtsp", "rtsps", "http", "https", "rtmp")),
                *(["in.mp4", f"{scheme}://{login}@cam/x"] for scheme in ("rtsp", "rtmp", "mqtt", "hook+https")),
            )
        ),
        *(
            ["run", *words]
            for bad in (f"me:{secret('bracket')}[1@h", "me:hush\uff0f1@h", f"me:{secret('space')} [1@h")
            for words in (
                [f"http://{bad}/x.m3u8", "null://", "--first-timeout", "0.2"],
                [f"https://{bad}/x", "null://", "--first-timeout", "0.2"],
                [f"rtsp://{bad}/x", "null://", "--first-timeout", "0.2"],
                [f"file://{bad}/x", "null://"],
                [f"test://{bad}?frames=3", "null://"],
                *(["in.mp4", f"{scheme}://{bad}/x"] for scheme in ("rtsp", "rtsps", "rtmp", "mqtt", "hook+https")),
                ["in.mp4", f"rtsp://{bad.removesuffix('h')}:8554/x"],
            )
        ),
        ["run", "in.mp4", f"rtmp://me:{secret('twice')}@h/x", f"rtmp://me:{secret('twice')}@h/x"],
    ],
    ids=" ".join,
)
def test_mistakes_are_told_without_them(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: object = main(words)
    except SystemExit as error:
        code = error.code
    out, err = capfd.readouterr()
    assert code in (1, 2)
    errors = [line for line in err.splitlines() if not line.startswith("note ")]  # where a live input's page is
    assert len(errors) == 1
    search(out + err, "the error")


@pytest.mark.parametrize(
    "text",
    [
        f'input = "{RTSP}"\noutputs = ["x.webm"]',
        f'input = ["{RTSP}"]',
        f'inputs = "{RTSP}"',
        f'outputs = [["{RTSP}"]]',
        f'alpha = "{RTSP}"',
        f'alpha = ["{RTSP}"]',
        f'input = "{RTSP}',
        f'input = "in.mp4"\nrtsp-password = ["{secret("list")}"]',
        f'input = "in.mp4"\nrtsp-pasword = "{secret("typo")}"',
        f'input = "in.mp4"\nrtsp = "{secret("short")}"',
    ],
)
def test_mistakes_in_a_file(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "live.toml"
    path.write_text(text)
    assert main(["run", "--config", str(path)]) == 2
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    search(out + err, "the error")


@pytest.mark.parametrize(
    "uri",
    [
        "srt://h:1?mode=caller&passphrase={}",
        "https://h/x?sig={}",
        "https://h/x?X-Amz-Signature={}&a=b",
        "http://h/x?api_key={}#top",
        "gst://rtspsrc location=rtsp://h user-id=me user-pw={} ! fakesink",
        'gst://souphttpsrc user-pw="{} and more" ! fakesink',
        "gst://srtsink passphrase = '{}'",
    ],
)
def test_places_in_addresses(uri: str) -> None:
    filled = uri.format(secret("x"))
    search(redact(filled), "the name")
    assert "more" not in redact(filled)
    assert secret("x") in secrets(filled) or f'"{secret("x")} and more"' in secrets(filled)
    assert redact(uri.format("")).count("=") == uri.count("=")

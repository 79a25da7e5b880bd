"""A real MQTT broker for tests: mosquitto, on a free port of the loopback, and somebody who listens to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import free_port, wait_for

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="needs mosquitto: make system-deps")


class Broker:
    """mosquitto in a folder of its own. Started, killed and started again on the same port."""

    def __init__(self, folder: Path, *, login: tuple[str, str] | None = None, tls: bool = False) -> None:
        self.port, self.folder, self._tls = free_port(), folder, tls
        self.log = folder / "mosquitto.log"
        self.configure(login)
        self._process: subprocess.Popen[bytes] | None = None

    def configure(self, login: tuple[str, str] | None) -> None:
        """Who may connect when it is started next; None: everybody."""
        # it gives up its rights where it is root, and could read no file of ours then
        lines = [f"listener {self.port} 127.0.0.1", f"log_dest file {self.log}", "log_type all", "user root"]
        lines.append(f"allow_anonymous {'false' if login else 'true'}")
        if login:
            passwords = self.folder / "passwords"
            passwords.write_text(f"{login[0]}:{login[1]}\n")
            passwords.chmod(0o600)
            tool = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
            subprocess.run([tool, "-U", str(passwords)], check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if self._tls:
            certificate, key = make_certificate(self.folder)
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen([MOSQUITTO, "-c", str(self.folder / "mosquitto.conf")])
        wait_for(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def process(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def count(self, text: str) -> int:
        """How often the broker's log says so."""
        return self.log.read_text().count(text)


@contextmanager
def broker(folder: Path, **options: object) -> Iterator[Broker]:
    made = Broker(folder, **options)  # type: ignore[arg-type]
    made.start()
    try:
        yield made
    finally:
        made.kill()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Signed by itself, for localhost and 127.0.0.1."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@contextmanager
def listening(port: int, topic: str = "#") -> Iterator[list[tuple[str, str, bool]]]:
    """What is published, as (topic, payload, retained), while the block lasts; reconnects by itself."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    heard: list[tuple[str, str, bool]] = []
    ready: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
    client.on_subscribe = lambda *_: ready.append(True)
    client.on_message = lambda _, __, message: heard.append((message.topic, message.payload.decode(), message.retain))
    client.reconnect_delay_set(1, 1)
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        wait_for(lambda: ready)
        yield heard
    finally:
        client.disconnect()
        client.loop_stop()

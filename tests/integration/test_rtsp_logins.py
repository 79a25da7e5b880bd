"""Those who guess passwords at the RTSP server, and those who take its places: real sockets, from two addresses."""

from __future__ import annotations

import hashlib
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction

import pytest
from saliency_tubes.stream.media.gst_load import Missing, load
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.doorkeeper import FREE
from saliency_tubes.stream.sinks import gst_rtsp_server
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.gst_rtsp import GstRtspSink
from saliency_tubes.stream.sinks.gst_rtsp_server import MAX_CONNECTIONS_EACH, PARTS
from videos import make_info, make_shown
from waiting import wait_for

try:
    load(*PARTS)
except Missing as missing:
    pytest.skip(str(missing), allow_module_level=True)

INFO = make_info(width=64, height=48, rate=Fraction(30), time_base=Fraction(1, 90_000))
USER, PASSWORD = "eva", "hush hush"
FRIEND, STRANGER = "127.0.0.1", "127.0.0.2"


class Client:
    """One connection from an address of this machine."""

    def __init__(self, port: int, address: str = FRIEND, path: str = "/live") -> None:
        self._url = f"rtsp://127.0.0.1:{port}{path}"
        self.socket = socket.create_connection(("127.0.0.1", port), 20, (address, 0))
        self._challenge = ("", "")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, password: str | None = None, method: str = "OPTIONS") -> int:
        """The status of the answer; 0 where the server hangs up. password: for the challenge that was had last."""
        login = "" if password is None else f"Authorization: {self._login(password, method)}\r\n"
        try:
            self.socket.sendall(f"{method} {self._url} RTSP/1.0\r\nCSeq: 1\r\n{login}\r\n".encode())
            answer = self.socket.recv(8192).decode()
        except OSError:
            return 0
        found = re.search(r'realm="(.*?)", nonce="(.*?)"', answer)
        if found:
            self._challenge = (found[1], found[2])
        return int(answer.split()[1]) if answer else 0

    def log_in(self, password: str = PASSWORD) -> int:
        """DESCRIBE, with the password once it is asked for."""
        first = self.ask(method="DESCRIBE")
        return self.ask(password, "DESCRIBE") if first == 401 else first

    def _login(self, password: str, method: str) -> str:
        """RFC 2617."""
        realm, nonce = self._challenge
        secret, asked = _md5(f"{USER}:{realm}:{password}"), _md5(f"{method}:{self._url}")
        fields = {"username": USER, "realm": realm, "nonce": nonce, "uri": self._url}
        fields["response"] = _md5(f"{secret}:{nonce}:{asked}")
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@contextmanager
def served(uri: str = "rtsp://@:0/live", user: str | None = USER) -> Iterator[GstRtspSink]:
    sink = GstRtspSink(Address.parse(uri), SinkOptions(user=user, password=PASSWORD if user else None))
    sink.open(INFO)
    stop = threading.Event()

    def feed() -> None:
        index = 0
        while not stop.wait(0.05):
            sink.write(make_shown(index, index * 3000, INFO))
            index += 1

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield sink
    finally:
        stop.set()
        thread.join()
        sink.close()


def fail(client: Client, times: int) -> None:
    for _ in range(times):
        assert client.log_in("wrong") == 401


def test_failed_logins_are_counted_and_a_first_question_is_none() -> None:
    with served() as sink, Client(sink.port) as client:
        assert sink.failed_logins == 0
        assert client.ask(method="DESCRIBE") == 401  # who does not know that there is a password
        assert sink.failed_logins == 0
        fail(client, 3)
        assert sink.failed_logins == 3
        assert client.log_in() == 200
        assert sink.failed_logins == 3
    assert sink.failed_logins == 3
    with served(user=None) as free:
        assert free.failed_logins is None


def test_each_stream_of_a_port_counts_its_own() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with served(f"rtsp://@:{port}/a") as one, served(f"rtsp://@:{port}/ab") as other:
        with Client(port, path="/ab") as client:
            fail(client, 2)
        assert (one.failed_logins, other.failed_logins) == (0, 2)


def test_whoever_guesses_waits_and_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("saliency_tubes.stream.net.doorkeeper.PAUSES", (600.0, 600.0))
    with ExitStack() as stack:
        with served() as sink:
            guesser = stack.enter_context(Client(sink.port, STRANGER))
            fail(guesser, FREE)
            answered = threading.Thread(target=guesser.log_in, args=("wrong",))
            answered.start()
            wait_for(lambda: sink.failed_logins == FREE + 1)
            with Client(sink.port, FRIEND) as friend:  # another address: at once, and the password counts
                assert friend.log_in("wrong") == 401
                assert friend.log_in() == 200
            with Client(sink.port, STRANGER) as neighbour:  # one of the same address that knows the password
                assert neighbour.log_in() == 200
            ticked = threading.Event()  # the server's own loop goes on
            assert sink.server is not None
            sink.server._ticks.append(ticked.set)
            assert ticked.wait(20)
            assert answered.is_alive()
        answered.join(60)  # the pause ends with the server
        assert not answered.is_alive()


def test_who_hangs_up_keeps_the_place_until_the_pause_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a guesser would not wait, and come again."""
    monkeypatch.setattr("saliency_tubes.stream.net.doorkeeper.PAUSES", (600.0, 600.0))
    monkeypatch.setattr(gst_rtsp_server, "MAX_CONNECTIONS_EACH", 1)
    with served() as sink:
        with Client(sink.port, STRANGER) as guesser:
            fail(guesser, FREE)
            assert guesser.ask(method="DESCRIBE") == 401
            guesser.socket.settimeout(0.2)
            assert guesser.ask("wrong", "DESCRIBE") == 0
            wait_for(lambda: sink.failed_logins == FREE + 1)
        time.sleep(0.3)
        with Client(sink.port, STRANGER) as again:
            assert again.ask() == 0
        with Client(sink.port, FRIEND) as friend:
            assert friend.log_in() == 200


def test_the_log_has_a_line_a_minute_and_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), served() as sink:
        with Client(sink.port, STRANGER) as guesser:
            fail(guesser, 1)
            wait_for(lambda: "failed logins" in caplog.text)
            fail(guesser, FREE - 1)
        time.sleep(0.5)  # some ticks
        port = sink.port
    lines = [record.getMessage() for record in caplog.records if "login" in record.getMessage()]
    assert lines == [f"RTSP on port {port}: failed logins: 1 from {STRANGER}"]
    assert PASSWORD not in caplog.text
    assert "wrong" not in caplog.text


def test_one_address_has_a_quarter_of_the_places(caplog: pytest.LogCaptureFixture) -> None:
    assert 4 * MAX_CONNECTIONS_EACH == gst_rtsp_server.MAX_CONNECTIONS
    with caplog.at_level(logging.INFO), served(user=None) as sink, ExitStack() as stack:
        greedy = [stack.enter_context(Client(sink.port, STRANGER)) for _ in range(MAX_CONNECTIONS_EACH)]
        assert [client.ask() for client in greedy] == [200] * MAX_CONNECTIONS_EACH
        assert stack.enter_context(Client(sink.port, STRANGER)).ask() == 0
        assert stack.enter_context(Client(sink.port, FRIEND)).ask() == 200
        wait_for(lambda: f"no place: 1 from {STRANGER}" in caplog.text)
        greedy.pop().__exit__()

        def has_place() -> bool:
            with suppress(OSError), Client(sink.port, STRANGER) as client:
                return client.ask() == 200
            return False

        wait_for(has_place)


def test_who_has_logged_in_and_answers_an_old_challenge_has_not_failed() -> None:
    with served() as sink, Client(sink.port) as client:
        assert sink.server is not None
        assert client.log_in() == 200
        server = sink.server
        (connection,) = server._sockets
        server._sessions[connection] = 1  # as SETUP does
        fail(client, 2)
        assert sink.failed_logins == 0

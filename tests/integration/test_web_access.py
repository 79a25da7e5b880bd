"""Who is let in by the web server: tokens, cookies, and what never shows them. Over real sockets."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMAND
from pages import Page
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.net import doorkeeper
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink
from saliency_tubes.stream.sinks.web import OPERATOR_TOKEN as OPERATOR_VARIABLE
from saliency_tubes.stream.sinks.web import TOKEN as VARIABLE
from saliency_tubes.stream.sinks.web import WebSink
from saliency_tubes.stream.web import server
from waiting import free_port, wait_for
from websockets.exceptions import InvalidStatus
from webstream import OPERATOR, TOKEN, ask, bearer, stream

GUARDED = (
    "/api/streams",
    "/api/streams/live",
    "/api/streams/live/explanation",
    "/api/streams/live/history",
    "/api/streams/live/snapshot.png",
    "/api/streams/live/controls",
    "/api/streams/live/windows/0/thumbnail.jpg",
    "/api/events",
    "/api/openapi.json",
    "/streams/live.jpg",
    "/streams/live.mjpeg",
    "/nothing",
)


@pytest.fixture(scope="module")
def sink() -> Iterator[WebSink]:
    with stream(web_token=TOKEN, web_operator_token=OPERATOR) as made:
        yield made


@pytest.fixture(autouse=True)
def answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed logins of other tests delay no answer."""
    monkeypatch.setattr(doorkeeper, "FREE", 10_000)


def sign_in(sink: WebSink, token: str) -> str:
    """The cookie that a browser gets."""
    return ask(sink.port, f"/login?token={token}").cookie


def test_nothing_is_told_without_the_token(sink: WebSink) -> None:
    for path in GUARDED:
        told = ask(sink.port, path)
        assert (told.status, told.headers["WWW-Authenticate"]) == (401, 'Bearer realm="saliency-tubes"')
        assert told.error == "this server asks for its token: /login, or a bearer header"
        assert ask(sink.port, path, Authorization=bearer("the-viewers-t0ken")).error == "that is not the token"
    with pytest.raises(InvalidStatus, match="401"), Page.open(sink.port):
        pass
    page = ask(sink.port, "/")
    assert (page.status, page.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert b'<form method="post" action="/login">' in page.body
    assert page.headers["Referrer-Policy"] == "strict-origin"  # by no-referrer a form has no origin, and is refused
    assert ask(sink.port, "/static/app.css").status == 200  # what is in the package is no secret


@pytest.mark.parametrize("token", [TOKEN, OPERATOR])
def test_a_token_opens_everything_by_a_header(sink: WebSink, token: str) -> None:
    assert ask(sink.port, "/", Authorization=bearer(token)).status == 200
    assert ask(sink.port, "/api/streams", Authorization=f"bearer {token}").status == 200
    header = {"Authorization": bearer(token)}
    with Page.open(sink.port, additional_headers=header) as page:
        assert page.until("hello")["operator"] is (token == OPERATOR)


@pytest.mark.parametrize("token", [TOKEN, OPERATOR])
def test_a_link_signs_a_browser_in(sink: WebSink, token: str) -> None:
    told = ask(sink.port, f"/login?token={token}")
    assert (told.status, told.headers["Location"]) == (303, "/")
    assert told.headers["Referrer-Policy"] == "no-referrer"
    assert told.headers["Cache-Control"] == "no-store"
    cookie, *flags = told.headers["Set-Cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {*flags}
    assert "Secure" not in flags
    assert token not in told.headers["Set-Cookie"]
    assert ask(sink.port, "/", Cookie=cookie).status == 200
    assert ask(sink.port, "/streams/live.jpg", Cookie=f"theme=dark; {cookie}").status == 200
    with Page.open(sink.port, additional_headers={"Cookie": cookie}) as page:
        assert page.until("hello")["operator"] is (token == OPERATOR)


def test_the_form_does_the_same(sink: WebSink) -> None:
    kind = "application/x-www-form-urlencoded"
    told = ask(sink.port, "/login", "POST", f"token={TOKEN}", Content_Type=kind)
    assert told.status == 303
    assert told.cookie == sign_in(sink, TOKEN)
    wrong = ask(sink.port, "/login", "POST", "token=%3Cb%3Enone", Content_Type=kind)
    assert wrong.status == 401
    assert b"That is not the token." in wrong.body
    assert b"none%3C" not in wrong.body
    for body in ("", "&" * 50, "token=" + "x" * 3000, b"\xff\xfe"):
        assert ask(sink.port, "/login", "POST", body, Content_Type=kind).status in (401, 413)
    foreign = ask(sink.port, "/login", "POST", f"token={TOKEN}", Origin="https://evil.example")
    assert foreign.status == 403


def test_behind_a_proxy_with_tls_the_cookie_is_for_tls_alone(sink: WebSink) -> None:
    told = ask(sink.port, f"/login?token={TOKEN}", X_Forwarded_Proto="https")
    assert "Secure" in told.headers["Set-Cookie"].split("; ")


def test_a_cookie_of_another_time_is_forgotten(sink: WebSink) -> None:
    name = sign_in(sink, TOKEN).partition("=")[0]
    told = ask(sink.port, "/api/streams", Cookie=f"{name}=1234")
    assert told.status == 401
    assert told.headers["Set-Cookie"].startswith(f"{name}=; Max-Age=0;")
    assert ask(sink.port, "/", Cookie=f"{name}=1234; {name}=").status == 401


def test_a_link_on_another_site_works(sink: WebSink) -> None:
    """The browser sends no SameSite=Strict cookie with it; a page of ours asks again, and then it does."""
    told = ask(sink.port, "/", Sec_Fetch_Site="cross-site")
    assert b'http-equiv="refresh"' in told.body
    assert b"<form" in ask(sink.port, "/", Sec_Fetch_Site="same-origin").body


def test_viewers_are_no_operators(sink: WebSink) -> None:
    path, body = "/api/streams/live/controls", '{"hold": 8}'
    for headers in ({"Authorization": bearer(TOKEN)}, {"Cookie": sign_in(sink, TOKEN)}):
        assert ask(sink.port, path, "PATCH", body, **headers).error == "only the operator's token may change a stream"
    assert ask(sink.port, path, "PATCH", body, Cookie=sign_in(sink, OPERATOR)).json["hold"] == 8


def test_two_of_a_header_that_tells_who_asks_are_none(sink: WebSink) -> None:
    for header in ("Host: 127.0.0.1", f"Authorization: {bearer(TOKEN)}", "Cookie: a=b"):
        with socket.create_connection(("127.0.0.1", sink.port), 20) as asking:
            asking.sendall(f"GET /api/streams HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\n{header}\r\n\r\n".encode())
            assert asking.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_failed_logins_are_answered_later_and_later_and_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(doorkeeper, "FREE", 2)
    monkeypatch.setattr(doorkeeper, "PAUSES", (0.3, 0.6))
    monkeypatch.setattr(server, "TICK", 0.1)
    caplog.set_level(logging.WARNING, "saliency_tubes")
    with stream(web_token=TOKEN, web_operator_token=OPERATOR) as sink:
        took = []
        for path, headers in (
            ("/api/streams", {"Authorization": bearer("guess-number-1")}),
            ("/login?token=guess-number-2", {}),
            ("/api/streams", {"Cookie": f"saliency-tubes-{sink.port}=guess-number-3"}),
            ("/login?token=guess-number-4", {}),
        ):
            began = time.monotonic()
            assert ask(sink.port, path, **headers).status == 401
            took.append(time.monotonic() - began)
        assert took[2] >= 0.3
        assert took[3] >= 0.6
        assert sink.failed_logins == sink.health().failed_logins == 4
        monkeypatch.setattr(doorkeeper, "PAUSES", (600.0, 600.0))
        assert ask(sink.port, "/api/streams", Authorization=bearer(TOKEN)).status == 200  # nobody else waits
        wait_for(lambda: "failed logins: " in caplog.text)
    assert "from 127.0.0.1" in caplog.text
    assert "guess-number" not in caplog.text


def test_where_no_token_can_be_shown_none_fails() -> None:
    with stream() as sink:
        assert sink.failed_logins is None
        assert ask(sink.port, "/api/streams", Authorization=bearer("whatever-it-is")).status == 200
        told = ask(sink.port, "/login?token=whatever-it-is")
        assert (told.status, told.headers["Location"]) == (303, "/")


def test_other_names_must_be_given() -> None:
    with stream(web_name="Door.example.org, other") as sink:
        for host in ("door.example.org", "other:80", f"127.0.0.1:{sink.port}"):
            assert ask(sink.port, "/api/streams", Host=host).status == 200
        told = ask(sink.port, "/api/streams", Host="example.org")
        assert (told.status, told.error) == (403, "this server is not called that: --web-name takes more names")
        with pytest.raises(InvalidStatus, match="403"), Page.open(sink.port, origin="http://evil.example"):
            pass


# where the token comes from


def test_where_others_reach_it_a_token_is_made_and_shown_once(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with stream("web://0.0.0.0:0") as sink:
        (token,) = re.findall(r"http://[0-9.a-z-]+:\d+/login\?token=([\w-]{32})\n", capfd.readouterr().err)
        assert ask(sink.port, "/api/streams").status == 401
        assert ask(sink.port, "/api/streams", Authorization=bearer(token)).status == 200
        assert sink.description.endswith(f":{sink.port}/, with the token")
        assert sink.notes == ()
        assert token not in repr(sink.health())
    assert token not in capfd.readouterr().err
    assert token not in caplog.text


def test_insecure_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with stream("web://0.0.0.0:0", insecure=True) as sink:
        assert ask(sink.port, "/api/streams").status == 200
        assert sink.notes == ("everybody who reaches this machine can watch: no token is asked for",)
    assert "token=" not in capfd.readouterr().err


def test_tokens_come_from_the_environment_and_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(f"{OPERATOR}\n")
    monkeypatch.setenv(VARIABLE, TOKEN)
    monkeypatch.setenv(OPERATOR_VARIABLE, f"@{file}")
    with stream() as sink:
        assert ask(sink.port, "/api/streams").status == 401
        assert ask(sink.port, "/api/streams", Authorization=bearer(TOKEN)).status == 200
        changed = ask(sink.port, "/api/streams/live/controls", "PATCH", '{"hold": 7}', Authorization=bearer(OPERATOR))
        assert changed.status == 200


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"web_token": "short"}, "web-token: a token has 8 to 256 letters"),
        ({"web_token": "with a space"}, "web-token: a token has 8 to 256 letters"),
        ({"web_token": "x" * 257}, "web-token: a token has 8 to 256 letters"),
        ({"web_token": "@/nowhere/token"}, "web-token: cannot read the file /nowhere/token: No such file"),
        ({"web_operator_token": "@\0"}, "web-operator-token: cannot read the file"),
        ({"web_token": TOKEN, "web_operator_token": TOKEN}, "web-token and web-operator-token must differ"),
        ({"web_token": TOKEN, "insecure": True}, "web-token and insecure contradict each other"),
        ({"web_name": "a b"}, "web-name must be names"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_sink("web://:8080", SinkOptions(**options))  # type: ignore[arg-type]
    assert str(caught.value).startswith(wrong)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_outputs_of_one_port_have_the_same_tokens() -> None:
    port = free_port()
    with stream(f"web://:{port}/door", web_token=TOKEN):
        other = open_sink(f"web://:{port}/yard", SinkOptions(web_token="another-token"))
        assert isinstance(other, WebSink)
        with pytest.raises(UsageError, match=f"another output has port {port} with other tokens"):
            other.acquire()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there the command line can be overwritten")
def test_a_token_is_in_no_list_of_processes_and_no_log(small_model: Path) -> None:
    port = free_port()
    words = ["run", "test://", f"web://:{port}", "--model", str(small_model), "--web-token", TOKEN]
    words += [f"--web-operator-token={OPERATOR}", "--log-level", "debug"]
    command = subprocess.Popen([COMMAND, *words], stderr=subprocess.PIPE, env=os.environ)
    try:

        def is_up() -> bool:
            try:
                return ask(port, "/api/streams/live/controls", Authorization=bearer(TOKEN)).status == 200
            except OSError:
                return command.poll() is not None

        wait_for(is_up, 120)
        shown = Path(f"/proc/{command.pid}/cmdline").read_bytes().decode()
        ask(port, f"/login?token={TOKEN}")
        ask(port, f"/streams/{TOKEN}")
        changed = ask(port, "/api/streams/live/controls", "PATCH", '{"hold": 7}', Authorization=bearer(OPERATOR))
        command.terminate()
        _, said = command.communicate(timeout=60)
    finally:
        command.kill()
    assert changed.status == 200
    assert "--web-token" in shown
    for secret in (TOKEN, OPERATOR):
        assert secret not in shown
        assert secret not in said.decode()

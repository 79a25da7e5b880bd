"""Addresses with logins: which @ ends a password, and how it is written for others to read."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.net.address import Address, origin
from saliency_tubes.stream.net.login import LOGINS
from saliency_tubes.stream.net.redact import redact, secrets
from saliency_tubes.stream.sources.open import open_source


def escaped(uri: str) -> str:
    """As libraries are given it."""
    return Address.parse(uri).full.reveal()


@pytest.mark.parametrize(
    ("uri", "login", "host", "rest"),
    [
        ("rtsp://user:pa@ss/word#1@host:554/path", "user:pa@ss/word#1", "host:554", "/path"),
        ("rtsp://user:a/b@host/path", "user:a/b", "host", "/path"),
        ("rtsp://user:a#b@host/path", "user:a#b", "host", "/path"),
        ("rtsp://user:a?b@host", "user:a?b", "host", ""),
        ("rtsp://user:a@b@host/path", "user:a@b", "host", "/path"),
        ("rtsp://user:100%@host/path", "user:100%", "host", "/path"),
        ("rtsp://user:%zz%4@host/path", "user:%zz%4", "host", "/path"),
        ("rtsp://user:a[1]b@host/path", "user:a[1]b", "host", "/path"),
        ("rtsp://user:a b@host/path", "user:a b", "host", "/path"),
        ("rtsp://user:\uff0f@host/path", "user:\uff0f", "host", "/path"),
        ("rtsp://user:12/34@10.0.0.9/live?x=a@b.c", None, "", ""),
        ("rtsp://user:a/b@host/path?mail=me@example.com", "user:a/b", "host", "/path?mail=me@example.com"),
        ("rtsp://user:a@b/c@[::1]:554/path", "user:a@b/c", "[::1]:554", "/path"),
        ("rtsp://user:a@b/c@192.168.0.2/path", "user:a@b/c", "192.168.0.2", "/path"),
        ("rtsp://user:a/b@:8554/path", "user:a/b", ":8554", "/path"),
        ("mqtt://user:a/b#c@broker/topic", "user:a/b#c", "broker", "/topic"),
        ("hook+https://user:a/b@host/x?class=1", "user:a/b", "host", "/x?class=1"),
    ],
)
def test_a_password_is_understood(uri: str, login: str | None, host: str, rest: str) -> None:
    if login is None:
        with pytest.raises(UsageError, match="two ways"):
            escaped(uri)
        return
    made = escaped(uri)
    parts = urlsplit(made)
    where = parts.netloc.rpartition("@")[2]
    assert (where, made.partition(f"@{host}")[2]) == (host, rest)
    assert unquote(parts.username or "") + ":" + unquote(parts.password or "") == login
    assert escaped(made) == made
    password = login.partition(":")[2]
    for form in (uri, made):
        assert password not in redact(form)
        assert password not in Address.parse(uri).scrub(f"cannot open {password}: {form}")
        assert password not in repr(Address.parse(form))
        assert unquote(password) in secrets(made)


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://host/path",
        "rtsp://host:554/cam@1/live",
        "rtsp://camera:554/cam@1",
        "rtsp://me:pw@host/cam@1",
        "rtsp://me:pw@10.0.0.9/stream@hd",
        "rtsp://me:pw@host:554/stream@hd",
        "rtsp://me:pw@host/x?mail=a@b.c",
        "http://10.0.0.9:80/x@y",
        "http://localhost:8080/@me/live.m3u8",
        "http://camera:8080/live?mail=me@example.com",
        "http://host/x?mail=me@example.com",
        "rtsp://@:8554/x",
        "rtsp://me:p%40ss@host/x",
        "rtsp://me:pa:ss@host/x",
        "mqtt://TOKEN@host/topic",
        "udp://@239.0.0.1:1234",
        "gst://rtspsrc location=rtsp://me:a/b@host/x ! decodebin",
        "test://?size=1x1",
        "clip@2.mp4",
        "a:b/c@d.mp4",
        "file:///a:b/c@d.mp4",
        "",
    ],
)
def test_what_has_no_such_password_stays(uri: str) -> None:
    assert escaped(uri) == uri


@pytest.mark.parametrize("password", ["hush/12", "hush@a/b", "12/34hush", "12#hush", "12?hush", "a?b=hush"])
def test_what_can_be_read_in_two_ways_is_told_without_it(password: str) -> None:
    uri = f"rtsp://me:{password}@one/two@three/x" if password.startswith("hush") else f"rtsp://me:{password}@cam/x"
    with pytest.raises(UsageError) as caught:
        Config(uri)
    assert "hush" not in str(caught.value)
    assert "me" not in str(caught.value).split(":")[0]
    assert str(caught.value).count("\n") == 0


def test_rtmp_sends_logins_as_they_are_written() -> None:
    assert escaped("rtmp://me:100%@host/app") == "rtmp://me:100%@host/app"
    with pytest.raises(UsageError, match="cannot have / "):
        escaped("rtmp://me:a/hush@host/app")


@given(
    st.sampled_from(sorted(LOGINS)),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1),
)
def test_any_password_is_read_back_or_refused(scheme: str, password: str) -> None:
    uri = f"{scheme}://me:{password}@10.0.0.9:554/x"
    try:
        made = escaped(uri)
    except UsageError:
        return
    if scheme.startswith("rtmp"):
        assert made == uri
        return
    parts = urlsplit(made)
    if parts.hostname == "10.0.0.9":
        assert unquote(parts.password or "") == unquote(password)
    assert escaped(made) == made


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://me:hush@Camera/a", "HTTP://camera:80/b?c", True),
        ("rtsps://camera/a", "rtsps://camera:322/b", True),
        ("http://camera/a", "https://camera/a", False),
        ("rtsp://camera/a", "rtsp://camera:555/a", False),
        ("rtsp://camera/a", "rtsp://camera.evil/a", False),
    ],
)
def test_whose_login_is_whose(one: str, other: str, same: bool) -> None:
    assert (origin(one) == origin(other)) is same


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("rtsp://", "rtsp://: name the server, as in rtsp://camera:554/path"),
        ("rtsp://me:hush@:554/live", "name the server"),
        ("http:///live.m3u8", "name the server, as in http://camera:80/path"),
        ("rtsp://camera:99999/live", "rtsp://camera:99999/live: the port must be a number from 1 to 65535"),
        ("rtsp://camera:0/live", "the port must be"),
        ("rtsp://camera:/live", "the port must be"),
    ],
)
def test_an_input_without_a_server_or_with_no_port_is_refused_before_it_is_asked(uri: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        open_source(uri)
    assert says in str(error.value)
    assert "hush" not in str(error.value)

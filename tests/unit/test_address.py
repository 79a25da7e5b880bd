"""An address is parsed once, and what is printed of it does not depend on what it keeps secret."""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.net.address import SERVED, WEB_NAME, Address
from saliency_tubes.stream.net.login import LOGINS
from saliency_tubes.stream.net.secret import Login, Secret
from saliency_tubes.stream.sinks.base import SinkOptions
from saliency_tubes.stream.sinks.open import open_sink

PLACE = "10.0.0.9:554/x"
"""with a host that can be nothing else"""
SIGNS = st.characters(codec="utf-8", exclude_categories=["Cs"])
PASSWORDS = st.text(SIGNS, min_size=1, max_size=40)
HARD = st.text(st.sampled_from("pw4/?#@:[]% =&'\"*\t\u00a0\uff0f\u2100"), min_size=1, max_size=16)
"""those of characters that end a login, a host or a query, or that urlsplit refuses"""
PARTLY_ESCAPED = st.lists(
    st.sampled_from([*"pw4/?#@:[] &\uff0f", "%44", "%40", "%2F", "%2f", "%5b", "%20", "%"]), min_size=4, max_size=16
).map("".join)
"""those of which the user escaped some characters, also some that need it not"""


def printed(text: str) -> list[str]:
    """What is printed of an address; of one that cannot be parsed, why."""
    try:
        address = Address.parse(text)
    except UsageError as error:
        return [str(error)]
    config = Config(address, (address,))
    return [str(address), repr(address), f"{address}", f"{address!r:>9}", repr(config)]


def fields(text: str) -> list[str]:
    """All the fields of an address, printed."""
    return [*map(repr, vars(Address.parse(text)).values())]


def parts_of(password: str, size: int = 4) -> set[str]:
    """Every part of that many characters, however the password is written."""
    written = (password, quote(password), quote(password, safe=""), " ".join(password.split()))
    return {form[start : start + size] for form in written for start in range(len(form) - size + 1)}


def harmless(scheme: str, user: str) -> str:
    """All that is printed of addresses with other passwords, and of those that are refused, for every reason."""
    others = (f"{user}:@{PLACE}", "me:a/b@c/d@e/f", "me:%5B@[/x", "me:a/b@10.0.0.9/x", "10.0.0.9:0/x")
    return " ".join(text for other in others for text in printed(f"{scheme}://{other}"))


@given(st.sampled_from(sorted(LOGINS)), PASSWORDS | HARD, st.sampled_from(["me", ""]))
def test_nothing_that_is_printed_holds_a_part_of_a_password(scheme: str, password: str, user: str) -> None:
    known = harmless(scheme, user)
    for text in printed(f"{scheme}://{user}:{password}@{PLACE}"):
        assert not {part for part in parts_of(password) if part in text and part not in known}, text


@given(st.sampled_from(sorted(LOGINS)), PASSWORDS | HARD, PASSWORDS | HARD)
def test_what_is_printed_does_not_depend_on_the_password(scheme: str, one: str, other: str) -> None:
    """Nor does why an address is refused, but for which of few reasons it is."""
    first, second = (f"{scheme}://me:{password}@{PLACE}" for password in (one, other))
    if _error(first) is None and _error(second) is None and _place(first) == _place(second):
        assert printed(first) == printed(second)
        assert fields(first) == fields(second)
    for uri in (first, second):
        error = _error(uri)
        assert error is None or error.partition("://: ")[0] == scheme
        assert error is None or error.partition("://: ")[2][:26] in (
            "the address can be read in",
            "the address makes no sense",
            "a user name or password ca",
        )


def _error(uri: str) -> str | None:
    try:
        Address.parse(uri)
    except UsageError as error:
        return str(error)
    return None


def _place(uri: str) -> tuple[str, int | None]:
    address = Address.parse(uri)
    return address.host, address.port


@given(st.sampled_from(sorted(LOGINS)), PASSWORDS | HARD | PARTLY_ESCAPED)
@example("mqtts", " %44@&#\uff0f\uff0f [p")
def test_what_a_library_says_is_scrubbed(scheme: str, password: str) -> None:
    uri = f"{scheme}://me:{password}@{PLACE}"
    assume(_error(uri) is None and _place(uri) == ("10.0.0.9", 554))
    address = Address.parse(uri)
    given_to_it, meant = address.full.reveal(), unquote(password)
    known = address.scrub(f"cannot open {scheme}://me:@{PLACE}: no such login")
    for quoted in (given_to_it, uri, password, quote(meant), quote(meant, safe=""), f"me:{meant}@10.0.0.9"):
        said = address.scrub(f"cannot open {quoted}: no such login")
        assert "\n" not in said
        for whole in (" ".join(form.split()) for form in (password, meant)):
            assert len(whole) < 4 or whole not in said or whole in known


@given(st.sampled_from(sorted(LOGINS)), PASSWORDS | HARD)
def test_what_is_revealed_is_parsed_again_as_the_same(scheme: str, password: str) -> None:
    uri = f"{scheme}://me:{password}@{PLACE}"
    assume(_error(uri) is None)
    address = Address.parse(uri)
    again = Address.parse(address.full.reveal())
    assert again == address
    assert (again.shown, again.login, again.host, again.port) == (
        address.shown, address.login, address.host, address.port
    )  # fmt: skip
    assert Address.parse(address) is address
    assert Address.of_url(address.full.reveal()).login == address.login
    assert pickle.loads(pickle.dumps(address)) == address


@given(st.text(SIGNS))
def test_any_text_is_an_address_or_a_mistake_told_in_one_line(text: str) -> None:
    error = _error(text)
    if error is None:
        address = Address.parse(text)
        assert address.full.reveal() == text
        assert str(address) == address.shown
    else:
        assert len(error.splitlines()) == 1


STREAM = Path(__file__).parents[2] / "stream"
OPENERS = {
    *("sinks/av_push.py", "sinks/gst_pipeline.py", "sinks/gst_rtsp.py", "sinks/mqtt.py", "sinks/webhook.py"),
    *("sources/av_feed.py", "sources/gst_description.py", "sources/rtsp_redirect.py"),
    *("web/logins.py", "web/link.py"),
}
"""files that give a library the full address, or a login, compare a token with what is shown, or print a new one"""


def test_addresses_are_taken_apart_in_one_room_and_revealed_where_they_are_opened() -> None:
    apart, revealing = set(), set()
    for path in STREAM.rglob("*.py"):
        name, source = path.relative_to(STREAM).as_posix(), path.read_text(encoding="utf-8")
        if not name.startswith("net/"):
            apart |= {name} if re.search(r"urlsplit|urlparse|split\(.://|partition\(.://", source) else set()
            revealing |= {name} if ".reveal()" in source else set()
    assert apart == set()
    assert revealing == OPENERS


SECRET = "hunter22-hunter22"


@pytest.mark.parametrize(
    "uri",
    [
        f"rtsp://me:{SECRET}@camera/live",
        f"rtmp://me:a {SECRET}@bb{SECRET}@camera/app",
        f"rtmp://a b:pw@camera/app/{SECRET}",
        f"rtmp://tok en{SECRET}@camera/app",
        f"mqtt://{SECRET}@broker/topic",
        f"hook+https://me:pw@hooks/services/{SECRET}?class=a&token={SECRET}",
        f"https://host/x?X-Amz-Signature={SECRET}&a=b",
        f"srt://h:1?passphrase={SECRET}",
        f"gst://rtspsrc location=rtsp://me:{SECRET}@b/c user-pw={SECRET} ! fakesink",
        f"test://?token={SECRET}",
        f"ftp://me:{SECRET}@host/x",
    ],
)
def test_places_that_hold_secrets(uri: str) -> None:
    address = Address.parse(uri)
    for text in printed(uri) + fields(uri):
        assert SECRET not in text
    assert SECRET in address.full.reveal()
    assert any(SECRET in word for word in address.secrets())
    assert SECRET not in address.scrub(f"cannot open {uri}")


@pytest.mark.parametrize(
    "uri",
    [
        f"rtsp://me:{SECRET}@camera:99999/x",
        f"rtsp://me:{SECRET}@camera:port/x",
        f"rtsp://me:{SECRET}",
        f"rtsp://me:{SECRET}@:99999/x",
        f"mqtt://me:{SECRET}@h:0/x",
        f"file://me:{SECRET}@h/x",
        f"http://me:{SECRET}[1@h/x@y",
    ],
)
def test_why_an_address_is_refused_tells_no_secret(uri: str) -> None:
    with pytest.raises(UsageError) as caught:
        Address.parse(uri)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


def test_a_traceback_with_all_that_is_at_hand_tells_no_secret() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "x", 1, "%s %r", (Address.parse(f"rtsp://me:{SECRET}@h/x"),) * 2, None
    )
    assert record.getMessage() == "rtsp://me:***@h/x rtsp://me:***@h/x"
    assert (repr(Secret(SECRET)), str(Secret(SECRET)), f"{Secret(SECRET)}") == ("***",) * 3
    assert repr(Login(Secret("me"), Secret(SECRET))) == "Login(user=***, password=***)"
    assert Secret(SECRET).reveal() == SECRET
    assert not Secret("")


@pytest.mark.parametrize(
    ("uri", "scheme", "host", "port", "path"),
    [
        ("rtsp://Camera:554/Live?x=1", "rtsp", "camera", 554, "/Live"),
        ("RTSPS://[::1]/a", "rtsps", "::1", None, "/a"),
        ("mqtt://me:pw@broker:1883/house/events?qos=2", "mqtt", "broker", 1883, "/house/events"),
        ("rtsp://@:0/live", "rtsp", "", 0, "/live"),
        ("rtmp://host/app/key", "rtmp", "host", None, "/***"),
        ("hook+https://host:8443/secret?class=a", "hook+https", "host", 8443, "/***"),
        ("udp://@239.0.0.1:1234", "udp", "239.0.0.1", 1234, ""),
        ("test://?size=64x64", "test", "", None, ""),
        ("csi://0", "csi", "", None, ""),
        ("gst://a ! b location=rtsp://[x", "gst", "", None, ""),
        ("v4l2:///dev/video2", "v4l2", "", None, ""),
        ("/dev/video0", "v4l2", "", None, ""),
        ("clip.mp4", "", "", None, ""),
        ("file:///a%20b.mp4", "file", "", None, ""),
        ("-", "", "", None, ""),
    ],
)
def test_parts(uri: str, scheme: str, host: str, port: int | None, path: str) -> None:
    address = Address.parse(uri)
    assert (address.scheme, address.host, address.port, address.path) == (scheme, host, port, path)
    assert address.full.reveal() == uri


def test_what_follows_the_scheme() -> None:
    assert Address.parse("gst://a ! b location=x://y").rest.reveal() == "a ! b location=x://y"
    assert Address.parse("v4l2:///dev/video2").rest.reveal() == "/dev/video2"
    assert Address.parse("/dev/video2").rest.reveal() == "/dev/video2"
    assert Address.parse(Path("a/b.mp4")).rest.reveal() == "a/b.mp4"


def test_the_query() -> None:
    address = Address.parse("hook+https://me:pw@h/p?class=a&over=0.3&token=x&y=1%202&over=0.5&empty=#f")
    assert address.query == {"class": "a", "over": "0.5", "token": "***", "y": "1 2", "empty": ""}
    assert address.without(("class", "over")).full.reveal() == "hook+https://me:pw@h/p?token=x&y=1+2&empty=#f"
    assert address.without(("class", "over")).without_login.reveal() == "hook+https://h/p?token=x&y=1+2&empty=#f"
    assert address.fragment == "f"
    assert Address.parse("mqtt://h/house/#").fragment == ""
    assert Address.parse("mqtt://me:a#b@h/home").fragment is None


def test_the_login() -> None:
    assert Address.parse("rtsp://me:a/b@h/x").login == Login(Secret("me"), Secret("a/b"))
    assert Address.parse("rtsp://h/x@y").login is None
    assert Address.parse("rtsp://@h/x").login == Login(Secret(""), Secret(""))
    assert Address.parse("rtsp://me:a/b@h:1/x@y").without_login.reveal() == "rtsp://h:1/x@y"
    moved = Address.of_url("rtsp://h:2/z").with_login_of(Address.parse("rtsp://me:a/b@h:1/x"))
    assert moved.full.reveal() == "rtsp://me:a%2Fb@h:2/z"
    assert Address.parse("http://h/x@y").without_login.reveal() == "http://h/x@y"


def test_equal_where_the_texts_are() -> None:
    one, same, other = map(Address.parse, ("rtsp://me:a@h/x", "rtsp://me:a@h/x", "rtsp://me:b@h/x"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert str(one) == str(other)


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        *((uri, True) for uri in ("rtsp://h/x", "/dev/video0", "v4l2:///dev/video0", "csi://0", "gst://x", "udp://:1")),
        *((uri, None) for uri in ("clip.mp4", "file:///clip.mp4", "test://?frames=3", "-")),
    ],
)
def test_what_comes_live(uri: str, live: bool | None) -> None:
    assert Address.parse(uri).comes_live is live


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("rtsp://me:a@host/x", "rtsp://you:b@HOST:554/x", True),
        ("rtsp://host/x?a=1", "rtsp://host/x?a=2", False),
        ("rtsp://host/x", "rtsp://host/y", False),
        ("rtsp://@/x", "rtsp://me:pw@127.0.0.1:8554/x", True),
        ("rtsp://@/x", "rtsp://@:8555/x", False),
        ("web://:8080", f"web://127.0.0.1/{WEB_NAME}/", True),
        ("web://:8080/a", "web://:8080/b", False),
        ("a.mp4", "./a.mp4", True),
        ("a.mp4", "b.mp4", False),
        ("x/../%d.png", "%d.png", True),
        ("rtmp://h/a/b", "rtmp://h/a/b", True),
        ("rtmp://h/a/b", "rtmp://h/a/c", False),
        ("-", "-", True),
    ],
)
def test_two_names_of_one_place(one: str, other: str, same: bool) -> None:
    places = [Address.parse(uri).place("127.0.0.1") for uri in (one, other)]
    assert (places[0] == places[1]) is same


def test_two_names_of_one_file(tmp_path: Path) -> None:
    clip, link = tmp_path / "clip 1.mp4", tmp_path / "link.mp4"
    clip.touch()
    link.symlink_to(clip)
    names = (clip, str(link), clip.as_uri(), f"{tmp_path}/../{tmp_path.name}/clip 1.mp4")
    assert len({Address.parse(name).place("127.0.0.1") for name in names}) == 1


def test_where_it_is_served() -> None:
    assert Address.parse("rtsp://@/x").served_at("0.0.0.0") == ("0.0.0.0", SERVED["rtsp"][1], "/x")
    assert Address.parse("rtsp://@[::1]:0/x").served_at("0.0.0.0") == ("::1", 0, "/x")
    assert Address.parse("web://:80/a").served_at("127.0.0.1") == ("127.0.0.1", 80, "/a")


def test_sinks_take_what_a_user_writes(tmp_path: Path) -> None:
    for given_as in (tmp_path / "a.jsonl", str(tmp_path / "a.jsonl"), Address.parse(tmp_path / "a.jsonl")):
        assert open_sink(given_as, SinkOptions()).name == str(tmp_path / "a.jsonl")

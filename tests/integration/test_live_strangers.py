"""Servers that name other places: what a remote playlist can reach, and who gets to see a login."""

from __future__ import annotations

import base64
import http.client
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from barcodes import read_barcode
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.app.config import Config
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.net.web_gate import Gate
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, accepting, python_with_gi
from web import make_hls, web

BACKENDS = [
    "av",
    pytest.param("gst", marks=pytest.mark.skipif(not available(), reason="this Python has no GStreamer")),
]
HOSTS = ["127.0.0.1", "127.0.0.2"]
"""of the server that is led to; the first server has the first one's address, and another port"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What a web server serves, and what it does not: live.m3u8 with three segments in each."""
    made = tmp_path_factory.mktemp("public"), tmp_path_factory.mktemp("private")
    for folder in made:
        make_hls(folder, "live", ended=True)
    return made


def watch(address: str, backend: str, frames: int = 75, **options: Any) -> list[int | None]:
    """The numbers of the frames that come, until nothing comes any more."""
    read: list[int | None] = []
    patience = SourceOptions(backend=backend, retries=0, first_timeout=1.0, open_timeout=3.0, stall=3.0, **options)
    source = None
    try:
        source = open_source(address, patience)
        read.extend(read_barcode(frame.picture.planes[0]) for frame in islice(source, frames))
    except SourceError:
        pass
    finally:
        if source is not None:
            source.close()
    return read


@pytest.mark.slow
@pytest.mark.parametrize("place", ["segment", "later segment", "playlist", "key", "header"])
@pytest.mark.parametrize(
    "form", ["file://{}", "FILE://{}", "file:{}", "concat:{}", "subfile,,start,0,end,0,,:{}", "udp://127.0.0.1:9"]
)
def test_a_remote_playlist_reaches_no_file_of_this_machine(
    folders: tuple[Path, Path], backend: str, place: str, form: str
) -> None:
    public, private = folders
    named = form.format(private / ("live.m3u8" if place == "playlist" else "live0.ts"))
    own = (public / "live.m3u8").read_text()
    text = {
        "segment": own.replace("live0.ts", named).replace("live1.ts", named).replace("live2.ts", named),
        "later segment": own.replace("live1.ts", named).replace("live2.ts", named),
        "playlist": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000000\n{named}\n",
        "key": own.replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{named}"\n#EXTINF', 1),
        "header": own.replace("#EXTINF", f'#EXT-X-MAP:URI="{named}"\n#EXTINF', 1),
    }[place]
    (public / "bad.m3u8").write_text(text)
    with web(public) as address:
        read = watch(f"{address}/bad.m3u8", backend)
    # Of the segments that the server has itself, as they are; never the first one's frames again, from another place.
    assert len([number for number in read if number is not None and number < 25]) <= 25
    if place not in ("later segment", "header"):
        assert read == []
    elif place == "later segment":
        assert 25 not in read or 49 in read


@pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
@pytest.mark.parametrize("form", ["segment", "playlist"])
def test_what_is_refused_is_named(folders: tuple[Path, Path], form: str) -> None:
    public, private = folders
    named = f"file://{private / 'live0.ts'}"
    tag = {"segment": "#EXTINF:1,", "playlist": "#EXT-X-STREAM-INF:BANDWIDTH=9"}[form]
    (public / "bad.m3u8").write_text(f"#EXTM3U\n{tag}\n{named}\n")
    with web(public) as address, pytest.raises(SourceError, match=rf"it names {named}: only what is on web servers"):
        open_source(f"{address}/bad.m3u8", SourceOptions(backend="gst", first_timeout=0.5))


@pytest.mark.skipif(not available(), reason="this Python has no GStreamer")
def test_what_no_playlist_was_rewritten_for_reaches_no_file_either(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a list of another format would be, which is not known here."""
    public, private = folders
    text = (public / "live.m3u8").read_text().replace("live", f"file://{private}/live")
    (public / "bad.m3u8").write_text(text)
    monkeypatch.setattr(Gate, "rewritten", lambda gate, playlist, base: playlist)
    with web(public) as address, pytest.raises(SourceError, match=r"it names file://.*live0\.ts"):
        open_source(f"{address}/bad.m3u8", SourceOptions(backend="gst", first_timeout=0.5))


class Leading(http.server.SimpleHTTPRequestHandler):
    """A server whose files are at `elsewhere`, or whose playlists name them there; notes who logs in."""

    def __init__(
        self, *arguments: Any, logins: list[str], elsewhere: str = "", asks: bool = False, **rest: Any
    ) -> None:
        self.logins, self.elsewhere, self.asks = logins, elsewhere, asks
        super().__init__(*arguments, **rest)

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.logins.append(self.headers.get("Authorization", ""))
        how, _, name = self.path.lstrip("/").rpartition("/")
        if self.asks and not self.logins[-1]:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "all" or (how == "segments" and name.endswith(".ts")):
            self.send_response(302)
            self.send_header("Location", f"{self.elsewhere}/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif how == "named":
            data = Path(self.directory, name).read_text().replace("live", f"{self.elsewhere}/live").encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        else:
            self.path = f"/{name}"
            super().do_GET()


@contextmanager
def leading(folder: Path, host: str, logins: list[str], **how: Any) -> Iterator[str]:
    handler = partial(Leading, directory=str(folder), logins=logins, **how)
    server = http.server.ThreadingHTTPServer((host, 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("how", ["all", "segments", "named"])
@pytest.mark.parametrize("asks", [False, True])
def test_a_login_is_for_the_web_server_it_was_given_for(
    folders: tuple[Path, Path], backend: str, host: str, how: str, asks: bool
) -> None:
    first: list[str] = []
    second: list[str] = []
    with (
        leading(folders[0], host, second, asks=asks) as other,
        leading(folders[0], "127.0.0.1", first, elsewhere=f"http://{other}", asks=True) as own,
    ):
        read = watch(f"http://me:hush@{own}/{how}/live.m3u8", backend, 10)
    assert any(first)
    assert second
    assert not any(second)
    assert bool(read) != asks


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["file://", "ftp://127.0.0.1:9"])
def test_a_redirect_leads_to_web_servers_alone(folders: tuple[Path, Path], backend: str, scheme: str) -> None:
    with leading(folders[0], "127.0.0.1", [], elsewhere=f"{scheme}{folders[1]}") as own:
        assert watch(f"http://{own}/all/live.m3u8", backend) == []
        assert watch(f"http://{own}/segments/live.m3u8", backend) == []


def rtsp_requests(connection: socket.socket) -> Iterator[tuple[str, dict[str, str]]]:
    """Method and headers of each request on a connection."""
    with connection.makefile("rb") as file:
        while line := file.readline():
            headers = {}
            while head := file.readline().strip():
                name, _, value = head.decode().partition(": ")
                headers[name] = value
            yield line.decode().split()[0], headers


def rtsp_server(logins: list[str], challenge: str, location: str = "") -> Any:
    """For `accepting`: asks for a login, and leads whoever has one to `location`."""

    def talk(connection: socket.socket) -> None:
        for method, headers in rtsp_requests(connection):
            logins.append(headers.get("Authorization", ""))
            if method == "OPTIONS":
                answer = "200 OK\r\nPublic: DESCRIBE, SETUP, PLAY"
            elif location and logins[-1]:
                answer = f"302 Moved Temporarily\r\nLocation: {location}"
            else:
                answer = f"401 Unauthorized\r\nWWW-Authenticate: {challenge}"
            connection.sendall(f"RTSP/1.0 {answer}\r\nCSeq: {headers['CSeq']}\r\n\r\n".encode())

    return talk


RAW = "hu/sh#1@%zz[?"
"""a password as it is, in an address as nobody should write it"""


def test_a_connection_that_is_made_while_the_gate_closes_is_ended() -> None:
    """Nobody would read from it, and its thread would wait for the server."""
    heard: list[bytes] = []
    with accepting(lambda connection: heard.append(connection.recv(4096))) as port:
        gate = Gate(Address.parse(f"http://127.0.0.1:{port}/live.m3u8"), None)
        gate.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            gate.fetch(urlsplit(gate.url).path, {})
    assert heard in ([], [b""])


@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer")
def test_a_password_with_signs_of_addresses_opens_the_camera(backend: str) -> None:
    with RtspServer(user="me", password=RAW) as camera:
        uri = Config(camera.url(f"me:{RAW}")).input
        source = open_source(uri, SourceOptions(backend=backend))
        assert len(list(islice(source, 5))) == 5
        source.close()
        with pytest.raises(SourceError, match=r"wrong user or password \(401\)") as caught:
            open_source(uri.full.reveal().replace("sh", "5h"), SourceOptions(backend=backend))
        assert str(caught.value) == f"{camera.url('me:***')}: wrong user or password (401)"


def test_a_password_with_signs_of_addresses_opens_a_web_server(folders: tuple[Path, Path], backend: str) -> None:
    logins: list[str] = []
    with leading(folders[0], "127.0.0.1", logins, asks=True) as own:
        assert watch(Config(f"http://me:{RAW}@{own}/x/live.m3u8").input, backend, 10) == list(range(10))
    assert {base64.b64decode(login.removeprefix("Basic ")).decode() for login in logins if login} == {f"me:{RAW}"}


CHALLENGES = ['Basic realm="x"', 'Digest realm="x", nonce="abc"', 'Digest realm="x", nonce="abc", qop="auth"']


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_a_login_is_for_the_rtsp_server_it_was_given_for(backend: str, challenge: str) -> None:
    first: list[str] = []
    second: list[str] = []
    with accepting(rtsp_server(second, CHALLENGES[0])) as other:
        led = f"rtsp://127.0.0.1:{other}/x"
        with (
            accepting(rtsp_server(first, challenge, led)) as own,
            pytest.raises(SourceError, match="wrong user or password"),
        ):
            open_source(f"rtsp://me:hush@127.0.0.1:{own}/x", SourceOptions(backend=backend, first_timeout=0.2))
    assert any(first)
    assert second
    assert not any(second)


@pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer")
@pytest.mark.parametrize("challenge", CHALLENGES)
def test_who_is_led_to_another_rtsp_server_gets_there(backend: str, challenge: str) -> None:
    with RtspServer() as camera, accepting(rtsp_server([], challenge, camera.url())) as own:
        source = open_source(f"rtsp://me:hush@127.0.0.1:{own}/x", SourceOptions(backend=backend))
        assert len(list(islice(source, 5))) == 5
        source.close()


def test_a_wrong_password_is_tried_once(backend: str) -> None:
    asked: list[str] = []
    with (
        accepting(rtsp_server(asked, CHALLENGES[1])) as own,
        pytest.raises((SourceError, UsageError), match="wrong user or password"),
    ):
        open_source(f"rtsp://me:hush@127.0.0.1:{own}/x", SourceOptions(backend=backend, first_timeout=0.2))
    assert sum(map(bool, asked)) == 1

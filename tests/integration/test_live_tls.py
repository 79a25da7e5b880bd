"""TLS: certificates are looked at, alike by both backends and where a stream is pushed, and what is wrong is said."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sinks.av_push import AvPushSink
from saliency_tubes.stream.sinks.base import Sink, SinkOptions
from saliency_tubes.stream.sinks.threaded import Threaded
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.gst_feed import available
from saliency_tubes.stream.sources.open import open_source
from servers import RtspServer, accepting, python_with_gi
from videos import make_info, make_shown
from waiting import LONG, ends, wait_for

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl (make system-deps)")
needs_camera = pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer")


@pytest.fixture(params=["av", "gst"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "gst" and not available():
        pytest.skip("this Python has no GStreamer: link the system's gi package into it")
    return str(request.param)


def certify(folder: Path, name: str) -> Path:
    """A certificate that `name`, an IP address, signed for itself; with its key."""
    key, signed, both = folder / "key.pem", folder / "signed.pem", folder / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", key, "-out", signed, "-days", "2", "-subj", "/CN=camera", "-addext", f"subjectAltName=IP:{name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(signed.read_bytes() + key.read_bytes())
    return both


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RtspServer]:
    """It signed its own certificate, as nearly all of them do."""
    with RtspServer(certificate=certify(tmp_path_factory.mktemp("tls"), "127.0.0.1")) as server:
        yield server


@needs_camera
def test_whom_the_user_names_is_trusted(camera: RtspServer, backend: str) -> None:
    for trusted in (str(camera.options["certificate"]), "any"):
        source = open_source(camera.url(), SourceOptions(backend=backend, tls_ca=trusted))
        assert [frame.index for frame in islice(source, 5)] == list(range(5))
        source.close()


@needs_camera
def test_others_are_not(camera: RtspServer, backend: str, tmp_path: Path) -> None:
    stranger = str(certify(tmp_path, "127.0.0.1"))
    for trusted in (None, stranger):
        told = r"certificate of 127.0.0.1 is not trusted.*--tls-ca any"
        with ends(), pytest.raises(SourceError, match=told):  # asking again would not help
            open_source(camera.url(), SourceOptions(backend=backend, tls_ca=trusted, first_timeout=3 * LONG))


@needs_camera
def test_a_certificate_for_somebody_else(backend: str, tmp_path: Path) -> None:
    certificate = certify(tmp_path, "192.0.2.1")
    with (
        RtspServer(certificate=certificate) as server,
        pytest.raises(SourceError, match=r"certificate of 127.0.0.1 is not trusted \(IP address mismatch"),
    ):
        open_source(server.url(), SourceOptions(backend=backend, tls_ca=str(certificate)))


def test_what_holds_no_certificates(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for wrong in ("nowhere.pem", str(tmp_path), str(tmp_path / "empty.pem")):
        with pytest.raises(UsageError, match="tls-ca must be a file of certificates, or any, got"):
            open_source("rtsp://camera/", SourceOptions(tls_ca=wrong))


@contextmanager
def listening(certificate: Path) -> Iterator[tuple[int, list[bytes]]]:
    """A server by TLS that says nothing: its port, and the first that each client said to it."""
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as client:
            heard.append(client.recv(1000))

    with accepting(talk) as port:
        yield port, heard


def push(uri: str, tls_ca: str | None, until: Callable[[Sink], object]) -> None:
    """Frames on their way there, until something is so."""
    info, frames = make_info(width=64, height=48), count()
    sink = Threaded(AvPushSink(Address.parse(uri), SinkOptions(tls_ca=tls_ca)))

    def written() -> bool:
        index = next(frames)
        sink.write(make_shown(index, index, info))
        return bool(until(sink))

    sink.open(info)
    try:
        wait_for(written)
    finally:
        sink.close()


PUSHED = ["rtsps://me:hush@127.0.0.1:{}/live", "rtmps://127.0.0.1:{}/live/hush"]


@pytest.mark.parametrize("address", PUSHED)
def test_nothing_is_pushed_to_a_stranger(address: str, tmp_path: Path) -> None:
    with listening(certify(tmp_path, "127.0.0.1")) as (port, heard):
        said: list[str] = []
        push(address.format(port), None, lambda sink: said.extend(sink.notes) or said)
    assert "the certificate of 127.0.0.1 is not trusted" in said[0]
    assert "--tls-ca any" in said[0]
    assert not any(heard)


@pytest.mark.parametrize("address", PUSHED)
@pytest.mark.parametrize("anybody", [True, False])
def test_whom_the_user_names_is_pushed_to(address: str, anybody: bool, tmp_path: Path) -> None:
    folder = tmp_path / "with:a = colon"
    folder.mkdir()
    certificate = certify(folder, "127.0.0.1")
    with listening(certificate) as (port, heard):
        push(address.format(port), "any" if anybody else str(certificate), lambda sink: any(heard))
        assert heard[0].startswith((b"OPTIONS rtsp", b"\x03"))

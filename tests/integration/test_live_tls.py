"""RTSP over TLS: certificates are looked at, alike by both backends, and what is wrong with one is said."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from saliency_tubes.engine.errors import SourceError, UsageError
from saliency_tubes.stream.gst_feed import available
from saliency_tubes.stream.source import SourceOptions, open_source
from servers import RtspServer, python_with_gi

pytestmark = [
    pytest.mark.skipif(python_with_gi() is None, reason="no Python here has GstRtspServer (make system-deps)"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl (make system-deps)"),
]


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


def test_whom_the_user_names_is_trusted(camera: RtspServer, backend: str) -> None:
    for trusted in (str(camera.options["certificate"]), "any"):
        source = open_source(camera.url(), SourceOptions(backend=backend, tls_ca=trusted))
        assert [frame.index for frame in islice(source, 5)] == list(range(5))
        source.close()


def test_others_are_not(camera: RtspServer, backend: str, tmp_path: Path) -> None:
    stranger = str(certify(tmp_path, "127.0.0.1"))
    for trusted in (None, stranger):
        start = time.monotonic()
        with pytest.raises(SourceError, match=r"certificate of 127.0.0.1 is not trusted.*--tls-ca any"):
            open_source(camera.url(), SourceOptions(backend=backend, tls_ca=trusted))
        assert time.monotonic() - start < 5  # asking again would not help


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
            SourceOptions(tls_ca=wrong)

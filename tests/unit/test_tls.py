"""Whom to trust, where the system says so in its own way."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest
from saliency_tubes.stream.net import tls


def test_ffmpeg_is_told_of_a_file_where_python_knows_of_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Ubuntu without /etc/ssl/cert.pem: FFmpeg by itself would trust nobody."""
    known = SimpleNamespace(cafile=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: known)
    bundle, other = tmp_path / "bundle.crt", tmp_path / "other.pem"
    monkeypatch.setattr(tls, "BUNDLES", (str(tmp_path / "none.crt"), str(tmp_path), str(bundle), str(other)))
    assert tls.checks(None) == {"tls_verify": "1"}
    other.touch()
    bundle.touch()
    assert tls.checks(None) == {"tls_verify": "1", "ca_file": str(bundle)}
    known.cafile = "python.pem"
    assert tls.checks(None) == {"tls_verify": "1", "ca_file": "python.pem"}
    assert tls.checks("mine.pem") == {"tls_verify": "1", "ca_file": "mine.pem"}
    assert tls.checks(tls.ANY) == {"tls_verify": "0"}


def test_the_usual_places() -> None:
    assert all(path.startswith("/etc/") for path in tls.BUNDLES)
    assert "/etc/ssl/certs/ca-certificates.crt" in tls.BUNDLES

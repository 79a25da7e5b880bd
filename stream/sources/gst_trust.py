"""Whom a pipeline's elements trust, and where they may connect to."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ..media.gst_load import load
from ..net.address import Address
from ..net.tls import ANY
from ..net.web_gate import Gate
from .feed import FeedLost


def prepare(element: Any, trusted: Any, gate: Gate | None) -> None:
    """Sets up an element that a pipeline has just added. trusted: as for `trust`.

    gate: what all requests over http(s) go through, if that is where the pipeline reads.
    """
    factory = element.get_factory()
    if factory is None:
        return
    if factory.get_name() == "multipartdemux":
        element.set_property("single-stream", True)  # for MJPEG: otherwise the element waits for more streams
    elif gate is None and factory.get_name() == "souphttpsrc":
        trust(element, trusted)
    elif gate is not None and "Source" in factory.get_metadata("klass"):
        # The gate knows HLS playlists. Other things may name an address too, so each element's address is checked.
        where = element.get_uri() if hasattr(element, "get_uri") else None
        if factory.get_name() != "souphttpsrc" or (where and not gate.leads(where)):
            gate.refuse(where or factory.get_name())
            types = import_module("gi.repository.Gst")
            for pad in element.pads:
                pad.add_probe(types.PadProbeType.DATA_DOWNSTREAM, lambda *_: types.PadProbeReturn.DROP)


def gate_to(address: Address, tls_ca: str | None) -> Gate:
    """The gate that all requests over http(s) go through. Raises FeedLost."""
    try:
        return Gate(address, tls_ca)
    except (OSError, ValueError):
        raise FeedLost(f"no certificates can be read from {tls_ca}") from None


def trusted_by(tls_ca: str | None) -> Any:
    """The certificates for `trust`. Raises FeedLost if the file cannot be read: somebody may just be replacing it."""
    if tls_ca in (None, ANY):
        return tls_ca
    try:
        return gio().TlsFileDatabase.new(os.path.abspath(tls_ca))
    except load().GLib.Error:
        raise FeedLost(f"no certificates can be read from {tls_ca}") from None


def trust(source: Any, trusted: Any) -> None:
    """Sets which certificates a connecting element accepts; by default it accepts those that the system trusts."""
    if trusted == ANY:
        strict = "ssl-strict" if source.find_property("ssl-strict") else "tls-validation-flags"
        source.set_property(strict, False if strict == "ssl-strict" else gio().TlsCertificateFlags(0))
    elif trusted is not None:
        source.set_property("tls-database", trusted)


def gio() -> Any:
    return import_module("gi.repository.Gio")


def is_video(source: Any, number: int, caps: Any) -> bool:
    return str(caps.get_structure(0).get_string("media")) == "video"

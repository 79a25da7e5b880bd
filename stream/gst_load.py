"""GStreamer from Python, imported when something is opened that needs it."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from ..engine.errors import TubesError

PACKAGES = (
    "python3-gi python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly glib-networking"
)
"""on Debian and Ubuntu"""


_loading = threading.Lock()


class Missing(Exception):
    """GStreamer, its Python binding or a part of it is not installed; the message is one line that says what to do."""


def load(*parts: str) -> Any:
    """A namespace with GLib, Gst and the parts asked for (GstApp, GstRtspServer...). Raises Missing."""
    with _loading:  # who comes second would find a registry that is still being filled
        return _load(parts)


def need(error: type[TubesError], name: str, *parts: str) -> Any:
    """`load`, with what is missing told as an error of `name`."""
    try:
        return load(*parts)
    except Missing as missing:
        raise error(f"{name}: {missing}") from None


def _keep_exceptions() -> None:
    """Lets C++ exceptions be unwound by the compiler's own library, whatever is loaded later.

    GStreamer brings libunwind, which has functions of the same names, and its Python binding loads it for all the
    process to see: the first exception in a runtime loaded afterwards would end the process.
    """
    with suppress(OSError):  # another C library, without GStreamer's libunwind
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


@cache
def _load(parts: tuple[str, ...]) -> Any:
    _keep_exceptions()
    try:
        gi: Any = import_module("gi")
    except ImportError:
        raise Missing(
            f"needs GStreamer and its Python binding: apt-get install {PACKAGES}, and in a virtual environment link "
            "the system's dist-packages/gi into its site-packages"
        ) from None
    found: dict[str, Any] = {}
    for part in ("Gst", *parts):
        try:
            gi.require_version(part, "1.0")
        except ValueError:
            raise Missing(f"needs {part} for GStreamer: apt-get install {PACKAGES}") from None
    for part in ("GLib", "Gst", *parts):
        found[part] = getattr(import_module("gi.repository"), part, None) or import_module(f"gi.repository.{part}")
    found["Gst"].init(None)
    return SimpleNamespace(**found)

"""GStreamer from Python, imported when something is opened that needs it."""

from __future__ import annotations

import ctypes
import sys
import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ...engine.errors import TubesError

PACKAGES = (
    "python3-gi python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly glib-networking"
)
"""The command that installs GStreamer on Debian and Ubuntu."""
SYSTEM_BINDING = Path("/usr/lib/python3/dist-packages/gi")
"""Where Debian and Ubuntu keep the Python binding. Pip has none for Linux, and virtual environments do not look there.
"""


_loading = threading.Lock()


class Missing(Exception):
    """GStreamer, its Python binding or a part of it is not installed; the message is one line that says what to do."""


def load(*parts: str) -> Any:
    """A namespace with GLib, Gst and the parts asked for (GstApp, GstRtspServer...). Raises Missing."""
    with _loading:  # a second thread would find a registry that is still being filled
        return _load(parts)


def need(error: type[TubesError], name: str, *parts: str) -> Any:
    """`load`; what is missing is raised as an `error` that begins with `name`."""
    try:
        return load(*parts)
    except Missing as missing:
        raise error(f"{name}: {missing}") from None


def _keep_exceptions() -> None:
    """Lets C++ exceptions be unwound by the compiler's own library, whatever is loaded later.

    GStreamer brings libunwind, which has functions of the same names, and its Python binding loads it for all the
    process to see: the first exception in a runtime loaded afterwards would end the process.
    """
    with suppress(OSError):  # a system with another C library, where GStreamer brings no libunwind
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)


def find_binding() -> Any:
    """The module gi: this environment's, or the system's if it is built for this Python. Raises Missing."""
    with suppress(ImportError):
        return import_module("gi")
    tags = {path.name.split(".")[1].split("-")[1] for path in SYSTEM_BINDING.glob("_gi.cpython-*.so")}
    if not tags:
        raise Missing(f"needs GStreamer and its Python binding: apt-get install {PACKAGES}")
    major, minor = sys.version_info[:2]
    if f"{major}{minor}" not in tags:
        built = " and ".join(sorted(f"{tag[0]}.{tag[1:]}" for tag in tags))
        raise Missing(
            f"GStreamer's Python binding is installed for Python {built}, and this is Python {major}.{minor}: make the "
            f"virtual environment with that one, or with --system-site-packages"
        )
    spec = spec_from_file_location(
        "gi", SYSTEM_BINDING / "__init__.py", submodule_search_locations=[str(SYSTEM_BINDING)]
    )
    assert spec is not None
    assert spec.loader is not None
    gi = module_from_spec(spec)
    sys.modules["gi"] = gi
    try:
        spec.loader.exec_module(gi)
    except ImportError as error:
        del sys.modules["gi"]
        raise Missing(f"GStreamer's Python binding in {SYSTEM_BINDING} cannot be loaded: {error}") from None
    return gi


@cache
def _load(parts: tuple[str, ...]) -> Any:
    _keep_exceptions()
    gi = find_binding()
    modules: dict[str, Any] = {}
    for part in ("Gst", *parts):
        try:
            gi.require_version(part, "1.0")
        except ValueError:
            raise Missing(f"needs {part} for GStreamer: apt-get install {PACKAGES}") from None
    for part in ("GLib", "Gst", *parts):
        modules[part] = getattr(import_module("gi.repository"), part, None) or import_module(f"gi.repository.{part}")
    modules["Gst"].init(None)
    return SimpleNamespace(**modules)

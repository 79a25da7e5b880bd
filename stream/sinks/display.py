"""display://: a window with the drawn video, through OpenCV."""

from __future__ import annotations

import ctypes
import os
import sys

import cv2

from ...engine.errors import SinkError, UsageError, one_line
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import Address
from .base import Sink

QUIT = (ord("q"), ord("Q"), 27)
"""keys that end the run; 27 is ESC"""
WINDOW = "saliency-tubes"
WITH_WINDOWS = (
    f"{sys.executable} -m pip uninstall --yes opencv-python-headless && {sys.executable} -m pip install opencv-python "
    "(on Debian and Ubuntu with apt-get install libgl1 libglib2.0-0)"
)
"""The package depends on OpenCV without windows, which needs none of the system's libraries for screens."""


class DisplaySink(Sink):
    """Shows every frame in a window. q, ESC or the window's own button sets `wants_stop`.

    The window is made with the first frame, for it belongs to the thread that makes it: from any other OpenCV shows
    nothing, and says so to stderr alone. `open` may come from another thread than `write` and `close`.
    """

    shows_outages = True

    def __init__(self, address: Address) -> None:
        """Raises UsageError for display:// with anything behind it."""
        super().__init__("display://")
        if address.shown[len("display://") :].strip("/"):
            raise UsageError(f"{address}: display:// takes no name")
        self._info: VideoInfo | None = None
        self._shown = False

    def open(self, info: VideoInfo) -> None:
        check_screen()
        self._info = info
        self.description = f"window {WINDOW!r}; q or ESC ends the run"
        self.state = "running"

    def write(self, shown: Shown) -> None:
        if self._info is None:
            raise RuntimeError("display://: write() before open() or after close()")
        try:
            if not self._shown:
                cv2.namedWindow(WINDOW, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
                self._shown = True
                cv2.resizeWindow(WINDOW, self._info.width, round(self._info.height / self._info.pixel_aspect))
            cv2.imshow(WINDOW, cv2.cvtColor(shown.rgb, cv2.COLOR_RGB2BGR))
            key = cv2.waitKey(1) & 0xFF
            closed = cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            raise SinkError(f"display://: {one_line(error)}") from None
        if key in QUIT or closed:
            self.wants_stop = True
        self.frames_written += not shown.outage

    def close(self) -> None:
        self._info = None
        if self.state == "running":
            self.state = "closed"
        if self._shown:
            self._shown = False
            cv2.destroyAllWindows()  # destroyWindow raises where the user has closed it


def check_screen() -> None:
    """Raises SinkError, with what to do, where no window can be shown."""
    windows = next((line.split()[1] for line in cv2.getBuildInformation().splitlines() if "GUI:" in line), "NONE")
    if windows == "NONE":
        raise SinkError(f"display://: this OpenCV has no windows; for one that has: {WITH_WINDOWS}")
    if windows.startswith("QT") and _is_late():
        raise SinkError("display://: PyAV was loaded before OpenCV, whose windows would hang: import cv2 before av")
    # Qt ends the whole process where there is no screen, rather than raise anything.
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise SinkError("display://: there is no screen: $DISPLAY is not set")
    if os.environ.get("DISPLAY") and not _answers():
        raise SinkError(f"display://: there is no screen: {os.environ['DISPLAY']!r} ($DISPLAY) does not answer")


def _is_late() -> bool:
    """Whether PyAV was loaded before OpenCV. Both bring libraries for screens, and those that are loaded first win."""
    loaded = list(sys.modules)  # in the order of their import
    return "av" in loaded and loaded.index("av") < loaded.index("cv2")


def _answers() -> bool:
    """Whether $DISPLAY can be opened; True where that cannot be told."""
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return True
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if display:
        x11.XCloseDisplay(ctypes.c_void_p(display))
    return bool(display)

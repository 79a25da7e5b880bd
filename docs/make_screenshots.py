"""Makes docs/page-*.jpg anew: the page as a browser shows it, on a phone, a laptop and a wall.

    python docs/make_screenshots.py [one] [four]

with one stream, with four, or both. It needs chromium and ffmpeg (make system-deps), takes minutes, and is no part of
the tests: the pictures are of whatever the network is looking at when they are taken.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from browser import Page, chromium  # noqa: E402
from commands import Run  # noqa: E402
from saliency_tubes.stream.app.demo import DEMO_CLIP  # noqa: E402
from waiting import free_port, wait_for  # noqa: E402

SIZES = {390: (390, 844, 2.0), 1280: (1280, 800, 1.0), 2560: (2560, 1440, 1.0)}
"""by name: width and height in CSS pixels, and device pixels for each"""
WIDEST = 1280
"""Pixels of the widest file that is kept."""
QUALITY = 82
PARTS = {"burrow": "0", "meadow": "2.5"}
"""films that are cut from the one of the package: their names, and the second that each begins at"""
ONE = """
[[stream]]
name = "demo"
input = "demo.mp4"
outputs = ["web://:{port}/demo"]
"""
FOUR = """
[[stream]]
name = "burrow"
input = "burrow.mp4"
outputs = ["web://:{port}/burrow"]

[[stream]]
name = "meadow"
input = "meadow.mp4"
outputs = ["web://:{port}/meadow"]

[[stream]]
name = "pattern"
input = "test://?size=640x360&rate=25"
outputs = ["web://:{port}/pattern"]

[[stream]]
name = "gate"
input = "rtsp://192.168.7.20/live"
outputs = ["web://:{port}/gate"]
"""
STREAMS = {"one": ONE, "four": FOUR}
IS_DRAWN = """() => globalThis.saliencyTubes?.frame?.()?.drawn
  || [...document.querySelectorAll(".tile .label")].filter((label) => label.textContent).length >= 3"""
IS_TYPICAL = """() => {
  const said = document.querySelector(".class");
  return !said || (said.textContent === "feeding birds" && saliencyTubes.frame()?.drawn);
}"""
"""what the film is known for; always true of several streams"""
SETTINGS = "realtime = true\nloop = true\nframes = 16\nmax-age = 60\nopen-timeout = 3\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "demo.mp4").symlink_to(DEMO_CLIP)
        for part, start in PARTS.items():
            _film("-ss", start, "-t", "2.4", "-i", str(DEMO_CLIP), "-an", str(folder / "cut.mp4"))
            # one long film: where a short one begins again there is a gap, and no tube until a window is full
            _film("-stream_loop", "99", "-i", str(folder / "cut.mp4"), "-c", "copy", str(folder / f"{part}.mp4"))
        for streams in sys.argv[1:] or STREAMS:
            _take_all(folder, streams, STREAMS[streams])


def _film(*words: str) -> None:
    subprocess.run(["ffmpeg", "-y", "-loglevel", "error", *words], check=True)


def _take_all(folder: Path, streams: str, text: str) -> None:
    port = free_port()
    (folder / f"{streams}.toml").write_text(SETTINGS + text.format(port=port))
    with Run(folder, "--config", f"{streams}.toml", log=f"{streams}.log") as run:
        wait_for(lambda: "class " in run.said or run.process.poll() is not None, 240)
        time.sleep(20)  # a time line has something to show
        with chromium() as page:
            for name in SIZES:
                for theme in ("dark", "light"):
                    _keep(_taken(page, f"http://127.0.0.1:{port}/", name, theme), f"page-{streams}-{name}-{theme}.jpg")


def _taken(page: Page, url: str, name: int, theme: str) -> np.ndarray:
    width, height, scale = SIZES[name]
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": name == 390}
    page.command("Emulation.setDeviceMetricsOverride", **size)
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
    page.open(url)
    page.wait(IS_DRAWN, 120)
    page.run("() => new Promise((done) => setTimeout(done, 4000))")
    page.wait(IS_TYPICAL, 60)
    return page.screenshot()


def _keep(rgb: np.ndarray, name: str) -> None:
    if rgb.shape[1] > WIDEST:
        height = round(rgb.shape[0] * WIDEST / rgb.shape[1])
        rgb = cv2.resize(rgb, (WIDEST, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(DOCS / name), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    print(name, rgb.shape[1], rgb.shape[0])


if __name__ == "__main__":
    main()

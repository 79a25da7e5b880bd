"""How late the page shows a frame, and how many: from the pattern's own clock in the picture to the canvas.

    python tests/bench/page.py --size 1280x720 --seconds 600 --stall 5

The page is stuck for the stall's seconds after a third of the time. Chromium's GPU is played by the processor, and the
network, the encoder and the browser share it: a desktop's numbers are better.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from barcodes import read_time
from browser import Page, chromium
from livepage import luma, serve, watch
from saliency_tubes.stream.sources.pattern import lines_of

COLLECT = """(milliseconds, rows) => new Promise((done) => {
  const { stage } = saliencyTubes;
  const strip = document.createElement("canvas");
  const context = strip.getContext("2d", { willReadFrequently: true });
  const seen = [];
  let frames = 0;
  const end = stage.shown.watch(() => {
    const canvas = stage.element.querySelector("canvas");
    if (frames++ % 10) return;
    Object.assign(strip, { width: canvas.width, height: rows });
    context.drawImage(canvas, 0, 0);
    seen.push([Date.now(), strip.toDataURL("image/png").split(",")[1]]);
  });
  setTimeout(() => { end(); done([frames, seen]); }, milliseconds);
})"""
STUCK = (
    "(seconds) => { const end = performance.now() + 1000 * seconds; while (performance.now() < end) { /* stuck */ } }"
)
AT_ONCE = 5.0
"""seconds of each look"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--stall", type=float, default=5.0)
    parser.add_argument("--painter", default="", choices=("", "webgl", "canvas2d"))
    asked = parser.parse_args()
    width, height = (int(side) for side in asked.size.split("x"))
    with serve(size=(width, height)) as served, chromium() as page:
        page.command("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        watch(page, served.url, painter=asked.painter)
        begun, stalled = time.monotonic(), asked.stall <= 0
        while time.monotonic() - begun < asked.seconds:
            if not stalled and time.monotonic() - begun > asked.seconds / 3:
                page.run(STUCK, asked.stall)
                stalled = True
                print(f"stuck for {asked.stall:g} s")
            print(f"{time.monotonic() - begun:6.0f} s: {look(page, width)}", flush=True)


def look(page: Page, width: int) -> str:
    """What was seen for some seconds, in words."""
    frames, seen = page.run(COLLECT, 1000 * AT_ONCE, lines_of(width)[-1])
    delays = [late for now, data in seen if (late := delay(now, data)) is not None]
    if not delays:
        return "nothing was seen"
    middle, worst = np.median(delays), max(delays)
    return f"{frames / AT_ONCE:.1f} frames a second, {middle:.0f} ms late, {worst:.0f} ms at most"


def delay(now: int, data: str) -> float | None:
    """Milliseconds from the pattern's time in a strip of the canvas to `now`."""
    strip: Any = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    then = read_time(luma(strip[..., ::-1]))
    return None if then is None else float((now - then) % 2**32)


if __name__ == "__main__":
    main()

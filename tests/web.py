"""A web server for tests: files, MJPEG, streams that come slowly."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import av
import cv2
from saliency_tubes.stream.sources.pattern import draw
from videos import make_video

SIZE = (320, 240)
SECONDS = 6.0
"""that /slowly/ takes"""


def barcode(index: int, size: tuple[int, int]) -> Any:
    return draw(index, 0, size).rgb()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; /mjpeg: a camera at 25 frames a second, /mjpeg?frames=12: one that falls silent after so many;
    /slowly/FILE: over seconds; /stuck/FILE: what ends in 1.ts, the second segment, never comes; /denied401: refused.
    """

    asked: ClassVar[list[str]] = []
    """all paths"""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/denied"):
            self.send_error(401 if "401" in self.path else 403)
        elif self.path.startswith("/mjpeg"):
            self.mjpeg(int(self.path.partition("frames=")[2] or 100_000))
        elif self.path.startswith("/stuck/"):
            self.path = self.path.removeprefix("/stuck")
            if self.path.endswith("1.ts"):
                self.rfile.read(1)  # until the client leaves
            else:
                super().do_GET()
        elif self.path.startswith("/slowly/"):
            self.slowly(Path(self.directory, self.path.removeprefix("/slowly/")).read_bytes())
        else:
            super().do_GET()

    def mjpeg(self, frames: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with suppress(OSError):
            for index in range(frames):
                _, data = cv2.imencode(".jpg", barcode(index, SIZE)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data.tobytes() + b"\r\n")
                time.sleep(0.04)
            self.rfile.read(1)  # until the client leaves

    def slowly(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        with suppress(OSError):
            for start in range(0, len(data), step := 1 + len(data) // 100):
                self.wfile.write(data[start : start + step])
                time.sleep(SECONDS / 100)


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """Serves the folder while the block lasts; gives its address. What is asked of it: `Handler.asked`."""
    Handler.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_hls(folder: Path, name: str, ended: bool, size: tuple[int, int] = SIZE) -> None:
    """NAME.m3u8 with three seconds of segments. ended: nothing will be added."""
    clip = make_video(folder / f"{name}.mp4", size=size, frames=75, draw=barcode, options={"g": "25"})
    flags = {} if ended else {"hls_flags": "omit_endlist"}
    options = {"hls_time": "1", "hls_list_size": "0", **flags}
    with av.open(str(clip)) as source, av.open(str(folder / f"{name}.m3u8"), "w", "hls", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)

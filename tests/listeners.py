"""Servers that keep what is pushed to them: by RTSP, RTMP and SRT into a file, by HTTP in memory."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import av
import pytest
from saliency_tubes.stream.media.gst_load import Missing, load
from waiting import free_port


def needs_gst(*parts: str) -> Any:
    try:
        return load(*parts)
    except Missing as missing:
        pytest.skip(str(missing))


@contextmanager
def _running(program: str, *words: object) -> Iterator[int]:
    """A Python program that prints a port once it listens there, and ends by itself or with the block."""
    command = [sys.executable, "-c", program, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


# Writes what is recorded to it by RTSP into a transport stream.
RTSP = """
import sys
from saliency_tubes.stream.media.gst_load import load
gst = load("GstRtsp", "GstRtspServer")
rtsp = gst.GstRtspServer
server, factory = rtsp.RTSPServer.new(), rtsp.RTSPMediaFactory.new()
server.set_address("127.0.0.1")
server.set_service("0")
factory.set_launch("( rtph264depay name=depay0 ! h264parse config-interval=-1 ! mpegtsmux ! "
                   f"filesink location={sys.argv[1]} buffer-mode=2 sync=false async=false )")
factory.set_transport_mode(rtsp.RTSPTransportMode.RECORD)
factory.set_latency(0)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print(server.get_bound_port(), flush=True)
gst.GLib.MainLoop().run()
"""

# Decodes what is pushed to it by RTMP, and writes the frames as they are.
RTMP = """
import sys
import av
print(sys.argv[2], flush=True)
with av.open(f"rtmp://127.0.0.1:{sys.argv[2]}/live/x", options={"listen": "1", "timeout": "20"}) as source:
    with av.open(sys.argv[1], "w", "nut", options={"flush_packets": "1"}) as output:
        stream = output.add_stream("rawvideo", rate=25)
        for index, frame in enumerate(source.decode(video=0)):
            if not index:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
            frame.pts, frame.time_base = index, 1 / stream.average_rate
            output.mux(stream.encode(frame))
"""


@contextmanager
def rtsp_listener(path: Path) -> Iterator[str]:
    needs_gst("GstRtsp", "GstRtspServer")
    with _running(RTSP, path) as port:
        yield f"rtsp://127.0.0.1:{port}/live"


@contextmanager
def rtmp_listener(path: Path) -> Iterator[str]:
    with _running(RTMP, path, free_port()) as port:
        yield f"rtmp://127.0.0.1:{port}/live/x"


@contextmanager
def srt_listener(path: Path) -> Iterator[str]:
    gst = needs_gst("GstApp", "GstVideo").Gst
    if gst.ElementFactory.find("srtsink") is None:
        pytest.skip("needs GStreamer's srtsink (gstreamer1.0-plugins-bad)")
    port = free_port(socket.SOCK_DGRAM)
    source = f"srtsrc uri=srt://127.0.0.1:{port}?mode=listener"
    pipeline = gst.parse_launch(f"{source} ! filesink location={path} buffer-mode=2 sync=false")
    pipeline.set_state(gst.State.PLAYING)
    try:
        yield f"srt://127.0.0.1:{port}"
    finally:
        pipeline.set_state(gst.State.NULL)


LISTENERS = {"rtsp": rtsp_listener, "rtmp": rtmp_listener, "srt": srt_listener}
"""by scheme: gives the address to push to, and writes what comes into the file"""


def decode_cut_off(path: Path) -> list[av.VideoFrame]:
    """Without the end of a file whose writer was stopped in the midst of a frame."""
    frames = []
    with av.open(str(path)) as container, suppress(av.InvalidDataError, av.ArgumentError):
        frames.extend(container.decode(video=0))
    return frames[:-2]


class Receiver:
    """Keeps what is posted; answers with the codes given, the last one again and again."""

    def __init__(self, *codes: int, wait: float = 0.0) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        receiver, left = self, list(codes or (200,))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.headers.append(dict(self.headers))
                receiver.paths.append(self.path)
                time.sleep(wait)
                self.send_response(left[0] if len(left) == 1 else left.pop(0))
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

"""RTSP servers that tests start, kill and freeze. Run as a program, it forks such servers (GstRtspServer)."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from waiting import free_port

PATTERN = (
    "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width={width},height={height},framerate={rate}/1"
)
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate} key-int-max={rate} threads=1 "
    "! rtph264pay name=pay0 pt=96 config-interval=1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate} key-int-max={rate} "
    "! rtph265pay name=pay0 pt=96 config-interval=1",
    "jpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}
NOISE = (
    "videotestsrc is-live=true pattern=snow ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 "
    "! x264enc tune=zerolatency speed-preset=ultrafast bitrate=2000 key-int-max=15 threads=1 "
    "! rtph264pay name=pay0 pt=96 config-interval=1"
)
"""pictures in many packets each, 250 kB a second: the ball alone fits into one a frame"""
FROM_FILE = "filesrc location={file} ! qtdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1"


@cache
def python_with_gi() -> str | None:
    """A Python that has GstRtspServer: this one, or the system's. None where there is neither."""
    code = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstRtspServer', '1.0');"
        "from gi.repository import Gst; Gst.init(None); from gi.repository import GstRtspServer;"
        "import sys; sys.exit(Gst.ElementFactory.find('x264enc') is None)"
    )
    for python in (sys.executable, "/usr/bin/python3"):
        if shutil.which(python) and subprocess.run([python, "-c", code], capture_output=True).returncode == 0:
            return python
    return None


class Nursery:
    """A process that has loaded GStreamer, and forks a server from itself wherever one is asked for, in no time."""

    def __init__(self) -> None:
        python = python_with_gi()
        assert python is not None, "no Python here has GstRtspServer"
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [python, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, words: list[str]) -> int:
        """The process id of a server that listens. words: as on a command line, see `_parse`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(words) + "\n")
            self._process.stdin.flush()
            started = int(self._process.stdout.readline())
        assert started, "the server does not start"
        return started


@cache
def nursery() -> Nursery:
    """The one of this process; it ends, and its servers with it, when this process does."""
    return Nursery()


class RtspServer:
    """A GstRtspServer in a process of its own, at 127.0.0.1:`port`/live."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        """options: size "320x240", rate, codec, user, password, file, bitrate, shared ...; see `_parse`."""
        self.port = port or free_port()
        self.options = options
        self._process: int | None = None
        self.start()

    def url(self, login: str = "") -> str:
        scheme = "rtsps" if self.options.get("certificate") else "rtsp"
        return f"{scheme}://{login}{'@' if login else ''}127.0.0.1:{self.port}/live"

    def start(self, **changes: Any) -> None:
        """Starts it, on the same port, and returns when it listens. changes: options from now on."""
        self.options |= changes
        words = [f"--{name}={value}" for name, value in self.options.items() if value is not None]
        self._process = nursery().start([f"--port={self.port}", *words])

    def kill(self) -> None:
        """At once, as a power cut does."""
        if self._process is not None:
            ended = os.pidfd_open(self._process)
            os.kill(self._process, signal.SIGKILL)
            select.select([ended], [], [])
            os.close(ended)
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process, signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def accepting(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port of the loopback where one client after the other is talked to, and then hung up on; errors are its own."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connection, _ = listener.accept()
                connection.settimeout(5)
                with suppress(OSError), connection:
                    talk(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# The program: standard library and gi only, so that the system's Python runs it.


def _nurse() -> None:
    """Forks a server for each line that is read, and answers with its process id. At the end all of them die."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import Gst

    Gst.init(None)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        if os.fork() == 0:
            try:
                _serve(_parse(json.loads(line)))
            finally:
                print(0, flush=True)
                os._exit(1)
    os.killpg(0, signal.SIGKILL)


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", required=True)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--rate", type=int, default=30)
    parser.add_argument("--codec", default="h264", choices=ENCODERS)
    parser.add_argument("--bitrate", type=int, default=800)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--file")
    parser.add_argument("--launch")
    parser.add_argument("--shared", type=int, default=0)
    parser.add_argument("--certificate", help="a PEM file with its key")
    return parser.parse_args(words)


def _serve(args: argparse.Namespace) -> None:
    from gi.repository import Gio, GLib, Gst
    from gi.repository import GstRtspServer as Rtsp

    width, height = args.size.split("x")
    what = {"width": width, "height": height, "rate": args.rate, "bitrate": args.bitrate, "file": args.file}
    launch = args.launch or (FROM_FILE if args.file else f"{PATTERN} ! {ENCODERS[args.codec]}").format(**what)
    server, factory = Rtsp.RTSPServer(), Rtsp.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory.set_launch(f"( {launch} )")
    factory.set_shared(bool(args.shared))
    auth = Rtsp.RTSPAuth()
    if args.user or args.certificate:
        token = Rtsp.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        if args.user:
            auth.add_basic(Rtsp.RTSPAuth.make_basic(args.user, args.password), token)
        else:
            auth.set_default_token(token)
        role = Gst.Structure.new_empty("viewer")
        role.set_value("media.factory.access", True)
        role.set_value("media.factory.construct", True)
        factory.add_role_from_structure(role)
        server.set_auth(auth)
    if args.certificate:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(args.certificate))
    server.get_mount_points().add_factory("/live", factory)
    assert server.attach(None), f"port {args.port} cannot be had"
    print(os.getpid(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    _nurse()

"""RTSP servers that tests start, kill, freeze and start anew. Run as a program, it is such a server (GstRtspServer)."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RtspServer:
    """A GstRtspServer in a process of its own, at 127.0.0.1:`port`/live."""

    def __init__(self, port: int = 0, **options: Any) -> None:
        """options: size "320x240", rate, codec, user, password, file, bitrate, shared; see `_serve`."""
        self.port = port or free_port()
        self.options = options
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def url(self, login: str = "") -> str:
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}/live"

    def start(self, **changes: Any) -> None:
        """Starts it, on the same port, and returns when it listens. changes: options from now on."""
        self.options |= changes
        python = python_with_gi()
        assert python is not None, "no Python here has GstRtspServer"
        words = [f"--{name}={value}" for name, value in self.options.items() if value is not None]
        self._process = subprocess.Popen(
            [python, __file__, f"--port={self.port}", *words], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """At once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


class Proxy:
    """Passes one TCP port on to another, and spoils RTP packets on the way back, always the same ones.

    drop, flip, cut: the share of packets that are left out, have bytes turned, or lose their second half.
    """

    def __init__(self, target: int, *, drop: float = 0, flip: float = 0, cut: float = 0, seed: int = 1) -> None:
        self.spoiled = 0
        self.active = True
        """False: packets pass untouched"""
        self._shares, self._random, self._target = (drop, flip, cut), random.Random(seed), target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: set[socket.socket] = {self._listener}
        self._threads = [threading.Thread(target=self._accept, name="proxy", daemon=True)]
        self._threads[0].start()

    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def close(self) -> None:
        for one in list(self._sockets):
            shut(one)
        for thread in self._threads:
            thread.join(5)

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                shut(client)
                continue
            self._sockets |= {client, server}
            for pump in (lambda c=client, s=server: self._pass_on(c, s), lambda c=client, s=server: self._spoil(s, c)):
                thread = threading.Thread(target=pump, name="proxy", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        shut(source)
        shut(target)
        self._sockets -= {source, target}

    def _spoil(self, source: socket.socket, target: socket.socket) -> None:
        held = b""
        try:
            while data := source.recv(65536):
                held += data
                pieces, held = _split(held)
                target.sendall(b"".join(self._spoiled(piece) for piece in pieces))
        except OSError:
            pass
        shut(source)
        shut(target)
        self._sockets -= {source, target}

    def _spoiled(self, piece: bytes) -> bytes:
        if not self.active or piece[:1] != b"$" or piece[1] % 2 or len(piece) < 64:
            return piece  # RTSP's own words, RTCP, and packets too small to hold a picture
        drop, flip, cut = self._shares
        luck = self._random.random()
        self.spoiled += luck < drop + flip + cut
        if luck < drop:
            return b""
        if luck < drop + flip:
            damaged = bytearray(piece)
            for _ in range(16):
                damaged[self._random.randrange(20, len(piece))] ^= self._random.randrange(1, 256)
            return bytes(damaged)
        if luck < drop + flip + cut:
            kept = piece[4 : len(piece) // 2]
            return piece[:2] + len(kept).to_bytes(2, "big") + kept
        return piece


def shut(one: socket.socket) -> None:
    """Closes it so that whoever waits at it wakes up."""
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


def _split(data: bytes) -> tuple[list[bytes], bytes]:
    """Interleaved RTP packets and RTSP answers (RFC 2326, section 10.12), and what is not complete yet."""
    pieces = []
    while data:
        if data[:1] == b"$":
            if len(data) < 4 or len(data) < 4 + int.from_bytes(data[2:4], "big"):
                break
            end = 4 + int.from_bytes(data[2:4], "big")
        else:
            found = data.find(b"$")
            end = len(data) if found < 0 else found
        pieces.append(data[:end])
        data = data[end:]
    return pieces, data


def wait_for(what: Any, seconds: float = 10.0) -> float:
    """Waits until `what()` is true; returns how long it took. Fails after `seconds`."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - start


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# The program: standard library and gi only, so that the system's Python runs it.


def _serve() -> None:
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
    args = parser.parse_args()

    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst

    Gst.init(None)
    from gi.repository import GstRtspServer as Rtsp

    width, height = args.size.split("x")
    what = {"width": width, "height": height, "rate": args.rate, "bitrate": args.bitrate, "file": args.file}
    launch = args.launch or (FROM_FILE if args.file else f"{PATTERN} ! {ENCODERS[args.codec]}").format(**what)
    server, factory = Rtsp.RTSPServer(), Rtsp.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory.set_launch(f"( {launch} )")
    factory.set_shared(bool(args.shared))
    if args.user:
        auth, token = Rtsp.RTSPAuth(), Rtsp.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(Rtsp.RTSPAuth.make_basic(args.user, args.password), token)
        server.set_auth(auth)
        role = Gst.Structure.new_empty("viewer")
        role.set_value("media.factory.access", True)
        role.set_value("media.factory.construct", True)
        factory.add_role_from_structure(role)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    _serve()

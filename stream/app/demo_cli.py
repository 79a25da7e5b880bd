"""`saliency-tubes demo`: the film of the package, again and again, in the browser; and explained once, into files."""

from __future__ import annotations

import argparse
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from ...engine.errors import UsageError
from ..net.address import SERVED
from ..sinks.base import SinkOptions
from ..sinks.open import can_show_pages
from ..sources.base import SourceOptions
from ..sources.v4l2 import first_camera
from ..telemetry.log import logging_to, say
from ..telemetry.memory import kept_small
from .browser import is_attended, offer
from .config import Config
from .contact import ContactSheet
from .default_outputs import INSTALL_WEB
from .demo import DEMO_CLIP, DEMO_FRAMES
from .fleet import Fleet, Interrupted
from .pages import serving_pages
from .settings import Settings

PORT = SERVED["web"][1]
LOOK_EVERY = 0.1
"""Seconds between two looks whether the stream of the page is open."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `saliency-tubes demo`."""
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where the files go (default: demo)")
    parser.add_argument("--camera", action="store_true", help="the first camera of this machine, and no files")
    parser.add_argument(
        "--serve",
        action=argparse.BooleanOptionalAction,
        help="serve the page until Ctrl-C, as it is on a terminal by default; --no-serve: until the files are written",
    )
    parser.add_argument("--port", type=int, help=f"that the browser asks (default: {PORT}, or one that is free)")
    parser.add_argument(
        "--listen", metavar="HOST", default="127.0.0.1", help="that the page is at (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Runs it; the exit code. Raises TubesError, and Interrupted after a signal."""
    if args.camera and args.serve is False:
        raise UsageError("a camera has no end, and nothing is written of it: leave out --no-serve")
    serves = is_attended() if args.serve is None else bool(args.serve)
    files = None if args.camera else Files(args.folder)
    with ExitStack() as stack:
        stack.enter_context(kept_small())
        stack.enter_context(logging_to(sys.stderr))
        if files is not None and not args.serve and not can_show_pages():
            say("note", f"the page is left out; {INSTALL_WEB}")
            stack.enter_context(files.fleet.signals())
            files.write()
            return 0
        shown = _shown(args)
        fleet = Fleet(Settings((shown,)), quiet=files is not None)
        stack.enter_context(fleet.signals())
        urls = stack.enter_context(serving_pages((shown,), fleet.snapshots))
        offer(urls)
        if files is None:
            fleet.run()
        else:
            _run_both(fleet, files, serves, urls)
    return 0


class Files:
    """The film with its tube, what was explained as JSON lines, and nine of its pictures side by side."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if the folder can not be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from None
        self._video, self._lines, self._sheet = (folder / f"demo.{suffix}" for suffix in ("mp4", "jsonl", "png"))
        outputs = (str(self._video), str(self._lines))
        self.fleet = Fleet(Settings((Config(str(DEMO_CLIP), outputs, name="files", sink=SinkOptions(overwrite=True)),)))
        self._given_up = False

    def write(self) -> None:
        """To the end, and says where they are. Raises TubesError."""
        contact = ContactSheet(DEMO_FRAMES)
        self.fleet.run(contact.add)
        if not self._given_up:
            contact.write(self._sheet)
            _print("the film", self._video)
            _print("its facts", self._lines)
            _print("at a glance", self._sheet)

    def give_up(self) -> None:
        """Finishes the film as it is."""
        self._given_up = True
        self.fleet.halt()


def _run_both(page: Fleet, files: Files, serves: bool, urls: list[str]) -> None:
    """The page in this thread, and the files in another, once the page has a picture: at its start the page measures
    how fast this machine is. serves: whether the page goes on when the files are written."""
    over = threading.Event()

    def write() -> None:
        try:
            while not page.running and not over.wait(LOOK_EVERY):
                pass
            files.write()
        except BaseException:
            page.stop()
            raise
        if serves:
            _print("in the browser", f"{', '.join(urls)} until Ctrl-C" if urls else "until Ctrl-C")
        else:
            _print("to keep watching", f"{sys.argv[0]} demo --serve")
            page.stop()

    with ThreadPoolExecutor(1, "saliency-tubes demo") as pool:
        written = pool.submit(write)
        try:
            page.run()
        except Interrupted:
            files.give_up()
            raise
        finally:
            over.set()
        written.result()


def _print(what: str, where: object) -> None:
    print(f"{what:<17} {where}", flush=True)


def _shown(args: argparse.Namespace) -> Config:
    """The stream of the page. Raises UsageError, and SourceError where there is no camera."""
    source = first_camera() if args.camera else str(DEMO_CLIP)
    page = f"web://:{_port(args.listen, args.port)}/{'camera' if args.camera else 'demo'}"
    options = SourceOptions() if args.camera else SourceOptions(realtime=True, loop=True)
    return Config(source, (page,), source=options, sink=SinkOptions(listen=args.listen))


def _port(host: str, asked: int | None) -> int:
    """The port to serve at: what was asked for, else PORT if nobody has it, else any."""
    if asked:
        return asked
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in (PORT, 0) if asked is None else (0,):
        with suppress(OSError), socket.create_server((host, port), family=family) as server:
            return int(server.getsockname()[1])
    return PORT  # the server will say what is wrong

"""What a sink promises, and how one is asked for."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from ...engine.errors import SinkError
from ...engine.options import check_options, option, read_amount
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import Address
from ..net.tls import TLS_CA
from ..telemetry.events import Event
from .condition import Condition, SinkHealth

LATENCIES = ("low", "quality")
ON_FULL = ("stop", "delete")
X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
                "placebo")  # fmt: skip


class RefusedError(SinkError):
    """The other side wants other credentials: asking again soon would only hammer it."""


@dataclass(frozen=True)
class SinkOptions:
    """How outputs are made, whatever they are; each takes what concerns it."""

    option_group = "outputs"

    live: bool = False
    """frames come at their own pace: an output that cannot follow loses frames, and counts them, in place of waiting"""
    encoder: str = option(
        "auto",
        "nvenc, v4l2, vaapi, x264, or an encoder's own name, which only some outputs know: FFmpeg's for files, "
        "recordings and what is pushed by RTSP and RTMP, GStreamer's for what is served and for srt://; auto: the "
        "first of these that encodes here, and for plain files x264, whose bytes do not depend on the machine",
        metavar="NAME",
    )
    bitrate: int | None = option(
        None,
        "bits a second, as 4M",
        metavar="N",
        default="by --crf where the encoder can, else by the size of the picture",
        more_than=0,
        less_than=1 << 31,
        read=read_amount,
    )
    crf: int = option(
        19, "constant quality of files and recordings; smaller is better", metavar="N", at_least=0, at_most=51
    )
    preset: str | None = option(
        None,
        "x264's preset, ultrafast to placebo",
        flag="encoder-preset",
        metavar="NAME",
        default="veryfast for files, superfast for streams",
        choices=X264_PRESETS,
    )
    latency: str = option(
        "low",
        "of what is streamed: low, or quality, which takes look-ahead and B-frames",
        more="Files always take quality, and low where they are recorded live.",
        choices=LATENCIES,
    )
    segment_seconds: float = option(
        600.0, "longest segment of a recording", metavar="S", unit="seconds", more_than=0, less_than=1 << 53
    )
    segment_bytes: int | None = option(
        None,
        "largest segment of a recording, as 500M, as near as a frame",
        metavar="N",
        unit="bytes",
        default="no limit",
        more_than=0,
        less_than=1 << 53,
        read=read_amount,
    )
    keep: str = option(
        "",
        'how much of a recording is kept: "50" files, "20GB" (kB, MB, GB, TB) or "14d" (s, m, h, d); several with '
        "commas",
        more="See [Recordings](live.md#recordings).",
        metavar="LIMIT",
        default="everything",
    )
    overwrite: bool = option(
        False,
        "replace films, pictures and JSON lines that an earlier run wrote; without it they are kept, and the new ones "
        "get a number, but JSON lines of live inputs are added",
        more="See [Files](live.md#files).",
    )
    on_full: str = option(
        "stop",
        "what a recording does on a full disk: stop until there is room, or delete its oldest segments",
        more="Where it stops it asks every 5 s whether there is room.",
        choices=ON_FULL,
    )
    listen: str = option(
        "127.0.0.1", "address that rtsp://@ and web:// are served on where they name none", metavar="HOST"
    )
    user: str | None = option(
        None,
        "who may watch what is served over RTSP",
        flag="rtsp-user",
        metavar="NAME",
        default="$SALIENCY_TUBES_RTSP_USER, or anybody",
    )
    password: str | None = option(
        None,
        "the password of --rtsp-user",
        flag="rtsp-password",
        metavar="WORD",
        default="$SALIENCY_TUBES_RTSP_PASSWORD",
        secret=True,
    )
    tls_ca: str | None = option(None, TLS_CA)

    def __post_init__(self) -> None:
        check_options(self)


class Sink(Condition):
    """One output. `open` once, then `write` for every frame and `event` for every window, then `close`.

    A sink overrides what it needs; what it does not override does nothing. All four raise SinkError: one line that
    names the output. After an error only `close` may be called, and it raises no second one.
    """

    reconnects = False
    """whether `open` may be called again after `close`: the other side may come back"""
    never_waits = False
    """whether `write` and `event` return at once, whatever the disk or the network does"""
    follows_size = False
    """whether frames may change their size; for other sinks they are scaled to fit the first one"""
    takes_pictures = True
    """False: `write` does nothing"""
    shows_outages = False
    """whether `write` is given frames with `Shown.outage` as well, which it does not count: somebody watches"""
    close_seconds = 20.0
    """that `close` is given, of a live run: a muxer that finishes a file of hours takes its time"""

    def __init__(self, name: str) -> None:
        self.name = name
        """safe to print"""
        self.description = ""
        """what was chosen, for the start of a run: the encoder, the address; known after `open`, or empty"""
        self.notes: tuple[str, ...] = ()
        """one-line remarks for the user, complete after `close`; what concerns the format is there after `open`"""
        self.frames = 0
        """frames taken so far"""
        self.events = 0
        """events taken so far"""
        self.failed_logins: int | None = None
        """so far; None where nobody can log in"""
        self.wants_stop = False
        """whether the user asked, at this output, that the run ends"""
        self._lost: dict[str, int] = {}
        self._counting = threading.Lock()

    @property
    def drops(self) -> dict[str, int]:
        """Frames and events lost so far because this output could not follow or did not work, by reason."""
        with self._counting:
            return dict(self._lost)

    @property
    def dropped(self) -> int:
        """Frames and events lost so far, for all reasons."""
        return sum(self.drops.values())

    @property
    def queued(self) -> int:
        """Frames and events that wait here to be written."""
        return 0

    @property
    def viewers(self) -> int | None:
        """How many watch here at the moment; None where nobody can."""
        return None

    def health(self) -> SinkHealth:
        """How it is at this moment. From any thread."""
        return SinkHealth(
            name=self.name,
            state=self.state,
            frames=self.frames,
            events=self.events,
            drops=self.drops,
            note=self.notes[-1] if self.notes else "",
            description=self.description,
            queued=self.queued,
            trying=self.trying,
            viewers=self.viewers,
            failed_logins=self.failed_logins,
        )

    def open(self, info: VideoInfo) -> None:
        """Called once, before the first frame."""

    def write(self, shown: Shown) -> None:
        """Takes a drawn frame, pts increasing, as large as `info` said unless the sink `follows_size`.

        Its picture may be kept: nobody changes it.
        """

    def event(self, event: Event) -> None:
        """Takes what a window says. Its JSON, where the output is made of that, is `event.json`."""

    def reconfigure(self, address: Address) -> None:
        """Takes from another address of the same place what may change while it runs. From any thread.

        Raises UsageError. Of most outputs nothing may change, and nothing happens.
        """

    def signal(self, since: float | None) -> None:
        """The camera has been away since then, in seconds since 1970; None: it is back. In any thread; at once."""

    def close(self) -> None:
        """Finishes the output; may be called twice, and without `open`."""

    def _survive(self, error: OSError) -> None:
        """Of a live run: what could not be written is lost and counted; the next may go."""
        self.state = "disk full" if is_full(error) else "retrying"
        self._drop(self.state)
        self.notes = (f"{os_reason(error)}; tried again ({self.dropped} lost so far)",)

    def _drop(self, reason: str, count: int = 1) -> None:
        with self._counting:  # some outputs lose things in more than one thread
            self._lost[reason] = self._lost.get(reason, 0) + count


def freeze(shown: Shown) -> None:
    """A sink that keeps the picture needs no copy: whoever would draw on it from now on gets an error."""
    for plane in shown.frame.picture.planes:
        plane.flags.writeable = False


def check_writable(path: Path) -> None:
    """Raises SinkError where the file could not be made: before hours of work, not after."""
    folder = path.parent
    try:
        if path.is_dir():
            raise SinkError(f"{path}: is a folder")
        if not folder.is_dir():
            raise SinkError(f"{path}: the folder {folder} does not exist")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise SinkError(f"{path}: no permission to write {'it' if path.exists() else f'in {folder}'}")
    except OSError as error:  # a name too long, a folder that may not be entered
        raise SinkError(f"{path}: {os_reason(error)}") from error


def is_full(error: object) -> bool:
    """Whether the disk, or what one may have of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def os_reason(error: OSError) -> str:
    """The system's words for an error, without its number and the path."""
    return error.strerror or str(error)

"""The protocol of sinks, and the options that they are made with."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from ...engine.errors import SinkError
from ...engine.options import check_options, option, read_amount
from ...engine.picture import HOST, Picture
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import Address
from ..net.secret import Secret
from ..net.tls import TLS_CA
from ..telemetry.events import Event
from .condition import Condition, SinkHealth
from .stream_view import StreamView

LATENCIES = ("low", "quality")
ON_FULL = ("stop", "delete")
X264_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
                "placebo")  # fmt: skip


class RefusedError(SinkError):
    """The other side refuses the credentials: trying again soon would not help."""


@dataclass(frozen=True)
class SinkOptions:
    """Options of outputs; each output uses those that concern it."""

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
        default="veryfast for files, superfast for streams and for what is recorded live",
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
    listen: str = option("127.0.0.1", "address that rtsp://@ and web:// listen on if they name none", metavar="HOST")
    web_rtc: bool = option(
        False,
        "web:// sends its video by WebRTC, too, to pages that are asked for it by #transport=webrtc and to players of "
        "WHEP; its H.264 is then of the constrained baseline profile for all",
        more="See [By WebRTC](web.md#by-webrtc).",
    )
    user: str | None = option(
        None,
        "who may watch what is served over RTSP",
        flag="rtsp-user",
        metavar="NAME",
        default="$SALIENCY_TUBES_RTSP_USER, or anybody",
    )
    password: Secret | str | None = option(
        None,
        "the password of --rtsp-user",
        flag="rtsp-password",
        metavar="WORD",
        default="$SALIENCY_TUBES_RTSP_PASSWORD",
        read=Secret,
    )
    web_token: Secret | str | None = option(
        None,
        "the token that web:// asks viewers for, or @FILE, a file with it",
        more="See [Who is answered](web.md#who-is-answered).",
        metavar="TOKEN",
        default="$SALIENCY_TUBES_WEB_TOKEN; else none is asked for where only this machine reaches it, and elsewhere "
        "one is made and printed at the start",
        read=Secret,
    )
    web_operator_token: Secret | str | None = option(
        None,
        "the token of those who may change streams by web://, or @FILE, a file with it",
        more="See [Changes for everybody](web.md#changes-for-everybody).",
        metavar="TOKEN",
        default="$SALIENCY_TUBES_WEB_OPERATOR_TOKEN, or nobody may",
        read=Secret,
    )
    web_name: str = option(
        "",
        "names that web:// may be called by, with commas, as behind a proxy",
        metavar="NAMES",
        default="this machine's own name and its addresses",
    )
    insecure: bool = option(False, "web:// asks for no token, also where other machines reach it")
    tls_ca: str | None = option(None, TLS_CA)

    def __post_init__(self) -> None:
        """Passwords and tokens that were given as texts are Secrets from here on."""
        for field in ("password", "web_token", "web_operator_token"):
            value = getattr(self, field)
            if isinstance(value, str):
                object.__setattr__(self, field, Secret(value))
        check_options(self)

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Everything in them that must not be printed."""
        given = (self.password, self.web_token, self.web_operator_token)
        return tuple(Secret.of(value) for value in given if value)


def recording_preset(options: SinkOptions) -> str:
    """x264's preset of files and segments. Live, the encoder shares the processor with the network: superfast takes two
    thirds of the time of veryfast, and makes files larger by a sixth."""
    return options.preset or ("superfast" if options.live else "veryfast")


class Sink(Condition):
    """One output. `open` once, then `write` for every frame and `event` for every window, then `close`.

    A sink overrides the methods that it needs; the others do nothing. All four may raise SinkError, with one line that
    names the output. After an error only `close` may be called, and it raises no second error.
    """

    reconnects = False
    """whether `open` may be called again after `close`: the other side may come back"""
    never_waits = False
    """whether `write` and `event` return at once, whatever the disk or the network does"""
    follows_size = False
    """whether frames may change their size; for other sinks they are scaled to fit the first one"""
    takes = frozenset({HOST})
    """the places from which `write` takes frames (`Image.where`); others are brought to the host's memory for it"""
    takes_pictures = True
    """whether `write` looks at the drawn picture; where it does not, the picture is not brought to it"""
    wants_plain = False
    """whether `write` also wants the picture as it was before it was drawn on (`Shown.plain`), at the moment: that is a
    copy of each frame"""
    wants_classes = 0
    """for how many of the most probable classes explanations are to have evidence, at the moment
    (`Explanation.others`)"""
    keeps = 1
    """maximum number of frames that it holds at a time, the one that is being written included"""
    shows_outages = False
    """whether people watch this output, so that `write` also gets frames with `Shown.outage`, which it does not
    count"""
    close_seconds = 20.0
    """maximum seconds for `close` in a live run: finishing a file of many hours takes time"""

    def __init__(self, name: str) -> None:
        self.name = name
        """safe to print"""
        self.description = ""
        """what was chosen, for the first lines of a run: the encoder, the address; known after `open`, or empty"""
        self.notes: tuple[str, ...] = ()
        """one-line remarks for the user, complete after `close`; those about the format are there after `open`"""
        self.frames_written = 0
        """frames taken so far"""
        self.events = 0
        """events taken so far"""
        self.failed_logins: int | None = None
        """number of failed logins so far; None if nobody can log in here"""
        self.wants_stop = False
        """whether the user asked, at this output, to end the run"""
        self._lost: dict[str, int] = {}
        self._counting = threading.Lock()

    @property
    def takes_events(self) -> bool:
        """Whether `event` does something."""
        return type(self).event is not Sink.event

    @property
    def drops(self) -> dict[str, int]:
        """Reason -> number of frames and events lost so far because this output was too slow or did not work."""
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
        """Number of viewers at the moment; None if the output can have none."""
        return None

    def health(self) -> SinkHealth:
        """The condition of this output at the moment. From any thread."""
        return SinkHealth(
            name=self.name,
            state=self.state,
            frames_written=self.frames_written,
            events=self.events,
            drops=self.drops,
            note=self.notes[-1] if self.notes else "",
            description=self.description,
            queued=self.queued,
            trying=self.trying,
            viewers=self.viewers,
            failed_logins=self.failed_logins,
        )

    def attach(self, stream: StreamView) -> None:
        """Called before `open` where the output belongs to a stream: it may ask how that is, and change it."""

    def open(self, info: VideoInfo) -> None:
        """Called once, before the first frame."""

    def write(self, shown: Shown) -> None:
        """Takes a drawn frame. Pts increase, and its size is that of `info` unless the sink `follows_size`.

        The sink may keep the picture: nobody changes it.
        """

    def event(self, event: Event) -> None:
        """Takes the explanation of a window. `event.json` is its JSON, for outputs that write that."""

    def reconfigure(self, address: Address) -> None:
        """Takes over from a new address of the same output what may change while it runs. From any thread.

        Raises UsageError. In most outputs nothing may change, and this does nothing.
        """

    def signal(self, since: float | None) -> None:
        """Tells since when the camera has been away, in seconds since 1970; None: it is back. From any thread; must
        return at once."""

    def close(self) -> None:
        """Finishes the output; may be called twice, and without `open`."""

    def _survive(self, error: OSError) -> None:
        """For a live run: counts what could not be written as lost; the next item may succeed."""
        self.state = "disk full" if is_full(error) else "retrying"
        self._drop(self.state)
        self.notes = (f"{os_reason(error)}; tried again ({self.dropped} lost so far)",)

    def _drop(self, reason: str, count: int = 1) -> None:
        with self._counting:  # some outputs count from several threads
            self._lost[reason] = self._lost.get(reason, 0) + count


def freeze(shown: Shown) -> None:
    """Makes the picture read-only, so that a sink can keep it without a copy. On a GPU nothing can be."""
    if isinstance(shown.frame.image, Picture):
        for plane in shown.frame.image.planes:
            plane.flags.writeable = False


def check_writable(path: Path) -> None:
    """Raises SinkError if the file could not be created, so that this shows at the start and not after hours."""
    folder = path.parent
    try:
        if path.is_dir():
            raise SinkError(f"{path}: is a folder")
        if not folder.is_dir():
            raise SinkError(f"{path}: the folder {folder} does not exist")
        if not os.access(path if path.exists() else folder, os.W_OK):
            raise SinkError(f"{path}: no permission to write {'it' if path.exists() else f'in {folder}'}")
    except OSError as error:  # the name is too long, or a folder may not be entered
        raise SinkError(f"{path}: {os_reason(error)}") from error


def is_full(error: object) -> bool:
    """Whether the error says that the disk, or the user's quota of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def os_reason(error: OSError) -> str:
    """The system's message for an error, without its number and the path."""
    return error.strerror or str(error)

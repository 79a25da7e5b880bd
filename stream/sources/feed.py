"""One connection to a camera or a server: the protocol `Feed` between `LiveSource` and FFmpeg or GStreamer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ...engine.picture import Image
from ..media.limits import Size, too_large
from ..net.address import Address
from ..net.diagnose import diagnose
from .base import OVERLOADED

BEHIND = 1.5
"""Maximum seconds that frames may come later than the promptest frame of their connection."""
SETTLE = 0.75
"""Seconds within which frames that come later than BEHIND must become less late by CAUGHT_UP at least."""
CAUGHT_UP = 0.25
SLOW_CLOCK = 0.01
"""Maximum part by which a camera's clock may run slow. If frames become later more slowly than that while the decoder
is idle for most of its time, the camera's clock is slow and no frames are waiting anywhere."""
KEY_FRAME = 10.0
"""Maximum seconds until a connection's first frame while packets do come: nothing can be decoded before the first key
frame, and key frames may be far apart."""


class FeedError(Exception):
    """The connection cannot be used any more. The message never holds a password."""


class FeedLost(FeedError):
    """The connection broke, went silent, or could not be made; another attempt may succeed at any time."""


class FeedBehind(FeedLost):
    """More frames wait than the reader can catch up with. Only a new connection starts at the present again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"fell {seconds:.1f} s behind the camera: {OVERLOADED}")


class FeedTooLarge(FeedLost):
    """The pictures have more pixels than may be decoded; a camera may be set to a smaller size at any time."""

    def __init__(self, size: Size, most: Size) -> None:
        super().__init__(too_large(size, most))


class FeedRefused(FeedError):
    """The server answered and refused: the password is wrong, or there is no stream of that name."""

    def __init__(self, reason: str, credentials: bool = False) -> None:
        super().__init__(reason)
        self.credentials = credentials
        """whether the password is the reason: frequent attempts would look like an attack, and may lock the account"""


REFUSALS = {
    401: ("wrong user or password (401)", True),
    403: ("this user may not see it (403)", True),
    404: ("nothing there under that name (404)", False),
}
"""Status of HTTP or RTSP -> the message of `FeedRefused`, and whether credentials are the reason."""


def failure(address: Address, tls_ca: str | None) -> FeedError | None:
    """What is wrong with the server of an address (`net.diagnose`), as an error; None if nothing is wrong."""
    trouble = diagnose(address, tls_ca)
    if trouble is None:
        return None
    return FeedRefused(trouble.words) if trouble.distrusted else FeedLost(trouble.words)


class FeedEnded(FeedError):
    """The stream has ended, as a file on a web server does."""


@dataclass(frozen=True, eq=False)
class FeedFrame:
    """One decoded frame of a connection, with its image in memory of its own."""

    image: Image
    arrived: float
    """when it was decoded, in seconds of the monotonic clock"""
    pts: int | None = None
    """in units of `time_base`; None if the stream gives no time, or a meaningless one"""
    time_base: Fraction = Fraction(1, 90_000)
    """seconds"""
    pixel_aspect: Fraction = Fraction(1)
    rate: Fraction | None = None
    """frames a second, as the stream tells; None if it does not"""
    matrix: int = 2
    """as `primaries` and `transfer` below a number of ITU-T H.273; 2 if the stream does not tell"""
    primaries: int = 2
    transfer: int = 2
    notes: tuple[str, ...] = ()
    """remarks about how the picture was converted"""
    sent: float | None = None
    """when the camera took it by its own clock, in seconds since 1970; None if the camera has not told its time yet"""
    damaged: bool = False
    """see `Frame.damaged`"""
    decoder: str = ""
    """as `VideoInfo.decoder`"""


class Backlog:
    """Decides, by the camera's own clock, whether frames of a connection wait somewhere and grow too old. Pure."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        """when the connection's first frame came, and how long the reader had waited until then; seconds"""
        self._late: tuple[float, float] | None = None
        """when frames began to be too late, and how late they were then; seconds"""

    def note(self, lag: float, now: float, idle: float) -> bool:
        """Takes a frame that comes `lag` seconds later than the promptest one did.

        now: seconds of a monotonic clock. idle: seconds, since the connection was made, in which there was nothing to
        read. Returns True if the camera's clock runs slow, so that the lag must be counted anew from here. Raises
        FeedBehind if frames wait somewhere on the way, and the reader is not catching up.
        """
        begun, idle_then = self._first = self._first or (now, idle)
        if lag <= BEHIND:
            self._late = None
            return False
        since, lag_then = self._late = self._late or (now, lag)
        if now - since < SETTLE:
            return False
        self._late = (now, lag)
        if lag < lag_then - CAUGHT_UP:  # catching up, as after a pause of the reader
            return False
        lived = now - begun
        if lag < SLOW_CLOCK * lived and idle - idle_then > lived / 2:
            self._first, self._late = None, None
            return True
        raise FeedBehind(lag)


class Feed(Protocol):
    """The frames of one connection. It has no thread of its own, and every wait is bounded."""

    @property
    def errors(self) -> int:
        """Number of errors of the decoder, and of frames that it had to guess, on this connection."""
        ...

    @property
    def dropped(self) -> int:
        """Number of decoded frames that were lost because `read` was not called in time."""
        ...

    @property
    def idle(self) -> float:
        """Seconds so far in which there was nothing to read."""
        ...

    @property
    def bursts(self) -> bool:
        """Whether frames come faster than they are to be shown, as from HLS or from a file on a web server."""
        ...

    def read(self, timeout: float) -> FeedFrame | None:
        """The next frame; None if none comes within about `timeout` seconds. Raises FeedError."""
        ...

    def close(self) -> None:
        """May be called twice."""
        ...


Connect = Callable[[], Feed]
"""Opens a connection, within bounded time. Raises FeedError, or UsageError if no further attempt can succeed."""

"""One connection to a camera or a server: what `LiveSource` asks of the technology below it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ...engine.picture import Picture
from ..media.limits import Size, too_large
from ..net.diagnose import diagnose
from .base import OVERLOADED

BEHIND = 1.5
"""Seconds that frames may come later than the promptest of their connection did."""
SETTLE = 0.75
"""Seconds in which frames that are later must come nearer again, by CAUGHT_UP at least."""
CAUGHT_UP = 0.25
SLOW_CLOCK = 0.01
"""Largest part by which a camera's clock may run slow. Growing later by less than that is no backlog in a reader that
waits most of its time."""
KEY_FRAME = 10.0
"""seconds until a connection's first frame, where packets come: before a key frame nothing shows, and they may be far
apart"""


class FeedError(Exception):
    """The connection is of no more use. The message has no password in it."""


class FeedLost(FeedError):
    """It broke, went silent, or never came to be; another attempt may succeed at any time."""


class FeedBehind(FeedLost):
    """More waits than can be caught up with; only a new connection begins at the present again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"fell {seconds:.1f} s behind the camera: {OVERLOADED}")


class FeedTooLarge(FeedLost):
    """What is sent has a larger picture than is to be decoded; a camera may be set to a smaller one at any time."""

    def __init__(self, size: Size, most: Size) -> None:
        super().__init__(too_large(size, most))


class FeedRefused(FeedError):
    """The server answered, and said no: a wrong password, or nothing under that name."""

    def __init__(self, reason: str, credentials: bool = False) -> None:
        super().__init__(reason)
        self.credentials = credentials
        """True: asking again and again looks like an attack, and may lock the account"""


REFUSALS = {
    401: ("wrong user or password (401)", True),
    403: ("this user may not see it (403)", True),
    404: ("nothing there under that name (404)", False),
}
"""what `FeedRefused` says of a status of HTTP or RTSP, and whether it is about credentials"""


def failure(uri: str, tls_ca: str | None) -> FeedError | None:
    """What is wrong with the server of an address (`net.diagnose`), as an error; None where nothing is."""
    found = diagnose(uri, tls_ca)
    if found is None:
        return None
    return FeedRefused(found.words) if found.distrusted else FeedLost(found.words)


class FeedEnded(FeedError):
    """The end of something that has an end, such as a file on a web server."""


@dataclass(frozen=True, eq=False)
class FeedFrame:
    """One decoded frame as it came, with its picture in memory of its own."""

    picture: Picture
    arrived: float
    """seconds of the monotonic clock, when it was decoded"""
    pts: int | None = None
    """in units of `time_base`; None where the stream gives no time, or none that means anything"""
    time_base: Fraction = Fraction(1, 90_000)
    """seconds"""
    pixel_aspect: Fraction = Fraction(1)
    rate: Fraction | None = None
    """frames a second, as the stream says"""
    matrix: int = 2
    """ITU-T H.273, with `primaries` and `transfer`; 2 where the stream does not say"""
    primaries: int = 2
    transfer: int = 2
    notes: tuple[str, ...] = ()
    """remarks on how the picture was converted"""
    sent: float | None = None
    """when the camera took it by its own clock, in seconds since 1970; None where the camera has not said so yet"""
    damaged: bool = False
    """as `Frame.damaged`"""


class Backlog:
    """Judges one connection by the camera's own clock: whether what comes out of it grows too old. Pure."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        """when the connection's first frame came, and how long there had been nothing to be read; seconds"""
        self._late: tuple[float, float] | None = None
        """since when frames are too late, and how late they were then; seconds"""

    def note(self, lag: float, now: float, idle: float) -> bool:
        """Takes a frame that comes `lag` seconds later than the promptest one did.

        now: seconds of a monotonic clock. idle: seconds since the connection was made in which nothing was there to be
        read. Returns True where it is the camera's clock that runs slow, so that lag has to be counted anew from here.
        Raises FeedBehind where frames wait somewhere on the way, and are not being caught up with.
        """
        begun, idle_then = self._first = self._first or (now, idle)
        if lag <= BEHIND:
            self._late = None
            return False
        since, lag_then = self._late = self._late or (now, lag)
        if now - since < SETTLE:
            return False
        self._late = (now, lag)
        if lag < lag_then - CAUGHT_UP:  # as after a pause of whoever reads: it is over soon
            return False
        lived = now - begun
        if lag < SLOW_CLOCK * lived and idle - idle_then > lived / 2:
            self._first, self._late = None, None
            return True
        raise FeedBehind(lag)


class Feed(Protocol):
    """Frames of one connection. It has no thread and no patience of its own: every wait is bounded."""

    @property
    def errors(self) -> int:
        """How often the decoder failed or had to guess on this connection."""
        ...

    @property
    def dropped(self) -> int:
        """How many decoded frames were lost because `read` was not called in time."""
        ...

    @property
    def idle(self) -> float:
        """Seconds so far in which there was nothing to be read."""
        ...

    @property
    def bursts(self) -> bool:
        """Whether frames come faster than they are to be shown, as from a file on a web server or from HLS."""
        ...

    def read(self, timeout: float) -> FeedFrame | None:
        """The next frame; None if there is none within about `timeout` seconds. Raises FeedError."""
        ...

    def close(self) -> None:
        """May be called twice."""
        ...


Connect = Callable[[], Feed]
"""opens a connection, within bounded time. Raises FeedError, or UsageError for what no attempt can mend"""

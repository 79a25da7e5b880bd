"""HTTP POST when a rule holds: `hook+https://host/path?class=yoga&over=0.7&for=3`, with the event and a picture."""

from __future__ import annotations

import base64
import http.client
import json
import math
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import cv2

from ...engine.errors import UsageError, unforeseen
from ...engine.picture import Picture
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..net.address import Address
from ..net.backoff import Backoff, Delays
from ..telemetry.events import Event
from .base import Sink, SinkOptions, freeze
from .mailbox import Mailbox
from .rules import Rule, Watch, number

QUEUE = 8
"""Maximum number of calls that wait; then the oldest is dropped for a new one."""
DRAIN_SECONDS = 5.0
"""Maximum seconds at the end of a run for sending the calls that still wait."""
PICTURE_SECONDS = 2.0
"""Maximum seconds that a call of a live stream waits for its picture: the camera may be away."""
JPEG_QUALITY = 85
FIRST_DELAY, LONGEST_DELAY = 1.0, 30.0
"""Minimum and maximum seconds before a call is tried again; they double with each attempt."""
LONGEST_TIMEOUT = 86_400.0
"""seconds"""
AGAIN = {408, 425, 429, 500, 502, 503, 504}
"""Status codes after which the same call may succeed later (RFC 9110, 15.5 and 15.6)."""
_OWN_KEYS = ("class", "over", "for", "cooldown", "timeout", "retries")


@dataclass(eq=False)
class Call:
    """One POST to be made."""

    event: Event
    due: float
    """when it is sent without a picture, in monotonic seconds"""
    picture: Picture | None = None
    """the picture of the next frame, when that has come"""


class WebhookSink(Sink):
    """Watches the events by one rule, and calls from a thread of its own: the stream never waits for an answer.

    The body is JSON: `rule`, `event` (docs/events.md) and `snapshot`, a JPEG in base64, or null where no frame came
    after the window. Beside class, over, for and cooldown the address takes timeout (seconds, default 5) and retries
    (default 3); its other parameters are passed on. A login in the address is sent as HTTP Basic.
    """

    never_waits = True

    def __init__(self, address: Address, options: SinkOptions) -> None:
        super().__init__(address.shown)
        self._address = address
        if not address.host:
            raise UsageError(f"{self.name}: a webhook names a host: hook+https://host?class=yoga&over=0.7&for=3")
        values = address.query
        self._watch = Watch(_rule(self.name, values))
        self._timeout, self._retries = _perseverance(self.name, values)
        called = address.without(_OWN_KEYS).without_login.reveal()
        self._url = called.removeprefix("hook+").partition("#")[0]
        self._headers = {"Content-Type": "application/json", "User-Agent": "saliency-tubes"}
        if address.login is not None:
            login = f"{address.login.user.reveal()}:{address.login.password.reveal()}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._box: Mailbox[Call] = Mailbox(QUEUE, lost=self._drop)
        self._gave_up: tuple[str, ...] = ()
        """remarks about calls that were never delivered"""
        self._pending: Call | None = None
        """the call that waits for its picture"""
        self._patience = PICTURE_SECONDS if options.live else math.inf

    @property
    def rule(self) -> Rule:
        return self._watch.rule

    def reconfigure(self, address: Address) -> None:
        """Takes the rule of the address, from the next event on."""
        self._watch = self._watch.under(_rule(self.name, address.query))

    @property
    def queued(self) -> int:
        return len(self._box)

    def open(self, info: VideoInfo) -> None:
        rule = self.rule
        self.description = f"{rule.label} over {rule.over:g} for {rule.seconds:g} s"
        self.state = "running"
        self._box.start(self._work, self.name)

    def event(self, event: Event) -> None:
        self.events += 1
        if self._watch.push(event):
            self._let_go()
            self._pending = Call(event, time.monotonic() + self._patience)
            self._box.put(self._pending)

    def write(self, shown: Shown) -> None:
        self.frames_written += 1
        if self._pending is not None:
            freeze(shown)
            self._let_go(shown.frame.picture)

    def close(self) -> None:
        if not self._box.started:
            return
        self._let_go()
        self._box.close(DRAIN_SECONDS, longer=self._timeout + 1)
        self._box.lose_all("at the end")
        self.state = "closed"

    def _let_go(self, picture: Picture | None = None) -> None:
        """Sends the call that waits for its picture, if there is one."""
        call, self._pending = self._pending, None
        if call is not None:
            with self._box.changed:
                call.picture, call.due = picture, 0.0
                self._box.changed.notify_all()

    # the thread

    def _work(self) -> None:
        while (call := self._box.take(lambda call: call.due - time.monotonic())) is not None:
            try:
                self._deliver(call)
            except Exception as error:  # if the thread died, the output would stop without a word
                self._failed(unforeseen(error))

    def _deliver(self, call: Call) -> None:
        body = self._body(call)
        backoff = Backoff(Delays(FIRST_DELAY, LONGEST_DELAY))
        for attempt in range(self._retries + 1):
            error, again = self._post(body)
            if error is None:
                self.state, self.notes = "running", self._gave_up
                return
            self.notes = (self._address.scrub(error),)
            if not again or attempt == self._retries:
                break
            self.state = "retrying"
            if not self._box.pause(backoff.next(), into_the_end=True):
                break
        self._failed(error or "")

    def _failed(self, why: str) -> None:
        self.state = "lost"  # this call is lost; the next one may be delivered
        self._drop("not delivered")
        text = self._address.scrub(why)
        self._gave_up = self.notes = (f"{self.drops['not delivered']} calls failed; last: {text}",)

    def _body(self, call: Call) -> bytes:
        snapshot = None
        if call.picture is not None:
            picture = call.picture.rgb()[..., ::-1]
            _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            snapshot = base64.b64encode(jpeg.tobytes())
        rule = {"class": self.rule.label, "over": self.rule.over, "for": self.rule.seconds}
        made = {"rule": rule, "event": call.event.record, "snapshot": snapshot.decode() if snapshot else None}
        return json.dumps(made, ensure_ascii=False).encode()

    def _post(self, body: bytes) -> tuple[str | None, bool]:
        """What went wrong, or None, and whether another attempt may succeed."""
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                answer.read(1)
            return None, False
        except urllib.error.HTTPError as error:
            with error:
                return f"HTTP {error.code} {error.reason}", error.code in AGAIN
        except urllib.error.URLError as error:
            return str(error.reason), True
        except (OSError, http.client.HTTPException) as error:
            return unforeseen(error), True


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an error: a redirected POST would become a GET without its body (RFC 9110, 15.4)."""

    def redirect_request(self, *arguments: object) -> None:
        return None


def _perseverance(name: str, values: dict[str, str]) -> tuple[float, int]:
    """The values of timeout and retries."""
    try:
        timeout, retries = number(values, "timeout", 5.0), number(values, "retries", 3)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
    if not 0 < timeout <= LONGEST_TIMEOUT:  # nan is not
        raise UsageError(f"{name}: timeout must be more than 0 and at most 86400 seconds, got {timeout:g}")
    if not 0 <= retries < math.inf or retries != int(retries):
        raise UsageError(f"{name}: retries must be a whole number, 0 or more, got {values['retries']!r}")
    return timeout, int(retries)


def _rule(name: str, values: dict[str, str]) -> Rule:
    try:
        return Rule.parse(values)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None

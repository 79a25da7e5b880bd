"""Events to an MQTT broker: `mqtt://[user:password@]host[:port]/topic?qos=1`, `mqtts://` by TLS."""

from __future__ import annotations

import math
import secrets
import ssl
import sys
import time
from collections import deque
from typing import Any
from urllib.parse import unquote

from ...engine.errors import SinkError, UsageError
from ..media.info import VideoInfo
from ..net.address import Address
from ..net.backoff import Backoff, Delays
from ..telemetry.events import Event, utc
from .base import Sink, SinkOptions
from .condition import works_again
from .mailbox import Mailbox

PORTS = {"mqtt": 1883, "mqtts": 8883}
QUEUE = 1000
"""Maximum number of events that wait while the broker is away; then the oldest is dropped for a new one."""
IN_FLIGHT = 20
"""Maximum number of events that are published and not yet acknowledged."""
KEEP_ALIVE = 15
"""Seconds between two signs of life. If one side hears nothing for 1.5 times as long, it takes the other for lost."""
DELAYS = (1, 30)
"""Minimum and maximum seconds between two attempts to connect; they double with each."""
STEADY_SECONDS = 10.0
"""Minimum seconds that a connection must have lasted for the next pause to be the shortest one again."""
REFUSED_DELAYS = (60, 600)
"""The same in seconds if the broker refuses the login: frequent attempts would look like an attack."""
DRAIN_SECONDS = 3.0
"""For so long what still waits at the end is sent."""
LAST_SECONDS = 1.0
"""For so long the last status, "offline", is waited for to arrive."""
_KEYS = {"qos", "ca", "client_id"}
REFUSALS = {"Bad user name or password", "Not authorized", "Banned", "Client identifier not valid"}
"""MQTT 5.0, 3.2.2.2, as paho names them"""
BROKEN = "Unspecified error"
"""what paho calls the end of a connection that the broker did not announce, its own death included"""


class MqttSink(Sink):
    """Publishes every event at `topic`, and "online" or "offline", retained, at `topic/status`; while the camera is
    away, "no signal since 2026-03-04T09:41:37.000Z" there.

    "offline" is also the last will: the broker says it where this process cannot. Connects, and connects again, in
    threads of its own; the stream never waits. ca: a file with the certificate of who signed the broker's.
    """

    never_waits = True
    takes_pictures = False

    def __init__(self, address: Address, options: SinkOptions) -> None:
        super().__init__(address.shown)
        self._address = address
        self._host, self._tls = address.host, address.scheme == "mqtts"
        self._port = address.port or PORTS[address.scheme]
        self._topic = unquote(address.path).strip("/")
        values = {key: value for key, value in address.query.items() if value}
        unknown = sorted(set(values) - _KEYS)
        wild = address.fragment is not None or any(sign in self._topic for sign in "#+")
        if not self._host or not self._topic or wild:
            raise UsageError(f"{self.name}: write mqtt://host/topic; a topic to publish at has no + and no #")
        if unknown:
            raise UsageError(f"{self.name}: no option is called {unknown[0]!r}; there are {', '.join(sorted(_KEYS))}")
        if values.get("qos", "1") not in ("0", "1", "2"):
            raise UsageError(f"{self.name}: qos must be 0, 1 or 2, got {values['qos']!r}")
        self._qos, self._ca = int(values.get("qos", "1")), values.get("ca")
        self._login = address.login if address.login and address.login.user else None
        self._client_id = values.get("client_id") or f"saliency-tubes-{secrets.token_hex(4)}"
        self._client: Any = None
        self._box: Mailbox[Event] = Mailbox(QUEUE, lost=self._drop)
        self._flying = 0
        """published, and not yet acknowledged"""
        self._connected = self._refused = False
        self._wrong = ""
        """what was wrong last"""
        self._since = 0.0
        """when it connected"""
        self._backoff = Backoff(Delays(*DELAYS))
        """of attempts after a connection was lost"""
        self._backoff.next()  # the client itself makes the first pause
        self._status = self._said = "online"
        """what is to be known at `topic/status`, and what was published there last"""
        self._statuses: set[int] = set()
        """the numbers of the statuses among them, which are no events that could be lost"""
        self._landed_last: deque[int] = deque(maxlen=4 * IN_FLIGHT)
        """the numbers of what was acknowledged last: that may be faster than `publish`, which tells the number"""
        self._greeting: int | None = None
        """the number of a first status that is not yet acknowledged; the client sends it again when it has connected"""
        self.reopened = 0
        """how often the broker came back"""

    @property
    def status_topic(self) -> str:
        return f"{self._topic}/status"

    @property
    def queued(self) -> int:
        return len(self._box)

    def open(self, info: VideoInfo) -> None:
        self._client = self._make_client()
        self.description = f"QoS {self._qos}{', TLS' if self._tls else ''}"
        self.state = "connecting"
        self._client.connect_async(self._host, self._port, KEEP_ALIVE)
        self._client.loop_start()
        self._box.start(self._work, self.name)

    def event(self, event: Event) -> None:
        self._box.put(event, "too slow" if self._connected else "not connected")

    def signal(self, since: float | None) -> None:
        self._status = "online" if since is None else f"no signal since {utc(since)}"
        if self._connected:  # else as soon as it is
            self._tell()

    def _tell(self) -> int | None:
        """Publishes the status; its number."""
        self._said = self._status
        return self._say(self._said)

    def _say(self, status: str) -> int | None:
        mid = self._publish(self.status_topic, status, 1, retain=True)
        with self._box.changed:
            if mid is not None and mid not in self._landed_last:
                self._statuses.add(mid)
        return mid

    def close(self) -> None:
        if not self._box.started:
            return
        with self._box.changed:
            self._box.end(DRAIN_SECONDS if self._connected else 0.0)
        self._box.close(DRAIN_SECONDS)
        if self._connected:
            self._say("offline")
            with self._box.changed:
                self._box.changed.wait_for(self._landed, LAST_SECONDS)
        self._client.disconnect()
        self._client.loop_stop()
        self._box.lose_all("at the end")
        lost = self._flying - len(self._statuses)
        if lost > 0:
            self._drop("at the end", lost)
        self.state = "closed"

    def _make_client(self) -> Any:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError:
            raise SinkError(f"{self.name}: MQTT needs paho-mqtt 2: pip install 'saliency-tubes[live]'") from None
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._client_id)
        if self._login:
            client.username_pw_set(self._login.user.reveal(), self._login.password.reveal())
        if self._tls:
            try:
                client.tls_set(ca_certs=self._ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
            except (OSError, ssl.SSLError) as error:
                raise SinkError(f"{self.name}: cannot read the certificate {self._ca}: {error}") from None
        client.will_set(self.status_topic, "offline", qos=1, retain=True)
        client.reconnect_delay_set(*DELAYS)
        client.connect_timeout = 5.0
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_connect_fail, client.on_publish = self._on_connect_fail, self._on_publish
        client.suppress_exceptions = True
        return client

    # the thread that publishes

    def _work(self) -> None:
        while (event := self._box.take(self._due)) is not None:
            if self._publish(self._topic, event.json, self._qos) is None:
                self._drop("not connected")
            else:
                self.events += 1
        self._box.settle(self._landed)

    def _due(self, event: Event) -> float:
        """Seconds until it may be published: inf until somebody says that more fits."""
        return 0.0 if self._connected and self._flying < IN_FLIGHT else math.inf

    def _landed(self) -> bool:
        """Whether no acknowledgement is to be waited for."""
        return not (self._flying and self._connected)

    def _publish(self, topic: str, text: str, qos: int, retain: bool = False) -> int | None:
        """Without our lock: the client calls back under locks of its own, which publish() takes as well.

        Its number. None: it is lost. With QoS 1 and 2 the client keeps it, and sends it when it has connected again.
        """
        with self._box.changed:
            self._flying += 1  # before: the acknowledgement may be faster than publish()
        sent = self._client.publish(topic, text.encode(), qos=qos, retain=retain)
        if sent.rc and not qos:
            self._acknowledged()
            return None
        return int(sent.mid)

    def _acknowledged(self) -> None:
        with self._box.changed:
            self._flying = max(0, self._flying - 1)
            self._box.changed.notify_all()

    # called by the client's thread

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._trouble(f"the broker refuses: {reason}", refused=str(reason) in REFUSALS)
            return
        self._since = time.monotonic()
        if self._greeting is None:
            self._greeting = self._tell()
        with self._box.changed:
            self._connected, self._refused = True, False
            self._box.changed.notify_all()
        if self._said != self._status:  # it changed since, or the client has sent an older one again
            self._tell()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._box.changed:
            held, self._connected = self._connected, False
            if not self._qos:
                self._flying = 0  # nobody will ever acknowledge them
            if self._box.ending:
                self._box.end(0.0)
            self._box.changed.notify_all()
        if held:  # the client itself starts the pauses anew, with every connection
            if time.monotonic() - self._since >= STEADY_SECONDS:
                self._backoff.reset()
            client.reconnect_delay_set(self._backoff.next(), DELAYS[1])
        if not self._box.ending and not self._refused:
            why = "the connection broke" if str(reason) == BROKEN else reason
            self._trouble(f"lost the broker: {why}")

    def _on_connect_fail(self, client: Any, data: Any) -> None:
        if not self._box.ending:
            error = sys.exc_info()[1]  # the client calls from its except clause, and tells no other way
            reason = f": {error.strerror or error}" if isinstance(error, OSError) else ""
            self._trouble(f"no connection to the broker{reason}")

    def _on_publish(self, client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
        if mid == self._greeting:  # it takes what is published: only now all is well
            with self._box.changed:
                self.reopened += self.state == "retrying"
                self._greeting, self.state = None, "running"
                if self._wrong:
                    self.notes = (works_again(self._wrong),)
        with self._box.changed:
            self._landed_last.append(mid)
            self._statuses.discard(mid)
        self._acknowledged()

    def _trouble(self, text: str, refused: bool = False) -> None:
        """Keeps what is wrong as state and note; the run's monitor tells it, with the stream it belongs to."""
        text = self._address.scrub(text)
        self._wrong = text
        note = f"{text}; {'asked again after a minute' if refused else 'tried again until it works'}"
        if refused or self._refused:  # each call starts the pauses anew
            self._client.reconnect_delay_set(*(REFUSED_DELAYS if refused else DELAYS))
        with self._box.changed:
            self._refused, self.state, self.notes = refused, "refused" if refused else "retrying", (note,)

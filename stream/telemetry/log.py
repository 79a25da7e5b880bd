"""The log on stderr: lines for people, or one JSON object a line for programs. It never shows a password."""

from __future__ import annotations

import ctypes
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TextIO

from ..net.address import Address
from ..net.redact import redact, secrets

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
LOGGER = logging.getLogger("saliency_tubes")


class Redacting(logging.Filter):
    """Removes from every record the passwords in the addresses of this run, and everything that looks like one."""

    def __init__(self, addresses: Iterable[Address]) -> None:
        super().__init__()
        self._addresses = [address for address in addresses if address.secrets()]

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.clean(record.getMessage()), None
        fields = getattr(record, "fields", None)
        if fields:
            record.fields = {
                key: self.clean(value) if isinstance(value, str) else value for key, value in fields.items()
            }
        if record.exc_info:  # a traceback may quote anything
            record.msg += f": {self.clean(repr(record.exc_info[1]))}"
            record.exc_info = record.exc_text = None
        return True

    def clean(self, text: str) -> str:
        """The text without passwords."""
        for address in self._addresses:
            text = address.scrub(text)
        return redact(text)


class TextFormatter(logging.Formatter):
    """Lines for people: the event and the message."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._clear = "\r\x1b[K" if terminal else ""  # a progress bar may be on this line

    def format(self, record: logging.LogRecord) -> str:
        stream = getattr(record, "stream", "")
        about = f"{getattr(record, 'event', record.levelname.lower()):<8} "
        return f"{self._clear}{about}{f'{stream}: ' if stream else ''}{record.getMessage()}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO 8601, UTC), level, event, stream, message, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        made: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "message": record.getMessage(),
        }
        stream = getattr(record, "stream", "")
        if stream:
            made["stream"] = stream
        return json.dumps({**made, **getattr(record, "fields", {})}, ensure_ascii=False, default=str)


def say(event: str, message: str, *, stream: str = "", level: int = logging.INFO, **fields: object) -> None:
    """Logs one line. event: one word for what happened. stream: the stream's name, if there are several."""
    LOGGER.log(level, "%s", message, extra={"event": event, "stream": stream, "fields": fields})


@contextmanager
def logging_to(
    stream: TextIO, form: str = "text", addresses: Sequence[Address] = (), level: str = "info"
) -> Iterator[None]:
    """Writes the log to `stream` while the block lasts.

    addresses: those whose passwords must not appear in the log. level: one of LEVELS; less important lines are dropped.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(stream.isatty()))
    handler.addFilter(Redacting(addresses))
    before = LOGGER.level, LOGGER.propagate
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before[0])
        LOGGER.propagate = before[1]


def hide_arguments(addresses: Iterable[Address] = ()) -> bool:
    """Overwrites the passwords in the process's own command line, which every user of the machine can read by `ps`.

    It works on Linux, where a process may write the memory of its arguments; elsewhere it does nothing. addresses:
    those whose passwords may also appear alone, as the value of an option. Returns whether no password is left.
    """
    process = Path("/proc/self")
    if not sys.platform.startswith("linux"):
        return False
    try:
        shown = (process / "cmdline").read_bytes()
        words = shown.decode(errors="surrogateescape").split("\0")
        secret_words = {secret for word in words for secret in secrets(word)}
        known = sorted(secret_words.union(*(address.secrets() for address in addresses)), key=len, reverse=True)
        hidden = "\0".join(_blot(word, known) for word in words).encode(errors="surrogateescape")
        if hidden == shown:
            return True
        # proc(5): field 48 is arg_start; the second field, a name in brackets, may hold spaces
        start = int((process / "stat").read_text().rpartition(")")[2].split()[45])
        ctypes.memmove(start, hidden, len(hidden))
        return (process / "cmdline").read_bytes() == hidden
    except (OSError, ValueError, IndexError):
        return False


def _blot(word: str, known: Sequence[str]) -> str:
    """The word with its secrets overwritten, as long as before. A short secret could be part of any word by chance, so
    it is overwritten only where it is the whole word."""
    own = secrets(word)
    for secret in known:
        if len(secret) > 3 or secret in own or word == secret or word.endswith(f"={secret}"):
            word = word.replace(secret, "*" * len(secret.encode(errors="surrogateescape")))
    return word

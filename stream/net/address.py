"""Addresses: what an input or an output is called, parsed once. What is printed of one never holds a secret."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from ...engine.errors import UsageError
from .login import LOGINS, split_login
from .redact import forms, hide, is_random, is_secret_key, redact, secrets
from .secret import HIDDEN, Login, Secret

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
"""by scheme, where an address names none"""
SERVED = {"rtsp": ("rtsp://@:8554/path", 8554), "web": ("web://:8080/name", 8080)}
"""by scheme: an example of what is served, and the port where the output names none"""
WEB_NAME = "live"
"""what a stream of web:// is called that the output does not name"""
_WITH_HOST = LOGINS | {"udp", "srt", "web"}
"""schemes of addresses with a host and a port"""
_WITH_QUERY = _WITH_HOST | {"test"}
_SECRET_PATHS = ("rtmp", "rtmps", "hook+http", "hook+https")
"""schemes whose paths open a door by themselves: a stream key, the address of a webhook"""
_HOOKS = ("hook+http", "hook+https")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_CAMERA = "/dev/video"


@dataclass(frozen=True, repr=False)
class Address:
    """An input or an output: a path, `-`, or a scheme and what follows it. `parse` makes it.

    Its str and repr are `shown`; whatever holds a secret is a `Secret`, which prints as ***. Two addresses are equal if
    they are the same in full.
    """

    full: Secret
    """the whole address, for the library that opens it; its login is escaped (`net.login`)"""
    shown: str = field(compare=False)
    """the same with *** in place of every password and token; safe to print"""
    scheme: str = field(default="", compare=False)
    """in lower case; empty for a plain path and for `-`, v4l2 for /dev/videoN"""
    host: str = field(default="", compare=False)
    """in lower case, an IPv6 address without its brackets; empty if the address names no host"""
    port: int | None = field(default=None, compare=False)
    """1 to 65535; 0 if the output is served at any free port; None if the address names no port"""
    path: str = field(default="", compare=False)
    """what follows the host, as it is written; /*** for RTMP and webhooks, whose paths are keys"""
    parameters: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """names and values in the query, decoded and in their order; the value is *** if the name is that of a secret"""
    query_text: Secret = field(default=Secret(""), compare=False)
    """the query as it is written"""
    fragment: str | None = field(default=None, compare=False)
    """what follows a #; None where there is none"""
    login: Login | None = field(default=None, compare=False)
    """None if the address has no @"""
    typed_login: Secret = field(default=Secret(""), compare=False)
    """User and password as the user typed them, before `full` had them escaped: where an address is repeated as it was
    typed, as on the command line, the password is found by this."""
    file: Path | None = field(default=None, compare=False)
    """the file that a plain path or file:// means; None for any other scheme"""

    @classmethod
    def parse(cls, text: AddressLike) -> Address:
        """The address that a user wrote; an Address comes back as it is.

        Raises UsageError, in one line that holds no part of a secret: if it cannot be told where the login ends, if the
        port is not a number that a port can have, if file:// names a host, and if no file can have the name.
        """
        if isinstance(text, Address):
            return text
        text = str(text)
        match = _SCHEME.match(text)
        if match is None:
            return _of_path(text)
        scheme = match[1].lower()
        if scheme in LOGINS:
            rest = text[match.end() :]
            login, behind = split_login(scheme, rest)
            made = _of_url(match[0], login, behind)
            return made if login is None else replace(made, typed_login=Secret(rest[: -len(behind) - 1]))
        if scheme in _WITH_QUERY:
            return _of_url(match[0], None, text[match.end() :])
        if scheme == "file":
            return cls(Secret(text), redact(text), scheme, file=_file_of(text, match.end()))
        return cls(Secret(text), redact(text), scheme)

    @classmethod
    def of_url(cls, url: str) -> Address:
        """From a URL that follows RFC 3986, as servers and libraries write them: nothing about its login is guessed.

        Raises UsageError.
        """
        scheme, mark, rest = url.partition("://")
        login, at, _ = _authority(rest).rpartition("@")
        return _of_url(scheme + mark, login if at else None, rest[len(login) + len(at) :])

    @classmethod
    def of_password(cls, password: Secret) -> Address:
        """Nothing but a password: wherever addresses are hidden, so is this."""
        return cls.parse(f"rtsp://:{quote(password.reveal(), safe='')}@")

    def __repr__(self) -> str:
        return self.shown

    @property
    def rest(self) -> Secret:
        """What follows `scheme://`: the pipeline of gst://, the device of v4l2://. For a path, the whole path."""
        text = self.full.reveal()
        match = _SCHEME.match(text)
        return Secret(text[match.end() :]) if match else self.full

    @property
    def query(self) -> dict[str, str]:
        """`parameters` by name. If a name comes twice, the last value counts."""
        return dict(self.parameters)

    @property
    def is_standard(self) -> bool:
        """Whether it is `-`, the standard output."""
        return self.full.reveal() == "-"

    @property
    def is_null(self) -> bool:
        """Whether it is an output that keeps nothing."""
        return self.full.reveal() == "null://"

    @property
    def is_hook(self) -> bool:
        """Whether it is a webhook."""
        return self.scheme in _HOOKS

    @property
    def is_playlist(self) -> bool:
        """Whether a playlist of HLS is named anywhere in it, as in the query or in a pipeline."""
        return ".m3u8" in self.full.reveal()

    @property
    def is_served(self) -> bool:
        """Whether an output is one to serve: web://, and rtsp:// without a host or with an empty user, as in
        rtsp://@:8554/path.
        """
        nobody = self.login is not None and not (self.login.user or self.login.password)
        return self.scheme == "web" or (self.scheme == "rtsp" and (not self.host or nobody))

    @property
    def comes_live(self) -> bool | None:
        """Whether an input delivers frames at its own pace, as a camera does. None for files and test://: their options
        decide.
        """
        decided_elsewhere = self.scheme == "test" or (self.file is not None and self.scheme != "v4l2")
        return None if decided_elsewhere else True

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port, as by the function `origin`. Only for the schemes in PORTS."""
        return self.scheme, self.host, self.port or PORTS[self.scheme]

    @property
    def without_login(self) -> Secret:
        """The whole address without its login, for protocols that send the login in a header."""
        if self.login is None:
            return self.full
        head, _, tail = self.full.reveal().partition("://")
        return Secret(f"{head}://{tail[_authority(tail).rfind('@') + 1 :]}")

    def with_login_of(self, other: Address) -> Address:
        """The same with the login of another address in place of its own."""
        login, at, _ = _authority(other.rest.reveal()).rpartition("@")
        head, mark, tail = self.without_login.reveal().partition("://")
        made = Address.of_url(f"{head}{mark}{login}{at}{tail}")
        return replace(made, typed_login=other.typed_login)

    def without(self, keys: Collection[str]) -> Address:
        """The same without those parameters of its query."""
        parts = urlsplit(self.full.reveal())
        kept = [(key, value) for key, value in parse_qsl(parts.query, keep_blank_values=True) if key not in keys]
        made = Address.of_url(parts._replace(query=urlencode(kept)).geturl())
        return replace(made, typed_login=self.typed_login)

    def served_at(self, listen: str) -> tuple[str, int, str]:
        """Host, port and path of an output that is served. listen: the host if the address names none."""
        default = SERVED[self.scheme][1]
        return self.host or listen, default if self.port is None else self.port, self.path

    def place(self, listen: str) -> object:
        """Equal for two names of one file, links and relative paths included, and for two names of one RTSP or web://
        stream. It asks the file system. listen: the host that servers bind to if the output names none.
        """
        if self.scheme == "web":
            host, port, name = self.served_at(listen)
            return host, port, name.strip("/") or WEB_NAME
        if self.is_served:
            return self.served_at(listen)
        if self.scheme == "rtsp":  # others serve it: whoever logs in, it is the same
            port = self.port or PORTS["rtsp"]
            return (self.host, port, self.path, *([self.query_text] if self.query_text else []))
        if self.file is None or self.is_standard:
            return self
        try:
            status = self.file.stat()
        except OSError:
            return os.path.realpath(self.file)
        return status.st_dev, status.st_ino

    def secrets(self) -> list[str]:
        """Every password and token in it, in all ways to write them, longest first. For searching, not to print."""
        found = secrets(self.full.reveal()) + secrets(self.without_login.reveal())
        if self.login is not None:
            found += forms([quote(self.login.password.reveal(), safe="")])
            for login in (_authority(self.rest.reveal()).rpartition("@")[0], self.typed_login.reveal()):
                user, _, written = login.partition(":")
                found += forms([written, user] if not written and is_random(user) else [written])
        return sorted(set(found), key=len, reverse=True)

    def scrub(self, text: str) -> str:
        """A text about this address, such as a library's error, in one line and without the address's secrets."""
        text, known = text.replace(self.full.reveal(), self.shown) if self.full else text, self.secrets()
        return redact(hide(" ".join(hide(text, known).split()), known))


AddressLike: TypeAlias = str | Path | Address
"""what users may write in place of an address"""


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL with a scheme in PORTS. URLs with the same origin may be sent the same login.

    Raises ValueError for a URL that makes no sense. The error may quote it.
    """
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname or "", parts.port or PORTS[scheme]


def host_and_port(url: str) -> str:
    """Both as a URL writes them, in lower case; empty if it has no host. Raises ValueError for one that makes no
    sense."""
    return urlsplit(url).netloc.lower()


def _authority(rest: str) -> str:
    """Login, host and port: what comes first in what follows `scheme://`."""
    return re.split("[/?#]", rest, maxsplit=1)[0]


def _of_path(text: str) -> Address:
    scheme = "v4l2" if text.startswith(_CAMERA) else ""
    return Address(Secret(text), redact(text), scheme, file=_named(text))


def _of_url(head: str, login: str | None, behind: str) -> Address:
    """head: the scheme as written, with ://. login: escaped; None if `behind` holds it, or there is none. behind: what
    follows the login.
    """
    scheme = head.partition("://")[0].lower()
    text = f"{head}{behind}" if login is None else f"{head}{login}@{behind}"
    parts = _split(scheme, text)
    shown = _shown(head, login, behind)
    query = parse_qsl(parts.query, keep_blank_values=True)
    made = Address(
        Secret(text),
        shown,
        scheme,
        parts.hostname or "",
        None,
        f"/{HIDDEN}" if scheme in _SECRET_PATHS else parts.path,
        tuple((key, HIDDEN if is_secret_key(key) else value) for key, value in query),
        Secret(parts.query),
        parts.fragment if "#" in text else None,
        _login_of(parts),
    )
    return replace(made, port=_port_of(parts, made)) if scheme in _WITH_HOST else made


def _shown(head: str, login: str | None, behind: str) -> str:
    if login is None:
        return redact(head + behind)
    user, colon, _ = login.partition(":")
    named = f"{user}:{HIDDEN}" if colon else HIDDEN if user else ""
    # Up to the last @ this may still be a part of a password that was read as a host: better to hide too much.
    behind = behind.rpartition("@")[2] if colon else behind
    return f"{head}{named}@{redact(head + behind)[len(head) :]}"


def _login_of(parts: SplitResult) -> Login | None:
    login, at, _ = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return Login(Secret(unquote(user)), Secret(unquote(password))) if at else None


def _split(scheme: str, text: str) -> SplitResult:
    """`urlsplit`. Raises UsageError, without the address: one that makes no sense may hide its password anywhere."""
    try:
        return urlsplit(text)
    except ValueError:
        raise UsageError(
            f"{scheme}://: the address makes no sense: in a user name or password write @ : / [ ] and "
            "what looks like them as %40 %3A %2F %5B %5D, and a host of IPv6 as [::1]"
        ) from None


def _port_of(parts: SplitResult, address: Address) -> int | None:
    """The port; None where there is none. Raises UsageError."""
    written = parts.netloc.rpartition("@")[2].rpartition(":")[2]
    # rtsp://user:password without @host: the "port" is a password.
    shown = address.shown if not written or written.isdigit() else address.shown.replace(f":{written}", f":{HIDDEN}")
    try:
        port, known = parts.port, True
    except ValueError:
        port, known = None, False
    if address.is_served:
        if not known:
            raise UsageError(f"{shown}: the port must be 0 to 65535, as in {SERVED[address.scheme][0]}")
    elif not known or port == 0 or parts.netloc.endswith(":"):
        raise UsageError(f"{shown}: the port must be a number from 1 to 65535")
    return port


def _file_of(text: str, start: int) -> Path:
    """The path of a file:// address, which begins at `start`."""
    parts = _split("file", text)
    if parts.netloc not in ("", "localhost"):
        place = redact(f"file://{parts.netloc}{parts.path}").removeprefix("file://")
        raise UsageError(f"{redact(text)}: a file:// address names no host; write file:///{place}")
    # A '#' or '?' cannot be told from a fragment or a query here, and files are called both.
    return _named(unquote(text[start + len(parts.netloc) :]))


def _named(path: str) -> Path:
    if "\0" in path:  # of the calls of the system some say so, and some that there is no such file
        raise UsageError(f"{path!r}: no file can have a NUL in its name")
    return Path(path)

"""Addresses taken apart, and those that cannot be. Pure."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

from ...engine.errors import UsageError
from .redact import redact

LOGINS = {"rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "mqtt", "mqtts", "hook+http", "hook+https"}
"""schemes of addresses that may hold a user name and a password"""
PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
"""by scheme, where an address names none"""
_HOST = re.compile(r"(?P<host>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.%]+\]|)(?P<port>:\d{1,5})?")
_PLAIN = "!$&'()*+,;=:"
"""what may stand in a login as it is, RFC 3986, section 3.2.1, beside letters, digits and -._~"""


def escaped(uri: str) -> str:
    """The address with its login written so that every library reads it alike: `rtsp://me:a/b@host` as
    `rtsp://me:a%2Fb@host`. What is escaped already, and what has no login, comes back as it is. Pure.

    A password with / ? # or @ in it ends where a host follows that nothing else can be; an @ in the path or in a
    parameter does not count. Raises UsageError, without the address, where it can be read in two ways.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark or scheme.lower() not in LOGINS:
        return uri
    end = _login_end(scheme, rest)
    if end is None:
        return uri
    if scheme.lower().startswith("rtmp"):  # FFmpeg sends its logins as they are written
        if re.search("[/?#]", rest[:end]):
            raise UsageError(f"{scheme}://: a user name or password cannot have / ? or # in it with RTMP")
        return uri
    user, colon, password = rest[:end].partition(":")
    return f"{scheme}://{_quoted(user)}{colon}{_quoted(password)}{rest[end:]}"


def _login_end(scheme: str, rest: str) -> int | None:
    """Where the @ is that ends the login; None where there is none. Raises UsageError."""
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    later = [at.start() for at in re.finditer("@", rest) if at.start() > len(authority) and _may_end(rest, at.start())]
    usual = authority.rfind("@")
    host = authority[usual + 1 :]
    sane = _HOST.fullmatch(host) is not None
    with_password = ":" in (authority[:usual] if usual >= 0 else authority)
    lost = not sane and not later and "@" in rest[len(authority) :]
    if not lost and (not later or not with_password or (sane and _certain(host, usual >= 0))):
        return usual if usual >= 0 else None
    sure = [at for at in later if _certain(_host_after(rest, at), True)]
    if len(sure) == 1 and (usual >= 0 or not sane):
        return sure[0]
    if len(later) == 1 and not sane:
        return later[0]
    raise UsageError(
        f"{scheme}://: the address can be read in two ways: in a user name or password write @ / ? # as %40 %2F %3F "
        "%23, and an @ that is none of a login as %40"
    )


def _may_end(rest: str, at: int) -> bool:
    """Whether the @ there may end a login: a host follows, and it stands in no parameter."""
    _, asked, query = rest[:at].partition("?")
    found = _HOST.fullmatch(_host_after(rest, at))
    named = found is not None and bool(found["port"] or not found["host"].isdigit()) and found[0] != ""
    return named and not (asked and "=" in query)


def _host_after(rest: str, at: int) -> str:
    return re.split("[/?#]", rest[at + 1 :], maxsplit=1)[0]


def _certain(host: str, login: bool) -> bool:
    """Whether it can be nothing but a host. login: it stands after one, where a number after a colon is a port."""
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["host"]
    return "." in name or name.startswith("[") or name == "localhost" or (login and bool(found["port"]))


def _quoted(part: str) -> str:
    """Escaped, where it is not: a % that begins no escape is one itself."""
    pieces = re.split(r"(%[0-9A-Fa-f]{2})", part)
    return "".join(piece if place % 2 else quote(piece, safe=_PLAIN) for place, piece in enumerate(pieces))


def split(uri: str) -> SplitResult:
    """`urlsplit`. Raises UsageError, without the address: one that makes no sense may hide its password anywhere."""
    try:
        return urlsplit(uri)
    except ValueError:
        raise UsageError(
            f"{uri.partition('://')[0]}://: the address makes no sense: in a user name or password write @ : / [ ] and "
            "what looks like them as %40 %3A %2F %5B %5D, and a host of IPv6 as [::1]"
        ) from None


def origin(uri: str) -> tuple[str, str | None, int]:
    """Scheme, host and port of an address of one of the schemes in PORTS: equal where a login for one is for the other.

    Raises ValueError for an address that makes no sense, which the error may quote.
    """
    parts = urlsplit(uri)
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or PORTS[scheme]


def check_server(uri: str, name: str) -> None:
    """Raises UsageError for an address that names no server, or a port that is none. name: safe to print."""
    parts = split(uri)
    if not parts.hostname:
        raise UsageError(f"{name}: name the server, as in {parts.scheme}://camera:{PORTS[parts.scheme.lower()]}/path")
    port_of(parts, name)


def port_of(parts: SplitResult, name: str) -> int | None:
    """The port to connect to; None where the address has none. name: safe to print.

    Raises UsageError, without what is there: after a slash in a password, that may be a part of it.
    """
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise UsageError(f"{name}: the port must be a number from 1 to 65535")
    return port


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def file_path(uri: str) -> Path | None:
    """The path that `uri` means: a plain path or file://; None for any other scheme.

    Raises UsageError for file://host/, and for a name that holds a NUL, which no file can have.
    """
    match = _SCHEME.match(uri)
    if match is None:
        return _named(uri)
    if match[1].lower() != "file":
        return None
    parts = split(uri)
    if parts.netloc not in ("", "localhost"):
        raise UsageError(f"{uri}: a file:// address names no host; write file:///{parts.netloc}{parts.path}")
    # A '#' or '?' cannot be told from a fragment or a query here, and files are called both.
    rest = uri[match.end() :]
    return _named(unquote(rest[len(parts.netloc) :]))


def _named(path: str) -> Path:
    if "\0" in path:  # of the calls of the system some say so, and some that there is no such file
        raise UsageError(f"{path!r}: no file can have a NUL in its name")
    return Path(path)


SERVED = {"rtsp": ("rtsp://@:8554/path", 8554), "web": ("web://:8345/name", 8345)}
"""by scheme: an example of what is served, and the port where the output names none"""
WEB_NAME = "live"
"""what a stream of web:// is called that the output does not name"""


def serves(uri: str) -> bool:
    """Whether an rtsp:// output is one to serve: no host, or an empty user, as in rtsp://@:8554/path."""
    authority = uri.split("://", 1)[1].split("/", 1)[0]
    login, _, host = authority.rpartition("@")
    return not host or host.startswith(":") or ("@" in authority and not login)


def served_at(uri: str, listen: str) -> tuple[str, int, str]:
    """Address, port and path of an output that is served. listen: the address where it names none.

    Raises UsageError for a port that is none.
    """
    parts = split(uri)
    example, default = SERVED[parts.scheme.lower()]
    try:
        port = parts.port
    except ValueError:
        raise UsageError(f"{redact(uri)}: the port must be 0 to 65535, as in {example}") from None
    return parts.hostname or listen, default if port is None else port, parts.path


def identity(uri: str, listen: str) -> object:
    """Equal for two names of one file, through links and relative paths, and of one stream by RTSP."""
    try:
        path = file_path(uri) if uri != "-" else None
        if uri.lower().startswith("rtsp://"):
            return served_at(uri, listen) if serves(uri) else _led_to(uri)
        if uri.lower().startswith("web://"):
            host, port, name = served_at(uri, listen)
            return host, port, name.strip("/") or WEB_NAME
    except (UsageError, ValueError):  # told by whoever opens it
        return uri
    if path is None:
        return uri
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def _led_to(uri: str) -> tuple[str | None, int, str]:
    """Address, port and path of an rtsp:// that others serve: whoever logs in, it is the same."""
    parts = split(uri)
    return parts.hostname, parts.port or 554, f"{parts.path}?{parts.query}" if parts.query else parts.path

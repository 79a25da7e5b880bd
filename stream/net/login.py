"""Finds the login in an address: people write passwords that contain the characters which should end them. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote

from ...engine.errors import UsageError

LOGINS = {"rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "mqtt", "mqtts", "hook+http", "hook+https"}
"""Schemes of addresses that may contain a user name and a password."""
_HOST = re.compile(r"(?P<host>[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.%]+\]|)(?P<port>:\d{1,5})?")
_PLAIN = "!$&'()*+,;=:"
"""Characters that need no escape in a login, beside letters, digits and -._~ (RFC 3986, section 3.2.1)."""


def split_login(scheme: str, rest: str) -> tuple[str | None, str]:
    """The login of an address of one of LOGINS, and what follows the @ behind it. None where there is no @.

    The login comes back as every library reads it alike: of `rtsp://me:a/b@host` it is `me:a%2Fb`. What is escaped
    already stays as it is. scheme: in lower case. rest: the address behind `://`.

    A password with / ? # or @ in it ends where a host follows that nothing else can be; an @ in the path or in a
    parameter does not count. Raises UsageError, without the address, where it can be read in two ways.
    """
    end = _login_end(scheme, rest)
    if end is None:
        return None, rest
    login, behind = rest[:end], rest[end + 1 :]
    if scheme.startswith("rtmp"):  # FFmpeg sends its logins as they are written
        if re.search("[/?#]", login):
            raise UsageError(f"{scheme}://: a user name or password cannot have / ? or # in it with RTMP")
        return login, behind
    user, colon, password = login.partition(":")
    return f"{_quoted(user)}{colon}{_quoted(password)}", behind


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

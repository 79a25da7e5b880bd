"""Follows RTSP redirects: FFmpeg would send the login to any host that a server names."""

from __future__ import annotations

import base64
import contextlib
import socket
import time
from email.message import Message
from email.parser import BytesHeaderParser
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urljoin
from urllib.request import AbstractDigestAuthHandler, parse_http_list, parse_keqv_list

from ...engine.errors import UsageError
from ..net.address import Address
from ..net.secret import Login
from ..net.tls import SCHEMES, trusting
from .feed import REFUSALS, FeedLost, FeedRefused

MOST = 5
"""Maximum number of redirects that are followed."""
LONGEST = 1 << 16
"""Maximum bytes of an answer."""
DENIED = 401


class _Answer(NamedTuple):
    status: int
    headers: Message


def led_to(address: Address, timeout: float, tls_ca: str | None) -> Address:
    """The address that the server redirects to, with the login only if it is the same server; `address` itself if
    there is no redirect, or if the server cannot be asked: opening it then tells what is wrong.

    timeout: maximum seconds for all requests. tls_ca: see SourceOptions. Raises FeedLost if no answer comes or if there
    are too many redirects; FeedRefused if the login is wrong, because a second attempt might lock the account.
    """
    deadline = time.monotonic() + timeout
    for _ in range(MOST):
        try:
            answer = _ask(address, deadline, tls_ca)
        except TimeoutError:
            raise FeedLost(f"no answer within {timeout:g} s") from None
        except (OSError, ValueError):
            return address
        location = answer.headers.get("Location", "")
        if not (300 <= answer.status < 400 and location):
            return address
        address = _next(address, location)
    raise FeedLost(f"the server leads elsewhere more than {MOST} times")


def _next(address: Address, location: str) -> Address:
    """The address of `location` as seen from `address`. Raises FeedLost, without quoting it: it may hold a password."""
    try:
        after = Address.of_url(urljoin(address.full.reveal(), location))
        if after.scheme not in ("rtsp", "rtsps") or not after.host:
            raise ValueError
        if after.origin != address.origin or after.login is not None:
            return after
        return after.with_login_of(address)
    except (UsageError, ValueError):  # also raised for an invalid port or IPv6 address
        raise FeedLost("the server leads to what is no address of RTSP") from None


def _ask(address: Address, deadline: float, tls_ca: str | None) -> _Answer:
    """The server's answer to DESCRIBE. Raises OSError, ValueError and FeedRefused."""
    scheme, host, port = address.origin
    plain, login = address.without_login.reveal(), address.login
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((host, port), _left(deadline)))
        if scheme in SCHEMES:
            connection = stack.enter_context(trusting(tls_ca).wrap_socket(connection, server_hostname=host))
        answer = _describe(connection, plain, 1, "", deadline)
        if answer.status != DENIED or login is None or not login.user:
            return answer
        answer = _describe(connection, plain, 2, _authorization(answer.headers, plain, login), deadline)
    if answer.status == DENIED:
        raise FeedRefused(*REFUSALS[DENIED])
    return answer


def _describe(connection: socket.socket, url: str, number: int, authorization: str, deadline: float) -> _Answer:
    lines = [f"DESCRIBE {url} RTSP/1.0", f"CSeq: {number}", "Accept: application/sdp", "User-Agent: saliency-tubes"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    connection.settimeout(_left(deadline))
    connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection, len(data), deadline)
    head, _, body = data.partition(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    protocol, _, status = first.decode("latin-1").partition(" ")
    if not protocol.startswith("RTSP/"):
        raise ValueError(protocol)
    headers = BytesHeaderParser().parsebytes(rest)
    length = int(headers.get("Content-Length") or 0)
    while len(body) < length:
        body += _more(connection, len(body), deadline)
    return _Answer(int(status[:3]), headers)


def _more(connection: socket.socket, known: int, deadline: float) -> bytes:
    connection.settimeout(_left(deadline))
    data = connection.recv(4096)
    if not data or known > LONGEST:
        raise ValueError("no whole answer")
    return data


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _authorization(headers: Message, url: str, login: Login) -> str:
    """The Authorization header that the server asks for, digest if it offers that, else basic. Raises ValueError if it
    offers neither."""
    words = (login.user.reveal(), login.password.reveal())
    asked = {}
    for challenge in headers.get_all("WWW-Authenticate", []):
        kind, _, rest = challenge.partition(" ")
        asked[kind.lower()] = rest
    if "digest" in asked:
        logins = SimpleNamespace(add_password=None, find_user_password=lambda realm, where: words)
        request = SimpleNamespace(full_url=url, selector=url, data=None, get_method=lambda: "DESCRIBE")
        values = parse_keqv_list(parse_http_list(asked["digest"]))
        made = AbstractDigestAuthHandler(logins).get_authorization(request, values)  # type: ignore[arg-type]
        if made:
            return f"Digest {made}"
    if "basic" in asked:
        return "Basic " + base64.b64encode(":".join(words).encode()).decode()
    raise ValueError("no way to log in that is known here")

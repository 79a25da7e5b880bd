"""The link that lets the first person in, where a server makes its own token."""

from __future__ import annotations

import secrets
import socket
import sys

from ..net.secret import Secret

BYTES = 24
"""of a token that is made"""
_ELSEWHERE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
"""Addresses that nobody has (RFC 5737, RFC 3849), for asking the system which one of its own it would use."""


def made_token() -> Secret:
    """A token that nobody can guess."""
    return Secret(secrets.token_urlsafe(BYTES))


def show_link(host: str, port: int, token: Secret) -> None:
    """Prints it once on stderr, past the log: no log is to have it."""
    shown = reachable(host)
    shown = f"[{shown}]" if ":" in shown else shown
    sys.stderr.write(
        f"sign in  http://{shown}:{port}/login?token={token.reveal()}\n"
        "         printed once, with a token that lasts until this program ends; --web-token sets one of your own\n"
    )
    sys.stderr.flush()


def reachable(host: str) -> str:
    """An address by which other machines reach a server that is bound to `host`. Sends nothing."""
    if host not in ("0.0.0.0", "::"):
        return host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((_ELSEWHERE[family], 9))
            return str(asking.getsockname()[0])
    except OSError:  # no network
        return socket.gethostname()

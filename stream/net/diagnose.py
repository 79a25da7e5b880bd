"""Finds out why a server cannot be reached or trusted; libraries only report that something went wrong."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from .address import PORTS, Address
from .tls import SCHEMES, distrust


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a server."""

    words: str
    distrusted: bool
    """True: the server answers, and its certificate is refused; False: it cannot be reached"""


def diagnose(address: Address, tls_ca: str | None) -> Trouble | None:
    """What is wrong with the server of an address; None where nothing is, or the scheme is none of PORTS.

    Uses the network; takes two seconds at most after the name is resolved. tls_ca: see SourceOptions.
    """
    if address.scheme not in PORTS:
        return None
    scheme, host, port = address.origin
    try:
        with socket.create_connection((host, port), timeout=1.0) as connection:
            wrong = distrust(connection, host, tls_ca) if scheme in SCHEMES else None
    except socket.gaierror:
        return Trouble(f"no host is known by the name {host}", False)
    except (OSError, ValueError) as error:
        return Trouble(f"{host} cannot be reached: {str(getattr(error, 'strerror', None) or error).lower()}", False)
    return Trouble(wrong, True) if wrong else None

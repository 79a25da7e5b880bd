"""Addresses taken apart, and those that cannot be. Pure."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from ..engine.errors import UsageError


def split(uri: str) -> SplitResult:
    """`urlsplit`. Raises UsageError, without the address: one that makes no sense may hide its password anywhere."""
    try:
        return urlsplit(uri)
    except ValueError:
        raise UsageError(
            f"{uri.partition('://')[0]}://: the address makes no sense: in a user name or password write @ : / [ ] and "
            "what looks like them as %40 %3A %2F %5B %5D, and a host of IPv6 as [::1]"
        ) from None


def port_of(parts: SplitResult, name: str) -> int | None:
    """The port to connect to; None where the address has none. name: safe to print.

    Raises UsageError, without what is there: after a slash in a password, that may be a part of it.
    """
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise UsageError(f"{name}: the port must be a number from 1 to 65535")
    return port

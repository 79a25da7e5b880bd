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

"""Failed logins at a server: how long each must wait for its answer, and what is logged. Pure: the caller tells the
time."""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass

FREE = 5
"""Number of failed logins of one address that are answered at once."""
PAUSES = (1.0, 10.0)
"""Minimum and maximum seconds before the answer to further failed logins; they double with each."""
FORGET = 600.0
"""Seconds without a failed login after which an address may fail FREE times again."""
EVERY = 60.0
"""Minimum seconds between two lines in the log."""
ADDRESSES = 1024
"""Maximum number of addresses that are remembered; then those whose last failure is oldest are forgotten."""
NAMED = 5
"""Maximum number of addresses in one line of the log."""


def party(address: str) -> str:
    """What an address is counted as: itself, or for IPv6 its network of 64 bits, all of which one machine may have."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    if parsed.is_loopback or parsed.is_link_local:  # all machines on a link share this network
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


@dataclass(frozen=True)
class _Record:
    failures: int
    last: float


class Doorkeeper:
    """Remembers failed logins by address. Not safe for several threads."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, _Record] = OrderedDict()
        self._failed: Counter[str] = Counter()
        self._turned_away: Counter[str] = Counter()
        self._told = -EVERY

    def failed(self, who: str, now: float) -> float:
        """Counts a failed login. Returns the seconds to wait before the answer. who: see `party`. now: seconds."""
        known = self._records.pop(who, None)
        failures = 1 if known is None or now - known.last > FORGET else known.failures + 1
        self._records[who] = _Record(failures, now)
        if len(self._records) > ADDRESSES:
            self._records.popitem(last=False)
        _count(self._failed, who)
        first, longest = PAUSES
        return 0.0 if failures <= FREE else min(longest, first * 2.0 ** min(failures - FREE - 1, 10))

    def turned_away(self, who: str) -> None:
        """Counts a connection that was refused because there were too many."""
        _count(self._turned_away, who)

    def line(self, now: float) -> str:
        """The line to log now, at most one in EVERY seconds; empty if there is nothing to log."""
        if not (self._failed or self._turned_away) or now - self._told < EVERY:
            return ""
        self._told = now
        parts = []
        if self._failed:
            parts.append(f"failed logins: {_listed(self._failed)}")
        if self._turned_away:
            parts.append(f"connections for which there was no place: {_listed(self._turned_away)}")
        self._failed.clear()
        self._turned_away.clear()
        return "; ".join(parts)


def _count(counts: Counter[str], who: str) -> None:
    if who in counts or len(counts) < ADDRESSES:
        counts[who] += 1


def _listed(counts: Counter[str]) -> str:
    named = [f"{count} from {who}" for who, count in counts.most_common(NAMED)]
    more = len(counts) - len(named)
    return ", ".join([*named, f"and others from {more} more addresses"] if more else named)

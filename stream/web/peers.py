"""Who gets a stream's video by WebRTC. All of it lives in the server's thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from .media import Media

CLOCK = 90_000
"""Ticks a second of RTP timestamps of video (RFC 6184, section 5.1)."""
PEERS = 8
"""Maximum number of them for a stream: each packet is encrypted for each of them, in the thread that serves all."""


class Peer(Protocol):
    """One connection by WebRTC."""

    name: str
    connected: bool

    def take(self, media: Media) -> None:
        """The next frame. Never waits."""
        ...

    async def wait_for_origin(self, timeout: float) -> int | None:
        """The RTP timestamp of media time 0, as soon as it is known; None if it is not within `timeout` seconds."""
        ...

    async def close(self) -> None:
        """Ends it, if it has not ended."""
        ...


class Peers:
    """The connections of one stream, also those that are not there yet."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """changed: is called when there is another number that are connected."""
        self._changed = changed
        self._peers: dict[str, Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def is_full(self) -> bool:
        return len(self) >= PEERS

    def get(self, name: str) -> Peer | None:
        return self._peers.get(name)

    def add(self, peer: Peer) -> None:
        """One that may connect; `connect` says when it has."""
        self._peers[peer.name] = peer

    def connect(self, peer: Peer) -> None:
        if peer.name in self._peers:
            self._changed()

    def drop(self, peer: Peer) -> None:
        self._peers.pop(peer.name, None)
        self._changed()

    def connected(self) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.connected]

    async def end(self) -> None:
        """Ends all that there are."""
        await asyncio.gather(*(peer.close() for peer in tuple(self._peers.values())))

"""Serves the page of all web:// outputs before the streams are open: it tells of those that are away, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from ..net.address import Address
from ..net.loopback import is_loopback
from ..sinks.open import open_sink
from ..telemetry.health import Told
from .config import Config, label_of


@contextmanager
def serving_pages(streams: Sequence[Config], snapshots: Callable[[], Mapping[str, Told]]) -> Iterator[list[str]]:
    """While the block lasts; gives the URLs of those pages that only this machine can open. snapshots: how all streams
    are, by label. Raises UsageError and SinkError, such as for a port that is taken."""
    own: list[str] = []
    with ExitStack() as stack:
        for config in streams:
            for address in map(Address.parse, config.outputs):
                if address.scheme == "web" and address.port != 0:  # each stream at port 0 has a server of its own
                    own += _expect(stack, config, address, snapshots)
        yield list(dict.fromkeys(own))


def _expect(
    stack: ExitStack, config: Config, address: Address, snapshots: Callable[[], Mapping[str, Told]]
) -> list[str]:
    from ..sinks.web import WebSink

    sink = open_sink(address, config.sink)
    assert isinstance(sink, WebSink)
    server = sink.acquire()
    stack.callback(server.release)
    server.expected[sink.stream] = partial(_told, snapshots, label_of(config))
    return [sink.url] if is_loopback(address.served_at(config.sink.listen)[0]) else []


def _told(snapshots: Callable[[], Mapping[str, Told]], label: str) -> Told:
    return snapshots().get(label)

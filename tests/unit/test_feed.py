"""One connection: which failures another attempt may mend, and what is said of a server that cannot be reached."""

from __future__ import annotations

import av
import pytest
from saliency_tubes.engine.errors import UsageError
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sources import av_feed
from saliency_tubes.stream.sources.base import SourceOptions
from saliency_tubes.stream.sources.feed import FeedLost, FeedRefused, failure


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (av.error.ArgumentError(22, "Invalid argument"), FeedRefused),  # a ValueError, but perhaps a server's doing
        (av.error.InvalidDataError(1, "Invalid data found"), FeedLost),
        (av.error.ProtocolNotFoundError(1, "Protocol not found"), UsageError),
        (ValueError("no container format"), UsageError),
    ],
)
def test_what_another_attempt_may_mend(
    raised: Exception, expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    connect = av_feed.connector(Address.parse("udp://127.0.0.1:1"), SourceOptions(), 1.0)
    monkeypatch.setattr(av, "open", fail)
    with pytest.raises(expected):
        connect()


@pytest.mark.parametrize("uri", ["udp://127.0.0.1:1", "gst://rtspsrc location=rtsp://127.0.0.1:1/x", "/dev/video77"])
def test_what_is_no_server_to_connect_to_is_not_diagnosed(uri: str) -> None:
    assert failure(Address.parse(uri), None) is None


def test_a_server_that_is_not_there() -> None:
    assert "127.0.0.1 cannot be reached" in str(failure(Address.parse("rtsp://127.0.0.1:1/x"), None))

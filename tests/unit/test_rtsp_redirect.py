"""Where an RTSP server leads to, and what it may say instead of an address."""

from __future__ import annotations

import socket

import pytest
from saliency_tubes.stream.net.address import Address
from saliency_tubes.stream.sources.feed import FeedLost
from saliency_tubes.stream.sources.rtsp_redirect import led_to
from servers import accepting


def leading(location: str):
    """Talks as an RTSP server that leads there once, and then says that it has what is asked for."""
    answers = [f"302 Found\r\nLocation: {location}", "200 OK"]

    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"RTSP/1.0 {answers.pop(0)}\r\nCSeq: 1\r\n\r\n".encode())

    return talk


@pytest.mark.parametrize(
    "location", ["rtsp://camera:99999/x", "rtsp://camera:hush/x", "rtsp://[::1/x", "//camera:x/y", "file:///etc/passwd"]
)
def test_what_is_no_address_is_a_connection_that_is_tried_again(location: str) -> None:
    """And no other error, which would end a live stream for good."""
    with accepting(leading(location)) as port, pytest.raises(FeedLost) as caught:
        led_to(Address.parse(f"rtsp://me:hush@127.0.0.1:{port}/x"), 5.0, None)
    assert str(caught.value) == "the server leads to what is no address of RTSP"


@pytest.mark.parametrize("login", ["me:hush@", ""])
def test_the_login_goes_along_on_one_server_and_none_is_made_up(login: str) -> None:
    with accepting(leading("/other")) as port:
        found = led_to(Address.parse(f"rtsp://{login}127.0.0.1:{port}/x"), 5.0, None)
    assert found.full.reveal() == f"rtsp://{login}127.0.0.1:{port}/other"

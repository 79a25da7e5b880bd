"""Pictures one after the other in one answer, for `<img>`: multipart/x-mixed-replace."""

from __future__ import annotations

import asyncio

from .access import Receive, Scope, Send
from .audience import Audience

BOUNDARY = b"--picture\r\n"
KIND = b"multipart/x-mixed-replace; boundary=picture"


class Mjpeg:
    """An answer in ASGI's form: sends each new picture until the stream or the viewer ends. One that reads slowly gets
    fewer."""

    def __init__(self, audience: Audience, silence: float) -> None:
        """silence: seconds without a new picture after which the last one is sent again."""
        self._audience, self._silence = audience, silence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", KIND)]})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        self._audience.watch(1)
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._audience.watch(-1)
            for task in (sending, leaving):
                task.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.body", "body": BOUNDARY, "more_body": True})
        number, last = -1, None
        while picture := await self._audience.next(number, self._silence) or last:
            if self._audience.ended:
                break
            number, data = last = picture
            # Send the next boundary at once: a browser shows a picture only when it has seen its end.
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            body = b"".join((head, data, b"\r\n", BOUNDARY))
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def left(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass

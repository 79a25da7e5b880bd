"""What a client sends with a request: never more than is asked for, and never for long."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

SECONDS = 10.0
"""Maximum seconds that a body may take to come."""


async def read_body(request: Request, longest: int) -> bytes:
    """longest: bytes. Raises HTTPException where it is longer, or does not come."""
    try:
        return await asyncio.wait_for(_read(request, longest), SECONDS)
    except asyncio.TimeoutError:
        raise HTTPException(408, f"the body did not come within {SECONDS:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body did not come") from None


async def _read(request: Request, longest: int) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > longest:
            raise HTTPException(413, f"a body has {longest} bytes at most", {"Connection": "close"})
    return bytes(body)

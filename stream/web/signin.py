"""Where one signs in with a token and gets a cookie: a form, and the link that a server prints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .access import Scope
from .body import read_body
from .logins import Logins, Role

SIGN_IN = "/login"
LONGEST = 2048
"""Maximum bytes of a form: a token, of which each sign may take three."""
POLICY = ("Referrer-Policy", "strict-origin")
"""Header of the form: by no-referrer, as elsewhere, browsers would send it with the origin null, which is refused. What
they tell by this one is this server's address, without paths and tokens."""
_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Saliency Tubes</title>
<link rel="stylesheet" href="/static/app.css">
"""
_FORM = """<main class="signin">
<h1>Saliency Tubes</h1>
<form method="post" action="/login">
<label for="token">This server asks for its token</label>
<input name="user" autocomplete="username" value="viewer" hidden>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button class="strong" type="submit">Sign in</button>
<p role="alert">%s</p>
</form>
</main>
"""
_AGAIN = '<meta http-equiv="refresh" content="0; url=/">\n<p><a href="/">Go on</a></p>\n'


class SignIn:
    """The route at SIGN_IN: GET signs in where the address has a token and else shows the form, POST takes the form."""

    def __init__(self, logins: Logins, fail: Callable[[Scope], Awaitable[None]]) -> None:
        """fail: counts a failed login, and returns when it may be answered."""
        self._logins, self._fail = logins, fail

    async def answer(self, request: Request) -> Response:
        if not self._logins.asks:  # as by a bookmark of another time
            return RedirectResponse("/", 303)
        if request.method == "POST":
            return await self._try(request, _token_in(await read_body(request, LONGEST)))
        token = request.query_params.get("token", "")
        return await self._try(request, token) if token else _html(page(), 200)

    async def _try(self, request: Request, token: str) -> Response:
        role = self._logins.of_token(token.strip())
        if role is Role.NOBODY:
            await self._fail(request.scope)
            return _html(page("That is not the token."), 401)
        answer = RedirectResponse("/", 303)
        by_proxy = request.headers.get("x-forwarded-proto", "").strip().lower()
        answer.set_cookie(
            self._logins.cookie_name,
            self._logins.cookie(role),
            httponly=True,
            samesite="strict",
            secure="https" in (request.url.scheme, by_proxy),
        )
        return answer


def _html(body: bytes, status: int) -> Response:
    return HTMLResponse(body, status, dict([POLICY]))


def _token_in(form: bytes) -> str:
    """The token in a form; empty if it has none."""
    try:
        return parse_qs(form.decode("utf-8", "replace"), max_num_fields=8).get("token", [""])[0]
    except ValueError:  # it has more fields
        return ""


def page(wrong: str = "") -> bytes:
    """The form as HTML. wrong: what to say about the token before."""
    return (_HEAD + _FORM % wrong).encode()


def welcome() -> bytes:
    """A page that opens the page itself, by a request of its own, for those whose browser has a cookie."""
    return (_HEAD + _AGAIN).encode()


def forgotten(cookie: str) -> str:
    """The header that makes a browser forget a cookie."""
    return f"{cookie}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict"

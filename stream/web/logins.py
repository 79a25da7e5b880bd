"""Who asks, by the token or the cookie that he shows. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from http.cookies import CookieError, SimpleCookie

from ...engine.errors import UsageError
from ..net.secret import Secret

_SCHEME = "bearer"
_PURPOSE = b"saliency-tubes cookie"
"""What a token signs to make its cookie: who reads a cookie does not have the token."""


class Role(IntEnum):
    """What somebody may do; whoever may do more has the greater one."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    """may also change streams, for all who watch them"""


@dataclass(frozen=True)
class AccessRules:
    """What a user said about who may reach a web server."""

    token: Secret = Secret("")
    """of viewers; empty: none was given"""
    operator: Secret = Secret("")
    """of those who may change streams; empty: nobody may"""
    insecure: bool = False
    """everybody may watch, also where other machines reach the server"""
    names: frozenset[str] = frozenset()
    """names that the server may be called by, in lower case, beside addresses and this machine's own"""

    def __post_init__(self) -> None:
        if self.token and self.token == self.operator:
            raise UsageError("web-token and web-operator-token must differ: every viewer would be an operator")


@dataclass(frozen=True)
class Asker:
    """What a request showed."""

    role: Role
    failed: bool = False
    """whether it showed a token, or a cookie, that is none"""
    stale: bool = False
    """whether its cookie is none: the browser should forget it"""


class Logins:
    """The tokens of one server."""

    def __init__(self, rules: AccessRules, token: Secret, port: int) -> None:
        """token: of viewers; empty: everybody may watch. port: names the cookie, since a browser sends cookies to all
        ports of a host."""
        self.needed = bool(token)
        """whether viewers need a token"""
        self.has_operator = bool(rules.operator)
        """whether anybody may change streams"""
        self.asks = self.needed or self.has_operator
        """whether anybody can show a token"""
        self.cookie_name = f"saliency-tubes-{port}"
        tokens = ((Role.VIEWER, token), (Role.OPERATOR, rules.operator))
        self._tokens = [(role, secret.reveal().encode()) for role, secret in tokens if secret]

    def of_token(self, shown: str) -> Role:
        """What a token allows; NOBODY if it is none. Takes the same time for every wrong one."""
        return self._of(shown.encode("utf-8", "replace"), [(role, token) for role, token in self._tokens])

    def of_cookie(self, shown: str) -> Role:
        """What a cookie's value allows; NOBODY if it is none."""
        cookies = [(role, self._signed(token)) for role, token in self._tokens]
        return self._of(shown.encode("utf-8", "replace"), cookies)

    def cookie(self, role: Role) -> str:
        """The value of the cookie of a role that has a token."""
        return next(self._signed(token) for known, token in self._tokens if known == role).decode()

    def look(self, headers: Mapping[str, str]) -> Asker:
        """Who makes a request. headers: by their names in lower case."""
        everybody = Role.NOBODY if self.needed else Role.VIEWER
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if self._tokens and scheme.lower() == _SCHEME:
            role = self.of_token(shown.strip())
            return Asker(max(role, everybody) if role else Role.NOBODY, failed=not role)
        cookie = _cookie(headers.get("cookie", ""), self.cookie_name)
        if not cookie:
            return Asker(everybody)
        role = self.of_cookie(cookie)
        return Asker(max(role, everybody), failed=not role and self.needed, stale=not role)

    @staticmethod
    def _signed(token: bytes) -> bytes:
        return hmac.new(token, _PURPOSE, sha256).hexdigest().encode()

    @staticmethod
    def _of(shown: bytes, known: list[tuple[Role, bytes]]) -> Role:
        found = Role.NOBODY
        digest = sha256(shown).digest()  # of one length, so that the time tells nothing of a token's
        for role, secret in known:  # to the end, also if one fits
            if hmac.compare_digest(digest, sha256(secret).digest()):
                found = max(found, role)
        return found


def _cookie(header: str, name: str) -> str:
    """The value of a cookie; empty if there is none of the name, or if the header is none."""
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found is not None else ""

"""Finds and hides what looks like a password in text of which nothing else is known. Pure.

Of an address that was parsed more is known: `Address.shown` and `Address.scrub`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote

from .secret import HIDDEN

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOGIN = re.compile(r"(://[^/?#@:\s]*):([^/?#\s]*)@")
# A password with an unescaped slash seems to end the authority. So everything after "user:" that is not a port number
# is hidden up to the last @. This may also hide a host before an @ in the path: better too much than a password in a
# log. A password with a space is hidden up to the first @.
_LOOSE_LOGIN = re.compile(r"(://[^/?#@:\s]+):(?!\d+(?:[/?#\s]|$))(?!\*\*\*@[^@\s]*(?:\s|$))(\S*|\S[^/?#@]*)@")
# Names in queries and of GStreamer's properties, in which a value in quotes may contain spaces.
_NAMES = "pass|passwd|password|passphrase|pwd|pw|psk|token|secret|key|auth|authorization|sig|signature|credentials?"
_SECRET = re.compile(rf"""\b((?<=[?&])[\w-]*code|[\w-]*(?:{_NAMES}))\s*=\s*("[^"]*"|'[^']*'|[^&#\s]+)""", re.IGNORECASE)
# Secrets that are not called passwords: RTMP's stream key, a webhook's path, a user name that needs no password. Other
# words may follow after a colon.
_PATH = re.compile(r"(rtmps?://[^/?\s]+/[^/?\s]+/|hook\+https?://[^/?\s]+/)((?:[^?\s:]|:(?=\S))+)", re.IGNORECASE)
_LONE_NAME = re.compile(r"(://)([^/?#@:\s]+)@")
_RANDOM = re.compile(r"(?=.*\d).{12,}")
"""A secret of this kind that is hidden wherever it stands. Others, such as "stream" and "admin", may be ordinary
words."""
# Names of flags; --r, --rt, --rts and --rtsp may be short for --rtsp-password.
_SECRET_FLAG = re.compile(
    r"(--(?:r(?:ts?)?(?=[=\s])|[\w-]*(?:pass|pw|secret|token|rtsp)[\w-]*))[=\s].*", re.IGNORECASE | re.DOTALL
)
_SECRET_KEY = re.compile(rf"(?:code|{_NAMES})$", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with every password and token in its addresses replaced by ***. Plain paths come back as they are."""
    if "://" not in text and "=" not in text:
        return text
    hidden = _LOGIN.sub(r"\1:***@", _LOOSE_LOGIN.sub(r"\1:***@", text))
    hidden = _PATH.sub(r"\1***", _LONE_NAME.sub(r"\1***@", hidden))
    return _SECRET.sub(r"\1=***", hidden) if _SCHEME.search(hidden) else hidden


def redact_words(words: str) -> str:
    """A quoted command line without its passwords: the value after a flag that is named like a password is hidden."""
    return redact(_SECRET_FLAG.sub(rf"\1 {HIDDEN}", words))


def is_secret_key(key: str) -> bool:
    """Whether a parameter of that name holds a password or a token."""
    return _SECRET_KEY.search(key) is not None


def secrets(text: str) -> list[str]:
    """Every password and token in the addresses of a text, in all its `forms`, longest first."""
    words = {match[2] for pattern in (_LOGIN, _LOOSE_LOGIN, _SECRET) for match in pattern.finditer(text)}
    words |= {match[2] for pattern in (_PATH, _LONE_NAME) for match in pattern.finditer(text) if is_random(match[2])}
    return forms(words)


def is_random(text: str) -> bool:
    """Whether a secret looks random, so that it can be hidden wherever it stands: no ordinary word looks like this."""
    return _RANDOM.match(text) is not None


def forms(secret_words: Iterable[str]) -> list[str]:
    """The ways in which secrets are written: as given, without quotes, decoded and encoded; longest first."""
    made = {
        form
        for secret in secret_words
        for form in (secret, secret.strip("\"'"), unquote(secret), quote(unquote(secret)))
    }
    made |= {" ".join(form.split()) for form in made}  # as they appear in a text of one line
    return sorted(made - {"", HIDDEN}, key=len, reverse=True)


def hide(text: str, words: Iterable[str]) -> str:
    """The text with *** in place of these words. Words of up to three characters could be part of other words, so they
    are hidden only where they stand alone."""
    for word in words:
        pattern = re.escape(word) if len(word) > 3 else rf"(?<!\w){re.escape(word)}(?!\w)"
        text = re.sub(pattern, HIDDEN, text)
    return text

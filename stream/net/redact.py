"""No password leaves: not in a name, and not in the words of a library that quotes what it was given. Pure."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

HIDDEN = "***"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOGIN = re.compile(r"(://[^/?#@:\s]*):([^/?#\s]*)@")
# A password with an unescaped slash ends the authority early. Anything after "user:" that is no port number hides up to
# the last @, a host before an @ in the path with it: rather too much than a password in a log. One with a space in it
# ends at the first.
_LOOSE_LOGIN = re.compile(r"(://[^/?#@:\s]+):(?!\d+(?:[/?#\s]|$))(?!\*\*\*@[^@\s]*(?:\s|$))(\S*|\S[^/?#@]*)@")
# Of queries and of GStreamer's properties, where a value in quotes may hold spaces.
_NAMES = "pass|passwd|password|passphrase|pwd|pw|psk|token|secret|key|auth|authorization|sig|signature|credentials?"
_SECRET = re.compile(rf"""\b((?<=[?&])[\w-]*code|[\w-]*(?:{_NAMES}))\s*=\s*("[^"]*"|'[^']*'|[^&#\s]+)""", re.IGNORECASE)
# What opens a door without being called so: RTMP's stream key, a webhook's path, a name that needs no password. Words
# may follow after a colon.
_PATH = re.compile(r"(rtmps?://[^/?\s]+/[^/?\s]+/|hook\+https?://[^/?\s]+/)((?:[^?\s:]|:(?=\S))+)", re.IGNORECASE)
_LONE_NAME = re.compile(r"(://)([^/?#@:\s]+)@")
_RANDOM = re.compile(r"(?=.*\d).{12,}")
"""such a thing that is looked for wherever it stands: "stream" and "admin" are words as well"""
# Of flags; --r, --rt, --rts and --rtsp may be short for --rtsp-password.
_SECRET_FLAG = re.compile(
    r"(--(?:r(?:ts?)?(?=[=\s])|[\w-]*(?:pass|pw|secret|token|rtsp)[\w-]*))[=\s].*", re.IGNORECASE | re.DOTALL
)


def redact(uri: str) -> str:
    """The URI with every password and token in it replaced by ***. Plain paths come back as they are."""
    if "://" not in uri and "=" not in uri:
        return uri
    hidden = _LOGIN.sub(r"\1:***@", _LOOSE_LOGIN.sub(r"\1:***@", uri))
    hidden = _PATH.sub(r"\1***", _LONE_NAME.sub(r"\1***@", hidden))
    return _SECRET.sub(r"\1=***", hidden) if _SCHEME.search(hidden) else hidden


def redact_words(words: str) -> str:
    """A quoted command line without its passwords: nothing shows that follows a flag that is called like one."""
    return redact(_SECRET_FLAG.sub(rf"\1 {HIDDEN}", words))


def secrets(uri: str) -> list[str]:
    """Every password and token in the URI, as written and as meant, longest first."""
    found = {match[2] for pattern in (_LOGIN, _LOOSE_LOGIN, _SECRET) for match in pattern.finditer(uri)}
    found |= {match[2] for pattern in (_PATH, _LONE_NAME) for match in pattern.finditer(uri) if _RANDOM.match(match[2])}
    forms = {
        form for secret in found for form in (secret, secret.strip("\"'"), unquote(secret), quote(unquote(secret)))
    }
    return sorted(forms - {"", HIDDEN}, key=len, reverse=True)


def scrub(text: str, uri: str) -> str:
    """`text`, which somebody said about `uri`, in one line and without the URI's passwords."""
    text = " ".join(text.split()).replace(uri, redact(uri))
    for secret in secrets(uri):
        # A short one may be part of any word: only where it stands by itself.
        pattern = re.escape(secret) if len(secret) > 3 else rf"(?<!\w){re.escape(secret)}(?!\w)"
        text = re.sub(pattern, HIDDEN, text)
    return redact(text)

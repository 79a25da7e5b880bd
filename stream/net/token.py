"""Tokens: what people and programs show to a server of ours in place of a name and a password."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...engine.errors import UsageError
from .secret import Secret

SHORTEST, LONGEST = 8, 256
"""Minimum and maximum number of characters."""
_TOKEN = re.compile(rf"[!-~]{{{SHORTEST},{LONGEST}}}")
"""What an Authorization header can carry (RFC 9110, section 11.4): visible ASCII, without spaces."""
_FILE = "@"
"""A value that begins so names a file."""


def find_token(given: Secret | str | None, option: str, variable: str) -> Secret:
    """The token that a user gave; empty if he gave none.

    given: the option's value: the token itself, or @ and the path of a file whose only line it is. option, variable:
    names of the option, and of the environment variable that has the value if the option is not given. Raises
    UsageError, which never quotes a token.
    """
    value = Secret.of(given).reveal() or os.environ.get(variable, "")
    if not value:
        return Secret("")
    name = option if given else f"${variable}"
    if value.startswith(_FILE):
        value = _read(Path(value.removeprefix(_FILE)), name)
    if not _TOKEN.fullmatch(value):
        raise UsageError(
            f"{name}: a token has {SHORTEST} to {LONGEST} letters, digits and signs, without spaces; "
            f"@FILE names a file with one"
        )
    return Secret(value)


def _read(path: Path, name: str) -> str:
    try:
        with path.open("rb") as file:
            return file.read(2 * LONGEST).decode("ascii", "replace").strip()
    except (OSError, ValueError) as error:  # ValueError for a name that no file can have
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{name}: cannot read the file {path}: {why}") from None

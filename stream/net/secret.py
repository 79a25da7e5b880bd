"""Words that must not be printed, and the hands that hold them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

HIDDEN = "***"
"""what stands in place of a secret wherever something is printed"""


@dataclass(frozen=True, repr=False)
class Secret:
    """Text that prints as ***: in a log, a traceback or the repr of whatever holds it. False where it is empty."""

    _text: str

    @classmethod
    def of(cls, text: Secret | str | None) -> Secret:
        """The secret that a text is; empty for None."""
        return text if isinstance(text, Secret) else cls(text or "")

    def reveal(self) -> str:
        """The text itself. For the one place where a library needs it; never for a message."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return HIDDEN


@dataclass(frozen=True)
class Login:
    """Who asks. Both are decoded: %40 of an address is @ here."""

    user: Secret
    """a secret as well: some servers take a token for a name, and no password"""
    password: Secret
    """empty where the address has none"""


NOBODY = Login(Secret(""), Secret(""))

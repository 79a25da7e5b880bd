"""Files of this user's cache. One is taken only where it is what was written: anything else counts as absent.

A file begins with a head that says what it was made of, and a digest of what follows. On POSIX it must be this user's,
and nobody else may write it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def cache_folder(name: str) -> Path:
    """$XDG_CACHE_HOME/saliency-tubes/NAME, or ~/.cache/saliency-tubes/NAME."""
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a home: nothing can be kept there
        home = Path(os.devnull)
    return Path(home) / "saliency-tubes" / name


def key_of(*parts: bytes | str) -> str:
    """A name for what a file was made of: SHA-256, in hex; no two lists of parts have the same."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def read_cached(path: Path, head: bytes) -> bytes | None:
    """What was written under this head; None where there is no such file, or none that can be trusted."""
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if os.name == "posix" and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
                return None
            content = file.read()
    except OSError:
        return None
    if not content.startswith(head):
        return None
    digest, body = content[len(head) : len(head) + 32], content[len(head) + 32 :]
    return body if body and hashlib.sha256(body).digest() == digest else None


def write_cached(path: Path, head: bytes, body: bytes) -> None:
    """Replaces the file at once: a reader finds the old one or the new one. Where it cannot be written, it is not."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".new")  # only this user's
        with open(number, "wb") as file:
            file.write(head + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except OSError:  # read-only, or full
        with suppress(OSError):
            os.unlink(temporary)

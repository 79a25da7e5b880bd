"""Files in this user's cache. A file is used only if it is exactly what was written; otherwise it counts as absent.

A file begins with a head that says what it was made from, and a digest of the rest. On POSIX the file must belong to
this user, and nobody else may be allowed to write it.
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
    """A name for a file made from these parts: their SHA-256, in hex. Different lists of parts give different names."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def is_private(path: Path) -> bool:
    """Whether a file is there, belongs to this user, and cannot be written by anybody else."""
    try:
        return _is_private(path.stat())
    except OSError:
        return False


def _is_private(about: os.stat_result) -> bool:
    return os.name != "posix" or (about.st_uid == os.geteuid() and not about.st_mode & 0o022)


def read_cached(path: Path, head: bytes) -> bytes | None:
    """The body that was written under this head; None if there is no such file, or none that can be trusted."""
    try:
        with path.open("rb") as file:
            if not _is_private(os.fstat(file.fileno())):
                return None
            content = file.read()
    except OSError:
        return None
    if not content.startswith(head):
        return None
    digest, body = content[len(head) : len(head) + 32], content[len(head) + 32 :]
    return body if body and hashlib.sha256(body).digest() == digest else None


def write_cached(path: Path, head: bytes, body: bytes) -> None:
    """Replaces the file in one step: a reader finds the old one or the new one. A failure to write it is ignored."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".new")  # private to this user
        with open(number, "wb") as file:
            file.write(head + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except OSError:  # the disk is read-only or full: the cache is a convenience
        with suppress(OSError):
            os.unlink(temporary)

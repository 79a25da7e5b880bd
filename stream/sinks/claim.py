"""Chooses the file that an output writes: never one of an earlier run, and never one that another process is writing.

Locks are made by flock. The system releases them when a process ends in any way, so there are no stale ones.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from itertools import count
from pathlib import Path

from ...engine.errors import SinkError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP}
"""Errors of file systems without locks, such as some network drives."""
_held: set[tuple[int, int]] = set()
"""Device and inode of the files that this process has claimed."""


class HeldError(SinkError):
    """Another process is writing the file; it may work later."""


class Claim:
    """A file that only this output may write, until `release`."""

    def __init__(self, path: Path, descriptor: int | None = None, temporary: bool = False) -> None:
        """descriptor: open for reading and writing; None for a device or a pipe, which several may write to. temporary:
        the file exists only for its lock, and is deleted with it.
        """
        self.path, self.descriptor, self._temporary = path, descriptor, temporary
        if descriptor is not None:
            _held.add(_identity(descriptor))

    @property
    def stands(self) -> bool:
        """Whether the file still exists: if somebody has deleted it, other processes no longer see the lock."""
        with suppress(OSError):
            return self.descriptor is not None and os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        return False

    def release(self) -> None:
        """May be called twice."""
        ours = self.stands
        descriptor, self.descriptor = self.descriptor, None
        if descriptor is None:
            return
        if self._temporary and ours:
            with suppress(OSError):  # its folder may have been deleted
                self.path.unlink()
        _held.discard(_identity(descriptor))
        os.close(descriptor)


def claim(path: Path, *, replace: bool = False) -> Claim:
    """Claims the file at `path`; if it is not empty and must not be replaced, the first free one of out-1.mp4,
    out-2.mp4 and so on. Changes no file. Raises HeldError if another process is writing one of them, and OSError.

    replace: the file may be one that is not empty, because the caller replaces it or appends to it.
    """
    for number in count():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}") if number else path
        if candidate.exists() and not candidate.is_file():
            if candidate.is_dir():
                continue
            return Claim(candidate)
        descriptor = _locked(candidate)
        if descriptor is None:
            continue
        if replace or not os.fstat(descriptor).st_size:
            return Claim(candidate, descriptor)
        os.close(descriptor)
    raise AssertionError("count() has no end")


def claim_pattern(lock: Path, pattern: Path) -> Claim:
    """Claims all names of a pattern, by a lock on the file `lock`, which is created. Raises HeldError and OSError."""
    while True:
        descriptor = _locked(lock, pattern)
        if descriptor is None:
            raise HeldError(f"{pattern}: another output of this process is writing there")
        held = Claim(lock, descriptor, temporary=True)
        if held.stands:
            return held
        held.release()  # its last owner has just deleted it


def _locked(path: Path, name: Path | None = None) -> int | None:
    """The open file, locked; None if this process holds it already. Raises HeldError and OSError.

    name: the file that the message names, if it is another one.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if _identity(descriptor) in _held:
            os.close(descriptor)
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        who = _holder(descriptor)
        os.close(descriptor)
        raise HeldError(f"{name or path}: {who} is writing {'there' if name else 'it'}") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
    return descriptor


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _holder(descriptor: int) -> str:
    """Which process has locked a file, in words: Linux lists all locks (proc(5), /proc/locks)."""
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "FLOCK" in words and device in words and (process := int(words[words.index(device) - 1])) > 0:
                name = Path(f"/proc/{process}/comm").read_text().strip()
                return f"process {process} ({name})"
    return "another process"


def exists_note(path: Path) -> str:
    """The note that another name was chosen."""
    return f"{path.name} holds what was written before and is kept; --overwrite would replace it"

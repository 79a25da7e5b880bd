"""Which file an output writes: none that holds what an earlier run wrote, and none that another process is writing.

Locks are flock's, which the system takes back when a process dies, however it dies: none is ever stale.
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
"""what a file system answers that has no locks, as some network drives"""
_held: set[tuple[int, int]] = set()
"""device and inode of what this process has claimed"""


class HeldError(SinkError):
    """Another process writes the file; it may end."""


class Claim:
    """A file that is this output's alone until `release`."""

    def __init__(self, path: Path, descriptor: int | None = None, temporary: bool = False) -> None:
        """descriptor: open for reading and writing; None: of a device or a pipe, which many may write to. temporary:
        the file is there for its lock alone, and goes with it.
        """
        self.path, self.descriptor, self._temporary = path, descriptor, temporary
        if descriptor is not None:
            _held.add(_identity(descriptor))

    @property
    def stands(self) -> bool:
        """Whether the file is still there: somebody may have removed it, and with it the lock that others would see."""
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
            with suppress(OSError):  # its folder may be gone
                self.path.unlink()
        _held.discard(_identity(descriptor))
        os.close(descriptor)


def claim(path: Path, *, replace: bool = False) -> Claim:
    """The file at `path`; where it holds something, and is not to be replaced, the first free one of out-1.mp4,
    out-2.mp4 and so on. Empties nothing. Raises HeldError where another process is writing one of them, and OSError.

    replace: the file may hold something: it will be emptied, or added to.
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
    """Every name of a pattern: the file `lock` is made and locked for them. Raises HeldError, and OSError."""
    while True:
        descriptor = _locked(lock, pattern)
        if descriptor is None:
            raise HeldError(f"{pattern}: another output of this process is writing there")
        held = Claim(lock, descriptor, temporary=True)
        if held.stands:
            return held
        held.release()  # whoever had it before has just removed it


def _locked(path: Path, name: Path | None = None) -> int | None:
    """The open file, locked; None where this process holds it already. Raises HeldError, and OSError.

    name: what it is locked for, where that is something else.
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
    """Who has locked a file, in words: Linux lists all locks (proc(5), /proc/locks)."""
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
    """What is said where another name was taken."""
    return f"{path.name} holds what was written before and is kept; --overwrite would replace it"

"""Files that are whole or not there: what is written may be what others read, or what was read itself."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def write_whole(path: Path, data: bytes | memoryview) -> None:
    """Writes beside `path` and replaces it. Raises OSError, and leaves nothing then."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise

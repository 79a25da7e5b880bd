"""kernels/overlay.cpp, which documents and checks them."""

from typing import Any

def paths() -> tuple[str, ...]: ...
def draw(
    path: int,
    planes: tuple[Any, ...],
    places: tuple[tuple[Any, ...], ...],
    cells: Any,
    table: Any,
    band: int,
    bands: int,
    /,
) -> int: ...
def blend(parts: list[tuple[Any, ...]], out: Any, /) -> int: ...
def sample(path: int, sources: tuple[tuple[Any, ...], ...], matrix: Any, out: Any, /) -> None: ...

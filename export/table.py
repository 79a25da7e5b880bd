"""Plain-text tables, for terminals and error messages."""

from __future__ import annotations

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], indent: int = 2) -> str:
    """Rows of cells as lines with aligned columns: the first column to the left, the others to the right.

    The first row is the header. A row shorter than it ends in a remark, which may be longer than its column is wide.
    """
    columns = len(rows[0])
    if any(len(row) > columns for row in rows):
        raise ValueError(f"rows must have at most the header's {columns} cells, got {[len(row) for row in rows]}")
    widths = [0] * columns
    for row in rows:
        aligned = row if len(row) == columns else row[:-1]
        for column, cell in enumerate(aligned):
            widths[column] = max(widths[column], len(cell))
    return "\n".join(" " * indent + _line(row, widths).rstrip() for row in rows)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    remark = len(row) - 1 if len(row) < len(widths) else -1
    cells = [
        cell.ljust(widths[column]) if column in (0, remark) else cell.rjust(widths[column])
        for column, cell in enumerate(row)
    ]
    return "  ".join(cells)

"""The results as tables for people, and as the row of docs/performance.md. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date

from ..app.speed import milliseconds
from .results import Results, Streams, Timing

COLUMNS = (
    "device",
    "model, runtime",
    "window: T, precision, ms",
    "decode 1080p",
    "overlay 1080p",
    "encode 1080p",
    "720p30 streams (tube age)",
    "1080p30 streams (tube age)",
    "watts",
    "version, date",
)
"""of the table in docs/performance.md"""


def as_text(results: Results) -> str:
    """Tables; ends with a newline."""
    lines = [f"{results.device}", f"{results.model}, {results.runtime}", ""]
    rows = [("stage", "of what", "median", "slowest", "processor", "a second", "")]
    for timing in results.timings:
        share = "" if math.isnan(timing.of_bound) else f"{timing.of_bound:.0%} of the memory's bandwidth"
        speed = f"{timing.per_second:.4g} {timing.unit}s"
        slowest = f"{_time(timing.slowest)} of {timing.rounds}"
        cpu = "" if math.isnan(timing.cpu) else _time(timing.cpu)
        rows.append((timing.stage, timing.what, _time(timing.seconds), slowest, cpu, speed, share))
    lines += _table(rows)
    if results.streams:
        watts = f"watts ({results.power})" if results.power else "watts"
        head = ("live streams", "fps", "tube age", "with a tube", "cores", watts, "")
        lines += ["", *_table([head, *map(_run, results.streams)])]
    told = f"It took {results.took:.0f} s. The row for docs/performance.md:"
    return "\n".join([*lines, "", told, "", row(results)]) + "\n"


def row(results: Results, today: date | None = None) -> str:
    """The row of docs/performance.md, in Markdown."""
    windows = [one for one in results.timings if one.stage == "inference" and "at a time" not in one.what]
    window = min(windows, key=lambda one: (-_samples(one), one.seconds), default=None)
    cells = [
        results.device,
        f"{results.model}, {results.runtime}",
        f"{window.what}, {milliseconds(window.seconds)}" if window else "-",
        *(_cell(results.fastest(stage, part)) for stage, part in
          (("decode", "1080p"), ("overlay", "1080p"), ("encode", "1080p live"))),
        *(_held(results, size) for size in ("720p", "1080p")),
        _watts(results),
        f"{results.version}, {today or date.today()}",
    ]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def header() -> str:
    """The head of that table."""
    return "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS)


def _samples(timing: Timing) -> int:
    """T of a timing of inference."""
    return int(timing.what.removeprefix("T=").split()[0])


def _cell(timing: Timing | None) -> str:
    if timing is None:
        return "-"
    *_, path = timing.what.split() if timing.stage == "overlay" else [""]
    return f"{_time(timing.seconds)}{f' ({path})' if path else ''}"


def _held(results: Results, size: str) -> str:
    run = results.most(size)
    if run is not None:
        return f"{run.count} ({run.tube_age:.1f} s)"
    one = next((one for one in results.streams if one.size == size and one.count == 1), None)
    return f"0: one has {one.fps:.0f} fps, its tubes are {one.tube_age:.1f} s old" if one else "-"


def _watts(results: Results) -> str:
    told = [run.watts for run in results.streams if not math.isnan(run.watts)]
    return f"{max(told):.0f} ({results.power.split(',')[0]})" if told else "not told"


def _run(run: Streams) -> tuple[str, ...]:
    return (
        f"{run.count} x {run.size}{run.RATE}",
        f"{run.fps:.1f}",
        "none" if math.isnan(run.tube_age) else f"{run.tube_age:.2f} s",
        f"{run.drawn:.0%}",
        f"{run.cores:.2f}",
        "-" if math.isnan(run.watts) else f"{run.watts:.1f}",
        "held" if run.held else "not held",
    )


def _time(seconds: float) -> str:
    """ "277 ms", "4.20 ms", "0.031 ms" """
    number = 1e3 * seconds
    return f"{number:.0f} ms" if number >= 100 else f"{number:.3g} ms"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

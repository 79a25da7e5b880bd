"""What an incident is, and what its run showed."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from incidents.scene import LONG, Scene, Setting, counters, handles
from saliency_tubes.engine.errors import SourceError
from soak import GROWTH
from videos import all_pts
from waiting import wait_for

USUAL = re.compile(r"(frames_in|frames_out|frames_drawn|windows|outage_frames|sink_frames|sink_events)_total|"
                   r'dropped_total\{place="clip"|lag_seconds|up')  # fmt: skip
"""counters that always move"""
CHATTER = re.compile(r"class |overlay |\d+ frames ")
"""lines that are about pictures"""
WORKS = ("frames", "tubes", "viewer", "recording", "events")
NEVER = 1.0
"""seconds between two signs of more that are no pause"""


@dataclass(frozen=True)
class Incident:
    """Something that happens, and what is promised then. A pattern is a regular expression to be found."""

    name: str
    what: str
    """that happens, for people"""
    happen: Callable[[Scene], None]
    """makes it happen and end, and tells the scene when that was"""
    lines: tuple[str, ...] = ()
    """patterns of lines that the log must have because of it"""
    health: str = ""
    """pattern of what the health page must say meanwhile, as "503 state"; without 503: nothing but 200"""
    counted: tuple[str, ...] = ()
    """patterns of counters that must move"""
    works: tuple[str, ...] = WORKS
    """what must move again"""
    back: float = 15.0
    """seconds within which it must, generous: the machine may be busy"""
    well: Callable[[Scene], bool] = lambda scene: True
    """what else must be so before all is as it was"""
    setting: Setting = Setting()
    slow: bool = True
    """takes more than ten seconds"""


@dataclass
class Outcome:
    """What a run of an incident showed."""

    incident: Incident
    skipped: str = ""
    lines: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    """of the health page, one after the other"""
    counted: list[str] = field(default_factory=list)
    back: dict[str, float] = field(default_factory=dict)
    """seconds from the incident's end until each moved again"""
    pauses: dict[str, float] = field(default_factory=dict)
    """seconds at the longest, from its beginning until then, in which each did not"""
    problems: list[str] = field(default_factory=list)
    """what is not as it should be; empty: all is"""


def play(incident: Incident, model: Path) -> Outcome:
    """Runs it, in a folder of its own."""
    outcome = Outcome(incident, skipped=incident.setting.missing())
    if outcome.skipped:
        return outcome
    with tempfile.TemporaryDirectory() as folder, Scene(Path(folder), model, incident.setting) as scene:
        said, before, begun = len(scene.said), counters(scene.port), time.monotonic()
        held = handles(scene.run.process.pid)
        try:
            incident.happen(scene)
            _recover(incident, scene, outcome, begun)
            _expect(incident, scene, outcome, said, before, begun)
            _look_for_leaks(scene, outcome, held)
        except AssertionError as error:
            outcome.problems.append(f"it did not go as it should: {error}; the log: {scene.run.said}")
        _told(scene, outcome, said, before, begun)
        scene.observer.close()
        _end(scene, outcome)
    return outcome


def _recover(incident: Incident, scene: Scene, outcome: Outcome, begun: float) -> None:
    observer = scene.observer

    def again() -> bool:
        assert scene.run.process.poll() is None, "the command has ended"
        return all(observer.after(name, scene.ended) is not None for name in incident.works) and incident.well(scene)

    try:
        wait_for(again, incident.back)
    except AssertionError:
        missing = [name for name in incident.works if observer.after(name, scene.ended) is None]
        outcome.problems.append(f"not back within {incident.back:g} s: {', '.join(missing) or 'not well'}")
    for name in incident.works:
        outcome.back[name] = observer.after(name, scene.ended) or float("inf")
        outcome.pauses[name] = observer.pause(name, begun, scene.ended + min(outcome.back[name], incident.back))
    outcome.back["all"] = time.monotonic() - scene.ended
    wait_for(lambda: observer.pages[-1].status == 200, LONG)
    time.sleep(1.5)  # the log is a look behind


def _expect(
    incident: Incident, scene: Scene, outcome: Outcome, said: int, before: Mapping[str, float], begun: float
) -> None:
    for pattern in incident.lines:
        if not _within(lambda pattern=pattern: re.search(pattern, scene.said[said:])):  # type: ignore[misc]
            outcome.problems.append(f"the log does not say {pattern!r}")
    pages = [f"{page.status} {page.text}" for page in scene.observer.pages if page.time > begun]
    if incident.health and not any(re.search(incident.health, page) for page in pages):
        outcome.problems.append(f"the health page does not say {incident.health!r}")
    bad = [page for page in pages if not page.startswith("200")]
    if "503" not in incident.health and bad:
        outcome.problems.append(f"the health page says {bad[0]!r}")
    moved = _moved(before, counters(scene.port))
    for pattern in incident.counted:
        if not any(re.match(pattern, name) for name in moved):
            outcome.problems.append(f"{pattern} did not move")


def _within(what: Callable[[], object], seconds: float = 5.0) -> bool:
    try:
        wait_for(what, seconds)
    except AssertionError:
        return False
    return True


def _look_for_leaks(scene: Scene, outcome: Outcome, held: tuple[int, int]) -> None:
    process = scene.run.process.pid
    if not _within(lambda: all(now <= was + GROWTH for now, was in zip(handles(process), held, strict=True)), 20):
        outcome.problems.append(f"threads and files were {held}, and are {handles(process)}")


def _moved(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def _told(scene: Scene, outcome: Outcome, said: int, before: Mapping[str, float], begun: float) -> None:
    """What an operator saw, each thing once."""
    lines = [scene.plain(line) for line in scene.said[said:].splitlines() if not CHATTER.match(line)]
    outcome.lines = _once(lines)
    pages = [page for page in tuple(scene.observer.pages) if page.time > begun]
    outcome.pages = _once([scene.plain(f"{page.status} {page.text}".strip()) for page in pages])
    moved = {name: gain for name, gain in _moved(before, counters(scene.port)).items() if not USUAL.match(name)}
    outcome.counted = [f"{scene.plain(name)} +{gain:g}" for name, gain in sorted(moved.items())]
    if any(not up for moment, up in scene.observer.up if moment > begun):
        outcome.counted.insert(0, "up 0")


def _once(texts: Sequence[str]) -> list[str]:
    """Without those that differ from an earlier one by their numbers alone."""
    return list({re.sub(r"\d+(\.\d+)?", "0", text): text for text in reversed(texts)}.values())[::-1]


def _end(scene: Scene, outcome: Outcome) -> None:
    """Nothing was lost in silence."""
    if scene.run.process.poll() is not None:
        outcome.problems.append(f"the command ended by itself, with {scene.run.process.returncode}")
        return
    code, said = scene.run.end(), scene.run.said
    if code != 143:
        outcome.problems.append(f"the exit code is {code}")
    if "Traceback" in said:
        outcome.problems.append(f"there is a traceback: {said}")
    told = re.search(r"(\d+) frames in, (\d+) out, (\d+) dropped", said)
    if told is None or int(told[1]) != int(told[2]) + int(told[3]):
        outcome.problems.append(f"frames do not add up: {told and told[0]}")
    outcome.problems += [f"{path.name}: {why}" for path in scene.recordings() if (why := _unplayable(path))]
    for line in (scene.disk / "events.jsonl").read_text().splitlines():
        json.loads(line)


def _unplayable(path: Path) -> str:
    try:
        return "" if all_pts(path) else "has no frame"
    except (SourceError, OSError, ValueError) as error:
        return f"cannot be played: {error}"


def row(outcome: Outcome) -> str:
    """Of the table, in Markdown."""
    told = [f"`{line}`" for line in outcome.lines] or ["no line"]
    if outcome.counted:
        told.append("counted: " + ", ".join(f"`{one}`" for one in outcome.counted))
    cells = [f"**{outcome.incident.name}**: {outcome.incident.what}", "<br>".join(told),
             "<br>".join(outcome.pages), _back(outcome)]  # fmt: skip
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _back(outcome: Outcome) -> str:
    """In seconds; what never paused is left out."""
    if outcome.skipped:
        return f"not run: {outcome.skipped}"
    late = {name: seconds for name, seconds in outcome.back.items() if name != "all"}
    late = {name: seconds for name, seconds in late.items() if outcome.pauses[name] >= NEVER or seconds >= NEVER}
    return ", ".join(f"{name} {seconds:.1f} s" for name, seconds in late.items()) or "nothing stopped"


HEAD = "| incident | what the operator is told | health meanwhile | back after |\n|---|---|---|---|"

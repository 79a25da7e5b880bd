"""What a run tells a person: what was chosen at the start, how far it is, and what was seen at the end."""

from __future__ import annotations

from collections import Counter
from typing import TextIO

from ..engine.types import Explanation, Shown
from .job import Job
from .log import say
from .progress import Progress
from .redact import redact


class Report:
    """Says it by the log; the progress bar goes to `stream`, a terminal or not, or nowhere."""

    def __init__(self, job: Job, stream: TextIO | None) -> None:
        self._job, self._name = job, job.config.name
        total, limit = job.source.info.frames, job.config.limit
        total = min(total, limit) if total and limit else total or limit
        # A stream that runs for weeks has no need to fill the journal.
        self._progress = Progress(total, stream, 60.0 if job.source.live and total is None else None)
        self._windows: Counter[str] = Counter()
        self._best: dict[str, float] = {}
        self._newest = -1
        self._noted: set[str] = set()

    def begin(self) -> None:
        """The choices made, one a line: nothing slower is ever used in silence."""
        info, options, runner = self._job.source.info, self._job.options, self._job.runner
        rate = f", {float(info.rate):.2f} fps" if info.rate else ""
        self._say("input", f"{redact(self._job.source.name)}, {info.width}x{info.height}{rate}")
        self._say("model", f"{runner.manifest.title}, {runner.description}")
        pace = "as often as the model can" if options.sync == "live" else f"every {options.hop}"
        held = f", delay {options.delay:.1f} s" if options.delay else ""
        self._say("window", f"{runner.frames} frames, stride {options.stride}, {pace}; {options.sync}{held}")
        self._say("overlay", self._job.pipeline.overlay.description)
        chosen = [f"{sink.name} ({sink.description})" if sink.description else sink.name for sink in self._job.sinks]
        self._say("output", ", ".join(chosen) or "none")
        if options.delay and options.hop > runner.frames * options.stride:
            self._note("the model is too slow for this rate: some frames are seen by no window, and drawn bare")
        self._notes()

    def frame(self, shown: Shown) -> None:
        """One frame more."""
        for explanation, _ in shown.parts:
            if explanation.window > self._newest:
                self._newest = explanation.window
                self._window(explanation)
        main = shown.explanation
        self._progress.step(f"{main.label} {main.explained[0].probability:.2f}" if main else "")

    def end(self) -> None:
        """The summary: what was seen, and where every frame went."""
        self._progress.close()
        self._notes()
        total = sum(self._windows.values())
        for label, count in self._windows.most_common(5):
            self._say("saw", f"{label}: {count} of {total} windows, up to {self._best[label]:.2f}")
        summary, seconds = self._job.pipeline.summary, self._progress.elapsed
        if summary.not_finite:
            self._note(f"{summary.not_finite} values of evidence were no finite numbers, and drawn as none")
        frames = f"{summary.frames_read} frames in, {summary.frames_written} out, {summary.frames_dropped} dropped"
        rate = summary.frames_written / seconds if seconds > 0 else 0.0
        self._say("done", f"{frames}; {summary.windows} windows; {seconds:.1f} s, {rate:.1f} fps")

    def _window(self, explanation: Explanation) -> None:
        label = explanation.label
        self._windows[label] += 1
        self._best[label] = max(self._best.get(label, 0.0), explanation.explained[0].probability)
        if explanation.repeated:
            frames = explanation.tube.span.frames
            self._note(f"the video is shorter than a window of {frames} frames: its last frame is repeated")

    def _notes(self) -> None:
        for note in (*self._job.source.info.notes, *self._job.source.remarks):
            self._note(note)
        for sink in self._job.sinks:
            for note in sink.notes:
                self._note(f"{sink.name}: {note}")

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._say("note", text)

    def _say(self, what: str, text: str) -> None:
        say(what, text, stream=self._name)

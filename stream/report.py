"""What a run tells a person: what was chosen at the start, how far it is, and what was seen at the end."""

from __future__ import annotations

from typing import TextIO

from ..engine.types import Shown
from .job import Job
from .log import say
from .progress import Progress
from .redact import redact

SEEN = 5
"""classes that are named at the end"""


class Report:
    """Says it by the log; the progress bar goes to `stream`, a terminal or not, or nowhere."""

    def __init__(self, job: Job, stream: TextIO | None) -> None:
        self._job, self._name = job, job.config.name
        total, limit = job.source.info.frames, job.config.limit
        total = min(total, limit) if total and limit else total or limit
        # A stream that runs for weeks has no need to fill the journal.
        self._progress = Progress(total, stream, 60.0 if job.source.live and total is None else None)
        self._noted: set[str] = set()

    def begin(self) -> None:
        """The choices made, one a line: nothing slower is ever used in silence."""
        info, options, runner = self._job.source.info, self._job.options, self._job.runner
        rate = f", {float(info.rate):.2f} fps" if info.rate else ""
        self._say("input", f"{redact(self._job.source.name)}, {info.width}x{info.height}{rate}")
        self._say("model", f"{runner.manifest.title}, {runner.description}")
        pace = "as often as the model can" if options.sync == "live" else f"every {options.hop}"
        held = f", delay {options.delay:.1f} s" if options.delay else ""
        young = f": {self._job.young}" if self._job.young else ""
        self._say("window", f"{runner.frames} frames, stride {options.stride}, {pace}; {options.sync}{held}{young}")
        self._say("overlay", self._job.pipeline.overlay.description)
        chosen = [f"{sink.name} ({sink.description})" if sink.description else sink.name for sink in self._job.sinks]
        self._say("output", ", ".join(chosen) or "none")
        if options.delay and options.hop > runner.frames * options.stride:
            self._note("the model is too slow for this rate: some frames are seen by no window, and drawn bare")
        self._notes()

    def frame(self, shown: Shown) -> None:
        """One frame more."""
        main = shown.explanation
        self._progress.step(f"{main.label} {main.explained[0].probability:.2f}" if main else "")

    def end(self) -> None:
        """The summary: what was seen, and where every frame went."""
        self._progress.close()
        self._notes()
        summary, seconds = self._job.pipeline.summary, self._progress.elapsed
        if summary.repeated:
            window = f"a window of {self._job.runner.frames} frames"
            self._note(f"the video is shorter than {window}: its last frame is repeated")
        for one in summary.saw[:SEEN]:
            self._say("saw", f"{one.label}: {one.windows} of {summary.windows} windows, up to {one.probability:.2f}")
        if self._job.pipeline.look.target.first is not None:  # it need not be what the network saw
            for label, probability in summary.explained:
                self._say("saw", f"{label}, which was asked for: up to {probability:.2f}")
        if summary.not_finite:
            self._note(f"{summary.not_finite} values of evidence were no finite numbers, and drawn as none")
        frames = f"{summary.frames_read} frames in, {summary.frames_written} out, {summary.frames_dropped} dropped"
        rate = summary.frames_written / seconds if seconds > 0 else 0.0
        live = self._job.options.sync == "live" and summary.frames_written
        tubes = f", {summary.frames_drawn / summary.frames_written:.0%} of them with a tube" if live else ""
        self._say("done", f"{frames}{tubes}; {summary.windows} windows; {seconds:.1f} s, {rate:.1f} fps")

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

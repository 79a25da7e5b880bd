"""What a run tells people: its choices at the start, its progress, and what was seen at the end."""

from __future__ import annotations

from typing import TextIO

from ...engine.types import Shown
from ..telemetry.log import say
from ..telemetry.stats import Snapshot
from .job import Job
from .model_choice import asked_precision
from .progress import Progress

SEEN = 5
"""Maximum number of classes that are named at the end."""


class Report:
    """Writes to the log; the progress goes to `stream`, or nowhere if that is None."""

    def __init__(self, job: Job, stream: TextIO | None) -> None:
        self._job, self._name = job, job.config.name
        total, limit = job.source.info.expected_frames, job.config.limit
        total = min(total, limit) if total and limit else total or limit
        # A stream that runs for weeks should not fill the journal.
        self._progress = Progress(total, stream, 60.0 if job.source.live and total is None else None)
        self._noted: set[str] = set()

    def begin(self) -> None:
        """Logs the choices, one a line, so that nothing slower is used without a word."""
        info, options, runner = self._job.source.info, self._job.options, self._job.runner
        rate = f", {float(info.rate):.2f} fps" if info.rate else ""
        decoder = f", {info.decoder}" if info.decoder else ""
        self._say("input", f"{self._job.source.name}, {info.width}x{info.height}{rate}{decoder}")
        self._say("model", f"{runner.manifest.title}, {runner.description}")
        self._precision()
        pace = "as often as the model can" if options.sync == "live" else f"every {options.hop}"
        held = f", delay {options.delay:.1f} s" if options.delay else ""
        young = f": {self._job.young}" if self._job.young else ""
        self._say(
            "window", f"{runner.clip_length} frames, stride {options.stride}, {pace}; {options.sync}{held}{young}"
        )
        pipeline = self._job.pipeline
        reserved = f"; {pipeline.reserved}" if pipeline.reserved else ""
        self._say("frames", f"in {pipeline.place.description}: {self._job.placed}{reserved}")
        self._say("overlay", self._job.pipeline.overlay.description)
        chosen = [f"{sink.name} ({sink.description})" if sink.description else sink.name for sink in self._job.sinks]
        self._say("output", ", ".join(chosen) or "none")
        if options.delay and options.hop > runner.clip_length * options.stride:
            self._note("the model is too slow for this rate: some frames are seen by no window, and drawn bare")
        self._notes()

    def frame(self, shown: Shown) -> None:
        """Counts one more frame."""
        main = shown.explanation
        self._progress.step(f"{main.label} {main.explained[0].probability:.2f}" if main else "")

    def end(self, final: Snapshot) -> None:
        """Logs the summary: what was seen, and where every frame went. final: the snapshot that /metrics shows last."""
        self._progress.close()
        self._notes()
        summary, seconds = self._job.pipeline.summary, self._progress.elapsed
        if summary.repeated:
            window = f"a window of {self._job.runner.clip_length} frames"
            self._note(f"the video is shorter than {window}: its last frame is repeated")
        for sighting in summary.saw[:SEEN]:
            self._say(
                "saw",
                f"{sighting.label}: {sighting.windows} of {summary.windows} windows, up to {sighting.probability:.2f}",
            )
        if self._job.pipeline.look.target.first is not None:  # the user's choice need not be what the network saw
            for label, probability in summary.explained:
                self._say("saw", f"{label}, which was asked for: up to {probability:.2f}")
        if final.not_finite:
            self._note(f"{final.not_finite} values of evidence were no finite numbers, and drawn as none")
        if final.frames_damaged:
            self._note(f"{final.frames_damaged} damaged frames are shown, and left out of what is explained")
        if final.outage_frames:
            self._note(f"{final.outage_frames} frames said that there was no signal, in no other count")
        lost = [(place, reason, count) for (place, reason), count in final.dropped.items() if count]
        if lost:
            listed = [{"place": place, "reason": reason, "count": count} for place, reason, count in lost]
            text = "; ".join(f"{place}, {reason}: {count}" for place, reason, count in lost)
            say("dropped", text, stream=self._name, dropped=listed)
        frames = f"{final.frames_in} frames in, {final.frames_out} out, {final.frames_dropped} dropped"
        rate = final.frames_out / seconds if seconds > 0 else 0.0
        live = self._job.options.sync == "live" and final.frames_out
        tubes = f", a tube on {final.frames_drawn / final.frames_out:.0%} of the frames" if live else ""
        self._say("done", f"{frames}; {final.windows} windows{tubes}; {seconds:.1f} s, {rate:.1f} fps")

    def _precision(self) -> None:
        """Logs what the file says against a precision, if that precision is used or could have been chosen."""
        asked = asked_precision(self._job.config, self._job.source.live)
        for missed in self._job.runner.manifest.missed:
            if asked == missed.precision:
                self._note(f"{missed.words}, as this file says; it runs in it all the same, as --precision asks")
            elif asked == "auto":
                self._note(f"{missed.words}, as this file says, so that --precision auto does not choose it")

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

"""MP4, MOV and Matroska files with H.264, through PyAV (FFmpeg, libx264)."""

from __future__ import annotations

import struct
from contextlib import ExitStack, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer

from ...engine.errors import ModelError, SinkError
from ...engine.picture import HOST
from ...engine.types import Frame, Shown
from ..media.av_audio import AudioCopy
from ..media.av_encoder import H264, VideoTrack, WrongSizeError, choose_encoder, near
from ..media.av_planes import reason
from ..media.info import VideoInfo
from .base import Sink, SinkOptions, recording_preset
from .claim import Claim, claim, exists_note

__all__ = ["FLUSH_SECONDS", "H264", "AvSink", "file_settings"]

FLUSH_SECONDS = 0.5
"""Maximum seconds of a live recording that `kill -9` may cost, beside the frames that are still in the encoder."""
BRIDGE = 1 << 28
"""Maximum ticks between two frames in an MP4: 50 minutes at 1/90000 s. FFmpeg's muxer has 31 bits for the distance, and
for a B-frame that includes the pictures that it is decoded before."""


def file_settings(options: SinkOptions) -> H264:
    """How a plain file is encoded. Raises UsageError for an encoder that does not work here."""
    # Always libx264 by default: the same frames must give the same bytes on every machine.
    name = "libx264" if options.encoder == "auto" else choose_encoder(options.encoder).name
    # Low latency for live recordings: the frames of a look-ahead would be lost if the process is killed.
    return H264(options.crf, recording_preset(options), bitrate=options.bitrate, encoder=name, low_latency=options.live)


class AvSink(Sink):
    """A video file of the input's size, rate and pts, with its audio copied through.

    Pts come back exactly in MP4 and MOV, whose clock is the input's; Matroska counts milliseconds and rounds to them.
    A killed run leaves a file that plays up to its last keyframe: fragments, which `close` turns into a plain MP4
    unless the video may never end. The same frames give the same bytes.
    """

    keeps = 2  # also the last one, in case a pause has to be bridged

    def __init__(
        self,
        path: Path,
        container: str,
        settings: H264 | None = None,
        flush_seconds: float | None = None,
        segment: bool = False,
        overwrite: bool = False,
    ) -> None:
        """flush_seconds: maximum seconds of the video that are not in the file yet; None: up to one key frame interval.

        With flush_seconds the video may never end, unless it is a segment. So an MP4 stays fragmented, because the
        index of a plain one grows in memory by 77 bytes a frame. overwrite: replace an existing file; else a number is
        appended to the name. A segment is written under the given name, which was chosen for it.
        """
        super().__init__(str(path))
        self._path = path
        self._format = container
        self._settings = settings or H264()
        self._flush_seconds = flush_seconds
        self._overwrite, self._segment = overwrite, segment
        self._claim: Claim | None = None
        self._endless = flush_seconds is not None and not segment
        self._failed = False
        self._output: OutputContainer | None = None
        self._behind = ExitStack()
        """what is done once the container is gone"""
        self._audio: AudioCopy | None = None
        self._end = Fraction(0)
        self._last: Frame | None = None

    def open(self, info: VideoInfo) -> None:
        try:
            way = ""
            if not self._segment:  # of which the recording has decided
                self._take_place()
                self._settings, way = near(self._settings, info)
            self.takes = frozenset({HOST, self._settings.where})
            output = av.open(f"file:{self._path}", "w", self._format, container_options=self._muxer_options(info))
            self._output = output
            self._track = VideoTrack(output, info, self._settings)
            self._behind.callback(self._track.close)
            self.description = f"{self._track.description} {way}".strip()
            self.notes += self._track.notes
            if info.audio is not None:
                self._add_audio(output, info.audio)
            self._track.start()
        except (av.FFmpegError, OSError, ModelError) as error:
            raise self._failure(error) from error

    def write(self, shown: Shown) -> None:
        frame = shown.frame
        if self._output is None:
            raise RuntimeError(f"{self.name}: write() before open() or after close()")
        start = frame.pts * frame.time_base
        try:
            if self._format != "matroska":
                self._bridge(self._output, frame)
            self._output.mux(self._track.encode(frame))
            if self._audio is not None:
                self._audio.pump(start)
        except WrongSizeError as error:
            raise SinkError(f"{self.name}: {error}") from None
        except (av.FFmpegError, OSError, ModelError) as error:
            raise self._failure(error) from error
        self._end = start + self._track.frame_seconds
        self.frames_written += 1

    def close(self) -> None:
        output, self._output = self._output, None
        self._last = None
        try:
            if output is not None:
                self._finish(output)
        finally:
            output = None  # and with it the encoder, which uses memory of the track's
            self._behind.close()
            claimed, self._claim = self._claim, None
            if claimed is not None:
                claimed.release()

    def _finish(self, output: OutputContainer) -> None:
        try:
            # After an error the trailer is still written if possible, because some players need it; the frames in the
            # encoder are not.
            if not self._failed:
                output.mux(self._track.encode(None))
                if self._audio is not None and self.frames_written:
                    self._audio.pump(self._end)
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error
        finally:
            self._end_file(output)

    def _take_place(self) -> None:
        claimed = self._claim = claim(self._path, replace=self._overwrite)
        if claimed.path != self._path:
            self.notes += (exists_note(self._path),)
            self._path, self.name = claimed.path, str(claimed.path)

    def _bridge(self, output: OutputContainer, frame: Frame) -> None:
        """Repeats the last picture during a camera's outage as often as the format needs it."""
        last, self._last = self._last, frame
        while last is not None and frame.pts - last.pts >= BRIDGE:
            last = replace(last, pts=last.pts + BRIDGE)
            if last.pts < frame.pts:
                output.mux(self._track.encode(last))

    def _end_file(self, output: OutputContainer) -> None:
        if self._audio is not None:
            self._audio.close()
            self.notes += tuple(self._audio.notes)
            self._audio = None
        try:
            output.close()
        except (av.FFmpegError, OSError) as error:
            if not self._failed:
                raise self._failure(error) from error
        finally:
            if self._failed and self._format != "matroska":
                _drop_torn_fragment(self._path)

    def _failure(self, error: Exception) -> SinkError:
        self._failed = True
        return SinkError(f"{self.name}: {reason(error)}")

    def _muxer_options(self, info: VideoInfo) -> dict[str, str]:
        # bitexact leaves out dates, versions and random ids. flush_packets writes each packet to the file at once, in
        # case the process is killed.
        options = {"fflags": "+bitexact", "flush_packets": "1"}
        if self._flush_seconds is not None and self._format == "matroska":
            options["cluster_time_limit"] = str(round(self._flush_seconds * 1e3))
        elif self._flush_seconds is not None:
            options["frag_duration"] = str(round(self._flush_seconds * 1e6))
        if self._format != "matroska":
            ticks = str(info.time_base.denominator)
            # hybrid_fragmented: fragments while writing, a plain file in the end. skip_trailer: no list of fragments.
            # delay_moov: otherwise fragments have no edit list, and the first pts is lost. movie_timescale: the unit of
            # the edit list, 1 ms by default.
            kind = "frag_keyframe+default_base_moof+skip_trailer" if self._endless else "hybrid_fragmented"
            options |= {
                "movflags": f"{kind}+delay_moov",
                "video_track_timescale": ticks,
                "movie_timescale": ticks,
            }
        return options

    def _add_audio(self, output: OutputContainer, path: Path) -> None:
        try:
            self._audio = AudioCopy(path, output)
        except (ValueError, av.FFmpegError) as error:
            self.notes += (f"the audio is left out: {reason(error)}",)


def _drop_torn_fragment(path: Path) -> None:
    """Takes away the last fragment of an MP4 if a full disk took only a part of its head (the box moof). FFmpeg reads
    all heads before the first picture, and opens no file in which one is torn; torn pictures (mdat) do no harm.
    """
    with suppress(OSError), path.open("r+b") as file:
        size, start = path.stat().st_size, 0
        while start + 8 <= size:
            file.seek(start)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1:  # it is in the next eight bytes
                length = int.from_bytes(file.read(8), "big")
            if length < 8:  # up to the end of the file, or no box
                return
            if start + length > size and kind == b"moof":
                file.truncate(start)
            start += length

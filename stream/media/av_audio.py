"""Copies audio: packets move from one container to another without being decoded."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.packet import Packet

from .av_planes import reason

PLAYABLE = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_f32le"},
}
"""The codecs that players expect in each container; FFmpeg would also write others, such as Vorbis or PCM into MP4."""


class AudioCopy:
    """The main audio stream of a file, on its way into an output container whose header is not yet written."""

    def __init__(self, path: Path, output: OutputContainer) -> None:
        """Raises ValueError, with a message for the user, if the container cannot hold the codec; av.FFmpegError."""
        self.notes: list[str] = []
        self._output = output
        self._input = av.open(f"file:{path}", "r", metadata_errors="ignore")
        try:
            stream = self._input.streams.best("audio")
            if not isinstance(stream, AudioStream):
                raise ValueError("the input has no audio")
            codec = stream.codec_context.codec.canonical_name
            container = output.format.name
            if codec not in PLAYABLE.get(container, {codec}):
                raise ValueError(f"{container} cannot hold {codec}; .mkv can")
            self._stream = output.add_stream_from_template(stream)
            self._packets = self._demux(stream)
            if codec == "aac" and not stream.codec_context.extradata:
                self._packets = _without_adts(self._packets, stream)
            self._pending = next(self._packets, None)
            if self._pending is not None and self._pending.has_sidedata("new_extradata"):
                self._stream.codec_context.extradata = bytes(self._pending.get_sidedata("new_extradata"))
        except BaseException:
            self._input.close()
            raise

    def pump(self, until: Fraction) -> None:
        """Writes the packets that start before `until` seconds. Raises av.FFmpegError where the output fails."""
        while self._pending is not None:
            packet = self._pending
            if packet.pts is None or packet.pts * packet.time_base >= until:
                return
            packet.stream = self._stream
            self._output.mux_one(packet)
            self._pending = next(self._packets, None)

    def close(self) -> None:
        self._pending = None
        self._input.close()

    def _demux(self, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
        packets = self._input.demux(stream)
        last: int | None = None
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                self.notes.append(f"the audio stops early: the input is damaged ({reason(error)})")
                return
            if packet is None:
                return
            if last is not None and packet.dts is not None and (last - packet.dts) * packet.time_base > 1:
                # The packets that follow belong to pictures whose times were moved (timeline.Timeline): the audio would
                # be heard before them.
                self.notes.append("the audio stops early: its clock starts anew, as where recordings were joined")
                return
            # A muxer refuses packets without a time, or that go back in time. The demuxer's last packet is empty.
            if packet.dts is None or packet.pts is None or (last is not None and packet.dts <= last):
                continue
            # Matroska has no times before 0: to keep an encoder's priming samples it would shift the video as well.
            if packet.pts < 0 and self._output.format.name == "matroska":
                continue
            last = packet.dts
            yield packet


def _without_adts(packets: Iterator[Packet[AudioStream]], stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    """AAC as broadcast has an ADTS header on every packet; files hold it once, as extra data with the first packet.

    The muxer converts it too, but fails with "Operation not permitted" if delay_moov is set.
    """
    adts = BitStreamFilterContext("aac_adtstoasc", stream)
    for packet in packets:
        yield from adts.filter(packet)

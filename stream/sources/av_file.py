"""Video files, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ...engine.cores import cores
from ...engine.errors import ModelError, SourceError
from ...engine.fit import fit
from ...engine.picture import Image
from ...engine.place import Place
from ...engine.types import Frame
from ..media.av_limits import decoder_options, limit_decoder, refused_size, small_blocks
from ..media.av_nvc import Decoding, DeviceFrame
from ..media.av_planes import PictureReader, reason, time_of
from ..media.av_times import FrameTimes
from ..media.damage import Damage
from ..media.info import FALLBACK_RATE, VideoInfo, first_rate
from ..media.limits import Size, exceeds, too_large
from ..media.timeline import Timeline
from .base import SourceHealth, SourceOptions


class AvSource:
    """A file's first video stream, decoded on all cores.

    Frames keep their planes (I420, NV12; RGB where the file is RGB); any other pixel format is converted once, and
    `info.notes` says so. A frame whose size differs from the first one's is scaled to it, and `remarks` says so. In a
    damaged file everything that can be decoded is decoded.

    For a place on a GPU NVIDIA's decoder decodes what it can, into that place.
    """

    live = False

    def __init__(
        self,
        path: Path,
        name: str | None = None,
        max_size: Size = SourceOptions.max_size,
        place: Place | None = None,
    ) -> None:
        """Raises SourceError, naming the path: no such file, a folder, empty, not a video, no frame in it, too large.

        max_size: width, height; a picture with more pixels than width x height is not decoded. place: the one that
        frames are wanted in; None: the host's.
        """
        self.name = name or str(path)
        self.errors = 0
        self._most, self._damage = max_size, Damage()
        # Each of FFmpeg's threads decodes one packet at a time, and reports an error when it gets the next packet. So
        # an error may belong to any of the last packets.
        self._inside: deque[Packet[Any]] = deque(maxlen=min(16, cores().allowed) + 1)
        self._resized: str | None = None
        self._closed = self._stopped = False
        self._fit = place.fit if place else fit
        self._decoding: Decoding | None = None
        self._decoded, self._frames = self._decode(), self._read()
        self._container = _open_container(path, self.name, max_size)
        try:
            self._stream = _video_stream(self._container, self.name)
            self._times = FrameTimes(self._container)
            limit_decoder(self._stream, max_size)
            self._decoding = Decoding(self._stream, place)
            first = next(self._decoded, None)
            if first is None:
                why = f"; decoder errors: {self.errors}" if self.errors else ""
                raise SourceError(f"{self.name}: no frame of its video can be decoded{why}")
            self._first: VideoFrame | DeviceFrame | None = first
            like = first if isinstance(first, VideoFrame) else first.like
            self._reader = PictureReader(like)
            self.info = _describe(self._container, self._stream, like, self._reader, path)
            if isinstance(first, DeviceFrame):
                picture = first.picture
                self.info = replace(self.info, layout=picture.layout, color=picture.color, stored=picture.stored)
                self.info = replace(self.info, notes=())
            self.info = replace(self.info, decoder=self._decoding.words)
        except BaseException:
            self.close()
            raise
        step = 1 / ((self.info.rate or FALLBACK_RATE) * self.info.time_base)
        self._timeline = Timeline(step, second=1 / self.info.time_base)

    def __iter__(self) -> Iterator[Frame]:
        return self._frames

    @property
    def remarks(self) -> tuple[str, ...]:
        lines = []
        if self.errors:
            lines.append(f"decoder errors: {self.errors}; the file is damaged or cut off; the rest is shown")
        if self._timeline.repaired:
            lines.append(f"timestamps repaired because they did not increase: {self._timeline.repaired}")
        if self._resized:
            lines.append(self._resized)
        return tuple(lines)

    def health(self) -> SourceHealth:
        return SourceHealth(errors=self.errors)

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        self._closed = True
        self._first = None
        self._frames.close()  # these hold the last frame, which may be memory of a GPU
        self._decoded.close()
        if self._decoding is not None:
            self._decoding.close()
        self._container.close()

    def _read(self) -> Generator[Frame, None, None]:
        index = 0
        while not (self._closed or self._stopped):
            frame, self._first = self._first or next(self._decoded, None), None
            if frame is None:
                return
            pts = self._timeline.next(self._times.of(frame))
            image = self._image(frame, index)
            corrupt = isinstance(frame, VideoFrame) and frame.is_corrupt
            damaged = self._damage.shown_in(self._seconds(frame), frame.key_frame, corrupt)
            del frame
            yield Frame(index, pts, self.info.time_base, image, self.info.pixel_aspect, damaged=damaged)
            index += 1
            del image

    def _image(self, frame: VideoFrame | DeviceFrame, index: int) -> Image:
        """The frame's picture, in the first one's size. Raises SourceError."""
        if isinstance(frame, DeviceFrame):
            picture = frame.picture
            if (picture.width, picture.height) != self._reader.size:
                self._note_size((picture.width, picture.height), index)
            return self._fit(picture, self._reader.size, self.info.layout, self.info.color)
        if not self._reader.fits(frame):
            self._note_size((frame.width, frame.height), index)
        try:
            return self._reader.read(frame)
        except av.FFmpegError as error:
            raise SourceError(f"{self.name}: frame {index} cannot be converted: {reason(error)}") from error

    def _note_size(self, size: Size, index: int) -> None:
        if self._resized is None:
            changed, shown = (f"{width}x{height}" for width, height in (size, self._reader.size))
            self._resized = f"the picture changes to {changed} at frame {index}; it is scaled to fit {shown}"

    def _seconds(self, frame: VideoFrame | DeviceFrame) -> float | None:
        if isinstance(frame, VideoFrame):
            return time_of(frame)
        return None if frame.pts is None else float(frame.pts * self.info.time_base)

    def _decode(self) -> Generator[VideoFrame | DeviceFrame, None, None]:
        packets, decoding = self._container.demux(self._stream), self._decoding
        assert decoding is not None
        while not self._closed:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                # The demuxer cannot go on, but the decoder still has frames.
                self.errors += 1
                packet = None
            if packet is not None:
                self._times.sent(packet)
                self._inside.append(packet)
            if packet is not None and packet.is_corrupt:  # the container marks it: a part of it was lost
                self._damage.lost(time_of(packet))
            try:
                for frame in decoding.decode(packet):
                    shape = frame if isinstance(frame, VideoFrame) else frame.picture
                    self._check_size((shape.width, shape.height))
                    self.errors += isinstance(frame, VideoFrame) and frame.is_corrupt
                    del shape
                    yield frame
                    del frame
            except av.EOFError:
                return
            except (av.FFmpegError, ModelError):
                self._undecoded()
            if packet is None:
                return

    def _undecoded(self) -> None:
        """One of the last packets could not be decoded. Raises SourceError if its picture is too large."""
        self.errors += 1
        self._damage.lost(min((time for one in self._inside if (time := time_of(one)) is not None), default=None))
        for packet in self._inside:
            if packet.is_keyframe:
                self._check_size(refused_size(self._stream, packet, self._most))
        self._inside.clear()

    def _check_size(self, size: Size | None) -> None:
        if size is not None and exceeds(size, self._most):
            raise SourceError(f"{self.name}: {too_large(size, self._most)}")


def _open_container(path: Path, name: str, max_size: Size) -> InputContainer:
    try:
        if path.is_dir():
            raise SourceError(f"{name}: is a folder, not a video file")
        empty = path.stat().st_size == 0 and path.is_file()
    except OSError as error:
        raise SourceError(f"{name}: {_STAT_ERRORS.get(type(error), error.strerror)}") from error
    if empty:
        raise SourceError(f"{name}: the file is empty")
    try:
        # "file:" keeps FFmpeg from taking the part before a colon in a name for a protocol.
        with small_blocks(max_size):
            return av.open(f"file:{path}", "r", options=decoder_options(max_size), metadata_errors="ignore")
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, av.InvalidDataError):
            raise SourceError(f"{name}: {_what_is_wrong(path)}") from error
        raise SourceError(f"{name}: cannot be opened: {reason(error)}") from error


_STAT_ERRORS: dict[type[OSError], str] = {FileNotFoundError: "no such file"}


def _what_is_wrong(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        return f"cannot be read: {reason(error)}"
    if head[4:8] == b"ftyp":
        return "an MP4 without its index (moov): the recording was cut off, and cannot be decoded"
    return "not a video, or damaged beyond recognition"


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    """The main video stream by FFmpeg's own rule. Cover pictures of music do not count, nor does text as ANSI art."""
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if container.format.name == "tty":
        raise SourceError(f"{name}: a text file, not a video")
    if not streams:
        raise SourceError(f"{name}: has {'only audio' if container.streams.audio else 'no video'}")
    best = container.streams.best("video")
    stream = next(
        (candidate for candidate in streams if best is not None and candidate.index == best.index), streams[0]
    )
    if stream.codec_context is None:
        raise SourceError(f"{name}: FFmpeg has no decoder for its video")
    stream.thread_type = "AUTO"
    return stream


def _describe(
    container: InputContainer, stream: VideoStream, first: VideoFrame, reader: PictureReader, path: Path
) -> VideoInfo:
    time_base = stream.time_base or Fraction(1, 90_000)
    rate = first_rate(stream.average_rate, stream.guessed_rate)
    duration = None
    if stream.duration:
        duration = float(stream.duration * time_base)
    elif container.duration:
        duration = container.duration / av.time_base
    frames = stream.frames or (round(duration * rate) if duration and rate else None)
    aspect = stream.sample_aspect_ratio
    aspect = aspect if aspect and aspect > 0 else Fraction(1)
    has_audio = path.is_file() and any(audio.codec_context is not None for audio in container.streams.audio)
    return VideoInfo(
        width=reader.size[0],
        height=reader.size[1],
        time_base=time_base,
        rate=rate,
        expected_frames=frames,
        pixel_aspect=1 / aspect if reader.orientation.transpose else aspect,
        layout=reader.layout,
        color=reader.color,
        matrix=first.colorspace,
        primaries=first.color_primaries,
        transfer=first.color_trc,
        duration=duration,
        audio=path if has_audio else None,
        notes=reader.notes,
    )

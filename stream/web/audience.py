"""Who watches a stream, and what waits for each. All of it lives in the server's thread."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from .media import Media
from .peers import Peers

MOST_BYTES = 4 << 20
"""Maximum bytes that wait for one viewer, unless one message is larger; then he goes on at the next key frame."""
MOST_FRAMES = 180
"""Maximum frames that wait for one viewer: no more than a few seconds."""
GOP_FRAMES = 600
"""Maximum frames from a key frame on that are kept for whoever comes next."""
WINDOWS = 64
"""Maximum number of windows that are kept for whoever comes next."""
VIEWERS = 64
"""Maximum number of viewers of a stream."""


class _Kind(Enum):
    """What becomes of a message that waits while the viewer cannot follow."""

    LASTING = "few and small: never dropped"
    BEGINNING = "what playing begins with: dropped when the viewer pauses"
    WINDOW = "dropped also when the viewer is too slow"
    FRAME = "as a window, and counted"
    SKIP = "says how many frames were dropped: replaced by a later one if more are, before it is read"


@dataclass(frozen=True)
class _Waiting:
    """A message in a queue."""

    data: str | bytes
    kind: _Kind
    frames: int = 0
    """number of frames that it is, or that it tells of"""


@dataclass(eq=False)
class Viewer:
    """One page that is open. What waits for it is bounded: if it reads too slowly, it skips to the next key frame."""

    wants_video: bool = True
    """whether it can play H.264; the others get windows and status only, and take the pictures elsewhere"""
    by_rtp: bool = False
    """whether its H.264 comes by WebRTC: then it is told of frames, and is sent none"""
    playing: bool = False
    behind: float = 0.0
    """seconds from a frame's coming to its being shown, as the page told last"""
    skipped: int = 0
    """frames that it did not get so far because it read too slowly"""
    _queue: deque[_Waiting] = field(default_factory=deque)
    waiting: int = 0
    """bytes in the queue"""
    _frames: int = 0
    """frames in the queue"""
    _missed: int = 0
    """frames skipped since the last one that was put into the queue"""
    _told: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """the newest windows that it was sent"""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, message: str) -> None:
        """Adds a text that is never skipped: these are few and small."""
        self._put(_Waiting(message, _Kind.LASTING))

    def begin(self, message: str | bytes) -> None:
        """Adds what playing begins with: the history, the beginning of a video."""
        self._put(_Waiting(message, _Kind.BEGINNING))

    def window(self, number: int, data: bytes) -> None:
        """Adds a window, unless it has it or is about to skip."""
        if number not in self._told and not self._missed and self._has_room(len(data)):
            self._told[number] = None
            while len(self._told) > 2 * WINDOWS:
                self._told.popitem(last=False)
            self._put(_Waiting(data, _Kind.WINDOW))

    def media(self, media: Media, windows: OrderedDict[int, bytes]) -> None:
        """Adds a frame, and before it the windows that it is drawn from. windows: those that are known."""
        if self._missed and not media.key:
            self._missed += 1
            self.skipped += 1
            return
        data = media.facts if self.by_rtp else media.data
        if not self._has_room(len(data)):
            self._skip()
            return
        if self._missed:
            told = json.dumps({"type": "skip", "frames": self._missed})
            self._put(_Waiting(told, _Kind.SKIP, self._missed))
            self._missed = 0
        for number in media.windows:
            if number in windows:
                self.window(number, windows[number])
        self._put(_Waiting(data, _Kind.FRAME, 1))

    async def take(self) -> str | bytes:
        """The oldest message that waits, as soon as there is one."""
        while not self._queue:
            self._changed.clear()
            await self._changed.wait()
        taken = self._queue.popleft()
        self.waiting -= len(taken.data)
        self._frames -= taken.kind is _Kind.FRAME
        return taken.data

    def empty(self) -> None:
        """Drops what waits of the playing, as for a page that nobody sees."""
        self._keep(_Kind.LASTING)
        self._missed = 0
        self._told.clear()

    def _has_room(self, size: int) -> bool:
        full = self.waiting + size > MOST_BYTES or self._frames >= MOST_FRAMES
        return not full or not self._queue

    def _skip(self) -> None:
        self._missed += 1 + sum(waiting.frames for waiting in self._queue)
        self.skipped += 1 + self._frames
        self._keep(_Kind.LASTING, _Kind.BEGINNING)
        self._told.clear()  # some of them were dropped

    def _keep(self, *kinds: _Kind) -> None:
        kept = [waiting for waiting in self._queue if waiting.kind in kinds]
        self._queue.clear()
        self.waiting = self._frames = 0
        for waiting in kept:
            self._put(waiting)

    def _put(self, waiting: _Waiting) -> None:
        self._queue.append(waiting)
        self.waiting += len(waiting.data)
        self._frames += waiting.kind is _Kind.FRAME
        self._changed.set()


@dataclass(frozen=True)
class Watched:
    """What is wanted of a stream at the moment."""

    video: bool = False
    """H.264"""
    windows: bool = False
    """the evidence of windows"""
    pictures: bool = False
    """JPEGs of the drawn pictures"""
    session: int = 0
    """another number whenever somebody begins to want video or windows after nobody did: what was made for those
    before has been forgotten"""


class Audience:
    """The viewers of one stream."""

    def __init__(self, changed: Callable[[Watched], None]) -> None:
        """changed: is told what is wanted, whenever that changes."""
        self._changed_for = changed
        self.viewers: set[Viewer] = set()
        self.watchers = 0
        """viewers of JPEGs that come one after the other"""
        self.peers = Peers(self._tell)
        self._asking = 0
        self.picture: tuple[int, bytes] | None = None
        """the newest JPEG and its number"""
        self._picture_came = asyncio.Event()
        self._init: bytes | None = None
        self._gop: list[Media] = []
        self._windows: OrderedDict[int, bytes] = OrderedDict()
        self._watched = Watched()
        self.ended = ""
        """why there will be no more; empty before the end"""

    @property
    def count(self) -> int:
        """Number of all who watch. A page that gets its video by WebRTC is one."""
        pages = sum(viewer.by_rtp for viewer in self.viewers)
        return len(self.viewers) + self.watchers + max(0, len(self.peers) - pages)

    @property
    def is_full(self) -> bool:
        return self.count >= VIEWERS

    # viewers of H.264 and of windows

    def join(self, viewer: Viewer) -> None:
        self.viewers.add(viewer)

    def play(self, viewer: Viewer, history: Callable[[], str]) -> None:
        """The viewer wants media: gets what was said meanwhile, and the video from the last key frame on."""
        if viewer.playing or viewer not in self.viewers:
            return
        viewer.playing = True
        viewer.begin(history())
        if viewer.wants_video and self._init is not None:
            if not viewer.by_rtp:
                viewer.begin(self._init)
            for media in self._gop:
                viewer.media(media, self._windows)
        self._tell()

    def pause(self, viewer: Viewer) -> None:
        viewer.playing = False
        viewer.empty()
        self._tell()

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)
        viewer.playing = False
        self._tell()

    def say(self, message: str) -> None:
        """A text for all, paused ones included."""
        for viewer in self.viewers:
            viewer.say(message)

    def begin(self, init: bytes) -> None:
        """A video begins: after the first viewer came, or with another size."""
        self._init, self._gop = init, []
        for viewer in self._video_viewers():
            if not viewer.by_rtp:
                viewer.begin(init)

    def window(self, number: int, data: bytes) -> None:
        self._windows[number] = data
        while len(self._windows) > WINDOWS:
            self._windows.popitem(last=False)
        for viewer in self.viewers:
            if viewer.playing:
                viewer.window(number, data)

    def media(self, media: Media) -> None:
        if self._init is None:  # made for those who have left
            return
        if media.key or len(self._gop) >= GOP_FRAMES:
            self._gop = []
        if media.key or self._gop:
            self._gop.append(media)
        for viewer in self._video_viewers():
            viewer.media(media, self._windows)
        for peer in self.peers.connected():
            peer.take(media)

    def _video_viewers(self) -> list[Viewer]:
        return [viewer for viewer in self.viewers if viewer.playing and viewer.wants_video]

    # viewers of JPEGs

    def watch(self, viewers: int) -> None:
        """Changes the number of viewers of JPEGs by so many."""
        self.watchers += viewers
        self._tell()

    def show(self, number: int, jpeg: bytes) -> None:
        """A new JPEG."""
        self.picture = (number, jpeg)
        self._wake()

    async def next(self, after: int, timeout: float) -> tuple[int, bytes] | None:
        """The newest JPEG and its number, as soon as that is greater than `after`; None if none comes within `timeout`
        seconds, or if the stream has ended."""
        self._asking += 1
        self._tell()
        try:
            return await asyncio.wait_for(self._next(after), timeout)
        except asyncio.TimeoutError:
            return None
        finally:
            self._asking -= 1
            self._tell()

    async def _next(self, after: int) -> tuple[int, bytes] | None:
        while not self.ended and (self.picture is None or self.picture[0] <= after):
            await self._picture_came.wait()
        return None if self.ended else self.picture

    def _wake(self) -> None:
        self._picture_came.set()
        self._picture_came = asyncio.Event()

    # all

    def end(self, why: str) -> None:
        """The stream ends, or the server."""
        self.ended = why
        for viewer in self.viewers:
            viewer.say(json.dumps({"type": "bye", "why": why}))
        self._wake()

    def _tell(self) -> None:
        playing = [viewer for viewer in self.viewers if viewer.playing]
        peers = bool(self.peers.connected())
        windows = peers or bool(playing)  # a page that comes to its peer gets the windows of the frames before as well
        video = peers or any(viewer.wants_video and not viewer.by_rtp for viewer in playing)
        if not video:
            self._init, self._gop = None, []
        if not windows:
            self._windows.clear()
        before = self._watched
        begins = (video and not before.video) or (windows and not before.windows)
        session = before.session + begins
        self._watched = Watched(video, windows, self.watchers + self._asking > 0, session)
        if self._watched != before:
            self._changed_for(self._watched)

"""A stream as the web server has it: what the pipeline gives, made into what viewers get, while there are any."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...engine.errors import TubesError, one_line, unforeseen
from ...engine.picture import Picture
from ...engine.types import Explanation, Shown
from ..media.info import VideoInfo
from ..telemetry.events import Event
from ..telemetry.log import say
from . import messages
from .about import About
from .audience import Audience, Watched
from .bulletin import Bulletin
from .complaints import Complaints
from .history import History
from .media import Media
from .settings import VideoSettings
from .stills import jpeg
from .thumbnail import Thumbnails

if TYPE_CHECKING:
    from .video_messages import VideoMessages

CLASSES = 5
"""Number of most probable classes that a page can ask for."""
FRAMES, EXPLANATIONS = 4, 16
"""Maximum frames that wait to be encoded, and windows that wait to be told; then the oldest is dropped."""
CLOSING = 5.0
"""Maximum seconds that the end waits for an encoder."""
TOLD = 256
"""Number of windows that are remembered as sent."""


@dataclass(frozen=True)
class _Item:
    """A frame that waits, and its number, or a window."""

    number: int = 0
    shown: Shown | None = None
    event: Event | None = None
    drawn: bool = True
    """whether the frame's picture is the drawn one, and on the host"""


class WebFeed:
    """Takes frames and windows from the pipeline without ever waiting, and encodes them in a thread of its own, once
    for all viewers, and not at all while there are none."""

    def __init__(
        self, about: About, info: VideoInfo, settings: VideoSettings, lost: Callable[[str], None] = lambda reason: None
    ) -> None:
        """lost: is told why, whenever a frame cannot be encoded in time."""
        self.about, self.name, self.info = about, about.name, info
        self.history, self.thumbnails = History(), Thumbnails()
        self.encoded = 0
        """frames that were encoded for somebody"""
        self.why_no_video = ""
        """why there is no H.264; empty as long as there may be"""
        self.time = 0.0
        """seconds from the stream's zero of the newest frame"""
        self.newest: Event | None = None
        """the newest window"""
        self.watched = Watched()
        self._settings, self._lost = settings, lost
        self._audience: Audience | None = None
        self._bulletin = Bulletin()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = threading.Condition()
        self._queue: deque[_Item] = deque()
        self._last: _Item | None = None
        """the newest frame whose picture lies on the host"""
        self._number = -1
        self._ending = False
        self._thread = threading.Thread(target=self._work, name=f"saliency-tubes web {self.name}", daemon=True)
        # of the thread
        self._video: VideoMessages | None = None
        self._session, self._pictured, self._counted = 0, -1, -1
        self._told: OrderedDict[int, None] = OrderedDict()
        self._complaints = Complaints(f"the web server failed at a frame of {self.name}")

    # the pipeline's threads

    def write(self, shown: Shown) -> None:
        drawn = isinstance(shown.frame.image, Picture)
        with self._changed:
            self._number += 1
            if drawn:
                self._last = _Item(self._number, replace(shown, plain=None))
            elif shown.plain is not None:  # a device's picture is not kept: its memory is counted
                shown = replace(shown, frame=replace(shown.frame, image=shown.plain))
            if not shown.outage:
                self.time = shown.frame.time
            if (drawn or shown.plain is not None) and (self.watched.video or self.watched.pictures):
                self._put(_Item(self._number, shown, drawn=drawn))
        if shown.frame.gap and not shown.outage:
            self.mark("gap", "frames are missing here")

    def event(self, event: Event) -> None:
        self.newest = event
        self.history.add(event.explanation)
        if self.watched.windows or self._bulletin.listened:
            with self._changed:
                self._put(_Item(event=event))

    def mark(self, kind: str, words: str) -> None:
        """Tells viewers that something happened, and remembers it. kind: gap, drop, reconnect, lost or control."""
        made = self.history.mark(self.time, kind, words)
        if self.watched.windows:
            self._publish(lambda audience: audience.say(messages.text("mark", **made)))
        self._bulletin.publish("mark", lambda: messages.as_json({"stream": self.name, **made}))

    @property
    def wants_plain(self) -> bool:
        """Whether somebody wants the pictures that nothing is drawn on, as video."""
        return self.watched.video and not self.why_no_video

    def _put(self, item: _Item) -> None:
        is_frame = item.shown is not None
        waiting = [one for one in self._queue if (one.shown is not None) == is_frame]
        if len(waiting) >= (FRAMES if is_frame else EXPLANATIONS):
            self._queue.remove(waiting[0])
            if is_frame:
                self._lost("too slow")
        self._queue.append(item)
        self._changed.notify_all()

    # the server's thread

    def open(
        self,
        audience: Callable[[Callable[[Watched], None]], Audience],
        bulletin: Bulletin,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Begins to serve. Not in the server's thread. audience: makes it."""
        self._loop, self._bulletin, self._audience = loop, bulletin, audience(self._watch)
        self._thread.start()

    @property
    def audience(self) -> Audience:
        """For the server's thread."""
        assert self._audience is not None
        return self._audience

    @property
    def viewers(self) -> int:
        """Number of all who watch. In any thread."""
        return self._audience.count if self._audience is not None else 0

    @property
    def before_newest(self) -> int:
        """The number of the frame before the newest one, for `Audience.next`."""
        return max(-1, self._number - 1)

    def newest_picture(self) -> tuple[int, Shown] | None:
        """The newest drawn frame that lies on the host, and its number; None if there is none, as at the end."""
        last = self._last
        return (last.number, last.shown) if last is not None and last.shown is not None else None

    def hello(self, wants_video: bool, operator: bool) -> str:
        """The first message to a viewer. operator: whether he may change the stream for everybody."""
        why = self.why_no_video if wants_video else "this page asked for none"
        return self.about.hello(CLASSES, operator, why_no_video=why)

    def status(self) -> dict[str, Any]:
        """How the stream is, as the page and the API tell it."""
        return self.about.status(self.viewers)

    def want_key(self) -> None:
        """Asks for a key frame soon, for somebody who cannot go on without one."""
        if (video := self._video) is not None:
            video.want_key()

    def tick(self) -> None:
        """Once a second: marks what has happened, and tells viewers how the stream is."""
        for kind, words in self.about.changes():
            self.mark(kind, words)
        if self.audience.viewers:
            self.audience.say(messages.text("status", **self.status()))

    def close(self, why: str) -> None:
        """Ends. Not in the server's thread."""
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(CLOSING)  # a hardware's encoder may hang
        self._last = None
        self._queue.clear()
        self._publish(lambda audience: audience.end(why))

    def _watch(self, watched: Watched) -> None:
        with self._changed:
            self.watched = watched
            if not watched.video:
                self.why_no_video = ""  # it may work again for those who come next
            if not (watched.video or watched.windows or watched.pictures or self._bulletin.listened):
                self._queue.clear()
            if watched.pictures and self._last is not None and not self._queue:
                self._queue.append(self._last)  # for those who come while nothing does
            self._changed.notify_all()

    # the thread

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ending or (self._video and not self.watched.video))
                if self._ending:
                    return
                watched = self.watched
                item = self._queue.popleft() if self._queue else None
                newer = any(one.shown is not None for one in self._queue)
            if watched.session != self._session or not watched.video:
                self._video = None
            if watched.session != self._session or not watched.windows:
                self._told.clear()
            self._session = watched.session
            if item is None:
                continue
            try:
                self._make(item, watched, newer)
            except Exception as error:  # if the thread died, viewers would wait without a word
                self._lost("error")
                self._video = None  # the beginning of a video may have been lost with it
                self._complaints.say(unforeseen(error))

    def _make(self, item: _Item, watched: Watched, newer: bool) -> None:
        """newer: a newer frame waits already."""
        shown = item.shown
        if item.event is not None and watched.windows:
            self._tell_window(item.event.explanation)
        if item.event is not None:
            self._bulletin.publish("explanation", partial(_named, self.name, item.event))
        if shown is None:
            return
        if watched.windows:
            for explanation, _ in shown.parts:
                self._tell_window(explanation)
        if watched.video and shown.plain is not None and not shown.outage and not self.why_no_video:
            self._encode(shown, shown.plain)
            thumbnail = self.thumbnails.make(shown, shown.plain)
            if thumbnail is not None:
                self.history.add_picture(*thumbnail)
        if watched.pictures and item.drawn and not newer and item.number > self._pictured:
            self._show(item.number, shown)

    def _count(self, shown: Shown) -> None:
        """Counts a frame that is encoded, also if it is so twice."""
        index = shown.frame.index
        self.encoded += index != self._counted and not shown.outage
        self._counted = index

    def _tell_window(self, explanation: Explanation) -> None:
        number = explanation.window
        if number in self._told:
            return
        self._told[number] = None
        while len(self._told) > TOLD:
            self._told.popitem(last=False)
        data = messages.window(explanation)
        self._publish(lambda audience: audience.window(number, data))

    def _encode(self, shown: Shown, plain: Picture) -> None:
        from .video_messages import VideoMessages

        try:
            if self._video is None:
                self._video = VideoMessages(self.info, self._settings)
            made = self._video.make(shown, plain)
        except TubesError as error:
            self._give_up(one_line(error))
            return
        self._count(shown)
        for message in made:
            self._publish(partial(_send, message))

    def _give_up(self, why: str) -> None:
        self.why_no_video, self._video = why, None
        say("sink", f"web://{self.name}: viewers get pictures in place of video: {why}", level=logging.WARNING)
        self._publish(lambda audience: audience.say(messages.text("video", video="none", why_no_video=why)))

    def _show(self, number: int, shown: Shown) -> None:
        data = jpeg(shown)
        self._pictured = number
        self._count(shown)
        self._publish(lambda audience: audience.show(number, data))

    def _publish(self, tell: Callable[[Audience], Any]) -> None:
        """Has the server's thread tell the viewers."""
        loop, audience = self._loop, self._audience
        if loop is not None and audience is not None and not loop.is_closed():
            with suppress(RuntimeError):  # it has just been closed
                loop.call_soon_threadsafe(tell, audience)


def _send(message: bytes | Media, audience: Audience) -> None:
    if isinstance(message, Media):
        audience.media(message)
    else:
        audience.begin(message)


def _named(stream: str, event: Event) -> str:
    return f'{{"stream":{messages.as_json(stream)},"event":{event.json}}}'

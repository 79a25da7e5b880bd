"""The video of a stream as messages of the WebSocket: each frame with what was drawn on it."""

from __future__ import annotations

import logging
from collections import OrderedDict

from ...engine.picture import Picture
from ...engine.types import Shown
from ..media.info import VideoInfo
from ..telemetry.log import say
from . import messages
from .av_video import Init, Video
from .media import Media
from .settings import VideoSettings

WAITED = 64
"""Maximum frames that an encoder keeps before it gives them."""


class VideoMessages:
    """An encoder, and the frames that it has not given yet. For one thread."""

    def __init__(self, info: VideoInfo, settings: VideoSettings) -> None:
        """Raises as `Video` does."""
        self._video = Video(info, settings)
        self._waited: OrderedDict[int, Shown] = OrderedDict()
        self._for_web_rtc = settings.baseline

    def want_key(self) -> None:
        """As `Video.want_key`."""
        self._video.want_key()

    def make(self, shown: Shown, plain: Picture) -> list[bytes | Media]:
        """Takes a frame. plain: its picture, not drawn on. Returns the message that begins a new video, if one does,
        and the frames that the encoder gives. Raises as `Video.encode` does."""
        init, fragments = self._video.encode(shown.frame, plain)
        made: list[bytes | Media] = []
        if init is not None:
            self._check(init)
            width, height = init.size
            made.append(messages.binary("init", init.data, codec=init.codec, width=width, height=height))
        self._waited[self._video.time] = shown
        while len(self._waited) > WAITED:
            self._waited.popitem(last=False)
        for fragment in fragments:
            of = self._waited.pop(fragment.time, shown)
            told = messages.frame(of, fragment.time)
            windows = tuple(explanation.window for explanation, _ in of.parts)
            data = messages.media(fragment.data, fragment.key, [told])
            if self._for_web_rtc:
                facts = messages.frames([told])
                made.append(Media(data, fragment.key, windows, facts, fragment.packet, fragment.time))
            else:
                made.append(Media(data, fragment.key, windows))
        return made

    def _check(self, init: Init) -> None:
        if self._for_web_rtc and not init.is_baseline:
            self._for_web_rtc = False
            why = f"the encoder gives {init.codec} and not the baseline profile; choose another one by --encoder"
            say("sink", f"web://: nothing is sent by WebRTC: {why}", level=logging.WARNING)

"""The configuration file, read again while streams run."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...engine.errors import TubesError
from ..telemetry.log import say
from .config import label_of
from .options import differences
from .roster import Roster
from .settings import Settings
from .stream_change import StreamChange, check_streams, pairs_of


def take_over(roster: Roster, reread: Callable[[], Settings]) -> bool:
    """Applies what new settings change while streams run. Whether all of them were accepted."""
    try:
        asked = reread()
        check_streams(asked.streams, roster.classes())
    except TubesError as error:
        say("reload", f"refused, nothing changes: {error}", level=logging.ERROR)
        return False
    old = roster.settings
    pairs = pairs_of(old.streams, asked.streams)
    changes = [StreamChange.between(*pair) for pair in pairs if not roster.has_ended(label_of(pair[0]))]
    if not len(pairs) == len(old.streams) == len(asked.streams):
        say("reload", "streams were added, removed or renamed: that needs a restart", level=logging.WARNING)
    for entry in differences(old.process, asked.process):
        say("reload", f"needs a restart: {entry.name}", level=logging.WARNING)
    accepted = True
    for change in changes:
        try:
            roster.apply(change)
        except TubesError as error:
            say("reload", f"refused: {error}", stream=change.old.name, level=logging.ERROR)
            accepted = False
    return accepted

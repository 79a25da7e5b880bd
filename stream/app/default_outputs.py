"""Where a run goes that names no output: a file gets a film beside it, a live input a page for browsers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ...engine.errors import UsageError
from ..net.address import SERVED, Address
from ..sinks.open import can_show_pages
from ..sources.open import comes_live
from .config import Config

INSTALL_WEB = "to watch it in a browser: pip install 'saliency-tubes[web]'"
"""What is said where a page would be the default."""


@dataclass(frozen=True)
class Completed:
    """A run that has an output."""

    config: Config
    note: str = ""
    """what was chosen here, for people; empty if nothing was, or only what is usual"""
    is_page: bool = False
    """whether a page was chosen here"""


def with_outputs(config: Config) -> Completed:
    """The run with the default output if it names none. Opens nothing.

    Raises UsageError where there is no default: for a stream, whose film would have neither a name nor an end, if the
    web server is not installed.
    """
    if config.outputs:
        return Completed(config)
    address, live = Address.parse(config.input), comes_live(config.input, config.source)
    if live and can_show_pages():
        name = re.sub("[^A-Za-z0-9._-]", "-", config.name).lstrip(".")[:64]
        page = f"web://:{SERVED['web'][1]}{name and '/'}{name}"
        note = f"no output is named: a live input goes to a page for browsers, {page}"
        return Completed(replace(config, outputs=(page,)), note, is_page=True)
    more = f"; {INSTALL_WEB}" if live else ""
    if address.scheme or address.file is None:
        raise UsageError(f"no output: a stream needs one, as out.mkv, rtsp://@:8554/explained or null://{more}")
    film = f"{address.file.stem.replace('%', '')}.tubes.mp4"  # a % would make it a recording named by the time
    return Completed(replace(config, outputs=(film,)), f"no output is named: {film}{more}" if live else "")

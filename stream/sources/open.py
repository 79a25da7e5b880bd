"""Where frames come from: what a source promises, and which source a URI means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...engine.errors import UsageError
from ...engine.fit import fit
from ...engine.lazy import lazily
from ...engine.picture import HOST
from ...engine.place import Place
from ..net.address import PORTS, Address, AddressLike
from ..net.tls import check_authorities
from .base import NETWORK, Source, SourceOptions

_LIVE = NETWORK | {"v4l2", "csi", "gst"}
"""schemes of what may be lost, and connected to again"""
_BY_SCHEME: dict[str, Callable[[Address, SourceOptions], Source]] = {
    "test": lazily(__package__, "pattern:open_pattern"),
}
"""schemes of all else that is no file"""
ACCEPTED = "give a video file, rtsp://, http://, /dev/videoN, csi://N, gst://PIPELINE or test://"


def open_source(
    uri: AddressLike,
    options: SourceOptions | None = None,
    *,
    stream: str = "",
    given_up: Callable[[], bool] = lambda: False,
    place: Place | None = None,
) -> Source:
    """Opens the input and waits for its first frame. stream: what it is called in the log, where there are several.
    given_up: asked between two attempts to connect: whether there is to be none after it. place: where the frames are
    to live; they are decoded there if that can be, else in the host's memory. None: in the host's memory.

    `uri`: a path or file://, rtsp(s)://, http(s)://, udp://, srt://, rtmp://, /dev/videoN or v4l2:///dev/videoN,
    csi://N, gst://PIPELINE, test://?size=1280x720&rate=30&frames=300.

    Raises UsageError for what is no input, and for a `tls_ca` that cannot be read; SourceError for what cannot be read
    or does not answer.
    """
    options = options or SourceOptions()
    address = Address.parse(uri)
    if not address.full:
        raise UsageError(f"the input is empty; {ACCEPTED}")
    check_authorities(options.tls_ca)
    if address.is_standard:
        raise UsageError(f"{address}: standard input is not an input of this version; {ACCEPTED}")
    if address.scheme in _LIVE:
        return _open_live(address, options, stream, given_up, place)
    if address.file is not None:
        return _open_file(address, address.file, options, place)
    if address.scheme in _BY_SCHEME:
        return _BY_SCHEME[address.scheme](address, options)
    raise UsageError(f"{address}: {address.scheme}:// is not an input of this version; {ACCEPTED}")


def comes_live(uri: AddressLike, options: SourceOptions) -> bool:
    """`Source.live` of an input that is not open yet; False where it never can be. Pure."""
    try:
        address = Address.parse(uri)
        if address.scheme == "test":
            from .pattern import PatternSpec

            return options.realtime or PatternSpec.parse(address).realtime
    except UsageError:  # told when it is opened, and of that stream alone
        return False
    return options.realtime if address.comes_live is None else address.comes_live


def backend_of(address: Address, options: SourceOptions, where: str = HOST) -> str:
    """The library that reads an input: "gst" or "av". where: the place that frames are wanted in."""
    if address.scheme in ("csi", "gst"):
        return "gst"
    if options.backend != "auto":
        return options.backend
    if where != HOST:
        from ..media.gst_ways import decodes_into

        if decodes_into(where):
            return "gst"
    # FFmpeg in PyAV's wheels has no SRT.
    return "gst" if address.scheme == "srt" else "av"


def _open_file(address: Address, path: Path, options: SourceOptions, place: Place | None) -> Source:
    def once() -> Source:
        if backend_of(address, options, place.name if place else HOST) == "gst":
            from .gst_file import open_file

            return open_file(address, path, options, place)
        from .av_file import AvSource

        return AvSource(path, address.shown, options.max_size, place)

    if not (options.realtime or options.loop):
        return once()
    from .replay import Replay

    return Replay(once, options.realtime, options.loop)


def _open_live(
    address: Address, options: SourceOptions, stream: str, given_up: Callable[[], bool], place: Place | None
) -> Source:
    from .live import LiveSource
    from .patience import Patience

    scheme = address.scheme
    if scheme in PORTS and not address.host:
        raise UsageError(f"{address}: name the server, as in {scheme}://camera:{PORTS[scheme]}/path")
    web = scheme in ("http", "https")
    # Servers of HLS hand out seconds at once, and nothing between.
    segments = web and address.path.lower().endswith(".m3u8")
    stall = options.stall or (10.0 if segments else 2.0)
    if scheme in ("csi", "gst") and options.backend == "av":
        raise UsageError(f"{address}: {scheme}:// needs GStreamer: leave out the backend, or say gst")
    if backend_of(address, options, place.name if place else HOST) == "gst":
        from .gst_feed import connector
    else:
        from .av_feed import connector
    patience = Patience(stall, options.first_timeout, options.wait, options.retries)
    return LiveSource(
        connector(address, options, stall, place),
        address.shown,
        patience,
        stream=stream,
        given_up=given_up,
        fit=place.fit if place else fit,
    )

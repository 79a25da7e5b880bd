"""The host's place: pictures in its memory, drawn on by one path of the overlay."""

from __future__ import annotations

from ..fit import fit
from ..manifest import InputSpec
from ..picture import HOST, Color, Image, Layout, Picture, on_host
from ..place import Needs
from ..preprocess import HostSampler
from ..types import Crop, Parts, leading
from .caption import Caption, draw_caption
from .outline import draw_outline
from .overlay import Overlay, Run
from .style import Style


class HostPainter:
    """An `ImagePainter` for pictures, whose planes must be writable."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    @property
    def style(self) -> Style:
        return self._overlay.style

    @property
    def path(self) -> str:
        return self._overlay.path

    @property
    def description(self) -> str:
        return self._overlay.description

    @property
    def not_finite(self) -> int:
        return self._overlay.not_finite

    def paint(
        self,
        image: Image,
        parts: Parts,
        *,
        at: float,
        opacity: float,
        outline: Crop | None,
        caption: Caption | None,
        pixel_aspect: float,
    ) -> None:
        """As `ImagePainter.paint`."""
        picture = on_host(image)
        if parts:
            cells = self._overlay.blend(parts, at, opacity)
            self._overlay.draw(picture, cells, leading(parts).tube.crop)
        if outline is not None:
            draw_outline(picture, outline)
        if caption is not None:
            draw_caption(picture, caption, self.style, pixel_aspect)

    def close(self) -> None:
        """There is nothing to free."""


class HostPlace:
    """A `Place`: the host's memory, which has room for what comes. overlay, bands, run: as `Overlay`'s path, bands and
    run."""

    name = HOST
    description = "the host's memory"
    leases = 0

    def __init__(self, overlay: str = "auto", *, bands: int = 1, run: Run = map) -> None:
        self.uploads = self.host_copies = self.copies = 0
        self._path, self._bands, self._run = overlay, bands, run

    def reserve(self, needs: Needs) -> str:
        """As `Place.reserve`; it has nothing to say."""
        return ""

    def bring(self, image: Image, *, keep: bool = False) -> Image:
        """The picture itself. Raises ValueError for an image that lies elsewhere."""
        return on_host(image)

    def sampler(self, spec: InputSpec) -> HostSampler:
        return HostSampler(spec)

    def painter(self, style: Style) -> HostPainter:
        """Raises UsageError for a path that does not work here."""
        return HostPainter(Overlay(style, self._path, bands=self._bands, run=self._run))

    def fit(self, image: Image, size: tuple[int, int], layout: Layout, color: Color) -> Picture:
        return fit(image, size, layout, color)

    def host(self, image: Image) -> Picture:
        return on_host(image)

    def close(self) -> None:
        """There is nothing to free."""

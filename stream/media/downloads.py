"""Images of a place in the host's memory, each copied there once, however many outputs ask for it."""

from __future__ import annotations

import threading
from dataclasses import replace
from weakref import WeakKeyDictionary

from ...engine.picture import Image, Picture
from ...engine.place import Place
from ...engine.types import Shown


class Downloads:
    """The copies of one place's images. Any thread may ask. A copy is forgotten with its image, unless somebody keeps
    it; nobody may change it."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._copies: WeakKeyDictionary[Image, Picture] = WeakKeyDictionary()
        self._lock = threading.Lock()
        """held while an image is copied, so that who asks for it meanwhile gets the same copy"""

    def picture(self, image: Image) -> Picture:
        """The image on the host: itself if it lies there."""
        if isinstance(image, Picture):
            return image
        with self._lock:
            picture = self._copies.get(image)
            if picture is None:
                picture = self._copies[image] = self._place.host(image)
            return picture

    def copy(self, image: Image) -> Picture:
        """The image on the host as it is now, in memory of its own: the image is drawn on next."""
        if isinstance(image, Picture):
            return image.copy()
        with self._lock:
            return self._place.host(image)

    def shown(self, shown: Shown) -> Shown:
        """The frame with its picture on the host: itself if it lies there."""
        picture = self.picture(shown.frame.image)
        return shown if picture is shown.frame.image else replace(shown, frame=replace(shown.frame, image=picture))

"""The page as it is shipped, without a browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

from saliency_tubes.engine.draw.style import COLORMAPS
from saliency_tubes.stream.web.colormaps import typescript

WEB = Path(__file__).resolve().parents[2] / "stream" / "web"
SOURCES = sorted((WEB / "page" / "src").rglob("*.ts"))
SHIPPED = sorted((WEB / "static").iterdir())
HEAVIEST = 150_000
"""bytes of the whole page"""


def test_it_has_the_colour_maps_of_the_overlay() -> None:
    assert (WEB / "page" / "src" / "tables.ts").read_text(encoding="utf-8") == typescript()  # make page


def test_the_first_colour_map_is_one_for_the_colour_blind() -> None:
    assert next(iter(COLORMAPS)) == "cividis"


def test_it_is_light() -> None:
    assert {"app.css", "app.js", "index.html"} <= {path.name for path in SHIPPED}
    assert sum(path.stat().st_size for path in SHIPPED) < HEAVIEST


def test_it_names_no_other_host() -> None:
    """Namespaces of SVG are names, and nothing is asked of them."""
    for path in SHIPPED:
        urls = set(re.findall(r"\bhttps?://[\w.-]+", path.read_text(encoding="utf-8")))
        assert urls <= {"http://www.w3.org"}, path.name


def test_nothing_in_it_is_inline() -> None:
    """The server's Content-Security-Policy forbids it."""
    page = (WEB / "static" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc=)", page)


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((WEB / "page" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())


def test_its_modules_stay_small() -> None:
    assert len(SOURCES) > 15
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}

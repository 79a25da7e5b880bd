"""Several streams as a wall, one enlarged; one that is down and why; and what the page survives by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from barcodes import read_barcode
from browser import Page, chromium, needs_chromium
from hands import click, press, screen, text_of
from livepage import Served, ask, frame, look, luma, pictures, serve, watch
from waiting import free_port

pytestmark = needs_chromium
WHY = "no route to host; it is tried again"
TILES = """() => Object.fromEntries([...document.querySelectorAll(".tile")].map((tile) => [
  tile.querySelector("strong").textContent,
  [tile.querySelector(".label").textContent, tile.querySelector(".state").textContent],
]))"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def doors(port: int) -> Iterator[tuple[Served, Served]]:
    """Two streams, and one that could not be opened."""
    with serve(port=port, name="door") as door, serve(port=port, name="yard") as yard:
        server = door.sink.acquire()
        server.expected["roof"] = lambda: WHY
        yield door, yard
        server.release()


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        screen(page, 1280, 900)
        yield page


@pytest.fixture
def wall(browser: Page, doors: tuple[Served, Served]) -> Iterator[Page]:
    browser.open("about:blank")
    browser.said.clear()
    browser.open(doors[0].url)
    browser.wait("() => document.querySelectorAll('.tile').length === 3", 60)
    yield browser
    browser.open("about:blank")


def test_the_wall_shows_what_each_stream_sees_and_why_one_is_down(wall: Page) -> None:
    wall.wait(f"() => {{ const seen = ({TILES})(); return seen.door[0] && seen.yard[0]; }}")
    seen = wall.run(TILES)
    assert list(seen) == ["door", "roof", "yard"]
    assert seen["door"][0].startswith("mark ")
    assert seen["door"][1] == seen["yard"][1] == ""
    assert seen["roof"][1] == WHY
    moving = """() => new Promise((done) => {
      const shot = () => [...document.querySelectorAll(".tile canvas")].map((canvas) => canvas.toDataURL());
      const before = shot();
      const look = () => {
        const now = shot();
        if (now[0] !== before[0] && now[2] !== before[2]) done(true);
        else setTimeout(look, 50);
      };
      look();
    })"""
    assert wall.run(moving)


def test_one_is_enlarged_and_the_wall_comes_back(wall: Page) -> None:
    click(wall, ".tile:nth-child(3) button")
    wall.wait("() => globalThis.saliencyTubes.frame()?.drawn", 60)
    assert (look(wall)["stream"], wall.run("() => location.hash")) == ("yard", "#stream=yard")
    assert wall.run("() => document.title") == "yard - Saliency Tubes"
    assert wall.run("() => document.querySelector('.tabs [aria-current]').textContent") == "yard"
    press(wall, "w")
    wall.wait("() => document.querySelectorAll('.tile').length === 3")
    press(wall, "Tab")  # to the first of the tabs or tiles: by the keyboard alone
    wall.run("() => document.querySelector('.tile button').focus()")
    press(wall, "Enter")
    wall.wait("() => globalThis.saliencyTubes.look.get().stream === 'door'")
    click(wall, ".tabs button:first-child")
    wall.wait("() => document.querySelectorAll('.tile').length === 3")


def test_one_that_is_down_says_why_when_it_is_enlarged(wall: Page) -> None:
    click(wall, ".tabs button:nth-child(3)")
    wall.wait("() => globalThis.saliencyTubes.look.get().stream === 'roof'")
    wall.wait("() => !document.querySelector('.view').classList.contains('new')")
    wall.wait(f"() => document.querySelector('.picture .state').textContent === '{WHY}'")


def test_a_source_that_dies_is_told_of_and_comes_back(browser: Page, doors: tuple[Served, Served]) -> None:
    door, _ = doors
    watch(browser, door.url, "stream=door")
    assert browser.run("() => document.querySelector('.picture .state').hidden")
    door.camera.away.set()
    browser.wait("() => document.querySelector('.picture').classList.contains('away')")
    assert text_of(browser, ".picture .state") == "lost: no route to host"
    browser.wait("() => document.querySelectorAll('.tabs [data-state=bad]').length === 2")
    before = frame(browser)["i"]
    door.camera.away.clear()
    browser.wait("() => !document.querySelector('.picture').classList.contains('away')")
    browser.wait(f"() => saliencyTubes.frame().i > {before} + 10")
    (told, rgb), *_ = pictures(browser, 1)
    assert told["i"] is not None
    browser.wait("() => saliencyTubes.session.windows.marks.some((mark) => mark.kind === 'reconnect')")
    assert read_barcode(luma(rgb)) > told["i"]  # the camera went on counting while it was away
    browser.open("about:blank")


def test_a_server_that_comes_back_is_found_again_with_the_same_look(browser: Page) -> None:
    port = free_port()
    with serve(port=port, name="gate") as first:
        watch(browser, first.url)
        ask(browser, threshold=0.4, split=0.3)
    browser.wait("() => !document.querySelector('.picture .state').hidden")
    assert "it is tried again" in text_of(browser, ".picture .state")
    browser.wait("() => document.querySelector('.said').textContent.startsWith('No answer from the server')")
    with serve(port=port, name="gate"):
        browser.wait("() => document.querySelector('.picture .state').hidden", 60)
        browser.wait("() => document.querySelector('.said').textContent === ''", 60)
        (told, rgb), *_ = pictures(browser, 1)
        assert read_barcode(luma(rgb)) == told["i"]
        assert (look(browser)["threshold"], look(browser)["split"]) == (0.4, 0.3)
        browser.open("about:blank")

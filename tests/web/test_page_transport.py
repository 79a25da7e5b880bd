"""What is around the page's picture: standing still, steps, full screen, snapshots, the time line, keys, facts."""

from __future__ import annotations

import json
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from barcodes import read_barcode
from browser import Page, chromium, needs_chromium
from hands import click, focus, place_of, point, press, screen, text_of
from livepage import Served, ask, frame, freeze, look, luma, picture, serve, start_again, watch
from markrunner import SLICES
from waiting import wait_for

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as made:
        yield made


@pytest.fixture(scope="module")
def browser(served: Served) -> Iterator[Page]:
    with chromium() as page:
        screen(page, 1280, 900)
        watch(page, served.url)
        page.wait("() => { const span = saliencyTubes.stage.player.span; return span[1] - span[0] > 2; }")
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    point(browser, (5, 5))
    start_again(browser)
    return browser


def button(label: str) -> str:
    return f"button[aria-label='{label}']"


def follows(page: Page) -> bool:
    return bool(page.run("() => saliencyTubes.stage.player.state.get().following"))


def goes_on(page: Page) -> None:
    page.wait(f"() => saliencyTubes.frame().i > {frame(page)['i']}")
    assert follows(page)


def settled(page: Page) -> int:
    """The number of the frame that is shown, once those that were on their way to the screen are there."""
    before, now = -1, int(frame(page)["i"])
    while before != now:
        page.run("() => new Promise((done) => setTimeout(done, 300))")
        before, now = now, int(frame(page)["i"])
    return now


def test_it_stands_still_steps_and_goes_on(page: Page, served: Served) -> None:
    click(page, button("Stand still"))
    wait_for(lambda: not served.sink.wants_plain)
    page.wait("() => document.querySelector('.where').textContent.includes('before the newest')")
    here = settled(page)
    for label, step in (("One frame back", -1), ("One frame back", -1), ("One frame on", 1)):
        click(page, button(label))
        known = page.run("() => saliencyTubes.session.windows.known.map((frame) => frame.i)")
        here = known[known.index(here) + step]
        page.wait(f"() => saliencyTubes.frame().i === {here}")
        assert read_barcode(luma(picture(page)[1])) == here
    click(page, ".transport .live")
    goes_on(page)
    click(page, button("Stand still"))
    assert not follows(page)
    click(page, button("Go on"))
    goes_on(page)


def test_full_screen(page: Page) -> None:
    click(page, button("Full screen"))
    page.wait("() => document.fullscreenElement?.className.includes('picture')")
    press(page, "f")
    page.wait("() => document.fullscreenElement === null")


def test_a_picture_is_kept_with_its_data(page: Page, tmp_path: Path) -> None:
    page.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    freeze(page)
    ask(page, colormap="inferno")
    told, rgb = picture(page)
    click(page, button("Keep this picture, with its data"))
    wait_for(lambda: {path.suffix for path in tmp_path.iterdir()} == {".png", ".json"})
    (png,), (beside,) = tmp_path.glob("*.png"), tmp_path.glob("*.json")
    facts = json.loads(beside.read_text())
    assert json.loads(text_in(png.read_bytes())) == facts
    np.testing.assert_array_equal(cv2.imread(str(png))[..., ::-1], rgb)
    assert facts["frame"] == told
    assert (facts["look"]["colormap"], facts["stream"]) == ("inferno", "live")
    assert [(window["n"], window["share"]) for window in facts["windows"]] == [tuple(part) for part in told["parts"]]
    assert len(facts["windows"][0]["evidence"]) == np.prod(facts["windows"][0]["shape"])
    assert "--colormap inferno" in facts["command"]


def text_in(png: bytes) -> str:
    """The text of the chunk iTXt that has our name. Checks all chunks' sums."""
    found, at = "", 8
    while at < len(png):
        length, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + length]
        assert zlib.crc32(kind + data) == int.from_bytes(png[at + 8 + length : at + 12 + length], "big")
        if kind == b"iTXt":
            name, text = data.split(b"\0\0\0\0\0", 1)
            assert name == b"saliency-tubes"
            found = text.decode()
        at += 12 + length
    return found


def test_the_time_line_shows_a_window_with_its_tube_and_goes_there(page: Page) -> None:
    """The small picture's tube covers the whole of it here, so that it differs from the one without."""
    ask(page, threshold=0, alpha=1, normalize={"mode": "fixed", "low": -1, "high": 10})
    page.run("() => saliencyTubes.stage.pause()")
    at = page.run(
        """() => {
          const { windows } = saliencyTubes.session;
          const end = Math.max(windows.past.at(-1).t, windows.lastFrame.t);
          const whole = windows.past.filter((window) => windows.window(window.n) && end - window.t > 0.5);
          return 1 - (end - whole.at(-1).t) / 60;
        }"""
    )
    width = page.run("() => document.querySelector('.timeline').clientWidth")
    x = 2 + at * (width - 10)  # what Timeline leaves free at its sides
    left, middle = place_of(page, ".timeline", 0)
    point(page, (left + x, middle))
    page.wait("() => document.querySelector('.thumbnail canvas').width > 100")
    seen, plain = _thumbnail(page), _get([url for url in page.requests if url.endswith("/thumbnail.jpg")][-1])
    assert np.abs(seen.astype(int) - plain).mean() > 20
    assert text_of(page, ".thumbnail small") == ""
    assert text_of(page, ".thumbnail ul").startswith("mark")
    point(page, (left + x, middle), "mousePressed", held=True)
    point(page, (left + x, middle), "mouseReleased")
    ends = "saliencyTubes.session.windows.past.map((window) => window.t)"
    page.wait(f"() => {ends}.some((t) => Math.abs(saliencyTubes.frame().t - t) < 0.002)")
    assert not follows(page)
    point(page, (5, 5))
    page.wait("() => document.querySelector('.thumbnail').hidden")


def _thumbnail(page: Page) -> np.ndarray:
    size = "() => { const { width, height } = document.querySelector('.thumbnail canvas'); return [height, width]; }"
    pixels = page.run(
        """() => {
          const canvas = document.querySelector(".thumbnail canvas");
          return [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    return np.array(pixels, np.uint8).reshape(*page.run(size), 4)[..., :3]


def _get(url: str) -> np.ndarray:
    found = cv2.imdecode(np.frombuffer(urllib.request.urlopen(url).read(), np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(found[..., ::-1])


def test_the_time_line_by_keys(page: Page) -> None:
    focus(page, ".timeline")
    press(page, "ArrowLeft", 3)
    said = page.run("() => document.querySelector('.timeline').getAttribute('aria-valuetext')")
    assert "mark" in said
    assert follows(page)  # the arrows were the time line's
    press(page, "Enter")
    page.wait("() => !saliencyTubes.stage.player.state.get().following")
    press(page, "Escape")
    page.wait("() => document.querySelector('.thumbnail').hidden")


def test_the_time_line_has_a_line_for_each_class(page: Page) -> None:
    assert text_of(page, ".legend") == "marknone"
    focus(page, ".timeline")
    colors = page.run(
        """() => {
          const canvas = document.querySelector(".timeline");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const seen = [...new Set(new Uint32Array(data.buffer))];
          return seen.map((one) => [one & 255, (one >> 8) & 255, (one >> 16) & 255]);
        }"""
    )
    assert [0xF2, 0xA5, 0x3A] in colors  # --a: what is explained
    assert [0xC8, 0xA2, 0xF0] in colors  # --line-1
    click(page, ".time .chips button:nth-child(2)")
    assert page.run("() => document.querySelector('.time .chips button').getAttribute('aria-pressed')") == "false"
    click(page, ".time .chips button:nth-child(1)")


def test_the_tube_over_time(page: Page) -> None:
    freeze(page)
    page.wait(f"() => document.querySelectorAll('.slices li').length === {SLICES}")
    leading = max(frame(page)["parts"], key=lambda part: part[1])[0]
    shares = page.run(
        "(n) => { const w = saliencyTubes.session.windows.window(n);"
        " return saliencyTubes.modules.windows.sliceShares(w.evidence.get(0) ?? w.tube, w.shape); }",
        leading,
    )
    bars = "() => [...document.querySelectorAll('.slices .share')].map((bar) => Number(bar.style.getPropertyValue('--share')))"  # noqa: E501
    page.wait(f"() => Math.abs(({bars})()[0] - {shares[0]}) < 1e-6")
    assert page.run(bars) == pytest.approx(shares, abs=1e-6)
    assert page.run("() => document.querySelectorAll('.slices .now').length") == 1


def test_how_it_runs_in_words(page: Page, served: Served) -> None:
    status = json.loads(urllib.request.urlopen(f"{served.url}api/streams/live").read())
    rows = "() => Object.fromEntries([...document.querySelectorAll('.facts > div')].map((row) => [row.children[0].textContent, row.children[1].textContent]))"  # noqa: E501
    page.wait(f"() => ({rows})()['Watching'] === '1 viewer'")
    said = page.run(rows)
    assert status["state"] == said["Source"]
    assert said["Decoder"] == "no errors"
    assert "windows a second" in said["Explained"]
    assert said["On this page"].startswith("drawn by WebGL, ")
    assert {"Pictures", "Age of the tube", "Delay", "Lost", "Reconnects", "Outputs", "Running for"} <= said.keys()


def test_keys(page: Page) -> None:
    freeze(page)
    press(page, " ")
    page.wait("() => saliencyTubes.stage.player.state.get().following")
    freeze(page)
    here = frame(page)["i"]
    press(page, ",")
    page.wait(f"() => saliencyTubes.frame().i < {here}")
    press(page, "ArrowRight", 2)
    page.wait(f"() => saliencyTubes.frame().i >= {here}")
    press(page, "l")
    goes_on(page)
    press(page, "d")
    assert look(page)["split"] == 0.5
    press(page, "d")
    assert look(page)["split"] == 0
    press(page, "2")
    press(page, "1")
    assert (look(page)["explain"], look(page)["against"]) == (1, 0)
    press(page, "0")
    press(page, "p")
    assert (look(page)["explain"], look(page)["against"]) == (0, None)
    press(page, "p")
    assert look(page)["explain"] is None


def test_letters_can_be_switched_off(page: Page) -> None:
    for wanted in (False, True):
        click(page, button("Keys"))
        page.wait("() => document.querySelector('dialog').open")
        click(page, "dialog input")
        press(page, "Escape")
        page.wait("() => !document.querySelector('dialog').open")
        press(page, "d")
        assert (look(page)["split"] == 0.5) is wanted
    press(page, "d")
    press(page, "?")
    page.wait("() => document.querySelector('dialog').open")
    click(page, "dialog button")
    page.wait("() => !document.querySelector('dialog').open")


def test_dark_or_light(page: Page) -> None:
    def light() -> bool:
        page.run("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return bool(page.screenshot()[-1, -1].mean() > 128)

    assert not light()
    click(page, button("Dark or light"))
    assert light()
    page.command("Page.reload")
    page.wait("() => globalThis.saliencyTubes?.frame?.()?.drawn", 60)
    assert light()
    press(page, "t")
    assert not light()


def test_it_complained_of_nothing(page: Page) -> None:
    assert [line for line in page.said if "GL Driver Message" not in line] == []  # those tell that tests read pixels

"""The page with a stream, in a real browser: what is on the canvas is the right frame with the right tube."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from barcodes import read_barcode
from browser import Page, chromium, needs_chromium
from livepage import SIZE, STYLE, Served, ask, frame, luma, picture, pictures, serve, watch
from markrunner import CELLS
from saliency_tubes.engine.draw.overlay import Overlay
from saliency_tubes.engine.draw.style import Style
from saliency_tubes.engine.picture import Layout, Picture
from saliency_tubes.stream.sources.pattern import draw, mark_at
from waiting import free_port, wait_for

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve() as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


@pytest.fixture
def page(browser: Page, served: Served) -> Page:
    watch(browser, served.url)
    return browser


def stop(page: Page, seconds_ago: float = 0.4) -> int:
    """Stands still at a frame of the near past; returns its number."""
    page.run("(ago) => saliencyTubes.freeze(saliencyTubes.frame().t - ago)", seconds_ago)
    number = frame(page)["i"]
    assert isinstance(number, int)
    return number


def raw_and_drawn(page: Page) -> tuple[np.ndarray, np.ndarray]:
    """The frame that is frozen, without and with its tube."""
    ask(page, split=1)
    _, raw = picture(page)
    ask(page, split=0)
    _, drawn = picture(page)
    return raw, drawn


def test_it_plays_and_every_picture_is_of_the_frame_it_says(page: Page) -> None:
    seen = pictures(page, 40)
    numbers = [told["i"] for told, _ in seen]
    assert numbers == sorted(set(numbers))
    assert [read_barcode(luma(rgb)) for _, rgb in seen] == numbers


def test_the_tube_lies_on_what_it_is_about(page: Page, served: Served) -> None:
    """The mark's place at the time of the evidence, within half a cell of the network."""
    ask(page, alpha=1, threshold=0, sync="aligned")
    found = 0
    while found < 5:
        page.wait("() => saliencyTubes.frame().age === 0 && saliencyTubes.frame().drawn")
        stop(page, 0.2)
        told = frame(page)
        if told["drawn"]:  # where the network is slow, there are frames that no window saw
            found += 1
            check_peak(page, told)
        page.run("() => saliencyTubes.stage.play()")
        page.wait(f"() => saliencyTubes.frame().i > {told['i']}")


def check_peak(page: Page, told: dict[str, Any]) -> None:
    """That the middle of what is drawn is where the mark is in the frame."""
    raw, drawn = raw_and_drawn(page)
    changed = np.abs(drawn.astype(int) - raw).sum(axis=2).astype(float)
    y, x = (np.arange(length) + 0.5 for length in changed.shape)
    peak = (changed.sum(axis=0) @ x / changed.sum(), changed.sum(axis=1) @ y / changed.sum())
    mark = mark_at(told["at"], SIZE)
    assert told["at"] == told["i"]
    assert abs(peak[0] - mark[0]) <= SIZE[0] / CELLS / 2
    assert abs(peak[1] - mark[1]) <= SIZE[1] / CELLS / 2


def overlaid(raw: np.ndarray, served: Served, told: dict[str, Any], style: Style) -> np.ndarray:
    """What the overlay draws on the frame, from what the network said."""
    parts = [(served.windows.by_number[number], share) for number, share in told["parts"]]
    overlay, drawn = Overlay(style), Picture(Layout.RGB, (raw.copy(),))
    cells = overlay.blend(parts, float(told["at"]), float(told["opacity"]))
    overlay.draw(drawn, cells, parts[0][0].tube.crop)
    return drawn.planes[0]


@pytest.mark.parametrize("style", [STYLE, Style("viridis", 0.9, 0.4), Style("inferno", 0.4, 0.0)], ids=str)
def test_the_tube_is_what_the_overlay_draws(page: Page, served: Served, style: Style) -> None:
    """Within 6 levels at 99 % of the pixels, against the decoded frame."""
    stop(page)
    ask(page, colormap=style.colormap, alpha=style.alpha, threshold=style.threshold)
    raw, drawn = raw_and_drawn(page)
    off = np.abs(drawn.astype(int) - overlaid(raw, served, frame(page), style)).max(axis=2)
    assert (off <= 6).mean() >= 0.99
    assert np.abs(drawn.astype(int) - raw).max() > 40


def test_the_decoded_frame_is_the_sources(page: Page) -> None:
    number = stop(page)
    raw, _ = raw_and_drawn(page)
    source = draw(number, 0, SIZE).planes[0][70:]  # below the barcode, which has the time
    assert np.abs(luma(raw)[70:] * 219 / 255 + 16 - source).mean() < 6


def test_left_of_the_divider_is_the_plain_picture(page: Page) -> None:
    stop(page)
    ask(page, alpha=1, threshold=0)
    raw, drawn = raw_and_drawn(page)
    ask(page, split=0.5)
    _, half = picture(page)
    np.testing.assert_array_equal(half[:, :160], raw[:, :160])
    np.testing.assert_array_equal(half[:, 160:], drawn[:, 160:])


def test_another_class_is_asked_for_by_this_viewer_alone(page: Page, served: Served) -> None:
    """Evidence for `none` is the mark's, negative: scaled by the whole window's least and most, all but the mark."""
    page.wait(
        "() => saliencyTubes.frame().drawn && saliencyTubes.frame().parts.every("
        "([n]) => saliencyTubes.session.windows.window(n)?.evidence.size === 2)"  # explained since somebody watches
    )
    stop(page, 0)
    ask(page, explain=1, normalize={"mode": "fixed", "low": -10, "high": 0}, alpha=1, threshold=0.5)
    assert (frame(page)["explain"], frame(page)["drawn"]) == (1, True)
    raw, other = raw_and_drawn(page)
    told = frame(page)
    x, y = (round(at) for at in mark_at(told["at"], SIZE))
    changed = np.abs(other.astype(int) - raw).sum(axis=2)
    assert np.median(changed) > 30
    assert changed[y, x] == 0
    ask(page, explain=0, against=1, normalize={"mode": "positive"})
    raw, both = raw_and_drawn(page)
    changed = np.abs(both.astype(int) - raw).sum(axis=2)
    assert changed[y, x] > 30
    assert np.median(changed) == 0
    ask(page, explain=7)
    assert frame(page)["drawn"] is False


def test_one_steps_back_and_forth_and_comes_back_to_the_present(page: Page) -> None:
    page.wait("() => { const [from, to] = saliencyTubes.stage.player.span; return to - from > 3; }")
    number = stop(page, 1.0)
    known = page.run("() => saliencyTubes.session.windows.known.map((frame) => frame.i)")
    here = known.index(number)
    for count in (-1, -3, 5):
        page.run("(count) => saliencyTubes.stage.step(count)", count)
        here += count
        told, rgb = picture(page)
        assert (told["i"], read_barcode(luma(rgb))) == (known[here], known[here])
    page.run("() => saliencyTubes.stage.play()")
    page.wait(f"() => saliencyTubes.frame().i > {number + 40}")


def test_while_it_stands_still_nothing_is_sent(page: Page, served: Served) -> None:
    page.run("() => saliencyTubes.stage.pause()")
    wait_for(lambda: not served.sink.wants_plain)
    before = frame(page)["i"]
    encoded = served.sink.frames_written
    page.run("() => new Promise((done) => setTimeout(done, 800))")
    assert frame(page)["i"] <= before + 2  # what was on its way to the screen
    assert served.sink.frames_written <= encoded + 1
    page.run("() => saliencyTubes.stage.play()")
    page.wait(f"() => saliencyTubes.frame().i > {before}")


def test_aligned_waits_for_the_windows_that_saw_a_frame(page: Page) -> None:
    ask(page, sync="aligned")
    page.wait("() => saliencyTubes.frame().age === 0 && saliencyTubes.frame().parts.length === 2")
    seen = pictures(page, 20)
    assert all(told["at"] == told["i"] for told, _ in seen)
    assert all(sum(share for _, share in told["parts"]) == pytest.approx(1) for told, _ in seen if told["drawn"])
    assert sum(told["drawn"] for told, _ in seen) >= 5  # where the network is slow, some frames were seen by no window
    ask(page, sync="live")
    page.wait("() => saliencyTubes.frame().age > 0")


def test_a_page_that_was_stuck_for_seconds_is_in_the_present_again(page: Page) -> None:
    page.run("() => { const end = performance.now() + 5000; while (performance.now() < end) { /* stuck */ } }")
    page.wait(
        "() => { const { behind, target } = saliencyTubes.stage.player.state.get();"
        " return behind > 0 && behind < target + 0.3; }"
    )
    (told, rgb), *_ = pictures(page, 1)
    assert read_barcode(luma(rgb)) == told["i"]


@pytest.mark.parametrize(
    ("behind", "target", "speed"),
    [(0.1, 0.1, 1), (0.11, 0.1, 1), (0.2, 0.1, 1.1), (2, 0.1, 1.5), (0.05, 0.1, 0.95), (-0.1, 0.1, 0.5)],
)
def test_it_hurries_when_it_is_late_and_waits_when_it_is_early(
    page: Page, behind: float, target: float, speed: float
) -> None:
    script = "(behind, target) => saliencyTubes.modules.pace.speed(behind, target)"
    assert page.run(script, behind, target) == pytest.approx(speed)


def test_a_canvas_that_is_taken_away_is_replaced(page: Page) -> None:
    page.run(
        "() => saliencyTubes.stage.element.querySelector('canvas').getContext('webgl2')"
        ".getExtension('WEBGL_lose_context').loseContext()"
    )
    before = frame(page)["i"]
    page.wait(f"() => saliencyTubes.frame().i > {before} + 5")
    (told, rgb), *_ = pictures(page, 1)
    assert read_barcode(luma(rgb)) == told["i"]


def test_it_asks_nobody_else_and_complains_of_nothing(page: Page, served: Served) -> None:
    hosts = {url.split("/")[2] for url in page.requests if not url.startswith(("about:", "blob:", "data:"))}
    assert hosts == {f"127.0.0.1:{served.port}"}
    assert page.said == []


def test_a_server_that_comes_back_is_found_again(browser: Page) -> None:
    port = free_port()
    with serve(port=port) as first:
        watch(browser, first.url)
        page_before = frame(browser)["i"]
        assert page_before > 0
        run = browser.run("() => saliencyTubes.session.hello.get().run")
    browser.wait("() => saliencyTubes.session.connection.link.get().state !== 'open'")
    assert browser.run("() => saliencyTubes.session.connection.link.get().why") != ""
    with serve(port=port):
        browser.wait(f"() => ![undefined, '{run}'].includes(saliencyTubes.session.hello.get().run)", 60)
        browser.wait("() => saliencyTubes.session.windows.lastFrame && saliencyTubes.frame().drawn", 60)
        (told, rgb), *_ = pictures(browser, 1)
        assert read_barcode(luma(rgb)) == told["i"]
        browser.open("about:blank")


@pytest.mark.parametrize("webgl", [True, False], ids=["slow WebGL", "no WebGL"])
def test_without_a_gpu_a_plain_canvas_draws_the_same(webgl: bool) -> None:
    with serve() as served, chromium(webgl=webgl) as page:
        watch(page, served.url, painter="")
        assert page.run("() => saliencyTubes.stage.kind.get()") == "canvas2d"
        seen = pictures(page, 20)
        assert [read_barcode(luma(rgb)) for _, rgb in seen] == [told["i"] for told, _ in seen]
        stop(page)
        told, rgb = picture(page)
        assert read_barcode(luma(rgb)) == told["i"]
        raw, drawn = raw_and_drawn(page)
        off = np.abs(drawn.astype(int) - overlaid(raw, served, told, STYLE)).max(axis=2)
        assert (off <= 6).mean() >= 0.99


def test_without_media_source_extensions_there_are_jpegs() -> None:
    with serve() as served, chromium() as page:
        page.command("Page.addScriptToEvaluateOnNewDocument", source="delete self.MediaSource")
        page.open(served.url)
        page.wait("() => globalThis.saliencyTubes?.stage?.kind.get() === 'mjpeg'")
        assert page.run("() => saliencyTubes.stage.why.get()") == "this browser has no Media Source Extensions"
        page.wait("() => saliencyTubes.stage.element.querySelector('img')?.naturalWidth > 0")
        page.wait("() => saliencyTubes.session.windows.newest?.n > 0")
        before = page.run("() => saliencyTubes.session.windows.newest.n")
        page.wait(f"() => saliencyTubes.session.windows.newest.n > {before}")
        assert not served.sink.wants_plain


def test_sizes_and_pixels_of_other_shapes(browser: Page) -> None:
    with serve(size=(322, 242)) as served:
        watch(browser, served.url)
        (told, rgb), *_ = pictures(browser, 1)
        assert rgb.shape == (242, 322, 3)
        assert read_barcode(luma(rgb)) == told["i"]
        browser.open("about:blank")

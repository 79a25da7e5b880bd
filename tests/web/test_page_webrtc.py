"""The page by WebRTC, in a real browser: what is drawn on which frame is known as exactly as over the WebSocket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from barcodes import read_barcode
from browser import Page, chromium, needs_chromium
from livepage import Served, ask, frame, luma, pictures, serve, watch
from waiting import wait_for

pytest.importorskip("aiortc")
pytestmark = needs_chromium

TRANSPORT = "() => saliencyTubes.stage.transport.get()"
BY_WEBRTC = {"by": "webrtc", "why": ""}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(web_rtc=True) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as found:
        yield found


@pytest.fixture
def page(browser: Page, served: Served) -> Iterator[Page]:
    watch(browser, served.url, "transport=webrtc")
    yield browser
    browser.open("about:blank")
    wait_for(lambda: not served.sink.wants_plain)


def check_pictures(page: Page, count: int) -> list[int]:
    """That the next pictures are of the frames that they are said to be, in their order, with their tubes. Returns the
    numbers of the frames."""
    seen = pictures(page, count)
    numbers = [told["i"] for told, _ in seen]
    assert numbers == sorted(numbers)
    assert [read_barcode(luma(rgb)) for _, rgb in seen] == numbers
    assert all(told["drawn"] for told, _ in seen)
    return numbers


def test_every_picture_is_of_the_frame_it_says(page: Page, served: Served) -> None:
    page.wait("() => saliencyTubes.frame().i > 30")
    # Where a browser's GPU is the processor, it says of itself that reading pixels is slow.
    assert [text for text in page.said if "GL Driver Message" not in text] == []
    numbers = check_pictures(page, 60)
    assert len(set(numbers)) == len(numbers)
    assert page.run(TRANSPORT) == BY_WEBRTC
    assert page.run("() => saliencyTubes.stage.player.span") is None  # nothing comes over the WebSocket
    assert served.sink.viewers == 1
    hosts = {url.split("/")[2] for url in page.requests if not url.startswith(("about:", "blob:", "data:"))}
    assert hosts == {f"127.0.0.1:{served.port}"}


def test_while_it_stands_still_nothing_is_sent(page: Page, served: Served) -> None:
    page.run("() => saliencyTubes.stage.pause()")
    wait_for(lambda: not served.sink.wants_plain)
    page.run("() => new Promise((done) => setTimeout(done, 200))")  # one that was decoded by then is shown
    before = frame(page)["i"]
    encoded = served.sink.frames_written
    page.run("() => new Promise((done) => setTimeout(done, 800))")
    assert frame(page)["i"] == before
    assert served.sink.frames_written <= encoded + 1
    page.run("() => saliencyTubes.stage.play()")
    page.wait(f"() => saliencyTubes.frame().i > {before} + 40")
    check_pictures(page, 5)
    assert page.run(TRANSPORT) == BY_WEBRTC


def test_a_viewer_who_wants_aligned_evidence_gets_it_over_the_websocket(page: Page) -> None:
    ask(page, sync="aligned")
    page.wait("() => saliencyTubes.frame().age === 0 && saliencyTubes.frame().drawn")
    told = page.run(TRANSPORT)
    assert told["by"] == "messages"
    assert "aligned" in told["why"]
    ask(page, sync=None)
    page.wait("() => saliencyTubes.stage.transport.get().by === 'webrtc'")
    number = frame(page)["i"]
    page.wait(f"() => saliencyTubes.frame().i > {number} + 10")
    check_pictures(page, 5)


def test_it_is_left_and_entered_while_the_video_plays(page: Page) -> None:
    ask(page, transport=None)
    page.wait("() => saliencyTubes.stage.player.span")
    check_pictures(page, 5)
    assert page.run(TRANSPORT) == {"by": "messages", "why": ""}
    ask(page, transport="webrtc")
    page.wait("() => !saliencyTubes.stage.player.span")
    check_pictures(page, 5)


def test_where_no_udp_gets_through_the_page_goes_on_over_the_websocket(browser: Page, served: Served) -> None:
    script = """const Real = RTCPeerConnection;
    globalThis.RTCPeerConnection = class extends Real {
      constructor() { super({ iceTransportPolicy: "relay" }); }
    };"""
    added = browser.command("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        watch(browser, served.url, "transport=webrtc")
        told = browser.run(TRANSPORT)
        assert told == {"by": "messages", "why": "no picture came by WebRTC"}
        check_pictures(browser, 10)
    finally:
        browser.command("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
        browser.open("about:blank")
        wait_for(lambda: not served.sink.wants_plain)


def test_a_server_without_it_is_watched_over_the_websocket(browser: Page) -> None:
    with serve() as plain:
        watch(browser, plain.url, "transport=webrtc")
        check_pictures(browser, 5)
        assert browser.run(TRANSPORT) == {"by": "messages", "why": "the server does not offer it"}
        browser.open("about:blank")


def test_a_page_that_is_closed_has_left_at_once(browser: Page, served: Served) -> None:
    watch(browser, served.url, "transport=webrtc")
    assert served.sink.wants_plain
    browser.open("about:blank")
    wait_for(lambda: not served.sink.wants_plain, 5)  # consent to send lasts for six times as long

"""Signing in, and changing a stream for everybody, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser import Page, chromium, needs_chromium
from saliency_tubes.stream.sinks.web import WebSink
from waiting import free_port
from webstream import OPERATOR, TOKEN, ask, bearer, stream

pytestmark = needs_chromium

FORM = "() => Boolean(document.querySelector('#token'))"
PLAYS = "() => globalThis.saliencyTubes?.frame?.()?.drawn"
SIGN_IN = """(token) => {
  document.querySelector("#token").value = token;
  document.querySelector("form").requestSubmit();
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        yield page


def sign_in(page: Page, port: int, token: str) -> None:
    page.open(f"http://127.0.0.1:{port}/")
    page.wait(FORM)
    page.run(SIGN_IN, token)


def test_whoever_has_the_token_gets_the_page_also_after_a_restart(browser: Page) -> None:
    port = free_port()
    with stream(f"web://:{port}", web_token=TOKEN) as sink:
        sign_in(browser, sink.port, "not-the-token")
        browser.wait("() => document.querySelector('[role=alert]')?.textContent === 'That is not the token.'")
        browser.run(SIGN_IN, TOKEN)
        browser.wait(PLAYS, 60)
        assert browser.run("() => [location.pathname, location.search, document.cookie]") == ["/", "", ""]
    with stream(f"web://:{port}", web_token=TOKEN):
        browser.wait("() => saliencyTubes.session.connection.link.get().state === 'open'", 60)
        browser.open(f"http://127.0.0.1:{port}/")
        browser.wait(PLAYS, 60)
    with stream(f"web://:{port}", web_token="another-token"):
        browser.wait(FORM, 60)  # by itself


def test_a_link_signs_in_and_leaves_the_address(browser: Page) -> None:
    with stream(web_token=TOKEN) as sink:
        browser.open(f"http://127.0.0.1:{sink.port}/login?token={TOKEN}")
        browser.wait(PLAYS, 60)
        assert TOKEN not in browser.run("() => location.href + document.referrer + document.cookie")


def test_an_operator_who_has_signed_in_needs_no_token_again(browser: Page) -> None:
    def explained(sink: WebSink) -> str:
        controls = ask(sink.port, "/api/streams/live/controls", Authorization=bearer(TOKEN)).json
        return str(controls["explain"])

    with stream(web_token=TOKEN, web_operator_token=OPERATOR) as sink:
        sign_in(browser, sink.port, OPERATOR)
        browser.wait(PLAYS, 60)
        browser.run(
            """() => {
              const panel = document.querySelector(".operator");
              panel.open = true;
              const [explain] = panel.querySelectorAll("input");
              explain.value = "dark";
              panel.querySelector("form").requestSubmit();
            }"""
        )
        browser.wait("() => document.querySelector('.operator [role=status]').textContent === 'Changed for everybody.'")
        assert explained(sink) == "dark"

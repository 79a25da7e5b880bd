"""The page for everybody: axe-core finds no violation of WCAG 2.2 AA, nothing moves by itself, it is light, and it asks
no other host."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, chromium, needs_chromium
from hands import click, screen
from livepage import Served, serve, watch
from waiting import free_port

pytestmark = needs_chromium
STATIC = Path(__file__).resolve().parents[2] / "stream" / "web" / "static"
HEAVIEST = 150_000
"""bytes of all that the page is made of"""
MOVED = 0.01
"""cumulative layout shift, https://web.dev/articles/cls: 0.1 is taken for good"""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = """async (tags) => {
  const found = await axe.run(document, { runOnly: { type: "tag", values: tags } });
  return found.violations.map(({ id, nodes }) => [id, ...nodes.map((node) => node.html + ": " + node.failureSummary)]);
}"""
SHIFTS = """
  self.moved = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (!entry.hadRecentInput) self.moved.push([entry.value, ...entry.sources.map(({ node }) => node?.className)]);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(port: int) -> Iterator[Served]:
    with serve(port=port, name="door") as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    with chromium() as page:
        page.command("Page.addScriptToEvaluateOnNewDocument", source=SHIFTS)
        yield page


@pytest.fixture
def page(browser: Page) -> Iterator[Page]:
    yield browser
    browser.open("about:blank")


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, which a package for another browser driver carries."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-playwright-python (make test)")
    return Path(found.origin).with_name("axe.min.js").read_text(encoding="utf-8")


def violations(page: Page, axe: str) -> list[Any]:
    page.command("Runtime.evaluate", expression=axe)
    return list(page.run(AXE, TAGS))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1280])
def test_one_stream_violates_nothing(page: Page, served: Served, axe: str, width: int, theme: str) -> None:
    screen(page, width, 900, theme)
    watch(page, served.url)
    page.run("() => { for (const panel of document.querySelectorAll('details')) panel.open = true; }")
    page.wait("() => document.querySelectorAll('.facts dd').length > 3")
    assert violations(page, axe) == []
    click(page, "button[aria-label=Keys]")
    page.wait("() => document.querySelector('dialog').open")
    assert violations(page, axe) == []
    assert page.run("() => document.documentElement.scrollWidth <= innerWidth")  # nothing is cut off at the right


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_wall_violates_nothing(page: Page, served: Served, port: int, axe: str, theme: str) -> None:
    with serve(port=port, name="yard"):
        for width in (390, 1280):
            screen(page, width, 900, theme)
            page.open("about:blank")
            page.open(served.url)
            page.wait("() => document.querySelectorAll('.tile .label:not(:empty)').length === 2", 60)
            assert violations(page, axe) == []
            assert page.run("() => document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_while_it_loads_and_plays(page: Page, served: Served, width: int) -> None:
    screen(page, width, 900)
    watch(page, served.url)
    page.run("() => new Promise((done) => setTimeout(done, 3000))")
    moved = page.run("() => self.moved")
    assert sum(shift[0] for shift in moved) < MOVED, moved


def test_it_is_light_and_asks_nobody_else(page: Page, served: Served) -> None:
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < HEAVIEST
    watch(page, served.url)
    hosts = {url.split("/")[2] for url in page.requests if not url.startswith(("about:", "blob:", "data:"))}
    assert hosts == {f"127.0.0.1:{served.port}"}
    assert page.said == []


def test_the_keyboard_reaches_all_and_shows_where_it_is(page: Page, served: Served) -> None:
    """Each control has its turn once, in the order of the page, and none holds the focus."""
    screen(page, 1280, 900)
    watch(page, served.url)
    wanted = page.run(
        """() => {
          const all = [...document.querySelectorAll("button, input, select, summary, [tabindex='0']")];
          const folded = "details:not([open]) > :not(summary)";
          return all.filter((one) => one.checkVisibility() && !one.disabled && !one.closest(folded)).length;
        }"""
    )
    seen: list[str] = []
    for _ in range(wanted):
        page.command("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        page.command("Input.dispatchKeyEvent", type="keyUp", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        now = page.run(
            """() => {
              const one = document.activeElement;
              self.reached ??= new Map();
              if (!self.reached.has(one)) self.reached.set(one, self.reached.size);
              return [`${one.tagName} ${self.reached.get(one)}`, getComputedStyle(one).outlineStyle];
            }"""
        )
        assert now[1] != "none", now
        seen.append(now[0])
    assert len(set(seen)) == wanted

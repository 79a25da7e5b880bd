"""Every control beside the picture, used by mouse and keyboard, does what it says: seen in pixels or in the look."""

from __future__ import annotations

import json
import shlex
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from browser import Page, chromium, needs_chromium
from hands import choose, click, drag, focus, place_of, press, screen, text_of
from livepage import OPERATOR, Served, ask, frame, freeze, look, picture, pictures, serve, start_again, watch
from saliency_tubes.engine.draw.style import COLORMAPS
from saliency_tubes.engine.saliency import Normalize
from saliency_tubes.stream.app.arguments import Parser, add_run_arguments, config_of, given_options, parse_run

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
        yield page


@pytest.fixture
def page(browser: Page) -> Page:
    start_again(browser)
    return browser


def field(page: Page, name: str) -> str:
    """The selector of the control that has a label."""
    number = page.run(
        "(name) => [...document.querySelectorAll('label')].find((one) => one.textContent === name)?.htmlFor", name
    )
    assert number, name
    return f"#{number}"


def row(number: int) -> str:
    return f".bars li:nth-child({number}) button"


def roles(page: Page) -> list[str]:
    return list(page.run("() => [...document.querySelectorAll('.bars li')].map((row) => row.dataset.role).slice(0, 2)"))


def test_a_bar_is_explained_and_the_next_one_is_what_it_is_explained_against(page: Page) -> None:
    raw = freeze(page)
    drawn = picture(page)[1]
    page.wait("() => document.querySelector('.bars li').dataset.role === 'a'")
    click(page, row(2))
    page.wait("() => document.querySelectorAll('.bars li')[1].dataset.role === 'a'")
    assert (look(page)["explain"], look(page)["against"], text_of(page, ".class")) == (1, None, "none")
    np.testing.assert_array_equal(picture(page)[1], raw)  # all evidence speaks against it
    click(page, row(2))
    page.wait("() => document.querySelector('.bars li').dataset.role === 'a'")
    assert look(page)["explain"] is None
    np.testing.assert_array_equal(picture(page)[1], drawn)
    click(page, row(1))
    click(page, row(2))
    page.wait("() => document.querySelectorAll('.bars li')[1].dataset.role === 'b'")
    assert (look(page)["explain"], look(page)["against"]) == (0, 1)
    assert roles(page) == ["a", "b"]
    assert text_of(page, ".class") == "mark against none"
    assert page.run("() => document.querySelector('.bars button').getAttribute('aria-pressed')") == "true"


def test_bars_say_how_probable_the_classes_are(page: Page) -> None:
    freeze(page)
    number = frame(page)["parts"][-1][0]
    scores = page.run("(n) => saliencyTubes.session.windows.window(n).top.map((one) => one.p)", number)
    bars = """() => [...document.querySelectorAll('.bars .bar')].map((bar) => bar.style.getPropertyValue('--share'))"""
    page.wait(f"() => ({bars})()[0] === '{scores[0]}'")
    assert [float(share) for share in page.run(bars)] == pytest.approx([*scores, 0, 0, 0])
    assert text_of(page, ".bars .value") == f"{round(100 * scores[0])} %"


def test_a_class_is_pinned_and_let_go(page: Page) -> None:
    click(page, ".headline .chip")
    page.wait("() => document.querySelector('.headline .chip').getAttribute('aria-pressed') === 'true'")
    assert look(page)["explain"] == 0
    click(page, ".headline .chip")
    assert look(page)["explain"] is None


def test_the_divider_is_dragged_and_moved_by_keys(page: Page) -> None:
    raw = freeze(page)
    ask(page, threshold=0, alpha=1, normalize={"mode": "fixed", "low": -1, "high": 10})  # everywhere
    drawn = picture(page)[1]
    start, middle = place_of(page, ".divider", 0.1), place_of(page, ".picture")
    drag(page, start, middle)
    assert look(page)["split"] == pytest.approx(0.5, abs=0.01)
    half, width = picture(page)[1], raw.shape[1]
    edge = round(look(page)["split"] * width)
    np.testing.assert_array_equal(half[:, : edge - 1], raw[:, : edge - 1])
    np.testing.assert_array_equal(half[:, edge + 1 :], drawn[:, edge + 1 :])
    assert (half != drawn).any()
    before = look(page)["split"]
    focus(page, ".divider")
    press(page, "ArrowRight", 5)
    assert look(page)["split"] == pytest.approx(before + 0.1)
    assert page.run("() => document.querySelector('.divider').getAttribute('aria-valuenow')") == "60"
    press(page, "End")
    np.testing.assert_array_equal(picture(page)[1], raw)
    press(page, "Home")
    np.testing.assert_array_equal(picture(page)[1], drawn)


def test_threshold_and_opacity(page: Page) -> None:
    raw = freeze(page)
    drawn = picture(page)[1]
    threshold, opacity = field(page, "Threshold"), field(page, "Opacity")
    focus(page, threshold)
    press(page, "End")
    np.testing.assert_array_equal(picture(page)[1], raw)
    press(page, "Home")
    assert look(page)["threshold"] == 0
    assert ((picture(page)[1] != raw).sum()) > (drawn != raw).sum()
    focus(page, opacity)
    press(page, "Home")
    np.testing.assert_array_equal(picture(page)[1], raw)
    assert text_of(page, f"output[for={opacity[1:]}]") == "0 %"
    press(page, "End")
    stronger = picture(page)[1]
    assert np.abs(stronger.astype(int) - raw).sum() > np.abs(drawn.astype(int) - raw).sum()
    click(page, ".looks .buttons button:first-child")
    assert (look(page)["threshold"], look(page)["alpha"]) == (None, None)
    np.testing.assert_array_equal(picture(page)[1], drawn)


def test_colour_maps(page: Page) -> None:
    freeze(page)
    colours = field(page, "Colours")
    offered = page.run("(list) => [...document.querySelector(list).options].map((one) => one.value)", colours)
    assert sorted(offered) == sorted(COLORMAPS)
    seen = []
    for name in offered:
        choose(page, colours, name)
        assert look(page)["colormap"] == name
        seen.append(picture(page)[1].tobytes())
    assert len(set(seen)) == len(offered)


def test_what_full_colour_is(page: Page) -> None:
    raw = freeze(page)
    scale = field(page, "Full colour is")
    choose(page, scale, "volume")
    assert look(page)["normalize"] == {"mode": "volume"}
    choose(page, scale, "fixed")
    limits = field(page, "From and to, in logits")
    page.run("(selector) => document.querySelector(selector).select()", limits)
    page.command("Input.insertText", text="100 200")
    press(page, "Enter")
    assert look(page)["normalize"] == {"mode": "fixed", "low": 100, "high": 200}
    np.testing.assert_array_equal(picture(page)[1], raw)  # all evidence is weaker
    page.run("(selector) => document.querySelector(selector).select()", limits)
    page.command("Input.insertText", text="7 apples")
    press(page, "Enter")
    assert page.run("(selector) => document.querySelector(selector).getAttribute('aria-invalid')", limits) == "true"
    assert look(page)["normalize"] == {"mode": "fixed", "low": 100, "high": 200}


def test_live_or_aligned(page: Page) -> None:
    shows = field(page, "Each frame shows")
    choose(page, shows, "aligned")
    page.wait("() => saliencyTubes.frame().age === 0 && saliencyTubes.frame().drawn")
    assert all(told["at"] == told["i"] for told, _ in pictures(page, 5))
    choose(page, shows, "live")
    page.wait("() => saliencyTubes.frame().age > 0 && saliencyTubes.frame().at < saliencyTubes.frame().i")


def test_the_crop_has_a_thin_frame(page: Page) -> None:
    freeze(page)
    plain = picture(page)[1]
    click(page, ".tick input")
    framed = picture(page)[1]
    changed = (framed != plain).any(axis=2)
    assert changed[0].mean() > 0.9  # the network sees the whole picture: the frame is its edge
    assert changed[:, 0].mean() > 0.9
    assert not changed[10:-10, 10:-10].any()
    click(page, ".tick input")
    np.testing.assert_array_equal(picture(page)[1], plain)


def test_the_look_as_a_command_line(page: Page) -> None:
    page.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    ask(page, explain=0, against=1, threshold=0.35, alpha=0.8, colormap="viridis", sync="aligned", outline=True)
    ask(page, normalize={"mode": "fixed", "low": -1.5, "high": 4})
    click(page, ".looks .buttons button:last-child")
    page.wait("() => document.querySelector('.looks [role=status]').textContent.startsWith('Copied: ')")
    line = page.run("() => navigator.clipboard.readText()")
    assert text_of(page, ".looks [role=status]") == f"Copied: {line}"
    program, command, *words = shlex.split(line)
    assert (program, command) == ("saliency-tubes", "run")
    parser = Parser()
    add_run_arguments(parser)
    args = parse_run(parser, [word.replace("OUTPUT", "web://") for word in words])
    config = config_of(args.input, args.outputs, given_options(args))
    assert config.style.threshold == 0.35
    assert (config.style.alpha, config.style.colormap, config.style.frame) == (0.8, "viridis", True)
    assert config.style.normalize == Normalize("fixed", -1.5, 4)
    assert (config.sync, config.explain) == ("aligned", "mark:none")


def test_the_stream_is_changed_for_everybody_by_who_has_the_token(page: Page, served: Served) -> None:
    def controls() -> dict[str, Any]:
        with urllib.request.urlopen(f"{served.url}api/streams/live/controls") as answer:
            return dict(json.loads(answer.read()))

    def send(token: str) -> None:
        for name, text in (
            ("Explain", "none"),
            ("Oldest evidence drawn, in seconds", "7"),
            ("Operator's token", token),
        ):
            page.run("(selector) => document.querySelector(selector).select()", field(page, name))
            page.command("Input.insertText", text=text)
        click(page, ".operator button[type=submit]")

    before = controls()
    click(page, ".operator summary")
    send("a-token-that-is-wrong")
    page.wait("() => document.querySelector('.operator [role=status]').textContent !== ''")
    assert "token" in text_of(page, ".operator [role=status]")
    assert controls() == before
    send(OPERATOR)
    page.wait("() => document.querySelector('.operator [role=status]').textContent === 'Changed for everybody.'")
    assert (controls()["explain"], controls()["max_age"]) == ("none", 7)
    page.wait("() => saliencyTubes.session.windows.marks.some((mark) => mark.kind === 'control')")
    page.wait("() => document.querySelector('.class').textContent === 'none'")
    assert look(page)["explain"] is None  # this viewer asked for nothing
    for name, text in (("Explain", before["explain"]), ("Oldest evidence drawn, in seconds", str(before["max_age"]))):
        page.run("(selector) => document.querySelector(selector).select()", field(page, name))
        page.command("Input.insertText", text=text)
    click(page, ".operator button[type=submit]")
    page.wait("() => document.querySelector('.class').textContent === 'mark'")
    page.said.clear()  # the browser tells of the request that was refused


def test_the_look_is_in_the_address_and_survives_a_reload(page: Page) -> None:
    ask(page, threshold=0.3, colormap="inferno", split=0.25)
    assert page.run("() => location.hash") == "#threshold=0.3&colormap=inferno&split=0.25"
    page.command("Page.reload")
    page.wait("() => globalThis.saliencyTubes?.frame?.()?.drawn", 60)
    asked = look(page)
    assert (asked["threshold"], asked["colormap"], asked["split"]) == (0.3, "inferno", 0.25)
    before = frame(page)["i"]
    page.wait(f"() => saliencyTubes.frame().i > {before}")

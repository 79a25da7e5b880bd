"""A user's hands on a page in the browser: a mouse and a keyboard, as the browser gets them from the system."""

from __future__ import annotations

from browser import Page

_BOX = """async (selector) => {
  const found = document.querySelector(selector);
  if (!found) return null;
  let box = "";
  for (;;) {
    found.scrollIntoView({ block: "center" });
    const { x, y, width, height } = found.getBoundingClientRect();
    if (box === String([x, y, width, height])) return [x, y, width, height];
    box = String([x, y, width, height]);
    await new Promise((done) => setTimeout(done, 40));
  }
}"""
"""where something is, once it stays there"""
_CODES = {"Enter": 13, "Escape": 27, " ": 32, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}


def place_of(page: Page, selector: str, across: float = 0.5, down: float = 0.5) -> tuple[float, float]:
    """Where a part of the page is, in CSS pixels, after it was scrolled to. across, down: where within it, 0 to 1."""
    box = page.run(_BOX, selector)
    assert box, f"there is no {selector} on the page"
    return box[0] + across * box[2], box[1] + down * box[3]


def point(page: Page, at: tuple[float, float], does: str = "mouseMoved", held: bool = False) -> None:
    button = {"button": "left", "buttons": int(held), "clickCount": 1} if held or does != "mouseMoved" else {}
    page.command("Input.dispatchMouseEvent", type=does, x=at[0], y=at[1], **button)


def click(page: Page, selector: str, across: float = 0.5, down: float = 0.5) -> None:
    at = place_of(page, selector, across, down)
    point(page, at)
    point(page, at, "mousePressed", held=True)
    point(page, at, "mouseReleased")


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    point(page, start)
    point(page, start, "mousePressed", held=True)
    for step in range(1, 6):
        point(page, (start[0] + (end[0] - start[0]) * step / 5, start[1] + (end[1] - start[1]) * step / 5), held=True)
    point(page, end, "mouseReleased")


def press(page: Page, key: str, times: int = 1) -> None:
    """A key by its name in `KeyboardEvent.key`."""
    code = _CODES.get(key, ord(key[0].upper()))
    text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
    for _ in range(times):
        page.command("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        page.command("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)


def focus(page: Page, selector: str) -> None:
    place_of(page, selector)
    page.run("(selector) => document.querySelector(selector).focus()", selector)


def choose(page: Page, selector: str, value: str) -> None:
    """Chooses from a list. Its menu is the system's, where no mouse of ours gets to: the list's own events are sent."""
    page.run(
        """(selector, value) => {
          const list = document.querySelector(selector);
          list.value = value;
          list.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        selector,
        value,
    )


def text_of(page: Page, selector: str) -> str:
    return str(page.run("(selector) => document.querySelector(selector)?.textContent ?? ''", selector))


def screen(page: Page, width: int, height: int, theme: str = "dark") -> None:
    """The size of the window in CSS pixels, and what the system's theme is. The window has the focus."""
    page.command("Emulation.setFocusEmulationEnabled", enabled=True)
    page.command(
        "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
    )
    page.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])

"""Pages in a browser: opened until all figures are drawn, and points of figures to click on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READY = "document.documentElement.dataset.ready === 'yes'"
_POINT = """([figure, x, y]) => {
  const view = views[figure], [left, top] = view.origin(), pad = view.padding();
  const box = view._el.querySelector("canvas").getBoundingClientRect();
  const middle = (scale, value) => scale(value) + (scale.bandwidth?.() ?? 0) / 2;
  return [box.x + pad.left + left + middle(view.scale("x"), x),
    box.y + pad.top + top + middle(view.scale("y"), y)];
}"""
_KINDS = """all => all.map(e => e.tagName === "BUTTON"
  ? "button " + (e.id || Object.keys(e.dataset)[0]) : e.tagName.toLowerCase())"""
_LINES = """(figure) => {
  const count = (node) => Number(node.marktype === "line" && node.items.length > 0)
    + (node.items || []).reduce((sum, item) => sum + count(item), 0);
  return count(views[figure].scenegraph().root); }"""


_FIRST = """() => {
  const root = document.documentElement;
  for (const details of find("details")) details.open = false;
  if (root.dataset.drawn === "dark") document.getElementById("theme").click();
  scrollTo(0, 0);
  return drawn; }"""
# Chromium keeps back the eleventh file that a page saves within a moment.
SAVED = {"csv": b'"', "svg": b"<svg", "png": b"\x89PNG"}


@contextmanager
def new_tab(browser: Any, width: int = 1280) -> Iterator[Any]:
    """Yield an empty page without a network; at the end nothing may have been said or run in it."""
    context = browser.new_context(
        offline=True, color_scheme="light", viewport={"width": width, "height": 800}
    )
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.set_default_timeout(15_000)
    yield opened
    assert opened.evaluate("window.hacked === undefined")
    assert said == []
    context.close()


def as_opened(tab: Any) -> Any:
    """Bring a page back to how it was opened: in light colors, at its top, all steps closed."""
    tab.emulate_media(media="screen")
    tab.set_viewport_size({"width": 1280, "height": 800})
    tab.evaluate(_FIRST)
    return tab


def save(tab: Any, figure: str, kind: str) -> bytes:
    """Click on a button of a figure that saves a file, and return the content of the file."""
    with tab.expect_download() as saved:
        tab.click(f"[data-save={kind}][data-of={figure}]")
    assert saved.value.suggested_filename == f"{figure}.{kind}"
    return Path(saved.value.path()).read_bytes()


def controls(tab: Any) -> set[str]:
    """Return the kinds of controls that a page has."""
    return set(tab.locator("button, select, input, summary, a").evaluate_all(_KINDS))


def open_file(tab: Any, file: Path) -> Any:
    """Open a page and wait until its figures are drawn."""
    tab.goto(file.as_uri())
    tab.wait_for_function(READY)
    return tab


def hover_on(tab: Any, figure: str, x: float, y: str) -> str:
    """Point at the place of a value and a name in a figure, and return what the tooltip says."""
    tab.locator(f"#figure-{figure} canvas").scroll_into_view_if_needed()
    tab.mouse.move(*tab.evaluate(_POINT, [figure, x, y]))
    return tab.locator("#vg-tooltip-element.visible").inner_text()


def click_on(tab: Any, figure: str, x: float, y: float) -> None:
    """Click on the place of two values in a figure."""
    tab.locator(f"#figure-{figure} canvas").scroll_into_view_if_needed()
    tab.mouse.click(*tab.evaluate(_POINT, [figure, x, y]))


def lines_of(tab: Any, figure: str) -> int:
    """Return the number of lines that a figure draws."""
    return tab.evaluate(_LINES, figure)

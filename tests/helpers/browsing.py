"""Pages in a browser: opened until all figures are drawn, and points of figures to click on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

READY = "document.documentElement.dataset.ready === 'yes'"
_POINT = """([figure, x, y]) => {
  const view = views[figure], [left, top] = view.origin(), pad = view.padding();
  const box = view._el.querySelector("canvas").getBoundingClientRect();
  return [box.x + pad.left + left + view.scale("x")(x), box.y + pad.top + top + view.scale("y")(y)];
}"""
_LINES = """(figure) => {
  const count = (node) => Number(node.marktype === "line" && node.items.length > 0)
    + (node.items || []).reduce((sum, item) => sum + count(item), 0);
  return count(views[figure].scenegraph().root); }"""


def open_file(tab: Any, file: Path) -> Any:
    """Open a page and wait until its figures are drawn."""
    tab.goto(file.as_uri())
    tab.wait_for_function(READY)
    return tab


def click_on(tab: Any, figure: str, x: float, y: float) -> None:
    """Click on the place of two values in a figure."""
    tab.locator(f"#figure-{figure} canvas").scroll_into_view_if_needed()
    tab.mouse.click(*tab.evaluate(_POINT, [figure, x, y]))


def lines_of(tab: Any, figure: str) -> int:
    """Return the number of lines that a figure draws."""
    return tab.evaluate(_LINES, figure)

"""The best program as it changes: its live statements, with new ones in color."""

from __future__ import annotations

import difflib
import time

from rich.text import Text

from optforge.analysis import live_program
from optforge.cli.track import clock
from optforge.language import parse

_REMOVED_FOR = 20.0  # seconds for which statements that went are still shown


class Changing:
    """Remembers the best program and the one before it.

    Example:
        >>> changing = Changing()
        >>> changing.take("def train(w, g, lr):\\n    u = g * 0.1\\n    return u\\n")
        True
        >>> changing.take("def train(w, g, lr):\\n    u = g * 0.2\\n    return u\\n")
        True
        >>> print(changing.text(9).plain)
          def train(w, g, lr):
        -     u = g * 0.1
        +     u = g * 0.2
              return u
    """

    def __init__(self) -> None:
        self._source = ""
        self._lines: list[str] = []
        self._before: list[str] = []
        self._since = 0.0

    def take(self, source: str) -> bool:
        """Record the best program's text; return whether its live statements changed."""
        if source == self._source:
            return False
        self._source = source
        lines = live_program(parse(source)).text.rstrip().split("\n")
        if lines == self._lines:
            return False
        self._before, self._lines, self._since = self._lines or lines, lines, time.monotonic()
        return True

    def ago(self) -> str:
        """Return how long ago the program changed."""
        if self._before == self._lines:
            return ""
        return f", changed {clock(time.monotonic() - self._since)} ago"

    def text(self, room: int) -> Text:
        """Return the program with its latest change, in at most the given number of lines."""
        shown = Text(no_wrap=True, overflow="ellipsis")
        lines = self._marked(time.monotonic() - self._since < _REMOVED_FOR)
        if len(lines) > room:  # the statements that went are the first to go
            lines = [line for line in lines if line[0] != "-"]
        if len(lines) > room:
            hidden = len(lines) - room + 1
            lines = [*lines[: room - 1], (" ", f"    ... {hidden} more lines")]
        for mark, line in lines:
            style = {"+": "bold green", "-": "red strike"}.get(mark, "")
            shown.append(f"{mark} ", style.replace(" strike", ""))
            shown.append(f"{line}\n", style)
        shown.rstrip()
        return shown

    def _marked(self, removed: bool) -> list[tuple[str, str]]:
        diff = difflib.ndiff(self._before, self._lines)
        marks = [(line[0], line[2:]) for line in diff if line[0] != "?"]
        return [(mark, line) for mark, line in marks if mark != "-" or removed]

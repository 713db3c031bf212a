"""A table of text cells, for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text.

    Args:
        title: A sentence on what it shows.
        columns: Column headers; those that begin with ``<`` are left-aligned.
        rows: Rows of cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """Column headers without alignment marks."""
        return tuple(column.removeprefix("<") for column in self.columns)

    @property
    def left(self) -> tuple[bool, ...]:
        """Whether each column is left-aligned."""
        return tuple(column.startswith("<") for column in self.columns)

    def markdown(self) -> str:
        """Return the table as GitHub Markdown.

        Example:
            >>> print(TextTable("", ("<a", "b"), (("x", "1"),)).markdown())
            | a | b |
            |---|--:|
            | x | 1 |
        """
        rule = "|".join("---" if left else "--:" for left in self.left)
        lines = [" | ".join(self.heads), *(" | ".join(row) for row in self.rows)]
        first, *rest = [f"| {line} |" for line in lines]
        return "\n".join([first, f"|{rule}|", *rest])

    def html(self) -> str:
        """Return the table as HTML, all text escaped.

        Example:
            >>> TextTable("<b>", ("<a",), (("x & y",),)).html()[:47]
            '<table><caption>&lt;b&gt;</caption><tr><th styl'
        """
        sides = ["text-align: left" if left else "text-align: right" for left in self.left]

        def row(tag: str, cells: tuple[str, ...]) -> str:
            return "".join(
                f'<{tag} style="{side}">{escape(cell)}</{tag}>'
                for side, cell in zip(sides, cells, strict=True)
            )

        rows = [row("th", self.heads), *(row("td", cells) for cells in self.rows)]
        body = "".join(f"<tr>{cells}</tr>" for cells in rows)
        return f"<table><caption>{escape(self.title)}</caption>{body}</table>"

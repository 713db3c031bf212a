"""A table of text cells, for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass


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

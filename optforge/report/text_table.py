"""A table of text cells, for the terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """A table whose cells are text.

    Args:
        title: What it shows, in a sentence.
        columns: Heads; those that begin with ``<`` are aligned to the left.
        rows: Cells.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads without marks."""
        return tuple(column.removeprefix("<") for column in self.columns)

    @property
    def left(self) -> tuple[bool, ...]:
        """Which columns are aligned to the left."""
        return tuple(column.startswith("<") for column in self.columns)

    def markdown(self) -> str:
        """As GitHub's Markdown.

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

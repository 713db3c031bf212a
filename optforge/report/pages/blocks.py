"""What a page is made of: sections of paragraphs, facts, tables, programs, trees and figures.

Blocks hold plain text. The template escapes all of it, so a name with markup is shown as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from optforge.report.text_table import TextTable


@dataclass(frozen=True)
class Words:
    """Sentences.

    Args:
        text: The sentences.
        is_strong: Whether they are what the reader should see first.
    """

    kind: ClassVar[str] = "words"
    text: str
    is_strong: bool = False


@dataclass(frozen=True)
class Code:
    """A program or a command, as it would be typed.

    Args:
        text: The lines.
    """

    kind: ClassVar[str] = "code"
    text: str


@dataclass(frozen=True)
class Facts:
    """Names with their values.

    Args:
        rows: Pairs of a name and a value.
    """

    kind: ClassVar[str] = "facts"
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Grid:
    """A table.

    Args:
        table: The table.
    """

    kind: ClassVar[str] = "grid"
    table: TextTable


@dataclass(frozen=True)
class Step:
    """An entry of a tree, closed until the reader opens it.

    Args:
        title: The line that is always visible.
        note: A remark at its end.
        lines: Lines of a program, each with its mark: ``+`` added, ``-`` removed, or a space.
        name: Name by which a figure opens it; empty for none.
    """

    title: str
    note: str
    lines: tuple[tuple[str, str], ...]
    name: str = ""


@dataclass(frozen=True)
class Tree:
    """Steps in order.

    Args:
        steps: The steps, the first on top.
    """

    kind: ClassVar[str] = "tree"
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Figure:
    """A figure with its data.

    Args:
        name: Name of the figure and of its files, in lower case.
        title: What it shows.
        caption: How to read it.
        spec: Specification in Vega-Lite, without data.
        rows: The data, one mapping per mark, all with the same names.
    """

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    caption: str
    spec: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]


Block = Words | Code | Facts | Grid | Tree | Figure


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Args:
        name: Name of its anchor.
        title: The heading.
        blocks: Its content.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A page.

    Args:
        title: The title.
        state: Whether its result is final, in a word or two.
        sections: Its content, the most important first.
    """

    title: str
    state: str
    sections: tuple[Section, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, in order."""
        blocks = (block for section in self.sections for block in section.blocks)
        return tuple(block for block in blocks if isinstance(block, Figure))

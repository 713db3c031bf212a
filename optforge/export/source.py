"""How one function of the language is written in a target, and a target's table of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PLACES = "xya"  # what a template calls its arguments

# Functions that plain Python floats may go through: they give what IEEE 754 says, never an error.
PLAIN: Mapping[str, str] = {
    "abs": "abs({x})",
    "square": "{x} * {x}",
    "cube": "{x} * {x} * {x}",
    "negative": "-{x}",
    "add": "{x} + {y}",
    "subtract": "{x} - {y}",
    "multiply": "{x} * {y}",
    "interp": "{x} * (1 - {a}) + {y} * {a}",
    "norm": "abs({x})",
    "get_pi": "math.pi",
    "get_e": "math.e",
    "get_eps": "1e-8",
}


@dataclass(frozen=True)
class Source:
    """One row of a target's table.

    Args:
        text: Template over arrays; its arguments are ``{x}``, ``{y}`` and ``{a}``. For functions
            of the whole tree they are lists of arrays.
        helper: Name of the helper that the text calls, if any.
        float_first: Template where the first argument is a Python float, if it differs.
        float_last: Template where the last argument is a Python float, if it differs.
        floats: Whether the text also takes Python floats alone.
    """

    text: str
    helper: str = ""
    float_first: Source | None = None
    float_last: Source | None = None
    floats: bool = False

    def variant(self, plain: Sequence[bool]) -> Source:
        """Choose by which arguments are Python floats."""
        if self.float_last and plain[-1]:
            return self.float_last
        if self.float_first and plain[0]:
            return self.float_first
        return self

    def fill(self, arguments: Sequence[str]) -> str:
        """Write the application."""
        return self.text.format(**dict(zip(PLACES, arguments, strict=False)))


@dataclass(frozen=True)
class Table:
    """All functions in one target.

    Args:
        rows: For each function of the language its source.
        helpers: The text of each helper that rows name.
        needs: Helpers that a helper calls.
        wrap: Template that makes an array of a Python float.
        array: What the target calls the type of arrays.
        copy: Template that copies an array, where arrays can change in place.
    """

    rows: Mapping[str, Source]
    helpers: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wrap: str = "{}"
    array: str = "Array"
    copy: str = "{}"

    def with_needs(self, names: set[str]) -> list[str]:
        """Give the texts of some helpers and of those that they call, in the table's order."""
        wanted = names | {need for name in names for need in self.needs.get(name, ())}
        return [text for name, text in self.helpers.items() if name in wanted]

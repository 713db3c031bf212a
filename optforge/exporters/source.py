"""How a function of the language is written in a target, and a target's table of functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Functions of each row or column: their names, and what they return in words.
LINES: Mapping[str, str] = {
    f"{line}_{name}": f"{words} of each {line}"
    for line in ("row", "column")
    for name, words in (
        ("mean", "mean"),
        ("norm", "Euclidean norm"),
        ("rms", "root mean square"),
    )
}

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
    "mean": "{x}",
    "row_mean": "{x}",
    "column_mean": "{x}",
    "get_pi": "math.pi",
    "get_e": "math.e",
    "get_eps": "1e-8",
}


@dataclass(frozen=True)
class Template:
    """One row of a target's table.

    Args:
        text: Template over arrays; its arguments are ``{x}``, ``{y}`` and ``{a}``. For functions
            of the whole tree they are lists of arrays. ``{role}`` marks a hidden matrix.
        helper: Name of the helper that the text calls, if any.
        float_first: Template where the first argument is a Python float, if it differs.
        float_last: Template where the last argument is a Python float, if it differs.
        floats: Whether the text also accepts only Python floats.
        by_floats: Templates for the case that exactly these arguments are Python floats, such as
            ``"xa"``.
    """

    text: str
    helper: str = ""
    float_first: Template | None = None
    float_last: Template | None = None
    floats: bool = False
    by_floats: Mapping[str, str] = field(default_factory=dict)

    def takes_floats(self, plain: Sequence[bool]) -> bool:
        """Return whether there is a text for these arguments being Python floats."""
        return self.floats or _places(plain) in self.by_floats

    def variant(self, plain: Sequence[bool]) -> Template:
        """Choose the template by which arguments are Python floats."""
        if text := self.by_floats.get(_places(plain)):
            return Template(text)
        if self.float_last and plain[-1]:
            return self.float_last
        if self.float_first and plain[0]:
            return self.float_first
        return self

    def fill(self, arguments: Sequence[str], role: str = "") -> str:
        """Write the application; ``role`` is the name of the value that marks a hidden matrix."""
        return self.text.format(**dict(zip(PLACES, arguments, strict=False)), role=role)


def _places(plain: Sequence[bool]) -> str:
    return "".join(place for place, is_plain in zip(PLACES, plain, strict=False) if is_plain)


@dataclass(frozen=True)
class TargetTable:
    """All functions in one target.

    Args:
        rows: Template of each function of the language.
        helpers: Text of each helper that rows name.
        needs: Helpers that a helper calls.
        wrap: Template that makes an array of a Python float.
        array: Name of the target's array type.
        copy: Template that copies an array, for targets whose arrays can change in place.
    """

    rows: Mapping[str, Template]
    helpers: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wrap: str = "{}"
    array: str = "Array"
    copy: str = "{}"

    def with_needs(self, names: set[str], any_lists: bool = False) -> list[str]:
        """Return the texts of some helpers and of those that they call, in the table's order.

        Args:
            names: Names of the helpers.
            any_lists: Whether ``each_array`` must accept lists of things other than arrays.
        """
        wanted = names | {need for name in names for need in self.needs.get(name, ())}
        texts = [text for name, text in self.helpers.items() if name in wanted]
        old, new = (f"*trees: list[{kind}]" for kind in (self.array, "Any"))
        return [text.replace(old, new) for text in texts] if any_lists else texts

"""Explanation of a form: the rows it needs, and what their variables stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from optforge.equality.extract import cheapest
from optforge.equality.graph import CONSTANT, Graph
from optforge.equality.rules import RULES
from optforge.equality.saturate import Bounds, Choice, matches, proves
from optforge.equality.simplest import Simplest
from optforge.language import FUNCTIONS

_LONGEST = 120  # letters of an expression that a reader may still take in
_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}


@dataclass(frozen=True)
class Instance:
    """A use of a row, with the expression that each of its variables stands for.

    Args:
        row: Number of the row.
        values: Expression over the inputs for each variable of the row.
    """

    row: int
    values: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The values as text."""
        return ", ".join(f"{name} = {value}" for name, value in self.values)


def needed_rows(reached_form: Simplest, bounds: Bounds | None = None) -> tuple[int, ...]:
    """Return a minimal set of rows that prove a form equal to the one it came from.

    Rows that only regroup (:attr:`Rewrite.grows`) explain nothing and are removed or kept together;
    of the other rows, each remaining one is needed.

    Args:
        reached_form: The form, with the forms that it came from.
        bounds: Bounds of every proof.

    Returns:
        Numbers of the rows, in order.

    Example:
        >>> from optforge.equality.graph import to_graph
        >>> from optforge.equality.simplest import simplest
        >>> from optforge.language import parse
        >>> text = "def train(w, g, lr):\\n    u = sqrt(square(g))\\n    return u\\n"
        >>> found = simplest(to_graph(parse(text)))
        >>> [RULES[number].name for number in needed_rows(found)]
        ['sqrt(square(x)) -> abs(x)']
    """
    needed: set[int] = set()
    for form, reached in pairwise(reached_form.forms):
        needed |= set(_of_round(form, reached, reached_form.rows, bounds))
    return tuple(sorted(needed))


def _of_round(
    form: Graph, reached: Graph, rows: Sequence[int], bounds: Bounds | None
) -> Sequence[int]:
    """Return the rows that one saturation needs."""

    def suffices(some: Sequence[int]) -> bool:
        return proves(form, reached, sorted(some), bounds)

    regrouping = [number for number in rows if RULES[number].grows]
    telling = [number for number in rows if not RULES[number].grows]
    telling.sort(key=_last_named)
    if suffices(telling):
        regrouping = []
    elif not suffices([*regrouping, *telling]):
        return rows  # two forms at once may pass a bound that one did not
    return [*regrouping, *_needed(regrouping, telling, suffices, False)]


def _last_named(number: int) -> tuple[bool, int, int]:
    """Order rows: those with a guard last, so that none is named needlessly; special ones first."""
    row = RULES[number]
    return row.guard is not None, -row.before.count("("), number


def _needed(
    assumed: list[int], rows: list[int], suffices: Callable[[Sequence[int]], bool], grown: bool
) -> list[int]:
    """Return rows that suffice together with the assumed ones, none of which can be left out.

    Source: U. Junker, "QuickXplain: preferred explanations and relaxations for over-constrained
    problems", AAAI 2004.
    """
    if grown and suffices(assumed):
        return []
    if len(rows) <= 1:
        return rows
    first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    later = _needed([*assumed, *first], second, suffices, bool(first))
    earlier = _needed([*assumed, *later], first, suffices, bool(later))
    return [*earlier, *later]


def instances(
    reached_form: Simplest,
    rows: Sequence[int],
    row: int,
    names: dict[str, str],
    bounds: Bounds | None = None,
) -> tuple[Instance, ...]:
    """Return what the variables of a row stand for where it was used on the way to a form.

    Args:
        reached_form: The form, with the forms that it came from.
        rows: Rows that it needs.
        row: One of them.
        names: Names of inputs and states, for the text.
        bounds: Bounds of the original saturation.
    """
    others = [number for number in rows if number != row]
    seen: dict[Instance, None] = {}
    for form in reached_form.forms:
        classes, places = matches(form, others, row, bounds)
        texts = _Texts(cheapest(classes), names)
        for match in places:
            values = [(variable, texts.of(place)) for variable, place in match.items()]
            seen[Instance(row, tuple(values))] = None
    return tuple(seen)


class _Texts:
    """Writes classes of equal values as expressions; long ones are shortened."""

    def __init__(self, choices: dict[int, Choice], names: dict[str, str]) -> None:
        self.choices, self.names = choices, names
        self.known: dict[int, str] = {}

    def of(self, place: int) -> str:
        if place not in self.known:
            text = self._written(self.choices[place])
            if len(text) > _LONGEST:
                text = f"{self.choices[place].operation}(...)"
            self.known[place] = text
        return self.known[place]

    def _written(self, choice: Choice) -> str:
        if choice.operation == CONSTANT:
            return f"{choice.value:.6g}"
        if not choice.arguments and choice.operation not in FUNCTIONS:
            return self.names.get(choice.operation, choice.operation)
        inner = [self.of(argument) for argument in choice.arguments]
        if choice.operation in _INFIX:
            left, right = (f"({part})" if " " in _outside(part) else part for part in inner)
            return f"{left} {_INFIX[choice.operation]} {right}"
        return f"{choice.operation}({', '.join(inner)})"


def _outside(text: str) -> str:
    """Return the part of an expression outside all brackets."""
    depth, outside = 0, []
    for letter in text:
        depth += letter == "("
        if depth == 0:
            outside.append(letter)
        depth -= letter == ")"
    return "".join(outside)

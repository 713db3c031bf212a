"""Parsing of the table's patterns, and the kinds for which a row is sound."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from optforge.equality.rewrite import Rewrite
from optforge.language import ALIASES, FUNCTIONS, Kind

VALUES = frozenset("xyz")  # any value
SCALARS = frozenset("s")  # any value of kind scalar
ARRAYS = frozenset("n")  # one number, or one number for each array
LITERALS = frozenset("ab")  # constants
ALL_KINDS = tuple(map(int, Kind))
PLAIN = (int(Kind.SCALAR), int(Kind.ARRAY), int(Kind.TREE))  # all kinds without products

INPUTS = {"weight": Kind.TREE, "zero_tree": Kind.TREE, "one_tree": Kind.TREE}
INPUTS |= {"zero_array": Kind.ARRAY}

Kinds = dict[str, int]  # of the variables of a row

_INFIX = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide"}
_INFIX |= {ast.Pow: "power"}


@dataclass(frozen=True)
class Pattern:
    """A pattern: a function of patterns, a variable (``x``), an input or a number.

    Example:
        >>> read_pattern("x * abs(a)").variables
        ('x', 'a')
    """

    operation: str
    arguments: tuple[Pattern, ...] = ()
    value: float | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, in order of first use."""
        if self.operation in VALUES | SCALARS | ARRAYS | LITERALS:
            return (self.operation,)
        names = [name for argument in self.arguments for name in argument.variables]
        return tuple(dict.fromkeys(names))

    @property
    def is_literal(self) -> bool:
        """Return whether the pattern consists only of constants."""
        if self.arguments:
            return all(argument.is_literal for argument in self.arguments)
        return self.value is not None or self.operation in LITERALS

    @property
    def functions(self) -> frozenset[str]:
        """Return the names of the functions in the pattern."""
        inner = frozenset().union(*(argument.functions for argument in self.arguments))
        return inner | {self.operation} if self.operation in FUNCTIONS else inner


@lru_cache(None)
def read_pattern(text: str) -> Pattern:
    """Parse a pattern in the language of programs."""
    return _pattern_of(ast.parse(text, mode="eval").body)


def _pattern_of(node: ast.expr) -> Pattern:
    if isinstance(node, ast.Constant):
        return Pattern("number", value=float(str(node.value)))
    if isinstance(node, ast.Name):
        return Pattern(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return Pattern("number", value=-float(str(node.operand.value)))
    if isinstance(node, ast.BinOp):
        return Pattern(_INFIX[type(node.op)], (_pattern_of(node.left), _pattern_of(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = ALIASES.get(node.func.id, node.func.id)
        return Pattern(name, tuple(_pattern_of(argument) for argument in node.args))
    raise ValueError(f"not a pattern: {ast.unparse(node)}")  # a defect of the table


def pattern_kind(pattern: Pattern, kinds: dict[str, int]) -> int | None:
    """Return the kind of a pattern, or None if a function does not accept its arguments.

    Example:
        >>> pattern_kind(read_pattern("x * zero_tree"), {"x": 0})
        2
    """
    if pattern.value is not None or pattern.is_literal:
        return int(Kind.SCALAR)
    if not pattern.arguments:
        return (
            int(INPUTS[pattern.operation])
            if pattern.operation in INPUTS
            else kinds[pattern.operation]
        )
    inner = [pattern_kind(argument, kinds) for argument in pattern.arguments]
    known = tuple(kind for kind in inner if kind is not None)
    return _result(pattern.operation, known) if len(known) == len(inner) else None


@lru_cache(None)
def _result(name: str, kinds: tuple[int, ...]) -> int | None:
    function = FUNCTIONS[name]
    return int(function.result(kinds)) if function.allows(kinds) else None


def sets_of(rule: Rewrite) -> frozenset[str]:
    """Return the sets of functions that a row needs.

    Example:
        >>> sorted(sets_of(Rewrite("mean(x * n)", "mean(x) * n")))
        ['masks', 'paper']
    """
    used = read_pattern(rule.before).functions | read_pattern(rule.after).functions
    return frozenset(FUNCTIONS[name].belongs_to for name in used)


def _choices(name: str, kinds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the kinds that a variable may have."""
    if name in SCALARS:
        return (int(Kind.SCALAR),)
    return tuple(kind for kind in kinds if name not in ARRAYS or kind <= Kind.ARRAY)


@lru_cache(None)
def sound_kinds(rule: Rewrite, kinds: tuple[int, ...] = ALL_KINDS) -> tuple[Kinds, ...] | None:
    """Return the kinds of a row's variables for which both sides have the same kind.

    A value of another kind would broadcast differently later, so a row applies only under these
    kinds. None means any kinds for which ``before`` is well formed.

    Args:
        rule: A row of the table.
        kinds: Kinds that values can have.

    Example:
        >>> sound_kinds(Rewrite("x * 0.0", "0.0"))
        ({'x': 0},)
        >>> sound_kinds(Rewrite("x + y", "y + x")) is None
        True
    """
    formed, sound = formed_and_sound(rule, kinds)
    free = not any(name in SCALARS | ARRAYS for name in read_pattern(rule.before).variables)
    return None if free and sound == formed else tuple(sound)


def formed_kinds(before: str, kinds: tuple[int, ...]) -> list[Kinds]:
    """Return the kinds of a pattern's variables that its functions accept, ignoring their names."""
    pattern = read_pattern(before)
    names = [name for name in pattern.variables if name not in LITERALS]
    every = (
        dict(zip(names, combination, strict=True))
        for combination in product(kinds, repeat=len(names))
    )
    return [chosen for chosen in every if pattern_kind(pattern, chosen) is not None]


@lru_cache(None)
def formed_and_sound(rule: Rewrite, kinds: tuple[int, ...]) -> tuple[list[Kinds], list[Kinds]]:
    """Return the kinds that the variables of a row may have, and those for which it is sound."""
    before, after = read_pattern(rule.before), read_pattern(rule.after)
    formed = [
        chosen
        for chosen in formed_kinds(rule.before, kinds)
        if all(kind in _choices(name, kinds) for name, kind in chosen.items())
    ]
    kept = [c for c in formed if pattern_kind(after, c) == pattern_kind(before, c)]
    return formed, kept

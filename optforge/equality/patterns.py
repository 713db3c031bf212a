"""Reading the table's patterns, and the kinds under which a row is sound."""

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
class Term:
    """A pattern: a function of patterns, a variable (``x``), an input or a number.

    Example:
        >>> read_term("x * abs(a)").variables
        ('x', 'a')
    """

    operation: str
    arguments: tuple[Term, ...] = ()
    value: float | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables, in order of first use."""
        if self.operation in VALUES | SCALARS | ARRAYS | LITERALS:
            return (self.operation,)
        found = [name for argument in self.arguments for name in argument.variables]
        return tuple(dict.fromkeys(found))

    @property
    def is_literal(self) -> bool:
        """Tell whether it is made of constants alone."""
        if self.arguments:
            return all(argument.is_literal for argument in self.arguments)
        return self.value is not None or self.operation in LITERALS

    @property
    def functions(self) -> frozenset[str]:
        """Return the names of the functions in it."""
        inner = frozenset().union(*(argument.functions for argument in self.arguments))
        return inner | {self.operation} if self.operation in FUNCTIONS else inner


@lru_cache(None)
def read_term(text: str) -> Term:
    """Read a pattern in the language of programs."""
    return _term(ast.parse(text, mode="eval").body)


def _term(node: ast.expr) -> Term:
    if isinstance(node, ast.Constant):
        return Term("number", value=float(str(node.value)))
    if isinstance(node, ast.Name):
        return Term(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant):
        return Term("number", value=-float(str(node.operand.value)))
    if isinstance(node, ast.BinOp):
        return Term(_INFIX[type(node.op)], (_term(node.left), _term(node.right)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        name = ALIASES.get(node.func.id, node.func.id)
        return Term(name, tuple(_term(argument) for argument in node.args))
    raise ValueError(f"not a pattern: {ast.unparse(node)}")  # a defect of the table


def term_kind(term: Term, kinds: dict[str, int]) -> int | None:
    """Give the kind of a pattern, or None where a function does not accept its arguments.

    Example:
        >>> term_kind(read_term("x * zero_tree"), {"x": 0})
        2
    """
    if term.value is not None or term.is_literal:
        return int(Kind.SCALAR)
    if not term.arguments:
        return int(INPUTS[term.operation]) if term.operation in INPUTS else kinds[term.operation]
    inner = [term_kind(argument, kinds) for argument in term.arguments]
    known = tuple(kind for kind in inner if kind is not None)
    return _result(term.operation, known) if len(known) == len(inner) else None


@lru_cache(None)
def _result(name: str, kinds: tuple[int, ...]) -> int | None:
    function = FUNCTIONS[name]
    return int(function.result(kinds)) if function.allows(kinds) else None


def sets_of(rule: Rewrite) -> frozenset[str]:
    """Return the sets of functions that a row names.

    Example:
        >>> sorted(sets_of(Rewrite("mean(x * n)", "mean(x) * n")))
        ['masks', 'paper']
    """
    used = read_term(rule.before).functions | read_term(rule.after).functions
    return frozenset(FUNCTIONS[name].belongs_to for name in used)


def _choices(name: str, kinds: tuple[int, ...]) -> tuple[int, ...]:
    """Return the kinds that a variable may have."""
    if name in SCALARS:
        return (int(Kind.SCALAR),)
    return tuple(kind for kind in kinds if name not in ARRAYS or kind <= Kind.ARRAY)


@lru_cache(None)
def sound_kinds(rule: Rewrite, kinds: tuple[int, ...] = ALL_KINDS) -> tuple[Kinds, ...] | None:
    """List the kinds of a row's variables for which both sides have the same kind.

    A value of another kind would broadcast differently later on, so that a row applies only
    under these. None: whatever the kinds, as long as ``before`` is well formed.

    Args:
        rule: A row of the table.
        kinds: Those that values can have.

    Example:
        >>> sound_kinds(Rewrite("x * 0.0", "0.0"))
        ({'x': 0},)
        >>> sound_kinds(Rewrite("x + y", "y + x")) is None
        True
    """
    formed, sound = formed_and_sound(rule, kinds)
    free = not any(name in SCALARS | ARRAYS for name in read_term(rule.before).variables)
    return None if free and sound == formed else tuple(sound)


def formed_kinds(before: str, kinds: tuple[int, ...]) -> list[Kinds]:
    """List the kinds of a pattern's variables that its functions accept, whatever their names."""
    term = read_term(before)
    names = [name for name in term.variables if name not in LITERALS]
    every = (
        dict(zip(names, combination, strict=True))
        for combination in product(kinds, repeat=len(names))
    )
    return [chosen for chosen in every if term_kind(term, chosen) is not None]


@lru_cache(None)
def formed_and_sound(rule: Rewrite, kinds: tuple[int, ...]) -> tuple[list[Kinds], list[Kinds]]:
    """List the kinds that the variables of a row may have, and those of them that it keeps."""
    before, after = read_term(rule.before), read_term(rule.after)
    formed = [
        chosen
        for chosen in formed_kinds(rule.before, kinds)
        if all(kind in _choices(name, kinds) for name, kind in chosen.items())
    ]
    kept = [c for c in formed if term_kind(after, c) == term_kind(before, c)]
    return formed, kept

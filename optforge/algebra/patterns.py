"""Reading the table's patterns, and the kinds under which a row is sound."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from optforge.algebra.rules import Rewrite
from optforge.language import ALIASES, FUNCTIONS, Kind

VALUES = frozenset("xyz")  # any value
SCALARS = frozenset("s")  # any value of kind scalar
LITERALS = frozenset("ab")  # constants

INPUTS = {"weight": Kind.TREE, "zero_tree": Kind.TREE, "one_tree": Kind.TREE}
INPUTS |= {"zero_array": Kind.ARRAY}

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
        if self.operation in VALUES | SCALARS | LITERALS:
            return (self.operation,)
        found = [name for argument in self.arguments for name in argument.variables]
        return tuple(dict.fromkeys(found))

    @property
    def is_literal(self) -> bool:
        """Tell whether it is made of constants alone."""
        if self.arguments:
            return all(argument.is_literal for argument in self.arguments)
        return self.value is not None or self.operation in LITERALS


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
    function = FUNCTIONS[term.operation]
    accepted = len(known) == len(inner) and function.allows(known)
    return int(function.result(known)) if accepted else None


@lru_cache(None)
def sound_kinds(rule: Rewrite) -> tuple[dict[str, int], ...] | None:
    """List the kinds of a row's variables for which both sides have the same kind.

    A value of another kind would broadcast differently later on, so that a row applies only
    under these. None: whatever the kinds, as long as ``before`` is well formed.

    Example:
        >>> sound_kinds(Rewrite("x * 0.0", "0.0"))
        ({'x': 0},)
        >>> sound_kinds(Rewrite("x + y", "y + x")) is None
        True
    """
    before, after = read_term(rule.before), read_term(rule.after)
    names = [name for name in before.variables if name not in LITERALS]
    choices = [(int(Kind.SCALAR),) if n in SCALARS else tuple(map(int, Kind)) for n in names]
    formed, sound = [], []
    for combination in product(*choices):
        kinds = dict(zip(names, combination, strict=True))
        kind = term_kind(before, kinds)
        if kind is not None:
            formed.append(kinds)
            if term_kind(after, kinds) == kind:
                sound.append(kinds)
    free = not any(name in SCALARS for name in names)
    return None if free and sound == formed else tuple(sound)


def gates(rule: Rewrite) -> list[dict[str, int]]:
    """List what must be asked of kinds before a row applies, with no question for nothing.

    Example:
        >>> gates(Rewrite("interp(x, x, s)", "x"))
        [{'s': 0}]
    """
    sound = sound_kinds(rule)
    if sound is None:
        return [{}]
    names = [name for name in sound[0] if name not in SCALARS]
    if len(sound) < len(Kind) ** len(names):
        return [dict(kinds) for kinds in sound]
    return [{name: kind for name, kind in sound[0].items() if name in SCALARS}]

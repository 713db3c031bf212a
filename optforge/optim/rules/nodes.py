"""Operations of a rule as nodes, and the engine that records them while rows are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import numpy
from numpy.lib.mixins import NDArrayOperatorsMixin

from optforge.language import Kind

Value = Any  # a RuleNode, or the Python float of a constant


class RuleNode(NDArrayOperatorsMixin):
    """One operation; ``==`` and the arithmetic operators make further nodes.

    Args:
        graph: Where equal operations are found again.
        op: A row of ``rules.primitives.PRIMITIVES``, ``sum`` over the tree, or an input:
            ``weight``, ``gradient``, ``state``, ``schedule``, ``hyperparameter``, ``constant``,
            ``get_step``, ``get_progress``.
        arguments: Nodes and floats; for an input its name or number.
        kind: What it holds: one number a group, one an array, or one an element.
    """

    def __init__(self, graph: Recorder, op: str, arguments: tuple[Any, ...], kind: int) -> None:
        self.graph, self.op, self.arguments, self.kind = graph, op, arguments, int(kind)
        self.index = len(graph.nodes)
        self.parents = tuple(a for a in arguments if isinstance(a, RuleNode))
        self.level = max((p.level + (p.op == "sum") for p in self.parents), default=0)

    def replaced(self, op: str, arguments: Sequence[Any]) -> RuleNode:
        """Return a node that takes the place of this one."""
        other = copy(self)
        other.op, other.arguments = op, tuple(arguments)
        other.parents = tuple(a for a in arguments if isinstance(a, RuleNode))
        return other

    def __repr__(self) -> str:
        return f"RuleNode({self.op!r}, {Kind(self.kind).name}, level={self.level})"

    __hash__ = object.__hash__  # pyright: ignore[reportAssignmentType]

    def __array_ufunc__(self, ufunc: numpy.ufunc, method: str, *operands: Value) -> RuleNode:
        """Record an arithmetic operator or a comparison under NumPy's name for it."""
        left, right = operands
        if isinstance(right, _Ones):
            return right * left
        return getattr(self.graph, ufunc.__name__)(left, right)


class _Ones:
    """Ones of the kind of a node: what is multiplied by it is only spread to that kind."""

    def __init__(self, like: RuleNode) -> None:
        self.like = like

    def __mul__(self, other: Value) -> RuleNode:
        if isinstance(other, RuleNode) and other.kind >= self.like.kind:
            return other
        return self.like.graph.spread(other, self.like)

    __rmul__ = __mul__


class Recorder:
    """The engine that rows of the table are built with; its functions record what is done."""

    def __init__(self) -> None:
        self.nodes: list[RuleNode] = []
        self._known: dict[tuple[Any, ...], RuleNode] = {}

    def note(self, op: str, arguments: tuple[Any, ...], kind: int) -> RuleNode:
        """Return the node of this operation, a known one if it was done before."""
        key = (op, *(id(a) if isinstance(a, RuleNode) else repr(a) for a in arguments))
        if key not in self._known:
            self._known[key] = RuleNode(self, op, arguments, kind)
            self.nodes.append(self._known[key])
        return self._known[key]

    def __getattr__(self, op: str) -> Callable[..., RuleNode]:
        def elementwise(*arguments: Value) -> RuleNode:
            kind = max((a.kind for a in arguments if isinstance(a, RuleNode)), default=0)
            return self.note(op, arguments, kind)

        return elementwise

    def where(self, *arguments: Value) -> RuleNode:
        """Record a choice by a condition, element by element."""
        return self.select(*arguments)  # the function of the language chooses by a sign

    def ones_like(self, x: RuleNode) -> _Ones:
        """Return ones, a factor that records nothing but a spread."""
        return _Ones(x)

    def full_like(self, x: RuleNode, value: float) -> RuleNode:
        """Record a number."""
        return self.constant(value)  # one number, which broadcasts like x

    def constant(self, value: float) -> RuleNode:
        """Record a number."""
        return self.note("constant", (value,), Kind.SCALAR)

    def spread(self, x: Value, like: RuleNode) -> RuleNode:
        """Record that a number is repeated to the kind of a node."""
        return self.note("spread", (x, like), like.kind)

    def sum(self, x: RuleNode, axis: int, keepdims: bool) -> RuleNode:
        """Record a sum over the whole tree; one number is its own."""
        return x if x.kind == Kind.SCALAR else self.note("sum", (x,), Kind.SCALAR)

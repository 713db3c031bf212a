"""A program as a graph of a few primitive tensor operations, made from the table of functions.

The functions' guarded meanings stay in the table: each row is built once more, with an engine whose
values are nodes. What is left are operations element by element, operations on whole arrays and
sums over the whole tree; a sum ends a stage, since it needs all parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from optforge.analysis import Lifted, lift, state_kinds
from optforge.language import FUNCTIONS, Function, Kind, Program, Statement
from optforge.optim.rules.arrays import SHAPED, SPREADS, WHOLE

Value = Any  # a Node, or the Python float of a constant


class Node:
    """One operation; ``==`` and the arithmetic operators make further nodes.

    Args:
        graph: Where equal operations are found again.
        op: A row of ``rules.primitives.PRIMITIVES``, ``sum`` over the tree, or an input:
            ``weight``, ``gradient``, ``state``, ``schedule``, ``hyperparameter``, ``constant``,
            ``get_step``, ``get_progress``.
        arguments: Nodes and floats; for an input its name or number.
        kind: What it holds: one number a group, one an array, or one an element.
    """

    def __init__(self, graph: _Engine, op: str, arguments: tuple[Any, ...], kind: int) -> None:
        self.graph, self.op, self.arguments, self.kind = graph, op, arguments, int(kind)
        self.index = len(graph.nodes)
        self.parents = tuple(a for a in arguments if isinstance(a, Node))
        self.level = max((p.level + (p.op == "sum") for p in self.parents), default=0)

    def replaced(self, op: str, arguments: Sequence[Any]) -> Node:
        """Return a node that takes the place of this one."""
        other = copy(self)
        other.op, other.arguments = op, tuple(arguments)
        other.parents = tuple(a for a in arguments if isinstance(a, Node))
        return other

    def __repr__(self) -> str:
        return f"Node({self.op!r}, {Kind(self.kind).name}, level={self.level})"

    __hash__ = object.__hash__

    def __add__(self, other: Value) -> Node:
        return self.graph.add(self, other)

    def __radd__(self, other: Value) -> Node:
        return self.graph.add(other, self)

    def __sub__(self, other: Value) -> Node:
        return self.graph.subtract(self, other)

    def __rsub__(self, other: Value) -> Node:
        return self.graph.subtract(other, self)

    def __mul__(self, other: Value) -> Node:
        if isinstance(other, _Ones):
            return other * self
        return self.graph.multiply(self, other)

    def __rmul__(self, other: Value) -> Node:
        return self.graph.multiply(other, self)

    def __truediv__(self, other: Value) -> Node:
        return self.graph.divide(self, other)

    def __rtruediv__(self, other: Value) -> Node:
        return self.graph.divide(other, self)

    def __eq__(self, other: object) -> Any:
        return self.graph.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return self.graph.unequal(self, other)

    def __lt__(self, other: Value) -> Node:
        return self.graph.less(self, other)

    def __or__(self, other: Value) -> Node:
        return self.graph.either(self, other)


class _Ones:
    """Ones of the kind of a node: what is multiplied by it is only spread to that kind."""

    def __init__(self, like: Node) -> None:
        self.like = like

    def __mul__(self, other: Value) -> Node:
        if isinstance(other, Node) and other.kind >= self.like.kind:
            return other
        return self.like.graph.spread(other, self.like)

    __rmul__ = __mul__


class _Engine:
    """The engine that rows of the table are built with; its functions note what is done."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], Node] = {}

    def note(self, op: str, arguments: tuple[Any, ...], kind: int) -> Node:
        """Return the node of this operation, a known one if it was done before."""
        key = (op, *(id(a) if isinstance(a, Node) else repr(a) for a in arguments))
        if key not in self._known:
            self._known[key] = Node(self, op, arguments, kind)
            self.nodes.append(self._known[key])
        return self._known[key]

    def __getattr__(self, op: str) -> Callable[..., Node]:
        def elementwise(*arguments: Value) -> Node:
            kind = max((a.kind for a in arguments if isinstance(a, Node)), default=0)
            return self.note(op, arguments, kind)

        return elementwise

    def where(self, *arguments: Value) -> Node:
        return self.select(*arguments)  # the function of the language chooses by a sign

    def ones_like(self, x: Node) -> _Ones:
        return _Ones(x)

    def full_like(self, x: Node, value: float) -> Node:
        return self.constant(value)  # one number, which broadcasts like x

    def constant(self, value: float) -> Node:
        return self.note("constant", (value,), Kind.SCALAR)

    def spread(self, x: Value, like: Node) -> Node:
        return self.note("spread", (x, like), like.kind)

    def sum(self, x: Node, axis: int, keepdims: bool) -> Node:
        return x if x.kind == Kind.SCALAR else self.note("sum", (x,), Kind.SCALAR)


@dataclass(frozen=True, eq=False)
class Graph:
    """What one step of a rule computes.

    Args:
        lifted: The live program and its hyper-parameters.
        kinds: Kinds of the live states.
        nodes: All operations that matter, each after what it reads.
        update: What is subtracted from the weights.
        states: The next states.
        weight: The weights.
        stored: Numbers of the states that are kept for each array.
        of_matrices: Whether it is what hidden matrices compute; see ``rules.roles``.
    """

    lifted: Lifted
    kinds: tuple[int, ...]
    nodes: tuple[Node, ...]
    update: Node
    states: tuple[Node, ...]
    weight: Node
    stored: tuple[int, ...]
    of_matrices: bool = False

    @cached_property
    def stages(self) -> int:
        """Passes over the parameters: one more than there are sums one after the other."""
        return 1 + max((node.level + 1 for node in self.nodes if node.op == "sum"), default=0)

    @cached_property
    def by_array(self) -> bool:
        """Whether anything needs all of an array, so that arrays must stay whole."""
        numbers = any(node.kind == Kind.ARRAY for node in self.nodes)
        return numbers or self.by_shape or any(node.op in WHOLE for node in self.nodes)

    @cached_property
    def by_shape(self) -> bool:
        """Whether anything needs the rows or columns of an array, so that it keeps its shape."""
        return any(node.op in SHAPED for node in self.nodes)

    def reads(self, clock: str) -> bool:
        """Whether ``get_step`` or ``get_progress`` matters."""
        return any(node.op == clock for node in self.nodes)

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Numbers of the states that are one number a group."""
        return tuple(n for n, kind in enumerate(self.kinds) if kind == Kind.SCALAR)

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """Weight, gradient and those states that are no scalars, as far as they are read."""
        names = ("weight", "gradient", "state")
        return tuple(n for n in self.nodes if n.op in names and n.kind != Kind.SCALAR)

    def sums(self, stage: int) -> tuple[Node, ...]:
        """The sums over the whole tree that end a stage."""
        return tuple(n for n in self.nodes if n.op == "sum" and n.level == stage)

    def scalars(self, stage: int) -> tuple[Node, ...]:
        """What is one number a group and is computed before a stage, in order."""
        at = (n for n in self.nodes if n.kind == Kind.SCALAR and n.level == stage)
        return tuple(n for n in at if n.op != "sum")

    def tensors(self, stage: int) -> tuple[Node, ...]:
        """What is computed of each parameter in a stage, in order; its sums are among them."""
        return self._tensors[stage]

    @cached_property
    def _tensors(self) -> tuple[tuple[Node, ...], ...]:
        known = {node.index for node in self.inputs}
        mine = [n for n in self.nodes if n.kind != Kind.SCALAR or n.op == "sum"]
        mine = [n for n in mine if n.index not in known]
        return tuple(tuple(n for n in mine if n.level == s) for s in range(self.stages))

    @cached_property
    def drops(self) -> dict[int, tuple[int, ...]]:
        """By number of a node: which values are not needed any more once it is computed."""
        order = [node for nodes in self._tensors for node in nodes]
        kept = {node.index for node in (self.update, *self.states)}
        last = {p.index: n.index for n in order for p in n.parents if p.kind != Kind.SCALAR}
        return {
            n.index: tuple(i for i, by in last.items() if by == n.index and i not in kept)
            for n in order
        }


@lru_cache(256)
def graph_of(program: Program) -> Graph:
    """Build the graph of a valid program.

    Raises:
        ProgramError: If the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> graph_of(load_rule("lion")).stages, graph_of(load_rule("program_8")).stages
        (1, 2)
    """
    lifted = lift(program)
    lean, engine = lifted.program, _Engine()
    kinds = tuple(int(kind) for kind in state_kinds(lean))
    values: dict[str, Value] = {
        lean.weight: engine.note("weight", (), Kind.TREE),
        lean.gradient: engine.note("gradient", (), Kind.TREE),
    }
    for number, (name, kind) in enumerate(zip(lean.states, kinds, strict=True)):
        values[name] = engine.note("state", (number,), kind)
    values[lean.lr] = engine.note("schedule", (), Kind.SCALAR)
    names = lifted.names()
    for number, statement in enumerate(lean.statements):
        arguments = [
            values[a] if isinstance(a, str) else _constant(engine, names.get((number, i)), a)
            for i, a in enumerate(statement.arguments)
        ]
        values[statement.target] = _apply(engine, statement, arguments)
    update, *states = [values[name] for name in lean.outputs]
    if lifted.scale is None:
        update = update * engine.note("hyperparameter", ("lr",), Kind.SCALAR)
    weight = engine.nodes[0]
    outputs = (update, *(_as_kind(engine, s, k) for s, k in zip(states, kinds, strict=True)))
    stored = tuple(number for number, kind in enumerate(kinds) if kind != Kind.SCALAR)
    nodes = tuple(reached(outputs))
    return Graph(lifted, kinds, nodes, outputs[0], outputs[1:], weight, stored)


def _constant(engine: _Engine, name: str | None, value: float) -> Value:
    return value if name is None else engine.note("hyperparameter", (name,), Kind.SCALAR)


def _apply(engine: _Engine, statement: Statement, arguments: list[Value]) -> Value:
    row = FUNCTIONS[statement.function]
    if arguments and all(isinstance(a, float) for a in arguments):
        arguments = [engine.constant(a) for a in arguments]  # Python would raise on 1.0 / 0.0
    if row.form == "clock":
        return engine.note(row.name, (), Kind.SCALAR)
    kinds = tuple(a.kind if isinstance(a, Node) else int(Kind.SCALAR) for a in arguments)
    if _needs_arrays(row, kinds):
        return engine.note(row.name, tuple(arguments), row.result(kinds))
    return row.build(engine)(*arguments)


def _needs_arrays(row: Function, kinds: tuple[int, ...]) -> bool:
    """Return whether a function is a primitive, since it looks at more than single elements.

    ``where`` is one too: its condition may be one number, and its choices constants.
    """
    of_arrays = row.on_array is not None and max(kinds, default=0) >= Kind.TREE
    return row.form == "by_role" or row.name == "where" or of_arrays


def _as_kind(engine: _Engine, value: Value, kind: int) -> Node:
    if not isinstance(value, Node):
        value = engine.constant(value)
    if value.kind == kind:
        return value
    return engine.note(SPREADS[kind], (value, engine.nodes[0]), kind)


def reached(outputs: Iterable[Node]) -> list[Node]:
    """Return what nodes are computed from, and they themselves, each after what it reads."""
    found: dict[int, Node] = {}
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node.index not in found:
            found[node.index] = node
            pending += node.parents
    return [found[index] for index in sorted(found)]

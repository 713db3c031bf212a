"""A program as a graph of a few primitive tensor operations, made from the table of functions.

The functions' guarded meanings stay in the table: each row is built once more, with an engine whose
values are nodes. What is left are operations element by element, operations on whole arrays and
sums over the whole tree; a sum ends a stage, since it needs all parameters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from optforge.analysis import Lifted, lift, state_kinds
from optforge.language import FUNCTIONS, Function, Kind, Program, Statement
from optforge.optim.rules.arrays import LINES, SHAPED, SPREADS, WHOLE
from optforge.optim.rules.nodes import Recorder, RuleNode, Value

BY_ROLE = {"where_matrix", "orthogonalize", "transpose", "matmul", *LINES}


@dataclass(frozen=True, eq=False)
class RuleGraph:
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
    nodes: tuple[RuleNode, ...]
    update: RuleNode
    states: tuple[RuleNode, ...]
    weight: RuleNode
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

    @cached_property
    def by_role(self) -> bool:
        """Whether anything means something else for hidden matrices than for other arrays."""
        return any(node.op in BY_ROLE for node in self.nodes)

    def reads(self, clock: str) -> bool:
        """Whether ``get_step`` or ``get_progress`` matters."""
        return any(node.op == clock for node in self.nodes)

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """Numbers of the states that are one number a group."""
        return tuple(n for n, kind in enumerate(self.kinds) if kind == Kind.SCALAR)

    @cached_property
    def inputs(self) -> tuple[RuleNode, ...]:
        """Weight, gradient and those states that are no scalars, as far as they are read."""
        names = ("weight", "gradient", "state")
        return tuple(n for n in self.nodes if n.op in names and n.kind != Kind.SCALAR)

    def sums(self, stage: int) -> tuple[RuleNode, ...]:
        """The sums over the whole tree that end a stage."""
        return tuple(n for n in self.nodes if n.op == "sum" and n.level == stage)

    def scalars(self, stage: int) -> tuple[RuleNode, ...]:
        """What is one number a group and is computed before a stage, in order."""
        at = (n for n in self.nodes if n.kind == Kind.SCALAR and n.level == stage)
        return tuple(n for n in at if n.op != "sum")

    def tensors(self, stage: int) -> tuple[RuleNode, ...]:
        """What is computed of each parameter in a stage, in order; its sums are among them."""
        return self._tensors[stage]

    @cached_property
    def _tensors(self) -> tuple[tuple[RuleNode, ...], ...]:
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
def graph_of(program: Program) -> RuleGraph:
    """Build the graph of a valid program.

    Raises:
        ProgramError: If the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> graph_of(load_rule("lion")).stages, graph_of(load_rule("program_8")).stages
        (1, 2)
    """
    lifted = lift(program)
    lean, engine = lifted.program, Recorder()
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
    return RuleGraph(lifted, kinds, nodes, outputs[0], outputs[1:], weight, stored)


def _constant(engine: Recorder, name: str | None, value: float) -> Value:
    return value if name is None else engine.note("hyperparameter", (name,), Kind.SCALAR)


def _apply(engine: Recorder, statement: Statement, arguments: list[Value]) -> Value:
    row = FUNCTIONS[statement.function]
    if arguments and all(isinstance(a, float) for a in arguments):
        arguments = [engine.constant(a) for a in arguments]  # Python would raise on 1.0 / 0.0
    if row.form == "clock":
        return engine.note(row.name, (), Kind.SCALAR)
    kinds = tuple(a.kind if isinstance(a, RuleNode) else int(Kind.SCALAR) for a in arguments)
    if _needs_arrays(row, kinds):
        return engine.note(row.name, tuple(arguments), row.result(kinds))
    return row.build(engine)(*arguments)


def _needs_arrays(row: Function, kinds: tuple[int, ...]) -> bool:
    """Return whether a function is a primitive, since it looks at more than single elements.

    ``where`` is one too: its condition may be one number, and its choices constants.
    """
    of_arrays = row.on_array is not None and max(kinds, default=0) >= Kind.TREE
    return row.form == "by_role" or row.name == "where" or of_arrays


def _as_kind(engine: Recorder, value: Value, kind: int) -> RuleNode:
    if not isinstance(value, RuleNode):
        value = engine.constant(value)
    if value.kind == kind:
        return value
    return engine.note(SPREADS[kind], (value, engine.nodes[0]), kind)


def reached(outputs: Iterable[RuleNode]) -> list[RuleNode]:
    """Return what nodes are computed from, and they themselves, each after what it reads."""
    nodes: dict[int, RuleNode] = {}
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node.index not in nodes:
            nodes[node.index] = node
            pending += node.parents
    return [nodes[index] for index in sorted(nodes)]

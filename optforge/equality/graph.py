"""A step of a rule as one graph: the update and the next states over shared inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from optforge.analysis import live_program, state_kinds
from optforge.analysis.walk import Environment, walk
from optforge.language import FUNCTIONS, Kind, Program, Statement

CONSTANT = "constant"
WEIGHT, GRADIENT, LR = "weight", "gradient", "lr"


def state_leaf(number: int) -> str:
    """Return the name of a state's leaf, which does not depend on its name in the program."""
    return f"state{number}"


@dataclass(frozen=True)
class Node:
    """One value: a function of other values, an input (no arguments), or a constant.

    Args:
        operation: A function's name, an input's name, or ``constant``.
        arguments: Indices of nodes before this one.
        value: Value of a constant.
    """

    operation: str
    arguments: tuple[int, ...] = ()
    value: float = 0.0

    @property
    def is_statement(self) -> bool:
        """Return whether the value costs a statement."""
        return self.operation in FUNCTIONS


@dataclass
class Graph:
    """Unique nodes, ordered so that arguments come first, and the outputs.

    Args:
        kinds: Kinds of the states.
        nodes: The nodes.
        outputs: Indices of the update and of each next state.

    Example:
        >>> from optforge.language import load_rule
        >>> graph = to_graph(load_rule("signum"))
        >>> graph.statements, len(graph.outputs)
        (6, 2)
    """

    kinds: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    _known: dict[tuple[object, ...], int] = field(default_factory=dict, repr=False)

    def add(self, operation: str, arguments: Sequence[int] = (), value: float = 0.0) -> int:
        """Return the index of a value, which is added unless an equal one exists."""
        key = (operation, *arguments, repr(value))  # repr: 0.0 and -0.0 are not the same
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(Node(operation, tuple(arguments), value))
        return self._known[key]

    def constant(self, value: float) -> int:
        """Return the index of a constant."""
        return self.add(CONSTANT, (), value)

    @property
    def statements(self) -> int:
        """Number of statements that the outputs need."""
        return sum(self.nodes[index].is_statement for index in self.reached())

    def reached(self, roots: Iterable[int] | None = None) -> list[int]:
        """Return the values that the outputs (or other roots) depend on, arguments first."""
        done: dict[int, None] = {}
        stack = [(root, False) for root in reversed(list(self.outputs if roots is None else roots))]
        while stack:
            index, ready = stack.pop()
            if index in done:
                continue
            if ready:
                done[index] = None
                continue
            stack.append((index, True))
            stack += [(argument, False) for argument in reversed(self.nodes[index].arguments)]
        return list(done)

    def kind_of(self) -> list[int]:
        """Return the kind of every node."""
        node_kinds: list[int] = []
        for node in self.nodes:
            if node.operation in FUNCTIONS:
                kinds = tuple(node_kinds[argument] for argument in node.arguments)
                node_kinds.append(int(FUNCTIONS[node.operation].result(kinds)))
            else:
                node_kinds.append(self.leaf_kind(node.operation))
        return node_kinds

    def leaf_kind(self, operation: str) -> int:
        """Return the kind of an input or a constant."""
        if operation in (WEIGHT, GRADIENT):
            return int(Kind.TREE)
        if operation in (LR, CONSTANT):
            return int(Kind.SCALAR)
        return self.kinds[int(operation.removeprefix("state"))]

    def copy_into(
        self, other: Graph, replaced: Callable[[int], int | None] = lambda index: None
    ) -> dict[int, int]:
        """Copy everything that the outputs need into another graph, with some values replaced.

        Args:
            other: Receives the values.
            replaced: Returns, for the index of a value here, an index of ``other`` that replaces
                it, or None.

        Returns:
            Index in ``other`` of each index here that was copied or replaced.
        """
        places: dict[int, int] = {}
        for index in self.reached():
            node, place = self.nodes[index], replaced(index)
            if place is None:
                arguments = tuple(places[argument] for argument in node.arguments)
                place = other.add(node.operation, arguments, node.value)
            places[index] = place
        return places


def to_graph(program: Program) -> Graph:
    """Convert a program to a graph without dead statements and dead states."""
    lean = live_program(program)
    graph = Graph(state_kinds(lean))
    inputs = [graph.add(WEIGHT), graph.add(GRADIENT)]
    inputs += [graph.add(state_leaf(number)) for number in range(len(lean.states))]
    inputs.append(graph.add(LR))

    def apply(number: int, statement: Statement, arguments: list[int]) -> int:
        return graph.add(statement.function, arguments)

    environment = Environment(lean.parameters, inputs, graph.constant)
    walk(lean.statements, environment, apply)
    graph.outputs = tuple(environment[name] for name in lean.outputs)
    return graph


def to_program(graph: Graph) -> Program:
    """Write a graph as a program, update first, with plain names (v1, v2, ...).

    A constant cannot be returned, so a constant output becomes a statement.

    Example:
        >>> from optforge.language import load_rule
        >>> to_program(to_graph(load_rule("momentum_sgd"))).outputs
        ('v6', 'v2')
    """
    outputs = [returnable(graph, index) for index in graph.outputs]
    names: dict[int, str | float] = {}
    statements: list[Statement] = []
    for index in graph.reached(outputs):
        node = graph.nodes[index]
        if node.operation == CONSTANT:
            names[index] = node.value
        elif not node.is_statement:
            names[index] = node.operation
        else:
            names[index] = f"v{len(statements) + 1}"
            arguments = tuple(names[argument] for argument in node.arguments)
            statements.append(Statement(str(names[index]), node.operation, arguments))
    states = tuple(state_leaf(number) for number in range(len(graph.kinds)))
    returned = tuple(str(names[index]) for index in outputs)
    return Program((WEIGHT, GRADIENT, *states, LR), tuple(statements), returned)


def returnable(graph: Graph, index: int) -> int:
    """Return a value that may be an output: itself, or a statement that computes a constant."""
    node = graph.nodes[index]
    if node.operation != CONSTANT:
        return index
    return graph.add("multiply", (index, graph.constant(1.0)))

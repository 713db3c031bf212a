"""Removals: every way of leaving out one statement of a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from optforge.analysis import fingerprint, live_program, state_kinds
from optforge.analysis.hyperparameters import lift
from optforge.analysis.walk import Environment, walk
from optforge.equality.graph import (
    CONSTANT,
    GRADIENT,
    LR,
    WEIGHT,
    Graph,
    state_leaf,
    to_program,
)
from optforge.equality.names import living_states, with_names
from optforge.equality.tidy import tidy
from optforge.errors import ProgramError
from optforge.language import Kind, Program, Statement

Replacement = tuple[int, int | float]  # a value, and the one (or the constant) that takes its place


@dataclass(frozen=True)
class ProposedChange:
    """A rule with a change that makes it simpler, not yet known to be as good.

    Args:
        program: The rule after the change.
        statement: Text of the changed statement, or name of the changed constant.
        change: The change, such as ``sign(momentum) -> momentum``.
        key: The change without the names and numbers of the arguments, which earlier changes alter.
        replacements: The change as replaced values in the graph of the rule before it.
        values: The change as new values of hyper-parameters, for roundings.
    """

    program: Program
    statement: str
    change: str
    key: str
    replacements: tuple[Replacement, ...] = ()
    values: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return self.change


def size(program: Program) -> int:
    """Return the number of statements of a rule, including that of its learning rate.

    Example:
        >>> from optforge.language import load_rule
        >>> size(load_rule("lion"))
        7
    """
    lean = live_program(program)
    return len(lean.statements) + (lift(lean).scale is None)


class Removals:
    """All ways of leaving out one statement of a rule.

    A statement is left out by using another value in its place: an argument of the same kind, 1 for
    a scalar, or another value of the same function, so that two averages become one. A change
    counts if the rule then has fewer statements and still reads the gradient and the schedule.
    Equal rules are listed once.

    Args:
        program: A rule.

    Example:
        >>> from optforge.language import load_rule
        >>> changes = [str(c) for c in Removals(load_rule("signum")).candidates()]
        >>> "sign(m) -> m" in changes
        True
    """

    def __init__(self, program: Program) -> None:
        self.program = live_program(program)
        self.size = size(self.program)
        self.graph, indices = indexed(self.program)
        self.labels: dict[int, Statement] = {}  # of statements that compute the same, the first
        for index, statement in zip(indices, self.program.statements, strict=True):
            self.labels.setdefault(index, statement)
        self.kinds = self.graph.kind_of()
        self.names = {value: text for text, value in self._inputs().items()}
        self.names |= {index: s.target for index, s in self.labels.items()}

    def candidates(self) -> list[ProposedChange]:
        """Return the changes in the order of the program."""
        known = {fingerprint(self.program)}
        changes = []
        for index in self.graph.reached():
            if index not in self.labels:
                continue
            for by, words in self._substitutes(index):
                program = self.changed([(index, by)])
                if program is None or fingerprint(program) in known:
                    continue
                known.add(fingerprint(program))
                changes.append(self._candidate(index, by, words, program))
        return _with_unique_keys(changes)

    def together(self, chosen: Sequence[ProposedChange]) -> Program | None:
        """Make several changes at once; None if they contradict each other."""
        return self.changed([pair for change in chosen for pair in change.replacements])

    def changed(self, replacements: Iterable[Replacement]) -> Program | None:
        """Replace values by others; None if the result is not a smaller valid rule."""
        copied = replaced(self.graph, dict(replacements))
        if copied is None:
            return None
        try:
            program = live_program(self._written(copied[0]))
            smaller = size(program) < self.size
        except ProgramError:
            return None
        reads = _inputs_read(program)
        whole = GRADIENT in reads and (LR in reads or LR not in _inputs_read(self.program))
        return program if smaller and whole else None

    def _candidate(
        self, index: int, by: int | float, words: str, program: Program
    ) -> ProposedChange:
        statement = self.labels[index]
        change = f"{_right(statement)} -> {words}"
        inner = list(self.graph.nodes[index].arguments)
        place = f"argument {inner.index(int(by))}" if by in inner else words.split("(")[0]
        key = f"{statement.target} {statement.function} {place}"
        return ProposedChange(program, statement.text, change, key, ((index, by),))

    def _substitutes(self, index: int) -> list[tuple[int | float, str]]:
        node, kind = self.graph.nodes[index], self.kinds[index]
        substitutes: dict[int | float, str] = {}
        scheduled = [a for a in node.arguments if self._is_schedule(a)]
        for argument in node.arguments:
            if self.kinds[argument] != kind or self.graph.nodes[argument].operation == CONSTANT:
                continue
            if node.operation in ("multiply", "divide") and set(scheduled) - {argument}:
                continue  # the schedule is the user's, not the rule's
            substitutes[argument] = self._name(argument)
        if kind == Kind.SCALAR and self._leaves(index) - {LR, CONSTANT}:
            substitutes[1.0] = "1"
        for other in self.labels:
            if other not in substitutes and self._is_like(index, other):
                substitutes[other] = _right(self.labels[other])
        return list(substitutes.items())

    def _is_schedule(self, index: int) -> bool:
        """Return whether a value is the schedule or computed from it alone."""
        return LR in (leaves := self._leaves(index)) and leaves <= {LR, CONSTANT}

    def _is_like(self, index: int, other: int) -> bool:
        """Return whether two values can be merged: same function, at least one shared input."""
        node, other_node = self.graph.nodes[index], self.graph.nodes[other]
        if index == other or node.operation != other_node.operation:
            return False
        if self.kinds[index] != self.kinds[other]:
            return False
        inner = [a for a in node.arguments if self.graph.nodes[a].operation != CONSTANT]
        return bool(set(inner) & set(other_node.arguments))

    def _name(self, index: int) -> str:
        return self.names.get(index, self.graph.nodes[index].operation)

    def _inputs(self) -> dict[str, int]:
        program, graph = self.program, self.graph
        names = {program.weight: WEIGHT, program.gradient: GRADIENT, program.lr: LR}
        names |= {name: state_leaf(n) for n, name in enumerate(program.states)}
        return {name: graph.add(leaf) for name, leaf in names.items()}

    def _leaves(self, index: int) -> set[str]:
        nodes = (self.graph.nodes[i] for i in self.graph.reached([index]))
        return {node.operation for node in nodes if not node.arguments}

    def _written(self, graph: Graph) -> Program:
        plain = to_program(tidy(graph, [n.value for n in graph.nodes if n.operation == CONSTANT]))
        state_kinds(plain)
        names = [self.program.states[number] for number in living_states(plain)]
        program = with_names(plain, self.program, names)
        state_kinds(program)
        return program


def _with_unique_keys(candidates: Iterable[ProposedChange]) -> list[ProposedChange]:
    """Number equal keys, because two statements may have the same target and function."""
    counts: dict[str, int] = {}
    numbered = []
    for change in candidates:
        counts[change.key] = number = counts.get(change.key, 0) + 1
        numbered.append(change if number == 1 else replace(change, key=f"{change.key}, {number}"))
    return numbered


def _right(statement: Statement) -> str:
    return statement.text.split(" = ", 1)[1]


def _inputs_read(lean: Program) -> set[str]:
    """Return which of gradient and schedule a lean program reads."""
    values = {a for s in lean.statements for a in s.arguments} | set(lean.outputs)
    return {
        name for name, variable in ((GRADIENT, lean.gradient), (LR, lean.lr)) if variable in values
    }


def indexed(program: Program) -> tuple[Graph, list[int]]:
    """Convert a lean program to a graph, and return the value that each statement computes."""
    graph = Graph(state_kinds(program))
    indices: list[int] = []
    inputs = [graph.add(WEIGHT), graph.add(GRADIENT)]
    inputs += [graph.add(state_leaf(number)) for number in range(len(program.states))]
    inputs.append(graph.add(LR))

    def apply(number: int, statement: Statement, arguments: list[int]) -> int:
        indices.append(graph.add(statement.function, arguments))
        return indices[-1]

    environment = Environment(program.parameters, inputs, graph.constant)
    walk(program.statements, environment, apply)
    graph.outputs = tuple(environment[name] for name in program.outputs)
    return graph, indices


def replaced(graph: Graph, by: Mapping[int, int | float]) -> tuple[Graph, Mapping[int, int]] | None:
    """Copy a graph with some values replaced by others; None if a value would need itself.

    Returns:
        The copy, and the new index of each value that it still needs.
    """
    result = Graph(graph.kinds)
    places: dict[int, int] = {}
    open_values: set[int] = set()

    def place(index: int) -> int:
        if index in places:
            return places[index]
        if index in open_values:
            raise RecursionError
        open_values.add(index)
        other = by.get(index)
        if isinstance(other, float):
            copy = result.constant(other)
        elif other is not None:
            copy = place(other)
        else:
            node = graph.nodes[index]
            copy = result.add(node.operation, [place(a) for a in node.arguments], node.value)
        open_values.discard(index)
        places[index] = copy
        return copy

    try:
        result.outputs = tuple(place(output) for output in graph.outputs)
    except RecursionError:
        return None
    return result, places

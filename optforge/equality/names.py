"""Conventional names for states and variables, and the conventional order of statements."""

from __future__ import annotations

from collections.abc import Sequence

from optforge.analysis import liveness, state_kinds
from optforge.equality.graph import (
    CONSTANT,
    GRADIENT,
    LR,
    WEIGHT,
    Graph,
    Node,
    returnable,
    state_leaf,
    to_graph,
)
from optforge.equality.tidy import tidy_graph
from optforge.errors import ProgramError
from optforge.language import Program, Statement

MOMENTUM, SECOND, STEPS, OTHER = "momentum", "second_moment", "count", "state"
_SQUARES = frozenset(("square", "abs", "matmul"))
_MIXTURES = frozenset(("interp", "add", "multiply", "minimum", "maximum", "subtract"))
_MIXTURES |= {"where", "where_matrix"}
_NOUNS = {
    **{"clip": "clipped", "square": "squared", "sqrt": "root", "sign": "direction"},
    **{"interp": "average", "dot": "overlap", "cosine_sim": "similarity", "divide": "ratio"},
    **{"norm": "length", "global_norm": "length", "add": "total", "subtract": "difference"},
    **{"multiply": "product", "maximum": "larger", "minimum": "smaller", "abs": "magnitude"},
    **{"where": "masked", "where_matrix": "by_role", "mean": "mean_value", "rms": "size"},
    **{"orthogonalize": "direction", "transpose": "transposed", "matmul": "matrix_product"},
    **{"get_step": "step", "get_progress": "progress"},
}


def state_roles(graph: Graph) -> list[str]:
    """Return a name for each state by what it remembers.

    ``second_moment``: its next value is built from a square (or magnitude); ``momentum``: from
    the gradient otherwise; ``count``: a state plus a constant; ``state``: anything else.

    Example:
        >>> from optforge.language import load_rule
        >>> state_roles(to_graph(load_rule("adamw_bias_correction")))
        ['momentum', 'second_moment', 'count']
    """
    roles = []
    for number, output in enumerate(graph.outputs[1:]):
        here = graph.reached([output])
        operations = {graph.nodes[index].operation for index in here}
        fed = _feeds(graph, output)
        if graph.nodes[output].operation == "add" and operations <= {
            *("add", CONSTANT, state_leaf(number)),
        }:
            roles.append(STEPS)
        elif fed & _SQUARES:
            roles.append(SECOND)
        elif GRADIENT in operations:
            roles.append(MOMENTUM)
        else:
            roles.append(OTHER)
    return roles


def _is_wrapper(node: Node) -> bool:
    return len(node.arguments) == 1 and node.operation not in _SQUARES


def _feeds(graph: Graph, output: int) -> set[str]:
    """Return the operations on the way down from a next state, down to squares and quotients."""
    operations: set[str] = set()
    stack = [output]
    while stack:
        node = graph.nodes[stack.pop()]
        operations.add(node.operation)
        if node.operation in _MIXTURES or _is_wrapper(node):
            stack += node.arguments
    return operations


def living_states(program: Program) -> list[int]:
    """Return the numbers of the states that can reach an update.

    Example:
        >>> from optforge.language import load_rule
        >>> living_states(load_rule("program_8"))
        [1]
    """
    alive = liveness(program).states
    return [number for number in range(len(program.states)) if alive >> number & 1]


def kinds_of(program: Program) -> tuple[int, ...] | None:
    """Return the kinds of a program's states; None if its shapes do not match."""
    try:
        return state_kinds(program)
    except ProgramError:
        return None


def with_names(program: Program, like: Program, states: Sequence[str]) -> Program:
    """Rename the states of a program and give its variables readable names.

    Args:
        program: A program with meaningless names.
        like: The original program, for the names of the inputs.
        states: Names of its live states.
    """
    return _Writer(to_graph(program), states, (like.weight, like.gradient, like.lr)).program()


def present(program: Program) -> Program:
    """Write a program with conventional names.

    Example:
        >>> from optforge.language import load_rule
        >>> print(present(load_rule("signum")))
        def train(weight, gradient, momentum, lr):
            momentum = interp(gradient, momentum, 0.9)
            update = sign(momentum)
            decay = weight * 0.01
            update = update + decay
            rate = lr * 0.001
            update = update * rate
            return update, momentum
        <BLANKLINE>
    """
    graph = tidy_graph(program)
    return _Writer(graph, numbered(state_roles(graph)), (WEIGHT, GRADIENT, LR)).program()


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Return distinct names: the second of two equal names gets a 2.

    Example:
        >>> numbered(["momentum", "momentum", "count"])
        ('momentum', 'momentum_2', 'count')
    """
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(result)


class _Writer:
    """Writes a graph as a program: update first, each next state under its state's name."""

    def __init__(self, graph: Graph, states: Sequence[str], inputs: tuple[str, str, str]) -> None:
        graph.outputs = tuple(returnable(graph, index) for index in graph.outputs)
        self.graph, self.states = graph, tuple(states)
        self.inputs = {WEIGHT: inputs[0], GRADIENT: inputs[1], LR: inputs[2]}
        self.inputs |= {state_leaf(n): name for n, name in enumerate(self.states)}
        self.order = graph.reached()
        self.last_use = self._last_uses()

    def program(self) -> Program:
        """Write it."""
        names: dict[int, str | float] = {}
        used = {*self.inputs.values(), "update"}
        chain, following = self._chain(), self._following()
        statements = []
        for place, index in enumerate(self.order):
            node = self.graph.nodes[index]
            if node.operation == CONSTANT:
                names[index] = node.value
                continue
            if not node.is_statement:
                names[index] = self.inputs[node.operation]
                continue
            arguments = tuple(names[a] for a in node.arguments)
            if index in following and self._is_free(following[index], place):
                name = self.states[following[index]]
            elif index in chain and "update" not in self.inputs.values():
                name = "update"
            else:
                name = self._fresh(index, used)
            names[index] = name
            statements.append(Statement(name, node.operation, arguments))
        outputs = tuple(str(names[index]) for index in self.graph.outputs)
        return Program(tuple(self._parameters()), tuple(statements), outputs)

    def _parameters(self) -> list[str]:
        return [self.inputs[WEIGHT], self.inputs[GRADIENT], *self.states, self.inputs[LR]]

    def _last_uses(self) -> dict[str, int]:
        """Return the place of the last statement that reads each input."""
        last_use: dict[str, int] = {}
        for place, index in enumerate(self.order):
            for argument in self.graph.nodes[index].arguments:
                last_use[self.graph.nodes[argument].operation] = place
        for output in self.graph.outputs:  # one that is returned as it came is read at the end
            if not self.graph.nodes[output].arguments:
                last_use[self.graph.nodes[output].operation] = len(self.order)
        return last_use

    def _following(self) -> dict[int, int]:
        """Return the statement of each next state, unless another output is the same."""
        outputs = self.graph.outputs
        return {
            index: number
            for number, index in enumerate(outputs[1:])
            if self.graph.nodes[index].is_statement and outputs[1:].index(index) == number
        }

    def _is_free(self, number: int, place: int) -> bool:
        """Return whether the old state is no longer read, so that its name may be reused."""
        return self.last_use.get(state_leaf(number), -1) <= place

    def _chain(self) -> set[int]:
        """Return statements that only build the update, each read only by the next one."""
        uses: dict[int, int] = {}
        for index in self.order:
            for argument in self.graph.nodes[index].arguments:
                uses[argument] = uses.get(argument, 0) + 1
        here, chain = self.graph.outputs[0], set()
        while self.graph.nodes[here].is_statement and self.graph.outputs.count(here) <= 1:
            if here in self._following():
                break
            chain.add(here)
            node = self.graph.nodes[here]
            inner = [a for a in node.arguments if self._has_gradient(a)]
            if node.operation not in ("add", "multiply", "subtract") or len(inner) != 1:
                break
            if uses[inner[0]] != 1:
                break
            here = inner[0]
        return chain

    def _has_gradient(self, index: int) -> bool:
        reached = self.graph.reached([index])
        leaves = {self.graph.nodes[i].operation for i in reached}
        return any(leaf == GRADIENT or leaf.startswith("state") for leaf in leaves)

    def _fresh(self, index: int, used: set[str]) -> str:
        node = self.graph.nodes[index]
        stem = _NOUNS.get(node.operation, f"{node.operation}_value")
        leaves = {self.graph.nodes[a].operation for a in node.arguments}
        if node.operation == "multiply" and leaves == {WEIGHT, CONSTANT}:
            stem = "decay"
        elif node.operation == "multiply" and leaves == {LR, CONSTANT}:
            stem = "rate"
        name, number = stem, 1
        while name in used:
            number += 1
            name = f"{stem}_{number}"
        used.add(name)
        return name

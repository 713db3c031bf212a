"""Recognition of a rule: a known rule up to its constants, or the nearest one and its distance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import permutations

from optforge.analysis.hyperparameters import lift
from optforge.equality.families import STAND_INS, known_rules
from optforge.equality.graph import Graph, to_graph
from optforge.equality.names import SECOND, state_roles
from optforge.equality.skeleton import Skeleton, preprocessed, skeleton, skeletons
from optforge.equality.tidy import tidy, tidy_graph
from optforge.language import Program

_NEAR = 1e-9  # of numbers that a template has
_EQUAL = 1e-12  # relative, of one constant in two places
_GUARDED = ("Ada", "RMS", "AdE", "MARS", "Muon", "Ortho-Ada")


@dataclass(frozen=True)
class Recognised:
    """The name of a rule, or what it resembles.

    Args:
        name: Name of the rule with its hyper-parameters; None if it is not a known rule.
        family: Name of the known rule, or of the nearest one.
        hyperparameters: Values by conventional names; for an unknown rule, values of its constants
            by their roles.
        like: What an unknown rule resembles, such as ``AdaGrad-like``.
        distance: Number of statements in which it differs from the nearest known rule; 0 for a
            known one.
    """

    name: str | None
    family: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    like: str | None = None
    distance: int = 0

    @property
    def sentence(self) -> str:
        """A sentence with the name, or with what the rule resembles."""
        if self.name:
            return self.name
        like = f"{self.like}; " if self.like else ""
        return f"{like}nearest known rule: {self.family}, {self.distance} statements apart"


def recognise(program: Program) -> Recognised:
    """Recognize a simple rule among the known ones.

    Constants do not matter, nor the order of states, sums and products, nor functions applied to
    the gradient before anything else. If no known rule matches, the nearest one is that with the
    fewest statements of different form.

    Args:
        program: A rule in its simplest form.

    Example:
        >>> from optforge.language import load_rule
        >>> recognise(load_rule("signum")).name
        'Signum with beta = 0.9, weight decay 0.01, learning rate 0.001'
    """
    graph = tidy_graph(program)
    inner, first = preprocessed(graph)
    for candidate, prepared in ((graph, None), (inner, first)):
        match = _match(candidate)
        if match is not None:
            family, values = match
            named = _described(family, values, prepared)
            return Recognised(named, family, _renamed(values))
    family, distance = _nearest(graph)
    return Recognised(None, family, lift(program).values, _resembles(graph), distance)


def _match(graph: Graph) -> tuple[str, dict[str, float]] | None:
    forms = skeletons(graph)
    for name, template in _templates():
        for form in forms:
            if form.text == template.text:
                values = _assigned(template.slots, form.slots)
                if values is not None:
                    return name, values
    return None


def _assigned(template: tuple[float, ...], slots: tuple[float, ...]) -> dict[str, float] | None:
    """Return the values of the names; None if a name would need two, or a fixed number differs."""
    assigned: dict[str, float] = {}
    for pattern, value in zip(template, slots, strict=True):
        name, sign = _name_of(pattern)
        if name is None:
            if abs(pattern - value) > _NEAR:
                return None
        elif abs(assigned.setdefault(name, sign * value) - sign * value) > _EQUAL * max(
            abs(value), 1e-9
        ):
            return None
    return assigned


def _name_of(pattern: float) -> tuple[str | None, float]:
    """Return the constant that a number stands for, and its sign there."""
    for sign in (1.0, -1.0):
        for name, stand_in in STAND_INS.items():
            if abs(sign * stand_in - pattern) < _NEAR:
                return name, sign
    return None, 1.0


@lru_cache(1)
def _known_graphs() -> tuple[tuple[str, Graph], ...]:
    rules = known_rules()
    return tuple((name, tidy(to_graph(program), STAND_INS.values())) for name, program in rules)


@lru_cache(1)
def _templates() -> tuple[tuple[str, Skeleton], ...]:
    return tuple((name, skeleton(graph)) for name, graph in _known_graphs())


def _described(family: str, values: Mapping[str, float], prepared: str | None) -> str:
    betas = ("beta", "beta1", "beta2", "beta3", "beta_matrix", "beta_ahead")
    parts = [f"{name} = {values[name]:.6g}" for name in betas if name in values]
    named = (("weight_decay", "weight decay"), ("lr", "learning rate"))
    if family in ("Adafactor", "LAMB"):
        parts.append(f"epsilon {values['epsilon']:.6g}")
    elif any(name in family for name in _GUARDED):
        inside = f" + {values['epsilon']:.6g} in the second moment" if "epsilon" in values else ""
        beside = f"{values['epsilon_outside']:.6g} + " if "epsilon_outside" in values else ""
        parts.append(f"epsilon {beside}1e-8{inside}")  # the guard of the division is 1e-8
    others = ("alpha", "gamma", "scale", "floor", "power")
    parts += [f"{name} {values[name]:.6g}" for name in others if name in values]
    parts += [f"{text} {values[name]:.6g}" for name, text in named if name in values]
    alias = " (Signum without an average)" if family == "signSGD" else ""
    text = f"{family}{alias} with {', '.join(parts)}"
    return text + (f", of {prepared} in place of the gradient" if prepared else "")


def _renamed(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values, the epsilon next to the root called ``epsilon`` if no other one is."""
    beside_root = "epsilon_outside" if "epsilon" in values else "epsilon"
    return {beside_root if name == "epsilon_outside" else name: v for name, v in values.items()}


def _forms_of(graph: Graph, order: tuple[int, ...] | None = None) -> set[str]:
    """Return the forms of all statements, without constants."""
    names = {n: place for place, n in enumerate(order)} if order else {}
    texts: dict[int, str] = {}
    for index in graph.reached():
        node = graph.nodes[index]
        inner = sorted(texts[a] for a in node.arguments)
        operation = node.operation
        if operation.startswith("state"):
            operation = f"s{names.get(int(operation[5:]), int(operation[5:]))}"
        texts[index] = f"{operation}({','.join(inner)})" if inner else operation
    return {texts[i] for i in texts if graph.nodes[i].is_statement}


@lru_cache(1)
def _known_forms() -> tuple[tuple[str, set[str]], ...]:
    return tuple((name, _forms_of(graph)) for name, graph in _known_graphs())


def _nearest(graph: Graph) -> tuple[str, int]:
    orders = list(permutations(range(len(graph.kinds))))
    forms_by_order = [_forms_of(graph, order) for order in orders]
    ranked = (
        (name, min(len(known ^ forms) for forms in forms_by_order))
        for name, known in _known_forms()
    )
    return min(ranked, key=lambda pair: pair[1])


def _resembles(graph: Graph) -> str | None:
    """Return what a rule resembles, by what its states remember and what the update divides by."""
    roles = state_roles(graph)
    operations = {graph.nodes[i].operation for i in graph.reached(graph.outputs[:1])}
    seconds = [n for n, role in enumerate(roles) if role == SECOND]
    if seconds and "sqrt" in operations and "divide" in operations:
        return _adaptive(graph, seconds[0])
    if "orthogonalize" in operations:
        return "Muon-like"
    if "sign" in operations:
        return "sign-momentum-like" if roles else "signSGD-like"
    return "momentum-like" if roles else None


def _adaptive(graph: Graph, number: int) -> str:
    """Return the kind of adaptive rule, by its second moment."""
    inside = graph.reached([graph.outputs[1 + number]])
    nodes = [graph.nodes[i] for i in inside]
    squared = {graph.nodes[n.arguments[0]].operation for n in nodes if n.operation == "square"}
    if squared & {"subtract", "add"}:
        return "AdaBelief-like"
    leaf = f"state{number}"
    summed = any(
        node.operation == "add" and any(graph.nodes[a].operation == leaf for a in node.arguments)
        for node in nodes
    )
    return "AdaGrad-like" if summed else "Adam-like"

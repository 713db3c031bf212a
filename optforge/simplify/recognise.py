"""Naming a rule: known rules modulo their constants, else what it is like and how far away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import permutations

from optforge.algebra import Graph, tidy, to_graph
from optforge.analysis.hyperparameters import lift
from optforge.language import Program, parse
from optforge.simplify.names import SECOND, state_roles
from optforge.simplify.skeleton import preprocessed, skeleton, skeletons

# Stand-ins for the constants of a template, recognised by their value.
_NAMES = {"lr": 0.0123, "beta": 0.9071, "beta1": 0.8317, "beta2": 0.9713, "weight_decay": 0.0457}
_NAMES |= {"epsilon": 3.1e-9, "beta_ahead": 0.7531, "epsilon_outside": 4.7e-7}
_NEAR = 1e-9


@dataclass(frozen=True)
class _Family:
    name: str
    states: str
    lines: tuple[str, ...]
    outputs: str


def _family(name: str, states: str, lines: str, outputs: str = "") -> _Family:
    parts = tuple(line.strip() for line in lines.split(";"))
    return _Family(name, states, parts, outputs or states)


def _with_epsilon(families: tuple[_Family, ...]) -> tuple[_Family, ...]:
    """Add the forms that have an epsilon of their own beside the root, and not the guard alone."""
    found = list(families)
    for one in families:
        lines = tuple(_ROOT.sub(r"/ (\1 + {epsilon_outside})", line) for line in one.lines)
        if lines != one.lines:
            found.append(replace(one, lines=lines))
    return tuple(found)


_ROOT = re.compile(r"/ (sqrt\([^)]*\))")
# Each in its simplest form, the direction in u; special cases before general ones.
_M, _V = "m = interp(g, m, {beta1})", "v = interp(square(g), v, {beta2})"
_PLAIN = (
    _family("SGD", "", "u = g"),
    _family("signSGD", "", "u = sign(g)"),
    _family("momentum SGD", "m", "m = interp(g, m, {beta}); u = m"),
    _family("Nesterov momentum SGD", "m", "u = interp(g, m, {beta1}); m = interp(g, m, {beta2})"),
    _family("Signum", "m", "m = interp(g, m, {beta}); u = sign(m)"),
    _family("Lion", "m", "u = sign(interp(g, m, {beta1})); m = interp(g, m, {beta2})"),
    _family("AdaGrad", "v", "v = v + square(g); u = g / sqrt(v)"),
    _family("RMSProp", "v", "v = interp(square(g), v, {beta}); u = g / sqrt(v)"),
    _family("Adam without bias correction", "m, v", f"{_M}; {_V}; u = m / sqrt(v)"),
    _family(
        "NAdam without bias correction",
        "m, v",
        f"u = interp(g, m, {{beta_ahead}}); {_M}; {_V}; u = u / sqrt(v)",
    ),
    _family(
        "AdaBelief without bias correction",
        "m, v",
        f"{_M}; v = interp(square(g - m), v, {{beta2}}); u = m / sqrt(v)",
    ),
    _family(
        "AdaBelief without bias correction",
        "m, v",
        f"{_M}; v = interp(square(g - m), v, {{beta2}}) + {{epsilon}}; u = m / sqrt(v)",
    ),
    _family(
        "Adam with bias correction",
        "m, v, t",
        f"t = t + 1.0; {_M}; {_V}; a = reciprocal(1.0 - {{beta1}} ** t); "
        "b = reciprocal(1.0 - {beta2} ** t); u = (m * a) / sqrt(v * b)",
    ),
)
_FAMILIES = _with_epsilon(_PLAIN)
_DECAYED = {
    **{"Adam without bias correction": "AdamW without bias correction"},
    **{"Adam with bias correction": "AdamW with bias correction"},
}


@dataclass(frozen=True)
class Recognised:
    """What a rule is.

    Args:
        name: Of the rule with its hyper-parameters; None if it is none of the known ones.
        family: Name of the known rule, or of the nearest one.
        hyperparameters: Values by the field's names; of a rule that is none of the known ones
            those of its constants by their roles.
        like: What it resembles where it is none of the known ones, as ``AdaGrad-like``.
        distance: Statements in which it and the nearest known rule differ; 0 for a known one.
    """

    name: str | None
    family: str
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    like: str | None = None
    distance: int = 0

    @property
    def sentence(self) -> str:
        """Say it in a sentence."""
        if self.name:
            return self.name
        like = f"{self.like}; " if self.like else ""
        return f"{like}nearest known rule: {self.family}, {self.distance} statements apart"


def recognise(program: Program) -> Recognised:
    """Name a simple rule.

    Constants do not matter, and neither do the order of states, sums and products, or functions
    that the gradient passes through before all else. Otherwise the nearest known rule is the one
    with the fewest statements of different form.

    Args:
        program: A rule in its simplest form.

    Example:
        >>> from optforge.language import load_rule
        >>> recognise(load_rule("signum")).name
        'Signum with beta = 0.9, weight decay 0.01, learning rate 0.001'
    """
    graph = tidy(to_graph(program), _constants(program))
    inner, first = preprocessed(graph)
    for candidate, prepared in ((graph, None), (inner, first)):
        found = _match(candidate)
        if found is not None:
            family, values = found
            named = _described(family, values, prepared)
            return Recognised(named, family, _renamed(values))
    family, distance = _nearest(graph)
    return Recognised(None, family, lift(program).values, _resembles(graph), distance)


def _match(graph: Graph) -> tuple[str, dict[str, float]] | None:
    forms = skeletons(graph)
    for name, template, slots in _templates():
        for form in forms:
            if form.text == template:
                values = _assigned(slots, form.slots)
                if values is not None:
                    return name, values
    return None


def _assigned(template: tuple[float, ...], slots: tuple[float, ...]) -> dict[str, float] | None:
    """Give the names their values; None if one would need two, or a fixed number differs."""
    found: dict[str, float] = {}
    for pattern, value in zip(template, slots, strict=True):
        names = [name for name, stand_in in _NAMES.items() if abs(stand_in - pattern) < _NEAR]
        if not names:
            if abs(pattern - value) > _NEAR:
                return None
        elif abs(found.setdefault(names[0], value) - value) > 1e-12 * max(abs(value), 1e-9):
            return None
    return found


@lru_cache(1)
def _templates() -> tuple[tuple[str, str, tuple[float, ...]], ...]:
    found = []
    for family, decayed in ((f, d) for f in _FAMILIES for d in (False, True)):
        graph = to_graph(template_program(family, decayed))
        form = skeleton(tidy(graph, _NAMES.values()))
        name = _DECAYED.get(family.name, family.name) if decayed else family.name
        found.append((name, form.text, form.slots))
    return tuple(found)


def template_program(family: _Family, decayed: bool) -> Program:
    """Write a known rule with stand-ins for its constants."""
    values = {name: repr(value) for name, value in _NAMES.items()}
    states = f"{family.states}, " if family.states else ""
    end = "(u + w * {weight_decay}) * {lr} * lr" if decayed else "u * {lr} * lr"
    lines = [line for line in family.lines if line != "u = g"]
    direction = "g" if len(lines) < len(family.lines) else "u"
    plain = [line for line in lines if line != "u = m"]
    direction = "m" if len(plain) < len(lines) else direction
    end = end.replace("u", direction, 1)
    returned = f", {family.outputs}" if family.outputs else ""
    body = [*plain, f"out = {end}", f"return out{returned}"]
    text = f"def train(w, g, {states}lr):\n" + "".join(f"    {line}\n" for line in body)
    return parse(text.format(**values))


def _described(family: str, values: Mapping[str, float], prepared: str | None) -> str:
    betas = ("beta", "beta1", "beta2", "beta_ahead")
    parts = [f"{name} = {values[name]:.6g}" for name in betas if name in values]
    named = (("weight_decay", "weight decay"), ("lr", "learning rate"))
    if "Ada" in family or "RMS" in family:
        own = f" + {values['epsilon']:.6g} in the second moment" if "epsilon" in values else ""
        beside = f"{values['epsilon_outside']:.6g} + " if "epsilon_outside" in values else ""
        parts.append(f"epsilon {beside}1e-8{own}")  # the guard of the division is 1e-8
    parts += [f"{text} {values[name]:.6g}" for name, text in named if name in values]
    alias = " (Signum without an average)" if family == "signSGD" else ""
    text = f"{family}{alias} with {', '.join(parts)}"
    return text + (f", of {prepared} in place of the gradient" if prepared else "")


def _renamed(values: Mapping[str, float]) -> dict[str, float]:
    """Call the epsilon beside the root what all do, unless another one has the name."""
    own = "epsilon_outside" if "epsilon" in values else "epsilon"
    return {own if name == "epsilon_outside" else name: v for name, v in values.items()}


def _forms_of(graph: Graph, order: tuple[int, ...] | None = None) -> set[str]:
    """The forms of all statements, without constants."""
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
    found = []
    for family, decayed in ((f, d) for f in _FAMILIES for d in (False, True)):
        graph = tidy(to_graph(template_program(family, decayed)), _NAMES.values())
        name = _DECAYED.get(family.name, family.name) if decayed else family.name
        found.append((name, _forms_of(graph)))
    return tuple(found)


def _nearest(graph: Graph) -> tuple[str, int]:
    orders = list(permutations(range(len(graph.kinds))))
    own = [_forms_of(graph, order) for order in orders]
    ranked = ((name, min(len(known ^ forms) for forms in own)) for name, known in _known_forms())
    return min(ranked, key=lambda pair: pair[1])


def _resembles(graph: Graph) -> str | None:
    """Say what it is like by what its states remember and what the update divides by."""
    roles = state_roles(graph)
    operations = {graph.nodes[i].operation for i in graph.reached(graph.outputs[:1])}
    seconds = [n for n, role in enumerate(roles) if role == SECOND]
    if seconds and "sqrt" in operations and "divide" in operations:
        return _adaptive(graph, seconds[0])
    if "sign" in operations:
        return "sign-momentum-like" if roles else "signSGD-like"
    return "momentum-like" if roles else None


def _adaptive(graph: Graph, number: int) -> str:
    """Tell the adaptive rules apart by the second moment."""
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


def _constants(program: Program) -> Iterator[float]:
    return (a for s in program.statements for a in s.arguments if isinstance(a, float))

"""Protection by ``--keep``: names are resolved to values once and followed from form to form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

from optforge.ablation.removals import ProposedChange, Removals, indexed, replaced
from optforge.analysis import live_program
from optforge.analysis.hyperparameters import lift
from optforge.equality.derivation import Link
from optforge.equality.graph import CONSTANT, Graph, state_leaf
from optforge.language import FUNCTIONS, Program

_CONSTANT_SHAPE = "#"
_EXCHANGEABLE = {"interp": 2}  # leading arguments that the usual order may exchange


@dataclass(frozen=True)
class Mark:
    """A protected value, recognized by what it computes and not by its name.

    Args:
        shape: Digest of the value that ignores its constants.
        values: The constants that it reads directly.
        pinned: Those of its constants that are protected too.
    """

    shape: str
    values: tuple[float, ...]
    pinned: tuple[float, ...] = ()


@dataclass(frozen=True)
class Protection:
    """Everything that is protected in one form of a rule.

    Args:
        functions: Number of occurrences of each protected function.
        states: Protected states, by their names in this form.
        marks: Protected variables, and statements that read protected hyper-parameters.
        rates: Protected hyper-parameters that re-tuning would otherwise set.

    Example:
        >>> from optforge.language import load_rule
        >>> lion = load_rule("lion")
        >>> kept = find_protected(["sign", "momentum"], lion)
        >>> source = Removals(lion)
        >>> changes = [str(one) for one in allowed_changes(source, source.candidates(), kept)]
        >>> any("sign(" in change for change in changes)
        False
    """

    functions: Mapping[str, int]
    states: frozenset[str] = frozenset()
    marks: tuple[Mark, ...] = ()
    rates: frozenset[str] = frozenset()

    def settled(self, program: Program, exact: bool = False) -> Protection | None:
        """Find what is protected in another form that has the same state names.

        Args:
            program: The form; constants that are not protected may differ.
            exact: Whether the form is equal, so that one of several equal values is enough.

        Returns:
            What is protected there; None if anything is lost.
        """
        lean = live_program(program)
        counts = Counter(s.function for s in lean.statements)
        wanted = ((name, 1 if exact else count) for name, count in self.functions.items())
        if any(counts[name] < count for name, count in wanted):
            return None
        if not self.states <= set(lean.states):
            return None
        graph, indices = indexed(lean)
        assigned = _assigned(self.marks, _marked(graph, indices, lean.states))
        if assigned is None:
            return None
        marks = tuple(
            replace(there, pinned=mark.pinned)
            for mark, (_, there) in zip(self.marks, assigned, strict=True)
        )
        functions = {name: counts[name] for name in self.functions}
        return replace(self, functions=functions, marks=marks)

    def renamed(self, before: Program, after: Program, links: Sequence[Link]) -> Protection | None:
        """Follow exact steps, which may rename states."""
        names = {
            before.states[link.source]: name
            for link, name in zip(links, after.states, strict=True)
            if link.source is not None
        }
        if not self.states <= names.keys():
            return None
        lean = live_program(before)
        graph, indices = indexed(lean)
        assigned = _assigned(self.marks, _marked(graph, indices, lean.states))
        if assigned is None:
            return None
        shapes = _shapes(graph, [names.get(name, f"lost {name}") for name in lean.states])
        marks = tuple(
            replace(mark, shape=shapes[index])
            for mark, (index, _) in zip(self.marks, assigned, strict=True)
        )
        states = frozenset(names[name] for name in self.states)
        return replace(self, marks=marks, states=states).settled(after, exact=True)

    def through(self, source: Removals, chosen: Sequence[ProposedChange]) -> Protection | None:
        """Follow replacements; None if they touch what is protected or make it dead."""
        pairs = dict(pair for change in chosen for pair in change.replacements)
        if any(source.labels[index].function in self.functions for index in pairs):
            return None
        following = dict(zip(source.program.states, source.graph.outputs[1:], strict=True))
        if any(following[name] in pairs for name in self.states):
            return None
        values = {
            i: m
            for i, m in _marks(source.graph, source.program.states).items()
            if i in source.labels
        }
        assigned, copied = _assigned(self.marks, values), replaced(source.graph, pairs)
        if assigned is None or copied is None:
            return None
        graph, places = copied
        new = _marks(graph, source.program.states)
        if any(index in pairs or index not in places for index, _ in assigned):
            return None
        marks = tuple(
            replace(new[places[index]], pinned=mark.pinned)
            for mark, (index, _) in zip(self.marks, assigned, strict=True)
        )
        return replace(self, marks=marks)


def find_protected(names: Iterable[str], program: Program) -> Protection:
    """Resolve names to every variable, function, state and hyper-parameter they stand for.

    Args:
        names: Names from the user.
        program: The rule in which they are looked up.
    """
    wanted, lean = set(names), live_program(program)
    lifted = lift(lean)
    graph, indices = indexed(lean)
    marks = _marked(graph, indices, lean.states)
    pinned: dict[int, list[float]] = {
        index: [] for index, s in zip(indices, lean.statements, strict=True) if s.target in wanted
    }
    for parameter in (h for h in lifted.hyperparameters if h.name in wanted):
        for number, _ in parameter.places:
            pinned.setdefault(indices[number], []).append(parameter.value)
    counts = Counter(s.function for s in lean.statements)
    return Protection(
        {name: counts[name] for name in sorted(wanted) if name in counts},
        frozenset(wanted & set(lean.states)),
        tuple(replace(marks[index], pinned=tuple(values)) for index, values in pinned.items()),
        frozenset(wanted & set(lifted.values)),
    )


def follow(
    source: object, chosen: Sequence[ProposedChange], program: Program | None, kept: Protection
) -> Protection | None:
    """Return what is protected after changes; None if they would lose any of it.

    Args:
        source: The source of the changes.
        chosen: The changes.
        program: The rule with all of them.
        kept: What is protected before the changes.
    """
    if program is None:
        return None
    followed = kept.through(source, chosen) if isinstance(source, Removals) else kept
    return followed.settled(program) if followed is not None else None


def allowed_changes(
    source: object, candidates: Iterable[ProposedChange], kept: Protection
) -> list[ProposedChange]:
    """Return the candidates that neither touch nor lose what is protected."""
    return [
        change
        for change in candidates
        if follow(source, [change], change.program, kept) is not None
    ]


def protectable(program: Program) -> set[str]:
    """Return the names that can be protected: variables, functions, states, hyper-parameters."""
    lean = live_program(program)
    names = {name for s in lean.statements for name in (s.target, s.function)}
    return names | set(lean.states) | set(lift(lean).values)


def _assigned(marks: Sequence[Mark], values: Mapping[int, Mark]) -> list[tuple[int, Mark]] | None:
    """Find a distinct value for each mark, preferring one with the same constants."""
    places: dict[int, tuple[int, Mark]] = {}
    free = dict(values)
    for strict in (True, False):
        for number, mark in enumerate(marks):
            if number in places:
                continue
            place = next((i for i, there in free.items() if _is_like(mark, there, strict)), None)
            if place is not None:
                places[number] = (place, free.pop(place))
    return [places[number] for number in range(len(marks))] if len(places) == len(marks) else None


def _is_like(mark: Mark, there: Mark, strict: bool) -> bool:
    if mark.shape != there.shape:
        return False
    missing = Counter(mark.values if strict else mark.pinned) - Counter(there.values)
    return not missing


def _marked(graph: Graph, indices: Iterable[int], states: Sequence[str]) -> dict[int, Mark]:
    """Return the marks of the values that statements compute."""
    known = _marks(graph, states)
    return {index: known[index] for index in indices if index in known}


def _marks(graph: Graph, states: Sequence[str]) -> dict[int, Mark]:
    """Return the marks of all values that the outputs need."""
    shapes = _shapes(graph, states)
    marks = {}
    for index, shape in shapes.items():
        inner = [graph.nodes[argument] for argument in graph.nodes[index].arguments]
        values = sorted(node.value for node in inner if node.operation == CONSTANT)
        marks[index] = Mark(shape, tuple(values))
    return marks


def _shapes(graph: Graph, states: Sequence[str]) -> dict[int, str]:
    """Digest every value without its constants and without the order that does not matter."""
    labels = {state_leaf(number): f"state {name}" for number, name in enumerate(states)}
    shapes: dict[int, str] = {}
    for index in graph.reached():
        node = graph.nodes[index]
        inner = [shapes[argument] for argument in node.arguments]
        if node.operation == CONSTANT or (
            node.is_statement and all(shape == _CONSTANT_SHAPE for shape in inner)
        ):
            shapes[index] = _CONSTANT_SHAPE
        elif not node.arguments:
            shapes[index] = labels.get(node.operation, node.operation)
        else:
            row = FUNCTIONS[node.operation]
            free = len(inner) if row.commutative else _EXCHANGEABLE.get(node.operation, 0)
            text = "\0".join((node.operation, *sorted(inner[:free]), *inner[free:]))
            shapes[index] = blake2b(text.encode(), digest_size=12).hexdigest()
    return shapes

"""Equality saturation as a pass: the simplest equal form of one step, rewritten and explained."""

from __future__ import annotations

from collections.abc import Sequence

from optforge.equality import derivation
from optforge.equality.derivation import GUARDED, Change, DerivationStep, Link
from optforge.equality.explain import instances, needed_rows
from optforge.equality.graph import GRADIENT, LR, WEIGHT, state_leaf, to_graph, to_program
from optforge.equality.names import kinds_of, living_states, with_names
from optforge.equality.rules import RULES
from optforge.equality.saturate import ALL_REWRITES, EXACT_REWRITES, Bounds
from optforge.equality.simplest import Simplest, form_key, simplest
from optforge.equality.tidy import tidy
from optforge.language import Program


class Algebraic:
    """The pass that rewrites update and next states as one graph.

    Args:
        guards: Whether to use rows that are exact only up to the guard of a division.
        bounds: Bounds of the saturation.

    Example:
        >>> from optforge.language import load_rule
        >>> change = Algebraic(guards=False).apply(load_rule("nadam"))
        >>> "0.81" in change.program.text
        True
    """

    def __init__(self, guards: bool, bounds: Bounds | None = None) -> None:
        self.guards, self.bounds = guards, bounds
        self.rows: Sequence[int] = ALL_REWRITES if guards else EXACT_REWRITES
        self.timed_out = False  # whether the wall clock has ended a saturation

    def apply(self, program: Program) -> Change | None:
        """Rewrite the step if that makes it simpler."""
        graph = to_graph(program)
        simple_form = simplest(graph, self.rows, self.bounds)
        self.timed_out |= "time" in simple_form.stopped
        plain = tidy(graph)
        if form_key(simple_form.graph) >= form_key(plain):
            return None
        plain_form = to_program(simple_form.graph)
        left = living_states(plain_form)  # of the states that the graph began with
        before = living_states(program)
        names = [program.states[before[number]] for number in left]
        after = with_names(plain_form, program, names)
        if kinds_of(after) != tuple(graph.kinds[number] for number in left):
            return None  # a state that no longer sees the tree would broadcast differently
        rows = needed_rows(simple_form, self.bounds)
        kind = GUARDED if any(RULES[number].guard for number in rows) else derivation.EXACT
        figures = {"rounds": simple_form.rounds, "stopped by": list(simple_form.stopped)}
        why = self._why(simple_form, rows, program)
        step = DerivationStep(kind, program.text, after.text, why, figures)
        return Change(after, step, tuple(Link(before[number]) for number in left))

    def _why(self, simple_form: Simplest, rows: Sequence[int], program: Program) -> str:
        """Return the names of the rows that the form needs, apart from mere regrouping."""
        names = {WEIGHT: program.weight, GRADIENT: program.gradient, LR: program.lr}
        living = living_states(program)
        names |= {state_leaf(n): program.states[place] for n, place in enumerate(living)}
        parts = []
        for number in rows:
            row = RULES[number]
            if row.guard is not None:
                used = instances(simple_form, rows, number, names, self.bounds)
                where = "; or ".join(instance.text for instance in used)
                where = f" with {where}" if where else ""
                parts.append(f"{row.before} -> {row.after} (differs by at most {row.guard}{where})")
            elif not row.grows and _is_telling(row.before):
                parts.append(row.name)
        return f"equal by {'; '.join(parts)}" if parts else "equal by regrouping sums and products"


def _is_telling(before: str) -> bool:
    """Return whether a pattern is more than ordinary arithmetic."""
    return "(" in before.replace("(x", "x").replace("(y", "y") or before.count("interp") > 0

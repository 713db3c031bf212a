"""Simplification without training: passes repeated to a fixed point, every step checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optforge.equality.algebraic import Algebraic
from optforge.equality.derivation import (
    EXACT,
    GUARDED,
    Change,
    Derivation,
    DerivationStep,
    Link,
    Pass,
)
from optforge.equality.engine import fresh_engines
from optforge.equality.names import present
from optforge.equality.recurrences import Recurrences
from optforge.equality.saturate import Bounds
from optforge.equality.static import Static
from optforge.equality.verify import compare, demand
from optforge.errors import SimplifyError
from optforge.language import Program, parse

MOST_STEPS = 40
Say = Callable[[str], None]


@dataclass(frozen=True)
class Simplified:
    """A simple rule with its derivation.

    Args:
        program: The simple form, with conventional names.
        derivation: The proof that it equals the given rule.
        links: Each state as a multiple of a state of the given rule.
        stops: Limits that ended the search for a simpler form early, in words; another machine or
            higher limits may find another form.
    """

    program: Program
    derivation: Derivation
    links: tuple[Link, ...]
    stops: tuple[str, ...] = ()


def exact_passes(bounds: Bounds | None = None) -> tuple[Pass, ...]:
    """Return the passes of ``--exact`` in order: those that need no guard first."""
    first = (Static(), Algebraic(False, bounds), Recurrences(bounds))
    return (*first, Algebraic(True, bounds))


def simplify_exact(
    program: Program, bounds: Bounds | None = None, say: Say = lambda text: None
) -> Simplified:
    """Simplify a rule without training.

    Args:
        program: A valid program.
        bounds: Bounds of the saturation.
        say: Called with a sentence on what is being done.

    Raises:
        SimplifyError: If the check of a step fails.

    Example:
        >>> from optforge.language import load_rule
        >>> rule = load_rule("momentum_sgd")
        >>> simple = simplify_exact(rule)
        >>> len(rule.statements), len(simple.program.statements), simple.program.states
        (6, 4, ('momentum',))
    """
    return run_passes(program, exact_passes(bounds), say)


def run_passes(
    program: Program, passes: Sequence[Pass], say: Say = lambda text: None
) -> Simplified:
    """Run passes repeatedly until none of them finds a change, then assign names.

    After each step the first pass runs again. Steps that claim equality are checked by running both
    forms (:mod:`optforge.equality.verify`); empirical steps have their own figures.

    Raises:
        SimplifyError: If the check of a step fails.
    """
    steps: list[DerivationStep] = []
    links = tuple(Link(number) for number in range(len(program.states)))
    current = program
    while (next_step := _next(current, passes)) is not None and len(steps) < MOST_STEPS:
        change, step = next_step
        say(
            f"{len(current.statements)} statements -> {len(change.program.statements)}: {step.kind}"
        )
        steps.append(step)
        links = tuple(_joined(links, link) for link in change.links)
        current = change.program
    named = present(current)
    if named != current:
        why = "the same with the field's names, in the usual order"
        link = tuple(Link(number) for number in range(len(current.states)))
        renamed = Change(named, DerivationStep(EXACT, current.text, named.text, why), link)
        steps.append(_checked(renamed, current))
    derivation = Derivation(program.text, tuple(steps))
    derivation.check()
    stops = _stops(passes, next_step is not None)
    return Simplified(parse(derivation.end), derivation, links, stops)


def _stops(passes: Sequence[Pass], more: bool) -> tuple[str, ...]:
    """Return the limits that were reached and may have hidden a simpler form."""
    stops = []
    if any(isinstance(done, Algebraic | Recurrences) and done.timed_out for done in passes):
        stops.append("equality saturation met its limit of wall clock time")
    if more:
        stops.append(f"{MOST_STEPS} steps were taken, and more are not")
    return tuple(stops)


def _next(program: Program, passes: Sequence[Pass]) -> tuple[Change, DerivationStep] | None:
    """Return the next change and its checked step; a wrong change is tried a second time."""
    change = _first_change(program, passes)
    if change is None:
        return None
    try:
        return change, _checked(change, program)
    except SimplifyError:
        with fresh_engines():
            change = _first_change(program, passes)
    return None if change is None else (change, _checked(change, program))


def _first_change(program: Program, passes: Sequence[Pass]) -> Change | None:
    for simplifying_pass in passes:
        change = simplifying_pass.apply(program)
        if change is not None:
            return change
    return None


def _checked(change: Change, before: Program) -> DerivationStep:
    step = change.step
    if step.kind not in (EXACT, GUARDED):
        return step
    check = compare(before, change.program, change.links, guarded=step.kind == EXACT)
    demand(check, step.why)
    return replace(step, figures={**step.figures, **check.figures()})


def _joined(links: tuple[Link, ...], link: Link) -> Link:
    """Express a state by the states of the given rule."""
    if link.source is None or links[link.source].source is None:
        return Link(None)
    first = links[link.source]
    return Link(first.source, first.scale * link.scale)

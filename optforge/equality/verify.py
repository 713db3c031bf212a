"""Verification of a step: both forms run on random inputs, in float64 over several steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy import ndarray

from optforge.equality.derivation import Link
from optforge.equality.reference import Disturbance, ReferenceRule, Stepped, layout_for
from optforge.errors import SimplifyError
from optforge.language import Program

STEPS = 20
MULTIPLE = 1_000.0  # of the form's own response to one unit in the last place
_TRIALS = 6  # disturbed runs that measure the response
_SCALES = (0.3, 1.0, 0.01, 30.0)  # of gradients, one run each; weights are of scale 1
_FLOOR = 1e-15  # relative: what any two forms may differ by


@dataclass(frozen=True)
class Check:
    """Result of a comparison.

    Args:
        values: Number of compared values of updates and states.
        skipped: Number of skipped values, because the form before was not finite on the way.
        worst: Largest difference as a multiple of the response to one unit in the last place.
        difference: Largest absolute difference of an update with all guards in place.
    """

    values: int
    skipped: int
    worst: float
    difference: float

    @property
    def holds(self) -> bool:
        """Whether the two forms compute the same."""
        return self.worst <= MULTIPLE

    def figures(self) -> dict[str, Any]:
        """Return the figures for the derivation."""
        return {
            "values compared": self.values,
            "values skipped": self.skipped,
            "largest difference, in responses to one ulp": float(f"{self.worst:.3g}"),
            "largest difference of an update, guards included": float(f"{self.difference:.3g}"),
        }


def compare(
    before: Program, after: Program, links: Sequence[Link], guarded: bool = True, seed: int = 0
) -> Check:
    """Run both forms along the trajectories of the first, and compare every value.

    If all states of the simpler form are multiples of states before, both forms make each step from
    a common state, so that chaotic dynamics can neither hide nor cause a difference. Otherwise the
    simpler form keeps its own states from step to step, and only the updates are compared.

    Args:
        before: A program.
        after: A form of it that is claimed to be equal.
        links: Links of the states of ``after``.
        guarded: Whether divisions have their guard; False leaves it out on both sides.
        seed: Seed of the random inputs.

    Example:
        >>> from optforge.language import load_rule
        >>> one, other = load_rule("adamw"), load_rule("program_3")
        >>> compare(one, other, (Link(0), Link(1))).worst
        0.0
    """
    parts = [
        _Comparison(before, after, links, guarded).run(scale, seed + number)
        for number, scale in enumerate(_SCALES)
    ]
    return Check(
        sum(part.values for part in parts),
        sum(part.skipped for part in parts),
        max(part.worst for part in parts),
        max(part.difference for part in parts),
    )


def demand(check: Check, why: str) -> None:
    """Raise an error if the check of a step failed.

    Raises:
        SimplifyError: If the check failed; the message has its figures.
    """
    if not check.holds:
        raise SimplifyError(
            f"the check of a step failed ({why}): the forms differ by {check.worst:.3g} times the "
            f"response to one unit in the last place, {MULTIPLE:g} is allowed; please report the "
            "rule, and use it as it is"
        )


@dataclass(frozen=True)
class _Inputs:
    """The inputs of both forms of a step."""

    weights: ndarray
    gradients: ndarray
    lr: float
    moment: tuple[int, int]

    def step(
        self,
        rule: ReferenceRule,
        states: tuple[ndarray, ...],
        disturbed: Disturbance | None = None,
    ) -> Stepped:
        return rule.step(self.weights, self.gradients, states, self.lr, disturbed, self.moment)


class _Comparison:
    def __init__(
        self, before: Program, after: Program, links: Sequence[Link], guarded: bool
    ) -> None:
        layout = layout_for(before, after)
        self.elements = layout.elements
        self.one = ReferenceRule(before, guarded, layout)
        self.other = ReferenceRule(after, guarded, layout)
        self.guarded = guarded
        self.real_one = ReferenceRule(before, layout=layout)
        self.real_other = ReferenceRule(after, layout=layout)
        self.links = tuple(links)
        self.common = all(link.source is not None for link in self.links)

    def run(self, scale: float, seed: int) -> Check:
        source = numpy.random.default_rng(seed)
        weights = source.normal(size=self.elements)
        states, other_states = self.one.zeros(), self.other.zeros()
        values, skipped, worst, difference = 0, 0, 0.0, 0.0
        for step in range(STEPS):
            gradients = scale * (source.normal(size=self.elements) + 0.3)
            lr = 1.0 - step / (2 * STEPS)
            mine = self._linked(states) if self.common else other_states
            inputs = _Inputs(weights, gradients, lr, (step, STEPS))
            first = inputs.step(self.one, states)
            second = inputs.step(self.other, mine)
            response = first  # not asked for where all is equal bit for bit
            if not self._are_equal(first, second):
                response = self._response(inputs, states, first, source)
            for a, b, r, compared in self._pairs(first, second, response):
                values += int(compared.sum())
                skipped += int((~compared).sum())
                worst = max(worst, _multiple(a[compared], b[compared], r[compared]))
            steps = first, second
            if not self.guarded:
                steps = inputs.step(self.real_one, states), inputs.step(self.real_other, mine)
            difference = max(difference, _difference(*steps))
            other_states = second.states
            weights, states = _moved(weights, first), first.states
            if not all(numpy.isfinite(state).all() for state in self._linked(states)):
                weights, states, other_states = (
                    source.normal(size=self.elements),
                    self.one.zeros(),
                    self.other.zeros(),
                )
        return Check(values, skipped, worst, difference)

    def _are_equal(self, first: Stepped, second: Stepped) -> bool:
        pairs = self._pairs(first, second, first)
        return all(numpy.array_equal(a[compared], b[compared]) for a, b, _, compared in pairs)

    def _linked(self, states: tuple[ndarray, ...]) -> tuple[ndarray, ...]:
        known = [link for link in self.links if link.source is not None]
        return tuple(states[link.source or 0] * link.scale for link in known)

    def _response(
        self,
        inputs: _Inputs,
        states: tuple[ndarray, ...],
        exact: Stepped,
        source: numpy.random.Generator,
    ) -> Stepped:
        """Return the largest change of every value when everything is perturbed by one ulp."""
        update = _FLOOR * numpy.abs(exact.update)
        following = [_FLOOR * numpy.abs(state) for state in exact.states]
        with numpy.errstate(all="ignore"):
            others = inputs.step(self.one, states, Disturbance(_TRIALS, source))
            update = numpy.fmax(update, _largest(others.update - exact.update))
            following = [
                numpy.fmax(known, _largest(b - a))
                for known, a, b in zip(following, exact.states, others.states, strict=True)
            ]
        return Stepped(update, tuple(following), exact.clean)

    def _pairs(
        self, first: Stepped, second: Stepped, response: Stepped
    ) -> Iterator[tuple[ndarray, ndarray, ndarray, ndarray]]:
        yield first.update, second.update, response.update, _comparable(first.update, first.clean)
        if not self.common:
            return
        for link, mine in zip(self.links, second.states, strict=True):
            place = link.source or 0
            theirs, allowed = first.states[place], response.states[place]
            compared = _comparable(theirs, first.clean)
            yield theirs * link.scale, mine, allowed * abs(link.scale), compared


def _difference(before: Stepped, after: Stepped) -> float:
    compared = _comparable(before.update, before.clean)
    gap = numpy.abs(before.update[compared] - after.update[compared])
    return float(numpy.max(gap, initial=0.0))


def _largest(differences: ndarray) -> ndarray:
    """Return the largest absolute difference over the runs, those that are NaN aside."""
    return numpy.fmax.reduce(numpy.abs(numpy.atleast_2d(differences)))


def _comparable(value: ndarray, clean: ndarray) -> ndarray:
    """Return which elements were finite on the way; shared values need all elements finite."""
    if value.shape == clean.shape:
        return clean & numpy.isfinite(value)
    return numpy.isfinite(value) & bool(clean.all())


def _multiple(a: ndarray, b: ndarray, response: ndarray) -> float:
    """Return the largest difference in units of the response (infinite where that is zero)."""
    with numpy.errstate(all="ignore"):
        gap = numpy.where(a == b, 0.0, numpy.abs(a - b))
        units = numpy.where(gap == 0, 0.0, gap / response)
    return float(numpy.max(numpy.where(numpy.isnan(units), numpy.inf, units), initial=0.0))


def _moved(weights: ndarray, stepped: Stepped) -> ndarray:
    """Update the weights, but not so far that all later values become one huge number."""
    with numpy.errstate(all="ignore"):
        moved = weights - stepped.update
    return numpy.where(numpy.abs(moved) < 1e3, moved, weights)

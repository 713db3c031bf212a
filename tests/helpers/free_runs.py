"""Two forms of a rule run freely through the interpreter, against the rule's response to rounding.

Written without the product's own comparison: rounding is imitated by changing the text of the
program (a factor of one unit in the last place after every statement), what is finite on the way
is seen by handing out every value in turn as the update.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy
import torch
from numpy import ndarray

from optforge.analysis import live_program, state_kinds
from optforge.equality import Link
from optforge.language import Interpreter, Layout, Program, Statement

STEPS = 20
MULTIPLE = 1000.0  # of the rule's own response to one unit in the last place
CHAOTIC = 1e-5  # relative response, beyond which MULTIPLE times it would say little
_LAYOUT = Layout((4, 3, 1))
_RUNS, _ULP, _LARGEST = 6, 2.0**-52, 1e100


@dataclass
class Counts:
    """How values were compared: over free runs, step by step, or not, as they were not finite."""

    free: int = 0
    stepwise: int = 0
    skipped: int = 0
    chaotic: int = 0  # programs
    worst: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.free + other.free,
            self.stepwise + other.stepwise,
            self.skipped + other.skipped,
            self.chaotic + other.chaotic,
            max(self.worst, other.worst),
        )

    @property
    def compared(self) -> int:
        return self.free + self.stepwise


class Form:
    """A program ready to run in float64."""

    def __init__(self, program: Program) -> None:
        self.kinds = state_kinds(program)
        self.rule = Interpreter(program, self.kinds, _LAYOUT, torch.float64, arrays=True)

    def zeros(self) -> list[ndarray]:
        return self.rule.initial_states(1)

    def step(
        self, weights: ndarray, gradients: ndarray, states: Sequence[ndarray], lr: float
    ) -> list[ndarray]:
        """Return the update and the next states."""
        with numpy.errstate(all="ignore"):
            scalars = self.rule.scalars(lr)
            update, following = self.rule.step(weights, gradients, list(states), scalars)
        return [numpy.array(update), *(numpy.array(state) for state in following)]


class Seen:
    """A program of which every value is seen: each in turn takes the place of the update."""

    def __init__(self, program: Program) -> None:
        self.main = Form(program)
        now = {name: name for name in program.parameters}
        statements: list[Statement] = []
        for number, s in enumerate(program.statements):
            arguments = tuple(now[a] if isinstance(a, str) else a for a in s.arguments)
            now[s.target] = f"value_{number}"
            statements.append(Statement(now[s.target], s.function, arguments))
        states = tuple(now[name] for name in program.outputs[1:])
        zero = Statement("zero", "multiply", (program.weight, 0.0))  # an update is a tree
        self.parts = [
            Form(
                Program(
                    program.parameters,
                    (*statements, zero, Statement("seen", "add", (s.target, "zero"))),
                    ("seen", *states),
                )
            )
            for s in statements
        ]

    def step(
        self, weights: ndarray, gradients: ndarray, states: Sequence[ndarray], lr: float
    ) -> tuple[list[ndarray], list[ndarray]]:
        """Return update and next states, and all values on the way."""
        values = self.main.step(weights, gradients, states, lr)
        return values, [part.step(weights, gradients, states, lr)[0] for part in self.parts]


def compare_freely(program: Program, simple: Program, links: Sequence[Link], seed: int) -> Counts:
    """Compare a program with a form that is said to be equal.

    Raises:
        AssertionError: If a value differs by more than the multiple of the response.
    """
    source = numpy.random.default_rng(seed)
    one, other = Form(program), Form(simple)
    noisy = [Form(_disturbed(program, random.Random(seed + n))) for n in range(_RUNS)]
    weights = source.normal(size=(1, _LAYOUT.elements))
    gradients = source.normal(size=(STEPS, 1, _LAYOUT.elements)) + 0.3
    seen = Seen(live_program(program))
    base, clean = _run(one, weights, gradients), _clean(seen, weights, gradients)
    whole = next((n for n, mask in enumerate(clean) if not mask.all()), STEPS)
    wanted = [k for _, k, _ in _pairs(links)]
    response = _response(base, [_run(form, weights, gradients) for form in noisy], whole, wanted)
    if whole == STEPS and all(
        response[-1][k] <= CHAOTIC * max(numpy.abs(step[k]).max() for step in base) for k in wanted
    ):
        return _free(base, _run(other, weights, gradients), response, links)
    return _stepwise(one, other, noisy, seen, links, weights, gradients)


def _run(form: Form, weights: ndarray, gradients: ndarray) -> list[list[ndarray]]:
    states, found = form.zeros(), []
    for step in range(STEPS):
        values = form.step(weights, gradients[step], states, _rate(step))
        found.append(values)
        states = values[1:]
        weights = _moved(weights, values[0])
    return found


def _clean(seen: Seen, weights: ndarray, gradients: ndarray) -> list[ndarray]:
    """Return for each step and element whether all on the way to it was finite and moderate."""
    states, found = seen.main.zeros(), []
    for step in range(STEPS):
        values, inner = seen.step(weights, gradients[step], states, _rate(step))
        found.append(_mask([weights, *states, *values, *inner]))
        states = values[1:]
        weights = _moved(weights, values[0])
    return found


def _mask(values: Sequence[ndarray]) -> ndarray:
    clean = numpy.ones((1, _LAYOUT.elements), dtype=bool)
    for value in values:
        sound = numpy.abs(value) < _LARGEST  # False for NaN
        clean &= sound if sound.shape == clean.shape else bool(sound.all())
    return clean


def _response(
    base: list[list[ndarray]],
    noisy: list[list[list[ndarray]]],
    whole: int,
    wanted: Sequence[int],
) -> list[dict[int, float]]:
    """Return for each step and output the largest change so far; rounding of the value at least."""
    highest, found = dict.fromkeys(wanted, 0.0), []
    for step in range(whole):
        for k in wanted:
            value = base[step][k]
            with numpy.errstate(all="ignore"):
                changes = [_largest(run[step][k] - value) for run in noisy]
            highest[k] = max(highest[k], _ULP * _largest(value), *changes)
        found.append(dict(highest))
    return found


def _largest(value: ndarray) -> float:
    """Return the largest magnitude; infinity where one is no number."""
    return float(numpy.abs(numpy.nan_to_num(value, nan=numpy.inf)).max())


def _free(
    base: list[list[ndarray]],
    mine: list[list[ndarray]],
    response: list[dict[int, float]],
    links: Sequence[Link],
) -> Counts:
    counts = Counts()
    for step in range(STEPS):
        for place, k, scale in _pairs(links):
            gap = float(numpy.abs(mine[step][place] - base[step][k] * scale).max())
            _allow(counts, gap, response[step][k] * abs(scale))
            counts.free += base[step][k].size
    return counts


def _stepwise(
    one: Form,
    other: Form,
    noisy: Sequence[Form],
    seen: Seen,
    links: Sequence[Link],
    weights: ndarray,
    gradients: ndarray,
) -> Counts:
    """Take each step of both from a common state along the rule's own run."""
    counts = Counts(chaotic=1)
    states, watched = one.zeros(), seen.main.zeros()
    for step in range(STEPS):
        lr, gradient = _rate(step), gradients[step]
        values = one.step(weights, gradient, states, lr)
        full, inner = seen.step(weights, gradient, watched, lr)
        clean = _mask([weights, *watched, *full, *inner])
        if any(link.source is None for link in links):
            counts.skipped += sum(value.size for value in values)
        else:
            common = [states[link.source or 0] * link.scale for link in links]
            mine = other.step(weights, gradient, common, lr)
            changed = [form.step(weights, gradient, states, lr) for form in noisy]
            for place, k, scale in _pairs(links):
                _one_step(counts, values[k], mine[place], [c[k] for c in changed], scale, clean)
        states, watched = values[1:], full[1:]
        weights = _moved(weights, values[0])
    return counts


def _one_step(
    counts: Counts,
    value: ndarray,
    mine: ndarray,
    changed: Sequence[ndarray],
    scale: float,
    clean: ndarray,
) -> None:
    sound = clean if value.shape == clean.shape else numpy.full(value.shape, clean.all())
    sound = sound & numpy.isfinite(value)
    counts.skipped += int((~sound).sum())
    counts.stepwise += int(sound.sum())
    if sound.any():
        with numpy.errstate(all="ignore"):
            changes = [numpy.abs(other - value)[sound].max() for other in changed]
        response = numpy.fmax.reduce([_ULP * numpy.abs(value)[sound].max(), *changes])
        gap = numpy.abs(mine[sound] - value[sound] * scale).max()
        _allow(counts, float(gap), float(response) * abs(scale))


def _pairs(links: Sequence[Link]) -> list[tuple[int, int, float]]:
    """Places of what is compared: in the simple form, in the program, and the factor."""
    states = [
        (n + 1, link.source + 1, link.scale)
        for n, link in enumerate(links)
        if link.source is not None
    ]
    return [(0, 0, 1.0), *states]


def _allow(counts: Counts, gap: float, response: float) -> None:
    assert gap <= MULTIPLE * response, (gap, response)
    if gap > 0:
        counts.worst = max(counts.worst, gap / response)


def _moved(weights: ndarray, update: ndarray) -> ndarray:
    """Move the weights, but not so far that all that follows is one huge number."""
    with numpy.errstate(all="ignore"):
        moved = weights - update
    return numpy.where(numpy.abs(moved) < 1e3, moved, weights)


def _rate(step: int) -> float:
    return 1.0 - step / (2 * STEPS)


def _disturbed(program: Program, source: random.Random) -> Program:
    """Multiply constants and the value of every statement by 1 or a number next to it."""

    def factor() -> float:
        return 1.0 + source.choice((-_ULP, 0.0, _ULP))

    statements = []
    for s in program.statements:
        arguments = tuple(a * factor() if isinstance(a, float) else a for a in s.arguments)
        statements.append(Statement(s.target, s.function, arguments))
        statements.append(Statement(s.target, "multiply", (s.target, factor())))
    first = [Statement(name, "multiply", (name, factor())) for name in program.parameters]
    return Program(program.parameters, (*first, *statements), program.outputs)

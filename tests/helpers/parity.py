"""Does something else compute what the interpreter computes, element by element, in float64?

The measure is the program's own response to rounding: the interpreter runs a few times more, with
inputs and the result of every statement moved by one unit in the last place. A path is right if
it stays within :data:`MULTIPLE` of the largest such response. Where a program turns non-finite or
amplifies rounding (chaos), each step is compared from a common state instead.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from optforge.analysis import live_program, state_kinds
from optforge.language import Interpreter, Kind, Layout, Program, Statement
from optforge.language.layout import layout_of

Array = NDArray[np.float64]
States = list[Array]  # of the live program, in order: [1], [arrays] or [elements]

MULTIPLE = 100.0  # of the response, or of one unit in the last place of the weights if it is larger
CHAOS = 1e-7  # a response of more than this, relative to the weights, is compared step by step
PERTURBATIONS = 6
EPS = float(np.finfo(np.float64).eps)


class Subject(Protocol):
    """What is compared: something that holds weights and states and makes steps."""

    def put(self, weights: Array, states: States, step: int = 0) -> None:
        """Go on from here, after so many steps; weights are one row, array after array."""
        ...

    def step(self, gradient: Array, schedule: float) -> None:
        """Make one step, with this schedule value (1 is the peak)."""
        ...

    def get(self) -> tuple[Array, States]:
        """Return weights and states as they are now."""
        ...


@dataclass(frozen=True)
class Scenario:
    """Weights, gradients and a schedule: a warm-up, then a cosine down to 0.1."""

    shapes: tuple[tuple[int, ...], ...] = ((3, 2), (4,), (), (0,), (1, 2))
    steps: int = 100
    seed: int = 0
    scale: float = 1.0
    matrices: tuple[bool, ...] | None = None  # hidden matrices, if not all that have two sides

    @property
    def layout(self) -> Layout:
        """With their rows and columns; what has two sides is a hidden matrix."""
        return layout_of(self.shapes, matrices=self.matrices)

    @property
    def schedule(self) -> list[float]:
        rising = max(1, self.steps // 10)
        falling = [0.55 + 0.45 * np.cos(np.pi * i / self.steps) for i in range(self.steps)]
        return [(i + 1) / rising if i < rising else float(falling[i]) for i in range(self.steps)]

    def draw(self) -> tuple[Array, Array]:
        """Weights ``[elements]`` and gradients ``[steps, elements]`` of several scales."""
        source, count = np.random.default_rng(self.seed), self.layout.elements
        weights = source.normal(size=count)
        scales = self.scale * 10.0 ** source.uniform(-2, 0, count)
        return weights, scales * (source.normal(size=(self.steps, count)) + 0.3)


@dataclass
class Verdict:
    """How a comparison went.

    Args:
        by_step: Whether steps were compared from common states.
        worst: Largest error, as a multiple of what the program does to one unit.
        undetermined: Elements that rounding alone turns finite or non-finite, not compared.
        compared: Elements compared.
        errors: What was wrong.
    """

    by_step: bool = False
    worst: float = 0.0
    undetermined: int = 0
    compared: int = 0
    errors: list[str] = field(default_factory=list)


class Reference:
    """The interpreter in float64, exact or with rounding moved; `total` steps are a whole run."""

    def __init__(
        self, program: Program, layout: Layout, perturb: int | None = None, total: int = 1
    ) -> None:
        lean, self.total = live_program(program), total
        self.kinds = state_kinds(lean)
        self.source = None if perturb is None else np.random.default_rng(perturb)
        program = lean if perturb is None else perturbed(lean, random.Random(perturb))
        self.rule = Interpreter(program, self.kinds, layout, torch.float64)

    def zeros(self) -> States:
        return [state.numpy()[0] for state in self.rule.initial_states(1)]

    def step(
        self, weights: Array, states: States, gradient: Array, schedule: float, step: int = 0
    ) -> tuple[Array, States]:
        w, g = (torch.from_numpy(self.moved(x))[None] for x in (weights, gradient))
        inputs = [torch.from_numpy(self.moved(s))[None] for s in states]
        scalars = self.rule.scalars(schedule, step, self.total)
        update, following = self.rule.step(w, g, inputs, scalars)
        return (w - update).numpy()[0].copy(), [s.numpy()[0].copy() for s in following]

    def moved(self, values: Array) -> Array:
        if self.source is None:
            return values.copy()
        towards = self.source.choice([-np.inf, np.inf], size=values.shape)
        with np.errstate(all="ignore"):
            return np.where(
                np.isfinite(values) & (values != 0), np.nextafter(values, towards), values
            )


def perturbed(lean: Program, source: random.Random) -> Program:
    """The same program, the result of each statement moved by one unit in the last place."""
    statements: list[Statement] = []
    for statement in lean.statements:
        factor = source.choice((1.0 + EPS, 1.0 - EPS))
        factor = 1.0 if statement.function == "get_step" else factor  # it is exact
        statements += [
            statement,
            Statement(statement.target, "multiply", (statement.target, factor)),
        ]
    return Program(lean.parameters, tuple(statements), lean.outputs)


def compare(program: Program, subject: Subject, scenario: Scenario) -> Verdict:
    """Compare a subject with the interpreter: a whole path, or step by step where that must be."""
    course = _course(program, scenario)
    if course.steps:
        with np.errstate(all="ignore"):
            return _by_step(course, subject, scenario)
    subject.put(scenario.draw()[0], course.zeros)
    verdict, pairs = Verdict(), zip(scenario.draw()[1], scenario.schedule, strict=True)
    for number, (gradient, lr) in enumerate(pairs):
        subject.step(gradient, lr)
        got = subject.get()[0]
        _judge(verdict, got, course.path[number], course.unit[number], f"step {number}")
    return verdict


@dataclass(frozen=True)
class Step:
    """A step from a common state: where it begins, the rows it leads to, exact and moved."""

    weights: Array
    states: States
    want: Array
    moved: list[Array]


@dataclass(frozen=True)
class Course:
    """What the interpreter computes: a whole path and its response, or single steps."""

    zeros: States
    path: Array
    unit: Array
    steps: tuple[Step, ...] = ()


@lru_cache(maxsize=1024)
def _course(program: Program, scenario: Scenario) -> Course:
    """Run the interpreter; what is compared in several ways is run once."""
    weights, gradients = scenario.draw()
    layout, total = scenario.layout, scenario.steps
    exact = Reference(program, layout, total=total)
    others = [Reference(program, layout, p, total) for p in range(PERTURBATIONS)]
    path = _path(exact, weights, gradients, scenario.schedule)
    with np.errstate(all="ignore"):
        moved = [_path(other, weights, gradients, scenario.schedule) for other in others]
        tame = np.isfinite(path).all() and all(np.isfinite(other).all() for other in moved)
        response = np.max([np.abs(other - path) for other in moved], axis=0)
        size = np.maximum.accumulate(np.abs(path), axis=0)
        unit = np.maximum(np.maximum.accumulate(response, axis=0), EPS * size) + 1e-300
        if not tame or (response > CHAOS * (size + 1e-3)).any():
            steps = tuple(_steps(exact, others, scenario))
            return Course(exact.zeros(), path, unit, steps)
    return Course(exact.zeros(), path, unit)


def _path(rule: Reference, weights: Array, gradients: Array, lrs: Sequence[float]) -> Array:
    states, path = rule.zeros(), []
    for number, (gradient, lr) in enumerate(zip(gradients, lrs, strict=True)):
        weights, states = rule.step(weights, states, gradient, lr, number)
        path.append(weights)
    return np.stack(path)


def _steps(exact: Reference, others: list[Reference], scenario: Scenario) -> Iterator[Step]:
    weights, gradients = scenario.draw()
    states = exact.zeros()
    for number, (gradient, lr) in enumerate(zip(gradients, scenario.schedule, strict=True)):
        moved = [_row(*other.step(weights, states, gradient, lr, number)) for other in others]
        following = exact.step(weights, states, gradient, lr, number)
        yield Step(weights, states, _row(*following), moved)
        weights, states = following
        if not np.isfinite(weights).all():  # all later steps would compare NaN with NaN
            weights, states = scenario.draw()[0], exact.zeros()


def _by_step(course: Course, subject: Subject, scenario: Scenario) -> Verdict:
    verdict, pairs = Verdict(by_step=True), zip(scenario.draw()[1], scenario.schedule, strict=True)
    for number, (step, (gradient, lr)) in enumerate(zip(course.steps, pairs, strict=True)):
        subject.put(step.weights, step.states, number)
        subject.step(gradient, lr)
        got = _row(*subject.get())
        kept = subject.kept() if isinstance(subject, TorchSubject) else np.full(got.shape, True)
        moved = [other[kept] for other in step.moved]
        _judge_step(verdict, got[kept], step.want[kept], moved, f"step {number}")
    return verdict


def _row(weights: Array, states: States) -> Array:
    return np.concatenate([weights, *states])


def _judge_step(verdict: Verdict, got: Array, want: Array, moved: list[Array], where: str) -> None:
    """Judge what is determined: where rounding alone does not change finiteness or infinities."""
    with np.errstate(all="ignore"):
        response = np.max([np.abs(other - want) for other in moved], axis=0)
        alike = np.all([np.isfinite(other) == np.isfinite(want) for other in moved], axis=0)
        infinite = ~np.isfinite(want)
        alike &= ~infinite | np.all([_same(other, want) for other in moved], axis=0)
        edge = np.abs(want) > 1e300  # rounding may carry it over the edge
    verdict.undetermined += int((~alike | edge).sum())
    for values in np.flatnonzero(alike & infinite & ~_same(got, want)):
        verdict.errors.append(f"{where}, element {values}: {got[values]}, not {want[values]}")
    kept = alike & ~infinite & ~edge
    unit = np.maximum(response[kept], EPS * np.abs(want[kept])) + 1e-300
    _judge(verdict, got[kept], want[kept], unit, where)


def _same(x: Array, y: Array) -> NDArray[np.bool_]:
    return (x == y) | (np.isnan(x) & np.isnan(y))


def _judge(verdict: Verdict, got: Array, want: Array, unit: Array, where: str) -> None:
    error = np.abs(got - want) / unit
    error = np.where(np.isnan(error), np.inf, error)
    verdict.compared += error.size
    if error.size:
        verdict.worst = max(verdict.worst, float(error.max()))
    if (error > MULTIPLE).any():
        i = int(error.argmax())
        verdict.errors.append(f"{where}, element {i}: {got[i]!r}, not {want[i]!r} ({error[i]:.3g})")


class TorchSubject:
    """An optimizer of torch whose states have the program's names, in `optimizer.state`.

    Args:
        optimizer: Over one float64 parameter for each shape of the scenario, in order.
        program: Whose live states they are.
        schedule: Name of the entry of a group that holds the schedule value; None: ``lr`` is
            set to the schedule's share of its first value, as a scheduler does.
        layout: Of the scenario; by default all arrays with two sides are hidden matrices.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        program: Program,
        schedule: str | None = "schedule",
        layout: Layout | None = None,
    ) -> None:
        lean = live_program(program)
        self.optimizer, self.schedule = optimizer, schedule
        self.names, self.kinds = lean.states, state_kinds(lean)
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.layout = layout or layout_of([p.shape for p in self.parameters])

    def keeps(self, parameter: torch.Tensor, name: str) -> bool:
        """Whether a state is kept for a parameter; one that its array never reads need not be."""
        return True

    def kept(self) -> NDArray[np.bool_]:
        """Of weights and states, those that are kept."""
        parts = [np.ones(self.layout.elements, dtype=bool)]
        for name, kind in zip(self.names, self.kinds, strict=True):
            keeps = [self.keeps(p, name) for p in self.parameters]
            sizes = self.layout.sizes_of(kind) if kind >= Kind.TREE else 1
            parts.append(np.array([True]) if kind == Kind.SCALAR else np.repeat(keeps, sizes))
        return np.concatenate(parts)

    def put(self, weights: Array, states: States, step: int = 0) -> None:
        for group in self.optimizer.param_groups:
            group |= {"step": step} if "step" in group else {}
        parts = self._parts(weights)
        values = dict(zip(self.names, zip(self.kinds, states, strict=True), strict=True))
        group_of = {
            p: number for number, g in enumerate(self.optimizer.param_groups) for p in g["params"]
        }
        scalars = [  # each group has its own, that all of its parameters share
            {n: torch.tensor(s[0]) for n, (k, s) in values.items() if k == 0}
            for _ in self.optimizer.param_groups
        ]
        for i, (parameter, part) in enumerate(zip(self.parameters, parts, strict=True)):
            parameter.data.copy_(part)
            for name, (kind, state) in values.items():
                if not self.keeps(parameter, name):
                    continue
                whole = self._parts(state, kind)[i].clone() if kind >= Kind.TREE else None
                one = (
                    torch.tensor(state[i]) if kind == 1 else scalars[group_of[parameter]].get(name)
                )
                self.optimizer.state[parameter][name] = one if whole is None else whole

    def _parts(self, row: Array, kind: int = Kind.TREE) -> list[torch.Tensor]:
        parts = torch.split(torch.from_numpy(row.copy()), list(self.layout.sizes_of(kind)))
        shapes = self.layout.shapes_of(kind)
        return [
            part.view(shape if kind > Kind.TREE and is_matrix else p.shape)
            for part, shape, p, is_matrix in zip(
                parts, shapes, self.parameters, self.layout.matrices, strict=True
            )
        ]

    def step(self, gradient: Array, schedule: float) -> None:
        for parameter, part in zip(self.parameters, self._parts(gradient), strict=True):
            parameter.grad = part.clone()
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            if self.schedule is None:
                group["lr"] = schedule * peak
            else:
                group[self.schedule] = schedule
        self.optimizer.step()

    def get(self) -> tuple[Array, States]:
        weights = torch.cat([p.detach().flatten() for p in self.parameters]).numpy().copy()
        return weights, [self._state(n, k) for n, k in zip(self.names, self.kinds, strict=True)]

    def _state(self, name: str, kind: int) -> Array:
        values: list[Any] = [self.optimizer.state[p].get(name) for p in self.parameters]
        values = values[:1] if kind == 0 else values
        sizes = self.layout.sizes_of(kind) if kind >= Kind.TREE else [1] * len(values)
        parts = [
            torch.zeros(size).double() if v is None else v.detach().double().flatten()
            for v, size in zip(values, sizes, strict=True)
        ]
        return torch.cat(parts).numpy().copy()


def parameters_of(scenario: Scenario) -> list[torch.nn.Parameter]:
    """One float64 parameter for each shape of a scenario."""
    return [torch.nn.Parameter(torch.zeros(s, dtype=torch.float64)) for s in scenario.shapes]

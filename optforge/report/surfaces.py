"""Paths of rules over surfaces of two weights, which show what the shape of an update does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optforge.analysis import lift, live_program, state_kinds
from optforge.language import Interpreter, Layout, Program

STEPS = 300
# Of the learning rate that a rule has, eight to a decade: from 1e-5 to 10.
RATES = tuple(10 ** (number / 8 - 5) for number in range(49))
_TURN = math.radians(30)  # of the quadratic, so that its axes are not those of the weights


@dataclass(frozen=True)
class Surface:
    """A function of two weights.

    Args:
        name: Its name.
        value: Maps weights ``[rows, 2]`` to values ``[rows]``, at least 0.
        start: Where every path begins.
        minima: Where it is 0.
        sides: What is drawn: the first weight's limits, then the second's.

    Example:
        >>> [(surface.name, surface.start) for surface in SURFACES][:2]
        [('Rosenbrock', (-1.2, 1.0)), ('Beale', (1.0, 1.5))]
    """

    name: str
    value: Callable[[Tensor], Tensor]
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    sides: tuple[tuple[float, float], tuple[float, float]]


def _rosenbrock(w: Tensor) -> Tensor:
    x, y = w.unbind(1)
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def _beale(w: Tensor) -> Tensor:
    x, y = w.unbind(1)
    terms = zip((1.5, 2.25, 2.625), (1, 2, 3), strict=True)
    return torch.stack([(c - x + x * y**power) ** 2 for c, power in terms]).sum(0)


def _saddle(w: Tensor) -> Tensor:
    x, y = w.unbind(1)
    return x**2 + (y**2 - 1) ** 2 / 4


def _quadratic(w: Tensor) -> Tensor:
    x, y = w.unbind(1)
    along = math.cos(_TURN) * x + math.sin(_TURN) * y
    across = math.cos(_TURN) * y - math.sin(_TURN) * x
    return (along**2 + 100 * across**2) / 2


SURFACES = (
    Surface("Rosenbrock", _rosenbrock, (-1.2, 1.0), ((1.0, 1.0),), ((-2.0, 2.0), (-1.0, 3.0))),
    Surface("Beale", _beale, (1.0, 1.5), ((3.0, 0.5),), ((-0.5, 4.0), (-1.5, 2.0))),
    Surface(
        "saddle between two minima",
        _saddle,
        (1.5, 0.01),
        ((0.0, 1.0), (0.0, -1.0)),
        ((-1.0, 2.0), (-1.5, 1.5)),
    ),
    Surface(
        "quadratic, condition 100",
        _quadratic,
        (-1.8, 0.6),
        ((0.0, 0.0),),
        ((-2.2, 1.0), (-1.6, 1.6)),
    ),
)


@dataclass(frozen=True)
class Trajectory:
    """The way of a rule over a surface, at the best of :data:`RATES`.

    Args:
        weights: Where it was before each step and after the last, float64 ``[steps + 1, 2]``.
        values: The surface there, float64 ``[steps + 1]``.
        rate: The learning rate.
    """

    weights: Tensor
    values: Tensor
    rate: float


def trajectory(program: Program, surface: Surface, steps: int = STEPS) -> Trajectory:
    r"""Minimize a surface by a rule without weight decay, at every rate, and return the best way.

    The schedule is half a cosine without warm-up, :math:`(1 + \cos(\pi t / T)) / 2`. The best rate
    is that with the lowest value at the end.

    Args:
        program: The rule; its other constants stay.
        surface: The surface.
        steps: Number of steps T.

    Raises:
        ProgramError: If the kinds of the rule's values do not match.

    Example:
        >>> from optforge.language import load_rule
        >>> float(trajectory(load_rule("lion"), SURFACES[3]).values[-1]) < 1e-3
        True
    """
    rule = _Undecayed(program)
    weights = torch.tensor(surface.start, dtype=torch.float64).repeat(len(RATES), 1)
    states, ways = rule.interpreter.initial_states(len(RATES)), [weights]
    for scalars in rule.interpreter.schedule(_cosine(steps)):
        gradients = _gradients(surface, weights)
        update, states = rule.interpreter.step(weights, gradients, states, scalars)
        weights = weights - rule.factors * update
        ways.append(weights)
    way = torch.stack(ways)  # [steps + 1, rates, 2]
    ends = surface.value(way[-1]).nan_to_num(nan=math.inf)
    best = int(ends.argmin())
    return Trajectory(way[:, best], surface.value(way[:, best]), RATES[best])


class _Undecayed:
    """A rule without decay; ``factors`` ``[rates, 1]`` bring its update to each rate."""

    def __init__(self, program: Program) -> None:
        lifted = lift(program)
        none = {name: 0.0 for name in lifted.values if name == "weight_decay"}
        lean = live_program(lifted.with_values(none))
        self.interpreter = Interpreter(lean, state_kinds(lean), Layout((2,)), torch.float64)
        rates = torch.tensor(RATES, dtype=torch.float64)
        self.factors = (rates / lifted.values["lr"]).unsqueeze(1)


def _cosine(steps: int) -> list[float]:
    return [(1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]


def _gradients(surface: Surface, weights: Tensor) -> Tensor:
    leaves = weights.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(surface.value(leaves).sum(), leaves)
    return gradients

"""Warnings where steps are too small for the weights to move."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.optim.settings import as_float
from optforge.optim.steps.layout import local, real

END = 1e-3  # a rate under this share of its peak is the end of a schedule, where little is to move


@dataclass
class _Rates:
    """What was seen of a group: steps, the last and the highest rate, the rate of the last look."""

    steps: int = 0
    last: float = 0.0
    peak: float = 0.0
    looked: float = math.inf
    is_warned: bool = False


class _Check:
    """Looks at a group once, and again whenever its rate has fallen to a tenth since.

    It does not look while the rate rises, nor at the end of a schedule: steps too small to move a
    weight are nothing to warn of there.
    """

    first = 2  # step of the first look

    def __init__(self) -> None:
        self._seen: defaultdict[int, _Rates] = defaultdict(_Rates)

    def is_due(self, number: int, rate: float) -> bool:
        """Return whether to look in this step, at a group by its number; no if it was warned of."""
        seen = self._seen[number]
        rises = rate > seen.last
        seen.steps, seen.last, seen.peak = seen.steps + 1, rate, max(rate, seen.peak)
        if seen.is_warned or rises or seen.steps < self.first:
            return False
        if not 0 < END * seen.peak <= rate <= 0.1 * seen.looked:
            return False
        seen.looked = rate
        return True

    def warn(self, number: int, lost: Sequence[Tensor], text: str) -> None:
        """Warn once of the weights of a group that are lost, if there are any."""
        if lost:
            self._seen[number].is_warned = True
            dtypes = ", ".join(sorted({str(weight.dtype) for weight in lost}))
            warnings.warn(text.format(count=len(lost), dtypes=dtypes), stacklevel=5)


class ResolutionCheck(_Check):
    """Warns before a step of Lion that is lost to rounding, first in step 2 of a group.

    A weight w moves in steps of about eps |w|; a learning rate under half of that, for the root
    mean square of a parameter's weights, is lost if weights are rounded to nearest. Stochastic
    rounding and Kahan's compensation lose nothing, so their 16-bit weights are not looked at.
    """

    def __call__(self, group: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """Check a group before its step.

        Args:
            group: The parameter group.
            parameters: Those that are stepped.
        """
        number, lr = id(group), as_float(group["lr"])
        if not self.is_due(number, lr):
            return
        weights = [real(local(parameter.detach())) for parameter in parameters]
        weights = [weight for weight in weights if weight.numel()]  # a rank may have no rows
        # A differentiable step rounds to nearest, since nothing else has a derivative.
        rounding = "nearest" if group["differentiable"] else group["rounding"]
        self.warn(
            number,
            [weight for weight in weights if _is_lost(weight, lr, rounding)],
            f"lr={lr:g} is under the resolution of {{count}} of {len(weights)} parameters "
            "({dtypes}): most of their weights cannot move. Use a higher rate, wider weights, or "
            "rounding='stochastic' or 'kahan' for 16-bit weights (no differentiable step has "
            "these)",
        )


class StallCheck(_Check):
    """Warns after a step of a rule that is lost to the rounding of 16-bit weights.

    How long the step of any rule is cannot be read off its rate, as it can for Lion, so this
    compares the weights before and after, first in step 10 of a group.
    """

    first = 10  # the first steps of rules with momentum are smaller than those that follow

    def before(self, number: int, group: Mapping[str, Any], active: Sequence[Tensor]) -> list[Any]:
        """Return 16-bit weights with copies of them if this step is one to look at."""
        if not self.is_due(number, as_float(group["schedule"]) * as_float(group["lr"])):
            return []
        narrow = [p for p in active if p.dtype.itemsize == 2 and p.numel()]
        return [(p, p.detach().clone()) for p in narrow]

    def after(self, number: int, group: Mapping[str, Any], copies: Sequence[Any]) -> None:
        """Compare the weights with the copies."""
        self.warn(
            number,
            [weight for weight, old in copies if _stayed(weight, old)],
            f"lr={as_float(group['lr']):g}: the step is under the resolution of {{count}} of "
            f"{len(copies)} 16-bit parameters ({{dtypes}}); most of their weights did not move. "
            "Use a higher rate, or float32 weights (with autocast for speed)",
        )


def _is_lost(weight: Tensor, lr: float, rounding: str | None) -> bool:
    if weight.dtype.itemsize == 2 and rounding != "nearest":
        return False
    wide = weight if weight.dtype == torch.float64 else weight.to(torch.float32)
    typical = float(torch.linalg.vector_norm(wide)) / weight.numel() ** 0.5
    return lr < typical * torch.finfo(weight.dtype).eps / 4


def _stayed(weight: Tensor, old: Tensor) -> bool:
    """Return whether most weights that have a gradient stayed; of those that are on this rank."""
    assert weight.grad is not None
    new, before, gradient = map(local, (weight.detach(), old, weight.grad))
    driven = (gradient != 0) & torch.isfinite(gradient)
    return bool(((new == before) & driven).sum() * 2 > driven.sum())

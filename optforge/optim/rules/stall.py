"""A warning where the steps of a rule are too small for 16-bit weights to move."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

LOOK = 10  # the first steps of rules with momentum are smaller than those that follow


class StallCheck:
    """Warns once for each group whose steps are lost to the rounding of 16-bit weights.

    A 16-bit weight w moves in steps of about eps |w|, and is rounded to the nearest. How long the
    step of any rule is cannot be read off its rate, as it can for Lion (`ResolutionCheck`), so this
    compares the weights before and after. Looked at in step 10 of a group, and again once its rate
    has fallen to a tenth.
    """

    def __init__(self) -> None:
        self._steps: dict[int, int] = {}
        self._looked: dict[int, float] = {}
        self._warned: set[int] = set()

    def before(self, number: int, group: Mapping[str, Any], active: Sequence[Tensor]) -> list[Any]:
        """Give 16-bit weights with copies of them if this step is one to look at."""
        rate = float(group["schedule"]) * float(group["lr"])
        self._steps[number] = self._steps.get(number, 0) + 1
        rested = rate <= 0 or rate > 0.1 * self._looked.get(number, float("inf"))
        if number in self._warned or self._steps[number] < LOOK or rested:
            return []
        self._looked[number] = rate
        narrow = [p for p in active if p.dtype.itemsize == 2 and p.numel()]
        return [(p, p.detach().clone()) for p in narrow]

    def after(self, number: int, group: Mapping[str, Any], copies: Sequence[Any]) -> None:
        """Compare the weights with the copies."""
        lost = [weight for weight, old in copies if _is_lost(weight, old)]
        if lost:
            self._warned.add(number)
            dtypes = ", ".join(sorted({str(weight.dtype) for weight in lost}))
            warnings.warn(
                f"lr={float(group['lr']):g}: the step is under the resolution of {len(lost)} of "
                f"{len(copies)} 16-bit parameters ({dtypes}); most of their weights did not move. "
                "Use a higher rate, or float32 weights (with autocast for speed)",
                stacklevel=4,
            )


def _is_lost(weight: Tensor, old: Tensor) -> bool:
    """Tell whether most weights that have a gradient stayed; of those that are on this rank."""
    gradient = weight.grad
    assert gradient is not None
    new, old, gradient = (
        t.to_local() if isinstance(t, DTensor) else t for t in (weight.detach(), old, gradient)
    )
    driven = (gradient != 0) & torch.isfinite(gradient)
    return bool(((new == old) & driven).sum() * 2 > driven.sum())

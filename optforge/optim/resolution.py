"""A warning where a step is too small for the weights to move."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.optim.steps.flat import local, real


class ResolutionCheck:
    """Warns once for each group whose step is lost to rounding.

    A weight w moves in steps of about eps |w|; a learning rate under half of that, for the root
    mean square of a parameter's weights, is lost if weights are rounded to nearest. Looked at in
    the first step and whenever the rate has fallen to a tenth since. Stochastic rounding and
    Kahan's compensation lose nothing, so their 16-bit weights are not looked at.
    """

    def __init__(self) -> None:
        self._checked: dict[int, float] = {}
        self._warned: set[int] = set()

    def __call__(self, group: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
        """Look at a group before its step.

        Args:
            group: The parameter group.
            parameters: Those that are stepped.
        """
        number, lr = id(group), float(group["lr"])
        if number in self._warned or lr <= 0 or lr > 0.1 * self._checked.get(number, 1e30):
            return
        self._checked[number] = lr
        weights = [real(local(parameter.detach())) for parameter in parameters]
        weights = [weight for weight in weights if weight.numel()]  # a rank may have no rows
        # A differentiable step rounds to nearest, since nothing else has a derivative.
        rounding = "nearest" if group["differentiable"] else group["rounding"]
        lost = [weight for weight in weights if _is_lost(weight, lr, rounding)]
        if lost:
            self._warned.add(number)
            dtypes = ", ".join(sorted({str(weight.dtype) for weight in lost}))
            warnings.warn(
                f"lr={lr:g} is under the resolution of {len(lost)} of {len(weights)} parameters "
                f"({dtypes}): most of their weights cannot move. Use a higher rate, wider weights, "
                "or rounding='stochastic' or 'kahan' for 16-bit weights (no differentiable step "
                "has these)",
                stacklevel=4,
            )


def _is_lost(weight: Tensor, lr: float, rounding: str | None) -> bool:
    if weight.dtype.itemsize == 2 and rounding != "nearest":
        return False
    wide = weight if weight.dtype == torch.float64 else weight.to(torch.float32)
    typical = float(torch.linalg.vector_norm(wide)) / weight.numel() ** 0.5
    return lr < typical * torch.finfo(weight.dtype).eps / 4

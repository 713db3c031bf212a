"""What the diagnostics keep and count for one parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from optforge.optim.state import momentum_of
from optforge.optim.steps.layout import local, real
from optforge.optim.steps.update import Step, StepNumbers, ascent, direction

# What `ParameterWatch.after` counts, in this order.
COUNTS = (
    *("elements", "active", "near", "agreeing", "decided", "flips", "compared"),
    *("reversals", "moves", "nonfinite", "update_squares", "weight_squares", "frozen", "poisoned"),
)
_MOST = 2**15 - 1


class ParameterWatch:
    """Counts for one parameter what a step decides and what it then does.

    Args:
        name: Of the parameter.
        oracle: Whether to carry a float64 momentum along.
        near: |c| is near zero up to this share of its root mean square.
        patience: Measured steps without a move until an element is frozen.
    """

    def __init__(self, name: str, oracle: bool, near: float, patience: int) -> None:
        self.name = name
        self.near, self.patience = near, patience
        self.total = 0  # non-finite elements of the gradient so far
        self.looked = False
        self._oracle = oracle
        self._reference: Tensor | None = None  # the float64 momentum
        self._signs: Tensor | None = None  # of the last measured decision
        self._unmoved: Tensor | None = None  # measured steps since an element moved
        self._weight: Tensor | None = None
        self._counts: dict[str, Tensor | int] = {}

    def before(
        self, parameter: Tensor, entry: Mapping[str, Any], step: Step, measured: bool
    ) -> None:
        """Measure gradient and stored momentum; nothing is changed."""
        gradient = _gradient(parameter, step)
        finite = gradient.isfinite()
        self.looked = True
        self.nonfinite = (~finite).sum()
        self._counts = {"nonfinite": self.nonfinite, "elements": gradient.numel()}
        if not (measured or (self._oracle and self._reference is None)):
            return
        momentum = _momentum(entry, parameter.shape, gradient)
        if self._oracle and self._reference is None:
            self._reference = momentum.clone()
        if measured:
            self._weight = _plain(parameter).clone()
            self._decide(gradient, momentum, finite & momentum.isfinite(), step.numbers)

    def _decide(
        self, gradient: Tensor, momentum: Tensor, active: Tensor, numbers: StepNumbers
    ) -> None:
        c = torch.where(active, direction(gradient, momentum, numbers), 0.0)
        size = active.sum()
        rms = (c.square().sum() / size.clamp(min=1)).sqrt()
        both = torch.where(active, gradient.sign() * momentum.sign(), 0.0)
        signs = c.sign().to(torch.int8)
        self._counts |= {
            "active": size,
            "near": (active & (c.abs() <= self.near * rms)).sum(),
            "agreeing": (both > 0).sum(),
            "decided": (both != 0).sum(),
        }
        if self._reference is not None:
            exact = direction(gradient, self._reference, numbers)
            compared = active & exact.isfinite()
            differ = compared & (exact.sign().to(torch.int8) != signs)
            self._counts |= {"flips": differ.sum(), "compared": compared.sum()}
        if self._signs is not None:
            turned = self._signs * signs
            self._counts |= {"reversals": (turned < 0).sum(), "moves": (turned != 0).sum()}
        self._signs = signs

    def after(
        self, parameter: Tensor, entry: Mapping[str, Any], step: Step, measured: bool, skipped: bool
    ) -> Tensor:
        """Measure what the step did.

        Returns:
            float64 tensor, one number for each of `COUNTS`; only those of the non-finite
            gradients where the step is not measured.
        """
        self.looked = False
        gradient = _gradient(parameter, step)
        if self._reference is not None and not skipped:
            self._carry(self._reference, gradient, step)
        if measured and self._weight is not None:
            weight = _plain(parameter)
            change = (weight.double() - self._weight.double()).nan_to_num_(0.0, 0.0, 0.0)
            is_possible = bool(step.numbers.lr > 0) and not skipped
            self._count_unmoved(change != 0, gradient != 0, is_possible)
            self._counts |= {
                "update_squares": change.square().sum(),
                "weight_squares": weight.double().square().sum(),
                "poisoned": (~_momentum(entry, parameter.shape, gradient).isfinite()).sum(),
            }
            self._weight = None
        row = [self._counts.get(name, 0) for name in COUNTS]
        device = gradient.device
        return torch.stack([torch.as_tensor(n, dtype=torch.float64, device=device) for n in row])

    def _carry(self, reference: Tensor, gradient: Tensor, step: Step) -> None:
        """Move the float64 momentum on as the policy for non-finite gradients wants it."""
        numbers, options = step
        finite = gradient.isfinite()
        following = numbers.memory * reference + numbers.intake * gradient
        if options.nonfinite == "ignore":
            following = torch.where(finite, following, reference)
        elif options.nonfinite == "zero":
            following = torch.where(finite, following, numbers.memory * reference)
        reference.copy_(following)

    def _count_unmoved(self, moved: Tensor, wanted: Tensor, possible: bool) -> None:
        if self._unmoved is None:
            self._unmoved = torch.zeros_like(moved, dtype=torch.int16)
        if possible:
            longer = (self._unmoved + wanted.to(torch.int16)).clamp(max=_MOST - 1)
            self._unmoved = torch.where(moved, 0, longer).to(torch.int16)
        self._counts["frozen"] = (self._unmoved >= self.patience).sum()


def _gradient(parameter: Tensor, step: Step) -> Tensor:
    """Return the gradient as a step sees it: float64, unscaled, of what is minimised."""
    assert parameter.grad is not None
    return ascent(_plain(parameter.grad), torch.float64, step)


def _momentum(entry: Mapping[str, Any], shape: torch.Size, like: Tensor) -> Tensor:
    if "momentum" not in entry:  # before the first step
        return torch.zeros_like(like)
    parts = {name: local(value) for name, value in entry.items()}
    return _plain(momentum_of(parts, shape)).double()


def _plain(tensor: Tensor) -> Tensor:
    """Return this rank's part of a sharded tensor, dense, and complex numbers as pairs."""
    tensor = local(tensor.detach())
    return real(tensor.to_dense() if tensor.is_sparse else tensor)

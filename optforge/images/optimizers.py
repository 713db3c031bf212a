"""The four optimizers of the paper's image trainings, by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from optforge.errors import TrainingError
from optforge.images.packages import package
from optforge.images.presets import OptimizerSettings
from optforge.optim import Lion

OPTIMIZERS = ("adamw", "lion", "adafactor", "sgd")
_LARGE = 5_000_000
MOMENTA = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def make_optimizer(
    name: str,
    model: nn.Module,
    settings: OptimizerSettings,
    momentum_dtype: str = "bfloat16",
    fused: bool | None = None,
) -> Optimizer:
    """Make an optimizer whose weight decay spares biases, norms, positions and class tokens.

    Args:
        name: ``adamw`` (torch, with the paper's epsilon of 1e-6), ``lion`` (ours), ``adafactor``
            (timm's ``adafactorbv``, the one of Zhai et al.), ``sgd`` (torch, with Nesterov's
            momentum).
        model: What it trains.
        settings: Rate, decay and betas.
        momentum_dtype: Of Lion's and Adafactor's momentum; the paper keeps it in bfloat16.
        fused: Whether Lion steps in one kernel; None: a large model on a CPU whose momentum is
            bfloat16, where it takes a seventh of the time and compiling it a few seconds.

    Returns:
        The optimizer.

    Raises:
        TrainingError: If there is no such optimizer.

    Example:
        >>> settings = OptimizerSettings(1e-4, 1.0, (0.9, 0.99))
        >>> lion = make_optimizer("lion", nn.Linear(2, 2), settings)
        >>> [group["weight_decay"] for group in lion.param_groups]
        [0.0, 1.0]
    """
    check_optimizer(name, momentum_dtype)
    groups = _groups(model, settings.weight_decay)
    if name == "lion":
        dtype = MOMENTA[momentum_dtype]
        fused = _pays(model) and dtype is torch.bfloat16 if fused is None else fused
        return Lion(groups, settings.lr, settings.betas, momentum_dtype=dtype, fused=fused)
    if name == "adamw":
        return torch.optim.AdamW(groups, settings.lr, settings.betas, eps=1e-6)
    if name == "sgd":
        momentum = settings.betas[0]
        return torch.optim.SGD(groups, settings.lr, momentum=momentum, nesterov=momentum > 0)
    adafactor: Any = package("timm.optim").AdafactorBigVision
    return adafactor(
        groups,
        lr=settings.lr,
        momentum=settings.betas[0],
        momentum_dtype=MOMENTA[momentum_dtype],
        beta2_cap=settings.betas[1],
    )


def check_optimizer(name: str, momentum_dtype: str = "bfloat16") -> None:
    """Refuse what is not there.

    Raises:
        TrainingError: Naming what is allowed.
    """
    if name not in OPTIMIZERS:
        raise TrainingError(f"unknown optimizer {name!r}; there are: {', '.join(OPTIMIZERS)}")
    if momentum_dtype not in MOMENTA:
        raise TrainingError(
            f"momentum dtype {momentum_dtype!r}; allowed are {' and '.join(MOMENTA)}"
        )


def _pays(model: nn.Module) -> bool:
    """Tell whether a step is dear enough to compile it."""
    parameters = list(model.parameters())
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    return on_cpu and sum(p.numel() for p in parameters) >= _LARGE


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    spared = set(getattr(model, "no_weight_decay", set)())
    plain, decayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            small = parameter.ndim < 2 or name in spared
            (plain if small else decayed).append(parameter)
    groups = [
        {"params": plain, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": weight_decay},
    ]
    return [group for group in groups if group["params"]]

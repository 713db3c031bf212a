"""The optimizers of the paper's trainings, and any rule, by name."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optforge.analysis import lift
from optforge.errors import ProgramError
from optforge.language import hidden_matrices, load_rule
from optforge.optim import Lion, ProgramOptimizer
from paper.options import TrainingError

OPTIMIZERS = ("adamw", "lion", "adafactor", "sgd")
BETAS = {"lion": (0.9, 0.99), "sgd": (0.9, 0.0)}  # others: 0.9 and 0.999
MOMENTA = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LARGE = 5_000_000  # parameters from which compiling Lion's step on a CPU pays


def make_optimizer(
    name: str,
    model: nn.Module,
    lr: float | None,
    weight_decay: float | None,
    betas: tuple[float, float] | None = None,
    **more: Any,
) -> Optimizer:
    """Build an optimizer whose weight decay spares biases, norms, positions and class tokens.

    Args:
        name: ``lion``, ``adamw`` (torch's, with the paper's epsilon of 1e-6), ``adafactor`` (timm's
            ``adafactorbv``, the variant of Zhai et al.), ``sgd`` (torch's, with Nesterov's
            momentum), or the name or the file of a rule.
        model: The model to train.
        lr: Peak learning rate; None for that of the rule.
        weight_decay: Decoupled, L2 for ``sgd``; None for that of the rule.
        betas: Both betas; of ``adafactor`` the momentum and the cap of the second moment's, of
            ``sgd`` the momentum. None for the paper's, or the rule's.
        more: ``momentum_dtype`` of Lion and Adafactor (``bfloat16``, as in the paper, or
            ``float32``); ``fused``: whether Lion's step is one kernel (by default on a CPU for
            models of at least 5 million parameters with a bfloat16 momentum, where it takes a
            seventh of the time); ``steps`` of the whole run, for rules that read their progress.

    Raises:
        TrainingError: If there is no such optimizer.

    Example:
        >>> lion = make_optimizer("lion", nn.Linear(2, 2), 1e-4, 1.0)
        >>> [group["weight_decay"] for group in lion.param_groups]
        [0.0, 1.0]
    """
    if name not in OPTIMIZERS:
        return _rule(name, model, lr, weight_decay, betas, more.get("steps"))
    if lr is None or weight_decay is None:
        raise TrainingError(
            f"the preset gives no learning rate and weight decay of {name}; give --lr and "
            "--weight-decay"
        )
    betas = betas or BETAS.get(name, (0.9, 0.999))
    groups = _groups(model, weight_decay)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr, betas, eps=1e-6)
    if name == "sgd":
        return torch.optim.SGD(groups, lr, momentum=betas[0], nesterov=betas[0] > 0)
    dtype = MOMENTA[more.get("momentum_dtype", "bfloat16")]
    if name == "lion":
        fused = more.get("fused", dtype is torch.bfloat16 and _is_large_on_cpu(model))
        return Lion(groups, lr, betas, momentum_dtype=dtype, fused=fused)
    from timm.optim.adafactor_bv import AdafactorBigVision

    return AdafactorBigVision(
        groups, lr=lr, momentum=betas[0], momentum_dtype=dtype, beta2_cap=betas[1]
    )


def load_state(part: Any, state: dict[str, Any]) -> None:
    """Load a part of a checkpoint; tensors of optimizers keep their dtypes.

    torch would turn a bfloat16 momentum of a float32 parameter into float32.
    """
    part.load_state_dict(state)
    parameters = [p for group in getattr(part, "param_groups", ()) for p in group["params"]]
    for number, p in enumerate(parameters):
        for key, saved in state["state"].get(number, {}).items():
            current = part.state[p].get(key)
            if isinstance(current, Tensor) and current.dtype != saved.dtype:
                part.state[p][key] = saved.to(current.device)


def _rule(
    name: str,
    model: nn.Module,
    lr: float | None,
    weight_decay: float | None,
    betas: tuple[float, float] | None,
    steps: int | None,
) -> Optimizer:
    try:
        program = load_rule(name)
    except ProgramError as error:
        raise TrainingError(
            f"no optimizer {name!r}; there are {', '.join(OPTIMIZERS)}, and rules ({error})"
        ) from error
    constants = lift(program).values
    chosen = {"weight_decay": weight_decay, "betas": betas}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    has_decay = "weight_decay" in constants
    groups = _groups(model, None, spare=has_decay, mark=True)
    return ProgramOptimizer(groups, program, lr, total_steps=steps, **chosen)


def _groups(
    model: nn.Module, weight_decay: float | None, *, spare: bool = True, mark: bool = False
) -> list[dict[str, Any]]:
    """Divide the parameters into those without and with decay, and for rules by matrices."""
    spared = set(getattr(model, "no_weight_decay", set)())
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for (name, p), matrix in zip(model.named_parameters(), hidden_matrices(model), strict=True):
        if p.requires_grad:
            decays = not spare or not (p.ndim < 2 or name in spared)
            groups.setdefault((decays, mark and matrix), []).append(p)
    decay = {} if weight_decay is None else {"weight_decay": weight_decay}
    return [
        {"params": groups[key]}
        | (decay if key[0] else {"weight_decay": 0.0})
        | ({"matrices": key[1]} if mark else {})
        for key in sorted(groups)
    ]


def _is_large_on_cpu(model: nn.Module) -> bool:
    parameters = list(model.parameters())
    on_cpu = all(p.device.type == "cpu" for p in parameters)
    return on_cpu and sum(p.numel() for p in parameters) >= LARGE

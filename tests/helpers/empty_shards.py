"""Two ranks, matrices of one row: one rank holds nothing, on every path.

A case of `tests/helpers/ranks.py`, which starts the processes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from optforge.optim import Lion, ProgramOptimizer, watch

BF16 = torch.bfloat16
PATHS: dict[str, dict[str, Any]] = {
    "foreach": {},
    "loop": {"foreach": False},
    "capturable": {"capturable": True},
    "independent": {"decay_mode": "independent"},
    "cautious": {"cautious": True},
    "8 bits": {"momentum_dtype": "8bit"},
    "bfloat16 momentum": {"momentum_dtype": BF16},
    **{p: {"nonfinite": p} for p in ("skip_step", "raise", "zero", "propagate")},
    **{r: {"rounding": r, "dtype": BF16} for r in ("kahan", "nearest", "stochastic")},
    **{f"rule {r}": {"rule": r} for r in ("adamw", "program_8", "lamb", "mars")},
}
COMPILED: dict[str, dict[str, Any]] = {
    "fused": {"fused": True},
    "cautious fused": {"cautious": True, "fused": True},
    "8 bits fused": {"momentum_dtype": "8bit", "fused": True},
    "rule fused": {"rule": "adamw", "fused": True},
}
Weights = dict[str, Tensor]


def _optimizer(model: nn.Module, options: dict[str, Any]) -> torch.optim.Optimizer:
    options = {name: value for name, value in options.items() if name != "dtype"}
    if "rule" in options:
        return ProgramOptimizer(model.parameters(), options.pop("rule"), lr=0.01, **options)
    return Lion(model.parameters(), lr=0.01, weight_decay=0.1, **options)


def _model(options: dict[str, Any]) -> nn.Sequential:
    torch.manual_seed(0)
    bias = "momentum_dtype" not in options  # vectors keep float32 momentum where they are sharded
    layers = nn.Linear(64, 64, bias), nn.Tanh(), nn.Linear(64, 1, bias)
    return nn.Sequential(*layers).to(options.get("dtype", torch.float32))


def _sharded(options: dict[str, Any]) -> nn.Sequential:
    model = _model(options)
    for part in (model[0], model[2], model):
        fully_shard(part)
    return model


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    dtype = next(model.parameters()).dtype
    for step in steps:
        x = torch.randn(4, 64, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x.to(dtype)).square().mean().backward()
        optimizer.step()


def _whole(model: nn.Module) -> Weights:
    return {
        name: (p.full_tensor() if isinstance(p, DTensor) else p).detach().clone()
        for name, p in model.named_parameters()
    }


def _ends(options: dict[str, Any]) -> tuple[Weights, Weights, Weights]:
    """Weights after four steps: sharded, sharded and resumed half-way, and of one process."""
    model, resumed, plain = _sharded(options), _sharded(options), _model(options)
    optimizer, other = _optimizer(model, options), _optimizer(resumed, options)
    if isinstance(optimizer, Lion):
        with watch(optimizer):
            _train(model, optimizer, range(2))
    else:
        _train(model, optimizer, range(2))
    resumed.load_state_dict(model.state_dict())
    saved = get_optimizer_state_dict(model, optimizer)
    set_optimizer_state_dict(resumed, other, saved)
    _train(model, optimizer, range(2, 4))
    _train(resumed, other, range(2, 4))
    _train(plain, _optimizer(plain, options), range(4))
    return _whole(model), _whole(resumed), _whole(plain)


def empty_shards_case(folder: Path) -> dict[str, Any]:
    """Return the weights of every path that compiles nothing."""
    return {name: _ends(options) for name, options in PATHS.items()}


def empty_compiled_case(folder: Path) -> dict[str, Any]:
    """Return the weights of every path that compiles kernels."""
    return {name: _ends(options) for name, options in COMPILED.items()}

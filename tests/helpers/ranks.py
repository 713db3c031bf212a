"""What two processes (gloo) do with Lion: replicated, sharded, saved and loaded.

Run as a program, this file is one of the two: it runs every case, or with `slow` every slow one,
and writes what came out.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from optforge.errors import NonFiniteError
from optforge.language import Program, parse
from optforge.optim.diagnostics import watch
from optforge.optim.lion import Lion
from optforge.optim.program import ProgramOptimizer
from optforge.optim.state import momentum_of
from tests.helpers.empty_shards import empty_compiled_case, empty_shards_case

RANKS, STEPS, BATCH = 2, 4, 8
Weights = dict[str, Tensor]


def build(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(64, 96), nn.Tanh(), nn.Linear(96, 64), nn.Tanh(), nn.Linear(64, 3)]
    return nn.Sequential(*layers).to(dtype)


def batch(step: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(BATCH, 64, generator=generator).to(dtype)


def train(
    model: nn.Module, lion: torch.optim.Optimizer, steps: range, part: slice = slice(None)
) -> None:
    dtype = next(model.parameters()).dtype
    for step in steps:
        lion.zero_grad()
        model(batch(step, dtype)[part]).square().mean().backward()
        lion.step()


def mine() -> slice:
    """The part of the batch that this rank sees."""
    size = BATCH // RANKS
    return slice(dist.get_rank() * size, (dist.get_rank() + 1) * size)


def whole(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).clone()


def weights_of(model: nn.Module) -> Weights:
    return {name.removeprefix("module."): whole(p) for name, p in model.named_parameters()}


def sharded(dtype: torch.dtype = torch.float32) -> nn.Module:
    model = build(dtype)
    for layer in model:  # type: ignore[attr-defined]
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


BF16 = torch.bfloat16
# Options of Lion under test, with the dtype of the weights.
OPTIONS: dict[str, tuple[torch.dtype, dict[str, Any]]] = {
    "plain": (torch.float32, {"weight_decay": 0.1}),
    "loop": (torch.float32, {"foreach": False}),
    "fused": (torch.float32, {"fused": True, "weight_decay": 0.1}),
    "independent": (torch.float32, {"weight_decay": 0.01, "decay_mode": "independent"}),
    "cautious": (torch.float32, {"cautious": True}),
    "bfloat16 momentum": (torch.float32, {"momentum_dtype": BF16}),
    "8 bits": (torch.float32, {"momentum_dtype": "8bit"}),
    "stochastic": (BF16, {"rounding": "stochastic", "weight_decay": 0.1}),
    "kahan": (BF16, {"rounding": "kahan", "weight_decay": 0.1}),
}
LR = 1e-2


def one_process(name: str, steps: int = STEPS) -> Weights:
    dtype, options = OPTIONS[name]
    model = build(dtype)
    train(model, Lion(model.parameters(), lr=LR, **options), range(steps))
    return weights_of(model)


def replicated_case(name: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> Weights:
        dtype, options = OPTIONS[name]
        model = DistributedDataParallel(build(dtype))
        train(model, Lion(model.parameters(), lr=LR, **options), range(STEPS), mine())
        return weights_of(model)

    return run


def sharded_case(name: str) -> Callable[[Path], Any]:
    def run(folder: Path) -> Weights:
        dtype, options = OPTIONS[name]
        model = sharded(dtype)
        train(model, Lion(model.parameters(), lr=LR, **options), range(STEPS), mine())
        return weights_of(model)

    return run


def checkpoint_case(name: str) -> Callable[[Path], Any]:
    """Half-way through a checkpoint on disk into a new model, and without."""

    def run(folder: Path) -> dict[str, Weights]:
        dtype, options = OPTIONS[name]
        path = folder / f"checkpoint {name}"
        straight = sharded(dtype)
        lion = Lion(straight.parameters(), lr=LR, **options)
        train(straight, lion, range(STEPS), mine())
        save(path, straight, lion)
        resumed = sharded(dtype)
        fresh = Lion(resumed.parameters(), lr=LR, **options)
        load(path, resumed, fresh)
        kept = [momentum_of(fresh.state[p], p.shape) for p in resumed.parameters()]
        for momentum, p in zip(kept, straight.parameters(), strict=True):
            same(momentum, momentum_of(lion.state[p], p.shape))
        for model, optimizer in ((straight, lion), (resumed, fresh)):
            train(model, optimizer, range(STEPS, 2 * STEPS), mine())
        return {"straight": weights_of(straight), "resumed": weights_of(resumed)}

    return run


def same(one: Tensor, other: Tensor) -> None:
    assert one.dtype == other.dtype
    assert torch.equal(whole(one), whole(other))


def states(model: nn.Module, lion: Lion) -> dict[str, Any]:
    return {"model": model.state_dict(), "optimizer": get_optimizer_state_dict(model, lion)}


def save(path: Path, model: nn.Module, lion: Lion) -> None:
    dcp.save(states(model, lion), checkpoint_id=path)


def load(path: Path, model: nn.Module, lion: Lion) -> None:
    state = states(model, lion)  # makes an empty state first, by a step at rate 0
    dcp.load(state, checkpoint_id=path)
    model.load_state_dict(state["model"])
    set_optimizer_state_dict(model, lion, state["optimizer"])


def full_state_case(folder: Path) -> dict[str, Any]:
    """Gather everything; the test loads it in one process and goes on."""
    model = sharded()
    lion = Lion(model.parameters(), lr=LR)
    train(model, lion, range(STEPS), mine())
    gather = StateDictOptions(full_state_dict=True, cpu_offload=True)
    found = {
        "weights": weights_of(model),
        "lion": get_optimizer_state_dict(model, lion, options=gather),
    }
    train(model, lion, range(STEPS, STEPS + 2), mine())
    return {**found, "later": weights_of(model)}


def zero_case(folder: Path) -> Weights:
    model = DistributedDataParallel(build())
    lion = ZeroRedundancyOptimizer(model.parameters(), Lion, lr=LR, weight_decay=0.1)
    train(model, lion, range(STEPS), mine())
    return weights_of(model)


def skip_case(folder: Path) -> Weights:
    """One element of one rank's shard is NaN: all ranks must leave the step out."""
    model = sharded()
    lion = Lion(model.parameters(), lr=LR, nonfinite="skip_step", momentum_dtype=BF16)
    with watch(lion) as diagnostics:
        train(model, lion, range(1), mine())
        before = weights_of(model)
        spoil(model)
        lion.step()
        after = weights_of(model)
        train(model, lion, range(1, 3), mine())
    assert diagnostics.latest is not None and diagnostics.latest.flip_rate is not None
    assert diagnostics.latest.flip_rate < 0.01  # the oracle left the step out on every rank
    assert diagnostics.latest.nonfinite_total == dist.get_rank()
    return {name: after[name] - before[name] for name in before}


def raise_case(folder: Path) -> dict[str, Any]:
    model = sharded()
    lion = Lion(model.parameters(), lr=LR, nonfinite="raise")
    train(model, lion, range(1), mine())
    spoil(model)
    with pytest.raises(NonFiniteError) as caught:
        lion.step()
    return {"message": str(caught.value)}


def spoil(model: nn.Module) -> None:
    gradient = next(model.parameters()).grad
    assert isinstance(gradient, DTensor)
    if dist.get_rank() == 1:
        gradient.to_local().view(-1)[0] = float("nan")


def diagnostics_case(folder: Path) -> dict[str, Any]:
    """Every rank measures its own part."""
    model = sharded()
    lion = Lion(model.parameters(), lr=LR)
    with watch(lion) as diagnostics:
        train(model, lion, range(STEPS), mine())
    assert diagnostics.latest is not None
    local = sum(p.to_local().numel() for p in model.parameters() if isinstance(p, DTensor))
    found = diagnostics.latest
    return {"elements": found.elements, "local": local, "flips": found.flip_rate}


def state_case(folder: Path) -> dict[str, Any]:
    """Which state is sharded how, for 8 bits."""
    model = sharded()
    lion = Lion(model.parameters(), lr=LR, momentum_dtype="8bit")
    train(model, lion, range(1), mine())
    return {
        name: {
            key: (str(value.dtype), tuple(value.shape), isinstance(value, DTensor))
            for key, value in lion.state[parameter].items()
        }
        for name, parameter in model.named_parameters()
    }


# Rules whose functions look at whole arrays or the whole tree.
NORMS = parse("""
def train(weight, gradient, momentum, lr):
    length = norm(gradient)
    whole = global_norm(weight)
    clipped = clip(gradient, 0.1)
    alike = cosine_sim(gradient, momentum)
    momentum = interp(gradient, momentum, 0.9)
    update = momentum / length
    update = update + clipped
    update = update * whole
    factor = alike + 2.0
    update = update * factor
    update = update * 0.0001
    return update, momentum
""")
RULES: dict[str, Program | str] = {"norms": NORMS, "program_8": "program_8", "adamw": "adamw"}


def train_rule(model: nn.Module, rule: Program | str, fused: bool, part: slice) -> Weights:
    optimizer = ProgramOptimizer(model.parameters(), rule, fused=fused)
    train(model, optimizer, range(STEPS), part)
    return weights_of(model)


def rule_case(name: str, fused: bool) -> Callable[[Path], Any]:
    return lambda folder: train_rule(sharded(torch.float64), RULES[name], fused, mine())


CASES: dict[str, Callable[[Path], Any]] = {
    **{f"replicated {name}": replicated_case(name) for name in OPTIONS},
    **{f"sharded {name}": sharded_case(name) for name in OPTIONS},
    **{f"checkpoint {name}": checkpoint_case(name) for name in ("plain", "8 bits", "kahan")},
    "checkpoint stochastic": checkpoint_case("stochastic"),
    **{f"rule {name}": rule_case(name, False) for name in RULES},
    "rule program_8 fused": rule_case("program_8", True),
    "full state": full_state_case,
    "zero": zero_case,
    "skip": skip_case,
    "raise": raise_case,
    "diagnostics": diagnostics_case,
    "state": state_case,
    "empty shards": empty_shards_case,
}
SLOW: dict[str, Callable[[Path], Any]] = {"empty shards, compiled": empty_compiled_case}


def be_a_rank(rank: int, folder: Path, cases: dict[str, Callable[[Path], Any]]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # what torch says of its own checkpoints
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=RANKS)
    for name, case in cases.items():
        try:
            found = case(folder)
        except Exception:
            found = {"error": traceback.format_exc()}
        torch.save(found, folder / f"{name} {rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    be_a_rank(int(sys.argv[1]), Path(sys.argv[2]), SLOW if "slow" in sys.argv[3:] else CASES)

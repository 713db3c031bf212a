"""What must be equal on a GPU: rules, training and optimizers, against their eager forms."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.analysis import live_program, state_kinds
from optforge.evolution.mutation import Mutator
from optforge.language import Interpreter, Layout, Program, layout_of, load_rule, rule_names
from optforge.optim import Lion, ProgramOptimizer
from optforge.tasks import load_task
from optforge.training import Stack, train_population

_SHAPES = [(48, 64), (64,), (64, 48), (48, 64), (), (33,), (16, 3, 3, 3)]
_SEEDS, _STEPS = 3, 10
Figures = dict[str, Any]


def check_rules(device: str, mutants: int) -> Figures:
    """Compare the kernel with the interpreter on the same device, weights after ten steps.

    Returns:
        For shipped rules and for mutants how many were compared, and the largest difference over
        the largest weight, with the rule where it is.
    """
    shipped = {name: load_rule(name) for name in rule_names()}
    return {
        "shipped": _deviation(shipped, device),
        "mutants": _deviation(_mutants(mutants), device),
    }


def check_training(device: str, names: Sequence[str]) -> Figures:
    """Compare losses of shipped rules trained on both devices, in units of their deviation."""
    task, seeds = load_task("mnist_mlp"), [0, 1, 2, 3]
    rules = [live_program(load_rule(name)) for name in names]
    here = train_population(Stack(task), rules, seeds).losses.log()
    there = train_population(Stack(task, device=device), rules, seeds).losses.log()
    ratios = (here - there).abs().amax(1) / here.std(1)
    double = [
        train_population(Stack(task, torch.float64, where), rules[:4], seeds[:2]).losses
        for where in ("cpu", device)
    ]
    return {
        "rules": len(rules),
        "worst_in_deviations_between_seeds": ratios.max().item(),
        "worst_rule": names[int(ratios.argmax())],
        "float64_largest_difference": (double[0] - double[1]).abs().max().item(),
    }


def check_optimizers(device: str) -> Figures:
    """Compare compiled steps with the float64 loop over 20 steps: largest difference of weights."""
    figures: Figures = {}
    for path in ("fused", "foreach"):
        figures[f"lion {path} float32"] = _difference(
            _lion(path), torch.float32, _lion("loop"), torch.float64, device
        )
        figures[f"lion {path} bfloat16"] = _difference(
            _lion(path, rounding="nearest"),
            torch.bfloat16,
            _lion("loop", rounding="nearest"),
            torch.bfloat16,
            device,
        )
    for name in ("adamw", "lion", "muon", "adan"):
        figures[f"{name} fused float32"] = _difference(
            _rule(name, True), torch.float32, _rule(name, False), torch.float64, device
        )
    return figures


def _lion(path: str, **options: Any) -> Callable[[list[Any]], Any]:
    chosen = {"fused": path == "fused", "foreach": path == "foreach"}
    return lambda parameters: Lion(parameters, lr=0.02, weight_decay=0.1, **chosen, **options)


def _rule(name: str, fused: bool) -> Callable[[list[Any]], Any]:
    return lambda parameters: ProgramOptimizer(
        parameters, load_rule(name), lr=0.02, fused=fused, foreach=False
    )


def _difference(
    make: Any, dtype: torch.dtype, oracle: Any, oracle_dtype: torch.dtype, device: str
) -> float:
    """Return the largest difference of weights to an oracle, the same numbers in another dtype."""
    draw = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=draw).to(dtype) for shape in _SHAPES]
    gradients = [[torch.randn(s, generator=draw).to(dtype) for s in _SHAPES] for _ in range(20)]
    ends = []
    for build, width in ((make, dtype), (oracle, oracle_dtype)):
        parameters = [torch.nn.Parameter(w.clone().to(device, width)) for w in start]
        optimizer = build(parameters)
        for step in gradients:
            for parameter, gradient in zip(parameters, step, strict=True):
                parameter.grad = gradient.to(device, width)
            optimizer.step()
        ends.append(torch.cat([p.detach().flatten().double() for p in parameters]))
    return (ends[0] - ends[1]).abs().max().item()


def _mutants(count: int) -> dict[str, Program]:
    source = random.Random(0)
    mutator = Mutator(insert=1, delete=0.2, modify=1, functions=_SETS)
    mutants: dict[str, Program] = {}
    while len(mutants) < count:
        program = load_rule(source.choice(("adamw", "lion", "muon")))
        for _ in range(12):
            try:
                program, _ = mutator.child(program, source)
            except Exception:  # noqa: BLE001 - a mutation that does not apply
                continue
        mutants[str(len(mutants))] = live_program(program)
    return mutants


_SETS = ("paper", "masks", "rows", "matrices")


def _deviation(programs: dict[str, Program], device: str) -> Figures:
    from optforge.training.device_rules import DeviceRules

    where = layout_of(_SHAPES, device)
    rules = [Interpreter(p, state_kinds(p), where) for p in programs.values()]
    schedules = [[1 - step / _STEPS for step in range(_STEPS)]] * len(rules)
    start, noise = _draws(len(rules), where)
    engine, weights, gradient = DeviceRules(rules, schedules, _SEEDS), start.clone(), start.clone()
    engine.place(list(range(len(rules))), weights, gradient)
    for step in range(_STEPS):
        gradient.copy_(noise[step])
        engine.step(step)
    exact = [Interpreter(p, state_kinds(p), where, torch.float64) for p in programs.values()]
    ours: list[float] = []
    beyond: list[str] = []
    for number, (name, rule) in enumerate(zip(programs, rules, strict=True)):
        rows = slice(number * _SEEDS, (number + 1) * _SEEDS)
        given = start[rows], [n[rows] for n in noise]
        oracle = _by_interpreter(rule, schedules[number], *given)
        truth = _by_interpreter(
            exact[number], schedules[number], given[0].double(), [n.double() for n in given[1]]
        )
        known = oracle.isfinite() & (oracle.abs() < 1e4)
        if not known.any():
            continue
        size = max(1.0, oracle[known].abs().max().item())
        ours.append((weights[rows] - oracle)[known].abs().max().item() / size)
        rounding = (oracle - truth)[known].abs().max().item() / size
        if not ours[-1] <= 1e-5 + 10 * rounding:
            beyond.append(f"{name} ({ours[-1]:.1e}, rounding {rounding:.1e}): {programs[name]}")
    return {
        "compared": len(ours),
        "median_difference": sorted(ours)[len(ours) // 2],
        "largest_difference": max(ours),
        "beyond_ten_times_rounding": beyond,
    }


def _draws(count: int, where: Layout) -> tuple[Tensor, list[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    shape = (count * _SEEDS, where.elements)
    start = torch.randn(shape, generator=draw).to(where.device)
    return start, [torch.randn(shape, generator=draw).to(where.device) for _ in range(_STEPS)]


def _by_interpreter(
    rule: Interpreter, lrs: Sequence[float], weights: Tensor, noise: Sequence[Tensor]
) -> Tensor:
    states, scalars = rule.initial_states(_SEEDS), rule.schedule(lrs)
    for step in range(_STEPS):
        update, states = rule.step(weights, noise[step], states, scalars[step])
        weights = weights - update
    return weights

"""From the settings of an AdamW to those of a rule: the rate by how long updates are."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy
import torch
from torch.optim import Optimizer

from optforge.analysis import Lifted, lift, state_kinds
from optforge.errors import OptimizerError
from optforge.language import Interpreter, Program, layout_of, load_rule
from optforge.optim.lion_settings import reference_lr
from optforge.optim.migration.recipe import RATES_OF_GROUPS, lion_from_adamw
from optforge.optim.rules.roles import ArrayRole, role_of
from optforge.optim.settings import POSITIVE, as_float, or_none

Group = Mapping[str, Any]
ARRAYS = {
    ArrayRole.MATRIX: (48, 32),
    ArrayRole.TABLE: (48, 32),
    ArrayRole.COLUMN: (256,),
}  # made up, by role
STEPS, LAST = 3000, 300  # three times what an average with 0.999 takes; the updates that count
SIZES = (0.003, 0.1)  # root mean squares of gradients as in training; which should not matter
F32, CPU = torch.float32, "cpu"  # whatever torch's defaults are
WEIGHTS = 0.02  # root mean square of the weights


def groups_from_adamw(
    adamw: Optimizer, lifted: Lifted, settings: Group, ratio: float | None
) -> list[dict[str, Any]]:
    """Translate the groups of an AdamW.

    Args:
        adamw: The optimizer.
        lifted: The rule.
        settings: A group of an optimizer with the rule, for what is set.
        ratio: Of the rates; None measures it for each group.

    Raises:
        OptimizerError: As `ProgramOptimizer.from_adamw` says.
    """
    ratio = or_none(POSITIVE).plain("ratio", ratio)
    checked = lion_from_adamw(adamw, divisor=1.0).groups  # its rates and decay, with a verdict
    groups = []
    for theirs, adamw_group in zip(adamw.param_groups, checked, strict=True):
        matrices = theirs.get("matrices", settings["matrices"])
        scale = ratio or _ratio(theirs, matrices, _undecayed(lifted, settings))
        groups.append(_translated(adamw_group, scale, lifted) | {"matrices": matrices})
    decays = {group["weight_decay"] for group in checked} - {0.0}
    if decays and "weight_decay" not in lifted.values:
        warnings.warn(_decay_words(lifted, sorted(decays)), stacklevel=3)
    return groups


def _decay_words(lifted: Lifted, decays: list[float]) -> str:
    """Return why AdamW's decay has no place in the rule, and what the rule does instead."""
    options = ", ".join(f"weight_decay={decay:g}" for decay in decays)
    rule = lifted.program
    reads = any(rule.parameters[0] in statement.arguments for statement in rule.statements)
    if reads:
        return (
            f"AdamW's {options} is left out: the rule uses the weights inside of its update, by "
            "constants of its own, which stay as they are"
        )
    return f"the rule has no weight decay, so AdamW's {options} is left out"


def _translated(adamw_group: Group, scale: float, lifted: Lifted) -> dict[str, Any]:
    peak, decay = reference_lr(adamw_group), adamw_group["weight_decay"]
    if peak is None:
        raise OptimizerError(
            "the group's lr is 0, and no scheduler left a peak (initial_lr); set AdamW's lr to the "
            "peak of its schedule first"
        )
    kept = {
        name: value for name, value in adamw_group.items() if name not in ("betas", "weight_decay")
    }
    rates = {name: adamw_group[name] * scale for name in RATES_OF_GROUPS if name in adamw_group}
    group = {**kept, **rates, "peak_lr": peak * scale}
    if "weight_decay" in lifted.values:
        group["weight_decay"] = decay / scale
    return group


def _ratio(theirs: Group, matrices: bool | None, rule: Program) -> float:
    """Return how many times as long AdamW's updates are as the rule's, to two digits."""
    counts = dict.fromkeys(ArrayRole, 0)
    for parameter in theirs["params"]:
        counts[role_of(parameter, matrices)] += parameter.numel()
    total = sum(counts.values())
    if not total:
        return 1.0
    shares = tuple((role, count / total) for role, count in counts.items() if count)
    mine = _lengths(rule, shares)
    if not all(math.isfinite(length) for length in mine):
        raise OptimizerError(
            f"gradients of size {SIZES[0]:g} and {SIZES[1]:g} give updates of size {mine[0]:.2g} "
            f"and {mine[1]:.2g}: the rule does not stay finite on noise; pass ratio="
        )
    if not (min(mine) > 0 and max(mine) < 1.5 * min(mine)):
        raise OptimizerError(
            f"gradients of size {SIZES[0]:g} and {SIZES[1]:g} give updates of size {mine[0]:.2g} "
            f"and {mine[1]:.2g}: the rule's rate depends on the size of the gradients; pass ratio="
        )
    beta1, beta2 = (as_float(beta) for beta in theirs["betas"])
    values = {"lr": 1.0, "beta1": beta1, "beta2": beta2, "weight_decay": 0.0}
    adamw = lift(load_rule("adamw_bias_correction")).with_values(values)
    ratio = math.prod(a / b for a, b in zip(_lengths(adamw, shares), mine, strict=True))
    return float(f"{math.sqrt(ratio):.2g}")


def _undecayed(lifted: Lifted, settings: Group) -> Program:
    """Return the rule with the constants that are set, a rate of 1 and no decay."""
    values = {name: as_float(settings[name]) for name in lifted.values}
    decays = (name for name in values if name.startswith("weight_decay"))
    return lifted.with_values({**values, "lr": 1.0, **dict.fromkeys(decays, 0.0)})


Shares = tuple[tuple[ArrayRole, float], ...]


@lru_cache(64)
def _lengths(program: Program, shares: Shares) -> list[float]:
    """Return the root mean square of updates on noise of each size, over arrays of some roles.

    Args:
        program: The rule, with a rate of 1.
        shares: What part of all elements each role has.
    """
    lengths = []
    for parts in update_sizes(program, [role for role, _ in shares], SIZES):
        mean = sum(share * part**2 for (_, share), part in zip(shares, parts, strict=True))
        lengths.append(math.sqrt(mean))
    return lengths


def update_sizes(
    program: Program, roles: Iterable[ArrayRole], sizes: Sequence[float]
) -> list[list[float]]:
    """Return the root mean squares of a rule's updates on noise, for an array of each role.

    Args:
        program: The rule.
        roles: Of the arrays.
        sizes: Root mean squares of the gradients; the same noise is scaled by each.

    Returns:
        Root mean squares ``[sizes][roles]``.
    """
    roles = list(roles)
    shapes = [ARRAYS[role] for role in roles]
    layout = layout_of(shapes, matrices=[role is ArrayRole.MATRIX for role in roles])
    rule = Interpreter(program, state_kinds(program), layout, torch.float64, arrays=True)
    source = torch.Generator().manual_seed(0)

    def noise(scales: Any) -> Any:
        drawn = torch.randn(1, layout.elements, generator=source, dtype=F32, device=CPU)
        return scales * drawn.double().numpy()

    count, scales = len(sizes), numpy.array(sizes)[:, None]
    weights, states = noise(numpy.full((count, 1), WEIGHTS)), rule.initial_states(count)
    scalars = rule.schedule([1.0] * STEPS)
    squares = torch.zeros(count, layout.elements, dtype=torch.float64, device=CPU)
    with numpy.errstate(all="ignore"):
        for step in range(STEPS):
            update, states = rule.step(weights, noise(scales), states, scalars[step])
            if step >= STEPS - LAST:
                squares += torch.from_numpy(update) ** 2
    parts = squares.split(list(layout.sizes), 1)
    return [[math.sqrt(part[row].mean().item() / LAST) for part in parts] for row in range(count)]

"""The tuned baselines: AdamW and Lion, each tuned on each task with the same number of trials."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from optforge.fitness.seeds import seeds
from optforge.language import Program, parse, round_constant
from optforge.tasks import Task
from optforge.training import Stack, train_population

TRIALS = 256
SEEDS = 3
_BATCH = 32  # trials trained at once


@dataclass(frozen=True)
class Baseline:
    """A tuned rule for one task.

    Args:
        optimizer: ``adamw`` or ``lion``.
        parameters: The best setting.
        loss: Mean log validation loss it was chosen by.
        trials: How many settings were tried.
        note: Empty, or why this is not quite the baseline of this very task.
    """

    optimizer: str
    parameters: Mapping[str, float]
    loss: float
    trials: int
    note: str = ""

    @property
    def program(self) -> Program:
        """The rule with its tuned constants."""
        return BUILDERS[self.optimizer](self.parameters)


def adamw(parameters: Mapping[str, float]) -> Program:
    """Build AdamW from lr, weight_decay, beta1, beta2 and bias_correction (0 or 1).

    Example:
        >>> setting = dict(lr=0.01, weight_decay=0.1, beta1=0.9, beta2=0.99, bias_correction=0)
        >>> adamw(setting).states
        ('m', 'v')
    """
    p = {name: repr(float(value)) for name, value in parameters.items()}
    corrected = bool(parameters["bias_correction"])
    lines = [
        "def train(w, g, m, v, count, lr):" if corrected else "def train(w, g, m, v, lr):",
        "    g2 = square(g)",
        f"    m = interp(g, m, {p['beta1']})",
        f"    v = interp(g2, v, {p['beta2']})",
        "    sqrt_v = sqrt(v)",
        "    update = m / sqrt_v",
        f"    wd = w * {p['weight_decay']}",
        "    update = update + wd",
        f"    lr = lr * {p['lr']}",
        "    update = update * lr",
        "    return update, m, v",
    ]
    if corrected:
        lines[4:6] = [
            "    count = count + 1.0",
            f"    scale_m = reciprocal(1.0 - {p['beta1']} ** count)",
            f"    scale_v = reciprocal(1.0 - {p['beta2']} ** count)",
            "    sqrt_v = sqrt(v * scale_v)",
            "    update = (m * scale_m) / sqrt_v",
        ]
        lines[-1] += ", count"
    return parse("\n".join(lines))


def lion(parameters: Mapping[str, float]) -> Program:
    """Build Lion from lr, weight_decay, beta1 and beta2.

    Example:
        >>> lion(dict(lr=0.001, weight_decay=0.1, beta1=0.9, beta2=0.99)).states
        ('momentum',)
    """
    p = {name: repr(float(value)) for name, value in parameters.items()}
    return parse(
        "def train(weight, gradient, momentum, lr):\n"
        f"    update = interp(gradient, momentum, {p['beta1']})\n"
        "    update = sign(update)\n"
        f"    momentum = interp(gradient, momentum, {p['beta2']})\n"
        f"    weight_decay = weight * {p['weight_decay']}\n"
        "    update = update + weight_decay\n"
        f"    lr = lr * {p['lr']}\n"
        "    update = update * lr\n"
        "    return update, momentum\n"
    )


BUILDERS: Mapping[str, Callable[[Mapping[str, float]], Program]] = {"adamw": adamw, "lion": lion}

# The complements of the betas are drawn, because what matters is how long a moment remembers.
SPACES: Mapping[str, Mapping[str, BaseDistribution]] = {
    "adamw": {
        "lr": FloatDistribution(1e-4, 3e-1, log=True),
        "weight_decay": FloatDistribution(1e-4, 3.0, log=True),
        "one_minus_beta1": FloatDistribution(1e-2, 1.0, log=True),
        "one_minus_beta2": FloatDistribution(1e-4, 1.0, log=True),
        "bias_correction": CategoricalDistribution([0, 1]),
    },
    "lion": {
        "lr": FloatDistribution(1e-5, 1e-1, log=True),
        "weight_decay": FloatDistribution(1e-3, 30.0, log=True),
        "one_minus_beta1": FloatDistribution(1e-2, 1.0, log=True),
        "one_minus_beta2": FloatDistribution(1e-3, 1.0, log=True),
    },
}


def tune(
    stack: Stack,
    optimizer: str,
    trials: int = TRIALS,
    watch: Callable[[int], None] = lambda done: None,
) -> Baseline:
    """Tune an optimizer on a task: half the trials at random, half by a model of the results.

    Args:
        stack: The task.
        optimizer: ``adamw`` or ``lion``.
        trials: Number of settings, each trained on three seeds of its own purpose.
        watch: Told the number of finished trials.

    Returns:
        The setting with the lowest mean log validation loss.
    """
    space = SPACES[optimizer]
    chosen = seeds(0, stack.task.name, "tune", SEEDS)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    done = 0
    while done < trials:
        if done >= trials // 2:
            study.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=0)
        drawn = [study.ask(dict(space)) for _ in range(min(_BATCH, trials - done))]
        programs = [BUILDERS[optimizer](_setting(trial.params)) for trial in drawn]
        losses = train_population(stack, programs, chosen).losses.log().mean(1).tolist()
        for trial, loss in zip(drawn, losses, strict=True):
            study.tell(trial, loss if math.isfinite(loss) else 1e3)
        done += len(drawn)
        watch(done)
    return Baseline(optimizer, _setting(study.best_params), study.best_value, trials)


def shipped(task: Task, optimizer: str) -> Baseline | None:
    """Give the committed baseline of a shipped task, or None.

    Data that is drawn on this machine (letters, Python source) differs a little between
    versions of Python and of the drawing library; then the setting tuned on another version is
    given, with a note that says so.
    """
    entry = stored()["tasks"].get(task.name, {}).get(optimizer)
    if entry is None:
        return None
    same = stored()["tasks"][task.name]["hash"] == task.hash
    note = "" if same else f"tuned on another version of the data of {task.name}"
    return Baseline(optimizer, entry["parameters"], entry["loss"], entry["trials"], note)


@lru_cache(1)
def stored() -> dict[str, Any]:
    """Read the committed file of baselines."""
    file = resources.files("optforge.fitness") / "baselines.json"
    return json.loads(file.read_text()) if file.is_file() else {"tasks": {}}


def _setting(drawn: Mapping[str, float]) -> dict[str, float]:
    setting = {
        name.replace("one_minus_", ""): 1 - value if name.startswith("one_minus") else value
        for name, value in drawn.items()
    }
    return {name: round_constant(float(value)) for name, value in setting.items()}

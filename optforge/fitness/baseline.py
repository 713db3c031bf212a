"""The tuned baselines: AdamW and Lion, each tuned on each task with the same number of trials."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import optuna
import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
)

from optforge.fitness.seeds import seeds
from optforge.language import Program, parse, round_constant
from optforge.tasks import Task
from optforge.training import Stack, train_population

TRIALS = 384
SEEDS = 3
FINALISTS = 16
_BATCH = 16  # trials trained at once


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
        "lr": FloatDistribution(1e-3, 3e-1, log=True),
        "weight_decay": FloatDistribution(1e-4, 1.0, log=True),
        "one_minus_beta1": FloatDistribution(1e-2, 1.0, log=True),
        "one_minus_beta2": FloatDistribution(1e-3, 1.0, log=True),
        "bias_correction": CategoricalDistribution([0, 1]),
    },
    "lion": {
        "lr": FloatDistribution(1e-4, 1e-1, log=True),
        "weight_decay": FloatDistribution(1e-3, 10.0, log=True),
        "one_minus_beta1": FloatDistribution(1e-2, 1.0, log=True),
        "one_minus_beta2": FloatDistribution(1e-3, 1.0, log=True),
    },
}


def tune(
    tasks: Stack | Sequence[Stack],
    optimizer: str,
    trials: int = TRIALS,
    watch: Callable[[int], None] = lambda done: None,
) -> Baseline:
    """Tune an optimizer on a task, or find one setting for several tasks.

    A third of the trials is random, two thirds follow models of the results (TPE, without and
    with interactions); the best sixteen are measured again on six other seeds, and the best of
    these wins, so that luck with three seeds does not choose.

    Args:
        tasks: The task; of several the mean log loss counts, each task alike.
        optimizer: ``adamw`` or ``lion``.
        trials: Number of settings, each trained on three seeds.
        watch: Told the number of finished trials.

    Returns:
        The setting with the lowest mean log validation loss on the six seeds.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    stacks = (tasks,) if isinstance(tasks, Stack) else tuple(tasks)
    space = SPACES[optimizer]
    study = optuna.create_study()
    stages = samplers()
    for done in range(0, trials, _BATCH):
        study.sampler = stages[len(stages) * done // trials]
        drawn = [study.ask(dict(space)) for _ in range(min(_BATCH, trials - done))]
        losses = _losses(stacks, optimizer, [trial.params for trial in drawn], "tune", SEEDS)
        for trial, loss in zip(drawn, losses, strict=True):
            study.tell(trial, loss)
        watch(done + len(drawn))
    ordered = sorted(study.get_trials(), key=lambda trial: trial.values[0])[:FINALISTS]
    finals = _losses(stacks, optimizer, [t.params for t in ordered], "tune again", 2 * SEEDS)
    best, loss = min(zip(ordered, finals, strict=True), key=lambda pair: pair[1])
    return Baseline(optimizer, _setting(best.params), loss, trials)


def _losses(
    stacks: Sequence[Stack],
    optimizer: str,
    settings: Sequence[Mapping[str, float]],
    purpose: str,
    count: int,
) -> list[float]:
    """Mean log validation loss of each setting; a large number where training failed."""
    programs = [BUILDERS[optimizer](_setting(setting)) for setting in settings]
    total = torch.zeros(len(programs), dtype=torch.float64)
    for stack in stacks:
        chosen = seeds(0, stack.task.name, purpose, count)
        total += train_population(stack, programs, chosen).losses.log().mean(1)
    losses = (total / len(stacks)).tolist()
    return [loss if math.isfinite(loss) else 1e3 for loss in losses]


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


def other_version(setting: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    """Say on which tasks a committed setting was found in another version; empty if on none.

    Args:
        setting: The entry of the file, with the ``hashes`` of its tasks.
        tasks: Those that it is used on.
    """
    hashes = setting.get("hashes", {})
    others = [task.name for task in tasks if hashes.get(task.name) != task.hash]
    return f"found on another version of the data of {', '.join(others)}" if others else ""


def known_settings(tasks: Sequence[Task]) -> tuple[Program, ...]:
    """Give what is known to be good on all of some shipped tasks together.

    That is AdamW tuned on all of them at once, and the winner of a search over its constants.
    """
    names = [task.name for task in tasks]
    found = []
    joint, control = stored().get("joint"), stored().get("constants")
    if joint and joint["tasks"] == names:
        found.append(adamw(joint["parameters"]))
    if control and control["tasks"] == names:
        found.append(parse(control["program"]))
    return tuple(found)


def samplers() -> list[optuna.samplers.BaseSampler]:
    """Give the ways to draw settings, each for a third of the trials: random, then TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return [
            optuna.samplers.RandomSampler(seed=0),
            optuna.samplers.TPESampler(seed=0, n_startup_trials=0),
            optuna.samplers.TPESampler(
                seed=0, n_startup_trials=0, multivariate=True, constant_liar=True
            ),
        ]


def _setting(drawn: Mapping[str, float]) -> dict[str, float]:
    setting = {
        name.replace("one_minus_", ""): 1 - value if name.startswith("one_minus") else value
        for name, value in drawn.items()
    }
    return {name: round_constant(float(value)) for name, value in setting.items()}

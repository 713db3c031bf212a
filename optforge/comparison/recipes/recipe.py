"""A recipe: an optimizer, the space in which it is tuned, and its schedule."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optforge.comparison.recipes.cache_key import checked_content_key
from optforge.comparison.recipes.optimizer_source import OptimizerSource
from optforge.comparison.schedules import SCHEDULES
from optforge.errors import CompareError
from optforge.language import hidden_matrices
from optforge.tasks.schedule import Schedule
from optforge.tuning import COMPLEMENT, SHAPE, Dimension, Setting, Space, memory_range
from optforge.tuning.dimension import MEMORY

TUNED: tuple[str, ...] = ("lr", "weight_decay", "betas")
DECAYED = ("all", "matrices")
_FOR_ZERO = 0.03  # the middle of a range whose default is 0


@dataclass(frozen=True)
class Recipe:
    """An optimizer with everything that belongs to it except a task.

    Args:
        name: Name in tables.
        source: Builds the optimizer.
        space: The space in which it is tuned.
        fixed: Further settings of the optimizer that are the same in every run.
        schedule: ``cosine``, ``linear`` or ``constant``, each after the warm-up.
        decay: Whether weight decay applies to ``all`` parameters or only to ``matrices``.
        clip: Global norm to which gradients are scaled down; None for no clipping.

    Example:
        >>> from optforge.comparison import load_recipe
        >>> load_recipe("lion").space.names
        ('lr', 'weight_decay', 'one_minus_beta1', 'one_minus_beta2')
    """

    name: str
    source: OptimizerSource
    space: Space
    fixed: tuple[tuple[str, Any], ...] = ()
    schedule: str = "cosine"
    decay: str = "all"
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise CompareError(
                f"schedule {self.schedule!r} of {self.name}; there are {', '.join(SCHEDULES)}"
            )
        if self.decay not in DECAYED:
            raise CompareError(
                f"decay {self.decay!r} of {self.name}; weight decay acts on {' or '.join(DECAYED)}"
            )
        if self.clip is not None and not _is_norm(self.clip):
            raise CompareError(
                f"clip {self.clip!r} of {self.name}; give the largest norm of the gradients, "
                "a number above 0, or leave it out"
            )
        for name, _ in self.fixed:
            if self.is_of_the_run(name):
                raise CompareError(_fixes(self.name, name))
        for name in self.space.names:
            if self.is_of_the_run(name) and not self._has_effect(name):
                raise CompareError(
                    f"{self.name} tunes {name!r}, which changes nothing under a constant "
                    "schedule; leave it out, or choose cosine or linear"
                )

    @property
    def content_key(self) -> str:
        """Sixteen digits over everything that decides a run, except the setting and the name."""
        content = [self.source.content_key, self.fixed, self.schedule, self.decay, self.clip]
        text = json.dumps(content, default=checked_content_key)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def is_of_the_run(self, name: str) -> bool:
        """Return whether a setting shapes the schedule and does not belong to the optimizer."""
        return name == "warmup" or (name in SHAPE and not self.source.tunable(name))

    def make(self, model: nn.Module, setting: Setting, steps: int | None = None) -> Optimizer:
        """Build the optimizer for a model.

        Args:
            model: The model; its parameters are passed in order.
            setting: Values by name; those that shape the schedule are ignored.
            steps: Number of steps of the whole run, for rules that depend on its progress.
        """
        values = {**dict(self.fixed), **dict(setting)}
        values = {name: value for name, value in values.items() if not self.is_of_the_run(name)}
        if self.source.asks_progress and steps is not None:
            values.setdefault("total_steps", steps)
        return self.source.make(self._groups(model), values)

    def shape(self, setting: Setting, warmup: float) -> Schedule:
        """Return the shape of the schedule under a setting.

        Args:
            setting: Values by name.
            warmup: Warm-up of the task, used if the setting has none.

        Example:
            >>> from optforge.comparison import load_recipe
            >>> load_recipe("adamw").shape((("final_lr", 0.1),), 0.2)
            Schedule(warmup=0.2, power=1.0, final=0.1)
        """
        values = {name: value for name, value in setting if self.is_of_the_run(name)}
        power, final = values.get("decay_power", 1.0), values.get("final_lr", 0.0)
        return Schedule(values.get("warmup", warmup), power, final)

    def tuning(self, names: Sequence[str]) -> Recipe:
        """Return the recipe with only some dimensions tuned, including the schedule's if named.

        ``schedule`` stands for ``warmup``, ``decay_power`` and ``final_lr``. A constant schedule
        has only a warm-up. An argument of the optimizer that has no range gets one around its
        default.

        The default names select all dimensions, because a user's own space may have more than
        these.
        """
        names = [self.source.common_name(name) for name in names]
        shape = [
            name
            for name in SHAPE
            if {name, "schedule"} & set(names)
            and self.is_of_the_run(name)
            and self._has_effect(name)
        ]
        whole = set(names) == set(TUNED)
        space = self.space if whole else self.space.only((*names, *shape))
        more = [SHAPE[name] for name in shape if name not in space.names]
        more += [d for name in dict.fromkeys(names) if (d := self.default_dimension(name))]
        return replace(self, space=Space((*space.dimensions, *more)))

    def default_dimension(self, name: str) -> Dimension | None:
        """Return a range for an argument without one: around its default, if that is not below 0.

        Example:
            >>> from optforge.comparison import load_recipe
            >>> load_recipe("torch:Adam").default_dimension("eps").high
            3e-07
        """
        listed = {*TUNED, "schedule", *SHAPE}.union(*(d.called for d in self.space.dimensions))
        if name in listed or name not in self.source.accepts:
            return None
        return dimension_around(name, self.source.default(name))

    def _has_effect(self, name: str) -> bool:
        """Return whether a dimension of the schedule has any effect."""
        return name == "warmup" or self.schedule != "constant"

    def _groups(self, model: nn.Module) -> list[Any]:
        """Return the parameters, in groups if weight decay or the rule treats them differently."""
        matrices = self.source.tells_matrices
        by_decay = self.decay == "matrices" and self.source.tunable("weight_decay")
        pairs = [
            (p, hidden)
            for p, hidden in zip(model.parameters(), hidden_matrices(model), strict=True)
            if p.requires_grad
        ]
        if not by_decay and not matrices:
            return [p for p, _ in pairs]
        roles: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for p, hidden in pairs:
            roles.setdefault((by_decay and p.dim() < 2, matrices and not hidden), []).append(p)
        return [
            {"params": roles[undecayed, other]}
            | ({"weight_decay": 0.0} if undecayed else {})
            | ({"matrices": not other} if matrices else {})
            for undecayed, other in sorted(roles)
        ]


def tuned_recipes(recipes: Sequence[Recipe], names: Sequence[str]) -> tuple[Recipe, ...]:
    """Return the recipes with only some dimensions tuned.

    Args:
        recipes: The recipes with all their dimensions.
        names: ``lr``, ``weight_decay``, ``betas``, ``schedule`` or one of its dimensions,
            dimensions of the recipes' spaces, or arguments of an optimizer.

    Raises:
        CompareError: If no recipe has a dimension of that name, or a recipe is left without any.

    Example:
        >>> from optforge.comparison import load_recipe
        >>> tuned_recipes([load_recipe("sgd")], ["lr", "betas"])[0].space.names
        ('lr', 'one_minus_beta1')
    """
    dimensions = [dimension for recipe in recipes for dimension in recipe.space.dimensions]
    known = {*TUNED, "schedule", *SHAPE}.union(*(d.called for d in dimensions))
    for name in names:
        taken = {recipe.source.common_name(name) for recipe in recipes} & known
        if not taken and not any(recipe.default_dimension(name) for recipe in recipes):
            there = ", ".join(sorted(n for n in known if not n.startswith("one_minus_")))
            raise CompareError(
                f"no optimizer has {name!r} to tune; there are {there}, and arguments whose "
                "default is a number of at least 0; others need a range, as in the space of a suite"
            )
    tuned = tuple(recipe.tuning(names) for recipe in recipes)
    for recipe in tuned:
        if not recipe.space.dimensions:
            raise CompareError(
                f"nothing of {recipe.name} is tuned by {', '.join(names)}; tune lr at least"
            )
    return tuned


def _fixes(recipe: str, name: str) -> str:
    if name == "warmup":
        return (
            f"{recipe} fixes 'warmup', which is the task's, the same for all; set it "
            "there, as in --fix warmup=0.1, or tune it in the optimizer's space"
        )
    return f"{recipe} fixes {name!r}, which is the schedule's; tune it in the optimizer's space"


def _is_norm(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < value <= sys.float_info.max


def default_space(source: OptimizerSource) -> Space:
    """Return a wide space around the defaults of an optimizer without a preset.

    The learning rate varies by a factor of 30 in both directions, weight decay by 30 around its
    default (or around 0.03 if that is 0), and the memory of each average from 2 to 1,000 steps.
    """
    dimensions = []
    if source.tunable("lr"):
        lr = source.default("lr") or 1e-3
        dimensions.append(Dimension("lr", lr / 30, lr * 30))
    if source.tunable("weight_decay"):
        decay = source.default("weight_decay") or _FOR_ZERO
        dimensions.append(Dimension("weight_decay", decay / 30, decay * 30))
    for name, low in (("beta1", 0.02), ("beta2", 0.001)):
        if source.tunable(name):
            dimensions.append(Dimension(f"one_minus_{name}", low, 0.5, floor=1e-5, ceiling=1.0))
    return Space(tuple(dimensions))


def dimension_around(name: str, default: float | None) -> Dimension | None:
    """Return a range around a default: a factor of 30 both ways, or that of a similar memory.

    A default of 0, around which no factor leads anywhere, is taken as 0.03, as for weight decay.
    """
    if default is None or not 0 <= default < math.inf:
        return None
    if MEMORY.fullmatch(name) and default < 1:
        low, high = memory_range(default)
        return Dimension(COMPLEMENT + name, low, high, floor=1e-5, ceiling=1.0)
    middle = default or _FOR_ZERO
    return Dimension(name, middle / 30, middle * 30)


def ranges_of(recipe: Recipe) -> Mapping[str, tuple[float, float]]:
    """Return the ranges of a recipe by the name of the dimension."""
    return {d.name: (d.low, d.high) for d in recipe.space.dimensions}

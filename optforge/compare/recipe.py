"""A recipe: an optimizer, the space in which it is tuned, and its schedule."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from torch.optim import Optimizer

from optforge.compare.identity import content_hash
from optforge.compare.schedules import SCHEDULES
from optforge.compare.sources import Source
from optforge.compare.space import Dimension, Setting, Space
from optforge.errors import CompareError

TUNED: tuple[str, ...] = ("lr", "weight_decay", "betas")
DECAYED = ("all", "matrices")
_OF_THE_RUN = ("warmup",)  # settings that are not the optimizer's


@dataclass(frozen=True)
class Recipe:
    """What is compared: an optimizer with all that belongs to it, but no task.

    Args:
        name: How tables call it.
        source: Makes the optimizer.
        space: What is tuned.
        fixed: Further settings of the optimizer, the same in every run.
        schedule: ``cosine``, ``linear`` or ``constant``, each after the warm-up.
        decay: Whether weight decay acts on ``all`` parameters or on ``matrices`` alone.
        clip: Gradients are scaled down to this global norm; None: never.

    Example:
        >>> from optforge.compare import load_recipe
        >>> load_recipe("lion").space.names
        ('lr', 'weight_decay', 'one_minus_beta1', 'one_minus_beta2')
    """

    name: str
    source: Source
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
        if fixed := sorted({name for name, _ in self.fixed} & set(_OF_THE_RUN)):
            raise CompareError(
                f"{self.name} fixes {fixed[0]!r}, which is the task's, the same for all; set it "
                f"there, as in --fix {fixed[0]}=0.1, or tune it in the optimizer's space"
            )

    @property
    def identity(self) -> str:
        """Sixteen digits over everything that decides a run, except the setting; not the name."""
        content = [self.source.identity, self.fixed, self.schedule, self.decay, self.clip]
        text = json.dumps(content, default=content_hash)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def make(self, model: nn.Module, setting: Setting) -> Optimizer:
        """Make the optimizer for a model.

        Args:
            model: Its parameters are taken in their order.
            setting: Values by name; ``warmup`` is the run's and left out.
        """
        values = {**dict(self.fixed), **dict(setting)}
        values = {name: value for name, value in values.items() if name not in _OF_THE_RUN}
        return self.source.make(self._groups(model), values)

    def tuning(self, names: Sequence[str]) -> Recipe:
        """The recipe with only some dimensions tuned, and the warm-up where it is named.

        Where nothing else is asked for than by default, all are: a space of one's own may have
        more than the default names.
        """
        space = self.space if set(names) == set(TUNED) else self.space.only(names)
        if "warmup" in names and "warmup" not in space.names:
            warmup = Dimension("warmup", 0.01, 0.3, log=True, floor=0.001, ceiling=0.5)
            space = Space((*space.dimensions, warmup))
        return replace(self, space=space)

    def _groups(self, model: nn.Module) -> list[Any]:
        parameters = [p for p in model.parameters() if p.requires_grad]
        if self.decay == "all" or not self.source.tunable("weight_decay"):
            return parameters
        matrices = [p for p in parameters if p.dim() >= 2]
        others = [p for p in parameters if p.dim() < 2]
        groups = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
        return [group for group in groups if group["params"]]


def tuned_recipes(recipes: Sequence[Recipe], names: Sequence[str]) -> tuple[Recipe, ...]:
    """Recipes with only some dimensions tuned.

    Args:
        recipes: As they were made.
        names: ``lr``, ``weight_decay``, ``betas``, ``warmup``, or dimensions of their spaces.

    Raises:
        CompareError: If nobody has a dimension of that name, or somebody is left without any.

    Example:
        >>> from optforge.compare import load_recipe
        >>> tuned_recipes([load_recipe("sgd")], ["lr", "betas"])[0].space.names
        ('lr', 'one_minus_beta1')
    """
    dimensions = [dimension for recipe in recipes for dimension in recipe.space.dimensions]
    known = {*TUNED, *_OF_THE_RUN}.union(*(d.called for d in dimensions))
    for name in names:
        if name not in known:
            there = ", ".join(sorted(n for n in known if not n.startswith("one_minus_")))
            raise CompareError(f"no optimizer has {name!r} to tune; there are {there}")
    made = tuple(recipe.tuning(names) for recipe in recipes)
    for recipe in made:
        if not recipe.space.dimensions:
            raise CompareError(
                f"nothing of {recipe.name} is tuned by {', '.join(names)}; tune lr at least"
            )
    return made


def _is_norm(value: Any) -> bool:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return plain and 0 < value < math.inf


def default_space(source: Source) -> Space:
    """A wide space about the defaults of an optimizer that no preset knows.

    The learning rate varies by a factor of 30 to both sides, weight decay by 30 about its default
    or about 0.03 where that is 0, and the memory of each average from 2 to 1,000 steps.
    """
    dimensions = []
    if source.tunable("lr"):
        lr = source.default("lr") or 1e-3
        dimensions.append(Dimension("lr", lr / 30, lr * 30))
    if source.tunable("weight_decay"):
        decay = source.default("weight_decay") or 0.03
        dimensions.append(Dimension("weight_decay", decay / 30, decay * 30))
    for name, low in (("beta1", 0.02), ("beta2", 0.001)):
        if source.tunable(name):
            dimensions.append(Dimension(f"one_minus_{name}", low, 0.5, floor=1e-5, ceiling=1.0))
    return Space(tuple(dimensions))


def ranges_of(recipe: Recipe) -> Mapping[str, tuple[float, float]]:
    """The ranges of a recipe as a report prints them."""
    return {d.name: (d.low, d.high) for d in recipe.space.dimensions}

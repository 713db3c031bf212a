"""From a tuned AdamW to Lion: a smaller rate, a larger weight decay, the same schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.saved import OF_NO_ADAM, name_of_source
from optforge.optim.settings import BETAS, RATE, as_float, numbers_where

Group = dict[str, Any]
AdamWSettings = torch.optim.Optimizer | Mapping[str, Any] | Iterable[Mapping[str, Any]]

# What param groups and torch's schedulers keep in units of the learning rate.
RATES_OF_GROUPS = ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr")
RATES_OF_SCHEDULERS = (
    *("base_lrs", "_last_lr", "eta_min", "max_lrs", "min_lrs", "default_min_lr"),
    "eps",  # of ReduceLROnPlateau: the smallest change of the rate that counts
)
_KEPT = ("params", "param_names", "name", "maximize")  # these mean the same for both
_LARGEST = 100.0


@dataclass(frozen=True)
class LionRecipe:
    """Settings for `Lion` that correspond to a tuned AdamW; made by `lion_from_adamw`.

    Args:
        groups: The param groups for `Lion`, one for each of AdamW's, with `lr`, `weight_decay`,
            `betas` and whatever else AdamW's group had that means the same for Lion (`params`,
            names, `maximize`, `initial_lr` and other rates of its scheduler).
        divisor: AdamW's learning rate over Lion's, and Lion's weight decay over AdamW's.
    """

    groups: tuple[Group, ...]
    divisor: float

    @property
    def keywords(self) -> dict[str, Any]:
        """Return `lr`, `betas` and `weight_decay` for `Lion`, where one group says it all.

        Raises:
            OptimizerError: If there are several groups with different settings.
        """
        names = ("lr", "betas", "weight_decay")
        settings = [{name: group[name] for name in names} for group in self.groups]
        if any(other != settings[0] for other in settings[1:]):
            raise OptimizerError(
                f"the recipe has {len(settings)} groups with different settings; "
                "pass `recipe.groups` to Lion as its params"
            )
        return settings[0]

    def scaled(self, rate: Any) -> Any:
        """Translate what is given in units of AdamW's learning rate.

        Args:
            rate: A number, a tensor, None, a list or tuple of these, or a function that returns
                one (a schedule in absolute rates).

        Returns:
            The same with every rate divided by `divisor`.

        Example:
            >>> recipe = lion_from_adamw({"lr": 1e-3, "weight_decay": 0.1}, divisor=8)
            >>> recipe.scaled([8e-4, None])
            [0.0001, None]
            >>> recipe.scaled(lambda step: 8e-4 / (1 + step))(1)
            5e-05
        """
        if rate is None:
            return None
        if callable(rate):
            return _after(rate, self.scaled)
        if isinstance(rate, list | tuple):
            return type(rate)(self.scaled(item) for item in rate)
        return (rate if isinstance(rate, Tensor) else as_float(rate)) / self.divisor

    def scheduler_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Translate the `state_dict()` of AdamW's torch scheduler for the same scheduler on Lion.

        Factors, lengths and counters stay; base rates, floors and peaks are divided, also
        inside `SequentialLR` and `ChainedScheduler`. Load the result into a scheduler of the same
        class built on Lion.

        Example:
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> adamw = torch.optim.AdamW([weight], lr=1e-3)
            >>> schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adamw, 100, eta_min=8e-5)
            >>> recipe = lion_from_adamw(adamw, divisor=8)
            >>> recipe.scheduler_state(schedule.state_dict())["eta_min"]
            1e-05
        """
        translated = dict(state)
        for name in RATES_OF_SCHEDULERS:
            if name in translated:
                translated[name] = self.scaled(translated[name])
        if "_schedulers" in translated:
            inner = translated["_schedulers"]
            translated["_schedulers"] = [self.scheduler_state(scheduler) for scheduler in inner]
        return translated


def lion_from_adamw(
    adamw: AdamWSettings, *, divisor: float = 10.0, betas: tuple[float, float] = (0.9, 0.99)
) -> LionRecipe:
    r"""Translate the settings of a tuned AdamW into settings for `Lion`.

    A sign update has root mean square 1, AdamW's mostly far less, so that the rate falls and the
    weight decay rises by one divisor :math:`d`, and the strength of the decay stays:

    .. math::
        \eta_{Lion} = \eta / d, \quad \lambda_{Lion} = d \lambda, \quad
        \eta_{Lion} \lambda_{Lion} = \eta \lambda .

    The whole schedule falls by the same divisor. Multiplicative schedules (`LambdaLR`, warm-up,
    cosine to zero) do so by themselves, since they multiply the group's rate; what is given in
    absolute rates goes through `LionRecipe.scaled` or `LionRecipe.scheduler_state`. Gradient
    clipping stays as it is.

    Args:
        adamw: An AdamW optimizer, its param groups, or one mapping with `lr` and `weight_decay`.
            Each group is translated by itself, so groups without decay stay without.
        divisor: From 3 to 10 in the paper, nearly always 10 there; at most 100. A smaller one is
            bolder. Try 3, 5 and 10 if you can.
        betas: Of Lion, not those of AdamW, which mean something else: (0.9, 0.99), or
            (0.95, 0.98) for language models and where training is unstable.

    Returns:
        A frozen `LionRecipe`: `.groups` go to `Lion` as its params, `.keywords` as its keywords.

    Raises:
        OptimizerError: If `lr` or `weight_decay` is missing, if the divisor or betas are out of
            range, if the groups are those of SGD, RMSprop, Adagrad or Adafactor, or if the decay
            is Adam's L2 term, which has no counterpart.

    Example:
        >>> recipe = lion_from_adamw({"lr": 1e-3, "weight_decay": 0.1})
        >>> recipe.keywords
        {'lr': 0.0001, 'betas': (0.9, 0.99), 'weight_decay': 1.0}

    Source: Symbolic Discovery of Optimization Algorithms, section 5 and table 12.
    """
    divisor = float(_DIVISOR.plain("divisor", divisor))
    betas = BETAS.plain("betas", betas)
    groups = tuple(_translated(group, divisor, betas) for group in _groups(adamw))
    if not groups:
        raise OptimizerError("got no param group; pass an AdamW optimizer, its groups or a mapping")
    return LionRecipe(groups, divisor)


_DIVISOR = numbers_where(
    lambda value: 1 <= value <= _LARGEST, f"a number from 1 to {_LARGEST:g}, commonly 3 to 10"
)


def _groups(adamw: AdamWSettings) -> list[Any]:
    if isinstance(adamw, torch.optim.Optimizer):
        if not all({"betas", "eps"} <= set(group) for group in adamw.param_groups):
            raise OptimizerError(
                f"got {type(adamw).__name__}, which is not AdamW: its groups lack 'betas' or 'eps'"
            )
        return adamw.param_groups
    if not isinstance(adamw, Iterable):
        raise OptimizerError(
            f"got {type(adamw).__name__}; pass an AdamW optimizer, its param_groups or a mapping"
        )
    return [dict(adamw)] if isinstance(adamw, Mapping) else list(adamw)


def _translated(group: Mapping[str, Any], divisor: float, betas: tuple[float, float]) -> Group:
    if not isinstance(group, Mapping) or not {"lr", "weight_decay"} <= set(group):
        received = list(group) if isinstance(group, Mapping) else type(group).__name__
        raise OptimizerError(
            f"a group needs 'lr' and 'weight_decay'; got {received}. Pass an AdamW optimizer, its "
            "param_groups or a mapping with both"
        )
    if (source := name_of_source(group)) in OF_NO_ADAM:
        raise OptimizerError(
            f"the group is one of {source}, whose rates mean something else; tune AdamW first, or "
            "pass the lr and weight_decay of an AdamW as a mapping"
        )
    rates = {name: RATE.plain(name, group[name]) for name in RATES_OF_GROUPS if name in group}
    decay = RATE.plain("weight_decay", group["weight_decay"])
    if decay and not group.get("decoupled_weight_decay", not _is_adamax(group)):
        raise OptimizerError(
            f"the group has L2 decay {as_float(decay):g} inside the gradient (Adam, Adamax); only "
            "decoupled decay (AdamW) translates. Set weight_decay=0, or tune AdamW first"
        )
    kept = {name: group[name] for name in _KEPT if name in group}
    # A tensor becomes another tensor, so that AdamW keeps its own.
    rates = {name: rate / divisor for name, rate in rates.items()}
    return {**kept, **rates, "betas": betas, "weight_decay": decay * divisor}


def _is_adamax(group: Mapping[str, Any]) -> bool:
    """Return whether a group is one of torch's Adamax, which does not say how it decays."""
    return {"betas", "eps", "capturable"} <= set(group) and "amsgrad" not in group


def _after(first: Callable[..., Any], then: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *arguments, **keywords: then(first(*arguments, **keywords))

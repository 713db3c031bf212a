"""Recipes by name. The ranges are as wide for each; a best trial at an edge widens them.

Learning rates span 2.5 decades and weight decays 3. Lion's rate starts three times below AdamW's
and its decay three times above, the near end of what table 12 of the paper has (3 to 10): the
farther one left the best rates of short runs at the top of the range or beyond. Betas are tuned for
all, so that no baseline is a straw man.

Where the elements of an update have a root mean square of about 1, as those of a sign or of an
orthogonalized matrix, the rate has Lion's range; about 0.2, as AdamW's and Muon's have, AdamW's.
LAMB's rate is a share of the norm of each array.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Any, TypeAlias

from optforge.comparison.ranges import SHAPE, dimensions_from
from optforge.comparison.recipes.optimizer_source import (
    OptimizerSource,
    class_source,
    find_source,
    rule_source,
)
from optforge.comparison.recipes.recipe import Recipe, default_space
from optforge.comparison.space import Dimension, Space
from optforge.errors import CompareError
from optforge.language import load_rule, parse, rule_names
from optforge.optim import Lion

_Ranges: TypeAlias = Mapping[str, tuple[float, float]]

_ADAM = {"lr": (3e-4, 1e-1), "weight_decay": (1e-3, 1.0)}
_SIGN = {"lr": (1e-4, 3e-2), "weight_decay": (3e-3, 3.0)}
_PLAIN = {"lr": (3e-3, 1.0), "weight_decay": (1e-4, 1e-1)}
_RATIO = {"lr": (1e-3, 3e-1), "weight_decay": (1e-3, 1.0)}
_MEMORY = {"beta1": (0.02, 0.5), "beta2": (0.001, 0.3)}
_SLOWER = (0.0003, 0.1)  # of a third average that remembers ten times longer


def recipe_names() -> tuple[str, ...]:
    """Names of the presets.

    Example:
        >>> "adafactor" in recipe_names()
        True
    """
    return tuple(_PRESETS)


def load_recipe(
    name: str,
    optimizer: str | Callable[..., Any] | None = None,
    space: Mapping[str, Sequence[float]] | None = None,
    **changes: Any,
) -> Recipe:
    """Make a recipe from a preset, or from anything that :func:`find_source` finds.

    Args:
        name: How tables call it; a preset or an optimizer if ``optimizer`` is not given.
        optimizer: A preset, an optimizer's name or file, or a class.
        space: Ranges, as ``{"lr": [1e-4, 1e-1]}``, in place of those of the preset.
        changes: ``schedule``, ``decay``, ``clip`` or ``fixed`` in place of the preset's.

    Raises:
        CompareError: If there is no such optimizer, or a range or setting is not one of it.

    Example:
        >>> load_recipe("torch:RMSprop", space={"lr": [1e-4, 1e-1]}).space.names
        ('lr',)
    """
    given = name if optimizer is None else optimizer
    if not isinstance(given, str):
        source = class_source(given)
        made = Recipe(name, source, default_space(source))
    elif given in _PRESETS:
        made = _PRESETS[given](name)
    else:
        source = find_source(given)
        made = Recipe(_short(name), source, default_space(source))
    if space is not None:
        shape = [dimension for dimension in SHAPE if made.is_of_the_run(dimension)]
        made = replace(made, space=Space(dimensions_from(space, shape)))
    if "fixed" in changes:
        if not isinstance(changes["fixed"], Mapping):
            raise CompareError(
                f"fixed of {name} is {changes['fixed']!r}; write it as {{ eps = 1e-6 }}"
            )
        changes["fixed"] = (*made.fixed, *changes["fixed"].items())
    return _checked(replace(made, **changes))


def _checked(recipe: Recipe) -> Recipe:
    for name in recipe.space.names:
        own = name.removeprefix("one_minus_")
        if not recipe.is_of_the_run(own) and not recipe.source.tunable(own):
            there = ", ".join(sorted(recipe.source.accepts))
            raise CompareError(f"{recipe.name} cannot tune {own!r}; it has {there}")
    if not recipe.space.dimensions:
        raise CompareError(f"{recipe.name} has nothing to tune, not even a learning rate")
    return recipe


def _short(name: str) -> str:
    """A file by its name without folders; anything else as it is."""
    return name.rsplit("/", 1)[-1]


def _space(ranges: _Ranges, betas: Sequence[str]) -> Space:
    return _space_of(ranges, {beta: _MEMORY[beta] for beta in betas})


def _space_of(ranges: _Ranges, memories: _Ranges) -> Space:
    dimensions = [Dimension(name, low, high) for name, (low, high) in ranges.items()]
    for beta, (low, high) in memories.items():
        dimensions.append(Dimension(f"one_minus_{beta}", low, high, floor=1e-5, ceiling=1.0))
    return Space(tuple(dimensions))


def _library(
    place: str,
    ranges: _Ranges,
    betas: Sequence[str] = ("beta1", "beta2"),
    **fixed: Any,
) -> Callable[[str], Recipe]:
    def make(name: str) -> Recipe:
        source = find_source(place)
        return Recipe(name, source, _space(ranges, betas), tuple(fixed.items()))

    return make


def _lion(name: str) -> Recipe:
    return Recipe(name, class_source(Lion), _space(_SIGN, ("beta1", "beta2")))


def _rule(
    file: str,
    ranges: _Ranges,
    betas: Sequence[str] = ("beta1",),
    **fixed: Any,
) -> Callable[[str], Recipe]:
    def make(name: str) -> Recipe:
        return Recipe(name, _shipped(file), _space(ranges, betas), tuple(fixed.items()))

    return make


def _language_rule(rule: str, ranges: _Ranges) -> Callable[[str], Recipe]:
    """Return the preset of a rule that ships with the language; it tunes all its betas."""

    def make(name: str) -> Recipe:
        source = rule_source(load_rule(rule))
        own = {key: value for key, value in ranges.items() if source.tunable(key)}
        betas = {n: _memory(value) for n, value in source.defaults.items() if n.startswith("beta")}
        return Recipe(name, source, _space_of(own, betas))

    return make


def _memory(beta: float) -> tuple[float, float]:
    """Return the range of 1 - beta: AdamW's for an average that remembers about as long.

    Example:
        >>> _memory(0.9), _memory(0.99), _memory(0.9999)
        ((0.02, 0.5), (0.001, 0.3), (0.0003, 0.1))
    """
    if 1 - beta > 0.03:
        return _MEMORY["beta1"]
    return _MEMORY["beta2"] if 1 - beta > 5e-4 else _SLOWER


def _shipped(file: str) -> OptimizerSource:
    place = resources.files("optforge.comparison") / "rules" / f"{file}.txt"
    return rule_source(parse(place.read_text(encoding="utf-8")))


_OF_THE_LANGUAGE: Mapping[str, _Ranges] = {
    "muon": _ADAM,
    "nadamw": _ADAM,
    "adan": _ADAM,
    "ademamix": _ADAM,
    "mars": _ADAM,
    "cautious_adamw": _ADAM,
    "cautious_lion": _SIGN,
    "lamb": _RATIO,
    "ortho_adam": _SIGN,
    "ortho_lion": _SIGN,
}
_PRESETS: Mapping[str, Callable[[str], Recipe]] = {
    "adamw": _library("torch:AdamW", _ADAM, fused=True),
    "lion": _lion,
    "sgd": _library("torch:SGD", _PLAIN, ("beta1",), fused=True),
    "adafactor": _library("timm:adafactorbv", _ADAM),
    "radam": _library("torch:RAdam", _ADAM, decoupled_weight_decay=True),
    "nadam": _library("torch:NAdam", _ADAM, decoupled_weight_decay=True),
    "adabelief": _library("timm:adabelief", _ADAM),
    "amsgrad": _library("torch:AdamW", _ADAM, fused=True, amsgrad=True),
    "powersign": _rule("powersign", _PLAIN),
    "addsign": _rule("addsign", _PLAIN),
    "ablation_0.9": _rule("momentum_sign", _SIGN, (), beta1=0.9),
    "ablation_0.99": _rule("momentum_sign", _SIGN, (), beta1=0.99),
    **{
        name: _language_rule(name, ranges)
        for name, ranges in _OF_THE_LANGUAGE.items()
        if name in rule_names()
    },
}

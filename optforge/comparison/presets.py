"""Recipes by name: real optimizers with the ranges known to `optforge.tuning`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from optforge.comparison.recipes.optimizer_source import (
    OptimizerSource,
    class_source,
    find_source,
    rule_source,
)
from optforge.comparison.recipes.recipe import Recipe, default_space
from optforge.errors import CompareError
from optforge.language import discovered_names, load_rule, parse
from optforge.optim import Lion
from optforge.options import plain_value
from optforge.tuning import (
    COMPLEMENT,
    SHAPE,
    Space,
    dimensions_from,
    memory_range,
    space_of,
)


def recipe_names() -> tuple[str, ...]:
    """Return the names of the presets.

    Example:
        >>> "adafactor" in recipe_names()
        True
    """
    return tuple(_PRESETS)


def load_recipe(
    name: str | Path,
    optimizer: str | Path | Callable[..., Any] | None = None,
    space: Mapping[str, Sequence[float]] | None = None,
    **changes: Any,
) -> Recipe:
    """Build a recipe from a preset, or from anything that :func:`find_source` finds.

    Args:
        name: Name in tables; also names a preset or optimizer if ``optimizer`` is not given.
        optimizer: A preset, an optimizer's name or file, or a class.
        space: Ranges, such as ``{"lr": [1e-4, 1e-1]}``, in place of the preset's.
        changes: ``schedule``, ``decay``, ``clip`` or ``fixed`` in place of the preset's.

    Raises:
        CompareError: If there is no such optimizer, or it lacks a given range or setting.

    Example:
        >>> load_recipe("torch:RMSprop", space={"lr": [1e-4, 1e-1]}).space.names
        ('lr',)
    """
    name = os.fspath(name) if isinstance(name, os.PathLike) else name
    if not isinstance(name, str) or not name.strip():
        raise CompareError(f"an optimizer is called {name!r}; give it a name, which is a text")
    changes = {key: plain_value(value) for key, value in changes.items()}
    chosen = name if optimizer is None else optimizer
    chosen = os.fspath(chosen) if isinstance(chosen, os.PathLike) else chosen
    if not isinstance(chosen, str):
        source = class_source(chosen)
        recipe = Recipe(name, source, default_space(source))
    elif chosen in _PRESETS:
        recipe = _PRESETS[chosen](name, chosen)
    else:
        source = find_source(chosen)
        recipe = Recipe(_short(name), source, default_space(source))
    if space is not None:
        shape = [dimension for dimension in SHAPE if recipe.is_of_the_run(dimension)]
        recipe = replace(recipe, space=Space(dimensions_from(space, shape)))
    if "fixed" in changes:
        if not isinstance(changes["fixed"], Mapping):
            raise CompareError(
                f"fixed of {name} is {changes['fixed']!r}; write it as {{ eps = 1e-6 }}"
            )
        fixed = {key: plain_value(value) for key, value in changes["fixed"].items()}
        changes["fixed"] = (*recipe.fixed, *fixed.items())
    return _checked(replace(recipe, **changes))


def _checked(recipe: Recipe) -> Recipe:
    for name in recipe.space.names:
        tuned_name = name.removeprefix("one_minus_")
        if not recipe.is_of_the_run(tuned_name) and not recipe.source.tunable(tuned_name):
            there = ", ".join(sorted(recipe.source.accepts))
            raise CompareError(f"{recipe.name} cannot tune {tuned_name!r}; it has {there}")
    if not recipe.space.dimensions:
        raise CompareError(f"{recipe.name} has nothing to tune, not even a learning rate")
    return recipe


def _short(name: str) -> str:
    """Return the last part of a file's path; return other names unchanged."""
    return name.rsplit("/", 1)[-1]


def _library(
    place: str, betas: Sequence[str] = ("beta1", "beta2"), **fixed: Any
) -> Callable[[str, str], Recipe]:
    def make(name: str, preset: str) -> Recipe:
        return Recipe(name, find_source(place), space_of(preset, betas), tuple(fixed.items()))

    return make


def _lion(name: str, preset: str) -> Recipe:
    return Recipe(name, class_source(Lion), space_of(preset, ("beta1", "beta2")))


def _rule(
    file: str, betas: Sequence[str] = ("beta1",), **fixed: Any
) -> Callable[[str, str], Recipe]:
    def make(name: str, preset: str) -> Recipe:
        return Recipe(name, _shipped(file), space_of(preset, betas), tuple(fixed.items()))

    return make


def _language_rule(name: str, preset: str) -> Recipe:
    """Return the preset of a rule that ships with the language; it tunes all its betas."""
    source = rule_source(load_rule(preset))
    betas = {
        key: memory_range(value) for key, value in source.defaults.items() if key.startswith("beta")
    }
    dimensions = [
        dimension
        for dimension in space_of(preset, betas).dimensions
        if dimension.name.startswith(COMPLEMENT) or source.tunable(dimension.name)
    ]
    return Recipe(name, source, Space(tuple(dimensions)))


def _shipped(file: str) -> OptimizerSource:
    place = resources.files("optforge.comparison") / "rules" / f"{file}.txt"
    return rule_source(parse(place.read_text(encoding="utf-8")))


_PRESETS: Mapping[str, Callable[[str, str], Recipe]] = {
    "adamw": _library("torch:AdamW", fused=True),
    "lion": _lion,
    "sgd": _library("torch:SGD", ("beta1",), fused=True),
    "adafactor": _library("timm:adafactorbv"),
    "radam": _library("torch:RAdam", decoupled_weight_decay=True),
    "nadam": _library("torch:NAdam", decoupled_weight_decay=True),
    "adabelief": _library("timm:adabelief"),
    "amsgrad": _library("torch:AdamW", fused=True, amsgrad=True),
    "powersign": _rule("powersign"),
    "addsign": _rule("addsign"),
    "ablation_0.9": _rule("momentum_sign", (), beta1=0.9),
    "ablation_0.99": _rule("momentum_sign", (), beta1=0.99),
    **{
        name: _language_rule
        for name in (
            *("muon", "nadamw", "adan", "ademamix", "mars", "cautious_adamw", "cautious_lion"),
            *("lamb", "ortho_adam", "ortho_lion"),
            *discovered_names(),
        )
    },
}

"""Suites: comparisons described by TOML files.

    title = "Batch size"
    claim = "Lion's best batch size is larger than AdamW's"
    tasks = ["letters_cnn"]
    optimizers = ["adamw", "lion"]

    [settings]                 # of ComparisonSettings
    trials = 16

    [axes]                     # attributes of the task; their product is taken
    batch_size = [16, 64, 256, 1024]

    [fixed]                    # the same at every point
    samples = 48000

    [recipes.mine]             # what an optimizer called mine is
    optimizer = "rule.py"
    space = { lr = [1e-4, 1e-2] }

A file with ``[[experiment]]`` tables holds several comparisons, each with these keys and a name.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optforge.comparison.cells.variant import variants
from optforge.comparison.comparison import Comparison
from optforge.comparison.definition import renamed_definition
from optforge.comparison.presets import load_recipe
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.settings import ComparisonSettings
from optforge.errors import CompareError
from optforge.files import is_file, read_text, split_class, split_name
from optforge.tasks import load_task

# Keys, and what their values are; None: checked where it is used.
_KEYS = {"name": str, "title": str, "claim": str, "baseline": str, "device": str, "tasks": None,
         "optimizers": None, "settings": dict, "axes": dict, "fixed": dict,
         "recipes": dict}  # fmt: skip
_RECIPE_KEYS = {"optimizer": str, "space": dict, "schedule": str, "decay": str, "clip": None,
                "fixed": dict}  # fmt: skip
_NAME = 200  # bytes of the name of an experiment
_WORDS = {str: "a text", dict: "a table"}


def read_suite(path: str | Path) -> dict[str, Comparison]:
    """Read a suite.

    Args:
        path: A TOML file. Files that it names are looked up next to it first.

    Returns:
        Comparisons by name; a single comparison has the name of the file.

    Raises:
        CompareError: If the file cannot be read or contains an unknown key or value.
    """
    return {name: comparison_from(table) for name, table in suite_tables(path).items()}


def suite_tables(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a suite as plain values, one table per comparison, with the paths of files resolved."""
    path = Path(path)
    try:
        content = tomllib.loads(read_text(path))
    except OSError as error:
        raise CompareError(f"the suite {path} cannot be read: {error.strerror}") from error
    except (RecursionError, ValueError) as error:
        raise CompareError(f"the suite {path} is not TOML: {error}") from error
    tables = content.pop("experiment", [{}])
    if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
        raise CompareError(f"{path}: write [[experiment]], in two brackets, above each comparison")
    for table in (content, *tables):
        _check_kinds(table, _KEYS, f"{path}: ")
        _check_values(table, f"{path}: ")
    _check_recipes(content, tables, path)
    merged_tables: dict[str, dict[str, Any]] = {}
    for number, table in enumerate(tables, 1):
        merged = merged_options(content, table)
        merged = renamed_definition(merged, lambda name: _beside(name, path.parent))
        name = merged.pop("name", path.stem if tables == [{}] else str(number))
        _check_name(name, path)
        if name in merged_tables:
            raise CompareError(
                f"{path}: two experiments are called {name!r}; give them other names"
            )
        merged_tables[name] = merged
    return merged_tables


def comparison_from(table: Mapping[str, Any]) -> Comparison:
    """Build a comparison from plain values, as a suite or a directory holds them.

    Example:
        >>> made = comparison_from({"tasks": ["digits_mlp"], "optimizers": ["adamw", "lion"]})
        >>> made.against
        'adamw'
    """
    if unknown := sorted(table.keys() - _KEYS.keys()):
        raise CompareError(
            f"unknown key {unknown[0]!r} in a suite; there are {', '.join(sorted(_KEYS))}"
        )
    _check_kinds(table, _KEYS)
    for name, values in table.get("axes", {}).items():
        if not isinstance(values, list) or not values:
            raise CompareError(f"axes.{name} is {values!r}; give a list of values")
    tasks = [load_task(name) for name in _list(table, "tasks")]
    by_name = table.get("recipes", {})
    recipes = [recipe_from(name, _options_of(name, by_name)) for name in _list(table, "optimizers")]
    return Comparison(
        variants(tasks, table.get("axes", {}), table.get("fixed", {})),
        tuple(recipes),
        ComparisonSettings.read(table.get("settings", {})),
        table.get("baseline", ""),
        table.get("title", ""),
        table.get("claim", ""),
        table.get("device", "cpu"),
    )


def recipe_from(given: str, table: Mapping[str, Any]) -> Recipe:
    """Build a recipe from ``name``, ``file`` or ``other=name``, and a suite's options for it.

    Example:
        >>> recipe_from("twin=adamw", {"clip": 1.0}).clip
        1.0
    """
    if not isinstance(table, Mapping):
        raise CompareError(f"recipes.{given} is {table!r}; write a table, as in {{ clip = 1.0 }}")
    if unknown := sorted(table.keys() - _RECIPE_KEYS.keys()):
        raise CompareError(
            f"unknown key {unknown[0]!r} of the optimizer {given!r}; "
            f"there are {', '.join(sorted(_RECIPE_KEYS))}"
        )
    _check_kinds(table, _RECIPE_KEYS, f"recipes.{given}.")
    name, optimizer = split_name(given)
    optimizer = str(table.get("optimizer", optimizer))
    shown = name or (given if table.get("optimizer") else "")
    changes = {key: table[key] for key in ("schedule", "decay", "clip", "fixed") if key in table}
    space = table.get("space")
    if shown:
        return load_recipe(shown, optimizer, space, **changes)
    return load_recipe(optimizer, None, space, **changes)


def merged_options(
    shared: Mapping[str, Any],
    table: Mapping[str, Any],
    tables: Sequence[str] = ("settings", "fixed", "recipes"),
) -> dict[str, Any]:
    """Return shared options with those of one table over them, also within some of its tables."""
    merged = {**shared, **table}
    for key in tables:
        if key in shared and key in table:
            merged[key] = {**shared[key], **table[key]}
    return merged


def _list(table: Mapping[str, Any], key: str) -> Sequence[str]:
    names = table.get(key)
    if not isinstance(names, list) or not names or not all(isinstance(x, str) for x in names):
        raise CompareError(f"a suite needs {key} = [...], a list of names; got {names!r}")
    return names


def _options_of(optimizer: str, recipes: Mapping[str, Any]) -> Any:
    """Return a suite's options for an optimizer, by its written name or by its name in tables."""
    return next((recipes[name] for name in _called(optimizer) if name in recipes), {})


def _called(optimizer: str) -> tuple[str, ...]:
    """Return an optimizer's name as written and as shown in tables."""
    name, rest = split_name(optimizer)
    return (optimizer, name) if name else (optimizer, Path(rest).name)


def _check_recipes(
    shared: Mapping[str, Any], tables: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Reject options of an optimizer that is not compared: its name is probably misspelled."""
    every: set[str] = set()
    for table in tables:
        optimizers = {**shared, **table}.get("optimizers")
        if not isinstance(optimizers, list):  # they come from the command line
            return
        named = {name for optimizer in optimizers for name in _called(str(optimizer))}
        _check_used(table.get("recipes", {}), named, path)
        every |= named
    _check_used(shared.get("recipes", {}), every, path)


def _check_used(recipes: Mapping[str, Any], named: set[str], path: Path) -> None:
    for name in recipes:
        if name not in named:
            raise CompareError(
                f"{path}: [recipes.{name}] is of no optimizer; there are {', '.join(sorted(named))}"
            )


def _check_kinds(
    table: Mapping[str, Any], kinds: Mapping[str, type | None], where: str = ""
) -> None:
    for name, value in table.items():
        kind = kinds.get(name)
        if kind is not None and not isinstance(value, kind):
            raise CompareError(f"{where}{name} is {value!r}; it must be {_WORDS[kind]}")


def _check_values(value: Any, where: str) -> None:
    """Reject dates and times, which TOML knows, and no setting is."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _check_values(item, where)
    elif not isinstance(value, bool | int | float | str):
        raise CompareError(f"{where}{value} is a date or a time, which no key is; put it in quotes")


def _check_name(name: str, path: Path) -> None:
    """Reject names of experiments of which no directory can be made."""
    if not name.isprintable() or not 0 < len(name.encode(errors="replace")) <= _NAME:
        problem = f"it must be printable and of 1 to {_NAME} bytes"
    elif name in (".", "..") or set(name) & {"/", os.sep}:
        problem = "it is that of a directory in --out: leave out slashes"
    else:
        return
    raise CompareError(f"{path}: an experiment is called {name!r}; {problem}")


def _beside(name: str, folder: Path) -> str:
    """Return the path of a file next to the suite if there is one, also after ``name=``."""
    for place in (-1, *(n for n, sign in enumerate(name) if sign == "=")):
        rest = str(folder / name[place + 1 :])
        file = split_class(rest)[0]
        if file.endswith((".py", ".txt")) and is_file(file):
            return name[: place + 1] + rest
    return name

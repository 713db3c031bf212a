"""Suites: comparisons written down as TOML files.

    title = "Batch size"
    claim = "Lion's best batch size is larger than AdamW's"
    tasks = ["letters_cnn"]
    optimizers = ["adamw", "lion"]

    [settings]                 # of Settings
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

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optforge.compare.comparison import Comparison
from optforge.compare.presets import load_recipe
from optforge.compare.recipe import Recipe
from optforge.compare.settings import Settings
from optforge.compare.variant import variants
from optforge.errors import CompareError
from optforge.tasks import load_task

_KEYS = {"name", "title", "claim", "tasks", "optimizers", "baseline", "settings", "axes", "fixed",
         "recipes", "device"}  # fmt: skip
_RECIPE_KEYS = {"optimizer", "space", "schedule", "decay", "clip", "fixed"}


def read_suite(path: str | Path) -> dict[str, Comparison]:
    """Read a suite.

    Args:
        path: A TOML file. Files that it names are looked for beside it first.

    Returns:
        Comparisons by name; of a single one the name is that of the file.

    Raises:
        CompareError: If the file cannot be read or says something unknown.
    """
    return {name: comparison_from(table) for name, table in suite_tables(path).items()}


def suite_tables(path: str | Path) -> dict[str, dict[str, Any]]:
    """Read a suite as plain values, one table a comparison, with the paths of files resolved."""
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CompareError(f"the suite {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CompareError(f"the suite {path} is not TOML: {error}") from error
    tables = content.pop("experiment", [{}])
    found = {}
    for number, table in enumerate(tables, 1):
        merged = _resolved(_merged(content, table), path.parent)
        name = merged.pop("name", path.stem if tables == [{}] else str(number))
        found[name] = merged
    return found


def comparison_from(table: Mapping[str, Any]) -> Comparison:
    """Make a comparison from plain values, as a suite or a directory holds them.

    Example:
        >>> made = comparison_from({"tasks": ["digits_mlp"], "optimizers": ["adamw", "lion"]})
        >>> made.against
        'adamw'
    """
    if unknown := sorted(table.keys() - _KEYS):
        raise CompareError(
            f"unknown key {unknown[0]!r} in a suite; there are {', '.join(sorted(_KEYS))}"
        )
    tasks = [load_task(name) for name in _list(table, "tasks")]
    own = table.get("recipes", {})
    recipes = [recipe_from(name, own.get(name, {})) for name in _list(table, "optimizers")]
    return Comparison(
        variants(tasks, table.get("axes", {}), table.get("fixed", {})),
        tuple(recipes),
        Settings.read(table.get("settings", {})),
        table.get("baseline", ""),
        table.get("title", ""),
        table.get("claim", ""),
        table.get("device", "cpu"),
    )


def recipe_from(given: str, table: Mapping[str, Any]) -> Recipe:
    """Make a recipe from ``name``, ``file`` or ``other=name``, and what a suite says of it.

    Example:
        >>> recipe_from("twin=adamw", {"clip": 1.0}).clip
        1.0
    """
    if unknown := sorted(table.keys() - _RECIPE_KEYS):
        raise CompareError(
            f"unknown key {unknown[0]!r} of the optimizer {given!r}; "
            f"there are {', '.join(sorted(_RECIPE_KEYS))}"
        )
    name, _, optimizer = given.rpartition("=") if "=" in given else ("", "", given)
    optimizer = str(table.get("optimizer", optimizer))
    shown = name or (given if table.get("optimizer") else "")
    changes = {key: table[key] for key in ("schedule", "decay", "clip", "fixed") if key in table}
    space = table.get("space")
    if shown:
        return load_recipe(shown, optimizer, space, **changes)
    return load_recipe(optimizer, None, space, **changes)


def _merged(shared: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**shared, **table}
    for key in ("settings", "fixed", "recipes"):
        if key in shared and key in table:
            merged[key] = {**shared[key], **table[key]}
    return merged


def _list(table: Mapping[str, Any], key: str) -> Sequence[str]:
    found = table.get(key)
    if not isinstance(found, list) or not found or not all(isinstance(x, str) for x in found):
        raise CompareError(f"a suite needs {key} = [...], a list of names; got {found!r}")
    return found


def _resolved(table: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Names of files that lie beside the suite, as paths."""
    for key in ("tasks", "optimizers"):
        if isinstance(table.get(key), list):
            table[key] = [_beside(str(name), folder) for name in table[key]]
    for recipe in table.get("recipes", {}).values():
        if "optimizer" in recipe:
            recipe["optimizer"] = _beside(str(recipe["optimizer"]), folder)
    return table


def _beside(name: str, folder: Path) -> str:
    """A file that lies beside the suite is meant, if there is one."""
    file = name.partition(":")[0]
    return (
        str(folder / name) if file.endswith((".py", ".txt")) and (folder / file).is_file() else name
    )

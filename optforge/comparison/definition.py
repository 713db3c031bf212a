"""The definition of a comparison, stored in its directory with file names relative to it.

So ``--resume --out DIR`` finds the files from any working directory, also after the directory was
moved together with its files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optforge.errors import CompareError
from optforge.files import is_file, read_text, replace_own, split_class, split_name

DEFINITION = "comparison.json"
_FILES = (".py", ".txt")


def store_definition(path: Path, definition: Mapping[str, Any]) -> None:
    """Write the definition of a comparison into its directory.

    Raises:
        CompareError: If it cannot be written.
    """

    def seen_from_there(file: str) -> str:
        return os.path.relpath(file, path) if is_file(file) else file

    renamed = renamed_definition(definition, lambda name: _name(name, seen_from_there))
    content = json.dumps(renamed, indent=1) + "\n"
    try:
        replace_own(path / DEFINITION, content)
    except OSError as error:
        raise CompareError(f"{path / DEFINITION} was not written: {error.strerror}") from error


def stored_definition(path: Path) -> dict[str, Any]:
    """Load the definition stored in a directory, to resume its comparison.

    Raises:
        CompareError: If the directory holds no comparison that was started from the command line,
            or a file that the definition names is missing.
    """
    try:
        stored = json.loads(read_text(path / DEFINITION))
        if not isinstance(stored, dict):
            raise ValueError(f"it is {type(stored).__name__}, not an object")
    except (OSError, RecursionError, ValueError) as error:
        raise CompareError(
            f"{path} holds no readable {DEFINITION} ({error}); say what to compare: "
            "--tasks, --optimizers and the settings as before, with --resume; what was started "
            "from Python is resumed there, by optforge.compare(..., resume=True)"
        ) from error

    def seen_from_here(file: str) -> str:
        there = os.path.normpath(path / file)
        if is_file(there):
            return there
        if is_file(file):
            return file
        raise CompareError(
            f"{path} was made with the file {file}, as seen from that directory, and there is none "
            f"at {there}; if the directory was moved or copied, bring the file to that place, or "
            "say --tasks, --optimizers and the settings as before, with --resume"
        )

    return renamed_definition(stored, lambda name: _name(name, seen_from_here))


def renamed_definition(
    definition: Mapping[str, Any], rename: Callable[[str], str]
) -> dict[str, Any]:
    """Return a definition with its tasks and optimizers renamed, also in the keys of recipes.

    Example:
        >>> renamed_definition({"tasks": ["a"], "recipes": {"b": {"optimizer": "c"}}}, str.upper)
        {'tasks': ['A'], 'recipes': {'B': {'optimizer': 'C'}}}
    """
    renamed = dict(definition)
    for key in ("tasks", "optimizers"):
        if isinstance(renamed.get(key), list):
            renamed[key] = [rename(str(name)) for name in renamed[key]]

    def recipe(options: Any) -> Any:
        if not isinstance(options, Mapping) or "optimizer" not in options:
            return options
        return {**options, "optimizer": rename(str(options["optimizer"]))}

    if isinstance(recipes := renamed.get("recipes"), Mapping):
        renamed["recipes"] = {rename(name): recipe(options) for name, options in recipes.items()}
    return renamed


def _name(name: str, change: Callable[[str], str]) -> str:
    """Convert the file in ``other=file.py:Class``; return other names unchanged.

    Example:
        >>> _name("mine=rule.py:Mine", "folder/{}".format), _name("adamw", str.upper)
        ('mine=folder/rule.py:Mine', 'adamw')
    """
    shown, optimizer = split_name(name)
    file, cls = split_class(optimizer)
    if not file.endswith(_FILES):
        return name
    return (f"{shown}=" if shown else "") + change(file) + (f":{cls}" if cls else "")

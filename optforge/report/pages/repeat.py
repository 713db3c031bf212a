"""How a result can be repeated: the command of a search, and settings with what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from optforge.language import load_rule
from optforge.options import documented
from optforge.report.text_table import TextTable
from optforge.runs.file_names import START
from optforge.tasks.registry import is_shipped_name

# Options with the name of their setting.
_PLAIN = (
    *("seed", "population", "tournament", "repeats", "confirm", "strategy", "constants_programs"),
    *("max_statements", "max_state_bytes", "functions", "in_place", "on_matrices", "rescale"),
    *("gradient_spread", "known_by", "seed_sets"),
    *("lag", "restart", "restart_after", "tasks", "validation_share", "device"),
)
_EARLIER = {
    "gradient_spread": 1.0,
    "known_by": "fingerprint",
    "on_matrices": 0.0,
    "seed_sets": 1,
    "validation": (),
}  # what runs had that do not store it
_MUTATIONS = ("insert", "delete", "modify", "add_state")


def search_command(settings: Mapping[str, Any], path: Path, programs: int) -> list[str]:
    """Return the words of the command that repeats a search, up to a number of programs.

    Its options are written out, so that it means the same when a default changes.

    Args:
        settings: Settings of the run.
        path: Directory of the run, in which the start lies if it is no shipped rule.
        programs: Number of programs.

    Example:
        >>> search_command({"search": {"seed": 3, "tasks": ["a", "b"]}}, Path("runs/x"), 500)
        ['optforge', 'search', '--programs', '500', '--seed', '3', '--on-matrices', '0',
         '--gradient-spread', '1', '--known-by', 'fingerprint', '--seed-sets', '1',
         '--tasks', 'a,b', '--validate', 'none']
    """
    search = {**_EARLIER, **settings.get("search", {})}
    words = ["optforge", "search", "--programs", str(programs)]
    for name in (name for name in _PLAIN if search.get(name) is not None):
        words += [f"--{name.replace('_', '-')}", _text(search[name])]
    if "held_out" in settings:
        words += ["--held-out", _text(settings["held_out"]) or "none"]
    words += ["--validate", _text(search["validation"]) or "none"]
    if "compiled" in search:  # without it, the length of a search decides
        words += ["--compile" if search["compiled"] else "--no-compile"]
    if own_tasks(settings) and "tuning" in settings:
        words += ["--trials", str(settings["tuning"]["trials"])]
    if (fresh := settings.get("tuning", {}).get("fresh_seeds")) is not None:
        words += ["--fresh-seeds", str(fresh)]
    if all(name in search for name in _MUTATIONS):
        words += ["--mutations", _text([search[name] for name in _MUTATIONS])]
    if search.get("start", "") not in ("", load_rule("adamw").text):
        words += ["--start", str(path / START)]
    return words


def own_tasks(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of a run's tasks that are no shipped ones.

    Args:
        settings: Settings of the run.

    Example:
        >>> own_tasks({"search": {"tasks": ["mnist_mlp", "mine"]}})
        ['mine']
    """
    search = settings.get("search", {})
    parts = search.get("tasks", ()), settings.get("held_out", ()), search.get("validation", ())
    return [name for name in dict.fromkeys(chain(*parts)) if not is_shipped_name(name)]


def settings_table(values: Mapping[str, Any], options: Callable[..., Any]) -> TextTable:
    """Return settings with their meaning, which is that in the docstring of their class.

    Args:
        values: Values by the names of the settings.
        options: The dataclass of the settings.
    """
    meanings = documented(options)
    rows = [
        (name, _shown(value), meanings.get(name, "").replace("``", ""))
        for name, value in values.items()
    ]
    return TextTable("Settings.", ("<setting", "<value", "<meaning"), tuple(rows))


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)

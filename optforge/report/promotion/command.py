"""The command that makes a funnel again, from the settings in its journal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from optforge.promotion.stage import default_numbers
from optforge.tasks import ladder_task_names

LADDER_FILE = "ladder.toml"
_FIXED = ("looks", "keep")  # no option of the command changes them


def funnel_command(settings: Mapping[str, Any]) -> list[str]:
    """Return the words of the command that makes a funnel again.

    Its options are written out, so that it means the same when a default changes.

    Args:
        settings: Settings of the funnel, as its journal stores them.

    Example:
        >>> stage = {"name": "digits_mlp", "place": "digits_mlp", **default_numbers(0), "trials": 4}
        >>> funnel_command({"run": "runs/x", "stages": [stage], "candidates": [1, 2],
        ...                 "baseline": "lion", "alpha": 0.05, "seed": 0})[3:7]
        ['--ladder', 'digits_mlp', '--trials', '4']
    """
    stages = settings["stages"]
    places = [stage["place"] or stage["name"] for stage in stages]
    trials = _trials(stages)
    words = ["optforge", "funnel", str(settings["run"])]
    if trials is None:
        words += ["--ladder", LADDER_FILE]
    elif places != list(ladder_task_names()):
        words += ["--ladder", ",".join(places)]
    if trials:
        words += ["--trials", str(trials)]
    words += ["--candidates", str(max(1, len(settings["candidates"])))]
    named = {name: settings[name] for name in ("baseline", "alpha", "seed")}
    return words + [word for name, value in named.items() for word in (f"--{name}", f"{value}")]


def ladder_file(stages: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages of a funnel as a file for ``--ladder``; empty where names are enough.

    Args:
        stages: The stages, as the journal stores them.
    """
    return "" if _trials(stages) is not None else "\n".join(map(_entry, stages))


def _trials(stages: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number for ``--trials``, 0 for its default; None if no such option says it all."""
    usual = [default_numbers(place) for place in range(len(stages))]
    kept = all(s[key] == d[key] for s, d in zip(stages, usual, strict=True) for key in _FIXED)
    trials = [stage["trials"] for stage in stages]
    if kept and trials == [numbers["trials"] for numbers in usual]:
        return 0
    return trials[0] if kept and len(set(trials)) == 1 else None


def _entry(stage: Mapping[str, Any]) -> str:
    return (
        f"[[stage]]\ntask = {json.dumps(stage['place'] or stage['name'])}\n"
        f"trials = {stage['trials']}\nseeds = {list(stage['looks'])}\nkeep = {stage['keep']}\n"
    )

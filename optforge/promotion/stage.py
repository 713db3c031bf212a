"""The stages of a funnel: on which tasks, how much is tuned, on how many seeds it is judged."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optforge.errors import MOST, FunnelError, RunError, whole_number
from optforge.files import read_text
from optforge.promotion.script import Script, Train, is_script, script_from_file
from optforge.tasks import Task, ladder_task_names, load_task, refuse_set_aside
from optforge.tuning import Effort

_TUNING_SEEDS, _FINALISTS = 2, 4
# Trials, looks and candidates from stage to stage: settings are known from the stage before.
_TRIALS = (32, 32, 24, 16, 16)
_LOOKS = ((6, 12, 24), (6, 12, 24), (5, 10, 20), (5, 10, 20), (5, 10, 15))
_KEEP = (16, 8, 6, 4, 3)
_FIELDS = {"task", "script", "trials", "seeds", "keep"}
Given = str | Task | Script | Train


@dataclass(frozen=True)
class Stage:
    """One stage of a funnel.

    Args:
        source: The task, or the user's script.
        trials: Number of settings that are tried for each candidate and for the baseline.
        looks: Numbers of fresh seeds after which it is decided, increasing.
        keep: Largest number of candidates that enter; the best of those promoted.
        place: Name or ``file.py:name`` from which the source was loaded; empty for an object.

    Raises:
        FunnelError: If a number is out of range.

    Example:
        >>> Stage(load_task("digits_mlp"), trials=8, looks=(3, 6)).effort.trials
        8
    """

    source: Task | Script
    trials: int = _TRIALS[-1]
    looks: tuple[int, ...] = _LOOKS[-1]
    keep: int = _KEEP[-1]
    place: str = ""

    def __post_init__(self) -> None:
        whole_number(f"trials of the stage {self.name}", self.trials, 1, FunnelError, MOST)
        whole_number(f"keep of the stage {self.name}", self.keep, 1, FunnelError, MOST)
        looks = [whole_number("a number of seeds", n, 2, FunnelError, MOST) for n in self.looks]
        if not looks or looks != sorted(set(looks)):
            raise FunnelError(
                f"the stage {self.name} looks after {self.looks} seeds; give increasing numbers "
                "from 2, such as (5, 10, 20)"
            )

    @property
    def name(self) -> str:
        """Name of the task or script."""
        return self.source.name

    @property
    def effort(self) -> Effort:
        """How much everything is tuned."""
        return Effort(self.trials, _TUNING_SEEDS, min(_FINALISTS, self.trials), _FINALISTS)

    def stored(self) -> dict[str, Any]:
        """Return the stage as JSON-serializable values, for the journal."""
        numbers = {"trials": self.trials, "looks": list(self.looks), "keep": self.keep}
        return {"name": self.name, "hash": self.source.hash, "place": self.place, **numbers}

    def trainings(self, candidates: int) -> int:
        """Return the largest number of trainings with so many candidates and the baseline."""
        known = 2 * self.effort.final_seeds  # settings tried first are measured again at the end
        return (candidates + 1) * (self.effort.runs + known + self.looks[-1])


def read_ladder(
    given: str | Path | Sequence[Given] | None = None, trials: int | None = None
) -> tuple[Stage, ...]:
    """Return the stages of a funnel, the cheapest first.

    Args:
        given: A TOML file with a table ``[[stage]]`` for each stage, or tasks and scripts: names,
            ``file.py:Class``, ``file.py:function``, or objects; by default the shipped ladder.
        trials: Number of trials of every stage; by default those of the file, or 32 to 16.

    Raises:
        FunnelError: If a stage cannot be read.
        TaskError: If a task cannot be loaded, or is set aside for final tables.

    Example:
        >>> [stage.name for stage in read_ladder()][-1]
        'shakespeare_gpt'
        >>> read_ladder(["digits_mlp"], trials=4)[0].trials
        4
    """
    if isinstance(given, str | Path) and str(given).endswith(".toml"):
        entries = _entries(Path(given))
    else:
        names = ladder_task_names() if given is None else _listed(given)
        entries = [{"task": name} for name in names]
    if not entries:
        raise FunnelError("a ladder has no stage; give at least one task or script")
    stages = tuple(_stage(n, entry, trials) for n, entry in enumerate(entries))
    named = [stage.name for stage in stages]
    if len(set(named)) < len(named):
        raise FunnelError(f"the stages are {', '.join(named)}; no name may occur twice")
    refuse_set_aside((s.source for s in stages if isinstance(s.source, Task)), "a funnel")
    return stages


def default_numbers(number: int) -> dict[str, Any]:
    """Return trials, looks and keep of the stage with a number, if nothing else is given.

    Example:
        >>> default_numbers(0)
        {'trials': 32, 'looks': [6, 12, 24], 'keep': 16}
    """
    place = min(number, len(_KEEP) - 1)
    return {"trials": _TRIALS[place], "looks": list(_LOOKS[place]), "keep": _KEEP[place]}


def stored_ladder(
    stored: Sequence[Mapping[str, Any]], given: Sequence[Stage] = ()
) -> tuple[Stage, ...]:
    """Return the stages of a funnel that is resumed.

    Args:
        stored: What :meth:`Stage.stored` returned.
        given: Stages whose sources are objects, which no journal can hold.

    Raises:
        RunError: If a source is missing, or is not what it was.
    """
    objects = {stage.name: stage.source for stage in given}
    stages = []
    for values in stored:
        if not values["place"] and values["name"] not in objects:
            raise RunError(
                f"the funnel has a stage {values['name']!r} that was given as an object; hand it "
                "over again (ladder=[...])"
            )
        source = objects.get(values["name"]) or _source(values["place"])
        if source.hash != values["hash"]:
            raise RunError(
                f"the stage {values['name']!r} is not what it was when the funnel began; start a "
                "new one with --out, or bring back its files"
            )
        looks = tuple(values["looks"])
        stages.append(Stage(source, values["trials"], looks, values["keep"], values["place"]))
    return tuple(stages)


def _listed(sources: Any) -> list[Any]:
    is_several = isinstance(sources, Sequence) and not isinstance(sources, str)
    return list(sources) if is_several else [sources]


def _entries(file: Path) -> list[dict[str, Any]]:
    try:
        content = tomllib.loads(read_text(file))
    except (OSError, RecursionError, ValueError) as error:
        raise FunnelError(f"the ladder {file} cannot be read: {error}") from error
    entries = content.pop("stage", [])
    are_tables = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    if content or not are_tables:
        raise FunnelError(f"the ladder {file} has other entries than [[stage]]; leave them out")
    for entry in entries:
        if unknown := set(entry) - _FIELDS:
            raise FunnelError(
                f"a stage of {file} has {', '.join(sorted(unknown))}; allowed are task or script, "
                "trials, seeds and keep"
            )
        if ("task" in entry) == ("script" in entry):
            raise FunnelError(f"a stage of {file} needs either a task or a script")
        if not isinstance(name := entry.get("task", entry.get("script")), str):
            raise FunnelError(f"a stage of {file} is {name!r}; give a name, or file.py:name")
    return entries


def _stage(number: int, entry: Mapping[str, Any], trials: int | None) -> Stage:
    reference = entry.get("script", entry.get("task"))
    source = script_from_file(reference) if "script" in entry else _source(reference)
    usual = default_numbers(number)
    looks = entry.get("seeds", usual["looks"])
    if not isinstance(looks, list | tuple):
        raise FunnelError(f"seeds of {source.name} are {looks!r}; give a list such as [5, 10, 20]")
    chosen = entry.get("trials", usual["trials"]) if trials is None else trials
    name = reference if isinstance(reference, str) else ""
    return Stage(source, chosen, tuple(looks), entry.get("keep", usual["keep"]), name)


def _source(reference: Given) -> Task | Script:
    if isinstance(reference, Task | Script):
        return reference
    if isinstance(reference, str):
        return script_from_file(reference) if is_script(reference) else load_task(reference)
    if not callable(reference) or isinstance(reference, type):
        raise FunnelError(
            f"a stage is {reference!r}; give the name of a task, file.py:name, an instance of a "
            "task, or a function that trains"
        )
    return Script(reference, getattr(reference, "__name__", type(reference).__name__))

"""The tuned baselines: AdamW, Lion and Muon, each tuned with the same number of trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import Program, parse
from optforge.tasks import TASKS, Schedule, Task
from optforge.training import Trainee
from optforge.tuning.optimizers import BUILDERS, trainee_of, tunable
from optforge.tuning.trainees import Tunable

OPTIMIZERS = ("adamw", "lion", "muon")
JOINT = ("adamw", "muon")  # tuned with one setting for all tasks as well


@dataclass(frozen=True)
class Baseline:
    """An optimizer tuned for one task, or for several tasks with one setting.

    Args:
        optimizer: One of ``OPTIMIZERS``.
        parameters: The best setting, including its schedule.
        loss: Mean log validation loss by which it was chosen.
        trials: Number of settings that were tried.
        note: Empty, or how this differs from a baseline tuned on exactly this task.
    """

    optimizer: str
    parameters: Mapping[str, float]
    loss: float
    trials: int
    note: str = ""

    @property
    def program(self) -> Program:
        """The rule with its tuned constants."""
        return BUILDERS[self.optimizer](self.parameters)

    @property
    def trainee(self) -> Trainee:
        """The rule with its tuned schedule."""
        return trainee_of(self.optimizer, self.parameters)


def in_process(tasks: Sequence[Task], alone: Sequence[str] = (), compile: bool = False) -> Trainer:
    """Return a trainer for this process, with seeds of run 0, that stores no losses.

    Args:
        tasks: All tasks that it can train on.
        alone: Names of the tasks whose models train one at a time.
        compile: Whether to compile the training kernels.
    """
    executor = InlineExecutor(lambda: Evaluator(tasks, compile=compile, alone=alone))
    by_name = {task.name: task for task in tasks}
    return Trainer(JobRunner(executor), by_name, 0, Store(None, compile))


def baseline_tunable(optimizer: str) -> Tunable:
    """Return a baseline for tasks of one's own: what is good on all proxies is tried first as well.

    Args:
        optimizer: One of ``OPTIMIZERS``.

    Example:
        >>> [dict(setting)["beta1"] for setting in baseline_tunable("lion").known]
        [0.9]
    """
    usual, entry = tunable(optimizer), stored().get("joint", {}).get(optimizer)
    of_proxies = (tuple(entry["parameters"].items()),) if entry else ()
    return replace(usual, known=(*usual.known, *of_proxies))


def shipped(task: Task, optimizer: str) -> Baseline | None:
    """Return the committed baseline of a shipped task, or None.

    Data generated on this machine (letters, Python source) differs slightly between versions of
    Python and of the drawing library. In that case the setting tuned on another version is
    returned, with a note that says so.
    """
    entry = stored()["tasks"].get(task.name, {}).get(optimizer)
    if entry is None:
        return None
    same = stored()["tasks"][task.name]["hash"] == task.hash
    note = "" if same else f"tuned on another version of the data of {task.name}"
    return Baseline(optimizer, entry["parameters"], entry["loss"], entry["trials"], note)


def shipped_jointly(tasks: Sequence[Task], optimizer: str) -> Baseline | None:
    """Return the committed joint setting of an optimizer for several tasks, or None."""
    entry = stored().get("joint", {}).get(optimizer)
    if entry is None or entry["tasks"] != [task.name for task in tasks]:
        return None
    note = other_version(entry, tasks)
    return Baseline(optimizer, entry["parameters"], entry["loss"], entry["trials"], note)


@lru_cache(1)
def stored() -> dict[str, Any]:
    """Read the committed file of baselines."""
    file = resources.files("optforge.tuning") / "baselines.json"
    return json.loads(file.read_text()) if file.is_file() else {"tasks": {}}


def other_version(setting: Mapping[str, Any], tasks: Sequence[Task]) -> str:
    """Return on which tasks a committed setting was tuned in another version; empty if on none.

    Args:
        setting: Entry of the file, with the ``hashes`` of its tasks.
        tasks: The tasks that it is used on.
    """
    hashes = setting.get("hashes", {})
    others = [task.name for task in tasks if hashes.get(task.name) != task.hash]
    return f"found on another version of the data of {', '.join(others)}" if others else ""


def known_settings(tasks: Sequence[Task]) -> tuple[Program, ...]:
    """Return programs known to be good on all of some shipped tasks together.

    These are AdamW tuned on all of them at once, and the winner of a search over its constants.
    """
    joint, control = shipped_jointly(tasks, "adamw"), shipped_control(tasks)
    programs = [joint.program] if joint else []
    return (*programs, parse(control["program"])) if control else tuple(programs)


def shipped_control(tasks: Sequence[Task]) -> dict[str, Any] | None:
    """Return the committed winner of a search over AdamW's constants on these tasks, or None."""
    control = stored().get("constants")
    shipped = all(type(task) is TASKS.get(task.name) for task in tasks)
    if control is None or not shipped or control["tasks"] != [task.name for task in tasks]:
        return None
    return control


def trainee_json(trainee: Trainee) -> dict[str, Any]:
    """Return a trainee as JSON-serializable values; :func:`trainee_from_json` reads them.

    Example:
        >>> from optforge.language import load_rule
        >>> trainee = Trainee(load_rule("lion"), Schedule(power=0.5))
        >>> trainee_from_json(trainee_json(trainee)) == trainee
        True
    """
    shape = trainee.schedule
    return {
        "program": trainee.program.text,
        "schedule": None if shape is None else dict(vars(shape)),
        "average": trainee.average,
    }


def trainee_from_json(values: Mapping[str, Any]) -> Trainee:
    """Read what :func:`trainee_json` returned."""
    shape = values["schedule"]
    return Trainee(
        parse(values["program"]), None if shape is None else Schedule(**shape), values["average"]
    )

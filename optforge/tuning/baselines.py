"""The tuned baselines: AdamW, Lion and Muon, each tuned with the same number of trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from optforge.execution import InlineExecutor
from optforge.fitness import Evaluator
from optforge.jobs import JobRunner, Store, Trainer
from optforge.language import Program, parse
from optforge.tasks import Schedule, Task
from optforge.training import Trainee
from optforge.tuning.optimizers import BUILDERS, trainee_of, tunable
from optforge.tuning.trainees import FULL, Effort, Watch, losses_by, tune_together

OPTIMIZERS = ("adamw", "lion", "muon")
JOINT = ("adamw", "muon")  # tuned with one setting for all tasks as well


@dataclass(frozen=True)
class Baseline:
    """A tuned optimizer for one task, or for several with one setting.

    Args:
        optimizer: One of ``OPTIMIZERS``.
        parameters: The best setting, its schedule included.
        loss: Mean log validation loss it was chosen by.
        trials: How many settings were tried.
        note: Empty, or why this is not quite the baseline of this very task.
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
    """Return what trains on some tasks in this process, with seeds of run 0, and keeps nothing.

    Args:
        tasks: All that may be named.
        alone: Tasks whose models train one at a time.
        compile: Whether to compile the training kernels.
    """
    executor = InlineExecutor(lambda: Evaluator(tasks, (), {}, {}, compile, alone=alone))
    by_name = {task.name: task for task in tasks}
    return Trainer(JobRunner(executor), by_name, 0, Store(None, compile))


def tune_baseline(
    trainer: Trainer,
    tasks: Sequence[str],
    optimizer: str,
    effort: Effort = FULL,
    watch: Watch = lambda done, total: None,
) -> Baseline:
    """Tune an optimizer on a task, or find one setting for several tasks.

    Args:
        trainer: Trains.
        tasks: Names; of several the mean log loss counts, each task alike.
        optimizer: One of ``OPTIMIZERS``.
        effort: How long it is tuned.
        watch: Told the number of finished trials, and of all.

    Returns:
        The setting with the lowest mean log validation loss on further seeds.
    """
    job = (tunable(optimizer), tuple(tasks))
    (best,) = tune_together([job], losses_by(trainer), effort, watch)
    return Baseline(optimizer, best.parameters, best.loss, best.trials)


def shipped(task: Task, optimizer: str) -> Baseline | None:
    """Return the committed baseline of a shipped task, or None.

    Data that is drawn on this machine (letters, Python source) differs a little between
    versions of Python and of the drawing library; then the setting tuned on another version is
    given, with a note that says so.
    """
    entry = stored()["tasks"].get(task.name, {}).get(optimizer)
    if entry is None:
        return None
    same = stored()["tasks"][task.name]["hash"] == task.hash
    note = "" if same else f"tuned on another version of the data of {task.name}"
    return Baseline(optimizer, entry["parameters"], entry["loss"], entry["trials"], note)


def shipped_jointly(tasks: Sequence[Task], optimizer: str) -> Baseline | None:
    """Return the committed setting of an optimizer for all of some tasks together, or None."""
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
    """Say on which tasks a committed setting was found in another version; empty if on none.

    Args:
        setting: The entry of the file, with the ``hashes`` of its tasks.
        tasks: Those that it is used on.
    """
    hashes = setting.get("hashes", {})
    others = [task.name for task in tasks if hashes.get(task.name) != task.hash]
    return f"found on another version of the data of {', '.join(others)}" if others else ""


def known_settings(tasks: Sequence[Task]) -> tuple[Program, ...]:
    """Return what is known to be good on all of some shipped tasks together.

    That is AdamW tuned on all of them at once, and the winner of a search over its constants.
    """
    joint, control = shipped_jointly(tasks, "adamw"), shipped_control(tasks)
    found = [joint.program] if joint else []
    return (*found, parse(control["program"])) if control else tuple(found)


def shipped_control(tasks: Sequence[Task]) -> dict[str, Any] | None:
    """Return the committed winner of a search over AdamW's constants on these tasks, or None."""
    control = stored().get("constants")
    if control is None or control["tasks"] != [task.name for task in tasks]:
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

"""Tune the baselines on the shipped tasks and write the committed file of baselines.

    python benchmarks/tune_baselines.py [things | TASK ... | joint | everything]
    optforge search --strategy constants --programs 3000 --population 200 --tournament 6 --out RUN
    python benchmarks/tune_baselines.py control RUN

AdamW, Lion and Muon get the same number of trials a task, judged by mean log validation loss on
three seeds where the first one promises something: a third at random, the rest by Optuna's TPE; the
best twelve again on twelve other seeds. AdamW's first trials are the best settings with one thing
tuned, so that no part of it is ahead of the whole, and those of one setting for all tasks are the
best of each task. Tuned are learning rate, weight decay, all averages, for AdamW also bias
correction, for Muon the rate of the arrays that are no hidden matrices, and for all the shape of
the schedule: warm-up, power of the decay, final value. "joint" is one setting of AdamW and one of
Muon for all proxy tasks, with the same trials. "things" is AdamW with one thing after the other
that anybody may tune, "everything" with all at once, for `optforge explain`. "control" takes over
the end of a search in which only constants mutate, with a search's own budget: its rule, tuned
alike, for each task and jointly. That is what a discovery has to beat to be more than tuned
constants.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from optforge.assessment.rows import CONSTANTS, best_rule
from optforge.language import parse
from optforge.report.search.table_json import table_from_json
from optforge.runs import Journal
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, Schedule, Task, load_task, refuse_set_aside
from optforge.training import has_compiler, keep_freed_memory
from optforge.tuning import (
    JOINT,
    OPTIMIZERS,
    THINGS,
    Tuned,
    fittable,
    in_process,
    losses_by,
    shape_setting,
    thing,
    trainee_json,
    tunable,
    tune_together,
)
from optforge.tuning.optimizers import ADAMW_DEFAULTS, trainee_of
from optforge.tuning.ranges import PLAIN_SHAPE
from optforge.tuning.space import Setting

EVERYTHING = "all of these"
FILE = Path(__file__).parents[1] / "optforge" / "tuning" / "baselines.json"
Entry = dict[str, Any]


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if names[:1] == ["control"]:
        take_control(Path(names[1]))
        return
    jobs: dict[str, Callable[[], None]] = {
        "joint": tune_jointly,
        "things": lambda: tune_things(name for name in THINGS if name != EVERYTHING),
        "everything": lambda: tune_things([EVERYTHING]),
    }
    for name in names:
        jobs[name]() if name in jobs else tune_on(name)


def tasks_of(names: tuple[str, ...]) -> dict[str, Task]:
    tasks = {name: load_task(name) for name in names}
    refuse_set_aside(tasks.values(), "the tuning of baselines")
    return tasks


def tune_on(name: str) -> None:
    tasks = tasks_of((name,))
    for optimizer in OPTIMIZERS:
        known = single_things(name) if optimizer == "adamw" else ()
        best = tuned(f"{name} {optimizer}", replace(tunable(optimizer), known=known), tasks)
        put(("tasks", name), {"hash": tasks[name].hash, optimizer: entry(best)})
    if name not in PROXY_TASKS and "constants" in read():
        tune_control_on(name)


def single_things(task: str) -> tuple[Setting, ...]:
    """AdamW with one thing tuned on a task and the rest as it is where nothing is tuned."""
    usual = {**ADAMW_DEFAULTS, **dict(PLAIN_SHAPE)}
    of_task = read().get("things", {}).get(task, {})
    found = [entry["parameters"] for name, entry in of_task.items() if name != EVERYTHING]
    return tuple(
        tuple({**usual, **setting}.items())
        for setting in found
        if set(setting) <= {"lr", *usual}  # it has neither clipping, eps nor averaging
    )


def tune_control_on(name: str) -> None:
    """The committed rule of the control, tuned on a task that its search did not know."""
    known = read()
    found = (known["tasks"][task]["adamw"]["parameters"] for task in PROXY_TASKS)
    shapes = {trainee_of("adamw", parameters).schedule or Schedule() for parameters in found}
    schedules = [shape_setting(shape) for shape in sorted({*shapes, Schedule()}, key=astuple)]
    candidate = fittable(parse(known["constants"]["program"]), schedules)
    best = tuned(f"{name} {CONSTANTS}", candidate, tasks_of((name,)), "fit, ")
    put(("constants", "tuned"), {name: trainee_json(best.trainee)})


def tune_jointly() -> None:
    tasks = tasks_of(PROXY_TASKS)
    for optimizer in JOINT:
        of_tasks_alone = [read()["tasks"][task][optimizer]["parameters"] for task in PROXY_TASKS]
        known = tuple(tuple(setting.items()) for setting in of_tasks_alone)
        best = tuned(f"joint {optimizer}", replace(tunable(optimizer), known=known), tasks)
        put(("joint",), {optimizer: {**of_tasks(tasks), **entry(best)}})


def tune_things(names: Iterable[str]) -> None:
    """What is there already stays, so that an interrupted run can go on; delete it to tune anew."""
    for task in PROXY_TASKS:
        tasks = tasks_of((task,))
        for name in names:
            if name not in read().get("things", {}).get(task, {}):
                known = everything(task) if name == EVERYTHING else ()
                best = tuned(f"{task} AdamW, {name}", thing(name, known), tasks)
                put(("things", task), {name: entry(best)})


def everything(task: str) -> tuple[Setting, ...]:
    """The tuned baseline with what it leaves out: changing nothing much, or as tuned alone."""
    known, things = read()["tasks"][task]["adamw"]["parameters"], read()["things"][task]
    neutral = {**known, "clip": 10.0, "eps": 1e-8, "average": 0.001}
    alone = [things[name]["parameters"] for name in ("clipping", "epsilon", "averaged weights")]
    changed = [
        {**neutral, **{name: value for name, value in setting.items() if name not in known}}
        for setting in alone
    ]
    return tuple(tuple(setting.items()) for setting in (neutral, *changed))


def take_control(run: Path) -> None:
    """Take over what such a search ended with: its rule, tuned there as every row of a table."""
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        search, programs = journal.settings["search"], journal.counts()["proposals"]
    if search["strategy"] != "constants" or tuple(search["tasks"]) != PROXY_TASKS:
        sys.exit(f"{run} is no search over constants on {', '.join(PROXY_TASKS)}")
    table = table_from_json(json.loads((run / "table.json").read_text())["table"])
    row, joint = table.row(CONSTANTS), best_rule(table)
    if set(row.trainees) != {*PROXY_TASKS, HELD_OUT_TASK} or joint is None:
        sys.exit(f"{run} has no table over {', '.join((*PROXY_TASKS, HELD_OUT_TASK))}")
    content: Entry = {
        "command": "optforge search --strategy constants --programs 3000 "
        f"--population {search['population']} --tournament {search['tournament']} "
        f"--seed {search['seed']}",
        "programs": programs,
        **of_tasks(tasks_of(PROXY_TASKS)),
        "program": joint.program.text,
        "trials": int(row.trials.split(", ")[-1].split()[0]),
        "tuned": {task: trainee_json(trainee) for task, trainee in row.trainees.items()},
        "joint": trainee_json(joint),
    }
    put((), {"constants": content})


def tuned(what: str, candidate: Any, tasks: dict[str, Task], prefix: str = "") -> Tuned:
    start = time.monotonic()
    losses = losses_by(in_process(tuple(tasks.values()), compile=has_compiler()), prefix)
    (best,) = tune_together([(candidate, tuple(tasks))], losses)
    setting = ", ".join(f"{key} {value:g}" for key, value in best.parameters.items())
    seconds = time.monotonic() - start
    print(f"{what}: {best.loss:.4f} with {setting} ({seconds:.0f} s)", flush=True)
    return best


def entry(best: Tuned) -> Entry:
    return {"parameters": dict(best.parameters), "loss": best.loss, "trials": best.trials}


def of_tasks(tasks: dict[str, Task]) -> Entry:
    hashes = {name: task.hash for name, task in tasks.items()}
    return {"tasks": list(tasks), "hashes": hashes}


def read() -> Entry:
    return json.loads(FILE.read_text()) if FILE.exists() else {"tasks": {}}


def put(place: tuple[str, ...], values: Entry) -> None:
    """Write values to a place of the file; several of these may run side by side."""
    with FileLock(Path(tempfile.gettempdir()) / "optforge-baselines.lock"):
        content = read()
        inner = content
        for name in place:
            inner = inner.setdefault(name, {})
        inner.update(values)
        content["command"] = "python benchmarks/tune_baselines.py"
        FILE.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or ["things", *PROXY_TASKS, HELD_OUT_TASK, "joint", "everything"])

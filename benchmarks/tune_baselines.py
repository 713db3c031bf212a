"""Tune AdamW and Lion on the shipped tasks and write the committed file of baselines.

    python benchmarks/tune_baselines.py [TASK ... | joint]
    optforge search --strategy constants --minutes 6 --population 200 --tournament 6 --run RUN
    python benchmarks/tune_baselines.py control RUN

Each optimizer gets 384 trials a task, every trial three seeds, judged by mean log validation
loss: a third at random, the rest by Optuna's TPE; the best 16 again on six other seeds. AdamW:
learning rate, weight decay, both betas, bias correction on or off. Lion: learning rate, weight
decay, both betas. "joint" is one setting of AdamW for all proxy tasks, with the same trials.
"control" takes over the winner of a search in which only constants mutate, with a search's own
budget: what a discovery has to beat to be more than tuned constants.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from optforge.fitness.baseline import SPACES, TRIALS, Baseline, tune
from optforge.runs import Journal
from optforge.search.session import program_of
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS, load_task
from optforge.training import Stack, has_compiler, keep_freed_memory

FILE = Path(__file__).parents[1] / "optforge" / "fitness" / "baselines.json"
JOINT, CONTROL = "joint", "control"


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    if names[:1] == [CONTROL]:
        take_control(Path(names[1]))
        return
    for name in names:
        if name == JOINT:
            tune_jointly()
            continue
        stack = Stack(load_task(name), compile=has_compiler())
        entry: dict[str, object] = {"hash": stack.task.hash}
        for optimizer in SPACES:
            start = time.monotonic()
            best = tune(stack, optimizer, TRIALS)
            entry[optimizer] = {
                "parameters": dict(best.parameters),
                "loss": best.loss,
                "trials": best.trials,
            }
            report(name, best, time.monotonic() - start)
        content = read()
        content["tasks"][name] = entry
        write(content)


def tune_jointly() -> None:
    start = time.monotonic()
    stacks = [Stack(load_task(name), compile=has_compiler()) for name in PROXY_TASKS]
    best = tune(stacks, "adamw", TRIALS)
    content = read()
    content[JOINT] = {
        "tasks": list(PROXY_TASKS),
        "hashes": {stack.task.name: stack.task.hash for stack in stacks},
        "parameters": dict(best.parameters),
        "loss": best.loss,
        "trials": best.trials,
    }
    write(content)
    report(JOINT, best, time.monotonic() - start)


def take_control(run: Path) -> None:
    with Journal.open(run / "journal.sqlite", write=False) as journal:
        search, programs = journal.settings["search"], journal.counts()["proposals"]
    if search["strategy"] != "constants" or tuple(search["tasks"]) != PROXY_TASKS:
        sys.exit(f"{run} is no search over constants on {', '.join(PROXY_TASKS)}")
    content = read()
    content["constants"] = {
        "command": "optforge search --strategy constants --minutes 6 "
        f"--population {search['population']} --tournament {search['tournament']} "
        f"--seed {search['seed']}",
        "programs": programs,
        "tasks": search["tasks"],
        "hashes": dict(zip(search["tasks"], search["hashes"], strict=True)),
        "program": program_of(run).text,
    }
    write(content)
    print(f"the control: the winner of {programs} programs")


def read() -> dict[str, Any]:
    return json.loads(FILE.read_text()) if FILE.exists() else {"tasks": {}}


def write(content: dict[str, Any]) -> None:
    content["command"] = "python benchmarks/tune_baselines.py"
    FILE.write_text(json.dumps(content, indent=2) + "\n")


def report(name: str, best: Baseline, seconds: float) -> None:
    setting = ", ".join(f"{key} {value:g}" for key, value in best.parameters.items())
    print(f"{name} {best.optimizer}: {best.loss:.4f} with {setting} ({seconds:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or [*PROXY_TASKS, HELD_OUT_TASK, JOINT])

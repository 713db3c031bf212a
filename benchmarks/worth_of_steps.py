"""What was each step worth that led from the orthogonalised update to the winner of a search?

    python benchmarks/worth_of_steps.py RUN... [--seeds 24]

The winner's line of descent is followed from its first ancestor with an orthogonalised update on
(`benchmarks/orthogonal_finds.py`). Every program of it is trained on fresh seeds and validation
data, under the schedules of the search. A step is worth the change of log loss against the program
before it, the mean over the proxies, paired by seed, with a Student-t 95 % interval. Steps that
change nothing that is live are left out. Constants are those of the search, so a step that needs
other constants is worth less here than after tuning.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import torch
from numpy import isfinite, ndarray
from orthogonal_finds import BOUND, condition

from optforge.analysis import fingerprint, live_program
from optforge.jobs import Trainer
from optforge.language import Program, parse
from optforge.report.pages.run_data import read_run
from optforge.statistics import mean_interval_over_tasks
from optforge.tasks import PROXY_TASKS, Schedule, load_task
from optforge.training import Trainee, has_compiler, keep_freed_memory
from optforge.tuning import in_process, shipped


def steps_of(run: Path) -> list[tuple[str, Program]]:
    """The program before the orthogonalised update and all after it, each with its mutation."""
    line = [(a.proposal.mutation, parse(a.proposal.program)) for a in read_run(run).line]
    has_one = [n for n, (_, p) in enumerate(line) if "orthogonalize" in live_program(p).text]
    first = next((n for n in has_one if condition(line[n][1]) < BOUND), has_one[0])
    kept = line[max(0, first - 1) : max(1, first)]
    for mutation, program in line[first:]:
        if not kept or fingerprint(program) != fingerprint(kept[-1][1]):
            kept.append((mutation, program))
    return kept


def changed(before: Program, after: Program) -> str:
    """The live lines that went and came."""
    old, new = (live_program(program).text.splitlines() for program in (before, after))
    gone = [line.strip() for line in old if line not in new]
    came = [line.strip() for line in new if line not in old]
    return f"{'; '.join(gone) or 'nothing'} -> {'; '.join(came) or 'nothing'}"


def show(run: Path, trainer: Trainer, schedules: dict[str, Schedule | None], seeds: int) -> None:
    steps = steps_of(run)
    chosen = {
        task: [Trainee(program, schedule) for _, program in steps]
        for task, schedule in schedules.items()
    }
    fresh = {task: trainer.seeds(task, "worth of steps", seeds) for task in schedules}
    logs = trainer.losses(chosen, fresh, "validation")
    print(f"\n{run.name}: {len(steps) - 1} steps from the last program before it")
    for number, ((_, before), (mutation, after)) in enumerate(pairwise(steps), 1):
        worth = change(logs, number - 1, number)
        print(f"  {worth}  {mutation}: {changed(before, after)}")
    print(f"  {change(logs, min(1, len(steps) - 1), -1)}  all after the first")


def change(logs: dict[str, ndarray], before: int, after: int) -> str:
    """The change of log loss from one program to another, with its interval."""
    if not all(isfinite(logs[task][[before, after]]).all() for task in logs):
        return "one of the two diverges on fresh seeds"
    worth = mean_interval_over_tasks([logs[task][after] - logs[task][before] for task in logs])
    return f"{worth.mean:+.4f} [{worth.low:+.4f}, {worth.high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    tasks = [load_task(name) for name in PROXY_TASKS]
    baselines = {task.name: shipped(task, "adamw") for task in tasks}
    schedules = {name: b.trainee.schedule for name, b in baselines.items() if b is not None}
    trainer = in_process(tasks, compile=has_compiler())
    for run in arguments.runs:
        show(run, trainer, schedules, arguments.seeds)


if __name__ == "__main__":
    main()

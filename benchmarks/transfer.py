"""How well verdicts on small proxies predict larger tasks, for update rules.

    python benchmarks/transfer.py run [--optimizers 40] [--tasks NAME,...] [--minutes 9]
    python benchmarks/transfer.py show [--kinds rules,finds,neighbors] [--ladder NAME,...]

``run`` measures one cell after the other: an optimizer on a task, in one of three ways: *own* (its
own constants), *rates* (the best of a third of its rate, its rate and three times it), or *tuned*
(rate, decay, averages and schedule, by as many trials for all). The ladder is always tuned. Tasks
are proxies, rungs of the ladder, or variants such as ``mnist_mlp@400``, with so many steps. Every
cell ends as one line of ``results/transfer/cells.jsonl``; single losses are kept beside it, so that
a run that is stopped after its minutes goes on where it was. Cells go task by task, the cheapest
first; two commands with other tasks may run side by side.

``show`` prints the rank correlation of each verdict with the mean over the ladder, with a bootstrap
interval over optimizers, what a verdict costs, and the noise of each task. Optimizers are those
that all tasks have; the ladder's scores come from other seeds and other tasks than the verdicts.
What searches found was chosen on the proxies: without ``finds`` nothing was.
A tuned cell is 74 trainings: half a minute on the cheapest proxy, half an hour on the top of the
ladder. The first three rungs with 40 optimizers take about five hours of a core.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from measures.bounded import bounded_trainer
from measures.kept import keep, read
from probe_rejects import draw
from scipy.stats import rankdata

from optforge.analysis import live_program
from optforge.equality.graph import to_graph
from optforge.equality.skeleton import skeleton
from optforge.errors import TimeIsUpError
from optforge.evolution.validation import rates
from optforge.fitness import probe
from optforge.jobs import Trainer
from optforge.language import Program, load_rule, parse, rule_names
from optforge.report.text_table import TextTable
from optforge.tasks import PROXY_TASKS, Task, ladder_task_names, load_task, refuse_set_aside
from optforge.training import Trainee
from optforge.tuning import Effort, fittable, losses_by, stored, tune_together

HERE = Path(__file__).parents[1] / "results"
REFERENCE, SEEDS, RESAMPLES = "adamw", 10, 2000
OWN, RATES, TUNED = "own", "rates", "tuned"
MUTANT, CELLS = "mutant ", "cells.jsonl"
KINDS = ("rules", "finds", "neighbors")


@dataclass(frozen=True)
class Measured:
    """One cell.

    Args:
        optimizer: Name of the optimizer.
        task: Name of the task, with the number of steps if it is not its own.
        way: ``own``, ``rates`` or ``tuned``.
        logs: Log validation losses, one per seed.
        trainings: Number of trainings behind one verdict with a single seed.
        seconds: Seconds of one training.
    """

    optimizer: str
    task: str
    way: str
    logs: tuple[float, ...]
    trainings: int
    seconds: float

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is found by."""
        return self.way, self.task, self.optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("verb", choices=("run", "show"))
    parser.add_argument("--optimizers", type=int, default=40)
    parser.add_argument("--tasks", default=",".join((*PROXY_TASKS, *ladder_task_names())))
    parser.add_argument("--minutes", type=float, default=9.0)
    others = "what --out holds is not measured again for another number"
    parser.add_argument("--trials", type=int, default=24, help=others)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=others)
    parser.add_argument("--out", type=Path, default=HERE / "transfer")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of optimizers that show counts")
    ladder = "rungs that show takes; by default all that are measured"
    parser.add_argument("--ladder", default="", help=ladder)
    given = parser.parse_args()
    if given.verb == "show":
        kinds = given.kinds.split(",")
        cells = [
            c
            for c in read(Measured, given.out / CELLS)
            if c.optimizer == REFERENCE or kind(c) in kinds
        ]
        show(cells, given.ladder.split(",") if given.ladder else ())
    else:
        run(given)


def kind(cell: Measured) -> str:
    """What the cell's optimizer is: a shipped rule, a find of a search, or a neighbor of AdamW."""
    rules, finds, neighbors = KINDS
    mutant, find = cell.optimizer.startswith(MUTANT), cell.optimizer.endswith(".py")
    return neighbors if mutant else finds if find else rules


def optimizers(count: int) -> list[str]:
    """Shipped rules, a third of what searches found, by file, and neighbors of AdamW, in turn.

    Of shipped rules that are the same but for constants one is taken, so that none counts twice.
    """
    shipped = {skeleton(to_graph(live_program(load_rule(n)))).text: n for n in rule_names()[::-1]}
    rules = [name for name in rule_names() if name in shipped.values() and name != REFERENCE]
    paths = [path.relative_to(HERE) for path in sorted((HERE / "search").glob("*/best.py"))]
    finds, neighbors = [str(path) for path in paths[::3]], [f"{MUTANT}{n}" for n in range(count)]
    others = len(rules) + len(finds)
    in_turn = itertools.zip_longest(rules, finds, neighbors[: max(0, count - 1 - others)])
    return [REFERENCE, *(name for turn in in_turn for name in turn if name is not None)][:count]


def rule_of(optimizer: str) -> Program:
    if optimizer.startswith(MUTANT):
        return mutants()[int(optimizer.removeprefix(MUTANT))]
    return load_rule(HERE / optimizer if optimizer.endswith(".py") else optimizer)


@functools.cache
def mutants() -> list[Program]:
    """Neighbors of tuned AdamW that train and have structures of their own, always the same."""
    parent = parse(stored()["constants"]["program"])
    structures = {skeleton(to_graph(live_program(parent))).text: parent}
    for program in draw(parent, 400, 0).values():
        if probe(program).reason is None:
            structures.setdefault(skeleton(to_graph(program)).text, program)
    return list(structures.values())[1:]


def task_of(name: str) -> Task:
    base, _, steps = name.partition("@")
    task = load_task(base)
    if steps:
        task.name, task.steps = name, int(steps)
    return task


def ways_of(name: str) -> tuple[str, ...]:
    return (TUNED,) if name in ladder_task_names() else (OWN, RATES, TUNED)


def run(given: argparse.Namespace) -> None:
    tasks = {name: task_of(name) for name in given.tasks.split(",")}
    refuse_set_aside(tasks.values(), "a transfer study")
    known, chosen = (
        {cell.key for cell in read(Measured, given.out / CELLS)},
        optimizers(given.optimizers),
    )
    cells = [(w, t, o) for t in tasks for o in chosen for w in ways_of(t) if (w, t, o) not in known]
    trainer = bounded_trainer(tasks, given.out, given.minutes)
    try:
        for done, (way, task, optimizer) in enumerate(cells, 1):
            cell = measure(trainer, way, task, optimizer, given)
            keep(cell, given.out / CELLS)
            print(f"{done} of {len(cells)}: {way} {task} {optimizer} {mean(cell):+.4f}", flush=True)
    except TimeIsUpError:
        print(f"the {given.minutes:g} minutes are up; the same command goes on from here")
    finally:
        trainer.runner.executor.close()


def measure(
    trainer: Trainer, way: str, task: str, optimizer: str, given: argparse.Namespace
) -> Measured:
    rule = rule_of(optimizer)
    effort = Effort(given.trials, seeds=2, finalists=max(1, given.trials // 6), final_seeds=4)
    began, before = time.process_time(), trainer.trained
    if way == TUNED:
        jobs = [(fittable(rule), [task])]
        (best,) = tune_together(jobs, losses_by(trainer, "transfer "), effort)
        trainees, trainings = [best.trainee], effort.runs + 1
    else:
        trainees = [Trainee(program) for program in (rates(rule) if way == RATES else (rule,))]
        trainings = len(trainees)
    seeds = {task: trainer.seeds(task, f"transfer {way} judge", given.seeds)}
    logs = trainer.losses({task: trainees}, seeds, "validation")[task]  # [rates, seeds]
    best_row = logs[int(numpy.nan_to_num(logs.mean(1), nan=math.inf).argmin())]
    seconds = (time.process_time() - began) / max(1, trainer.trained - before)
    return Measured(optimizer, task, way, tuple(best_row.tolist()), trainings, seconds)


def mean(cell: Measured) -> float:
    return float(numpy.mean(cell.logs))


def show(cells: Sequence[Measured], rungs: Sequence[str] = ()) -> None:
    by_key = {cell.key: cell for cell in cells}
    ladder = [t for t in rungs or ladder_task_names() if any(c.task == t for c in cells)]
    small = list(dict.fromkeys(c.task for c in cells if c.task not in ladder_task_names()))
    print(f"\nLadder: {', '.join(ladder) or 'nothing measured yet'}\n")
    print(noise(cells).markdown(), "\n")
    rows = []
    for way, tasks, seeds in variants(small):
        row = correlation(by_key, way, tasks, seeds, ladder)
        rows += [row] if row is not None else []
    heads = ("<verdict", "<tasks", "seeds", "optimizers", "near AdamW", "rank correlation", "s")
    print(TextTable("", heads, tuple(rows)).markdown())


def variants(small: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Ways, tasks alone and together, and numbers of seeds."""
    sets = [(task,) for task in small]
    sets += [tuple(small)] if len(small) > 1 else []
    for way in (OWN, RATES, TUNED):
        for tasks in sets:
            for seeds in (1, 3, SEEDS):
                yield way, tasks, seeds


def correlation(
    cells: Mapping[tuple[str, str, str], Measured],
    way: str,
    tasks: tuple[str, ...],
    seeds: int,
    ladder: Sequence[str],
) -> tuple[str, ...] | None:
    """A row: Spearman's correlation of verdict and ladder over the optimizers that have both."""
    places = [*((way, task) for task in tasks), *((TUNED, task) for task in ladder)]
    names = {key[2] for key in cells} if ladder else set()
    both = sorted(n for n in names if all((*place, n) in cells for place in places))
    both = [name for name in both if math.isfinite(score(cells, TUNED, ladder, name, SEEDS))]
    if len(both) < 4 or REFERENCE not in both:
        return None
    verdict = numpy.array([score(cells, way, tasks, name, seeds) for name in both])
    large = numpy.array([score(cells, TUNED, ladder, name, SEEDS) for name in both])
    value, low, high = spearman(verdict, large)
    used = [cells[way, task, REFERENCE] for task in tasks]
    cost = sum(cell.seconds * (cell.trainings - 1 + seeds) for cell in used)
    near = int((numpy.abs(large) < math.log(1.1)).sum())
    words = f"{value:.2f} [{low:.2f}, {high:.2f}]"
    together = ", ".join(tasks) if len(tasks) < 3 else f"all {len(tasks)}"
    return way, together, str(seeds), str(len(both)), str(near), words, f"{cost:.3g}"


def score(
    cells: Mapping[tuple[str, str, str], Measured],
    way: str,
    tasks: Sequence[str],
    name: str,
    seeds: int,
) -> float:
    """Mean log loss over tasks and seeds over AdamW's; infinite where training failed."""
    rows = [
        (cells[way, t, name].logs[:seeds], cells[way, t, REFERENCE].logs[:seeds]) for t in tasks
    ]
    if any(not math.isfinite(x) for ours, _ in rows for x in ours):
        return math.inf
    return float(numpy.mean([numpy.mean(ours) - numpy.mean(theirs) for ours, theirs in rows]))


def spearman(first: numpy.ndarray, second: numpy.ndarray) -> tuple[float, float, float]:
    """Spearman's correlation with a 95 % percentile interval by a bootstrap over optimizers."""
    first = numpy.where(numpy.isfinite(first), first, 1e3)  # what failed ranks last
    random, values = numpy.random.default_rng(0), []
    for _ in range(RESAMPLES):
        rows = random.integers(len(first), size=len(first))
        if len(set(first[rows])) > 1 and len(set(second[rows])) > 1:
            values.append(ranks_together(first[rows], second[rows]))
    low, high = numpy.quantile(values, (0.025, 0.975))
    return ranks_together(first, second), float(low), float(high)


def ranks_together(first: numpy.ndarray, second: numpy.ndarray) -> float:
    return float(numpy.corrcoef(rankdata(first), rankdata(second))[0, 1])


def noise(cells: Sequence[Measured]) -> TextTable:
    """The deviation between seeds of the log loss over AdamW's, the median over optimizers."""
    by_key = {cell.key: cell for cell in cells}
    places = dict.fromkeys((cell.task, cell.way) for cell in cells)
    rows: list[tuple[str, ...]] = []
    for task, way in places:
        base: Any = by_key.get((way, task, REFERENCE))
        others = [c for c in cells if (c.task, c.way) == (task, way) and c.optimizer != REFERENCE]
        pairs = [numpy.subtract(c.logs, base.logs) for c in others] if base else []
        spreads = [float(d.std(ddof=1)) for d in pairs if numpy.isfinite(d).all()]
        if spreads:
            shown = f"{numpy.median(spreads):.4f}"
            rows.append((task, way, str(len(spreads) + 1), shown, f"{base.seconds:.3g}"))
    heads = ("<task", "<way", "optimizers", "deviation between seeds", "s a training")
    return TextTable("", heads, tuple(rows))


if __name__ == "__main__":
    main()

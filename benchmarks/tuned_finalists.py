"""Whether the best program of a search is still the best once all are tuned.

    python benchmarks/tuned_finalists.py RUN [--candidates 8] [--trials 64] [--minutes 9]

Takes candidates of a run as a funnel does (different structures, different profiles), measures each
with its own constants, then tunes each for each proxy (rate, decay, averages, schedule; as many
trials for all) and measures it again, on fresh seeds and validation data, against tuned AdamW.
Losses are kept in ``results/tuned_finalists``, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy
from measures.bounded import bounded_trainer

from optforge.errors import TimeIsUpError
from optforge.jobs import Trainer
from optforge.promotion.candidates import FunnelCandidate, collect
from optforge.report.text_table import TextTable
from optforge.runs import Journal
from optforge.statistics import mean_interval_over_tasks
from optforge.tasks import PROXY_TASKS, load_task
from optforge.training import Trainee
from optforge.tuning import Effort, fittable, losses_by, shipped, tune_together

OUT = Path(__file__).parents[1] / "results" / "tuned_finalists"
SEEDS = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("--candidates", type=int, default=8)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    with Journal.open(given.run / "journal.sqlite", write=False) as journal:
        candidates = collect(journal, given.candidates)
    tasks = {name: load_task(name) for name in PROXY_TASKS}
    trainer = bounded_trainer(tasks, OUT, given.minutes, given.workers)
    try:
        show(candidates, *measured(candidates, trainer, given.trials))
    except TimeIsUpError:
        print(f"the {given.minutes:g} minutes are up; the same command goes on from here")
    finally:
        trainer.runner.executor.close()


def measured(
    candidates: Sequence[FunnelCandidate], trainer: Trainer, trials: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Log losses over tuned AdamW, own constants and tuned, ``[candidates, tasks, seeds]``."""
    adamw = {name: tuned_adamw(name) for name in PROXY_TASKS}
    own = [{t: Trainee(c.program, adamw[t].schedule) for t in PROXY_TASKS} for c in candidates]
    before = ratios(trainer, own, adamw, "own")
    jobs = [(fittable(c.program), [t]) for c in candidates for t in PROXY_TASKS]
    effort = Effort(trials)
    tuned = tune_together(jobs, losses_by(trainer, "finalists "), effort, said)
    best = iter(tuned)
    rows = [{t: next(best).trainee for t in PROXY_TASKS} for _ in candidates]
    return before, ratios(trainer, rows, adamw, "tuned")


def tuned_adamw(task: str) -> Trainee:
    baseline = shipped(load_task(task), "adamw")
    assert baseline is not None
    return baseline.trainee


def ratios(
    trainer: Trainer,
    rows: Sequence[Mapping[str, Trainee]],
    adamw: Mapping[str, Trainee],
    purpose: str,
) -> numpy.ndarray:
    seeds = {t: trainer.seeds(t, f"finalists {purpose}", SEEDS) for t in PROXY_TASKS}
    chosen = {t: [*(row[t] for row in rows), adamw[t]] for t in PROXY_TASKS}
    losses = trainer.losses(chosen, seeds, "validation")
    return numpy.stack([losses[t][:-1] - losses[t][-1] for t in PROXY_TASKS], 1)


def said(done: int, total: int) -> None:
    print(f"{done} of {total} trials", flush=True)


def show(candidates: Sequence[FunnelCandidate], own: numpy.ndarray, tuned: numpy.ndarray) -> None:
    rows = []
    for candidate, before, after in zip(candidates, own, tuned, strict=True):
        by_task = " ".join(f"{value:+.3f}" for value in after.mean(1))
        rows.append(
            (
                str(candidate.number),
                f"{candidate.fitness:+.4f}",
                words(before),
                words(after),
                by_task,
            )
        )
    heads = ("proposal", "in the search", "fresh seeds", "tuned", "by task")
    print(TextTable("", heads, tuple(rows)).markdown())


def words(values: numpy.ndarray) -> str:
    interval = mean_interval_over_tasks(values)
    return f"{values.mean():+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"


if __name__ == "__main__":
    main()

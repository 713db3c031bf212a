"""What the probe rejects, and how much of it would have trained.

    python benchmarks/probe_rejects.py [--mutants 2000] [--seed 0] [--json FILE]

Draws mutants of AdamW with the constants that a structural search starts from, each fingerprint
once, and trains on the default tasks, one seed each, all that a look at inputs of order 1 rejects.
A program *trains well* if its mean log validation loss is at most 0.05 above its parent's on the
same seeds, and *would lead* if it is not above it at all. Reported for the one look and for both
looks of the probe (`optforge/fitness/probe.py`), with 95 % Clopper-Pearson intervals. What is more
than 0.5 behind after the first task is not trained on the others. About five minutes on a core.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from scipy.stats import binomtest

from optforge.analysis import fingerprint, live_program, probe_updates, reads_gradient
from optforge.analysis.numeric import Scales
from optforge.evolution.mutation import Mutator
from optforge.fitness import Evaluator, Judge, plan_stages, probe, seeds
from optforge.fitness.probe import wrong
from optforge.language import Program, parse
from optforge.tasks import PROXY_TASKS, load_task
from optforge.training import Stack, train_population
from optforge.tuning import stored

WELL, HOPELESS = 0.05, 0.5  # log loss above the parent's
BATCH = 32


def main() -> None:
    arguments = _arguments()
    control = stored()["constants"]
    parent = parse(control["program"])
    mutants = draw(parent, arguments.mutants, arguments.seed)
    one = {text: first_look(program) for text, program in mutants.items()}
    both = {text: probe(program).reason for text, program in mutants.items()}
    rejected = [mutants[text] for text, reason in one.items() if reason is not None]
    print(f"{len(mutants)} mutants, {len(rejected)} rejected at inputs of order 1; training them")
    fitness = dict(
        zip((p.text for p in rejected), train(parent, rejected, arguments.seed), strict=True)
    )
    result = {
        "parent": parent.text,
        "mutants": len(mutants),
        "seed": arguments.seed,
        "one look": figures(one, fitness),
        "both looks": figures(both, fitness),
        "passed the second look": examples(one, both, fitness),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n")


def draw(parent: Program, count: int, seed: int) -> dict[str, Program]:
    """Draw lean mutants, each fingerprint once and none that computes what the parent does."""
    random, mutator = Random(seed), Mutator(max_state_bytes=8.0)
    known, found = {fingerprint(parent)}, {}
    while len(found) < count:
        program, _ = mutator.child(parent, random)
        value = fingerprint(program)
        if value not in known:
            known.add(value)
            lean = live_program(program)
            found[lean.text] = lean
    return found


def first_look(lean: Program) -> str | None:
    """What is wrong with a program on inputs of order 1, as the probe's only look was."""
    if not reads_gradient(lean):
        return "constant"
    return wrong(probe_updates(lean), Scales())


def train(parent: Program, programs: list[Program], seed: int) -> list[float]:
    """Mean log ratio of validation loss to the parent's, on one seed of each task."""
    tasks = [load_task(name) for name in PROXY_TASKS]
    stages = plan_stages(tasks, 1)
    chosen = {task.name: seeds(seed, task.name, "probe", 1) for task in tasks}
    own = {
        task.name: train_population(Stack(task), [parent], chosen[task.name]).losses.log()[0]
        for task in tasks
    }
    evaluator = Evaluator(tasks, stages, chosen, {name: v.tolist() for name, v in own.items()})
    hurdles = [math.inf] * (stages[-1].last + 1)
    hurdles[stages[0].last] = HOPELESS
    found = []
    for start in range(0, len(programs), BATCH):
        part = tuple(programs[start : start + BATCH])
        job = Judge(part, tuple(hurdles), (False,) * len(part), given=True)
        found += [outcome.fitness for outcome in evaluator.judge(job)]
        print(f"  {min(start + BATCH, len(programs))} of {len(programs)}", flush=True)
    return found


def figures(reasons: dict[str, str | None], fitness: dict[str, float]) -> dict[str, Any]:
    """Rejections by reason, and which of them are false."""
    rejected = {text: reason for text, reason in reasons.items() if reason is not None}
    well = Counter(reason for text, reason in rejected.items() if fitness[text] <= WELL)
    lead = sum(fitness[text] <= 0 for text in rejected)
    return {
        "rejected": len(rejected),
        "by reason": dict(Counter(rejected.values())),
        "trained well": share(sum(well.values()), len(rejected)) | {"by reason": dict(well)},
        "would lead": share(lead, len(rejected)),
    }


def share(count: int, total: int) -> dict[str, Any]:
    """A count with its share and the interval of that."""
    if not total:
        return {"count": 0, "share": None}
    interval = binomtest(count, total).proportion_ci(0.95)
    rounded = [round(float(v), 4) for v in (count / total, interval.low, interval.high)]
    return {"count": count, "share": rounded[0], "interval": rounded[1:]}


def examples(
    one: dict[str, str | None], both: dict[str, str | None], fitness: dict[str, float]
) -> list[dict[str, Any]]:
    """The best of those that the second look lets pass."""
    passed = [text for text, reason in one.items() if reason is not None and both[text] is None]
    best = sorted(passed, key=fitness.__getitem__)
    counts = {
        "count": len(passed),
        "trained well": sum(fitness[text] <= WELL for text in passed),
    }
    return [counts, *({"reason": one[t], "fitness": fitness[t], "program": t} for t in best[:3])]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the probe rejects and what would train.")
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Two Ray nodes against two local workers, and how long the death of a node holds a search up.

    python benchmarks/cluster_throughput.py [--json FILE|-] [--repeats 3] [--jobs 30]

The same jobs, each the training of 48 models of mnist_mlp, are answered by two local workers and by
a Ray cluster of two nodes of one core on this machine, in turn; rates are counted while both
workers have work. Then a node is killed while it works: `noticed` is the time until its job comes
back as lost, `recovered` until that job, handed in again, is answered. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measures.machine import load, machine
from rich.console import Console

from optforge.execution import ClusterPool, Completed, Executor, WorkerPool
from optforge.language import load_rule
from optforge.tasks import load_task
from optforge.training import Stack, one_thread, train_population

_PROGRAMS, _SEEDS = 16, 3
_NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 200 * 1024**2}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - to print them")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement (3)")
    parser.add_argument("--jobs", type=int, default=30, help="of each measurement (30)")
    options = parser.parse_args(arguments)
    about, figures = machine(2), measured(options.repeats, options.jobs)
    about["load_after"] = load()
    console = Console(stderr=options.json == "-", highlight=False)
    low, middle, high = quartiles(figures["ratios"])
    console.print(f"Ray / local workers, jobs a second: {middle:.3f}, {low:.3f} to {high:.3f}")
    console.print(
        f"a node dies: noticed after {figures['noticed']:.1f} s, "
        f"its job answered after {figures['recovered']:.1f} s (a job takes {figures['job']:.1f} s)"
    )
    text = json.dumps({"machine": about, **figures}, indent=1) + "\n"
    if options.json == "-":
        sys.stdout.write(text)
    elif options.json:
        Path(options.json).write_text(text, encoding="utf-8")


def measured(repeats: int, jobs: int) -> dict[str, Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**_NODE, "include_dashboard": False})
    other = cluster.add_node(**_NODE)
    try:
        with (
            ClusterPool(worker, str(cluster.address), 2) as there,
            WorkerPool(worker, 2, 600.0) as here,
        ):
            for pool in (there, here):
                rate(pool, 4)  # everything is up
            rates = [(rate(there, jobs), rate(here, jobs)) for _ in range(repeats)]
            recovery = death(there, lambda: cluster.remove_node(other, allow_graceful=False))
    finally:
        ray.shutdown()
        cluster.shutdown()
    return {
        "ray": [a for a, _ in rates],
        "local": [b for _, b in rates],
        "ratios": [a / b for a, b in rates],
        "job": 2 / statistics.median(b for _, b in rates),
        **recovery,
    }


def rate(pool: Executor, jobs: int) -> float:
    """Return jobs a second from the second answer to the last but one: both workers are busy."""
    for number in range(jobs):
        pool.submit(number, number)
    ends = []
    for _ in range(jobs):
        outcome = pool.next(timeout=300.0)
        assert isinstance(outcome, Completed), outcome
        ends.append(time.perf_counter())
    return (len(ends) - 3) / (ends[-2] - ends[1])


def death(pool: Executor, kill: Callable[[], object]) -> dict[str, float]:
    """Kill a node under work; every job is answered in the end, the lost one again."""
    for number in range(4):
        pool.submit(number, number)
    first = pool.next(timeout=300.0)
    assert isinstance(first, Completed)
    start = time.perf_counter()
    kill()
    waiting, noticed, recovered, lost = {0, 1, 2, 3} - {first.key}, 0.0, 0.0, -1
    while waiting:
        outcome = pool.next(timeout=300.0)
        assert outcome is not None
        if isinstance(outcome, Completed):
            waiting.discard(outcome.key)
            if outcome.key == lost:
                recovered = time.perf_counter() - start
        else:
            noticed, lost = time.perf_counter() - start, outcome.key
            pool.submit(lost, lost)
    return {"noticed": noticed, "recovered": recovered}


def worker() -> Callable[[int], float]:
    """Build a worker: trains 48 models of the cheapest proxy."""
    stack = Stack(load_task("mnist_mlp"))
    return functools.partial(work, stack)


def work(stack: Stack, seed: int) -> float:
    with one_thread():
        rules = [load_rule("adamw")] * _PROGRAMS
        return float(train_population(stack, rules, range(seed, seed + _SEEDS)).losses.mean())


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


if __name__ == "__main__":
    main()

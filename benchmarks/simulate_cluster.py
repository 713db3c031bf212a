"""How far a search scales: a simulation with measured service times, and real searches with lag.

    python benchmarks/simulate_cluster.py --measure RUN [--cluster auto]   # service times, here
    python benchmarks/simulate_cluster.py --lag                             # real searches; resumes
    python benchmarks/simulate_cluster.py                                   # simulate and draw

The first writes `service_times.json` in `results/cluster`, the second `lag.json`, the third
`load.json` and `docs/cluster/load.png`. RUN is a finished run of the default suite on an idle
machine; its journal holds how long each batch took. Nothing is asserted; docs/cluster.md says what
the figures mean.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from measures.cluster_model import Layout, Load, ServiceTimes, simulate
from measures.cluster_times import service_times
from measures.lag import lag_study
from rich.console import Console
from rich.table import Table

from optforge.execution import choose_workers
from optforge.statistics import paired_interval

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "results" / "cluster"
WORKERS = (1, 4, 16, 64, 100, 256, 1000, 2000, 10_000)
LAGS = (3, 12, 24, 48)
ISLAND = 100  # workers of one driver, where there are several
SHARES = {
    "lag 3": lambda workers: Layout(workers, 3),
    "lag 1 a worker": lambda workers: Layout(workers, max(3, workers)),
    "lag 2 a worker, the default": lambda workers: Layout(workers, lag_for(workers)),
    "lag 3 a worker": lambda workers: Layout(workers, max(3, 3 * workers)),
    "lag 2, 16 batches a transaction": lambda workers: Layout(
        workers, lag_for(workers), together=16
    ),
    f"lag 2, an island for {ISLAND} workers": lambda workers: Layout(
        workers, lag_for(min(workers, ISLAND)), max(1, round(workers / ISLAND))
    ),
}


def lag_for(workers: int) -> int:
    """Return the lag that `optforge search` takes by default."""
    return max(3, 2 * workers - 1)


def main() -> None:
    options = read_options()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if options.measure:
        write_times(options)
    elif options.lag:
        run_lags(options)
    else:
        simulate_all(Console())


def write_times(options: argparse.Namespace) -> None:
    times = service_times(options.measure, choose_workers(options.workers, options.cluster))
    write("service_times.json", asdict(times))
    Console().print(
        f"a batch: {times.working():.3f} s of a worker, {times.driving():.4f} s of the driver"
    )


def run_lags(options: argparse.Namespace) -> None:
    kept = read("lag.json", {})
    lag_study(options.programs, LAGS, range(options.seeds), kept, lambda: write("lag.json", kept))


def simulate_all(console: Console) -> None:
    times = ServiceTimes(**read("service_times.json"))
    loads = {
        name: {workers: simulate(times, layout(workers)) for workers in WORKERS}
        for name, layout in SHARES.items()
    }
    write("load.json", {n: {w: asdict(x) for w, x in by.items()} for n, by in loads.items()})
    for name, by_workers in loads.items():
        console.print(load_table(name, by_workers))
    draw_loads(loads, times)
    if lags := read("lag.json", {}):
        console.print(lag_table(lags))


def load_table(name: str, loads: dict[int, Load]) -> Table:
    table = Table("workers", "programs/s", "waiting", "driver busy", "programs behind", title=name)
    for workers, load in loads.items():
        table.add_row(
            f"{workers:,}", f"{load.programs:,.0f}", f"{load.waiting:.1%}", f"{load.driving:.1%}",
            f"{load.behind:,.0f}",
        )  # fmt: skip
    return table


def lag_table(kept: dict[str, Any]) -> Table:
    table = Table("lag", "best on fresh seeds", "less that of the least lag, by seed", "searches",
                  title="real searches, log loss over tuned AdamW's, 95 % intervals")  # fmt: skip
    by_lag: dict[int, dict[str, float]] = {}
    for name, found in kept.items():
        lag, seed = name.split("/")
        by_lag.setdefault(int(lag), {})[seed] = found["fresh"]
    least = by_lag[min(by_lag)]
    for lag, fresh in sorted(by_lag.items()):
        more = [fresh[seed] - least[seed] for seed in fresh if seed in least]
        table.add_row(str(lag), _interval([*fresh.values()]), _interval(more), str(len(fresh)))
    return table


def _interval(values: list[float]) -> str:
    if not values:
        return ""
    interval = paired_interval(values)
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def draw_loads(loads: dict[str, dict[int, Load]], times: ServiceTimes) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, by_workers in loads.items():
        left.loglog(
            list(by_workers), [x.programs for x in by_workers.values()], label=name, marker="."
        )
        right.semilogx(list(by_workers), [100 * x.waiting for x in by_workers.values()], marker=".")
    alone = next(iter(loads.values()))[1].programs
    left.loglog(WORKERS, [alone * w for w in WORKERS], "k:", label="no loss")
    left.set(xlabel="workers", ylabel="programs a second")
    right.set(xlabel="workers", ylabel="workers' time without a job, %", ylim=(-2, 102))
    left.legend(fontsize=8)
    figure.suptitle(
        f"Simulated: a batch takes {times.working():.1f} s of a worker, "
        f"{1e3 * times.driving():.0f} ms of the driver"
    )
    figure.savefig(ROOT / "docs" / "cluster" / "load.png", dpi=120)


def read(name: str, default: Any = None) -> Any:
    file = RESULTS / name
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else default


def write(name: str, values: Any) -> None:
    (RESULTS / name).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add(
        "--measure", metavar="RUN", type=Path, help="measure service times, with the batches of RUN"
    )
    add("--cluster", metavar="ADDRESS", help="jobs are sent to a Ray cluster while measuring")
    add("--workers", type=int, help="processes while measuring; one per core by default")
    add("--lag", action="store_true", help="run real searches with growing lag; resumes")
    add("--programs", type=int, default=4000, help="of each of them (4000)")
    add("--seeds", type=int, default=5, help="of each lag (5)")
    return parser.parse_args()


if __name__ == "__main__":
    main()

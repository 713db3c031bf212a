"""Figures as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from optforge.tasks import PROXY_TASKS

from .machine import Spread, spread
from .patience import GAIN
from .searching import CONFIGURATIONS
from .training import TASK_A, TASK_B, Timed

WANTED = {
    ("generated_per_second", ""): ">= 10,000",
    ("speedup_vs_single", TASK_A): ">= 8",
    ("speedup_vs_single", TASK_B): ">= 3",
    ("peak_share", TASK_B): ">= 25 %",
    **{("time_with_orthogonalize", task): "<= 2" for task in PROXY_TASKS},
    ("evaluated_per_second", "mlp_only"): ">= 250",
    ("judged_per_second", "mlp_only"): ">= 1,000",
    ("overhead_share", "mlp_only"): "< 15 %",
    ("overhead_share", "default_suite"): "< 15 %",
    ("worker_mb", "mlp_only"): "< 2,000",
    ("worker_mb", "default_suite"): "< 2,000",
}
_SEARCH_KEYS = (
    "evaluated_per_second",
    "judged_per_second",
    "full_verdicts_per_second",
    "cache_share",
    "overhead_share",
    "worker_mb",
)


@dataclass
class Report:
    """All figures: medians under their keys, `spread` beside them, the rest in `details`."""

    figures: dict[str, Any] = field(default_factory=dict)
    spread: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, key: str, of: str, values: Spread) -> None:
        """Take one figure; `of` is its task or configuration, empty where it has none."""
        for place, content in ((self.figures, values.median), (self.spread, values.range)):
            if of:
                place.setdefault(key, {})[of] = content
            else:
                place[key] = content
        low, high = (_number(key, value) for value in values.range)
        count = len(values.values)
        wanted = WANTED.get((key, of), "")
        between = f"{low} - {high} ({count})" if count > 1 else ""
        self.rows.append((key, of, _number(key, values.median), wanted, between))

    def add_generating(self, runs: Sequence[dict[str, float]]) -> None:
        self.add("generated_per_second", "", _column(runs, "generated_per_second"))
        self.add("commit_microseconds", "", _column(runs, "commit_microseconds"))
        self.details["generating"] = list(runs)

    def add_training(self, results: dict[str, Timed]) -> None:
        for task, timed in results.items():
            ways = [("_uncompiled", timed.eager)]
            # Without a compiler the uncompiled trainer is what a search runs.
            ways.append(("", timed.compiled or timed.eager))
            for suffix, times in reversed(ways):
                self.add("speedup_vs_single" + suffix, task, timed.speedup(times))
                self.add("peak_share" + suffix, task, timed.share(times))
        self.details["training"] = {task: _training_details(t) for task, t in results.items()}

    def add_matrices(self, results: dict[str, dict[str, Spread]]) -> None:
        for name, tasks in results.items():
            for task, ratios in tasks.items():
                self.add(f"time_with_{name}", task, ratios)

    def add_searching(self, results: dict[str, list[dict[str, Any]]]) -> None:
        for name, runs in results.items():
            for key in _SEARCH_KEYS:
                self.add(key, name, _column(runs, key))
        self.details["searching"] = results
        self.figures.setdefault("memory", {})["worker_mb"] = self.figures["worker_mb"]

    def add_patience(self, runs: Sequence[dict[str, Any]]) -> None:
        for since in ("command", "workers_started"):
            key, of = f"minutes_to_{100 * GAIN:.0f}_percent", f"since {since.replace('_', ' ')}"
            self.add(key, of, _column(runs, f"since_{since}"))
        self.details["minutes"] = list(runs)

    def add_memory(self, found: dict[str, Any]) -> None:
        for mark, value in found["search_mb"].items():
            self.add("search_mb", f"{int(mark):,} programs", spread([value]))
        self.figures.setdefault("memory", {}).update(found)

    def json(self, machine: dict[str, Any]) -> dict[str, Any]:
        return {
            "machine": machine,
            **self.figures,
            "spread": self.spread,
            "details": self.details,
        }

    def show(self, console: Console, machine: dict[str, Any]) -> None:
        console.print()
        console.print("  ".join(f"{key}: {value}" for key, value in machine.items()), style="dim")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("figure", "of", "median", "wanted", "range (repeats)"):
            numeric = title in ("median", "wanted")
            table.add_column(title, justify="right" if numeric else "left", no_wrap=True)
        before = ""
        for key, *rest in sorted(self.rows, key=lambda row: self._place(row[0])):
            table.add_row(key if key != before else "", *rest)
            before = key
        console.print(table)
        for line in self._remarks():
            console.print(line, style="dim")

    def _place(self, key: str) -> int:
        return list(dict.fromkeys(row[0] for row in self.rows)).index(key)

    def _remarks(self) -> list[str]:
        lines = []
        for task, of in self.details.get("training", {}).items():
            alone = " / ".join(str(value) for value in of["alone_ms"].values())
            compiling = of["compile_seconds"]
            lines.append(
                f"{task}: batch size {of['batch_size']}, {of['candidates_a_worker']} candidates a "
                f"worker; ms a candidate: alone {alone} (1 / 2 threads), population "
                f"{of['population_ms']}, uncompiled {of['population_uncompiled_ms']}; peak "
                f"{of['peak_gflop_per_second']} GFLOP/s; "
                + (f"compiling {compiling} s (not counted)" if compiling else "nothing compiled")
            )
        for name, runs in self.details.get("searching", {}).items():
            first = runs[0]
            lines.append(
                f"{name}: {first['elapsed_seconds']:.0f} s, {first['batches']} batches "
                f"(work on its way at the end is not counted), "
                f"{CONFIGURATIONS[name] or 'default tasks'}; before that "
                f"{first['prepare_seconds']:.1f} s for data and baselines, "
                f"{first['startup_seconds']:.1f} s for workers and the warm start (not counted)"
            )
        return lines


def _training_details(timed: Timed) -> dict[str, Any]:
    return {
        "batch_size": timed.batch_size,
        "candidates_a_worker": timed.size.candidates,
        "steps": timed.size.steps or "all",
        "training_gflop": timed.training_flops / 1e9,
        "validation_gflop": timed.validation_flops / 1e9,
        "alone_ms": {str(threads): _ms(times) for threads, times in timed.alone.items()},
        "population_ms": _ms(timed.compiled or timed.eager),
        "population_uncompiled_ms": _ms(timed.eager),
        "peak_gflop_per_second": round(spread(timed.peak).median / 1e9, 1),
        "compile_seconds": timed.compile_seconds and round(timed.compile_seconds, 1),
    }


def _ms(times: list[float]) -> float:
    return round(1000 * spread(times).median, 3)


def _column(runs: Sequence[dict[str, Any]], key: str) -> Spread:
    return spread([run[key] for run in runs])


def _number(key: str, value: float) -> str:
    if "share" in key:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"

"""Join the results of the image experiments into one page.

    python benchmarks/collect_images.py [--folder results/images]

Reads FOLDER/*/report.json and writes FOLDER/README.md: for every experiment of the suite
(benchmarks/suites/images.toml) and for fine-tuning the paper's claim, and our figures with
intervals; what is missing or unfinished is named. For the scaling of models it adds how far Lion on
the middle model is from AdamW on the large one, and at what share of the compute. Nothing is
trained here; verdicts in words stand in docs/comparisons.md.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from optforge.comparison.suite import suite_tables
from optforge.report.comparison.sweep_tables import best_text
from optforge.report.words import p_value
from optforge.statistics import holm
from optforge.tasks import initial_model, load_task

FOLDER = Path(__file__).parents[1] / "results" / "images"
SUITE = Path(__file__).parent / "suites" / "images.toml"
FINETUNE = "finetune"  # has a script of its own
FLAT = ("loss_under_absolute_noise_0.02", "rise_under_relative_noise_0.1")
MIDDLE, LARGE = "glyphs_vit_small", "glyphs_vit_base"
HEAD = """# The image experiments in miniature

Change of test loss and of test accuracy against AdamW on fresh seeds, seed by seed, with Student-t
95 % intervals; p after Holm's correction within a table, those of flatness and of maps uncorrected.
Intervals and p are over seeds, given the chosen settings: the luck of the tuning itself is not in
them (trials.png of each folder shows how the best found depends on the number of trials). Each
folder has the report with all settings, ranges, divergences, costs and figures, and `cells.jsonl`,
the table of every run. What the whole set costs is in [plan.md](plan.md).

    optforge compare --suite benchmarks/suites/images.toml --out results/images --resume
    python benchmarks/finetune_images.py

go on with what is missing; `python benchmarks/collect_images.py` writes this page anew.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the reports")
    folder = parser.parse_args(arguments).folder
    parts, missing = [HEAD], []
    for name, count in experiments().items():
        file = folder / name / "report.json"
        if file.is_file():
            parts.append("\n".join(section(name, json.loads(file.read_text()), count)))
        else:
            missing.append(name)
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.\n")
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def experiments() -> dict[str, int]:
    """By name the tasks that an experiment has when it is finished."""
    found = {
        name: len(table["tasks"]) * math.prod(map(len, table.get("axes", {}).values()))
        for name, table in suite_tables(SUITE).items()
    }
    return {**found, FINETUNE: 2}  # pre-trained, and from scratch


def section(name: str, report: dict[str, Any], count: int = 0) -> Iterator[str]:
    """All that is told of one experiment, which has so many tasks when it is finished."""
    settings = report["settings"]
    yield f"## [{report['title']}]({name}/report.md)\n"
    yield f"The paper, {report['claim']}.\n"
    yield (
        f"{settings['trials']} trials, {settings['seeds']} fresh seeds. "
        f"Commits {', '.join(sorted({s['commit'] for s in report['sessions']}))}.\n"
    )
    if len(report["tasks"]) < count:
        yield f"Not finished: {len(report['tasks'])} of {count} tasks so far.\n"
    yield "| task | optimizer | test loss | accuracy, % | loss against AdamW | p | points |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    pairs = {(p["task"], p["recipe"]): p for p in report["pairs"]}
    for one in report["optimizers"]:
        yield row(one, pairs.get((one["task"], one["recipe"])))
    yield ""
    for more in (uneven, best_of_axis, widths, flatness, reach):
        yield from more(report)


def row(one: dict[str, Any], pair: dict[str, Any] | None) -> str:
    cells = [one["task"], one["recipe"], mean(one["test_loss"], 1, 4),
             mean(one["test_metric"], 100, 2)]  # fmt: skip
    if pair is None or pair["test_loss"]["mean"] is None:
        diverged = f"{one['diverged_runs']} runs diverged" if one["diverged_runs"] else ""
        return "| " + " | ".join([*cells, diverged, "", ""]) + " |"
    points = difference(pair["test_metric"], 2)
    cells += [change(pair["test_loss"]), p_value(pair["adjusted"]), points]
    return "| " + " | ".join(cells) + " |"


def uneven(report: dict[str, Any]) -> Iterator[str]:
    """Ranges that grew for some optimizers and not for others."""
    rows = report.get("uneven_ranges", [])  # reports of earlier versions have none
    if not rows:
        return
    told = (f"{one['range']} on {one['task']} for {', '.join(one['grew_for'])}" for one in rows)
    yield (
        "Ranges that grew for some optimizers and not for others, a hint that they are misplaced: "
        f"{'; '.join(told)}.\n"
    )


def best_of_axis(report: dict[str, Any]) -> Iterator[str]:
    """The best point of an axis."""
    rows = [one for one in report["optima"] if "task" in one]  # earlier reports named none
    if not rows:
        return
    axis = rows[0]["axis"].replace("_", " ")
    yield f"| task | optimizer | best {axis} | 95 % interval (bootstrap over seeds) |"
    yield "|---|---|--:|--:|"
    for one in rows:
        best = best_text(one["best"], map(float, one["shares"]))
        yield f"| {one['task']} | {one['recipe']} | {best} | {one['low']:g} to {one['high']:g} |"
    yield ""


def widths(report: dict[str, Any]) -> Iterator[str]:
    """How much of a map is good."""
    if not report["maps"]:
        return
    width = 100 * report["maps"][0]["width"]
    yield f"| map of | points within {width:g} % of its best, % | difference to AdamW, points |"
    yield "|---|--:|--:|"
    for one in report["maps"]:
        shown = difference(one["difference"], 1)
        yield f"| {one['task']}, {one['recipe']} | {mean(one['share'], 100, 1)} | {shown} |"
    yield ""


def flatness(report: dict[str, Any]) -> Iterator[str]:
    """Training loss under noise on the weights: the paper's quantity, and one free of scale."""
    told = {(one["task"], one["recipe"], one["name"]): one for one in report["measured"]}
    models = dict.fromkeys((task, recipe) for task, recipe, _ in told)
    if not models:
        return
    yield (
        "Flatness: training loss under absolute noise on the weights (standard deviation 0.02; the "
        "paper's table 10), and the factor by which it rises under noise of a tenth of each "
        "array's size; geometric means, and changes against AdamW whose intervals are not "
        "corrected.\n"
    )
    yield "| task | optimizer | loss under noise | against AdamW | rise | against AdamW |"
    yield "|---|---|--:|--:|--:|--:|"
    for task, recipe in models:
        cells = [cell for name in FLAT for cell in measured(told.get((task, recipe, name)))]
        yield f"| {task} | {recipe} | {' | '.join(cells)} |"
    yield ""


def measured(one: dict[str, Any] | None) -> tuple[str, str]:
    """The mean of a measurement, and its change."""
    if one is None or one["mean"] is None:
        return "-", ""
    return f"{one['mean']:.4g}", change(one["ratio"]) if one["ratio"] else ""


def reach(report: dict[str, Any]) -> Iterator[str]:
    """Lion on the middle model against AdamW on the large one, budget by budget."""
    small, large = (
        {label: of for label, of in report["tasks"].items() if label.split("[")[0] == name}
        for name in (MIDDLE, LARGE)
    )
    if not small or not large:
        return
    yield (
        "Lion on the middle model against AdamW on the large one: change of test loss with Welch's "
        "95 % interval (other seeds, other models, not paired), and the share of compute (steps x "
        "FLOPs of a forward and a backward pass, counted by torch); p after Holm's correction over "
        "this table.\n"
    )
    yield "| Lion, middle, steps | AdamW, large, steps | test loss | p | compute |"
    yield "|--:|--:|--:|--:|--:|"
    cost = {name: flops(name) for name in (MIDDLE, LARGE)}
    pairs = [(mine, other) for mine in small.values() for other in large.values()]
    rows = [
        welch(log_losses(mine["runs"]["lion"]), log_losses(other["runs"]["adamw"]))
        for mine, other in pairs
    ]
    for (mine, other), told, p in zip(pairs, rows, corrected(rows), strict=True):
        share = mine["steps"] * cost[MIDDLE] / (other["steps"] * cost[LARGE])
        yield (
            f"| {mine['steps']} | {other['steps']} | {change(told)} | "
            f"{p_value(p)} | {100 * share:.0f} % |"
        )
    yield ""


def corrected(rows: list[dict[str, float]]) -> list[float]:
    """The p-values after Holm's correction; what is not known counts as no difference."""
    adjusted = holm([1.0 if math.isnan(one["p"]) else one["p"] for one in rows])
    return [
        math.nan if math.isnan(one["p"]) else float(p)
        for one, p in zip(rows, adjusted, strict=True)
    ]


def flops(name: str) -> int:
    """FLOPs of a forward and a backward pass over one batch."""
    from torch.utils.flop_counter import FlopCounterMode

    task = load_task(name)
    model, train = initial_model(task, 0), task.splits.train
    with FlopCounterMode(display=False) as counter:
        loss = task.loss(model(train.inputs[: task.batch_size]), train.targets[: task.batch_size])
        loss.backward()
    return counter.get_total_flops()


def log_losses(runs: list[dict[str, Any]]) -> list[float]:
    """Of test losses; runs without a result are left out, one that diverged makes all unknown."""
    ended = [one for one in runs if not one["failed"]]
    bad = any(one["diverged"] or one["test_loss"] is None for one in ended)
    return [math.nan] if bad else [math.log(one["test_loss"]) for one in ended]


def welch(one: list[float], other: list[float]) -> dict[str, float]:
    """Difference of two means with Welch's interval; not a number where it cannot be known."""
    if len(one) < 2 or len(other) < 2:
        return dict.fromkeys(("mean", "low", "high", "p"), math.nan)
    test: Any = stats.ttest_ind(one, other, equal_var=False)
    ends = test.confidence_interval()
    mean = float(np.mean(one) - np.mean(other))
    return {"mean": mean, "low": float(ends.low), "high": float(ends.high), "p": float(test.pvalue)}


def change(told: dict[str, Any]) -> str:
    """A log ratio as a change in percent."""
    values = [told[key] for key in ("mean", "low", "high")]
    if any(x is None or not math.isfinite(x) for x in values):
        return "not comparable"
    middle, low, high = (100 * (math.exp(x) - 1) for x in values)
    return f"{middle:+.1f} % [{low:+.1f}, {high:+.1f}]"


def difference(told: dict[str, Any] | None, digits: int) -> str:
    """A difference of shares in points, with its interval; nothing where it is not known."""
    if told is None or any(told[key] is None for key in ("mean", "low", "high")):
        return ""
    middle, low, high = (f"{100 * told[key]:+.{digits}f}" for key in ("mean", "low", "high"))
    return f"{middle} [{low}, {high}]"


def mean(interval: dict[str, Any] | None, scale: float, digits: int) -> str:
    if interval is None or interval["mean"] is None or interval["high"] is None:
        return "-"
    half = scale * (interval["high"] - interval["low"]) / 2
    return f"{scale * interval['mean']:.{digits}f} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()

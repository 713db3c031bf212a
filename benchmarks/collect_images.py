"""Join the results of the image experiments into one page.

    python benchmarks/collect_images.py [--folder results/images]

Reads FOLDER/*/report.json and writes FOLDER/README.md: for every experiment the paper's claim, and
our figures with intervals. For the scaling of models it adds how far Lion on the middle model is
from AdamW on the large one, and at what share of the compute. Nothing is trained here; verdicts in
words stand in docs/comparisons.md.
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

from optforge.report.words import p_value
from optforge.tasks import initial_model, load_task

FOLDER = Path(__file__).parents[1] / "results" / "images"
ORDER = ("scratch", "scratch_mnist", "augmented", "finetune", "scaling", "batch", "map",
         "optimizers")  # fmt: skip
MIDDLE, LARGE = "glyphs_vit_small", "glyphs_vit_base"
HEAD = """# The image experiments in miniature

Change of test loss and of test accuracy against AdamW on fresh seeds, seed by seed, with Student-t
95 % intervals; p after Holm's correction within an experiment. Each folder has the report with all
settings, ranges, divergences, costs and figures, and `cells.jsonl`, the table of every run. What
the whole set costs is in [plan.md](plan.md).

    optforge compare --suite benchmarks/suites/images.toml --out results/images --resume
    python benchmarks/finetune_images.py

go on with what is missing; `python benchmarks/collect_images.py` writes this page anew.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the reports")
    folder = parser.parse_args(arguments).folder
    parts, missing = [HEAD], []
    for name in ORDER:
        file = folder / name / "report.json"
        if file.is_file():
            parts.append("\n".join(section(name, json.loads(file.read_text()))))
        else:
            missing.append(name)
    if missing:
        parts.append(f"Not run yet: {', '.join(missing)}.\n")
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def section(name: str, report: dict[str, Any]) -> Iterator[str]:
    settings = report["settings"]
    yield f"## [{report['title']}]({name}/report.md)\n"
    yield f"The paper, {report['claim']}.\n"
    yield (
        f"{settings['trials']} trials, {settings['seeds']} fresh seeds. "
        f"Commits {', '.join(sorted({s['commit'] for s in report['sessions']}))}.\n"
    )
    yield "| task | optimizer | test loss | accuracy, % | loss against AdamW | p | points |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    pairs = {(p["task"], p["recipe"]): p for p in report["pairs"]}
    for one in report["optimizers"]:
        yield row(one, pairs.get((one["task"], one["recipe"])))
    yield ""
    for more in (best_batch, widths, flatness, reach):
        yield from more(report)


def row(one: dict[str, Any], pair: dict[str, Any] | None) -> str:
    cells = [one["task"], one["recipe"], mean(one["test_loss"], 1, 4),
             mean(one["test_metric"], 100, 2)]  # fmt: skip
    if pair is None or pair["test_loss"]["mean"] is None:
        diverged = f"{one['diverged_runs']} runs diverged" if one["diverged_runs"] else ""
        return "| " + " | ".join([*cells, diverged, "", ""]) + " |"
    metric = pair["test_metric"]
    points = [100 * metric[key] for key in ("mean", "low", "high")]
    cells += [change(pair["test_loss"]), p_value(pair["adjusted"]),
              f"{points[0]:+.2f} [{points[1]:+.2f}, {points[2]:+.2f}]"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def best_batch(report: dict[str, Any]) -> Iterator[str]:
    """The best point of an axis."""
    told = report["optima"]
    if not told or told[0]["axis"] != "batch_size":
        return
    yield "| optimizer | best batch size | 95 % interval (bootstrap over seeds) |"
    yield "|---|--:|--:|"
    for one in told:
        yield f"| {one['recipe']} | {one['best']:g} | {one['low']:g} to {one['high']:g} |"
    yield ""


def widths(report: dict[str, Any]) -> Iterator[str]:
    """How much of a map is good."""
    if not report["maps"]:
        return
    width = 100 * report["maps"][0]["width"]
    yield f"| map of | points within {width:g} % of its best, % | difference to AdamW, points |"
    yield "|---|--:|--:|"
    for one in report["maps"]:
        told = one["difference"]
        cells = [f"{100 * told[key]:+.1f}" for key in ("mean", "low", "high")] if told else []
        shown = f"{cells[0]} [{cells[1]}, {cells[2]}]" if cells else ""
        yield f"| {one['task']}, {one['recipe']} | {mean(one['share'], 100, 1)} | {shown} |"
    yield ""


def flatness(report: dict[str, Any]) -> Iterator[str]:
    """Training loss under noise on the weights."""
    wanted = ("loss_under_absolute", "rise_under_absolute", "rise_under_relative")
    rows = [one for one in report["measured"] if one["name"].startswith(wanted)]
    if not rows:
        return
    yield "| flatness on | measured | optimizer | geometric mean | against AdamW |"
    yield "|---|---|---|--:|--:|"
    for one in rows:
        name = one["name"].replace("_", " ")
        told = one["ratio"]
        shown = change(told) if told and told["mean"] is not None else ""
        shown_mean = "-" if one["mean"] is None else f"{one['mean']:.4g}"
        yield f"| {one['task']} | {name} | {one['recipe']} | {shown_mean} | {shown} |"
    yield ""


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
        "FLOPs of a forward and a backward pass, counted by torch).\n"
    )
    yield "| Lion, middle, steps | AdamW, large, steps | test loss | p | compute |"
    yield "|--:|--:|--:|--:|--:|"
    cost = {name: flops(name) for name in (MIDDLE, LARGE)}
    for mine in small.values():
        for other in large.values():
            share = mine["steps"] * cost[MIDDLE] / (other["steps"] * cost[LARGE])
            told = welch(log_losses(mine["runs"]["lion"]), log_losses(other["runs"]["adamw"]))
            yield (
                f"| {mine['steps']} | {other['steps']} | {change(told)} | "
                f"{p_value(told['p'])} | {100 * share:.0f} % |"
            )
    yield ""


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


def mean(interval: dict[str, Any] | None, scale: float, digits: int) -> str:
    if interval is None or interval["mean"] is None or interval["high"] is None:
        return "-"
    half = scale * (interval["high"] - interval["low"]) / 2
    return f"{scale * interval['mean']:.{digits}f} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()

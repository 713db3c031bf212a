"""Join the results of the image experiments into one page.

    python benchmarks/collect_images.py

Reads results/images/*/report.json and writes results/images/README.md: for every experiment the
paper's claim, and our figures with intervals. Nothing is measured here; verdicts in words stand in
docs/comparisons.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "results" / "images"
ORDER = (
    "scratch",
    "scratch_mnist",
    "augmented",
    "finetune",
    "scaling",
    "batch",
    "map",
    "optimizers",
)
HEAD = """# The image experiments in miniature

Change of test loss and of test accuracy against AdamW on fresh seeds, seed by seed, with Student-t
95 % intervals; p after Holm's correction within an experiment. Each folder has the report with all
settings, ranges, divergences, costs and figures, and `cells.jsonl`, the table of every run.

    optforge compare --suite benchmarks/suites/images.toml --out results/images --resume

goes on with what is missing; `python benchmarks/collect_images.py` writes this page anew.
"""


def main() -> None:
    parts = [HEAD]
    for name in ORDER:
        file = FOLDER / name / "report.json"
        if file.is_file():
            parts.append("\n".join(section(name, json.loads(file.read_text()))))
    (FOLDER / "README.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


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


def row(one: dict[str, Any], pair: dict[str, Any] | None) -> str:
    cells = [one["task"], one["recipe"], mean(one["test_loss"], 1, 4),
             mean(one["test_metric"], 100, 2)]  # fmt: skip
    if pair is None or pair["test_loss"]["mean"] is None:
        diverged = f"{one['diverged_runs']} runs diverged" if one["diverged_runs"] else ""
        return "| " + " | ".join([*cells, diverged, "", ""]) + " |"
    loss, metric = pair["test_loss"], pair["test_metric"]
    change = [100 * (math.exp(loss[key]) - 1) for key in ("mean", "low", "high")]
    points = [100 * metric[key] for key in ("mean", "low", "high")]
    p = pair["adjusted"]
    cells += [f"{change[0]:+.1f} % [{change[1]:+.1f}, {change[2]:+.1f}]",
              "< 0.001" if p < 0.001 else f"{p:.3f}",
              f"{points[0]:+.2f} [{points[1]:+.2f}, {points[2]:+.2f}]"]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def mean(interval: dict[str, Any] | None, scale: float, digits: int) -> str:
    if interval is None or interval["mean"] is None or interval["high"] is None:
        return "-"
    half = scale * (interval["high"] - interval["low"]) / 2
    return f"{scale * interval['mean']:.{digits}f} ± {half:.{digits}f}"


if __name__ == "__main__":
    main()

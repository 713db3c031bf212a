"""What shipped tasks compute and how they are known: finished runs hang on both.

``behavior.json`` holds what every task gave on fixed inputs when its ``version`` began. Where a
test fails because a task is meant to compute something else, raise its ``version``, then write the
new figures with ``python -m tests.tasks.test_shipped_tasks``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from optforge.api.comparison import finished_runs, stored_comparison
from optforge.comparison import CellTable
from optforge.tasks import (
    Task,
    family_task_names,
    initial_model,
    ladder_task_names,
    load_task,
    set_aside_names,
    task_names,
)
from optforge.tasks.source import library_version
from optforge.tasks.task_content import pinned_sources
from optforge.tuning import stored

FILE = Path(__file__).with_name("behavior.json")
RESULTS = Path(__file__).parents[2] / "results" / "images"
LIBRARIES = {
    "images": "timm",
    "language": "transformers",
    "diffusion": "diffusers",
    "contrastive": "timm",
}
NAMES = (
    *(*task_names(), *ladder_task_names(), *set_aside_names()),
    *(name for family in LIBRARIES for name in family_task_names(family)),
)
_EXAMPLES = 16
# Digits that every processor agrees on; the smallest change of what is computed shows in more.
_TOLERANCE = 2e-3


def known() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def loaded(name: str) -> Task:
    task = load_task(name)
    if hasattr(task, "checkpoint"):
        vars(task)["checkpoint"] = "scratch"
    return task


def key(task: Task) -> str:
    return f"{task.name} {task.version}"


def drawn(like: Mapping[str, Any], generator: torch.Generator) -> Tensor:
    """Random values of a kind: whole numbers below a limit, or numbers from 0 to 1."""
    shape = (_EXAMPLES, *like["shape"])
    if like["below"]:
        return torch.randint(like["below"], shape, generator=generator)
    return torch.rand(shape, generator=generator)


def kind(values: Tensor) -> dict[str, Any]:
    below = int(values.max()) + 1 if values.dtype == torch.int64 else 0
    return {"shape": list(values.shape[1:]), "below": below}


def behavior(task: Task, kinds: Mapping[str, Any]) -> dict[str, float]:
    """What a task gives on fixed inputs: loss, gradients, metric, and an augmented batch."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = (drawn(kinds[part], generator) for part in ("inputs", "targets"))
    model = initial_model(task, 0)
    changed, mixed = task.augment(inputs, targets, generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        output = model(changed)
        loss = task.loss(output, mixed)
        loss.backward()
    gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    figures = {
        "loss": loss.item(),
        "gradient": torch.stack(gradients).norm().item(),
        "metric": task.metric(output, targets).item(),
        "weights": sum(p.norm().item() for p in model.parameters()),
        "augmented": changed.double().square().mean().item(),
    }
    return {name: float(f"{value:.6g}") for name, value in figures.items()}


def needs_models(name: str) -> None:
    for family, library in LIBRARIES.items():
        if name in family_task_names(family):
            pytest.importorskip(library)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_task_computes_changes_only_with_its_version(name: str) -> None:
    needs_models(name)
    task = loaded(name)
    assert key(task) in known(), f"python -m {__name__} writes the figures of {key(task)}"
    pinned = known()[key(task)]
    figures = behavior(task, pinned["kinds"])
    assert figures == pytest.approx(pinned["figures"], rel=_TOLERANCE, abs=1e-6), (
        f"{name} computes something else than finished runs did; raise its version"
    )


def test_a_changed_computation_is_noticed() -> None:
    class Louder(type(load_task("mnist_mlp"))):  # type: ignore[misc]
        def loss(self, output: Tensor, targets: Tensor) -> Tensor:
            return super().loss(1.05 * output, targets)

    pinned = known()[key(load_task("mnist_mlp"))]
    loss = behavior(Louder(), pinned["kinds"])["loss"]
    assert loss != pytest.approx(pinned["figures"]["loss"], rel=_TOLERANCE)


@pytest.mark.parametrize("name", ["mnist_mlp", "mnist_vit"])
def test_the_hash_of_committed_baselines_holds(name: str) -> None:
    """Of the tasks whose data are not drawn on this machine."""
    assert load_task(name).hash == stored()["tasks"][name]["hash"]


def test_a_raised_version_is_another_task() -> None:
    task = load_task("digits_mlp")
    assert "version" not in task.settings()
    changed = load_task("digits_mlp")
    changed.version = 2
    assert changed.hash != task.hash


def test_renaming_a_local_leaves_the_text_that_is_hashed() -> None:
    """It is pinned; a class that came later is known by its name and the task's version."""
    task = load_task("mnist_mlp")
    assert task.settings()["source"] == [pinned_sources()[name] for name in ("MnistMLP", "MLP")]


def test_committed_cells_of_mnist_are_found() -> None:
    """MNIST is the same on every machine, so its keys are."""
    report = json.loads((RESULTS / "scratch_mnist" / "report.json").read_text())
    with CellTable(RESULTS / "scratch_mnist" / "cells.jsonl", write=False) as table:
        trained_with = table.sessions[-1]["timm"]
    if library_version("timm") != trained_with:
        pytest.skip(f"the runs were made with timm {trained_with}, whose classes enter their keys")
    comparison, _ = stored_comparison(RESULTS / "scratch_mnist")
    assert {v.label: v.task.hash for v in comparison.variants} == {
        label: entry["hash"] for label, entry in report["tasks"].items()
    }
    finished = finished_runs(comparison, RESULTS / "scratch_mnist")
    assert len(finished.tasks) == len(report["tasks"])


def write() -> None:
    """Add the figures of tasks and versions that have none yet."""
    content = known()
    for name in NAMES:
        task = loaded(name)
        if key(task) not in content:
            train = task.splits.train
            kinds = {"inputs": kind(train.inputs), "targets": kind(train.targets)}
            content[key(task)] = {"kinds": kinds, "figures": behavior(task, kinds)}
    lines = [f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in content.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write()

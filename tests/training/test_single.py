"""One model by an optimizer of PyTorch, against the same loop by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from optforge.tasks import batch_order, initial_model
from optforge.training import (
    Stack,
    evaluate_model,
    keep_freed_memory,
    train_population,
    train_single,
)
from optforge.tuning.optimizers import adamw
from tests.helpers.plain import peak_and_cosine
from tests.helpers.tiny import Blobs, DoubleBlobs, WithBatchNorm

ADAMW = {"lr": 0.03, "weight_decay": 0.1, "betas": (0.9, 0.99)}


@pytest.mark.parametrize("kind", [Blobs, DoubleBlobs, WithBatchNorm])
def test_train_single_is_the_loop_by_hand(kind: type[Blobs]) -> None:
    task = kind()
    model, order = initial_model(task, 5), batch_order(task, 5)
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    for step in range(task.steps):
        optimizer.param_groups[0]["lr"] = 0.03 * peak_and_cosine(step, task.steps)
        optimizer.zero_grad()
        rows = order[step]
        task.loss(model(task.splits.train.inputs[rows]), task.splits.train.targets[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        output = model(task.splits.test.inputs)
    expected = task.loss(output, task.splits.test.targets).item()
    result = train_single(task, lambda p: torch.optim.AdamW(p, **ADAMW), 5, "test")
    assert result.loss == pytest.approx(expected, rel=1e-6)
    assert result.metric == pytest.approx(task.metric(output, task.splits.test.targets).item())


@pytest.mark.parametrize("corrected", [True, False])
def test_tuned_adamw_with_bias_correction_is_that_of_torch(corrected: bool) -> None:
    setting = {"lr": 0.03, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99}
    program = adamw(setting | {"bias_correction": int(corrected)})
    ours = train_population(Stack(DoubleBlobs(), torch.float64), [program], [5]).losses.item()
    theirs = train_single(DoubleBlobs(), lambda p: torch.optim.AdamW(p, **ADAMW), 5).loss
    assert (ours == pytest.approx(theirs, rel=1e-7)) == corrected


def test_every_group_keeps_its_own_peak() -> None:
    kept: list[torch.Tensor] = []

    def make(parameters):  # noqa: ANN001, ANN202
        kept.extend(parameters)
        groups = [{"params": kept[:1], "lr": 0.0}, {"params": kept[1:]}]
        return torch.optim.SGD(groups, lr=0.1)

    train_single(Blobs(), make, 0)
    start = list(initial_model(Blobs(), 0).parameters())
    moved = [not torch.equal(a, b) for a, b in zip(kept, start, strict=True)]
    assert moved == [False, True, True, True]


def test_evaluate_model_leaves_it_in_training_mode() -> None:
    task = WithBatchNorm()
    model = initial_model(task, 0)
    first, second = (evaluate_model(task, model, "validation") for _ in range(2))
    assert first == second and model.training


def test_keeping_freed_memory_is_harmless() -> None:
    """In a process of its own, because it stays; twice, because workers may ask again."""
    code = (
        "from optforge.training import keep_freed_memory as keep; import torch;"
        "print(keep() in (True, False), keep() == keep(), torch.ones(999, 999).sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "998001.0"]
    assert callable(keep_freed_memory)

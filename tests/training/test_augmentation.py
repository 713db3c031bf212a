"""Augmentation happens in training only, and is the same for every optimizer and trainer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from optforge.tasks import augmented, batch_order, initial_model
from optforge.training import Stack, train_population, train_single
from optforge.tuning.optimizers import adamw
from tests.helpers.tiny import Blobs, DoubleBlobs

ADAMW = {"lr": 0.03, "weight_decay": 0.1, "betas": (0.9, 0.99)}


class Shaken(DoubleBlobs):
    """Points moved at random, labels softened."""

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
        return inputs + noise, functional.one_hot(targets, 3) * 0.7 + 0.1

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(output, targets)


class Prepared(Blobs):
    """Starts from weights that depend on the seed alone."""

    def prepare(self, model: nn.Module, seed: int) -> nn.Module:
        with torch.no_grad():
            next(model.parameters()).fill_(seed)
        return model


def first(task: Blobs, seed: int, step: int) -> tuple[Tensor, Tensor]:
    train, rows = task.splits.train, batch_order(task, seed)[step]
    return augmented(task, train.inputs[rows], train.targets[rows], seed, step)


def test_the_batch_depends_on_seed_and_step_alone() -> None:
    task = Shaken()
    inputs, targets = first(task, 3, 1)
    torch.manual_seed(99)
    again = first(Shaken(), 3, 1)
    assert torch.equal(inputs, again[0]) and torch.equal(targets, again[1])
    rows = batch_order(task, 3)[1]
    noise = inputs - task.splits.train.inputs[rows]
    other = first(task, 3, 2)[0] - task.splits.train.inputs[batch_order(task, 3)[2]]
    assert not torch.allclose(noise, other)
    assert first(Blobs(), 0, 0)[0].shape == (16, 4)


def test_train_single_augments_training_only() -> None:
    task = Shaken()
    model = initial_model(task, 5)
    still = train_single(task, lambda p: torch.optim.SGD(p, lr=0.0), 5, "test")
    with torch.no_grad():
        clean = task.loss(model(task.splits.test.inputs), task.splits.test.targets).item()
    assert still.loss == pytest.approx(clean, rel=1e-12)
    trained = train_single(task, lambda p: torch.optim.AdamW(p, **ADAMW), 5).loss
    plain = train_single(DoubleBlobs(), lambda p: torch.optim.AdamW(p, **ADAMW), 5).loss
    assert trained != plain


def test_population_and_single_see_the_same_augmented_batches() -> None:
    setting = {"lr": 0.03, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "bias_correction": 1}
    many = train_population(Stack(Shaken(), torch.float64), [adamw(setting)], [5, 6]).losses[0]
    for column, seed in enumerate((5, 6)):
        alone = train_single(Shaken(), lambda p: torch.optim.AdamW(p, **ADAMW), seed).loss
        assert many[column].item() == pytest.approx(alone, rel=1e-7)


def test_prepare_changes_the_initial_model_and_not_the_hash() -> None:
    assert next(initial_model(Prepared(), 4).parameters()).unique().tolist() == [4.0]
    task = Prepared()
    task.target, task.evaluation_period = 0.5, 10
    assert task.hash == Prepared().hash

"""The baselines are the plain optimizers, tuned as said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.fitness import baseline, seeds
from optforge.fitness.baseline import adamw, lion, shipped, stored, tune
from optforge.language import Interpreter, Layout, Program, load_rule
from optforge.tasks import HELD_OUT_TASK, PROXY_TASKS
from optforge.training import Stack, train_population
from tests.helpers.tiny import Blobs

SIZES, STEPS = (5, 3), 30


def path(program: Program, start: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """The weights after each step of a program."""
    rule = Interpreter(program, state_kinds(program), Layout(SIZES), torch.float64)
    weights, states, steps = start[None], rule.initial_states(1), []
    for gradient in gradients:
        update, states = rule.step(weights, gradient[None], states, rule.scalars(1.0))
        weights = weights - update
        steps.append(weights[0])
    return torch.stack(steps)


@pytest.fixture
def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(sum(SIZES), generator=generator, dtype=torch.float64)
    shape = (STEPS, sum(SIZES))
    return start, torch.randn(shape, generator=generator, dtype=torch.float64)


def test_adamw_with_bias_correction_is_that_of_torch(
    problem: tuple[torch.Tensor, torch.Tensor],
) -> None:
    start, gradients = problem
    setting = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.97}
    ours = path(adamw(setting | {"bias_correction": 1}), start, gradients)
    weight = torch.nn.Parameter(start.clone())
    theirs = torch.optim.AdamW([weight], lr=0.02, weight_decay=0.3, betas=(0.8, 0.97))
    for step, gradient in enumerate(gradients):
        weight.grad = gradient.clone()
        theirs.step()
        torch.testing.assert_close(ours[step], weight.detach(), rtol=1e-9, atol=1e-12)


def test_adamw_without_bias_correction(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    start, gradients = problem
    setting = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.97, "bias_correction": 0}
    ours = path(adamw(setting), start, gradients)
    w, m, v = start.numpy().copy(), np.zeros(8), np.zeros(8)
    for step, g in enumerate(gradients.numpy()):
        m, v = 0.8 * m + 0.2 * g, 0.97 * v + 0.03 * g * g
        w -= 0.02 * (m / (np.sqrt(v) + 1e-8) + 0.3 * w)
        np.testing.assert_allclose(ours[step].numpy(), w, rtol=1e-9)


def test_lion_is_lion(problem: tuple[torch.Tensor, torch.Tensor]) -> None:
    start, gradients = problem
    setting = {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.97}
    ours = path(lion(setting), start, gradients)
    w, m = start.numpy().copy(), np.zeros(8)
    for step, g in enumerate(gradients.numpy()):
        w -= 0.02 * (np.sign(0.8 * m + 0.2 * g) + 0.3 * w)
        m = 0.97 * m + 0.03 * g
        np.testing.assert_allclose(ours[step].numpy(), w, rtol=1e-9)


@pytest.mark.parametrize("optimizer", ["adamw", "lion"])
def test_tuning_respects_its_trials_and_beats_the_default(
    optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: dict[tuple[int, ...], list[Program]] = {}

    def spy(stack: Stack, programs: Sequence[Program], chosen: Sequence[int], **rest: Any) -> Any:
        trained.setdefault(tuple(chosen), []).extend(programs)
        assert not rest, "tuning looks at validation data, without a judge"
        return train_population(stack, programs, chosen, **rest)

    monkeypatch.setattr(baseline, "train_population", spy)
    stack, done = Stack(Blobs()), []
    found = tune(stack, optimizer, 40, done.append)
    first, again = seeds(0, "Blobs", "tune", 3), seeds(0, "Blobs", "tune again", 6)
    assert found.trials == len(trained[first]) == done[-1] == 40
    assert set(trained) == {first, again} and len(trained[again]) <= 16
    assert found.program in trained[again] and set(trained[again]) <= set(trained[first])
    rules = [found.program, load_rule(optimizer)]
    tuned, default = train_population(stack, rules, again).losses.log().mean(1).tolist()
    assert tuned == pytest.approx(found.loss, rel=1e-3)
    assert tuned < default - 0.1


def test_tuning_is_reproducible() -> None:
    first, second = (tune(Stack(Blobs()), "adamw", 20) for _ in range(2))
    assert first == second


def test_a_single_trial_is_possible() -> None:
    assert tune(Stack(Blobs()), "lion", 1).trials == 1


def test_another_version_of_the_data_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = {"parameters": {"lr": 0.1}, "loss": -1.0, "trials": 9}
    table = {"tasks": {"Blobs": {"hash": Blobs().hash, "lion": entry}}}
    monkeypatch.setattr(baseline, "stored", lambda: table)
    same = shipped(Blobs(), "lion")
    assert same is not None and (same.note, same.trials, same.loss) == ("", 9, -1.0)
    assert shipped(Blobs(), "adamw") is None

    class Longer(Blobs):
        name = "Blobs"
        steps = 21

    other = shipped(Longer(), "lion")
    assert other is not None and "another version" in other.note and "Blobs" in other.note


@pytest.mark.parametrize("task", [*PROXY_TASKS, HELD_OUT_TASK])
def test_shipped_tasks_have_both_baselines_with_the_same_trials(task: str) -> None:
    entry = stored()["tasks"][task]
    assert entry["adamw"]["trials"] == entry["lion"]["trials"] >= 100
    assert set(entry["adamw"]["parameters"]) == {
        "lr", "weight_decay", "beta1", "beta2", "bias_correction",
    }  # fmt: skip

"""Models as people write them train alike in the three trainers, and stay batched."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from optforge.comparison import load_recipe, vary
from optforge.comparison.cells.cell import Cell
from optforge.comparison.cells.train import run_cell
from optforge.errors import TaskError
from optforge.language import load_rule, parse
from optforge.tasks import PROXY_TASKS, Task, initial_model, load_task
from optforge.training import (
    Stack,
    Trainee,
    train_population,
    train_single,
    trained_alone,
    ways_to_train,
)
from optforge.tuning.optimizers import adamw
from tests.helpers.own_models import (
    LONE,
    OWN,
    PERMUTED,
    Attentive,
    Frozen,
    Mixed,
    Unused,
    task_of,
)
from tests.helpers.tiny import Blobs, WithBranch

SETTING = {"lr": 0.02, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99}
ADAMW = adamw({**SETTING, "bias_correction": 1})
GLOBAL = parse(
    "def train(w, g, lr):\n    n = global_norm(g)\n    u = g / n\n    d = w * 0.1\n"
    "    u = u + d\n    u = u * lr\n    u = u * 0.1\n    return u"
)


def loose(task: Task) -> float:
    """Relative tolerance: bfloat16 rounds differently with every order of a sum."""
    kinds = {p.dtype for p in task.model().parameters()}
    return 2e-2 if torch.bfloat16 in kinds else 1e-6


@pytest.fixture(autouse=True)
def no_message():
    """No model here may be trained alone, nor may anything warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("task", OWN, ids=lambda task: task.name)
def test_together_and_alone_give_the_same_losses(task: Task) -> None:
    candidates = [ADAMW, load_rule("lion"), GLOBAL, Trainee(ADAMW, average=0.8)]
    stack = Stack(task)
    assert stack.batched
    together = train_population(stack, candidates, [3, 4], checkpoints=[5])
    alone = train_population(Stack(task, batched=False), candidates, [3, 4], checkpoints=[5])
    assert together.losses.isfinite().all()
    torch.testing.assert_close(together.losses, alone.losses, rtol=loose(task), atol=0)
    torch.testing.assert_close(together.curve, alone.curve, rtol=loose(task), atol=0)
    tolerance = 0.06 if loose(task) > 1e-3 else 1e-6
    torch.testing.assert_close(together.metrics, alone.metrics, rtol=0, atol=tolerance)


@pytest.mark.parametrize("task", OWN, ids=lambda task: task.name)
def test_searches_and_comparisons_train_the_same_model(task: Task) -> None:
    check_that_all_train_the_same(task)


@pytest.mark.parametrize("task", LONE, ids=lambda task: task.name)
def test_what_cannot_be_batched_trains_as_in_a_comparison(task: Task) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not Stack(task).batched
        check_that_all_train_the_same(task)
    assert any("cannot be batched by vmap" in str(one.message) for one in said)


def check_that_all_train_the_same(task: Task) -> None:
    ours = train_population(Stack(task), [ADAMW], [3]).losses.item()
    torchs = {"lr": 0.02, "weight_decay": 0.1, "betas": (0.9, 0.99)}
    single = train_single(task, lambda p: torch.optim.AdamW(p, **torchs), 3).loss
    cell = Cell(task.name, "adamw", tuple(SETTING.items()), seed=3)
    compared = run_cell(vary(task, {}), load_recipe("adamw"), cell).loss
    # torch adds its epsilon at another place in the bias correction.
    assert ours == pytest.approx(single, rel=max(loose(task), 1e-4))
    assert compared == pytest.approx(single, rel=max(loose(task) - 1e-6, 1e-9))


@pytest.mark.slow
@pytest.mark.parametrize("task", PERMUTED, ids=lambda task: task.name)
def test_masks_in_another_order_make_the_same_losses_on_average(task: Task) -> None:
    seeds = list(range(16))
    stack = Stack(task)
    assert stack.batched and stack.random
    together = train_population(stack, [ADAMW], seeds).losses[0]
    alone = train_population(Stack(task, batched=False), [ADAMW], seeds).losses[0]
    assert not torch.equal(together, alone), "then it belongs to those that are equal"
    differences = together.log() - alone.log()
    error = differences.std().item() / len(seeds) ** 0.5
    assert abs(differences.mean().item()) < 4 * error
    assert torch.corrcoef(torch.stack([together, alone]))[0, 1] > 0.5


def test_the_size_of_a_call_does_not_depend_on_what_was_called_first() -> None:
    """In evaluation, a layer of a Transformer takes a path whose arithmetic is not counted."""
    measured, trained = (Stack(task_of(Attentive)) for _ in range(2))
    measured.model.eval()
    assert measured._training_flops() == trained._training_flops() > 0
    assert not measured.model.training


def test_late_differences_between_seeds_are_held_by_row() -> None:
    """Seeds 0 and 1 share a buffer; later ones have their own."""

    class Late(nn.Module):
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 3)
            self.register_buffer("scale", torch.ones(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(x) * self.scale

    class LateTask(Blobs):
        def model(self) -> nn.Module:
            return Late()

        def prepare(self, model: nn.Module, seed: int) -> nn.Module:
            assert isinstance(model, Late)
            model.scale.fill_(1.0 + (seed > 1))
            return model

    stack = Stack(LateTask(), torch.float64)
    first = train_population(stack, [ADAMW], [0, 1]).losses
    mixed = train_population(stack, [ADAMW], [0, 1, 2]).losses
    alone = Stack(LateTask(), torch.float64, batched=False)
    torch.testing.assert_close(mixed[:, :2], first)
    torch.testing.assert_close(mixed, train_population(alone, [ADAMW], [0, 1, 2]).losses)


def test_rows_hold_what_is_trained_and_nothing_else() -> None:
    assert Stack(task_of(Frozen)).parts.trained == ("head.weight", "head.bias")
    assert Stack(task_of(Unused)).parts.trained == ("last.weight", "last.bias")
    assert Stack(task_of(Unused)).layout.elements == 20 * 3 + 3


def test_a_model_without_anything_to_train_is_refused() -> None:
    class Still(Blobs):
        def model(self) -> nn.Module:
            return nn.Linear(4, 3).requires_grad_(False)

    with pytest.raises(TaskError, match="no parameter that can be trained"):
        train_population(Stack(Still()), [ADAMW], [0])


def test_a_row_is_rounded_to_the_types_of_its_parameters() -> None:
    task = task_of(Mixed)
    stack = Stack(task)
    assert stack.dtype == torch.float64
    weights = stack.initial([0]) + 1e-4
    stack.round(weights)
    for view, parameter in zip(
        stack.views(weights[0]), initial_model(task, 0).parameters(), strict=True
    ):
        assert torch.equal(view, view.to(parameter.dtype).to(stack.dtype))


def test_what_trains_one_at_a_time_is_told_in_a_sentence() -> None:
    said: list[str] = []
    assert trained_alone([Blobs(), WithBranch()], said.append) == ("WithBranch",)
    assert len(said) == 1
    assert said[0].startswith("The models of WithBranch train one at a time: vmap cannot batch")


@pytest.mark.parametrize(("seconds", "alone"), [((3.0, 1.0), ("Blobs",)), ((1.0, 3.0), ())])
def test_the_faster_way_is_taken(
    seconds: tuple[float, float], alone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("optforge.training.choice.gradient_seconds", lambda _: seconds)
    assert trained_alone([Blobs()], said.append) == alone
    assert (["3.0 times as fast" in text for text in said] or [False])[0] == bool(alone)


@pytest.mark.parametrize(
    ("plain", "fused", "loop", "compile", "ways"),
    [
        (2.0, 1.0, 3.0, None, ((), True)),
        (2.0, 1.9, 3.0, None, ((), False)),
        (2.0, 1.0, 1.0, None, (("Blobs",), False)),
        (2.0, 0.5, 1.0, None, ((), True)),
        (2.0, 0.5, 1.0, True, ((), True)),
        (2.0, 1.5, 1.0, True, (("Blobs",), True)),
        (2.0, 0.5, 1.0, False, (("Blobs",), False)),
    ],
)
def test_kernels_are_compiled_where_a_trial_is_faster(
    plain: float,
    fused: float,
    loop: float,
    compile: bool | None,
    ways: tuple[tuple[str, ...], bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(stack: Stack) -> tuple[float, float]:
        assert compile is not False or not stack.compile
        return fused if stack.compile else plain, loop

    monkeypatch.setattr("optforge.training.choice.gradient_seconds", seconds)
    assert ways_to_train([Blobs()], lambda _: None, "cpu", compile) == ways


def test_shipped_tasks_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optforge.training.choice.batching_problem", pytest.fail)
    assert trained_alone([load_task(name) for name in PROXY_TASKS], pytest.fail) == ()
    names = [Stack(load_task(name)).parts.changed for name in PROXY_TASKS]
    assert names == [(), (), ()]


def test_a_task_that_is_spared_is_not_compiled_to_measure_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(stack: Stack) -> tuple[float, float]:
        assert not stack.compile
        return 1.0, 2.0

    monkeypatch.setattr("optforge.training.choice.gradient_seconds", seconds)
    task = load_task("mnist_autoencoder")
    assert ways_to_train([task], pytest.fail, "cpu", True, {task.name}) == ((), True)

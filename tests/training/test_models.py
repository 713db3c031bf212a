"""Models that are not plain: dropout, batch normalisation, what vmap cannot batch."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from optforge.language import load_rule, parse
from optforge.tasks import Task
from optforge.training import Stack, train_population, train_single
from tests.helpers.plain import RULES, train
from tests.helpers.tiny import RANDOM, UNBATCHED, Blobs, WithBatchNorm, WithDropout

PROGRAMS = [parse(load_rule("adamw").text.replace("0.001\n", f"{lr}\n")) for lr in (0.01, 0.05)]


@pytest.mark.parametrize("kind", RANDOM)
def test_random_models_are_batched_and_reproducible(kind: type[Task]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = Stack(kind(), torch.float64)
        assert stack.batched and stack.random
    torch.manual_seed(1)
    together = train_population(stack, PROGRAMS, [0, 1]).losses
    torch.manual_seed(2)
    again = train_population(Stack(kind(), torch.float64), PROGRAMS, [0, 1]).losses
    assert torch.equal(together, again)
    for row, program in enumerate(PROGRAMS):
        for column, seed in enumerate((0, 1)):
            alone = train_population(stack, [program], [seed]).losses.item()
            assert together[row, column].item() == pytest.approx(alone, rel=1e-10)


@pytest.mark.parametrize("kind", RANDOM)
def test_random_models_draw_new_numbers_each_step_and_leave_torch_alone(kind: type[Task]) -> None:
    before = torch.get_rng_state()
    stack = Stack(kind())
    train_population(stack, PROGRAMS, [0])
    weights = stack.initial([0, 0])
    first, second = (stack.gradients(weights, [0, 0], step)[1] for step in (0, 1))
    stack._orders[0][1] = stack._orders[0][0]  # the same batch, other noise
    third = stack.gradients(weights, [0, 0], 1)[1]
    assert torch.equal(first[0], first[1]), "candidates share their random numbers"
    assert not torch.equal(first, second) and not torch.equal(first, third)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("kind", RANDOM)
def test_random_models_train_alike_in_population_and_alone(kind: type[Task]) -> None:
    def make(parameters):  # noqa: ANN001, ANN202
        return torch.optim.SGD(parameters, lr=0.3)

    sgd = parse("def train(w, g, lr):\n    u = g * 0.3\n    u = u * lr\n    return u")
    batched = train_population(Stack(kind()), [sgd], [4]).losses.item()
    assert batched == pytest.approx(train_single(kind(), make, seed=4).loss, rel=1e-4)


def test_dropout_is_off_when_measuring() -> None:
    stack = Stack(WithDropout(), torch.float64)
    weights = stack.initial([0, 0])
    one, two = stack.evaluate(weights, "validation")[0].tolist()
    model = WithDropout().model().double().eval()
    for parameter, value in zip(model.parameters(), stack.views(weights[0]), strict=True):
        parameter.data = value
    part = stack.task.splits.validation
    expected = stack.task.loss(model(part.inputs.double()), part.targets).item()
    assert one == two == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", UNBATCHED)
def test_what_vmap_cannot_batch_trains_one_at_a_time_with_a_message(kind: type[Task]) -> None:
    task = kind()
    stack = Stack(task, torch.float64)
    programs = [program for program, _, _ in RULES.values()]
    with pytest.warns(UserWarning, match=f"task '{task.name}' cannot be batched"):
        trained = train_population(stack, programs, [0, 7], checkpoints=[5, 20])
    for number, (_, rule, states) in enumerate(RULES.values()):
        for column, seed in enumerate((0, 7)):
            ran = train(task, rule, states, seed, torch.float64)
            assert trained.losses[number, column].item() == pytest.approx(ran.loss, rel=1e-9)
            assert trained.metrics[number, column].item() == pytest.approx(ran.metric, rel=1e-9)
            mean = sum(ran.training[:5]) / 5
            assert trained.curve[0, number, column].item() == pytest.approx(mean, rel=1e-9)


def test_one_at_a_time_keeps_the_judge_and_survives_what_diverges() -> None:
    stack = Stack(WithBatchNorm(), batched=False)
    exploding = parse("def train(w, g, lr):\n    u = w * 1e30\n    u = u + g\n    return u")
    asked: list[tuple[int, list[int]]] = []

    def judge(mark: int, left: list[int], values: Tensor) -> list[bool]:
        assert values.shape == (1, 2)
        asked.append((mark, left))
        return [left != [1]]

    programs = [PROGRAMS[0], PROGRAMS[1], exploding]
    trained = train_population(stack, programs, [0, 1], checkpoints=[3, 6], judge=judge)
    assert trained.steps == (20, 3, 3)
    assert trained.losses[0].isfinite().all() and trained.losses[1:].isinf().all()
    assert asked[:3] == [(0, [0]), (1, [0]), (0, [1])]
    free = train_population(stack, programs[:1], [0, 1])
    assert torch.equal(free.losses[0], trained.losses[0])


def test_a_plain_model_is_batched_and_not_random() -> None:
    stack = Stack(Blobs())
    assert stack.batched and not stack.random

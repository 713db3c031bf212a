"""Many candidates at once compute what one model in an ordinary loop computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from optforge.language import Program, load_rule, parse
from optforge.tasks import Task, load_task
from optforge.training import Stack, Trained, train_population
from tests.helpers.plain import RULES, train
from tests.helpers.tiny import Blobs, ShortMLP, ShortTransformer, ShortViT

EXPLODING = parse("def train(w, g, lr):\n    u = w * 1e200\n    u = u + g\n    return u")
SGD = parse("def train(w, g, lr):\n    u = g * 0.3\n    u = u * lr\n    return u")


def rates(*values: float) -> list[Program]:
    """AdamW with each of these peak learning rates."""
    return [parse(load_rule("adamw").text.replace("0.001\n", f"{v!r}\n")) for v in values]


def losses(stack: Stack, programs: Sequence[Program], seeds: Sequence[int] = (0,)) -> Tensor:
    return train_population(stack, programs, seeds).losses


@pytest.mark.parametrize("task", [ShortMLP(), ShortViT(), ShortTransformer()], ids=lambda t: t.name)
def test_float64_agrees_with_an_ordinary_loop(task: Task) -> None:
    programs = [program for program, _, _ in RULES.values()]
    trained = train_population(Stack(task, torch.float64), programs, [3, 4], checkpoints=[5, 20])
    for number, (_, rule, states) in enumerate(RULES.values()):
        for column, seed in enumerate((3, 4)):
            ran = train(task, rule, states, seed, torch.float64)
            assert trained.losses[number, column].item() == pytest.approx(ran.loss, rel=1e-9)
            assert trained.metrics[number, column].item() == pytest.approx(ran.metric, rel=1e-9)
            marks = (ran.training[:5], ran.training[5:])
            for mark, part in enumerate(marks):
                mean = sum(part) / len(part)
                assert trained.curve[mark, number, column].item() == pytest.approx(mean, rel=1e-9)
    assert trained.steps == (20,) * len(programs)


@pytest.mark.parametrize("name", ["mnist_mlp", "mnist_vit", "python_transformer"])
def test_float32_agrees_within_a_tenth_of_the_deviation_between_seeds(name: str) -> None:
    task = load_task(name)
    program, rule, states = RULES["adamw"]
    seeds = [0, 1, 2]
    batched = losses(Stack(task), [program, load_rule("lion")], seeds)[0]
    alone = torch.tensor([train(task, rule, states, seed, torch.float32).loss for seed in seeds])
    assert (batched - alone).abs().max() < alone.std() / 10


def test_several_seeds_at_once_equal_one_by_one() -> None:
    stack, programs = Stack(Blobs(), torch.float64), rates(0.003, 0.03)
    together = losses(stack, programs, [5, 1, 9])
    for column, seed in enumerate((5, 1, 9)):
        torch.testing.assert_close(
            together[:, column], losses(stack, programs, [seed])[:, 0], rtol=1e-10, atol=0
        )
    assert len(set(together[0].tolist())) == 3


def test_result_does_not_depend_on_batch_size_or_row() -> None:
    programs = [*rates(0.001, 0.01, 0.1), load_rule("signum"), RULES["whole_tree"][0], SGD]
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        stack = Stack(Blobs(), dtype)
        together = losses(stack, programs)
        backwards = losses(stack, programs[::-1]).flip(0)
        alone = torch.cat([losses(stack, [program]) for program in programs])
        padded = losses(stack, [*programs * 20, EXPLODING])[: len(programs)]
        for other in (backwards, alone, padded):
            torch.testing.assert_close(together, other, rtol=tolerance, atol=0)


def test_equal_programs_get_exactly_equal_losses() -> None:
    stack, (program,) = Stack(load_task("digits_mlp")), rates(0.01)
    rows = losses(stack, [program, *rates(0.1, 0.02), program, program], [0, 1])
    assert torch.equal(rows[0], rows[3]) and torch.equal(rows[0], rows[4])


def test_more_candidates_than_one_call_takes() -> None:
    stack = Stack(Blobs(), torch.float64)
    programs = rates(*(0.001 * (1 + i) for i in range(stack.rows + 3)))
    many = losses(stack, programs)
    for place in (0, stack.rows - 1, stack.rows, stack.rows + 2):
        assert many[place].item() == pytest.approx(
            losses(stack, [programs[place]]).item(), rel=1e-10
        )


def test_who_leaves_does_not_change_the_others() -> None:
    stack, programs = Stack(Blobs(), torch.float64), rates(0.001, 0.003, 0.01, 0.03, 0.1)
    asked: list[tuple[int, list[int], tuple[int, ...]]] = []

    def judge(mark: int, left: list[int], values: Tensor) -> list[bool]:
        asked.append((mark, left, tuple(values.shape)))
        return [number not in ((0, 3), (2,))[mark] for number in left]

    free = train_population(stack, programs, [0, 1], checkpoints=[4, 9])
    judged = train_population(stack, programs, [0, 1], checkpoints=[4, 9], judge=judge)
    assert asked == [(0, [0, 1, 2, 3, 4], (5, 2)), (1, [1, 2, 4], (3, 2))]
    assert judged.steps == (4, 20, 9, 4, 20)
    stay, gone = [1, 4], [0, 2, 3]
    torch.testing.assert_close(judged.losses[stay], free.losses[stay], rtol=1e-10, atol=0)
    torch.testing.assert_close(judged.curve[0], free.curve[0], rtol=1e-10, atol=0)
    assert judged.losses[gone].isinf().all() and judged.metrics[gone].isnan().all()
    assert judged.curve[1, [0, 3]].isnan().all() and judged.curve[1, 2].isfinite().all()


def test_when_all_leave_training_ends() -> None:
    trained = train_population(
        Stack(Blobs()), rates(0.01, 0.1), [0], checkpoints=[2, 5], judge=lambda *_: [False, False]
    )
    assert trained.steps == (2, 2) and trained.losses.isinf().all()


def test_non_finite_training_leaves_and_is_infinitely_bad() -> None:
    """Without a warning: the test suite turns warnings into errors."""
    stack, programs = Stack(Blobs(), torch.float64), [*rates(0.01), EXPLODING, SGD]
    trained = train_population(stack, programs, [0, 1], checkpoints=[5, 10])
    assert trained.steps == (20, 5, 20)
    assert trained.losses[1].tolist() == [math.inf, math.inf]
    torch.testing.assert_close(
        trained.losses[[0, 2]], losses(stack, [programs[0], SGD], [0, 1]), rtol=1e-10, atol=0
    )
    unwatched = losses(stack, programs, [0, 1])
    assert unwatched[1].tolist() == [math.inf, math.inf] and unwatched[[0, 2]].isfinite().all()


@pytest.mark.parametrize("kept", ["w", "g", "u"])
def test_a_state_may_be_the_weights_the_gradient_or_the_update(kept: str) -> None:
    """It holds what they were in this step, although weights change in place."""
    body = "def train(w, g, m, lr):\n    u = g * 0.05\n    far = m * 0.02\n    u = u + far\n{}"
    direct = parse(body.format(f"    return u, {kept}"))
    copied = parse(body.format(f"    k = {kept} * 1.0\n    return u, k"))
    a, b = losses(Stack(Blobs(), torch.float64), [direct, copied]).flatten().tolist()
    assert a == pytest.approx(b, rel=1e-12)


def test_test_split_and_validation_split_differ() -> None:
    stack, programs = Stack(Blobs()), rates(0.03)
    results: list[Trained] = [
        train_population(stack, programs, [0], split=split) for split in ("validation", "test")
    ]
    assert results[0].losses.item() != results[1].losses.item()


def test_torch_rows_equal_numpy_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU rules run on NumPy arrays; elsewhere on tensors, with the same result."""
    stack = Stack(Blobs(), torch.float64)
    programs = [program for program, _, _ in RULES.values()]
    arrays = losses(stack, programs, [0, 1])
    monkeypatch.setattr(stack, "device", "cpu:0")  # the same device by another name
    torch.testing.assert_close(losses(stack, programs, [0, 1]), arrays, rtol=1e-10, atol=0)


def test_rules_see_gradients_scaled_by_seed() -> None:
    """SGD takes them for its rate, AdamW does not notice; alone and together are the same."""
    task, scales = load_task("digits_mlp"), {1: 0.25, 2: 8.0}
    plain, scaled, alone = (
        Stack(task, scales=scales if has_scales else {}, batched=batched)
        for has_scales, batched in ((False, True), (True, True), (True, False))
    )
    sgd = "def train(w, g, lr):\n    update = g * {}\n    update = update * lr\n    return update\n"
    slow, faster, slower = (parse(sgd.format(rate)) for rate in (0.02, 0.16, 0.005))
    adamw = load_rule("adamw")
    found = train_population(scaled, [slow, adamw], [0, 1, 2]).losses
    by_hand = train_population(plain, [slow, slower, faster, adamw], [0, 1, 2]).losses
    torch.testing.assert_close(found[0], torch.stack([by_hand[i, i] for i in range(3)]))
    torch.testing.assert_close(found[1], by_hand[3], rtol=1e-4, atol=0)
    one = train_population(alone, [slow], [2]).losses
    torch.testing.assert_close(one[0, 0], found[0, 2], rtol=1e-4, atol=0)

"""What belongs to the training: schedules and averaged weights, of each candidate its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.errors import TaskError
from optforge.language import Interpreter, Layout, Program, load_rule, parse
from optforge.tasks import Schedule, batch_order, initial_model
from optforge.training import Stack, Trainee, one_thread, record, train_population
from optforge.training.products import run_together
from optforge.tuning.optimizers import adamw
from tests.helpers.plain import peak_and_cosine
from tests.helpers.tiny import Blobs, DoubleBlobs, WithBatchNorm

SETTING = {"lr": 0.03, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "bias_correction": 1}
ADAMW = adamw(SETTING)
SGD = parse("def train(w, g, lr):\n    u = g * 0.3\n    u = u * lr\n    return u")
SHAPES = [
    None, Schedule(), Schedule(0.5, 2.0, 0.0), Schedule(0.1, 0.3, 0.2), Schedule(0.0, 1.0, 1.0),
]  # fmt: skip
ORTHOGONAL = parse(
    "def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    u = orthogonalize(m)\n"
    "    u = u * 0.02\n    u = u * lr\n    return u, m"
)
WHITENED = parse(
    "def train(w, g, s, lr):\n    t = transpose(g)\n    c = matmul(g, t)\n"
    "    s = interp(c, s, 0.9)\n"
    "    p = matmul(s, g)\n    o = orthogonalize(p)\n    u = where_matrix(o, g)\n"
    "    u = u * 0.01\n    u = u * lr\n    return u, s"
)
TWICE = parse(
    "def train(w, g, lr):\n    a = orthogonalize(g)\n    b = orthogonalize(w)\n    u = a - b\n"
    "    u = u * 0.01\n    return u"
)
TASK = DoubleBlobs()


def by_hand(
    setting: dict[str, float], lrs: Sequence[float], memory: float, seed: int, split: str
) -> float:
    """AdamW of torch in an ordinary loop; the loss is that of a moving average of the weights."""
    model, order = initial_model(TASK, seed), batch_order(TASK, seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1.0, weight_decay=setting["weight_decay"],
        betas=(setting["beta1"], setting["beta2"]),
    )  # fmt: skip
    average = [p.detach().clone() for p in model.parameters()]
    train, part = TASK.splits.train, getattr(TASK.splits, split)
    for rows, lr in zip(order, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = setting["lr"] * lr
        optimizer.zero_grad()
        TASK.loss(model(train.inputs[rows]), train.targets[rows]).backward()
        optimizer.step()
        average = [
            memory * a + (1 - memory) * p.detach()
            for a, p in zip(average, model.parameters(), strict=True)
        ]
    with torch.no_grad():
        for p, a in zip(model.parameters(), average, strict=True):
            p.copy_(a)
        return TASK.loss(model(part.inputs), part.targets).item()


def rates(shape: Schedule | None) -> list[float]:
    """The schedule from its formula."""
    if shape is None:
        return [peak_and_cosine(step, TASK.steps) for step in range(TASK.steps)]
    rising = max(1, round(shape.warmup * TASK.steps))
    values = [(step + 1) / rising for step in range(rising)]
    for step in range(rising, TASK.steps):
        angle = np.pi * (step - rising + 1) / (TASK.steps - rising + 1)
        decay = (1 + np.cos(angle)) / 2
        values.append(float(shape.final + (1 - shape.final) * decay**shape.power))
    return values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_schedule_and_average_against_torch_in_an_ordinary_loop(
    shape: Schedule | None, memory: float
) -> None:
    one = Trainee(ADAMW, shape, memory)
    trained = train_population(Stack(TASK, torch.float64), [one], [5], split="test")
    expected = by_hand(SETTING, rates(shape), memory, 5, "test")
    assert trained.losses.item() == pytest.approx(expected, rel=1e-6)


def test_each_candidate_has_its_own_schedule_and_average_whoever_else_is_trained() -> None:
    some: list[Program | Trainee] = [
        Trainee(program, shape, memory)
        for program, memory in ((ADAMW, 0.0), (SGD, 0.9), (ORTHOGONAL, 0.5))
        for shape in SHAPES
    ]
    some.append(ADAMW)
    stack = Stack(TASK, torch.float64)
    together = train_population(stack, some, [1, 2]).losses
    backwards = train_population(stack, some[::-1], [1, 2]).losses.flip(0)
    alone = torch.cat([train_population(stack, [one], [1, 2]).losses for one in some])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0)
    torch.testing.assert_close(together, backwards, rtol=1e-10, atol=0)
    values = together[:, 0].tolist()
    assert values[0] == pytest.approx(values[1]) == pytest.approx(values[-1])
    assert len({round(value, 9) for value in values}) == len(some) - 4, (
        "the task's is the plain one"
    )


def test_who_leaves_takes_its_schedule_and_average_along() -> None:
    some = [Trainee(ADAMW, shape, 0.7) for shape in SHAPES]
    stack = Stack(TASK, torch.float64)
    free = train_population(stack, some, [1, 2]).losses
    judged = train_population(
        stack,
        some,
        [1, 2],
        checkpoints=[7],
        judge=lambda _, left, __: [n not in (0, 2) for n in left],
    ).losses
    torch.testing.assert_close(judged[[1, 3, 4]], free[[1, 3, 4]], rtol=1e-10, atol=0)
    assert judged[[0, 2]].isinf().all()


@pytest.mark.filterwarnings("ignore:task .* cannot be batched")
def test_one_at_a_time_has_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    some = [Trainee(ADAMW, SHAPES[2], 0.8), Trainee(SGD, SHAPES[3]), Trainee(ORTHOGONAL)]
    many = Stack(TASK, torch.float64)
    expected = train_population(many, some, [3, 4]).losses
    alone = Stack(TASK, torch.float64)
    monkeypatch.setattr(type(alone), "batched", False)
    torch.testing.assert_close(
        train_population(alone, some, [3, 4]).losses, expected, rtol=1e-9, atol=0
    )
    unbatched = train_population(Stack(WithBatchNorm()), some[:2], [3]).losses
    plain = train_population(Stack(WithBatchNorm()), [ADAMW, SGD], [3]).losses
    assert unbatched.isfinite().all() and (unbatched != plain).all()


def test_a_recording_follows_the_schedule() -> None:
    stack, shape = Stack(Blobs()), Schedule(0.3, 2.0, 0.1)
    kept = record(stack, Trainee(SGD, shape), 0, 4, 3)
    assert kept.lrs == tuple(shape.values(20)[4:7])
    moved = kept.weights[0] - kept.weights[1]
    np.testing.assert_allclose(moved, kept.gradients[0] * 0.3 * kept.lrs[0], atol=1e-6)


@pytest.mark.parametrize("memory", [-0.1, 1.0, 1.5, float("nan")])
def test_a_memory_out_of_range_is_refused(memory: float) -> None:
    with pytest.raises(TaskError, match="memory.*0 to below 1"):
        Trainee(SGD, None, memory)


@pytest.mark.parametrize("arrays", [True, False], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_in_common_calls_are_those_of_each_rule_bit_for_bit(
    arrays: bool, dtype: torch.dtype
) -> None:
    """Rules with and without products, with other numbers of them, and of rows, in any order."""
    names = ("adamw", "muon", "lion", "ortho_adam", "program_8")
    programs = [load_rule(name) for name in names] + [ORTHOGONAL, WHITENED, TWICE, TWICE, SGD]
    shapes, matrices = ((4, 6), (5, 1), (6, 4), (4, 6), (9, 2)), (True, False, True, True, True)
    layout = Layout(tuple(a * b for a, b in shapes), shapes=shapes, matrices=matrices)
    rules = [Interpreter(p, state_kinds(p), layout, dtype, arrays) for p in programs]
    rows = [1 + n % 3 for n in range(len(rules))]
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> object:
        values = torch.randn(count, layout.elements, generator=generator, dtype=dtype)
        return values.numpy() if arrays else values

    weights = [draw(count) for count in rows]
    together = [rule.initial_states(count) for rule, count in zip(rules, rows, strict=True)]
    alone = [rule.initial_states(count) for rule, count in zip(rules, rows, strict=True)]
    scalars = [rule.schedule([0.5, 1.0, 0.25]) for rule in rules]
    for step in range(3):
        slopes = [draw(count) for count in rows]
        inputs = list(zip(weights, slopes, together, [s[step] for s in scalars], strict=True))
        with np.errstate(all="ignore"):  # as in training
            common = run_together(rules, inputs)
            separate = [
                rule.step(weights[n], slopes[n], alone[n], scalars[n][step])
                for n, rule in enumerate(rules)
            ]
        for n, ((update, states), (one, own)) in enumerate(zip(common, separate, strict=True)):
            for a, b in zip((update, *states), (one, *own), strict=True):
                np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
            together[n], alone[n] = list(states), list(own)
    assert sum(rule.has_products for rule in rules) >= 6


def test_one_thread_ends_with_the_block_also_by_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)

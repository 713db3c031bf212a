"""What is given or loaded is checked first, made plain, and refused without a trace."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.errors import OptimizerError
from optforge.optim import (
    Lion,
    ProgramOptimizer,
    convert_state_dict,
    lion_from_adamw,
    watch,
)

MAKERS: dict[str, Callable[..., Any]] = {
    "lion": lambda params, **k: Lion(params, **{"lr": 0.25, **k}),
    "rule": lambda params, **k: ProgramOptimizer(params, "lion", **{"lr": 0.25, **k}),
}
each_kind = pytest.mark.parametrize("kind", MAKERS)
PATHS: list[dict[str, Any]] = [{}, {"foreach": False}, {"capturable": True}]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: Any, steps: int = 2) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        for parameter in parameters:
            parameter.grad = draw(*parameter.shape, seed=step + 1).to(parameter.dtype)
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


# Numbers ----------------------------------------------------------------------------------------

NUMBERS: list[Any] = [
    *(numpy.float64(0.25), numpy.float32(0.25), numpy.float16(0.25), Fraction(1, 4)),
    Decimal("0.25"),
    *(numpy.array(0.25), numpy.array(0.25, dtype=numpy.float32)),
]


@each_kind
@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_number_is_a_number_and_is_made_plain(kind: str, number: Any) -> None:
    make = MAKERS[kind]
    optimizer = make([Parameter(draw(7))], lr=number, weight_decay=number)
    group = optimizer.param_groups[0]
    assert type(group["lr"]) is float and type(group["weight_decay"]) is float
    wanted = stepped(make([Parameter(draw(7))], lr=0.25, weight_decay=0.25))
    assert torch.equal(stepped(optimizer)[0], wanted[0])
    assert group["lr"] == optimizer.defaults["lr"] == 0.25


@pytest.mark.parametrize("betas", [[0.5, 0.75], numpy.array([0.5, 0.75]), (Fraction(1, 2), 0.75)])
def test_betas_are_any_two_numbers(betas: Any) -> None:
    lion = Lion([Parameter(draw(7))], lr=0.25, betas=betas)
    assert lion.param_groups[0]["betas"] == (0.5, 0.75)
    rule = ProgramOptimizer([Parameter(draw(7))], "lion", lr=0.25, betas=betas)
    assert [rule.param_groups[0][name] for name in ("beta1", "beta2")] == [0.5, 0.75]


def test_whole_numbers_and_truth_values_of_numpy_are_taken() -> None:
    seed = numpy.int64(3)
    group = Lion([Parameter(draw(7))], seed=seed, maximize=numpy.bool_(True)).param_groups[0]  # type: ignore[arg-type]
    assert type(group["seed"]) is int and group["maximize"] is True
    rule = ProgramOptimizer([Parameter(draw(7))], "lion", total_steps=numpy.int32(9))  # type: ignore[arg-type]
    assert type(rule.param_groups[0]["total_steps"]) is int
    lion = Lion([Parameter(draw(7))], lr=0.25)
    with watch(lion, every=numpy.int64(1), near=numpy.float32(0.5)) as diagnostics:  # type: ignore[arg-type]
        stepped(lion)
    assert diagnostics.latest is not None
    recipe = lion_from_adamw({"lr": numpy.float32(0.5), "weight_decay": numpy.int64(1)}, divisor=8)
    assert recipe.keywords == {"lr": 0.0625, "betas": (0.9, 0.99), "weight_decay": 8.0}


@each_kind
@pytest.mark.parametrize(
    "kept", [numpy.float32(0.125), numpy.float64(0.125), torch.tensor([0.125])]
)
def test_what_a_schedule_writes_later_is_a_number_too(kind: str, kept: Any) -> None:
    for path in PATHS if kind == "lion" else PATHS[:2]:
        results = []
        for rate in (kept, 0.125):
            optimizer = MAKERS[kind]([Parameter(draw(7)), Parameter(draw())], lr=1.0, **path)
            optimizer.param_groups[0]["lr"] = rate
            results.append(stepped(optimizer))
            optimizer.load_state_dict(optimizer.state_dict())
        for one, other in zip(*results, strict=True):
            assert one.shape == other.shape
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


# Tensors ----------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_a_rate_of_one_element_becomes_a_number_without_dimensions(
    kind: str, shape: tuple[int, ...]
) -> None:
    rate = torch.full(shape, 0.25)
    groups = [{"params": [Parameter(draw())]}, {"params": [Parameter(draw(3, 4))]}]
    optimizer = MAKERS[kind](groups, lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, [lambda step: 0.5**step, lambda step: 1.0]
    )
    got = stepped(optimizer, 1)
    schedule.step()
    got += stepped(optimizer, 1)
    assert [weight.shape for weight in got[:2]] == [(), (3, 4)]
    rates = [group["lr"] for group in optimizer.param_groups]
    assert all(r.shape == () for r in rates)
    assert [float(r) for r in rates] == [0.125, 0.25]  # each group has its own
    assert torch.equal(rate, torch.full(shape, 0.25))  # the user's stays


@each_kind
@pytest.mark.parametrize(
    "wrong",
    [
        *(torch.tensor([0.1, 0.2]), torch.tensor(1 + 1j), torch.tensor(True)),
        *(numpy.array([0.1, 0.2]), 10**400, True, "0.1", b"1"),
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused(kind: str, wrong: Any) -> None:
    with pytest.raises(OptimizerError, match="lr must be .*, got"):
        MAKERS[kind]([Parameter(draw(3))], lr=wrong)


# Loading ----------------------------------------------------------------------------------------

LINEAR = torch.nn.Linear(3, 2)
OTHERS: dict[str, Callable[[], torch.optim.Optimizer]] = {
    "torch's SGD": lambda: torch.optim.SGD(LINEAR.parameters(), lr=0.1),
    "torch's Adam or AdamW": lambda: torch.optim.AdamW(LINEAR.parameters()),
    "torch's RMSprop": lambda: torch.optim.RMSprop(LINEAR.parameters()),
    "torch's Adagrad": lambda: torch.optim.Adagrad(LINEAR.parameters()),
}


@each_kind
@pytest.mark.parametrize("other", OTHERS)
def test_groups_without_tensors_are_refused_by_name(kind: str, other: str) -> None:
    state = OTHERS[other]().state_dict()
    state["state"] = {}
    optimizer = MAKERS[kind](LINEAR.parameters())
    with pytest.raises(OptimizerError, match=other):
        optimizer.load_state_dict(state)


def test_lion_and_a_rule_refuse_each_other_s_state() -> None:
    lion, rule = (make(LINEAR.parameters()) for make in MAKERS.values())
    with pytest.raises(OptimizerError, match="is of optforge's Lion"):
        rule.load_state_dict(lion.state_dict())
    with pytest.raises(OptimizerError, match="is of optforge's ProgramOptimizer"):
        lion.load_state_dict(rule.state_dict())


@each_kind
def test_a_group_without_parameters_keeps_its_settings(kind: str) -> None:
    def make() -> Any:
        return MAKERS[kind]([{"params": [], "lr": 0.5}, {"params": [Parameter(draw(3))]}])

    one, other = make(), make()
    stepped(one)
    saved = one.state_dict()
    saved["param_groups"][0] = {"params": []}  # as distributed checkpoints have it
    other.load_state_dict(saved)
    assert other.param_groups[0]["lr"] == 0.5
    other.param_groups[1]["params"][0].data.copy_(one.param_groups[1]["params"][0].detach())
    assert torch.equal(stepped(other)[0], stepped(one)[0])


@pytest.mark.parametrize("step", [3, 3.0, torch.tensor(3.0), torch.tensor(3, dtype=torch.int64)])
def test_a_saved_count_of_steps_goes_on_whatever_number_it_is(step: Any) -> None:
    def make() -> Lion:
        return Lion([Parameter(draw(300).bfloat16())], lr=2.0**-12)

    one, other = make(), make()
    stepped(one, 3)
    saved = copy.deepcopy(one.state_dict())
    saved["state"][0]["step"] = step
    other.load_state_dict(saved)
    other.param_groups[0]["params"][0].data.copy_(one.param_groups[0]["params"][0].detach())
    assert torch.equal(stepped(other)[0], stepped(one)[0])


@pytest.mark.parametrize("block", [64, 256, 2048, 4096])
@pytest.mark.parametrize("elements", [40, 4096, 5000])
def test_blocks_of_bitsandbytes_are_read_from_the_data(block: int, elements: int) -> None:
    codes = torch.randint(0, 256, (elements,), generator=torch.Generator().manual_seed(0))
    scales = torch.rand(-(-elements // block), generator=torch.Generator().manual_seed(1))
    book = torch.linspace(-1, 1, 256)
    entry = {"state1": codes.to(torch.uint8), "qmap1": book, "absmax1": scales}
    group = {"params": [0], "lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0, "eps": 0.0}
    saved = {"state": {0: entry}, "param_groups": [group]}
    lion = Lion([Parameter(torch.zeros(elements))])
    lion.load_state_dict(convert_state_dict(saved, lion))
    (state,) = lion.state.values()
    wanted = [book[c].item() * scales[i // block].item() for i, c in enumerate(codes.tolist())]
    torch.testing.assert_close(state["momentum"].double(), torch.tensor(wanted).double())


@pytest.mark.parametrize("change", ["scales", "format"])
def test_scales_that_fit_no_block_are_refused(change: str) -> None:
    entry = {"state1": torch.zeros(5000, dtype=torch.uint8), "qmap1": torch.zeros(256)}
    if change == "scales":
        entry["absmax1"] = torch.zeros(7)
    group = {"params": [0], "lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.0, "eps": 0.0}
    saved = {"state": {0: entry}, "param_groups": [group]}
    with pytest.raises(OptimizerError, match="7 scales for 5000|block_wise"):
        convert_state_dict(saved, Lion([Parameter(torch.zeros(5000))]))


@each_kind
def test_a_rate_that_requires_gradients_says_nothing_and_stays_in_its_graph(kind: str) -> None:
    source = torch.tensor([0.5], requires_grad=True)
    weight = draw(4).requires_grad_(False)
    if kind == "lion":
        lion = Lion([weight], lr=source, differentiable=True)
        weight.grad = torch.ones(4)
        lion.step()
        weight.sum().backward()
        assert float(source.grad) == -4.0  # type: ignore[arg-type]
    optimizer = MAKERS[kind]([Parameter(draw(4))], lr=source)
    assert torch.equal(
        stepped(optimizer)[0], stepped(MAKERS[kind]([Parameter(draw(4))], lr=0.5))[0]
    )


@each_kind
@pytest.mark.parametrize("nothing", [None, {}])
def test_a_parameter_without_a_state_begins_at_zero(kind: str, nothing: Any) -> None:
    """As sharding wrappers leave it for parameters of other ranks, or that had no gradient."""

    def make() -> Any:
        return MAKERS[kind]([Parameter(draw(3)), Parameter(draw(4))])

    one, other = make(), make()
    stepped(one)
    saved = copy.deepcopy(one.state_dict())
    saved["state"][1] = nothing
    other.load_state_dict(saved)
    got, fresh = stepped(other, 1)[1], stepped(make(), 1)[1]
    assert torch.equal(got, fresh)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("lr", -1.0), ("lr", "0.1"), ("lr", float("nan")), ("lr", torch.ones(2)), ("lr", None)),
        *(("betas", 0.9), ("betas", (0.9, 1.0)), ("weight_decay", -0.1), ("cautious", 1)),
        *(("nonfinite", "skip"), ("rounding", "up"), ("seed", -1), ("foreach", "yes")),
        *(("decay_mode", "none"), ("momentum_dtype", torch.int8), ("capturable", None)),
        *(("wd", 0.1), ("reference_lr", -1.0), ("maximize", "no"), ("fused", 0)),
    ],
)
@pytest.mark.parametrize("steps", [0, 1])
def test_an_option_of_lion_set_by_hand_between_steps_is_refused(
    setting: str, value: Any, steps: int
) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Lion([weight], lr=0.5)
    weight.grad = torch.ones(3)
    for _ in range(steps):
        optimizer.step()
    before = weight.detach().clone()
    kept = optimizer.param_groups[0].get(setting)
    optimizer.param_groups[0][setting] = value
    for _ in range(2):  # a refusal is no check that has passed
        with pytest.raises(OptimizerError, match=setting):
            optimizer.step()
    assert torch.equal(weight, before)
    if setting == "wd":
        del optimizer.param_groups[0][setting]
    else:
        optimizer.param_groups[0][setting] = kept
    optimizer.step()
    assert torch.equal(weight, before - 0.5)


def test_options_set_by_hand_that_exclude_each_other_or_are_gone_are_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad = torch.ones(3)
    optimizer = Lion([weight])
    optimizer.param_groups[0].update(foreach=True, fused=True)
    with pytest.raises(OptimizerError, match="exclude each other"):
        optimizer.step()
    optimizer.param_groups[0].update(foreach=None, fused=None)
    del optimizer.param_groups[0]["betas"]
    with pytest.raises(OptimizerError, match="'betas' is missing"):
        optimizer.step()
    assert torch.equal(weight, torch.ones(3)) and not optimizer.state


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("lr", -1.0), ("lr", "0.1"), ("schedule", None), ("schedule", float("inf"))),
        *(("peak_lr", 0.0), ("beta1", "0.9"), ("foreach", "yes"), ("maximize", 1)),
        *(("matrices", 2), ("total_steps", 0), ("weight_deca", 0.9)),
    ],
)
def test_an_option_of_a_rule_set_by_hand_between_steps_is_refused(setting: str, value: Any) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = ProgramOptimizer([weight], "adamw")
    weight.grad = torch.ones(3)
    optimizer.step()
    before = weight.detach().clone()
    optimizer.param_groups[0][setting] = value
    for _ in range(2):
        with pytest.raises(OptimizerError, match=setting):
            optimizer.step()
    assert torch.equal(weight, before)


def test_numbers_of_other_kinds_set_by_hand_are_made_plain() -> None:
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    optimizer = Lion([weight], lr=0.5)
    group = optimizer.param_groups[0]
    group.update(lr=numpy.float32(0.25), seed=numpy.int64(2**62), cautious=numpy.True_)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert [type(group[key]) for key in ("lr", "seed", "cautious")] == [float, int, bool]
    assert torch.equal(weight, torch.full_like(weight, 0.75))


def test_a_rate_that_is_a_tensor_stays_the_one_that_was_set() -> None:
    weight, rate = torch.nn.Parameter(torch.ones(3)), torch.tensor(0.5)
    optimizer = Lion([weight], capturable=True)
    optimizer.param_groups[0]["lr"] = rate
    weight.grad = torch.ones(3)
    optimizer.step()
    rate.fill_(0.25)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert torch.equal(weight, torch.full((3,), 0.25))

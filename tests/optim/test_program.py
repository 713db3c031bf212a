"""ProgramOptimizer as a citizen of `torch.optim`: rates, groups, states, and what it refuses."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optforge.errors import OptimizerError, ProgramError
from optforge.language import Kind, load_rule, parse, rule_names
from optforge.optim.program import ProgramOptimizer
from tests.helpers.parity import Reference, Scenario

WAYS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {"foreach": True}}
EVERY_KIND = """
def train(w, g, m, size, count, lr):
    count = count + 1.0
    m = interp(g, m, 0.9)
    each = norm(g)
    size = interp(each, size, 0.5)
    u = m / size
    u = u / count
    u = clip(u, 0.8)
    u = u * 0.01
    u = u * lr
    return u, m, size, count
"""


def parameter(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.nn.Parameter:
    source = torch.Generator().manual_seed(seed)
    draw = torch.randn(shape, generator=source, dtype=torch.float64)
    return torch.nn.Parameter(draw.to(dtype))


def give_gradients(parameters: list[Any], seed: int) -> None:
    source = torch.Generator().manual_seed(100 + seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=source, dtype=torch.float64).to(p.dtype)


def train(optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> Tensor:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(first, first + steps):
        give_gradients(parameters, step)
        optimizer.step()
    return torch.cat([p.detach().double().flatten() for p in parameters])


# Rate and schedule ------------------------------------------------------------------------------


def test_lr_sets_the_rate_and_leaves_the_schedule_at_its_peak() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "program_8", lr=0.01)
    give_gradients(weights, 0)
    start, gradient = weights[0].detach().numpy().copy(), weights[0].grad.numpy().copy()  # type: ignore
    optimizer.step()
    rule = load_rule("program_8").text.replace("0.0002171761734643951", "0.01")
    reference = Reference(parse(rule), Scenario(((3,),)).layout)
    wanted, _ = reference.step(start, reference.zeros(), gradient, 1.0)  # fed 1: clip(g, 1)
    np.testing.assert_allclose(weights[0].detach().numpy(), wanted, rtol=1e-14)


def test_a_torch_scheduler_moves_the_schedule_of_program_8_and_so_its_clip() -> None:
    scenario = Scenario(((4,),), steps=20, seed=2, scale=30.0)  # so that the clip has work
    weights, gradients = scenario.draw()
    weight = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    optimizer = ProgramOptimizer([weight], "program_8", lr=0.5)
    factors = [1.0 - step / 25 for step in range(21)]
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factors[step])
    rule = load_rule("program_8").text.replace("0.0002171761734643951", "0.5")
    reference = Reference(parse(rule), scenario.layout)
    states = reference.zeros()
    unlike, unlike_states = weights, reference.zeros()  # what a rate of 0.5 f(t) would give
    for step, gradient in enumerate(gradients):
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        scheduler.step()
        weights, states = reference.step(weights, states, gradient, factors[step])
        np.testing.assert_allclose(weight.detach().numpy(), weights, rtol=1e-12)
        moved = rule.replace("0.5\n", f"{0.5 * factors[step]!r}\n")
        constant = Reference(parse(moved), scenario.layout)
        unlike, unlike_states = constant.step(unlike, unlike_states, gradient, 1.0)
    tracked = optimizer.state[weight]["v"].numpy()  # the average of the clipped gradients
    np.testing.assert_allclose(tracked, states[0], rtol=1e-12)
    assert not np.allclose(tracked, unlike_states[0], rtol=0.1)  # the clip has seen the schedule


def test_one_cycle_begins_below_the_peak_and_reaches_it() -> None:
    """OneCycleLR writes its first rate into `initial_lr`; the peak is still the rule's rate."""
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "lion", lr=0.1, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, 10, cycle_momentum=False)
    for _ in range(9):
        before, rate = weights[0].detach().clone(), optimizer.param_groups[0]["lr"]
        give_gradients(weights, 0)
        optimizer.step()
        moved = (weights[0].detach() - before).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, rate))
        scheduler.step()


def test_a_warm_up_from_zero_does_nothing_at_zero() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, "adamw", lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 0))
    before = weights[0].detach().clone()
    train(optimizer, 1)
    torch.testing.assert_close(weights[0].detach(), before, rtol=0, atol=0)


def test_schedule_is_fed_to_the_rule() -> None:
    program = parse("def train(w, g, lr):\n    u = cos(lr)\n    u = u * g\n    return u\n")
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, program, schedule=0.25)
    optimizer.param_groups[0]["lr"] = 0.5  # half of the peak, which is 1 without a constant
    give_gradients(weights, 0)
    wanted = weights[0].detach() - np.cos(0.125) * weights[0].grad  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), wanted)


def test_a_rate_multiplies_the_update_of_a_rule_without_one() -> None:
    program = parse("def train(w, g, lr):\n    u = sin(g)\n    return u\n")
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, program, lr=0.3)
    assert optimizer.param_groups[0]["lr"] == 0.3
    give_gradients(weights, 0)
    wanted = weights[0].detach() - 0.3 * torch.sin(weights[0].grad)  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), wanted)


# Groups -----------------------------------------------------------------------------------------


def test_groups_have_hyper_parameters_of_their_own() -> None:
    def pair() -> list[torch.nn.Parameter]:
        return [parameter(4, seed=1), parameter(2, 3, seed=2)]

    both = pair()
    optimizer = ProgramOptimizer(
        [
            {"params": both[:1], "lr": 0.1, "beta1": 0.5},
            {"params": both[1:], "weight_decay": 0.3, "maximize": True},
        ],
        "adamw_bias_correction",
        lr=0.02,
    )
    got = train(optimizer, 10)
    other = pair()
    theirs = torch.optim.AdamW(
        [
            {"params": other[:1], "lr": 0.1, "betas": (0.5, 0.999)},
            {"params": other[1:], "weight_decay": 0.3, "maximize": True},
        ],
        lr=0.02,
    )
    torch.testing.assert_close(got, train(theirs, 10), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_clip_goes_over_all_groups_with_the_limit_of_each(way: str) -> None:
    program = parse("def train(w, g, lr):\n    u = clip(g, 0.5)\n    return u\n")
    weights = [parameter(3), parameter(2)]
    groups = [{"params": weights[:1]}, {"params": weights[1:], "constant_1": 0.25}]
    optimizer = ProgramOptimizer(groups, program, **WAYS[way])
    give_gradients(weights, 0)
    grads = [w.grad.clone() for w in weights if w.grad is not None]
    length = torch.sqrt(sum((g**2).sum() for g in grads))  # type: ignore
    assert length > 0.5
    before = [w.detach().clone() for w in weights]
    optimizer.step()
    for w, old, g, limit in zip(weights, before, grads, (0.5, 0.25), strict=True):
        torch.testing.assert_close(w.detach(), old - g * limit / length)


def test_a_group_may_be_empty_or_come_later() -> None:
    weights = [parameter(3)]
    optimizer = ProgramOptimizer([{"params": []}, {"params": weights}], "program_8")
    train(optimizer, 2)
    late = parameter(2, seed=5)
    optimizer.add_param_group({"params": [late], "lr": 0.5})
    assert optimizer.param_groups[2]["peak_lr"] == 0.5
    before = late.detach().clone()
    train(optimizer, 1)
    assert not torch.equal(late.detach(), before)


def test_what_has_no_gradient_stays_and_is_no_part_of_the_tree() -> None:
    program = parse(EVERY_KIND)
    weights = [parameter(3), parameter(2, seed=1), parameter(2, seed=2)]
    optimizer = ProgramOptimizer(weights, program)
    alone = [parameter(3)]
    reference = ProgramOptimizer(alone, program)
    for step in range(3):
        give_gradients(weights[:1], step)
        give_gradients(alone, step)
        optimizer.step()
        reference.step()
    torch.testing.assert_close(weights[0].detach(), alone[0].detach(), rtol=0, atol=0)
    torch.testing.assert_close(weights[1].detach(), parameter(2, seed=1).detach())
    assert set(optimizer.state) == {weights[0]}
    optimizer.zero_grad()
    optimizer.step()  # nothing at all to do


# States -----------------------------------------------------------------------------------------


def test_states_of_every_kind_are_plain_tensors() -> None:
    weights = [parameter(3, 2, dtype=torch.bfloat16), parameter(2)]
    optimizer = ProgramOptimizer(weights, parse(EVERY_KIND))
    train(optimizer, 3)
    kinds = dict(zip(("m", "size", "count"), optimizer.graph.kinds, strict=True))
    assert kinds == {"m": Kind.TREE, "size": Kind.ARRAY, "count": Kind.SCALAR}
    narrow, wide = (optimizer.state[w] for w in weights)
    assert {n: (t.dtype, tuple(t.shape)) for n, t in narrow.items()} == {
        "m": (torch.float32, (3, 2)),
        "size": (torch.float32, ()),
        "count": (torch.float64, ()),
    }
    assert wide["m"].dtype == wide["size"].dtype == torch.float64
    assert narrow["count"].item() == wide["count"].item() == 3
    assert all(type(t) is Tensor for state in (narrow, wide) for t in state.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_loading_goes_on_exactly_and_keeps_dtypes(dtype: torch.dtype) -> None:
    def fresh() -> ProgramOptimizer:
        weights = [parameter(3, 2, dtype=dtype), parameter(4, seed=1, dtype=dtype)]
        return ProgramOptimizer(weights, parse(EVERY_KIND), lr=0.02)

    one, other = fresh(), fresh()
    want = train(one, 9)
    train(other, 4)
    buffer = io.BytesIO()
    torch.save(other.state_dict(), buffer)
    buffer.seek(0)
    third = fresh()
    weights = (o.param_groups[0]["params"] for o in (third, other))
    for mine, theirs in zip(*weights, strict=True):
        mine.data.copy_(theirs)
    third.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(train(third, 5, first=4), want)
    for mine, theirs in zip(third.state.values(), one.state.values(), strict=True):
        assert {n: t.dtype for n, t in mine.items()} == {n: t.dtype for n, t in theirs.items()}


def test_loading_does_not_tie_two_optimizers_together() -> None:
    one = ProgramOptimizer([parameter(3)], "adamw_bias_correction")
    train(one, 2)
    saved = one.state_dict()
    kept = copy.deepcopy(saved)
    other = ProgramOptimizer([parameter(3)], "adamw_bias_correction")
    other.load_state_dict(saved)
    train(other, 2)
    for name, value in kept["state"][0].items():
        assert torch.equal(one.state_dict()["state"][0][name], value), name


def test_a_state_dict_of_another_rule_is_refused() -> None:
    one = ProgramOptimizer([parameter(3)], "adamw")
    train(one, 1)
    with pytest.raises(OptimizerError, match=r"\['m', 'v'\].*keeps \['momentum'\]"):
        ProgramOptimizer([parameter(3)], "lion").load_state_dict(one.state_dict())


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copy_goes_its_own_way(clone: Any) -> None:
    one = ProgramOptimizer([parameter(3), parameter(2, seed=1)], parse(EVERY_KIND), fused=None)
    train(one, 3)
    other = clone(one)
    assert torch.equal(train(other, 3, first=3), train(one, 3, first=3))


def test_dead_states_take_no_memory() -> None:
    optimizer = ProgramOptimizer([parameter(3)], "program_8")
    train(optimizer, 1)
    (state,) = optimizer.state.values()
    assert set(state) == {"v"}


# Parameters of all sorts ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["lion", "program_4", "program_5"])
def test_gradients_are_never_changed(name: str, way: str) -> None:
    weights = [parameter(3, 2), parameter(), parameter(70_000)]
    optimizer = ProgramOptimizer(weights, name, maximize=True, **WAYS[way])
    for step in range(3):
        give_gradients(weights, step)
        before = [w.grad.clone() for w in weights if w.grad is not None]
        versions = [w.grad._version for w in weights if w.grad is not None]
        optimizer.step()
        assert all(torch.equal(w.grad, g) for w, g in zip(weights, before, strict=True))  # type: ignore
        assert versions == [w.grad._version for w in weights if w.grad is not None]


def test_a_state_that_is_the_gradient_or_the_weight_is_a_copy() -> None:
    text = "def train(w, g, a, b, lr):\n    u = a + b\n    u = u * 0.1\n    return u, g, w\n"
    weights = [parameter(3)]
    optimizer = ProgramOptimizer(weights, parse(text))
    give_gradients(weights, 0)
    start, gradient = weights[0].detach().clone(), weights[0].grad.clone()  # type: ignore
    optimizer.step()
    weights[0].grad.zero_()  # type: ignore
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), start - 0.1 * (gradient + start))


@pytest.mark.parametrize("way", WAYS)
def test_two_states_may_change_places(way: str) -> None:
    text = "def train(w, g, a, b, lr):\n    u = a * 0.1\n    b = b + g\n    return u, b, a\n"
    weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimizer = ProgramOptimizer([weight], parse(text), **WAYS[way])
    a = b = torch.zeros(2, dtype=torch.float64)
    wanted = torch.zeros(2, dtype=torch.float64)
    for step in range(5):
        weight.grad = torch.full((2,), float(step + 1), dtype=torch.float64)
        wanted = wanted - 0.1 * a
        a, b = b + weight.grad, a
        optimizer.step()
        torch.testing.assert_close(weight.detach(), wanted)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["adamw", "program_5", "program_8"])
def test_layouts_and_large_arrays_make_no_difference(name: str, way: str) -> None:
    """Pieces of large arrays, channels_last, transposed and sliced memory."""
    shapes = ((70_001,), (2, 3, 4, 5), (6, 7), (4, 5), (), (0, 3))

    def plain(seed: int) -> list[Tensor]:
        return [parameter(*s, seed=seed + i).detach() for i, s in enumerate(shapes)]

    def odd(seed: int) -> list[Tensor]:
        a, b, c, d, e, f = plain(seed)
        wide = torch.zeros(8, 9, dtype=torch.float64)
        wide[::2, ::2] = d
        b = b.contiguous(memory_format=torch.channels_last)
        return [a, b, c.t().contiguous().t(), wide[::2, ::2], e, f]

    results = []
    for arrays in (plain, odd):
        weights = [torch.nn.Parameter(w) for w in arrays(0)]
        optimizer = ProgramOptimizer(weights, name, **WAYS[way])
        for step in range(3):
            grads = odd(50 + 10 * step) if step != 1 else plain(60)
            for w, g in zip(weights, grads, strict=True):
                w.grad = g
            optimizer.step()
        results.append([w.detach() for w in weights])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["adamw", "momentum_sgd"])
def test_dtypes_may_mix(name: str) -> None:
    dtypes = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
    weights = [parameter(4, seed=i, dtype=d) for i, d in enumerate(dtypes)]
    exact = [torch.nn.Parameter(w.detach().double()) for w in weights]
    one, other = (ProgramOptimizer(w, name, lr=0.01) for w in (weights, exact))
    for step in range(5):
        give_gradients(weights, step)
        for e, w in zip(exact, weights, strict=True):
            e.grad = w.grad.double()  # type: ignore
        one.step()
        other.step()
    for e, w in zip(exact, weights, strict=True):
        rounding = 5 * torch.finfo(w.dtype).eps
        torch.testing.assert_close(w.detach().double(), e.detach(), rtol=rounding, atol=rounding)


def test_constants_beyond_a_dtype_are_infinite_in_it() -> None:
    program = parse(
        "def train(w, g, lr):\n    u = g * 1e300\n    u = minimum(u, 2.0)\n    return u\n"
    )
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.ones(2)
    ProgramOptimizer([weight], program).step()
    assert weight.tolist() == [-2.0, -2.0]


def test_a_closure_sees_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = ProgramOptimizer([weight], "momentum_sgd", lr=0.1, weight_decay=0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2.0
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.8))


@pytest.mark.parametrize("name", rule_names())
def test_every_shipped_rule_goes_down_a_parabola(name: str) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, -1.5, 0.5], dtype=torch.float64))
    optimizer = ProgramOptimizer([weight], name, lr=0.01)
    first = (weight.detach() ** 2).sum().item()
    for _ in range(300):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert (weight.detach() ** 2).sum().item() < 0.05 * first


# Refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decy": 0.1}, "unknown hyper-parameter 'weight_decy'; this rule has lr, beta1"),
        ({"eps": 1e-8}, "unknown hyper-parameter 'eps'"),
        ({"lr": 0.0}, "lr=0.0, but the rate of a rule must be a finite number above 0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"lr": "fast"}, "lr='fast'"),
        ({"beta1": float("inf")}, "beta1=inf, but it must be a finite number"),
        ({"beta1": True}, "beta1=True"),
        ({"betas": (0.9,)}, "must be 2 numbers, for beta1, beta2"),
        ({"foreach": 1}, "foreach=1, but it must be one of"),
        ({"foreach": True, "fused": True}, "exclude each other"),
        ({"maximize": None}, "maximize=None"),
        ({"schedule": "cosine"}, "schedule='cosine'"),
    ],
)
def test_settings_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptimizerError, match=message):
        ProgramOptimizer([parameter(3)], "adamw", **options)


def test_a_misspelt_setting_of_a_group_is_refused_and_a_note_is_not() -> None:
    with pytest.raises(OptimizerError, match="did you mean 'weight_decay'"):
        ProgramOptimizer([{"params": [parameter(3)], "weight_decy": 0.1}], "adamw")
    optimizer = ProgramOptimizer([{"params": [parameter(3)], "layer": 3}], "adamw")
    assert optimizer.param_groups[0]["layer"] == 3


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32])
def test_parameters_that_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(OptimizerError, match=str(dtype)):
        ProgramOptimizer([torch.zeros(2, dtype=dtype)], "adamw")


def test_sparse_gradients_are_refused() -> None:
    embedding = torch.nn.Embedding(4, 2, sparse=True)
    optimizer = ProgramOptimizer(embedding.parameters(), "adamw")
    embedding(torch.tensor([1])).sum().backward()
    with pytest.raises(OptimizerError, match="sparse=False"):
        optimizer.step()


def test_a_rule_comes_by_name_file_or_program(tmp_path: Path) -> None:
    file = tmp_path / "rule.py"
    file.write_text(load_rule("lion").text)
    paths = [train(ProgramOptimizer([parameter(3)], r), 2) for r in ("lion", file, str(file))]
    paths.append(train(ProgramOptimizer([parameter(3)], load_rule("lion")), 2))
    assert all(torch.equal(path, paths[0]) for path in paths)
    with pytest.raises(ProgramError, match="no rule 'lyon'"):
        ProgramOptimizer([parameter(3)], "lyon")

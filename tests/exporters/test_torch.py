"""Exported optimizers for torch in use: references, groups, schedulers, saving."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from optforge.language import load_rule, parse, rule_names
from optforge.optim.program import ProgramOptimizer
from tests.helpers.exported import module_of, optimizer_of

TEN = parse("def train(w, g, lr):\n    u = g * 10.0\n    return u\n")  # it never reads lr


def made(name: str) -> Any:
    return optimizer_of(module_of(load_rule(name), "torch"))


def parameters(seed: int = 0, dtype: torch.dtype = torch.float64) -> list[torch.nn.Parameter]:
    source = torch.Generator().manual_seed(seed)
    shapes = ((3, 2), (4,), ())
    return [torch.nn.Parameter(torch.randn(s, generator=source, dtype=dtype)) for s in shapes]


def train(
    optimizer: torch.optim.Optimizer, steps: int, seed: int = 1, scheduler: Any = None
) -> None:
    source = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = torch.randn(p.shape, generator=source, dtype=p.dtype) + 0.1 * p.detach()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def assert_alike(first: list[Any], second: list[Any], tolerance: float = 1e-12) -> None:
    for x, y in zip(first, second, strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def test_adamw_with_bias_correction_is_that_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    train(made("adamw_bias_correction")(ours, lr=1e-2, weight_decay=0.1), 100)
    train(torch.optim.AdamW(theirs, lr=1e-2, weight_decay=0.1), 100)
    # torch decays the weights first; ours is one update: they differ by lr^2 x decay at most.
    assert_alike(ours, theirs, 1e-9)


def test_momentum_sgd_is_that_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    train(made("momentum_sgd")(ours, lr=0.05, weight_decay=0.0), 100)
    train(torch.optim.SGD(theirs, lr=0.05, momentum=0.9), 100)
    assert_alike(ours, theirs)


@pytest.mark.parametrize("name", rule_names())
def test_a_scheduler_moves_the_schedule_as_it_does_for_program_optimizer(name: str) -> None:
    ours, theirs = parameters(), parameters()
    for params, optimizer in (
        (ours, made(name)(ours, lr=0.003)),
        (theirs, ProgramOptimizer(theirs, name, lr=0.003)),
    ):
        del params
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40, eta_min=1e-4)
        train(optimizer, 30, scheduler=scheduler)
    assert_alike(ours, theirs, 1e-9)


def test_a_rule_that_does_not_read_the_schedule_is_not_moved_by_a_scheduler() -> None:
    optimizer = optimizer_of(module_of(TEN, "torch"))([w := torch.nn.Parameter(torch.ones(1))])
    optimizer.param_groups[0]["lr"] *= 0.5
    w.grad = torch.ones(1)
    optimizer.step()
    assert w.item() == -9.0


@pytest.mark.parametrize("name", rule_names())
def test_groups_keep_their_own_values_and_norms_go_over_all(name: str) -> None:
    ours, theirs = parameters(), parameters()

    def groups(params: list[Any]) -> list[dict[str, Any]]:
        return [{"params": params[:1], "lr": 0.01}, {"params": params[1:]}]

    train(made(name)(groups(ours), lr=0.003), 20)
    train(ProgramOptimizer(groups(theirs), name, lr=0.003), 20)
    assert_alike(ours, theirs, 1e-9)


@pytest.mark.parametrize("name", ["lion", "adamw_bias_correction", "program_8"])
def test_saving_and_loading_goes_on_as_if_nothing_had_been(name: str) -> None:
    straight, broken = parameters(), parameters()
    first = made(name)(straight)
    train(first, 10)
    train(first, 10, seed=2)
    second = made(name)(broken)
    train(second, 10)
    file = io.BytesIO()
    torch.save(second.state_dict(), file)
    file.seek(0)
    third = made(name)(broken, lr=0.5)
    third.load_state_dict(torch.load(file, weights_only=True))
    train(third, 10, seed=2)
    for x, y in zip(straight, broken, strict=True):
        assert torch.equal(x, y)


@pytest.mark.parametrize("name", ["adamw_bias_correction", "program_5"])
def test_parameters_without_gradients_stay_as_they_are(name: str) -> None:
    params = parameters()
    before = params[1].detach().clone()
    optimizer = made(name)(params)
    params[0].grad = torch.ones_like(params[0])
    optimizer.step()
    assert torch.equal(params[1], before) and params[1] not in optimizer.state
    for p in params:
        p.grad = None
    assert optimizer.step(lambda: 3.0) == 3.0


def test_states_that_swap_places_do_not_overwrite_each_other() -> None:
    swap = parse(
        "def train(w, g, m, v, lr):\n    u = m * 0.5\n    s = v + g\n    u = u + v\n"
        "    u = u * lr\n    return u, s, m\n"
    )
    ours, theirs = parameters(), parameters()
    train(optimizer_of(module_of(swap, "torch"))(ours), 7)
    train(ProgramOptimizer(theirs, swap), 7)
    assert_alike(ours, theirs)
    chain = parse("def train(w, g, m, v, lr):\n    return m, v, g\n")
    ours, theirs = parameters(), parameters()
    train(optimizer_of(module_of(chain, "torch"))(ours), 7)
    train(ProgramOptimizer(theirs, chain), 7)
    assert_alike(ours, theirs)


def test_what_is_not_allowed_is_refused() -> None:
    with pytest.raises(ValueError, match="lr is -1"):
        made("lion")(parameters(), lr=-1)
    with pytest.raises(ValueError, match="lr is -1"):
        made("lion")([{"params": parameters(), "lr": -1}])
    with pytest.raises(ValueError, match="weight_decay is nan; it must be finite"):
        made("lion")([{"params": parameters(), "weight_decay": float("nan")}])
    with pytest.raises(ValueError, match="did you mean weight_decay"):
        made("lion")([{"params": parameters(), "weight_decy": 0.1}])
    noted = made("lion")([{"params": parameters(), "layer": 3, "initial_lr": 0.1}])
    assert noted.param_groups[0]["layer"] == 3
    weight = torch.nn.Parameter(torch.zeros(3, 2))
    for name in ("lion", "program_8"):
        weight.grad = torch.ones(3, 2).to_sparse()
        with pytest.raises(RuntimeError, match="sparse gradients are not supported"):
            made(name)([weight]).step()


@pytest.mark.parametrize("program", [load_rule("program_8"), TEN])
def test_a_peak_of_zero_is_refused_and_a_schedule_may_begin_at_zero(program: Any) -> None:
    make = optimizer_of(module_of(program, "torch"))
    for given in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"peak_lr is {given}; it must be above 0"):
            make(parameters(), lr=given)
        with pytest.raises(ValueError, match=f"peak_lr is {given}"):
            make([{"params": parameters(), "lr": given}])
    optimizer = make(params := parameters(), lr=0.01)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 2))
    assert optimizer.param_groups[0]["lr"] == 0.0
    optimizer.param_groups[0]["lr"] = 0.005
    train(optimizer, 1)
    assert not torch.equal(params[0], parameters()[0])


@pytest.mark.parametrize("name", rule_names())
def test_states_have_the_dtype_of_their_weights(name: str) -> None:
    params = parameters(dtype=torch.float32)
    optimizer = made(name)(params)
    train(optimizer, 2)
    tensors = [t for state in optimizer.state.values() for t in state.values()]
    assert {t.dtype for t in tensors} == {torch.float32} == {p.dtype for p in params}

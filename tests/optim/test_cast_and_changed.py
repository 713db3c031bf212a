"""A parameter that is cast, or an option that changes, between steps: no other algorithm."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.errors import OptimizerError
from optforge.optim import Lion, ProgramOptimizer

BF16, F16, F32, F64 = torch.bfloat16, torch.float16, torch.float32, torch.float64
PATHS: dict[str, dict[str, Any]] = {"loop": {"foreach": False}, "foreach": {}}
UNIT = 2.0**-7  # of bfloat16 numbers from 1 to 2


def steps_down(lion: Lion, weight: Tensor, count: int) -> Tensor:
    """Step against gradients of one; return how far each weight went, in `UNIT`."""
    before = weight.detach().double().clone()
    for _ in range(count):
        weight.grad = torch.ones_like(weight)
        lion.step()
    return (before - weight.detach().double()).flatten() / UNIT


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("rounding", [None, "stochastic", "kahan"])
@pytest.mark.parametrize(
    "dtypes", [(F32, BF16), (F64, BF16), (F16, BF16), (BF16, F32, BF16), (BF16, F16, BF16)], ids=str
)
def test_every_weight_moves_on_average_after_a_cast(
    path: str, rounding: str | None, dtypes: tuple[torch.dtype, ...]
) -> None:
    weight = Parameter(torch.full((512,), 1.75, dtype=dtypes[0]))
    lion = Lion([weight], lr=UNIT / 16, rounding=rounding, **PATHS[path])
    for dtype in dtypes[1:]:
        steps_down(lion, weight, 1)
        weight.data = weight.data.to(dtype)
    moved = steps_down(lion, weight, 160)  # ten units on average, with a deviation of three
    assert abs(float(moved.mean()) - 10) < 1 and 0 < float(moved.min()) < float(moved.max()) + 1
    assert float(moved.max()) < 25
    if rounding == "kahan":
        assert float((moved - 10).abs().max()) <= 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtypes", [(BF16, F32), (F16, F32), (F32, F64), (F64, F32)], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"rounding": "kahan"}, {"momentum_dtype": "8bit"}], ids=str
)
def test_after_a_cast_weights_move_as_in_float64(
    path: str, dtypes: tuple[torch.dtype, ...], options: dict[str, Any]
) -> None:
    weight = Parameter(torch.linspace(-2, 2, 64, dtype=dtypes[0]))
    lion = Lion([weight], lr=0.125, weight_decay=0.5, **options, **PATHS[path])
    gradients = [torch.linspace(-1, 1, 64, dtype=F64) + 0.3 * (-1) ** step for step in range(4)]
    weight.grad = gradients[0].to(dtypes[0])
    lion.step()
    weight.data = weight.data.to(dtypes[1])
    weight.grad = None
    wanted, m = weight.detach().double().clone(), 0.01 * gradients[0]
    for gradient in gradients[1:]:
        weight.grad = gradient.to(dtypes[1])
        lion.step()
        wanted = wanted - wanted * 0.0625 - 0.125 * (0.9 * m + 0.1 * gradient).sign()
        m = 0.99 * m + 0.01 * gradient
    far = (weight.detach().double() - wanted).abs() > 1e-5
    assert int(far.sum()) <= (2 if options.get("momentum_dtype") else 0)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.filterwarnings("ignore:lr=.*under the resolution")
@pytest.mark.parametrize(
    ("option", "values"),
    [
        *(("rounding", ("nearest", "kahan")), ("rounding", ("kahan", "stochastic"))),
        *(("rounding", ("nearest", None)), ("momentum_dtype", (None, "8bit"))),
        *(("momentum_dtype", ("8bit", None)), ("momentum_dtype", (BF16, F32))),
        ("capturable", (False, True)),
    ],
)
def test_an_option_that_changes_counts_from_the_next_step(
    path: str, option: str, values: tuple[Any, Any]
) -> None:
    weight = Parameter(torch.full((64,), 1.75, dtype=BF16))
    lion = Lion([weight], lr=UNIT / 16, **{option: values[0]}, **PATHS[path])
    steps_down(lion, weight, 1)
    lion.param_groups[0][option] = values[1]
    assert abs(float(steps_down(lion, weight, 160).mean()) - 10) < 2
    fresh = Lion([Parameter(torch.full((64,), 1.75, dtype=BF16))], **{option: values[1]})
    steps_down(fresh, fresh.param_groups[0]["params"][0], 1)
    (state,), (wanted,) = lion.state.values(), fresh.state.values()
    assert {n: v.dtype for n, v in wanted.items()}.items() <= {
        n: v.dtype for n, v in state.items()
    }.items()
    assert "compensation" not in state or "compensation" in wanted


@pytest.mark.parametrize("kind", ["lion", "rule"])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e5m2])
def test_a_cast_that_has_no_step_is_refused(kind: str, dtype: torch.dtype) -> None:
    weight = Parameter(torch.ones(4))
    optimizer: Any = Lion([weight]) if kind == "lion" else ProgramOptimizer([weight], "lion")
    weight.grad = torch.ones(4)
    optimizer.step()
    weight.data = weight.data.to(dtype)
    weight.grad = torch.ones(4).to(dtype)
    with pytest.raises(OptimizerError, match="is of torch|of dtype torch"):
        optimizer.step()


CASTS = [(F32, F64), (F64, F32), (F32, BF16), (BF16, F32)]
FUSED = {"fused": True}


@pytest.mark.parametrize("rule", ["lion", "adamw_bias_correction"])
@pytest.mark.parametrize(
    ("dtypes", "path"),
    [
        *itertools.product(CASTS, [{"foreach": False}, {}]),
        *(pytest.param(cast, FUSED, marks=pytest.mark.slow) for cast in CASTS),
    ],
    ids=str,
)
def test_a_rule_goes_on_in_the_new_dtype(
    rule: str, dtypes: tuple[torch.dtype, torch.dtype], path: dict[str, Any]
) -> None:
    results = []
    for fine in (False, True):  # the second in float64 but for the rounding of the cast
        weight = Parameter(torch.linspace(-2, 2, 64).to(F64 if fine else dtypes[0]))
        optimizer = ProgramOptimizer([weight], rule, lr=0.125, **({} if fine else path))
        for step in range(3):
            gradient = torch.linspace(-1, 1, 64) + 0.3 * (-1) ** step
            weight.grad = gradient.to(weight.dtype)
            if fine:
                weight.grad = gradient.to(dtypes[step > 0]).double()
            optimizer.step()
            if step == 0:
                weight.data = weight.data.to(dtypes[0]).to(dtypes[1])
                weight.data = weight.data.double() if fine else weight.data
                weight.grad = None
        results.append(weight.detach().double())
        dtype = F64 if fine or dtypes[1] == F64 else F32
        assert all(v.dtype == dtype for v in optimizer.state[weight].values() if v.dim())
    bound = 0.03 if BF16 in dtypes else 1e-5
    torch.testing.assert_close(*results, rtol=bound, atol=bound)


@pytest.mark.parametrize("path", [{"foreach": False}, {"capturable": True}], ids=str)
def test_what_a_scaler_leaves_may_have_a_dimension(path: dict[str, Any]) -> None:
    weight = Parameter(torch.tensor(1.0))
    lion = Lion([weight], lr=0.25, **path)
    weight.grad = torch.tensor(8.0)
    lion.grad_scale, lion.found_inf = torch.tensor([8.0]), torch.tensor([0.0])  # type: ignore[attr-defined]
    lion.step()
    assert weight.shape == () and weight.item() == 0.75
    assert float(lion.state[weight]["momentum"]) == pytest.approx(0.01)


def test_a_rule_s_state_on_another_device_is_told_before_anything_changes() -> None:
    weights = [Parameter(torch.ones(4)), Parameter(torch.ones(4))]
    optimizer = ProgramOptimizer([{"params": [weight]} for weight in weights], "lion")
    for weight in weights:
        weight.grad = torch.ones(4)
    optimizer.step()
    optimizer.state[weights[1]]["momentum"] = torch.zeros(4, device="meta")
    before = weights[0].detach().clone()
    with pytest.raises(OptimizerError, match="is on meta.*on cpu"):
        optimizer.step()
    assert torch.equal(weights[0], before)


def test_a_compensation_of_another_dtype_is_never_read() -> None:
    weight = Parameter(torch.linspace(-2, 2, 64).bfloat16())
    lion = Lion([weight], lr=2.0**-12, rounding="kahan")
    steps_down(lion, weight, 3)
    assert bool(lion.state[weight]["compensation"].any())
    lion.load_state_dict(lion.state_dict())
    weight.data, weight.grad = weight.data.to(F16), None
    before = weight.detach().double().clone()
    steps_down(lion, weight, 1)
    torch.testing.assert_close(before - 2.0**-12, weight.detach().double(), rtol=0, atol=2.0**-11)
    rest = lion.state[weight]["compensation"].double() * 2.0**-16
    power = 2.0 ** (torch.frexp(weight.detach().double().abs())[1] - 11).double()
    whole = weight.detach().double() + rest * power.clamp(min=2.0**-24)
    torch.testing.assert_close(whole, before - 2.0**-12, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ["lion", "rule"])
def test_a_cast_before_the_first_step_is_looked_at_too(kind: str) -> None:
    weight = Parameter(torch.ones(4))
    optimizer: Any = Lion([weight]) if kind == "lion" else ProgramOptimizer([weight], "lion")
    weight.data = weight.data.to(torch.float8_e5m2)
    weight.grad = torch.ones(4).to(torch.float8_e5m2)
    with pytest.raises(OptimizerError, match="float8_e5m2"):
        optimizer.step()
    assert not optimizer.state

"""What other implementations of Lion get wrong, asked of ours on every path."""

from __future__ import annotations

import copy
import io
import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from optforge.errors import NonFiniteError, OptimizerError
from optforge.optim import Lion, ProgramOptimizer
from optforge.optim.precision.eight_bits import decode, encode
from optforge.optim.precision.rounding import join, random_bits, random_key, split, stochastic_round

PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
SIZE = 8320  # 130 blocks of 64, and large enough for a compiled kernel
each_path = pytest.mark.parametrize("path", PATHS)
most_paths = pytest.mark.parametrize(
    "path", [pytest.param(p, marks=[pytest.mark.slow] if p == "fused" else []) for p in PATHS]
)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameter(values: Tensor, dtype: torch.dtype = torch.float32) -> torch.nn.Parameter:
    return torch.nn.Parameter(values.to(dtype))


@each_path
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("momentum_dtype", [None, torch.bfloat16])
def test_a_nonfinite_element_stays_as_it_is(path: str, value: float, momentum_dtype: Any) -> None:
    weight, clean = parameter(draw(SIZE)), parameter(draw(SIZE))
    settings = {"lr": 0.01, "weight_decay": 0.1, "momentum_dtype": momentum_dtype}
    ours = Lion([weight], **settings, **PATHS[path])
    other = Lion([clean], **settings, **PATHS[path])
    for step in range(2):
        weight.grad, clean.grad = draw(SIZE, seed=step + 1), draw(SIZE, seed=step + 1)
        if step == 1:
            before = weight.detach().clone(), ours.state[weight]["momentum"].clone()
            weight.grad[7] = value
        ours.step()
        other.step()
    momentum = ours.state[weight]["momentum"]
    assert torch.equal(weight[7], before[0][7]) and torch.equal(momentum[7], before[1][7])
    rest = torch.arange(SIZE) != 7
    torch.testing.assert_close(weight.detach()[rest], clean.detach()[rest], rtol=1e-6, atol=1e-6)


@each_path
@pytest.mark.parametrize("policy", ["skip_step", "zero", "propagate", "raise"])
def test_the_other_policies(path: str, policy: str) -> None:
    bad, good = parameter(torch.ones(SIZE)), parameter(torch.ones(SIZE))
    optimizer = Lion([bad, good], lr=0.5, nonfinite=policy, **PATHS[path])
    bad.grad, good.grad = torch.ones(SIZE), torch.ones(SIZE)
    optimizer.step()
    kept = optimizer.state[bad]["momentum"].clone()
    bad.grad[3] = float("nan")
    if policy == "raise":
        with pytest.raises(NonFiniteError, match="number 0"):
            optimizer.step()
    else:
        optimizer.step()
    momentum = optimizer.state[bad]["momentum"]
    if policy in ("skip_step", "raise"):
        assert bool((bad == 0.5).all()) and bool((good == 0.5).all())
        assert torch.equal(momentum, kept)
    elif policy == "zero":  # the momentum alone decides, and decays
        assert bool((bad == 0).all())
        torch.testing.assert_close(momentum[3], kept[3] * 0.99)
    else:
        assert bool(bad[3].isnan()) and bool(momentum[3].isnan())
        assert int(bad.isnan().sum()) == 1


@most_paths
@pytest.mark.parametrize("rounding", [None, "stochastic", "kahan"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_and_decay_move_16_bit_weights(
    path: str, rounding: str | None, dtype: torch.dtype
) -> None:
    for gradient, decay in ((1.0, 0.0), (0.0, 1.0)):  # by 100 times 1e-4 in either case
        weight = parameter(torch.ones(SIZE), dtype)
        optimizer = Lion([weight], weight_decay=decay, rounding=rounding, **PATHS[path])
        for _ in range(100):
            weight.grad = torch.full_like(weight, gradient)
            optimizer.step()
        moved = 1 - weight.detach().double()
        if rounding == "kahan":  # every weight is the nearest to the float32 result
            assert float((moved - 0.01).abs().max()) <= float(torch.finfo(dtype).eps) / 4 + 6e-5
        else:
            assert abs(float(moved.mean()) - 0.01) < 5e-4


@each_path
def test_kahan_is_float32_training_bit_by_bit(path: str) -> None:
    start = draw(SIZE).bfloat16()
    weight, master = parameter(start, torch.bfloat16), parameter(start)
    settings = {"lr": 1e-4, "weight_decay": 0.1, **PATHS[path]}
    ours, wide = Lion([weight], rounding="kahan", **settings), Lion([master], **settings)
    for step in range(20):
        weight.grad = draw(SIZE, seed=step + 1).bfloat16()
        master.grad = weight.grad.float()
        ours.step()
        wide.step()
    whole = join(weight.detach(), ours.state[weight]["compensation"])
    torch.testing.assert_close(whole, master.detach(), rtol=1e-6, atol=1e-6)
    assert float((whole - master.detach()).abs().max()) < 1e-5


def test_paths_ranks_and_resumed_runs_draw_the_same_bits() -> None:
    results = []
    for path in PATHS.values():
        weights = [parameter(draw(130, 64), torch.bfloat16), parameter(draw(9), torch.bfloat16)]
        optimizer = Lion(weights, lr=1e-3, seed=3, **path)
        for step in range(4):
            for number, weight in enumerate(weights):
                weight.grad = draw(*weight.shape, seed=10 * step + number).bfloat16()
            if step == 2:
                saved = copy.deepcopy(optimizer.state_dict())
                optimizer = Lion(weights, lr=1e-3, seed=3, **path)
                optimizer.load_state_dict(saved)
            optimizer.step()
        results.append(weights)
    for others in results[1:]:
        for mine, other in zip(results[0], others, strict=True):
            assert float((mine != other).double().mean()) < 1e-3  # a last place in float32
    assert random_key(0, torch.tensor(5.0), 2) == random_key(0, 5, 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_stochastic_rounding_takes_neighbours_and_is_right_on_average(dtype: torch.dtype) -> None:
    for value in (1.0009, -3.3e-3, 2e-7, 1e-5, 200.07):
        x = torch.full((20_000,), value)
        rounded = stochastic_round(x, dtype, random_key(1, 1, 1)).double()
        low, high = rounded.min(), rounded.max()
        around = torch.tensor([value]).to(dtype)
        gap = max(abs(float(torch.nextafter(around, -around) - around)), float(high - low))
        assert low <= x[0] <= high and float(high - low) <= gap
        assert abs(float(rounded.mean()) - float(x[0])) < 4 * gap / 20_000**0.5
    exact = draw(1000).to(dtype).float()
    assert torch.equal(stochastic_round(exact, dtype, 5).float(), exact)


def test_random_bits_are_even_and_of_no_two_elements_alike() -> None:
    """Near lags whose multiples of the golden ratio are small, a poor hash repeats itself."""
    size, keys = 50_000, [random_key(0, step, 3) for step in range(1, 41)]
    rows = torch.stack([random_bits(torch.zeros(size), key) for key in keys])
    assert int(rows.min()) >= 0 and int(rows.max()) < 2**16
    noise = rows.double() / 2**16 - 0.5
    assert float(noise.mean().abs()) < 4 / (12 * noise.numel()) ** 0.5
    for lag in (*range(1, 9), 13, 21, 55, 89, 144, 256, 377, 610, 1024, 1597, 4096, 4181, 17711):
        pairs = noise[:, lag:] * noise[:, :-lag]
        assert float(pairs.mean().abs()) * 12 < 0.03, lag
    for one, other in zip(noise, noise[1:], strict=False):
        assert float((one * other).mean().abs()) * 12 < 5 / size**0.5
    for bit in range(16):
        assert float((rows >> bit & 1).double().mean()) == pytest.approx(0.5, abs=2e-3)


def test_split_loses_nothing_in_bfloat16_and_next_to_nothing_in_float16() -> None:
    x = torch.cat([draw(5000), draw(5000, seed=1) * 1e-3, draw(5000, seed=2) * 1e-6])
    assert torch.equal(join(*split(x, torch.bfloat16)), x)
    error = (join(*split(x, torch.float16)) - x).abs()
    assert float(error[x.abs() >= 2.0**-14].max()) == 0 and float(error.max()) <= 2.0**-41


def test_eight_bits_give_the_nearest_of_255_values() -> None:
    values = draw(6400) * torch.exp(2 * draw(6400, seed=1))
    codes, scale = encode(values, 64)
    table = (torch.arange(-127, 128).double() / 127) ** 3
    exact = (table * scale.double()[:, None]).view(100, 1, 255)
    best = (exact - values.double().view(100, 64, 1)).abs().amin(dim=2).view(-1)
    error = (decode(codes, scale, 64).double() - values.double()).abs()
    assert float((error - best - 1e-6 * values.abs()).max()) <= 0
    again = encode(decode(codes, scale, 64), 64)
    assert torch.equal(again[0], codes) and torch.equal(again[1], scale)


def flips(make: Any, spread: float, steps: int = 60) -> float:
    """Share of update signs that differ from float64's, over a trajectory."""
    size = torch.exp(spread * draw(SIZE, seed=99))
    weight, momentum = parameter(draw(130, 64)), torch.zeros(SIZE, dtype=torch.float64)
    optimizer, wrong = make([weight]), 0
    for step in range(steps):
        gradient = (draw(SIZE, seed=step) * size).double()
        weight.grad, before = gradient.view(130, 64).float(), weight.detach().clone()
        optimizer.step()
        signs = torch.sign(before - weight.detach()).view(-1)
        wrong += int((signs != torch.sign(0.9 * momentum + 0.1 * gradient)).sum())
        momentum = 0.99 * momentum + 0.01 * gradient
    return wrong / (steps * SIZE)


@cache
def their_flips(spread: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from bitsandbytes.optim import Lion8bit

        return flips(lambda w: Lion8bit(w, lr=1e-3), spread)


@each_path
@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0])
def test_low_bit_momentum_flips_few_signs(spread: float, path: str) -> None:
    """Of float32 none that is further from zero than rounding: test_contract.py."""
    pytest.importorskip("bitsandbytes")

    def ours(momentum_dtype: Any) -> float:
        settings = {"lr": 1e-3, "momentum_dtype": momentum_dtype, **PATHS[path]}
        return flips(lambda w: Lion(w, **settings), spread)

    assert ours("8bit") < their_flips(spread)
    assert ours(torch.bfloat16) < 0.01
    assert ours(torch.float32) < 1e-5


@each_path
@pytest.mark.parametrize("shape", [(130, 64), (8320,), (60, 147), (97, 101), (3,), ()])
def test_8_bit_steps_decide_as_their_stored_state_says(path: str, shape: tuple[int, ...]) -> None:
    weight = parameter(draw(*shape))
    optimizer = Lion([weight], lr=0.1, momentum_dtype="8bit", **PATHS[path])
    stored = torch.zeros(shape)
    for step in range(4):
        weight.grad, before = draw(*shape, seed=step + 1), weight.detach().clone()
        optimizer.step()
        combined = 0.9 * stored.double() + 0.1 * weight.grad.double()
        sure = combined.abs() > 1e-6 * (stored.abs() + weight.grad.abs())
        moved = torch.sign(before - weight.detach())
        assert torch.equal(moved[sure].double(), torch.sign(combined)[sure])
        state = optimizer.state[weight]
        assert state["momentum"].dtype == torch.int8 and state["momentum"].shape == shape
        block = -(-weight.numel() // state["momentum_scale"].numel())
        block = 64 if block < 64 and len(shape) < 2 else block
        block = 64 if shape == (97, 101) and state["momentum_scale"].numel() != 97 else block
        stored = decode(state["momentum"].view(-1), state["momentum_scale"].view(-1), block)
        stored = stored.view(shape)


def test_bytes_of_state_per_parameter() -> None:
    sizes = {}
    for dtype in (None, torch.bfloat16, "8bit"):
        weight = parameter(draw(1000, 640))
        optimizer = Lion([weight], momentum_dtype=dtype)
        weight.grad = draw(1000, 640)
        optimizer.step()
        tensors = optimizer.state[weight].values()
        sizes[dtype] = sum(t.numel() * t.itemsize for t in tensors) / weight.numel()
    assert sizes == {None: 4.0, torch.bfloat16: 2.0, "8bit": 1.03125}


@each_path
def test_gradients_are_never_changed_and_lr_0_does_nothing(path: str) -> None:
    for settings in ({"maximize": True}, {"cautious": True}, {"momentum_dtype": "8bit"}):
        weight = parameter(draw(130, 64))
        optimizer = Lion([weight], lr=0.0, weight_decay=1.0, **settings, **PATHS[path])
        weight.grad, before = draw(130, 64, seed=1), weight.detach().clone()
        optimizer.step()
        assert torch.equal(weight.grad, draw(130, 64, seed=1))
        assert torch.equal(weight.detach(), before)


@each_path
def test_independent_decay_uses_each_group_s_own_rate(path: str) -> None:
    fast, slow = parameter(torch.ones(SIZE)), parameter(torch.ones(SIZE))
    groups = [{"params": [fast], "lr": 1e-2}, {"params": [slow], "lr": 1e-4}]
    optimizer = Lion(groups, weight_decay=0.05, decay_mode="independent", **PATHS[path])
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    for factor in (1.0, 0.5):
        before = float(fast.detach()[0]), float(slow.detach()[0])
        fast.grad, slow.grad = torch.zeros(SIZE), torch.zeros(SIZE)
        optimizer.step()
        assert float(fast.detach()[0]) == pytest.approx(before[0] * (1 - 0.05 * factor))
        assert float(slow.detach()[0]) == pytest.approx(before[1] * (1 - 0.05 * factor))
        resumed = Lion(groups, weight_decay=0.05, decay_mode="independent", **PATHS[path])
        resumed.load_state_dict(optimizer.state_dict())
        assert [group["reference_lr"] for group in resumed.param_groups] == [1e-2, 1e-4]
        scheduler.step()


def test_a_step_under_the_resolution_is_told_once() -> None:
    weight = parameter(torch.ones(10), torch.bfloat16)
    optimizer = Lion([weight], lr=1e-4, rounding="nearest")
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with pytest.warns(UserWarning, match="under the resolution"):
        optimizer.step()
    optimizer.step()


@pytest.mark.parametrize("kind", ["lion", "rule"])
def test_warm_up_and_the_end_of_a_schedule_are_no_steps_to_warn_of(kind: str) -> None:
    weight = parameter(torch.ones(10), torch.float32 if kind == "lion" else torch.bfloat16)
    peak = 1e-4 if kind == "lion" else 0.05
    optimizer: Any = (
        Lion([weight], lr=peak) if kind == "lion" else ProgramOptimizer([weight], "lion", peak)
    )
    for exponent in [*range(-9, 1), *[0] * 10, *range(-4, -12, -1)]:
        optimizer.param_groups[0]["lr"] = peak * 10.0**exponent
        weight.grad = torch.ones_like(weight)
        optimizer.step()


def test_saved_states_load_with_weights_only_and_keep_their_dtypes() -> None:
    for settings in ({"momentum_dtype": "8bit"}, {"rounding": "kahan"}, {"rounding": None}):
        weight = parameter(draw(130, 64), torch.bfloat16)
        twin = parameter(draw(130, 64), torch.bfloat16)
        ours, other = Lion([weight], **settings), Lion([twin], **settings)
        for step in range(3):
            weight.grad = draw(130, 64, seed=step).bfloat16()
            ours.step()
        file = io.BytesIO()
        torch.save(ours.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        with torch.no_grad():
            twin.copy_(weight)
        for name, value in ours.state[weight].items():
            assert other.state[twin][name].dtype == value.dtype
        weight.grad = twin.grad = draw(130, 64, seed=9).bfloat16()
        ours.step()
        other.step()
        assert torch.equal(weight, twin)


def test_misspelt_and_impossible_settings_are_refused() -> None:
    weight = parameter(draw(3))
    with pytest.raises(TypeError, match="weight_decy"):
        Lion([weight], weight_decy=0.1)  # type: ignore[call-arg]
    with pytest.raises(OptimizerError, match="did you mean 'weight_decay'"):
        Lion([{"params": [weight], "weight_decy": 0.1}])
    for wrong in ({"weight_decay": -1.0}, {"lr": float("nan")}, {"betas": (0.9, 1.0)},
                  {"nonfinite": "drop"}, {"decay_mode": "l2"}, {"seed": -1}, {"foreach": 1},
                  {"momentum_dtype": torch.float16}, {"rounding": "up"}):  # fmt: skip
        with pytest.raises(OptimizerError, match=next(iter(wrong)) + " must be"):
            Lion([weight], **wrong)
    with pytest.raises(OptimizerError, match="dtype torch.int32"):
        Lion([torch.zeros(3, dtype=torch.int32)])

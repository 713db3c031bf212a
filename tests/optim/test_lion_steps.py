"""Steps under a gradient scaler, without the host, and where an element is not finite."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from optforge.errors import NonFiniteError
from optforge.optim import Lion, compiler
from optforge.optim.precision.eight_bits import decode

SIZE = 8320  # 130 blocks of 64, and large enough for a compiled kernel
PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
each_path = pytest.mark.parametrize("path", PATHS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("nonfinite", ["ignore", "skip_step", "raise"])
@pytest.mark.parametrize("path", ["foreach", "fused"])
def test_an_overflow_of_a_real_gradient_scaler_is_a_skipped_step(path: str, nonfinite: str) -> None:
    weight = Parameter(torch.ones(SIZE))
    optimizer = Lion([weight], lr=0.25, nonfinite=nonfinite, **PATHS[path])
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**15, growth_interval=100)
    for slope, wanted, scale in ((3.0, 0.75, 2.0**15), (1e36, 0.75, 2.0**14), (3.0, 0.5, 2.0**14)):
        optimizer.zero_grad()
        scaler.scale(slope * weight.sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert bool((weight == wanted).all()) and scaler.get_scale() == scale
    momentum = 0.99 * 0.03 + 0.03  # two steps that counted, of gradients without the scale
    torch.testing.assert_close(optimizer.state[weight]["momentum"], torch.full((SIZE,), momentum))


@pytest.mark.parametrize("path", ["foreach", "fused"])
def test_without_an_overflow_raise_still_raises(path: str) -> None:
    weight = Parameter(torch.ones(SIZE))
    optimizer = Lion([weight], nonfinite="raise", **PATHS[path])
    weight.grad = torch.full((SIZE,), float("inf"))
    with pytest.raises(NonFiniteError):
        optimizer.step()


class NoHost(TorchDispatchMode):
    """Refuses to bring values to the host, as a CUDA graph does."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if "_local_scalar_dense" in str(func):
            raise AssertionError("a value was asked for on the host")
        return func(*args, **(kwargs or {}))


@each_path
@pytest.mark.parametrize(
    "settings",
    [
        *({}, {"nonfinite": "skip_step"}, {"nonfinite": "zero"}, {"nonfinite": "propagate"}),
        *({"momentum_dtype": "8bit"}, {"momentum_dtype": torch.bfloat16}, {"cautious": True}),
        *({"decay_mode": "independent"}, {"decay_mode": "cautious"}, {"rounding": "kahan"}),
        {"lr": torch.tensor(0.25)},
    ],
    ids=str,
)
def test_a_capturable_step_never_asks_the_host(
    path: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # No compiled kernel runs while calls are watched: all but the kernel itself is.
    real_compile = torch.compile

    def compiled(function: Any, **options: Any) -> Any:
        kernel = real_compile(function, backend="eager", **options)

        def unwatched(*arguments: Any) -> Any:
            with _disable_current_modes():
                return kernel(*arguments)

        return unwatched

    compiler.kernels_of.cache_clear()
    monkeypatch.setattr(torch, "compile", compiled)
    settings = {"lr": 0.25, "weight_decay": 0.01, **settings, **PATHS[path]}
    starts = draw(130, 64), draw(SIZE, seed=1).bfloat16(), draw(7, seed=2)
    results = []
    for capturable in (True, False):
        weights = [Parameter(start.clone()) for start in starts]
        optimizer = Lion(weights, capturable=capturable, **settings)
        for step in range(3):
            for weight in weights:
                weight.grad = draw(*weight.shape, seed=step + 5).to(weight.dtype)
            if capturable and (step or path != "fused"):  # kernels are compiled in a warm-up
                with NoHost():
                    optimizer.step()
            else:
                optimizer.step()
        results.append(weights)
    compiler.kernels_of.cache_clear()
    for one, other in zip(*results, strict=True):
        difference = (one.detach().double() - other.detach().double()).abs()
        # Stochastic rounding may take the other neighbour where float32 differs by its last place.
        assert float((difference > 1e-5).double().mean()) < 1e-3


def test_a_differentiable_step_under_the_resolution_is_told() -> None:
    weight = torch.ones(10, dtype=torch.bfloat16)
    optimizer = Lion([weight], lr=1e-4, differentiable=True)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    with pytest.warns(UserWarning, match="under the resolution"):
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = torch.ones(10)
        optimizer = Lion([wide], lr=1e-4, differentiable=True)
        wide.grad = torch.ones(10)
        optimizer.step()


def decoded(optimizer: Lion, weight: Tensor) -> Tensor:
    state = optimizer.state[weight]
    return decode(state["momentum"], state["momentum_scale"], 64)


@pytest.mark.parametrize("path", ["loop", "foreach", pytest.param("fused", marks=pytest.mark.slow)])
def test_with_8_bits_propagate_poisons_the_block(path: str) -> None:
    weight = Parameter(torch.ones(SIZE))
    optimizer = Lion([weight], lr=0.25, momentum_dtype="8bit", nonfinite="propagate", **PATHS[path])
    weight.grad = draw(SIZE)
    weight.grad[70] = float("nan")
    optimizer.step()
    assert weight.isnan().nonzero().tolist() == [[70]]
    block = torch.arange(SIZE) // 64 == 1
    assert torch.equal(decoded(optimizer, weight).isnan(), block)
    weight.grad = draw(SIZE, seed=1)
    optimizer.step()
    assert torch.equal(weight.isnan(), block)


@pytest.mark.parametrize("path", ["loop", "foreach", pytest.param("fused", marks=pytest.mark.slow)])
def test_with_8_bits_an_ignored_element_stays_within_one_step_of_the_codes(path: str) -> None:
    weight = Parameter(torch.ones(SIZE))
    optimizer = Lion([weight], lr=0.25, momentum_dtype="8bit", **PATHS[path])
    for step in range(6):
        weight.grad = draw(SIZE, seed=step) * 4.0**step  # scales of the blocks grow
        weight.grad[70:80] = float("nan") if step else 1.0
        before = weight.detach().clone()
        kept = decoded(optimizer, weight) if step else None
        optimizer.step()
        if kept is None:
            continue
        assert torch.equal(weight.detach()[70:80], before[70:80])
        scale = float(optimizer.state[weight]["momentum_scale"][1])
        table = (torch.arange(-127, 128).double() / 127) ** 3 * scale
        for old, new in zip(kept[70:80], decoded(optimizer, weight)[70:80], strict=True):
            around = torch.searchsorted(table, old.double())
            low, high = table[max(int(around) - 1, 0)], table[min(int(around), 254)]
            assert abs(float(new - old)) <= 1.0001 * float(high - low)


def propagated(gradients: list[float]) -> list[tuple[float, float]]:
    """Weight and momentum after each step of one element, as the maths has it, in Python."""
    weight, momentum, seen = 1.0, 0.0, []
    for g in gradients:
        c = 0.9 * momentum + 0.1 * g
        sign = c if c != c else (c > 0) - (c < 0)
        weight, momentum = weight - 0.25 * sign, 0.99 * momentum + 0.01 * g
        seen.append((weight, momentum))
    return seen


@each_path
@pytest.mark.parametrize("size", [3, SIZE, 300_000])
def test_propagate_goes_on_as_the_maths_has_it(path: str, size: int) -> None:
    """An infinite momentum moves its weight on for ever; it must not turn into NaN, or stop."""
    inf, nan = float("inf"), float("nan")
    rows = {0: [inf, 1.0, -2.0, 3.0], 1: [-inf, 1.0, 1.0, 1.0], 2: [inf, -inf, 1.0, 1.0]}
    if size > 3:
        rows[3], rows[size - 1] = [nan, 1.0, 1.0, 1.0], [1.0, -1.0, inf, 1.0]
    weight = Parameter(torch.ones(size))
    optimizer = Lion([weight], lr=0.25, nonfinite="propagate", **PATHS[path])
    for step in range(4):
        weight.grad = torch.ones(size)
        for place, row in rows.items():
            weight.grad[place] = row[step]
        optimizer.step()
        for place in range(size) if size == 3 else (*rows, 5000):
            wanted = propagated(rows.get(place, [1.0] * 4))[step]
            got = weight.detach()[place], optimizer.state[weight]["momentum"][place]
            for one, other in zip(got, wanted, strict=True):
                assert float(one) == pytest.approx(other, rel=1e-5, nan_ok=True)

"""Kernels called straight: the bits of the usual call, for all sizes at once, or not at all."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from optforge.optim import Lion, native, program_fused, step_fused, step_native
from optforge.optim.program import ProgramOptimizer

pytestmark = pytest.mark.skipif(
    not program_fused.find_compiler(), reason="torch.compile needs a C++ compiler"
)
SIZES = (1, 2, 63, 64, 4096, 40_007)  # the last is cut for two threads


def draw(size: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).to(dtype)


def train(dtype: torch.dtype, **options: Any) -> tuple[list[Tensor], Lion]:
    weights = [torch.nn.Parameter(draw(size, size, dtype)) for size in SIZES]
    lion = Lion(weights, lr=0.25, weight_decay=0.01, **options)
    for step in range(3):
        for weight in weights:
            weight.grad = draw(weight.numel(), weight.numel() + step + 1, dtype)
        lion.step()
    return [weight.detach() for weight in weights], lion


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if torch's inside were not as expected."""
    monkeypatch.setattr(native, "_recording", None)
    step_native.sweep_for.cache_clear()
    program_fused.native_kernel.cache_clear()
    yield
    step_native.sweep_for.cache_clear()
    program_fused.native_kernel.cache_clear()


def count_usual_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Give a list that grows with every leaf that does not go the straight way."""
    calls: list[int] = []
    for name in ("packed_step", "foreach_step"):
        function = getattr(step_fused, name)

        def counting(leaves: Any, *rest: Any, function: Any = function) -> None:
            calls.append(len(leaves))
            function(leaves, *rest)

        monkeypatch.setattr(step_fused, name, counting)
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_every_size_is_stepped_straight_and_right(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, reference = train(dtype, foreach=False)
    calls = count_usual_calls(monkeypatch)
    got, lion = train(dtype, fused=True)
    assert sum(calls) == 0
    for one, other in zip(got, wanted, strict=True):
        difference = (one.double() - other.double()).abs()
        # Stochastic rounding may take the other neighbour where float32 differs by its last place.
        assert float((difference > 1e-5).double().mean()) < 1e-3
    for one, other in zip(lion.state.values(), reference.state.values(), strict=True):
        torch.testing.assert_close(one["momentum"], other["momentum"], rtol=1e-6, atol=1e-7)


def test_blocks_of_8_bits_are_stepped_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_usual_calls(monkeypatch)
    weight = torch.nn.Parameter(draw(64 * 700, 0))
    lion = Lion([weight], lr=0.25, momentum_dtype="8bit", fused=True)
    weight.grad = draw(64 * 700, 1)
    lion.step()
    assert sum(calls) == 0
    other = torch.nn.Parameter(draw(64 * 700, 0))
    loop = Lion([other], lr=0.25, momentum_dtype="8bit", foreach=False)
    other.grad = weight.grad
    loop.step()
    assert torch.equal(weight, other)
    codes, wanted = (o.state[w]["momentum"].int() for o, w in ((lion, weight), (loop, other)))
    # Near the middle between two codes either will do.
    assert float((codes != wanted).double().mean()) < 1e-2
    assert int((codes - wanted).abs().max()) <= 1


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_cuts_change_no_bit(threads: int) -> None:
    before = torch.get_num_threads()
    wanted, _ = train(torch.bfloat16, fused=True)
    try:
        torch.set_num_threads(threads)
        got, _ = train(torch.bfloat16, fused=True)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(got, wanted, strict=True))


def test_where_torch_is_not_as_expected_the_usual_calls_remain(
    usual: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = count_usual_calls(monkeypatch)
    got, _ = train(torch.float32, fused=True)
    assert sum(calls) == 3 * len(SIZES)
    wanted, _ = train(torch.float32, foreach=False)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
    weight = torch.nn.Parameter(draw(100, 0))
    weight.grad = draw(100, 1)
    optimizer = ProgramOptimizer([weight], "lion", lr=0.25, weight_decay=0.0, fused=True)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), draw(100, 0) - 0.25 * draw(100, 1).sign())


def test_a_call_that_does_not_give_the_usual_bits_is_not_made() -> None:
    def function(x: Tensor, rate: Tensor) -> None:
        x.add_(rate)

    kernel = torch.compile(function, fullgraph=True, options={"cpp.threads": 1})
    x, rate = torch.randn(native.SAMPLE), torch.ones(1)
    torch._dynamo.mark_dynamic(x, 0)
    kernel(x, rate)

    def sweep_of(stride: int) -> native.Sweep | None:
        columns = [native.Column(x, stride), native.Column(rate, 0)]
        return native.sweep_of(lambda: kernel(x, rate), columns, native.SAMPLE)

    assert sweep_of(0) is None  # takes the first elements again and again
    sweep = sweep_of(4)
    assert sweep is not None
    y, before = torch.zeros(100_003), rate.clone()
    sweep(array("q", [y.data_ptr(), rate.data_ptr()]), array("q", [y.numel()]))
    assert bool((y == 1).all()) and torch.equal(rate, before)
    sweep(array("q"), array("q"))  # nothing to do


def test_a_rule_is_stepped_straight(monkeypatch: pytest.MonkeyPatch) -> None:
    from optforge.optim import program_run

    monkeypatch.setattr(program_run, "run_fused", None)
    results = []
    for options in ({"fused": True}, {"foreach": False}):
        weights = [torch.nn.Parameter(draw(size, size)) for size in SIZES]
        optimizer = ProgramOptimizer(weights, "adamw", **options)
        for step in range(3):
            for weight in weights:
                weight.grad = draw(weight.numel(), step + 1)
            optimizer.step()
        results.append([weight.detach() for weight in weights])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)

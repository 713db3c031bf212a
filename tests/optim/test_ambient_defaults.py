"""Torch's default dtype and device are for the user's tensors: every step is the same under any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge.optim import Lion, ProgramOptimizer, compiler, watch
from optforge.optim.migration.convert import convert_state_dict
from tests.optim import test_contract as contract

F32, F64 = torch.float32, torch.float64
SHAPES = ((130, 64), (9000,), (7,), ())
LR, DECAY = 0.25, 0.125


DEFAULTS = ["float64", "bfloat16", "meta"]


def under_each_default(paths: Iterable[str]) -> pytest.MarkDecorator:
    """Every path under every default; what compiles is slow, but for one of them."""
    cases = [
        pytest.param(ambient, path, marks=[pytest.mark.slow] if slow else [])
        for ambient in DEFAULTS
        for path in paths
        for slow in [path == "fused" and ambient != "float64"]
    ]
    return pytest.mark.parametrize(("ambient", "path"), cases, indirect=["ambient"])


@pytest.fixture(params=DEFAULTS)
def ambient(request: pytest.FixtureRequest) -> Iterator[str]:
    """A default dtype, or a default device on which no value can be read."""
    compiler.kernels_of.cache_clear()
    device = torch.get_default_device()
    if request.param == "meta":
        torch.set_default_device("meta")
    else:
        torch.set_default_dtype(getattr(torch, request.param))
    try:
        yield request.param
    finally:
        torch.set_default_dtype(F32)
        torch.set_default_device(None if device.type == "cpu" else device)
        compiler.kernels_of.cache_clear()


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=source, dtype=F64, device="cpu")
    return values + values.sign()  # no sign hangs on rounding


def oracle(cautious: bool, steps: int) -> list[Tensor]:
    """Lion in float64."""
    weights = [draw(shape, number) for number, shape in enumerate(SHAPES)]
    momenta = [weight * 0 for weight in weights]
    for step in range(steps):
        for number, weight in enumerate(weights):
            g = draw(weight.shape, 10 * step + number + 50)
            update = (0.9 * momenta[number] + 0.1 * g).sign()
            if cautious:
                agree = (update * g > 0).double()
                update = update * agree / agree.mean().clamp(min=1e-3)
            weight.sub_(weight * LR * DECAY + LR * update)
            momenta[number].mul_(0.99).add_(0.01 * g)
    return weights


def trained(make: Any, dtype: torch.dtype, scaler: bool = False, steps: int = 3) -> list[Tensor]:
    weights = [Parameter(draw(shape, number).to(dtype)) for number, shape in enumerate(SHAPES)]
    optimizer = make(weights)
    for step in range(steps):
        for number, weight in enumerate(weights):
            gradient = draw(weight.shape, 10 * step + number + 50)
            weight.grad = (gradient * (8 if scaler else 1)).to(dtype)
        if scaler:
            optimizer.grad_scale = torch.full((), 8.0, dtype=F32, device="cpu")
            optimizer.found_inf = torch.zeros((), dtype=F32, device="cpu")
        optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return [weight.detach().double() for weight in weights]


PATHS: dict[str, dict[str, Any]] = {
    "loop": {"foreach": False},
    "foreach": {},
    "fused": {"fused": True},
    "capturable": {"foreach": False, "capturable": True},
    "differentiable": {"differentiable": True},
}


@under_each_default(PATHS)
@pytest.mark.parametrize("options", [{}, {"cautious": True}, {"scaler": True}], ids=str)
def test_lion_is_the_float64_loop(ambient: str, path: str, options: dict[str, Any]) -> None:
    if path == "differentiable":
        pytest.skip("parameters are leaves here")
    if path == "fused" and not compiler.find_compiler():
        pytest.skip("needs a C++ compiler")
    cautious, scaler = "cautious" in options, "scaler" in options
    for dtype in (F32,) if path == "fused" and not cautious else (F32, F64):
        got = trained(
            lambda w: Lion(w, LR, weight_decay=DECAY, cautious=cautious, **PATHS[path]),
            dtype,
            scaler,
        )
        for one, other in zip(got, oracle(cautious, 3), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@under_each_default(["loop", "foreach", "fused"])
def test_a_rule_is_the_float64_loop(ambient: str, path: str) -> None:
    if path == "fused" and not compiler.find_compiler():
        pytest.skip("needs a C++ compiler")
    for dtype in (F32, F64):
        got = trained(
            lambda w: ProgramOptimizer(w, "lion", LR, weight_decay=DECAY, **PATHS[path]), dtype
        )
        for one, other in zip(got, oracle(False, 3), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ambient", ["float64", "bfloat16"], indirect=True)
@pytest.mark.parametrize("path", ["loop", "foreach"])
@pytest.mark.parametrize("kind", ["bfloat16 kahan", "float16 kahan", "bfloat16 stochastic"])
@pytest.mark.parametrize("momentum_dtype", [torch.bfloat16, "8bit"])
def test_16_and_8_bits_keep_the_contract(
    ambient: str, path: str, kind: str, momentum_dtype: Any
) -> None:
    contract.test_from_its_stored_state_every_step_decides_as_float64_does(
        path, momentum_dtype, kind
    )


@pytest.mark.slow
@pytest.mark.skipif(not compiler.find_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("ambient", ["float64", "bfloat16"], indirect=True)
@pytest.mark.parametrize("momentum_dtype", [torch.bfloat16, "8bit"])
def test_16_and_8_bits_compiled_keep_the_contract(ambient: str, momentum_dtype: Any) -> None:
    contract.test_from_its_stored_state_every_step_decides_as_float64_does(
        "fused", momentum_dtype, "bfloat16 stochastic"
    )


@pytest.mark.parametrize("rule", ["adamw_bias_correction", "program_8", "muon"])
def test_other_rules_do_not_see_it(rule: str, ambient: str) -> None:
    try:
        got = trained(lambda w: ProgramOptimizer(w, rule), F32)
    finally:
        torch.set_default_dtype(F32)
        torch.set_default_device("cpu")
    wanted = trained(lambda w: ProgramOptimizer(w, rule), F32)
    assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


def test_what_is_measured_and_converted_does_not_see_it(ambient: str) -> None:
    weight = Parameter(draw((64, 8), 0).float())
    adamw = torch.optim.AdamW([weight], lr=0.01, weight_decay=0.1)
    weight.grad = draw((64, 8), 1).float()
    adamw.step()
    lion = Lion([weight], momentum_dtype="8bit", cautious=True)
    lion.load_state_dict(convert_state_dict(adamw.state_dict(), lion))
    with watch(lion) as diagnostics:
        lion.step()
    assert diagnostics.latest is not None and diagnostics.latest.update_rms > 0
    group = ProgramOptimizer.from_adamw(adamw, "signum").param_groups[0]
    assert group["lr"] == pytest.approx(0.0023)


@pytest.mark.parametrize("rule", ["muon", "ortho_lion", "lion", "adamw"])
@pytest.mark.parametrize("path", ["loop", "foreach"])
def test_a_step_inside_autocast_is_the_same(rule: str, path: str) -> None:
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            results.append(trained(lambda w: ProgramOptimizer(w, rule, **PATHS[path]), F32))
            results[-1] += trained(lambda w: Lion(w, LR, **PATHS[path]), F32)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))

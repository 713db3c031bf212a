"""The figures of the diagnostics, against a slow loop in float64 over single numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.nn import Parameter

from optforge.errors import NonFiniteError, OptimizerError
from optforge.optim.diagnostics import Measurement, watch
from optforge.optim.lion import Lion
from optforge.optim.state import momentum_of

NAN, INF = float("nan"), float("inf")


def sign(value: float) -> int:
    return (value > 0) - (value < 0)


def pairs(one: Sequence[Any], other: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    return zip(one, other, strict=True)


def parameters(dtype: torch.dtype = torch.float32) -> list[Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((9, 8), (13,))
    return [Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def gradients(weights: list[Parameter], steps: int, bad: int = 0) -> Iterator[None]:
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator).to(weight.dtype)
            if bad and step % 3 == 1:
                flat = weight.grad.view(-1)
                flat[:bad] = torch.tensor([NAN, INF, -INF])[:bad]
        yield


def numbers(tensor: torch.Tensor) -> list[float]:
    return tensor.detach().double().flatten().tolist()


def momenta(lion: Lion, weight: Parameter) -> list[float]:
    if weight not in lion.state:
        return [0.0] * weight.numel()
    return numbers(momentum_of(lion.state[weight], weight.shape))


class Oracle:
    """Counts for one parameter with plain numbers what a `Measurement` says, for `ignore`."""

    def __init__(self, lion: Lion, weight: Parameter) -> None:
        self.lion, self.weight = lion, weight
        self.exact = momenta(lion, weight)
        self.signs: list[int] | None = None
        self.unmoved = [0] * weight.numel()
        self.total = 0

    def before(self) -> None:
        assert self.weight.grad is not None
        self.g, self.m = numbers(self.weight.grad), momenta(self.lion, self.weight)
        self.w = numbers(self.weight)
        self.finite = [math.isfinite(g) and math.isfinite(m) for g, m in pairs(self.g, self.m)]

    def after(self) -> dict[str, Any]:
        size, w = len(self.w), numbers(self.weight)
        inside = [i for i in range(size) if self.finite[i]]
        c = [0.9 * self.m[i] + 0.1 * self.g[i] if self.finite[i] else 0.0 for i in range(size)]
        exact = [0.9 * self.exact[i] + 0.1 * self.g[i] for i in range(size)]
        rms = math.sqrt(sum(c[i] ** 2 for i in inside) / len(inside))
        both = [sign(self.g[i]) * sign(self.m[i]) for i in inside]
        decided = [b for b in both if b]
        signs = [sign(value) for value in c]
        turned = [a * b for a, b in pairs(signs, self.signs or [0] * size) if a * b]
        self.signs = signs
        bad = sum(not math.isfinite(g) for g in self.g)
        self.total += bad
        for i in range(size):
            moved = w[i] != self.w[i]
            self.unmoved[i] = 0 if moved else self.unmoved[i] + (self.g[i] != 0)
            if math.isfinite(self.g[i]):
                self.exact[i] = 0.99 * self.exact[i] + 0.01 * self.g[i]
        return {
            "elements": size,
            "flip_rate": sum(sign(exact[i]) != signs[i] for i in inside) / len(inside),
            "reversal_rate": sum(t < 0 for t in turned) / len(turned) if turned else None,
            "near_zero_share": sum(abs(c[i]) <= 0.1 * rms for i in inside) / len(inside),
            "sign_agreement": sum(b > 0 for b in decided) / len(decided) if decided else 0.0,
            "update_rms": math.sqrt(sum((a - b) ** 2 for a, b in pairs(w, self.w)) / size),
            "weight_rms": math.sqrt(sum(value**2 for value in w) / size),
            "frozen": sum(count >= 3 for count in self.unmoved),
            "nonfinite": bad,
            "nonfinite_total": self.total,
            "poisoned": sum(not math.isfinite(m) for m in momenta(self.lion, self.weight)),
        }


OPTIONS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16 momentum": {"momentum_dtype": torch.bfloat16},
    "8 bits": {"momentum_dtype": "8bit"},
    "loop": {"foreach": False, "weight_decay": 0.1},
    "cautious": {"cautious": True},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("bad", [0, 3])
def test_every_figure_is_what_a_slow_loop_counts(name: str, bad: int) -> None:
    weights = parameters()
    lion = Lion([("first", weights[0]), ("second", weights[1])], lr=1e-2, **OPTIONS[name])
    oracles = [Oracle(lion, weight) for weight in weights]
    with watch(lion, near=0.1, patience=3) as diagnostics:
        for step, _ in enumerate(gradients(weights, 25, bad), 1):
            for oracle in oracles:
                oracle.before()
            lion.step()
            wanted = [{"step": step, **oracle.after()} for oracle in oracles]
            assert list(diagnostics.by_parameter) == ["first", "second"]
            found = diagnostics.by_parameter.values()
            for measurement, figures in zip(found, wanted, strict=True):
                for figure, value in figures.items():
                    assert getattr(measurement, figure) == pytest.approx(value), figure


def test_the_total_is_over_all_elements() -> None:
    weights = parameters()
    lion = Lion(weights, lr=1e-2)
    with watch(lion) as diagnostics:
        for _ in gradients(weights, 4, bad=2):
            lion.step()
    whole, parts = diagnostics.latest, list(diagnostics.by_parameter.values())
    assert whole is not None and whole.elements == 72 + 13
    assert whole.nonfinite_total == sum(part.nonfinite_total for part in parts) == 4
    squares = sum(part.weight_rms**2 * part.elements for part in parts)
    assert whole.weight_rms == pytest.approx(math.sqrt(squares / 85))
    assert whole.weight_rms**2 * 85 == pytest.approx(
        sum(float(w.detach().square().sum()) for w in weights)
    )


def test_float32_momentum_flips_nothing_and_8_bits_flip_a_little() -> None:
    rates = {}
    for dtype in (None, torch.bfloat16, "8bit"):
        weight = Parameter(torch.randn(4096, generator=torch.Generator().manual_seed(0)))
        lion = Lion([weight], lr=1e-3, momentum_dtype=dtype)
        flips = []
        with watch(lion) as diagnostics:
            for _ in gradients([weight], 60):
                lion.step()
                assert diagnostics.latest is not None
                flips.append(diagnostics.latest.flip_rate)
        rates[str(dtype)] = sum(flips) / len(flips)
    assert rates["None"] == 0
    assert 0 < rates["torch.bfloat16"] < 0.01
    assert rates["torch.bfloat16"] < rates["8bit"] < 0.04


@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"weight_decay": 0.1}])
def test_watching_changes_no_bit(options: dict[str, Any]) -> None:
    def run(watched: bool) -> list[Parameter]:
        weights = parameters()
        lion = Lion(weights, lr=1e-2, **options)
        diagnostics = watch(lion) if watched else None
        for _ in gradients(weights, 6, bad=1):
            before = [weight.grad.clone() for weight in weights if weight.grad is not None]
            lion.step()
            for weight, kept in zip(weights, before, strict=True):
                assert weight.grad is not None
                assert torch.equal(weight.grad.nan_to_num(7.0), kept.nan_to_num(7.0))
        assert (diagnostics is None) or diagnostics.latest is not None
        return weights

    assert all(torch.equal(a, b) for a, b in zip(run(True), run(False), strict=True))


def test_nothing_is_left_once_closed() -> None:
    weights = parameters()
    lion = Lion(weights)
    hooks = (lion._optimizer_step_pre_hooks, lion._optimizer_step_post_hooks)
    diagnostics = watch(lion)
    assert [len(hook) for hook in hooks] == [1, 1]
    diagnostics.close()
    assert [len(hook) for hook in hooks] == [0, 0]
    for _ in gradients(weights, 1):
        lion.step()
    assert diagnostics.latest is None
    assert set(lion.state_dict()["state"][0]) == {"momentum"}


def test_a_closure_is_seen_with_the_gradients_it_computes() -> None:
    (weight,) = weights = [Parameter(torch.tensor([1.0, -2.0]))]
    lion = Lion(weights, lr=0.1)

    def closure() -> torch.Tensor:
        lion.zero_grad()
        loss = weight.square().sum() * torch.tensor(1.0)
        loss.backward()
        return loss

    with watch(lion) as diagnostics:
        assert lion.step(closure).item() == 5
        assert lion.step(closure=closure).item() == pytest.approx(0.81 + 3.61)
    assert diagnostics.latest is not None
    assert (diagnostics.latest.step, diagnostics.latest.sign_agreement) == (2, 1.0)
    assert diagnostics.latest.update_rms == pytest.approx(0.1)


def test_frozen_bfloat16_weights_are_found() -> None:
    frozen = {}
    for rounding in ("nearest", "kahan"):
        weight = Parameter(torch.ones(8, dtype=torch.bfloat16))
        lion = Lion([weight], lr=1e-3, rounding=rounding)
        loses = rounding == "nearest"
        expected = pytest.warns(UserWarning, match="cannot move") if loses else nullcontext()
        with watch(lion, patience=10) as diagnostics, expected:
            for _ in range(30):
                weight.grad = torch.ones(8, dtype=torch.bfloat16)
                lion.step()
        assert diagnostics.latest is not None
        frozen[rounding] = diagnostics.latest.frozen
    assert frozen == {"nearest": 8, "kahan": 0}


def test_no_element_is_frozen_for_want_of_a_gradient_or_a_rate() -> None:
    weight = Parameter(torch.ones(4))
    lion = Lion([weight], lr=0.0)
    with watch(lion, patience=2) as diagnostics:
        for _ in range(5):  # warm-up begins at 0
            weight.grad = torch.ones(4)
            lion.step()
        lion.param_groups[0]["lr"] = 1e-3
        lion.state.clear()
        for _ in range(5):
            weight.grad = torch.zeros(4)
            lion.step()
        assert diagnostics.latest is not None and diagnostics.latest.frozen == 0
        for _ in range(5):
            weight.grad = torch.tensor([NAN, 1.0, 1.0, 1.0])
            lion.step()
        assert diagnostics.latest.frozen == 1


def test_a_poisoned_momentum_is_counted() -> None:
    weight = Parameter(torch.ones(4))
    lion = Lion([weight], nonfinite="propagate")
    with watch(lion) as diagnostics:
        weight.grad = torch.tensor([NAN, 1.0, INF, 1.0])
        lion.step()
        weight.grad = torch.ones(4)
        lion.step()
    assert diagnostics.latest is not None
    assert (diagnostics.latest.poisoned, diagnostics.latest.nonfinite_total) == (2, 2)
    assert diagnostics.latest.nonfinite == 0


@pytest.mark.parametrize("policy", ["ignore", "zero", "skip_step"])
def test_the_oracle_follows_the_policy(policy: str) -> None:
    weights = parameters()
    lion = Lion(weights, lr=1e-2, nonfinite=policy)
    with watch(lion) as diagnostics:
        for _ in gradients(weights, 12, bad=2):
            lion.step()
            assert diagnostics.latest is not None
            assert diagnostics.latest.flip_rate == 0


def test_the_oracle_follows_a_gradient_scaler() -> None:
    """As torch's GradScaler does it: scaled gradients, and both tensors on the optimizer."""
    weights, plain = parameters(), parameters()
    lion, other = Lion(weights, lr=1e-2), Lion(plain, lr=1e-2)
    with watch(lion) as diagnostics:
        for step, _ in enumerate(gradients(weights, 9)):
            found = float(step % 3 == 1)
            for weight, same in zip(weights, plain, strict=True):
                assert weight.grad is not None
                same.grad = None if found else weight.grad.clone()
                weight.grad.mul_(INF if found else 8.0)
            lion.grad_scale, lion.found_inf = torch.tensor(8.0), torch.tensor(found)  # type: ignore[attr-defined]
            lion.step()
            other.step()
            assert diagnostics.latest is not None and diagnostics.latest.flip_rate == 0
            assert (diagnostics.latest.update_rms == 0) == bool(found)
    assert all(torch.equal(one, same) for one, same in zip(weights, plain, strict=True))


def test_a_raised_step_leaves_watching_intact() -> None:
    weights = parameters()
    lion = Lion(weights, nonfinite="raise")
    with watch(lion) as diagnostics:
        for step, _ in enumerate(gradients(weights, 5, bad=1)):
            if step % 3 == 1:
                with pytest.raises(NonFiniteError):
                    lion.step()
            else:
                lion.step()
                assert diagnostics.latest is not None and diagnostics.latest.flip_rate == 0


def test_every_so_many_steps() -> None:
    weights = parameters()
    lion = Lion(weights, momentum_dtype="8bit")
    always = Lion(copy.deepcopy(weights), momentum_dtype="8bit")
    seen: list[Measurement | None] = []
    with watch(lion, every=4) as sparse, watch(always) as dense:
        for _ in gradients(weights, 8, bad=1):
            for mine, other in zip(weights, always.param_groups[0]["params"], strict=True):
                other.grad = mine.grad
            lion.step()
            always.step()
            seen.append(sparse.latest)
    assert [None if one is None else one.step for one in seen] == [None] * 3 + [4] * 4 + [8]
    assert sparse.latest is not None and dense.latest is not None
    assert sparse.latest.flip_rate == dense.latest.flip_rate
    assert sparse.latest.nonfinite_total == dense.latest.nonfinite_total == 6


def test_half_of_pure_noise_agrees() -> None:
    weight = Parameter(torch.zeros(20_000))
    lion = Lion([weight], lr=1e-4)
    with watch(lion, oracle=False) as diagnostics:
        for _ in gradients([weight], 50):
            lion.step()
    found = diagnostics.latest
    assert found is not None and found.flip_rate is None
    # 20,000 fair coins: five standard deviations are 0.018.
    assert found.sign_agreement == pytest.approx(0.5, abs=0.018)
    assert found.update_rms == pytest.approx(1e-4, rel=1e-3)


def test_complex_and_float64_parameters() -> None:
    weights = [Parameter(torch.randn(6, dtype=dtype)) for dtype in (torch.complex64, torch.float64)]
    lion = Lion(weights, lr=1e-2)
    with watch(lion) as diagnostics:
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        lion.step()
    assert diagnostics.latest is not None and diagnostics.latest.elements == 12 + 6
    squares = 6 * 1e-4 + 6 * 1e-4  # the imaginary parts have gradient 0
    assert diagnostics.latest.update_rms == pytest.approx(math.sqrt(squares / 18), rel=1e-3)


def test_what_cannot_be_watched_is_refused() -> None:
    weights = parameters()
    with pytest.raises(OptimizerError, match="got SGD; only a Lion"):
        watch(torch.optim.SGD(weights))  # type: ignore[arg-type]
    for name, value in (("every", 0), ("near", -1.0), ("patience", 0), ("near", NAN)):
        with pytest.raises(OptimizerError, match=f"{name} must be .*, got {value}"):
            watch(Lion(weights), **{name: value})

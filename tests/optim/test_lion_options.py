"""The tables of docs/lion_options.md, row by row, against a float64 loop of this file."""

from __future__ import annotations

import copy
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim import Lion, compiler
from optforge.optim.lion_settings import REFUSALS
from optforge.optim.steps.layout import real

PAGE = (Path(__file__).parents[2] / "docs" / "lion_options.md").read_text(encoding="utf-8")
PATHS: list[dict[str, Any]] = [
    {"foreach": False}, {"foreach": True}, {"fused": True}, {"differentiable": True}
]  # fmt: skip
ROWS, COLUMNS = 130, 64


def table(title: str) -> list[list[str]]:
    """The cells of the table below a title of the page, without its head."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def settings_of(text: str) -> dict[str, Any]:
    return eval(f"dict({text})", {"torch": torch}) if re.match(r"\w+=", text) else {}


def start(row: str) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(ROWS, COLUMNS, generator=generator)
    if row == "complex weights":
        return torch.view_as_complex(values.view(ROWS, COLUMNS // 2, 2).contiguous())
    if row == "channels_last weights":
        return values.view(13, 10, 8, 8).to(memory_format=torch.channels_last)
    if row == "non-contiguous weights":
        return torch.randn(ROWS, 2 * COLUMNS, generator=generator)[:, ::2]
    if row == "0-d weights":
        return torch.tensor(0.5)
    names = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
    dtype = names.get(row.split()[0], torch.float32)
    return values.to(torch.bfloat16 if row.startswith("rounding") else dtype)


def oracle(weights: list[float], gradients: list[list[float]], lr: float, decay: float,
           settings: dict[str, Any]) -> Tensor:  # fmt: skip
    """All steps in float64 and Python, element by element, for finite gradients."""
    momenta = [0.0] * len(weights)
    for row in gradients:
        row = [-g for g in row] if settings.get("maximize") else row
        signs = [(c > 0) - (c < 0) for c in (0.9 * m + 0.1 * g for m, g in zip(momenta, row))]  # noqa: B905
        scale = 1.0
        if settings.get("cautious"):
            agree = [s * g > 0 for s, g in zip(signs, row, strict=True)]
            scale = len(agree) / max(sum(agree), 1e-3 * len(agree))
            signs = [s if a else 0 for s, a in zip(signs, agree, strict=True)]
        share = decay if settings.get("decay_mode") == "independent" else lr * decay
        for i, s in enumerate(signs):
            keeps = settings.get("decay_mode") == "cautious" and s * weights[i] < 0
            weights[i] -= (0.0 if keeps else share * weights[i]) + lr * scale * s
            momenta[i] = 0.99 * momenta[i] + 0.01 * row[i]
    return torch.tensor(weights, dtype=torch.float64)


def gradient(like: Tensor, step: int) -> Tensor:
    """Signs and sizes that no rounding of the momentum can turn round."""
    flat = torch.randn(real(like).numel(), generator=torch.Generator().manual_seed(step + 5))
    flat = torch.where(flat > 0, 0.5 + flat, flat - 0.5).view(real(like.contiguous()).shape)
    return (torch.view_as_complex(flat) if like.is_complex() else flat).to(like.dtype)


def run(row: str, path: dict[str, Any]) -> None:
    settings, values = settings_of(row), start(row)
    # A step far larger than what 16 bits round away, or a step that does nothing would pass.
    rate: Any = 0.25 if values.dtype.itemsize == 2 else 0.01
    size = float(torch.tensor(rate))
    if row.startswith("learning rate"):
        rate = torch.tensor(rate)
    weight = values.clone(memory_format=torch.preserve_format)
    if row == "non-contiguous weights":
        weight = torch.zeros(ROWS, 2 * COLUMNS)[:, ::2].copy_(values)
    weight.requires_grad_(not path.get("differentiable"))
    decay = 0.05 if settings.get("decay_mode") == "independent" else 0.3
    other = torch.ones(5, dtype=torch.bfloat16, requires_grad=not path.get("differentiable"))
    groups: list[Any] = [{"params": [weight, other] if row.startswith("mixed") else [weight]}]
    if row.startswith("empty"):
        groups = [{"params": []}, *groups, {"params": []}]
    optimizer = Lion(groups, rate, weight_decay=decay, **settings, **path)
    scaled = row.startswith("GradScaler")
    gradients = []
    for step in range(3):
        weight.grad = gradient(values, step)
        gradients.append(real(weight.grad).double().reshape(-1).tolist())
        if scaled:
            weight.grad = weight.grad * 8
            optimizer.grad_scale, optimizer.found_inf = torch.tensor(8.0), torch.tensor(0.0)  # type: ignore[attr-defined]
        other.grad = torch.ones_like(other)
        loss = torch.tensor(7.0)
        closure = {"closure": lambda loss=loss: loss} if row.startswith("empty") else {}
        assert optimizer.step(**closure) is closure.get("closure", lambda: None)()
    if row.startswith("mixed"):
        assert bool((other < 1).all()) and other.dtype == torch.bfloat16
    got = real(weight.detach().contiguous()).double().reshape(-1)
    initial = real(values.contiguous()).double().reshape(-1).tolist()
    wanted = oracle(list(initial), gradients, size, decay, settings)
    narrow = weight.dtype.itemsize == 2
    bound = 4 * float(torch.finfo(weight.dtype).eps) if narrow else 1e-6
    assert float(((got - wanted).abs() / (1 + wanted.abs())).max()) <= bound
    still = (torch.tensor(initial, dtype=torch.float64) - wanted).abs() / (1 + wanted.abs())
    assert float((still > bound).double().mean()) > 0.9  # standing still would be far off
    assert not torch.equal(got, torch.tensor(initial, dtype=torch.float64))
    if scaled:
        optimizer.found_inf = torch.tensor(1.0)  # type: ignore[attr-defined]
        before = weight.detach().clone(), copy.deepcopy(optimizer.state_dict()["state"])
        optimizer.step()
        assert torch.equal(weight.detach(), before[0])
        after = optimizer.state_dict()["state"]
        assert torch.equal(after[0]["momentum"], before[1][0]["momentum"])


# Kernels take seconds to compile: these rows are compiled in `make test`, all in `make slow`.
COMPILED = ('momentum_dtype="8bit"', "learning rate")


def case(row: str, path: dict[str, Any], verdict: str) -> Any:
    slow = path == {"fused": True} and verdict == "yes" and not row.startswith(COMPILED)
    name = f"{row}-{next(iter(path))}-{next(iter(path.values()))}"
    return pytest.param(row, path, verdict, id=name, marks=[pytest.mark.slow] if slow else [])


CASES = [
    case(row, path, verdict)
    for row, *verdicts in table("What works on which path")
    for path, verdict in zip(PATHS, verdicts, strict=True)
]


@pytest.mark.parametrize(("row", "path", "verdict"), CASES)
def test_a_row_of_the_table(row: str, path: dict[str, Any], verdict: str) -> None:
    assert verdict in ("yes", "refused")
    if row == "sparse gradients":
        weight = torch.zeros(3, 2, requires_grad=not path.get("differentiable"))
        optimizer = Lion([weight], **path)
        weight.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1, 2), (3, 2),
                                              check_invariants=True)  # fmt: skip
        with pytest.raises(OptimizerError, match="sparse gradient"):
            optimizer.step()
    elif verdict == "refused":
        with pytest.raises(OptimizerError, match="exclude each other"):
            run(row, path)
    else:
        run(row, path)


@pytest.mark.parametrize(("settings", "message"), table("What is refused"))
def test_what_is_refused(settings: str, message: str) -> None:
    weights, _, rest = settings.rpartition("weights, `")
    dtype = torch.complex64 if weights == "complex " else torch.float32
    with pytest.raises(OptimizerError, match=re.escape(message)):
        Lion([torch.nn.Parameter(torch.zeros(2, dtype=dtype))], **settings_of(rest))


def test_the_page_has_every_refusal_of_the_code() -> None:
    listed = {row[0].replace('"', "'") for row in table("What is refused")}
    for refusal in REFUSALS:
        assert refusal.options.replace("lr=0, reference_lr=None", "lr=0.0") in listed


def test_without_a_compiler_fused_says_so_once_and_runs_foreach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    compiler.has_compiler.cache_clear()
    weights = [torch.nn.Parameter(torch.zeros(9000)) for _ in range(2)]
    optimizers = [Lion(weights[:1], lr=0.5, fused=True), Lion(weights[1:], lr=0.5, fused=True)]
    for weight in weights:
        weight.grad = torch.ones(9000)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for optimizer in optimizers * 2:
            optimizer.step()
    compiler.has_compiler.cache_clear()
    assert [str(w.message) for w in caught if "no C++ compiler" in str(w.message)].__len__() == 1
    assert all(bool((weight == -1).all()) for weight in weights)


def test_the_learning_rate_and_new_shapes_compile_nothing_new() -> None:
    weights = [torch.nn.Parameter(torch.zeros(9000 + 7 * i)) for i in range(3)]
    optimizer = Lion(weights[:2], lr=0.5, fused=True)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    optimizer.add_param_group({"params": weights[2:]})
    with torch.compiler.set_stance("fail_on_recompile"):
        for lr in (0.25, 0.125, 0.0):
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
    assert float(weights[0][0].detach()) == -0.875 and float(weights[2][0].detach()) == -0.375


def test_gradients_flow_through_a_differentiable_step() -> None:
    start, slope = torch.tensor([2.0, -1.0], requires_grad=True), torch.tensor(3.0)
    slope.requires_grad_()
    weight = start.clone()
    optimizer = Lion([weight], lr=0.1, weight_decay=0.5, differentiable=True)
    weight.grad = slope * start
    optimizer.step()
    optimizer.state[weight]["momentum"].sum().backward(retain_graph=True)
    assert float(slope.grad) == pytest.approx(0.01 * 1.0)  # type: ignore[arg-type]
    start.grad = None
    weight.sum().backward()
    torch.testing.assert_close(start.grad, torch.full((2,), 1 - 0.1 * 0.5))


def test_a_differentiable_cautious_step_scales_as_the_loop_does() -> None:
    """An infinite gradient is left out of the share of those that agree, on every path."""
    gradient = torch.tensor([1.0, -1.0, float("inf"), 2.0, float("nan")])
    weights = []
    for options in ({"foreach": False}, {"differentiable": True}):
        weight = torch.ones(5)
        optimizer = Lion([weight], lr=0.25, cautious=True, **options)
        for factor in (1.0, 1.0, -0.05):
            weight.grad = factor * gradient
            optimizer.step()
        weights.append(weight.tolist())
    assert weights[0] == weights[1]
    moved = 2 * 0.25 * 5 / 3  # the third step agrees nowhere
    assert weights[0] == pytest.approx([1 - moved, 1 + moved, 1.0, 1 - moved, 1.0])


def test_closures_hooks_copies_and_empty_groups() -> None:
    weight, idle = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(3))
    optimizer = Lion([{"params": [weight]}, {"params": [idle]}, {"params": []}], lr=0.5)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    assert float(optimizer.step(closure).detach()) == 3.0 and seen == ["before", "after"]
    twin = copy.deepcopy(optimizer)
    mine = twin.param_groups[0]["params"][0]
    mine.grad = torch.ones(3)
    twin.step()
    assert (
        mine.tolist() == [0.0] * 3 and weight.tolist() == [0.5] * 3 and idle.tolist() == [1.0] * 3
    )

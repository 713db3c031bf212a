"""Every refusal comes before the first change: groups, states and weights stay as they were."""

from __future__ import annotations

import ast
import copy
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from optforge import optim
from optforge.errors import OptimizerError
from optforge.language import parse
from optforge.optim import Lion, ProgramOptimizer


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: Any, steps: int = 2) -> list[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(steps):
        for parameter in parameters:
            parameter.grad = draw(*parameter.shape, seed=step + 1).to(parameter.dtype)
        optimizer.step()
    return [parameter.detach().clone() for parameter in parameters]


CLOCK = parse(
    "def train(w, g, m, lr):\n    m = interp(g, m, 0.9)\n    t = get_step()\n"
    "    p = get_progress()\n    s = t * p\n    u = m * s\n    return u, m\n"
)
SPARSE = torch.sparse_coo_tensor(
    torch.tensor([[1]]), torch.ones(1, 3), (2, 3), check_invariants=True
)


def subject(kind: str) -> Any:
    groups = [
        {"params": [Parameter(draw(4, 5)), Parameter(draw(6).bfloat16())], "lr": 2.0**-12},
        {"params": [Parameter(draw(2, 3))]},
    ]
    if kind == "lion":
        return Lion(groups, nonfinite="raise", momentum_dtype="8bit", fused=None)
    if kind == "clock":
        return ProgramOptimizer(groups, CLOCK, lr=0.25, total_steps=100)
    return ProgramOptimizer(groups, "muon" if kind == "matrix" else "lion", lr=0.25)


def saved_with(**changes: Any) -> Callable[[Any], Any]:
    def load(optimizer: Any) -> None:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["param_groups"][1].update(changes)
        optimizer.load_state_dict(saved)

    return load


def saved_entry(**changes: Any) -> Callable[[Any], Any]:
    def load(optimizer: Any) -> None:
        saved = copy.deepcopy(optimizer.state_dict())
        saved["state"][2].update(changes)
        optimizer.load_state_dict(saved)

    return load


def saved_average(value: Tensor) -> Callable[[Any], Any]:
    def load(optimizer: Any) -> None:
        saved_entry(**{"momentum" if isinstance(optimizer, Lion) else "m": value})(optimizer)

    return load


def step_with(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A step that the last parameter, of the last group, makes impossible."""

    def step(optimizer: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.ones_like(parameter)
        change(optimizer.param_groups[-1]["params"][-1])
        optimizer.step()

    return step


def assign(name: str, value: Any) -> Callable[[Any], Any]:
    return lambda parameter: setattr(parameter, name, value)


def swapped(parameter: Any) -> None:
    parameter.data = torch.zeros(9, 3)


def complex_now(parameter: Any) -> None:
    parameter.data = parameter.data.to(torch.complex64)


def added(**group: Any) -> Callable[[Any], Any]:
    return lambda optimizer: optimizer.add_param_group(
        {"params": [Parameter(torch.ones(3)), Parameter(torch.ones(3))], **group}
    )


def listed_twice(optimizer: Any) -> None:
    parameter = Parameter(torch.ones(3))
    with warnings.catch_warnings():  # torch warns, and takes it
        warnings.simplefilter("ignore")
        optimizer.add_param_group({"params": [parameter, parameter]})


CONJUGATE = torch.ones(3, dtype=torch.complex64).conj()


def renamed_entry(optimizer: Any) -> None:
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"] = {2: {"exp_avg": torch.zeros(2, 3)}}
    optimizer.load_state_dict(saved)


REFUSALS: dict[str, Callable[[Any], Any]] = {
    **{f"add {k}": added(**{k: v}) for k, v in (("lr", -1.0), ("foreach", 1), ("maximize", "no"))},
    "add both ways": added(foreach=True, fused=True),
    "add a misspelt key": added(weight_decy=0.1),
    "add integers": added(params=[Parameter(torch.ones(3)), torch.ones(3, dtype=torch.int32)]),
    "add float8": added(
        params=[Parameter(torch.ones(3)), torch.ones(3).to(torch.float8_e5m2), torch.ones(2)]
    ),
    "add a parameter twice": lambda o: o.add_param_group({"params": o.param_groups[0]["params"]}),
    "add one parameter in two places": listed_twice,
    "add shared elements": added(
        params=[Parameter(torch.ones(3)), Parameter(torch.ones(1).expand(3))]
    ),
    "add no dict": lambda o: o.add_param_group([Parameter(torch.ones(3))]),
    **{
        f"load {k}={v}": saved_with(**{k: v})
        for k, v in (
            *(("lr", float("nan")), ("lr", "0.1"), ("weight_decay", float("inf"))),
            *(("foreach", 7), ("maximize", None), ("params", [1, 2, 3])),
        )
    },
    "load both ways": saved_with(foreach=True, fused=True),
    "load too few groups": lambda o: o.load_state_dict(
        {**o.state_dict(), "param_groups": o.state_dict()["param_groups"][:1]}
    ),
    "load a shape": saved_average(torch.zeros(7)),
    "load a list": lambda o: o.load_state_dict({"state": [], "groups": []}),
    "load SGD": lambda o: o.load_state_dict(
        torch.optim.SGD([{"params": g["params"]} for g in o.param_groups]).state_dict()
    ),
    "load a number": lambda o: o.load_state_dict({**o.state_dict(), "state": 3}),
    "load keys of JSON": lambda o: o.load_state_dict(
        {**o.state_dict(), "state": {"0": {"momentum": torch.zeros(4, 5)}}}
    ),
    "load integers": saved_average(torch.zeros(2, 3).int()),
    "add a conjugate view": added(params=[CONJUGATE, torch.ones(2)]),
    "add two rates": added(lr=torch.ones(2)),
    "add a rate without a value": added(lr=torch.ones((), device="meta")),
    "step resized": step_with(swapped),
    "step cast to complex": step_with(complex_now),
}
ONLY_LION: dict[str, Callable[[Any], Any]] = {
    "step with NaN": step_with(lambda p: p.grad.fill_(float("nan"))),
    **{
        f"load {k}={v}": saved_with(**{k: v})
        for k, v in (
            *(
                ("betas", (0.9, 1.0)),
                ("betas", 0.9),
                ("seed", 1.5),
                ("seed", True),
                ("rounding", "up"),
                ("seed", -1),
                ("reference_lr", 0.0),
            ),
            *(("nonfinite", None), ("decay_mode", "l2"), ("momentum_dtype", "4bit")),
        )
    },
    "load a momentum of another name": renamed_entry,
    "load another dtype": saved_entry(compensation=torch.zeros(2, 3)),
    "load a scale": saved_entry(momentum_scale=torch.zeros(2, 1)),
    "load a count": lambda o: saved_count(o),
    "add a complex weight to 8 bits": added(params=[torch.ones(3, dtype=torch.complex64)]),
}
ONLY_RULES: dict[str, Callable[[Any], Any]] = {
    "load another state": saved_entry(velocity=torch.zeros(2, 3)),
    "load peak_lr=0": saved_with(peak_lr=0.0),
    "load schedule=inf": saved_with(schedule=float("inf")),
    "load step=-1": saved_with(step=-1),
    "load another rule": saved_with(fingerprint="0"),
}
CLOCKS = {**ONLY_RULES, "load no total": saved_with(total_steps=None)}
MATRICES = {**ONLY_RULES, "load a hidden matrix": saved_with(matrices=False)}
MORE = {"lion": ONLY_LION, "rule": ONLY_RULES, "clock": CLOCKS, "matrix": MATRICES}


def saved_count(optimizer: Any) -> None:
    saved = copy.deepcopy(optimizer.state_dict())
    saved["state"][1]["step"] = float("nan")
    optimizer.load_state_dict(saved)


def snapshot(optimizer: Any) -> Any:
    groups = [dict(group) for group in optimizer.param_groups]
    weights = [[id(p) for p in group.pop("params")] for group in groups]
    states = {id(p): {n: v.clone() for n, v in s.items()} for p, s in optimizer.state.items()}
    return groups, weights, states


CASES = [
    pytest.param(kind, case, id=f"{kind}: {case}")
    for kind, more in MORE.items()
    for case in {**REFUSALS, **more}
    if not (kind == "clock" and case in ("add a misspelt key", "load weight_decay=inf"))
]


NEEDS_A_STATE = {
    *(
        "load a shape",
        "load a scale",
        "load a count",
        "load integers",
        "load another state",
        "load a hidden matrix",
    ),
    *("load another dtype", "load the state of a vector"),
}
BY_HAND: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no foreach": lambda group: group.pop("foreach"),
    **{
        f"{key}={value}": lambda group, key=key, value=value: group.update({key: value})
        for key, value in (("lr", -1.0), ("lr", "0.1"), ("maximize", 3), ("foreach", 1))
    },
}


def refused(kind: str, case: str, is_fresh: bool) -> Exception:
    """Return the refusal of a case, and hold that nothing has changed."""
    refusal = {**REFUSALS, **MORE[kind]}[case]
    optimizer = subject(kind)
    if not is_fresh:
        stepped(optimizer)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    old = [parameter.detach().clone() for parameter in parameters[:2]]
    before = snapshot(optimizer)
    with pytest.raises((OptimizerError, ValueError, TypeError, FloatingPointError)) as caught:
        refusal(optimizer)
    hold_same(optimizer, before)
    assert all(torch.equal(p, o) for p, o in zip(parameters[:2], old, strict=True))
    return caught.value


def refused_by_hand(kind: str, case: str) -> Exception:
    """Return the refusal of a step after settings of the last group were set by hand."""
    optimizer = subject(kind)
    old = stepped(optimizer)
    optimizer.param_groups[0]["maximize"] = np.bool_(False)  # it would become plain
    BY_HAND[case](optimizer.param_groups[-1])
    before = snapshot(optimizer)
    with pytest.raises(OptimizerError) as caught:
        optimizer.step()
    hold_same(optimizer, before)
    assert type(optimizer.param_groups[0]["maximize"]) is np.bool_
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    assert all(torch.equal(p, o) for p, o in zip(parameters, old, strict=True))
    return caught.value


def hold_same(optimizer: Any, before: Any) -> None:
    """Hold that groups, parameters and states are those of a snapshot."""
    groups, weights, states = before
    new_groups, new_weights, new_states = snapshot(optimizer)
    assert new_groups == groups and new_weights == weights
    assert new_states.keys() == states.keys()
    for number, state in states.items():
        assert state.keys() == new_states[number].keys()
        assert all(torch.equal(value, new_states[number][name]) for name, value in state.items())


@pytest.mark.parametrize(("kind", "case"), CASES)
@pytest.mark.parametrize("is_fresh", [True, False], ids=["fresh", "stepped"])
def test_a_refusal_leaves_the_optimizer_as_it_was(kind: str, case: str, is_fresh: bool) -> None:
    if is_fresh and case in NEEDS_A_STATE:
        pytest.skip("nothing is saved yet")
    refused(kind, case, is_fresh)


@pytest.mark.parametrize("case", BY_HAND)
@pytest.mark.parametrize("kind", ["lion", "rule"])
def test_a_refused_setting_leaves_all_groups_as_they_were_set(kind: str, case: str) -> None:
    refused_by_hand(kind, case)


# Refusals that have no optimizer to change: of new objects, and of what returns a new one.
APART = {
    *("diagnostics.py", "convert.py", "recipe.py", "rule_from_adamw.py", "sources.py"),
    *("defaults_of", "_without_betas", "from_adamw"),
    "_check_whole",  # needs two processes: test_distributed_rules.py
}


def sites() -> Iterator[tuple[str, int, int]]:
    """Yield file, first and last line of each refusal in the room that is not apart."""
    for path in Path(optim.__file__).parent.rglob("*.py"):
        functions = (n for n in ast.walk(ast.parse(path.read_text())) if is_function(n))
        for function in functions:
            if path.name in APART or function.name in APART:
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    yield str(path), node.lineno, node.end_lineno or node.lineno


def is_function(node: ast.AST) -> TypeGuard[ast.FunctionDef]:
    return isinstance(node, ast.FunctionDef)


def raised_at(error: BaseException | None) -> Iterator[tuple[str, int]]:
    """Yield where an error was raised, and where those were that it came from."""
    while error is not None:
        *_, (frame, line) = traceback.walk_tb(error.__traceback__)
        yield frame.f_code.co_filename, line
        error = error.__context__


def test_every_refusal_of_the_room_is_among_these() -> None:
    errors = [refused_by_hand(kind, case) for kind in ("lion", "rule") for case in BY_HAND]
    for case in CASES:
        kind, name = case.values
        errors.append(refused(str(kind), str(name), is_fresh=False))
    errors += [sparse(kind) for kind in ("lion", "rule")]
    hit = {place for error in errors for place in raised_at(error)}
    missing = [
        f"{Path(file).name}:{first}"
        for file, first, last in sites()
        if not any((file, line) in hit for line in range(first, last + 1))
    ]
    assert not missing, f"no case meets the refusals at {', '.join(missing)}"


def sparse(kind: str) -> Exception:
    optimizer = subject(kind)
    before = snapshot(optimizer)
    with pytest.raises(OptimizerError, match="sparse") as caught:
        step_with(assign("grad", SPARSE))(optimizer)
    assert repr(snapshot(optimizer)) == repr(before)
    return caught.value


@pytest.mark.parametrize("kind", ["lion", "rule", "clock"])
def test_a_refused_sparse_gradient_leaves_the_groups_before_it_alone(kind: str) -> None:
    sparse(kind)

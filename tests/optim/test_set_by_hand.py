"""What people write into groups, states and lists by hand: looked at, made plain, or refused."""

from __future__ import annotations

import copy
import io
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import Parameter
from torch.utils._python_dispatch import TorchDispatchMode

from optforge.errors import OptimizerError
from optforge.optim import Lion, ProgramOptimizer, convert_state_dict, lion_from_adamw, watch
from tests.optim.test_odd_inputs import KINDS, each_kind, stepped


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> Parameter:
    return Parameter(torch.ones(*shape, dtype=dtype))


@each_kind
def test_a_new_group_vouches_for_no_other(kind: str) -> None:
    first, second = ones(2), ones(2)
    optimizer = stepped(KINDS[kind]([first], lr=0.5), first)
    optimizer.param_groups[0]["lr"] = -1.0
    optimizer.add_param_group({"params": [second]})
    before = first.detach().clone()
    with pytest.raises(OptimizerError, match="not negative"):
        optimizer.step()
    assert torch.equal(first, before)


@each_kind
def test_what_a_hook_writes_after_loading_is_looked_at(kind: str) -> None:
    weight = ones(2)
    optimizer = stepped(KINDS[kind]([weight], lr=0.5), weight)
    optimizer.register_load_state_dict_post_hook(lambda o: o.param_groups[0].update(lr=-1.0))
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(OptimizerError, match="not negative"):
        optimizer.step()


@each_kind
def test_one_parameter_listed_twice_is_refused(kind: str) -> None:
    weight = ones(2)
    with pytest.warns(UserWarning, match="duplicate"), pytest.raises(OptimizerError, match="twice"):
        KINDS[kind]([weight, weight])


@each_kind
def test_shared_elements_are_refused_before_anything_moves(kind: str) -> None:
    with pytest.raises(OptimizerError, match="share memory"):
        KINDS[kind]([Parameter(torch.ones(1).expand(3))])
    KINDS[kind]([Parameter(torch.ones(1, 3).expand(1, 3)), ones(0, 3)])  # nothing is shared there


@each_kind
@pytest.mark.parametrize(
    "rate", [np.float64(0.25), np.array([0.25]), Fraction(1, 4), Decimal("0.25")], ids=repr
)
@pytest.mark.parametrize("capturable", [False, True])
def test_what_a_schedule_writes_is_a_float_in_a_checkpoint(
    kind: str, rate: Any, capturable: bool
) -> None:
    if capturable and kind == "rule":
        pytest.skip("rules have no such setting")
    weight = ones(2)
    settings: dict[str, Any] = {"capturable": True} if capturable else {}
    optimizer = stepped(KINDS[kind]([weight], lr=0.5, weight_decay=0.0, **settings), weight)
    optimizer.param_groups[0]["lr"] = rate
    stepped(optimizer, weight)
    assert type(optimizer.param_groups[0]["lr"]) is float
    torch.testing.assert_close(weight.detach(), torch.full((2,), 0.25))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["param_groups"][0]["lr"] == 0.25


@pytest.mark.parametrize("seed", [torch.tensor(3), torch.tensor([3]), np.int64(3)], ids=repr)
def test_a_seed_set_by_hand_is_the_number(seed: Any) -> None:
    found = []
    for value in (3, seed):
        weight = ones(4096, dtype=torch.bfloat16)
        optimizer = Lion([weight], lr=2.0**-12, rounding="stochastic", foreach=False)
        optimizer.param_groups[0]["seed"] = value
        stepped(optimizer, weight)
        assert type(optimizer.param_groups[0]["seed"]) is int
        found.append(weight.detach())
    assert torch.equal(*found)


def test_a_state_made_by_hand_in_mid_run_is_completed() -> None:
    """Kahan rounding keeps what 16 bits cannot hold, for a momentum that somebody put there too."""
    weight = Parameter(torch.full((512,), 1.75, dtype=torch.bfloat16))
    optimizer = stepped(Lion([weight], lr=2.0**-11, rounding="kahan", weight_decay=0.0), weight)
    optimizer.state[weight] = {"momentum": torch.ones(512)}
    weight.data.fill_(1.75)
    for _ in range(32):
        optimizer.step()
    assert weight.float().mean().item() == 1.75 - 32 * 2.0**-11


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_rate_of_sixteen_bits_loses_no_decay(capturable: bool, dtype: torch.dtype) -> None:
    rate = torch.tensor(2.0**-10, dtype=dtype)
    weight = Parameter(torch.full((3,), 1e3, dtype=torch.float64))
    optimizer = Lion([weight], lr=rate, weight_decay=1e-5, capturable=capturable)
    weight.grad = torch.zeros_like(weight)
    for _ in range(100):
        optimizer.step()
    wanted = 1e3 * (1 - 2.0**-10 * 1e-5) ** 100
    torch.testing.assert_close(1e3 - weight[0].item(), 1e3 - wanted, rtol=1e-4, atol=0)


def test_the_groups_of_one_rule_make_no_checkpoint_of_it_for_another() -> None:
    weight = ones(3)
    first = ProgramOptimizer([weight], "adamw")
    second: Any = ProgramOptimizer(first.param_groups, "lion")
    second.load_state_dict(stepped(second, weight).state_dict())
    assert second.param_groups[0]["fingerprint"] != first.param_groups[0]["fingerprint"]


def test_what_adamw_says_is_not_given_again() -> None:
    adamw = torch.optim.AdamW([ones(4, 4)])
    for name, value in {"lr": 0.5, "weight_decay": 0.0, "maximize": False}.items():
        with pytest.raises(OptimizerError, match=f"^{name} of the new optimizer come from"):
            ProgramOptimizer.from_adamw(adamw, "lion", **{name: value})


@pytest.mark.parametrize("source", [torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad,
                                    torch.optim.Adafactor])  # fmt: skip
def test_groups_of_others_are_not_translated_as_adamw_s(source: Any) -> None:
    with pytest.raises(OptimizerError, match=f"one of torch's {source.__name__}"):
        lion_from_adamw(source([ones(2, 2)], lr=0.1).param_groups)


@pytest.mark.parametrize("entry", [{"exp_inf": torch.ones(2)}, {"exp_avg_var": torch.ones(2)},
                                   {"hessian": torch.ones(2)}])  # fmt: skip
def test_an_average_beside_another_state_is_no_lion_s(entry: dict[str, Any]) -> None:
    lion = Lion([ones(2)])
    saved = {
        "state": {0: {"exp_avg": torch.ones(2), "step": torch.tensor(1.0), **entry}},
        "param_groups": [{"params": [0], "lr": 2e-3, "betas": (0.9, 0.999), "weight_decay": 0.0}],
    }
    with pytest.raises(OptimizerError, match="not recognised"):
        convert_state_dict(saved, lion)
    del saved["state"][0][next(iter(entry))]
    converted = convert_state_dict(saved, lion)
    assert converted["param_groups"][0]["lr"] == 2e-3


def test_models_of_one_optimizer_are_told_apart() -> None:
    models = [nn.Linear(2, 2), nn.Linear(2, 2)]
    lion = Lion([{"params": model.named_parameters()} for model in models])
    with watch(lion) as measured:
        stepped(lion, *(p for model in models for p in model.parameters()))
        names = list(measured.by_parameter)
    assert names == ["weight", "bias", "group 1: weight", "group 1: bias"]


class NoQuestions(TorchDispatchMode):
    """Refuses what waits for a value of a tensor."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "the host asked for a value"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("foreach", [False, None])
@pytest.mark.parametrize("found", [0.0, 1.0])
def test_a_scaler_s_flag_is_not_asked_for_in_a_captured_step(
    foreach: bool | None, found: float
) -> None:
    weight = ones(2)
    lion: Any = Lion([weight], lr=0.5, capturable=True, nonfinite="skip_step", foreach=foreach)
    stepped(lion, weight)
    before = weight.detach().clone()
    lion.grad_scale, lion.found_inf = torch.tensor(2.0), torch.tensor(found)
    with NoQuestions():
        lion.step()
    assert torch.equal(weight, before) == bool(found)


@each_kind
def test_a_lazy_model_may_be_handed_over_before_its_first_batch(kind: str) -> None:
    model = nn.LazyLinear(3)
    optimizer = KINDS[kind](model.parameters(), lr=0.5, weight_decay=0.0)
    model(torch.ones(2, 4)).sum().backward()  # gradients of 2 everywhere
    before = model.weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before - 0.5)


@each_kind
def test_states_loaded_in_inference_mode_can_be_stepped(kind: str) -> None:
    found = []
    for mode in (False, True):
        weight = ones(2)
        optimizer: Any = stepped(KINDS[kind]([weight], lr=0.5), weight)
        with torch.inference_mode(mode):
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        stepped(optimizer, weight)
        found.append((weight.detach(), *optimizer.state[weight].values()))
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


def test_keys_and_rates_of_any_type() -> None:
    weight = ones(2)
    stepped(Lion([{"params": [weight], 0: 1.0}]), weight)
    recipe = lion_from_adamw(torch.optim.AdamW([weight]), divisor=5)
    assert recipe.scaled(Decimal("0.5")) == recipe.scaled(np.float32(0.5)) == 0.1


def test_a_negative_constant_of_a_rule_is_one_by_hand_too() -> None:
    weight = ones(2)
    optimizer = ProgramOptimizer([weight], "lion", lr=0.5, weight_decay=-0.5)
    optimizer.param_groups[0]["weight_decay"] = -1.0
    stepped(optimizer, weight)
    torch.testing.assert_close(weight.detach(), torch.full((2,), 1 - 0.5 * (1 - 1.0)))

"""Save there, load here: the next steps are those of the other library, element by element."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from optforge.errors import OptimizerError
from optforge.optim.lion import Lion
from optforge.optim.migration.convert import convert_state_dict, google_state_dict
from optforge.optim.migration.sources import SOURCES
from optforge.optim.state import momentum_of

SHAPES = ((64, 80), (7, 3, 5), (5,), ())  # the first is large enough for 8 bits in bitsandbytes
STEPS = 12

lion_pytorch = pytest.importorskip("lion_pytorch")
timm_optim = pytest.importorskip("timm.optim")
pytorch_optimizer = pytest.importorskip("pytorch_optimizer")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # bitsandbytes on machines without an accelerator
    bitsandbytes = pytest.importorskip("bitsandbytes")


class GoogleLion(Optimizer):
    """The paper's program 1 with the state format of google/automl, which is on no index."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["exp_avg"] = torch.zeros_like(weight)
                momentum = state["exp_avg"]
                update = torch.sign(beta1 * momentum + (1 - beta1) * weight.grad)
                weight.sub_(group["lr"] * (update + group["weight_decay"] * weight))
                momentum.copy_(beta2 * momentum + (1 - beta2) * weight.grad)


Make = Callable[[list[dict[str, Any]]], Optimizer]
SETTINGS = {"lr": 3e-3, "weight_decay": 0.1}
# Every other Lion that keeps its momentum in full: (format, how to make it).
LIONS: dict[str, tuple[str, Make]] = {
    "google": ("google", lambda groups: GoogleLion(groups, **SETTINGS)),
    "lion-pytorch": ("lion-pytorch", lambda groups: lion_pytorch.Lion(groups, **SETTINGS)),
    "timm": ("timm", lambda groups: timm_optim.Lion(groups, **SETTINGS)),
    "timm caution": ("timm", lambda groups: timm_optim.Lion(groups, **SETTINGS, caution=True)),
    "timm maximize": ("timm", lambda groups: timm_optim.Lion(groups, **SETTINGS, maximize=True)),
    "pytorch_optimizer": (
        "pytorch_optimizer",
        lambda groups: pytorch_optimizer.Lion(groups, **SETTINGS),
    ),
    "bitsandbytes": ("bitsandbytes", lambda groups: bitsandbytes.optim.Lion(groups, **SETTINGS)),
}


def parameters(seed: int = 0) -> list[Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def groups_of(weights: list[Parameter]) -> list[dict[str, Any]]:
    return [{"params": weights[:2]}, {"params": weights[2:], "weight_decay": 0.0, "lr": 1e-3}]


def copied(weights: list[Parameter]) -> list[Parameter]:
    return [Parameter(weight.detach().clone()) for weight in weights]


def set_gradients(weights: list[Parameter], step: int) -> None:
    generator = torch.Generator().manual_seed(1000 + step)
    for weight in weights:
        weight.grad = torch.randn(weight.shape, generator=generator)


def train(optimizer: Optimizer, weights: list[Parameter], steps: range) -> None:
    for step in steps:
        set_gradients(weights, step)
        optimizer.step()


def through_a_file(state_dict: dict[str, Any]) -> dict[str, Any]:
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def assert_same(ours: list[Parameter], theirs: list[Parameter]) -> None:
    # A flipped sign would be 2 lr = 2e-3 off; rounding is not.
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LIONS)
def test_save_there_load_here_go_on_alike(name: str) -> None:
    source, make = LIONS[name]
    theirs = parameters()
    other = make(groups_of(theirs))
    train(other, theirs, range(STEPS))
    ours = copied(theirs)
    lion = Lion(groups_of(ours), lr=0.5, weight_decay=7.0)  # wrong on purpose: theirs must win
    lion.load_state_dict(convert_state_dict(through_a_file(other.state_dict()), lion, source))
    train(other, theirs, range(STEPS, 2 * STEPS))
    train(lion, ours, range(STEPS, 2 * STEPS))
    assert_same(ours, theirs)
    assert [(g["lr"], g["weight_decay"]) for g in lion.param_groups] == [(3e-3, 0.1), (1e-3, 0.0)]


@pytest.mark.parametrize("name", [name for name in LIONS if name != "lion-pytorch"])
def test_the_source_is_recognised(name: str) -> None:
    source, make = LIONS[name]
    weights = parameters()
    other = make(groups_of(weights))
    train(other, weights, range(1))
    state = other.state_dict()
    lion = Lion(groups_of(parameters()))
    by_keys, by_name = (convert_state_dict(state, lion, which) for which in (None, source))
    assert by_keys["param_groups"] == by_name["param_groups"]
    for key, entry in by_name["state"].items():
        assert torch.equal(by_keys["state"][key]["momentum"], entry["momentum"])


def test_decoupled_decay_of_lion_pytorch_is_our_independent_decay() -> None:
    theirs = parameters()
    other = lion_pytorch.Lion(theirs, lr=3e-3, weight_decay=0.01, decoupled_weight_decay=True)
    train(other, theirs, range(STEPS))
    ours = copied(theirs)
    lion = Lion(ours, lr=3e-3, decay_mode="independent")
    lion.load_state_dict(convert_state_dict(other.state_dict(), lion))
    for optimizer in (other, lion):
        optimizer.param_groups[0]["lr"] = 1e-3  # as a scheduler does
    train(other, theirs, range(STEPS, 2 * STEPS))
    train(lion, ours, range(STEPS, 2 * STEPS))
    assert_same(ours, theirs)


def bitsandbytes_8bit(seed: int = 0) -> tuple[list[Parameter], Optimizer]:
    weights = parameters(seed)
    other = bitsandbytes.optim.Lion8bit(groups_of(weights), **SETTINGS)
    train(other, weights, range(STEPS))
    return weights, other


def test_bitsandbytes_8bit_momentum_is_read_as_bitsandbytes_reads_it() -> None:
    theirs, other = bitsandbytes_8bit()
    entry = other.state[theirs[0]]
    wanted = bitsandbytes.functional.dequantize_blockwise(
        entry["state1"], absmax=entry["absmax1"], code=entry["qmap1"], blocksize=256
    )
    lion = Lion(groups_of(copied(theirs)))
    converted = convert_state_dict(through_a_file(other.state_dict()), lion)
    assert torch.equal(converted["state"][0]["momentum"], wanted)
    assert entry["state1"].dtype == torch.uint8 and wanted.shape == SHAPES[0]


def test_the_step_after_bitsandbytes_8bit_decides_alike() -> None:
    theirs, other = bitsandbytes_8bit()
    ours = copied(theirs)
    lion = Lion(groups_of(ours))
    lion.load_state_dict(convert_state_dict(other.state_dict(), lion))
    # Later steps differ: bitsandbytes rounds its momentum to 8 bits again, ours is float32.
    train(other, theirs, range(STEPS, STEPS + 1))
    train(lion, ours, range(STEPS, STEPS + 1))
    assert_same(ours, theirs)


ADAMS: dict[str, Make] = {
    "adamw": lambda groups: AdamW(groups, lr=1e-2),
    "bitsandbytes-adamw": lambda groups: bitsandbytes.optim.AdamW(groups, lr=1e-2),
}


@pytest.mark.parametrize("source", ADAMS)
def test_from_adamw_only_the_first_moment_is_taken(source: str) -> None:
    theirs = parameters()
    adamw = ADAMS[source](groups_of(theirs))
    train(adamw, theirs, range(STEPS))
    ours = copied(theirs)
    lion = Lion(groups_of(ours), lr=1e-3, weight_decay=0.3, cautious=True)
    before = copy.deepcopy(lion.param_groups)
    lion.load_state_dict(convert_state_dict(adamw.state_dict(), lion))
    key = "exp_avg" if source == "adamw" else "state1"
    for mine, weight in zip(ours, theirs, strict=True):
        assert torch.equal(lion.state[mine]["momentum"], adamw.state[weight][key])
    for group, old in zip(lion.param_groups, before, strict=True):
        assert {k: v for k, v in group.items() if k != "params"} == {
            k: v for k, v in old.items() if k != "params"
        }
    train(lion, ours, range(STEPS, STEPS + 2))


def test_the_first_step_after_adamw_is_that_of_its_moment() -> None:
    (weight,) = weights = [Parameter(torch.randn(50))]
    adamw = AdamW(weights)
    train(adamw, weights, range(3))
    moment, start = adamw.state[weight]["exp_avg"].double(), weight.detach().clone()
    lion = Lion(weights, lr=1e-2)
    lion.load_state_dict(convert_state_dict(adamw.state_dict(), lion))
    set_gradients(weights, 3)
    assert weight.grad is not None
    wanted = start.double() - 1e-2 * torch.sign(0.9 * moment + 0.1 * weight.grad.double())
    lion.step()
    torch.testing.assert_close(weight.detach().double(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, "8bit"])
def test_theirs_becomes_ours_in_any_precision(dtype: Any) -> None:
    theirs = parameters()
    other = GoogleLion(theirs, lr=1e-3)
    train(other, theirs, range(STEPS))
    ours = copied(theirs)
    lion = Lion(ours, momentum_dtype=dtype)
    lion.load_state_dict(convert_state_dict(other.state_dict(), lion))
    kept = {torch.float32: torch.float32, torch.bfloat16: torch.bfloat16, "8bit": torch.int8}
    bound = {torch.float32: 0.0, torch.bfloat16: 2**-8, "8bit": 1.5 / 127}[dtype]
    for mine, weight in zip(ours, theirs, strict=True):
        entry, exact = lion.state[mine], other.state[weight]["exp_avg"]
        assert entry["momentum"].dtype == kept[dtype]
        error = (momentum_of(entry, mine.shape).float() - exact).abs().max()
        assert error <= bound * exact.abs().max()
    train(lion, ours, range(STEPS, STEPS + 3))
    assert all(lion.state[mine]["momentum"].dtype == kept[dtype] for mine in ours)


@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
def test_theirs_becomes_ours_for_bfloat16_weights(rounding: str) -> None:
    theirs = [Parameter(weight.detach().bfloat16()) for weight in parameters()]
    other = lion_pytorch.Lion(theirs, lr=1e-2)
    for weight in theirs:
        weight.grad = torch.ones_like(weight)
    other.step()
    ours = copied(theirs)
    lion = Lion(ours, rounding=rounding)
    lion.load_state_dict(convert_state_dict(other.state_dict(), lion))
    for weight in ours:
        weight.grad = torch.ones_like(weight)
    lion.step()
    for mine, weight in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.float(), weight.float() - 1e-2, rtol=2**-7, atol=1e-4)


READERS: dict[str, Make] = {
    name: make for name, (_, make) in LIONS.items() if name in ("google", "lion-pytorch", "timm")
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", [None, "8bit"])
def test_ours_goes_on_elsewhere(reader: str, dtype: Any) -> None:
    ours = parameters()
    lion = Lion(groups_of(ours), **SETTINGS, momentum_dtype=dtype)
    train(lion, ours, range(STEPS))
    theirs = copied(ours)
    other = READERS[reader](groups_of(theirs))
    other.load_state_dict(through_a_file(google_state_dict(lion)))
    steps = range(STEPS, STEPS + (1 if dtype == "8bit" else STEPS))  # 8 bits round again
    train(lion, ours, steps)
    train(other, theirs, steps)
    assert_same(theirs, ours)


def test_there_and_back_changes_no_bit() -> None:
    ours = parameters()
    lion = Lion(groups_of(ours), **SETTINGS)
    train(lion, ours, range(STEPS))
    copies = copied(ours)
    back = Lion(groups_of(copies), **SETTINGS)
    back.load_state_dict(convert_state_dict(google_state_dict(lion), back))
    train(lion, ours, range(STEPS, 2 * STEPS))
    train(back, copies, range(STEPS, 2 * STEPS))
    assert all(torch.equal(one, other) for one, other in zip(ours, copies, strict=True))


def test_a_parameter_without_gradient_so_far_stays_without_state() -> None:
    theirs = parameters()
    other = GoogleLion(theirs, lr=1e-3)
    set_gradients(theirs, 0)
    for weight in theirs[1:]:
        weight.grad = None
    other.state[theirs[0]]["exp_avg"] = torch.ones(SHAPES[0])
    lion = Lion(copied(theirs))
    converted = convert_state_dict(other.state_dict(), lion)
    assert list(converted["state"]) == [0]


def saved(make: Make, **changes: Any) -> dict[str, Any]:
    weights = parameters()
    other = make([{"params": weights}])
    train(other, weights, range(1))
    state = other.state_dict()
    state["param_groups"][0].update(changes)
    return state


REFUSED: dict[str, tuple[Callable[[], Any], str | None, str]] = {
    "not a state dict": (lambda: [1], None, "a state dict has 'state'"),
    "a larger checkpoint": (lambda: {"model": {}, "optimizer": {}}, None, "part of a larger"),
    "no step yet": (lambda: AdamW(parameters()).state_dict(), None, "state is empty"),
    "unknown name": (lambda: saved(LIONS["timm"][1]), "optax", "allowed are adamw"),
    "another name": (lambda: saved(ADAMS["adamw"]), "google", "not a state of 'google'"),
    "momentum SGD": (
        lambda: saved(lambda groups: torch.optim.SGD(groups, lr=1.0, momentum=0.9)),
        None,
        "not recognised: its state has .'momentum_buffer'.",
    ),
    "timm corrected": (
        lambda: saved(LIONS["timm"][1], corrected_weight_decay=True),
        None,
        "corrected_weight_decay=True",
    ),
    "fixed decay": (
        lambda: saved(LIONS["pytorch_optimizer"][1], fixed_decay=True),
        None,
        "fixed_decay=True",
    ),
    "coupled decay": (
        lambda: saved(LIONS["pytorch_optimizer"][1], weight_decouple=False),
        None,
        "weight_decouple=False",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_counterpart_is_refused(case: str) -> None:
    make, source, message = REFUSED[case]
    state = make()
    with pytest.raises(OptimizerError, match=message):
        convert_state_dict(state, Lion(parameters()), source)


def test_other_shapes_and_counts_are_refused() -> None:
    state = saved(LIONS["google"][1])
    with pytest.raises(OptimizerError, match=r"have \[4\] parameters, Lion's have \[3\]"):
        convert_state_dict(state, Lion(parameters()[:3]))
    reordered = [parameters()[i] for i in (1, 0, 2, 3)]
    with pytest.raises(OptimizerError, match=r"parameter 0 has shape \(64, 80\)"):
        convert_state_dict(state, Lion(reordered))


@pytest.mark.parametrize(
    "options", [{"cautious": True}, {"maximize": True}, {"decay_mode": "cautious"}]
)
def test_what_google_cannot_do_is_not_exported(options: dict[str, Any]) -> None:
    weights = parameters()
    lion = Lion(weights, weight_decay=0.1, **options)
    train(lion, weights, range(1))
    with pytest.raises(OptimizerError, match=f"{next(iter(options))}=.* google's Lion"):
        google_state_dict(lion)


def test_the_states_given_are_not_changed() -> None:
    state = saved(LIONS["bitsandbytes"][1])
    before = copy.deepcopy(state)
    convert_state_dict(state, Lion(parameters()))
    assert repr(state) == repr(before)


def test_every_source_has_a_test() -> None:
    tested = {source for source, _ in LIONS.values()} | set(ADAMS)
    assert tested == set(SOURCES)


def test_a_poisoned_momentum_begins_again_at_zero_and_is_told() -> None:
    """One NaN gradient freezes a weight of google's Lion for ever; ours shall not inherit it."""
    weight = torch.nn.Parameter(torch.ones(5))
    momentum = torch.tensor([0.5, float("nan"), float("inf"), -float("inf"), -0.5])
    group = {"params": [0], "lr": 0.25, "betas": (0.9, 0.99), "weight_decay": 0.0}
    saved = {"state": {0: {"exp_avg": momentum}}, "param_groups": [group]}
    lion = Lion([weight], lr=0.25)
    with pytest.warns(UserWarning, match="3 elements of the saved momentum"):
        lion.load_state_dict(convert_state_dict(saved, lion))
    assert lion.state[weight]["momentum"].tolist() == [0.5, 0.0, 0.0, 0.0, -0.5]
    assert momentum.isnan().any()  # what was given is not changed
    weight.grad = torch.ones(5)
    lion.step()
    assert weight.tolist() == [0.75, 0.75, 0.75, 0.75, 1.25]

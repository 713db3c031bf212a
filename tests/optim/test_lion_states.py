"""States that come from elsewhere: other optimizers, other shardings, other schedules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.nn import Parameter

from optforge.errors import OptimizerError
from optforge.optim import Lion, convert_state_dict, lion_from_adamw
from optforge.optim.precision.eight_bits import decode


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stepped(optimizer: torch.optim.Optimizer, steps: int = 2) -> dict[str, Any]:
    """The optimizer's state dict after some steps."""
    for step in range(steps):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = draw(*weight.shape, seed=step + 1)
        optimizer.step()
    return optimizer.state_dict()


def test_a_state_of_another_optimizer_is_refused_at_load() -> None:
    weight = Parameter(draw(5))
    foreign = stepped(torch.optim.AdamW([weight], lr=0.5))
    lion_pytorch = {"state": {0: {"exp_avg": draw(5)}}, "param_groups": foreign["param_groups"]}
    lion = Lion([weight])
    for state in (foreign, lion_pytorch):
        with pytest.raises(OptimizerError, match=r"exp_avg.*convert_state_dict"):
            lion.load_state_dict(state)
    assert lion.param_groups[0]["lr"] == 1e-4 and not lion.state
    lion.load_state_dict(convert_state_dict(foreign, lion))
    stepped(lion)


def test_optimizers_that_load_one_state_share_nothing() -> None:
    for dtype in (None, "8bit", torch.bfloat16):
        first = Lion([Parameter(draw(130, 64))], momentum_dtype=dtype)
        saved = stepped(first)
        second = Lion([Parameter(draw(130, 64))], momentum_dtype=dtype)
        second.load_state_dict(saved)
        before = {name: value.clone() for name, value in saved["state"][0].items()}
        stepped(second)
        for name, value in before.items():
            assert torch.equal(first.state_dict()["state"][0][name], value)
        assert not torch.equal(second.state_dict()["state"][0]["momentum"], before["momentum"])


def test_independent_decay_refers_to_the_peak_of_a_schedule_under_way() -> None:
    adamw = torch.optim.AdamW([Parameter(torch.ones(4))], lr=1e-2, weight_decay=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(adamw, 10)
    for _ in range(6):
        adamw.step()
        scheduler.step()
    lion = Lion(lion_from_adamw(adamw).groups, decay_mode="independent")
    group = lion.param_groups[0]
    assert group["lr"] < 0.5e-3 and group["reference_lr"] == pytest.approx(1e-3)
    cycle = torch.optim.AdamW([Parameter(torch.ones(4))], lr=1e-2, weight_decay=1e-3)
    torch.optim.lr_scheduler.OneCycleLR(cycle, 1e-2, total_steps=10, cycle_momentum=False)
    group = Lion(lion_from_adamw(cycle).groups, decay_mode="independent").param_groups[0]
    assert group["lr"] < 1e-4 and group["reference_lr"] == pytest.approx(1e-3)


def test_a_converted_state_brings_the_peak_of_its_schedule() -> None:
    group = {"params": [0], "betas": (0.9, 0.99), "weight_decay": 0.01, "lr": 2e-4}
    state = {0: {"exp_avg": torch.zeros(4)}}
    for rates, wanted in (({}, 2e-4), ({"initial_lr": 3e-3}, 3e-3), ({"lr": 0.0}, 0.5)):
        weight = Parameter(torch.ones(4))
        lion = Lion([weight], lr=0.5, decay_mode="independent")
        saved = {"state": state, "param_groups": [{**group, **rates}]}
        lion.load_state_dict(convert_state_dict(saved, lion))
        weight.grad = torch.zeros(4)
        lion.step()
        share = 0.01 * rates.get("lr", 2e-4) / wanted
        torch.testing.assert_close(weight.detach(), torch.full((4,), 1 - share))


def test_a_paper_s_decay_with_the_independent_mode_is_told() -> None:
    weight = Parameter(torch.ones(4))
    with pytest.warns(UserWarning, match="in every step at the peak rate"):
        Lion([weight], weight_decay=1.0, decay_mode="independent")
    lion = Lion([weight], weight_decay=1e-4, decay_mode="independent")
    saved = lion.state_dict()
    saved["param_groups"][0]["weight_decay"] = 0.1
    with pytest.warns(UserWarning, match="in every step at the peak rate"):
        lion.load_state_dict(saved)


@pytest.mark.parametrize(
    ("key", "right"),
    [
        *(("wd", "weight_decay"), ("decoupled", "decay_mode"), ("eps", "lion_from_adamw")),
        *(("beta1", "betas"), ("learning_rate", "lr"), ("weight_decy", "weight_decay")),
    ],
)
def test_other_words_for_group_keys_are_refused(key: str, right: str) -> None:
    with pytest.raises(OptimizerError, match=f"'{key}'; .*{right}.*Allowed are lr, betas, "):
        Lion([{"params": [Parameter(torch.ones(2))], key: 0.1}])


def test_group_keys_of_the_user_s_own_stay() -> None:
    lion = Lion([{"params": [Parameter(torch.ones(2))], "lr_scale": 0.5, "name": "head"}])
    assert lion.param_groups[0]["lr_scale"] == 0.5


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    torch.distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    yield DeviceMesh("cpu", [0])
    torch.distributed.destroy_process_group()


SHAPES = ((130, 64), (200,), (97, 131), (6, 128))  # rows of blocks, and not


def test_8_bits_gathered_from_shards_go_on_in_one_process() -> None:
    """Gathered: float32 for what cannot be sharded by rows of blocks, int8 for the others."""
    weights = [Parameter(draw(*shape)) for shape in SHAPES]
    saved = stepped(Lion(weights, momentum_dtype="8bit"))
    wide = stepped(Lion([Parameter(draw(*shape)) for shape in SHAPES]))
    for number in (1, 2):
        saved["state"][number] = wide["state"][number]
    lion = Lion([Parameter(draw(*shape)) for shape in SHAPES], momentum_dtype="8bit")
    lion.load_state_dict(saved)
    for number, weight in enumerate(lion.param_groups[0]["params"]):
        state = lion.state[weight]
        assert state["momentum"].dtype == torch.int8 and "momentum_scale" in state
        if number not in (1, 2):
            assert torch.equal(state["momentum"], saved["state"][number]["momentum"])
    codes, scale = (lion.state_dict()["state"][1][n] for n in ("momentum", "momentum_scale"))
    error = (decode(codes, scale, 64) - wide["state"][1]["momentum"]).abs()
    assert float(error.max()) <= 1.6 / 127 * float(wide["state"][1]["momentum"].abs().max())
    stepped(lion)


@pytest.mark.parametrize("settings", [{}, {"momentum_dtype": "8bit"}], ids=str)
def test_shards_are_looked_at_on_load_and_their_steps_are_seen(
    mesh: DeviceMesh, settings: dict[str, Any]
) -> None:
    """Autograd must learn of a step also where it has changed only the part that lives here."""
    weight = Parameter(distribute_tensor(draw(130, 64), mesh, [Shard(0)]))
    lion = Lion([weight], foreach=False, **settings)
    loss = weight.square().sum()
    loss.backward(retain_graph=True)
    lion.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    other = Lion([Parameter(distribute_tensor(draw(64, 64), mesh, [Shard(0)]))], **settings)
    with pytest.raises(OptimizerError, match=r"'momentum' of parameter 0 .*\(130, 64\)"):
        other.load_state_dict(lion.state_dict())
    again = Lion([weight], foreach=False, **settings)
    again.load_state_dict(lion.state_dict())
    again.step()


def test_8_bits_of_one_process_go_on_in_shards(mesh: DeviceMesh) -> None:
    saved = stepped(Lion([Parameter(draw(*shape)) for shape in SHAPES], momentum_dtype="8bit"))
    sharded = [Parameter(distribute_tensor(draw(*s), mesh, [Shard(0)])) for s in SHAPES]
    lion = Lion(sharded, momentum_dtype="8bit")
    lion.load_state_dict(saved)
    for number in (1, 2):  # those that cannot be sharded in blocks
        state, kept = lion.state[sharded[number]], saved["state"][number]
        wanted = decode(kept["momentum"].view(-1), kept["momentum_scale"].view(-1), 64)
        assert isinstance(state["momentum"], DTensor) and set(state) == {"momentum"}
        assert torch.equal(state["momentum"].full_tensor().view(-1), wanted)
    for number in (0, 3):
        for name, kept in saved["state"][number].items():
            part = lion.state[sharded[number]][name]
            assert isinstance(part, DTensor) and torch.equal(part.full_tensor(), kept)
    for weight in sharded:
        weight.grad = distribute_tensor(draw(*weight.shape), mesh, [Shard(0)])
    lion.step()

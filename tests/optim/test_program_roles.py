"""Rules that look at rows, matrices and the clock: roles of parameters, states, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

from optforge.errors import OptimizerError
from optforge.language import load_rule, mark_matrix, parameter_groups, parse
from optforge.optim.program import ProgramOptimizer
from tests.helpers.parameters import SHAMPOO, give_gradients, parameter, train

# Roles and states -------------------------------------------------------------------------------


def test_groups_and_marks_say_what_a_hidden_matrix_is() -> None:
    program = parse(
        "def train(w, g, lr):\n    u = where_matrix(1.0, 2.0)\n    u = u + g\n    return u\n"
    )
    cases = [
        (parameter(3, 2), None, True),
        (mark_matrix(parameter(3, 2)), None, False),
        (mark_matrix(parameter(3, 2)), True, True),
        (parameter(3, 2), False, False),
        (parameter(3), True, False),
        (parameter(1, 3), True, False),
    ]
    for weight, matrices, is_matrix in cases:
        optimizer = ProgramOptimizer([weight], program, matrices=matrices)
        before, weight.grad = weight.detach().clone(), torch.zeros_like(weight)
        optimizer.step()
        torch.testing.assert_close(before - weight.detach(), torch.full_like(before, 2 - is_matrix))


def test_groups_of_a_model_tell_embeddings_apart() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3))
    optimizer = ProgramOptimizer(parameter_groups(model), "muon")
    give_gradients(list(model.parameters()), 0)
    optimizer.step()
    kept = [set(optimizer.state[p]) for p in model.parameters()]
    assert kept == [{"m", "v"}, {"m"}, {"m", "v"}]  # Muon's matrices need no second moment


@pytest.mark.parametrize("name", ["shampoo", "muon"])
def test_a_rule_goes_on_after_saving_and_loading(name: str) -> None:
    program = parse(SHAMPOO) if name == "shampoo" else load_rule(name)
    paths = []
    for stop in (False, True):
        weights = [parameter(4, 3), parameter(2, 5, seed=1), parameter(3, seed=2)]
        optimizer = ProgramOptimizer(weights, program)
        train(optimizer, 3)
        if stop:
            saved = optimizer.state_dict()
            optimizer = ProgramOptimizer(weights, program)
            optimizer.load_state_dict(saved)
        paths.append(train(optimizer, 3, 3))
    assert torch.equal(*paths)


def test_states_of_another_role_are_refused() -> None:
    weight = parameter(4, 3)
    optimizer = ProgramOptimizer([weight], parse(SHAMPOO))
    train(optimizer, 1)
    assert optimizer.state[weight]["left"].shape == (4, 4)
    assert optimizer.state[weight]["right"].shape == (3, 3)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["matrices"] = False
    with pytest.raises(OptimizerError, match="must have the shape"):
        ProgramOptimizer([weight], parse(SHAMPOO)).load_state_dict(saved)
    optimizer.param_groups[0]["matrices"] = False
    with pytest.raises(OptimizerError, match="whether it is a hidden matrix"):
        train(optimizer, 1)


# The clock --------------------------------------------------------------------------------------

CLOCK = """
def train(w, g, lr):
    step = get_step()
    done = get_progress()
    u = g * step
    u = u * done
    return u
"""


def test_the_clock_counts_steps_is_saved_and_stays_at_the_end() -> None:
    weight = nn.Parameter(torch.zeros(()))
    optimizer = ProgramOptimizer([weight], parse(CLOCK), total_steps=2)
    for number, wanted in enumerate((0.5, 2.0, 3.0), 1):
        weight.data.zero_()
        weight.grad = torch.tensor(-1.0)
        if number == 3:
            saved = optimizer.state_dict()
            optimizer = ProgramOptimizer([weight], parse(CLOCK), total_steps=9)
            optimizer.load_state_dict(saved)
        optimizer.step()
        assert weight.item() == wanted and optimizer.param_groups[0]["step"] == number


def test_settings_that_are_refused() -> None:
    with pytest.raises(OptimizerError, match="pass total_steps=N"):
        ProgramOptimizer([parameter(3)], parse(CLOCK))
    for total in (0, -1, 2.5, True):
        with pytest.raises(OptimizerError, match="whole number above 0"):
            ProgramOptimizer([parameter(3)], "lion", total_steps=total)  # type: ignore[arg-type]
    with pytest.raises(OptimizerError, match="matrices must be .*, got 'all'"):
        ProgramOptimizer([parameter(3)], "muon", matrices="all")  # type: ignore[arg-type]


# Distributed ------------------------------------------------------------------------------------


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Any]:
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        dist.destroy_process_group()


def test_sharded_matrices_are_refused_and_replicated_ones_run(mesh: Any) -> None:
    start, gradient = parameter(4, 3).detach(), parameter(4, 3, seed=1).detach()
    for rule in ("muon", "adafactor"):
        plain = nn.Parameter(start.clone())
        plain.grad = gradient
        ProgramOptimizer([plain], rule).step()
        for placement in (Shard(0), Replicate()):
            weight = nn.Parameter(distribute_tensor(start, mesh, [placement]))
            weight.grad = distribute_tensor(gradient, mesh, [placement])  # type: ignore
            optimizer = ProgramOptimizer([weight], rule)
            if isinstance(placement, Shard):
                with pytest.raises(OptimizerError, match="is sharded"):
                    optimizer.step()
            else:
                optimizer.step()
                torch.testing.assert_close(weight.to_local().detach(), plain.detach())  # type: ignore

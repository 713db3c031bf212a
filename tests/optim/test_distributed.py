"""Lion on two processes (gloo), compared with one process that saw the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

from optforge.optim.lion import Lion
from tests.helpers import ranks
from tests.helpers.empty_shards import COMPILED, PATHS
from tests.helpers.ranks import (
    LR,
    OPTIONS,
    RANKS,
    RULES,
    STEPS,
    Weights,
    build,
    one_process,
    train,
    train_rule,
    weights_of,
)

ROOT = Path(__file__).parents[2]


Results = Callable[[str], list[Any]]


def run_ranks(folder: Path, *cases: str) -> Results:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", ranks.__name__]
    processes = [
        subprocess.Popen([*command, str(rank), str(folder), *cases], env=environment, cwd=ROOT)
        for rank in range(RANKS)
    ]
    try:
        codes = [rank.wait(timeout=240) for rank in processes]
    finally:
        for rank in processes:
            rank.kill()
    assert codes == [0, 0]

    def of(name: str) -> list[Any]:
        found = [
            torch.load(folder / f"{name} {rank}.pt", weights_only=False) for rank in range(RANKS)
        ]
        for rank, one in enumerate(found):
            assert "error" not in one, f"rank {rank}:\n{one['error']}"
        return found

    return of


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_ranks(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return run_ranks(tmp_path_factory.mktemp("compiled"), "slow")


def assert_equal(one: Weights, other: Weights) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def assert_close(one: Weights, other: Weights, name: str) -> None:
    """The same up to rounding, a flipped sign (2 lr) being none, or for few elements."""
    assert one.keys() == other.keys()
    ours = torch.cat([one[key].float().flatten() for key in one])
    theirs = torch.cat([other[key].float().flatten() for key in one])
    dtype, options = OPTIONS[name]
    # A mean over two ranks rounds otherwise than over the batch: in float32 that flips no sign
    # here; with 8 or 16 bits and after rounding at random it does, for a few elements.
    allowed = 0.0 if dtype == torch.float32 and "momentum_dtype" not in options else 0.03
    off = (ours - theirs).abs() > (1e-5 if dtype == torch.float32 else LR)
    assert off.float().mean() <= allowed


@pytest.mark.parametrize("name", OPTIONS)
def test_replicated_ranks_agree_bit_by_bit(results: Results, name: str) -> None:
    first, second = results(f"replicated {name}")
    assert_equal(first, second)
    assert_close(first, one_process(name), name)


@pytest.mark.parametrize("name", OPTIONS)
def test_sharded_is_one_process(results: Results, name: str) -> None:
    first, second = results(f"sharded {name}")
    assert_equal(first, second)
    assert_close(first, one_process(name), name)


@pytest.mark.parametrize("name", [*RULES, "program_8 fused"])
def test_a_sharded_rule_is_one_process(results: Results, name: str) -> None:
    first, second = results(f"rule {name}")
    assert_equal(first, second)
    rule = RULES[name.removesuffix(" fused")]
    wanted = train_rule(build(torch.float64), rule, False, slice(None))
    start = weights_of(build(torch.float64))
    for key, value in wanted.items():
        assert not torch.equal(value, start[key])
        torch.testing.assert_close(first[key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "8 bits", "kahan", "stochastic"])
def test_a_distributed_checkpoint_goes_on_bit_by_bit(results: Results, name: str) -> None:
    for found in results(f"checkpoint {name}"):
        assert_equal(found["straight"], found["resumed"])


def test_a_gathered_state_goes_on_in_one_process(results: Results) -> None:
    found = results("full state")[0]
    model = build()
    model.load_state_dict(found["weights"])
    lion = Lion(model.named_parameters(), lr=LR)
    set_optimizer_state_dict(
        model, lion, found["lion"], options=StateDictOptions(full_state_dict=True)
    )
    train(model, lion, range(STEPS, STEPS + 2))
    assert_close(weights_of(model), found["later"], "plain")


def test_zero_redundancy_is_one_process(results: Results) -> None:
    first, second = results("zero")
    assert_equal(first, second)
    assert_close(first, one_process("plain"), "plain")


def test_all_ranks_skip_what_one_rank_cannot_use(results: Results) -> None:
    for found in results("skip"):
        assert all(not change.any() for change in found.values())


def test_all_ranks_raise_what_one_rank_cannot_use(results: Results) -> None:
    first, second = (found["message"] for found in results("raise"))
    assert "on another rank" in first
    assert "number 0 of its group" in second


def test_each_rank_measures_its_part(results: Results) -> None:
    found = results("diagnostics")
    assert all(one["elements"] == one["local"] for one in found)
    assert sum(one["elements"] for one in found) == sum(p.numel() for p in build().parameters())
    assert all(one["flips"] == 0 for one in found)


def test_8_bit_state_is_sharded_by_rows_and_vectors_stay_float32(results: Results) -> None:
    for found in results("state"):
        assert found["0.weight"] == {
            "momentum": ("torch.int8", (96, 64), True),
            "momentum_scale": ("torch.bfloat16", (96, 1), True),
        }
        assert found["0.bias"] == {"momentum": ("torch.float32", (96,), True)}


def assert_one_process_s_weights(ranks_weights: list[Any], paths: Mapping[str, Any]) -> None:
    for rank in ranks_weights:
        assert rank.keys() == paths.keys()
        for name, (sharded, resumed, plain) in rank.items():
            for key, wanted in plain.items():
                # Gradients of bfloat16 are summed over ranks in another order.
                bound = 0.05 if wanted.dtype == torch.bfloat16 else 1e-5
                torch.testing.assert_close(sharded[key], wanted, rtol=0, atol=bound, msg=name)
                torch.testing.assert_close(resumed[key], sharded[key], rtol=0, atol=0, msg=name)


def test_where_a_rank_holds_nothing_every_path_gives_one_process_s_weights(
    results: Results,
) -> None:
    assert_one_process_s_weights(results("empty shards"), PATHS)


@pytest.mark.slow
def test_where_a_rank_holds_nothing_compiled_paths_give_one_process_s_weights(
    compiled: Results,
) -> None:
    assert_one_process_s_weights(compiled("empty shards, compiled"), COMPILED)

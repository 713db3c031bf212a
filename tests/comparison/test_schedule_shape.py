"""The shape of the schedule is tuned like everything else, and changes nothing where it is not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from optforge.comparison import (
    Cell,
    CellTable,
    Comparison,
    ComparisonSettings,
    Recipe,
    load_recipe,
    run_comparison,
    vary,
)
from optforge.comparison.cells.runner import Runner
from optforge.comparison.cells.train import run_cell
from optforge.comparison.recipes.recipe import TUNED, tuned_recipes
from optforge.comparison.schedules import SCHEDULES
from optforge.comparison.suite import comparison_from
from optforge.errors import CompareError
from optforge.report.comparison.page import to_markdown
from optforge.tasks import Schedule
from optforge.tuning import SHAPE, Dimension, Space, dimensions_from, setting_of
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs

ALL = (*TUNED, "schedule")
SETTING = (("beta1", 0.9), ("lr", 0.1), ("weight_decay", 0.01))
SHAPED = (*SETTING, ("decay_power", 0.5), ("final_lr", 0.2), ("warmup", 0.3))


class RatesSeen(torch.optim.SGD):
    """Notes the rate of every step."""

    seen: list[float] = []

    def step(self, closure: Any = None) -> Any:
        RatesSeen.seen.append(self.param_groups[0]["lr"])
        return super().step(closure)


def rates(setting: tuple[tuple[str, float], ...], **changes: Any) -> list[float]:
    RatesSeen.seen = []
    task = Blobs()
    recipe = load_recipe("seen", RatesSeen, space={"lr": [1e-3, 1.0]}, **changes)
    run_cell(vary(task, {}), recipe, Cell(task.name, "seen", setting, 3))
    return RatesSeen.seen


def test_schedule_adds_three_dimensions_to_every_recipe() -> None:
    for name in ("adamw", "lion", "sgd", "addsign"):
        recipe = load_recipe(name)
        (tuned,) = tuned_recipes([recipe], ALL)
        assert tuned.space.names == (*recipe.space.names, "warmup", "decay_power", "final_lr")
        assert tuned.content_key == recipe.content_key


@pytest.mark.parametrize("name", list(SHAPE))
def test_each_dimension_has_its_own_name(name: str) -> None:
    (tuned,) = tuned_recipes([load_recipe("sgd")], ["lr", name])
    assert tuned.space.names == ("lr", name)


def test_by_default_the_schedule_is_not_tuned() -> None:
    (tuned,) = tuned_recipes([load_recipe("sgd")], ComparisonSettings().tune)
    assert not SHAPE.keys() & set(tuned.space.names)


def test_a_constant_schedule_has_only_its_warmup_tuned() -> None:
    (tuned,) = tuned_recipes([load_recipe("sgd", schedule="constant")], ["lr", "schedule"])
    assert tuned.space.names == ("lr", "warmup")
    with pytest.raises(CompareError, match="tunes 'final_lr', which changes nothing"):
        load_recipe("sgd", schedule="constant", space={"lr": [0.1, 1], "final_lr": [0, 0.5]})


def test_ones_own_ranges_of_the_shape_are_kept() -> None:
    recipe = load_recipe("sgd", space={"lr": [0.1, 1.0], "final_lr": [0, 0.1]})
    (tuned,) = tuned_recipes([recipe], ALL)
    assert tuned.space.names == ("lr", "final_lr", "warmup", "decay_power")
    assert (tuned.space.dimensions[1].low, tuned.space.dimensions[1].high) == (0.0, 0.1)
    assert {dict(s)["final_lr"] for s in tuned.space.quasi_random(64, 0)} >= {0.0, 0.1}


def test_the_rate_follows_the_schedule_of_the_setting() -> None:
    shape = Schedule(warmup=0.3, power=0.5, final=0.2)
    assert rates(SHAPED) == [0.1 * value for value in shape.values(20)]


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_power_and_end_act_after_the_warmup(name: str) -> None:
    found = [rate / 0.1 for rate in rates(SHAPED, schedule=name)]
    plain = [SCHEDULES[name](step, 20, 0.3) for step in range(20)]
    assert found[:6] == pytest.approx(plain[:6])
    assert found[6:] == pytest.approx([0.2 + 0.8 * math.sqrt(value) for value in plain[6:]])


def test_the_shape_leaves_a_constant_schedule_alone() -> None:
    plain = (*SETTING, ("warmup", 0.3))
    assert rates(SHAPED, schedule="constant") == pytest.approx(rates(plain, schedule="constant"))


@pytest.mark.parametrize("name", list(SCHEDULES))
@pytest.mark.parametrize("warmup", [0.0, 0.1, 1.0])
def test_a_plain_shape_is_the_plain_schedule_to_the_last_bit(name: str, warmup: float) -> None:
    decay = SCHEDULES[name]
    for steps in (1, 7, 160):
        shape = load_recipe("sgd", schedule=name).shape(SETTING, warmup)
        found = [shape.value(step, steps, decay) for step in range(steps)]
        assert found == [decay(step, steps, warmup) for step in range(steps)]


def test_keys_without_a_shape_are_as_ever() -> None:
    """Committed tables go on: these digits must never change."""
    recipe = load_recipe("powersign")
    assert recipe.content_key == "129443f5000ccae1"
    assert (
        Cell("t", "powersign", SETTING, 3).key("task", recipe.content_key, 5)
        == "05e7d8d4533efdec6f93"
    )


def test_zero_is_a_level_of_the_final_rate() -> None:
    final = SHAPE["final_lr"]
    drawn = [dict(s)["final_lr"] for s in Space((final,)).quasi_random(16, 5)]
    assert sorted(drawn) == pytest.approx([0.02 * level for level in range(16)])
    assert final.grid(1) == (0.0,) and final.grid(3) == pytest.approx((0.0, 0.1, 0.2))


def test_the_final_rate_grows_upwards_and_no_further_than_the_peak() -> None:
    space = Space((SHAPE["final_lr"],))
    assert space.edges(setting_of({"final_lr": 0.0})) == {}
    assert space.edges(setting_of({"final_lr": 0.3})) == {"final_lr": 1}
    for _ in range(6):
        space = space.extended({"final_lr": 1})
    assert space.dimensions[0].high == 1.0
    assert space.edges(setting_of({"final_lr": 1.0})) == {}


def test_a_linear_range_without_a_ceiling_does_not_grow() -> None:
    space = Space((Dimension("eps", 0.0, 1.0, log=False),))
    assert space.edges(setting_of({"eps": 1.0})) == {}


@pytest.mark.parametrize("middle", [0.0, 0.16, 0.3])
def test_a_box_about_a_final_rate_has_levels_inside_of_the_range(middle: float) -> None:
    box = Space((SHAPE["final_lr"],)).around(setting_of({"final_lr": middle}), {})
    drawn = [dict(s)["final_lr"] for s in box.quasi_random(32, 0)]
    assert 0.0 <= min(drawn) < max(drawn) <= 0.3
    assert all(abs(value - middle) < 0.0451 for value in drawn)
    assert (0.0 in drawn) == (middle == 0.0)


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"final_lr": [0.0, 2.0]}, r"final_lr is 0 to 2; it is a share of the peak"),
        ({"final_lr": [-0.1, 0.5]}, r"final_lr is -0.1 to 0.5"),
        ({"warmup": [0.01, 2]}, r"warmup is 0.01 to 2; it is a share of the steps"),
        ({"decay_power": [0, 2]}, r"decay_power begins at 0"),
    ],
)
def test_impossible_ranges_of_the_shape_are_refused(ranges: dict, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        dimensions_from(ranges)


def test_a_fixed_shape_is_refused() -> None:
    with pytest.raises(CompareError, match="fixes 'decay_power', which is the schedule's; tune it"):
        load_recipe("adamw", fixed={"decay_power": 0.5})


class Bounded(torch.optim.SGD):
    """Has a final rate of its own, as AdaBound does."""

    def __init__(self, params: Any, lr: float = 0.1, final_lr: float = 0.1) -> None:
        super().__init__(params, lr=lr)
        self.final = final_lr


def test_an_optimizer_may_have_a_final_rate_of_its_own() -> None:
    recipe: Recipe = load_recipe("bounded", Bounded, space={"lr": [0.1, 1], "final_lr": [0.1, 4]})
    assert recipe.shape((("final_lr", 0.5),), 0.1) == Schedule(0.1)
    optimizer = recipe.make(torch.nn.Linear(2, 2), (("final_lr", 0.5), ("lr", 0.1)))
    assert isinstance(optimizer, Bounded) and optimizer.final == 0.5
    assert load_recipe("bounded", Bounded, fixed={"final_lr": 0.7}).fixed == (("final_lr", 0.7),)
    plain = load_recipe("bounded", Bounded, space={"lr": [0.1, 1]})
    assert plain.tuning(["lr", "schedule"]).space.names == ("lr", "warmup", "decay_power")


def test_a_suite_names_the_schedule() -> None:
    made: Comparison = comparison_from(
        {"tasks": ["digits_mlp"], "optimizers": ["sgd"], "settings": {"tune": ["lr", "schedule"]},
         "recipes": {"sgd": {"space": {"lr": [0.1, 1.0], "final_lr": [0, 0.2]}}}}
    )  # fmt: skip
    assert made.tuned_recipes[0].space.names == ("lr", "final_lr", "warmup", "decay_power")


def test_a_report_has_the_shape_in_settings_and_ranges() -> None:
    comparison = few("adamw", "sgd", tune=("lr", "schedule"), extensions=1)
    found, _ = run_comparison(comparison, Runner(comparison.bench, CellTable(None)))
    assert {"decay_power", "final_lr", "warmup"} < dict(found.tasks[0].tuned["sgd"].best).keys()
    text = to_markdown(comparison, found, [])
    assert "tuned: lr, schedule" in text
    assert "warmup 0.01 to 0.3, decay_power 0.25 to 2, final_lr 0 to 0.3" in text
    assert "final_lr: share of the peak rate at the end" in text

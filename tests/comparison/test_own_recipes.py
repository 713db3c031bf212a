"""Recipes of one's own: all that is written is used, or refused in a sentence."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from optforge.api.comparison import _recipes
from optforge.comparison import load_recipe
from optforge.comparison.recipes.recipe import TUNED, Recipe, ranges_of, tuned_recipes
from optforge.comparison.settings import ComparisonSettings
from optforge.errors import CompareError
from optforge.language import rule_text
from optforge.tuning import Dimension, Space, dimensions_from, setting_of

OPTIMIZER = """
import torch
import base_of_mine
from base_of_mine import FACTOR

class Mine(base_of_mine.Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr=lr * FACTOR)
"""
BESIDE = """
import torch
FACTOR = 1.0

class Base(torch.optim.SGD):
    def step(self, closure=None):
        return super().step(closure)
"""


@pytest.fixture
def content_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The content key of an optimizer in these files, as a fresh process after an edit gives it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def of(optimizer: str = OPTIMIZER, beside: str = BESIDE, folder: str = "a") -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "mine.py").write_text(optimizer)
        (tmp_path / folder / "base_of_mine.py").write_text(beside)
        kept = [name for name in sys.modules if name.startswith("optforge_optimizer_")]
        for name in ("base_of_mine", *kept):
            sys.modules.pop(name, None)
        return load_recipe(f"{tmp_path / folder / 'mine.py'}:Mine").content_key

    return of


def test_a_file_is_known_by_what_it_imports_of_ones_own(content_key: Callable[..., str]) -> None:
    first = content_key()
    edits = [
        content_key(beside=BESIDE.replace("FACTOR = 1.0", "FACTOR = 0.5")),
        content_key(beside=BESIDE.replace("return super().step(closure)", "return None")),
        content_key(OPTIMIZER.replace("lr * FACTOR", "FACTOR")),
    ]
    assert len({first, *edits}) == 4
    assert content_key() == first == content_key(folder="b")
    assert content_key("# mine\n" + OPTIMIZER) != first  # a comment counts as well


@pytest.mark.parametrize(
    "name", ["timm:adan", "pytorch_optimizer:adan", "pytorch_optimizer:ademamix"]
)
def test_optimizers_with_three_betas_make_a_step(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.source.tunable("beta3") and not load_recipe("adamw").source.tunable("beta3")
    model = nn.Linear(3, 2)
    optimizer = recipe.make(model, recipe.space.grid(1)[0])
    assert len(optimizer.param_groups[0]["betas"]) == 3
    model(torch.ones(1, 3)).sum().backward()
    before = model.weight.detach().clone()
    optimizer.step()
    optimizer.step()
    assert not torch.equal(before, model.weight)
    space = {"lr": [1e-4, 1e-2], "one_minus_beta3": [1e-4, 1e-2]}
    wider = load_recipe(name, space=space)  # type: ignore[arg-type]
    first, second, third = wider.make(model, wider.space.grid(1)[0]).defaults["betas"]
    defaults = recipe.source.defaults
    assert (first, second) == (defaults["beta1"], defaults["beta2"])
    assert third == pytest.approx(0.999)


OWN = {"lr": [1e-3, 1e-2], "eps": [1e-9, 1e-6], "beta1": [0.8, 0.99]}


def tuned(space: dict[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    recipe = load_recipe("adamw", space=space)
    return tuned_recipes([recipe], names)[0].space.names


def test_all_dimensions_of_a_space_of_ones_own_are_tuned() -> None:
    assert tuned(OWN, ComparisonSettings().tune) == ("lr", "eps", "beta1")
    assert tuned(OWN, ("lr", "eps")) == ("lr", "eps")
    assert tuned(OWN, ("lr", "betas")) == ("lr", "beta1")
    assert tuned({"lr": [1e-3, 1e-2], "one_minus_beta1": [0.1, 0.5]}, ("beta1",)) == (
        "one_minus_beta1",
    )
    sgd = load_recipe("torch:SGD", space={"lr": [0.01, 1.0], "momentum": [0.5, 0.99]})
    assert tuned_recipes([sgd], ["betas"])[0].space.names == ("momentum",)


def test_the_spaces_of_presets_are_tuned_as_ever() -> None:
    for name in ("adamw", "lion", "sgd"):
        recipe = load_recipe(name)
        assert recipe.tuning(TUNED).space == recipe.space == recipe.space.only(TUNED)


class Damped(torch.optim.SGD):
    def __init__(
        self, params: Any, lr: float = 0.1, momentum: float = 0.9, damping: float = 3.0,
        nesterov: bool = False, offset: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, momentum, nesterov=nesterov)
        self.damping, self.offset = damping, offset


def test_any_argument_of_ones_own_class_is_tuned_by_name() -> None:
    recipe = load_recipe("mine", Damped)
    space = tuned_recipes([recipe, load_recipe("adamw")], ["lr", "momentum", "damping"])[0].space
    assert space.names == ("lr", "one_minus_beta1", "damping")
    assert ranges_of(recipe.tuning(["damping"])) == {"damping": (0.1, 90.0)}
    for setting in space.quasi_random(3, 0):
        made = recipe.make(torch.nn.Linear(2, 1), setting)
        values = dict(setting)
        assert isinstance(made, Damped) and made.damping == values["damping"]
        assert made.param_groups[0]["momentum"] == values["beta1"] < 1
    for name in ("nesterov", "nothing"):
        with pytest.raises(CompareError, match=f"no optimizer has '{name}' .* need a range"):
            tuned_recipes([recipe], ["lr", name])
    whole = load_recipe("mine", Damped, {"lr": [0.01, 0.1]}).tuning(TUNED)
    assert whole.space.names == ("lr",), "a space of one's own stays as it is"


def test_a_name_that_nobody_can_tune_is_refused() -> None:
    both = [load_recipe("adamw"), load_recipe("sgd")]
    with pytest.raises(CompareError, match=r"no optimizer has 'weight_dcay' to tune; .*weight_dec"):
        tuned_recipes(both, ["lr", "weight_dcay"])
    assert [r.space.names for r in tuned_recipes(both, ["lr", "beta2"])] == [
        ("lr", "one_minus_beta2"), ("lr",),
    ]  # fmt: skip
    with pytest.raises(CompareError, match="nothing of sgd is tuned by beta2"):
        tuned_recipes(both, ["beta2"])
    assert "warmup" in tuned_recipes(both, ["lr", "warmup"])[0].space.names


@pytest.mark.parametrize("name", ["beta1", "beta3", "momentum"])
def test_what_remembers_never_grows_to_one(name: str) -> None:
    space = Space(dimensions_from({"lr": [1e-3, 1e-2], name: [0.9, 0.99]}))
    for _ in range(5):
        space = space.extended({name: 1})
    assert 0.99 < space.dimensions[1].high < 1
    assert space.edges(setting_of({"lr": 3e-3, name: space.dimensions[1].high})) == {}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_grid_has_the_centres_of_its_cells(count: int) -> None:
    rate = Dimension("lr", 1e-4, 1e-1)
    positions = [rate.position(value) for value in rate.grid(count)]
    assert positions == pytest.approx([(n + 0.5) / count for n in range(count)])


def test_no_setting_of_the_default_grid_lies_at_an_edge() -> None:
    space = load_recipe("adamw").space
    assert [space.edges(setting) for setting in space.grid(ComparisonSettings().trials)] == [
        {}
    ] * 16


@pytest.mark.parametrize("clip", [0, -1.0, "x", True, math.nan, math.inf])
def test_a_clip_that_is_no_norm_is_refused(clip: Any) -> None:
    with pytest.raises(CompareError, match=r"clip .* of adamw; give the largest norm"):
        load_recipe("adamw", clip=clip)


def test_a_fixed_warmup_is_refused_and_a_tuned_one_is_not() -> None:
    with pytest.raises(CompareError, match="adamw fixes 'warmup', which is the task's"):
        load_recipe("adamw", fixed={"warmup": 0.9})
    assert load_recipe("adamw", space={"lr": [1e-3, 1e-2], "warmup": [0.01, 0.5]})


class Rate:
    """An object that a user fixes."""

    def __init__(self, value: float) -> None:
        self.value = value


def test_objects_that_are_fixed_enter_by_content_and_not_by_address() -> None:
    recipes: list[Recipe] = [
        load_recipe("adamw", fixed={"rate": Rate(value)}) for value in (1.0, 1.0, 2.0)
    ]
    first, again, other = (recipe.content_key for recipe in recipes)
    assert first == again != other


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": -1}, "seed is -1; it must be a number of at least 0"),
        ({"sensitivity": 10**20}, "it must be a number of at least 0, and at most 1000000"),
        (
            {"seed": 2**32},
            "seed is 4294967296; it must be a number of at least 0, and at most 2147483648",
        ),
        ({"seed": "x"}, "seed is 'x'"),
        ({"seeds": True}, "seeds is True; it must be a whole number"),
        ({"trials": None}, "trials is None"),
        ({"tune": "lr"}, "tune is 'lr'; give a list of names"),
        ({"extras": "flatness"}, "extras is 'flatness'; give a list of names"),
        ({"tune": [3]}, "give a list of names"),
        ({"heat_map": "55"}, "heat_map is '55'; give two counts"),
        ({"heat_map": [5, -1]}, "give two counts"),
        ({"heat_map": [5, "a"]}, "give two counts"),
        ({"heat_map": 5}, "give two counts"),
        ({"sampler": ["grid"]}, "choose sobol or grid"),
    ],
)
def test_settings_of_the_wrong_kind_are_told_in_a_sentence(values: dict, says: str) -> None:
    with pytest.raises(CompareError, match=says):
        ComparisonSettings.read(values)
    with pytest.raises(CompareError, match="settings is 5; write a table"):
        ComparisonSettings.read(5)  # type: ignore[arg-type]


def test_files_that_cannot_be_run_are_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import torch\nclass Mine(torch.optim.SGD:\n")
    (tmp_path / "note.md").write_text("torch")
    for name, says in (
        ("broken.py:Mine", "the optimizer file .*broken.py cannot be run: SyntaxError"),
        ("note.md:Mine", "note.md"),
        ("missing.py:Mine", "the optimizer file .*missing.py cannot be read"),
    ):
        with pytest.raises(CompareError, match=says):
            load_recipe(f"{tmp_path}/{name}")


class Shifted(torch.optim.SGD):
    """An optimizer with arguments whose defaults are no middle of a range."""

    def __init__(self, params: Any, lr: float = 0.1, offset: float = 0.0, shift: float = -1.0):
        super().__init__(params, lr=lr)


def test_an_argument_that_is_0_by_default_has_a_range_and_one_below_needs_it() -> None:
    mine = load_recipe("mine", Shifted)
    (tuned,) = tuned_recipes([mine], ["lr", "offset"])
    assert ranges_of(tuned)["offset"] == pytest.approx((0.001, 0.9))
    with pytest.raises(CompareError, match=r"'shift' to tune.*at least 0; others need a range"):
        tuned_recipes([mine], ["lr", "shift"])
    (given,) = tuned_recipes([load_recipe("mine", Shifted, {"shift": [0.1, 1.0]})], ["shift"])
    assert ranges_of(given) == {"shift": (0.1, 1.0)}


def test_numbers_of_numpy_and_paths_are_taken_by_recipes(tmp_path: Path) -> None:
    (tmp_path / "lr=0.1,wd=1").mkdir()
    place = tmp_path / "lr=0.1,wd=1" / "rule.txt"
    place.write_text(rule_text("signum"))
    given = load_recipe(
        "mine", place, {"lr": [np.float32(0.25), np.int64(1)]},  # type: ignore[list-item]
        clip=np.float32(0.5),
        fixed={"beta1": np.float64(0.5)},
    )  # fmt: skip
    plain = load_recipe("mine", str(place), {"lr": [0.25, 1]}, clip=0.5, fixed={"beta1": 0.5})
    assert (given.space, given.clip, given.fixed) == (plain.space, plain.clip, plain.fixed)
    assert given.content_key == plain.content_key
    assert [recipe.name for recipe in _recipes([place])] == ["rule.txt"]
    assert [recipe.name for recipe in _recipes({"mine": place})] == ["mine"]
    for name in (5, "", None):
        with pytest.raises(CompareError, match="give it a name, which is a text"):
            _recipes({name: "adamw"})  # type: ignore[dict-item]

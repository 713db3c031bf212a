"""One step of every optimizer on every set of shapes comes before anything else."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from optforge.comparison import Comparison, load_recipe, variants
from optforge.comparison.comparison import check
from optforge.errors import CompareError
from tests.helpers.comparisons import few
from tests.helpers.tiny import Blobs


def recipe(kind: type[torch.optim.Optimizer], name: str = "o") -> Any:
    return load_recipe(name, kind, space={"lr": [0.01, 0.1]})


class Refusing(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        raise ValueError("no first step")


class Raising(torch.optim.SGD):
    def __init__(self, params: Any, lr: float) -> None:
        raise IndexError("tuple index out of range")


class Widths(Blobs):
    width = 4

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(4, self.width), nn.Tanh(), nn.Linear(self.width, 3))


class OnlyNarrow(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:
        if any(p.numel() > 40 for p in self.param_groups[0]["params"]):
            raise ValueError("too wide")
        return super().step(closure)


def test_a_setting_that_is_refused_is_told_when_costs_are_measured() -> None:
    asked = few(load_recipe("o", Refusing, space={"lr": [0.01, 0.1]}))
    with pytest.raises(CompareError, match=r"o \(lr=.*cannot be trained on Blobs: .*no first step"):
        asked.plan()


def test_an_optimizer_that_cannot_be_made_is_refused_with_advice() -> None:
    with pytest.raises(CompareError, match="cannot be compared on Blobs: .*tuple index.*leave it"):
        check(few(recipe(Raising)))


class Noting(torch.optim.SGD):
    """Keeps the width of every model that it is made for."""

    widths: ClassVar[list[int]] = []

    def __init__(self, params: Any, lr: float) -> None:
        parameters = list(params)
        self.widths.append(len(parameters[0]))
        super().__init__(parameters, lr)


def test_every_set_of_shapes_is_tried_once() -> None:
    axes = {"width": [4, 4 * 4], "batch_size": [8, 16]}
    asked, settings = variants([Widths()], axes, {}), few("adamw").settings
    with pytest.raises(CompareError, match="too wide"):
        check(Comparison(asked, (recipe(OnlyNarrow),), settings))
    check(Comparison(asked, (recipe(Noting),), settings))
    assert Noting.widths == [4, 16]

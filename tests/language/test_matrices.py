"""Which parameters are hidden matrices, and the groups that they make."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

from optforge.language import hidden_matrices, mark_matrix, may_be_matrix, parameter_groups


class Model(nn.Module):
    """A little of everything: looked up, tied, convolved, normed, frozen, positions of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4)
        self.positions = mark_matrix(nn.Parameter(torch.zeros(3, 4)))
        self.conv = nn.Conv2d(2, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 1, groups=4, bias=False)
        self.norm = nn.LayerNorm(4)
        self.hidden = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4, bias=False).requires_grad_(False)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.tokens.weight


EXPECTED = {
    **{"positions": False, "tokens.weight": False, "conv.weight": True, "conv.bias": False},
    **{"depthwise.weight": False, "norm.weight": False, "norm.bias": False},
    **{"hidden.weight": True, "hidden.bias": False, "frozen.weight": True},
}


def named(model: nn.Module) -> dict[str, bool]:
    names = [name for name, _ in model.named_parameters()]
    return dict(zip(names, hidden_matrices(model), strict=True))


def test_hidden_matrices_are_what_is_multiplied_and_not_looked_up() -> None:
    assert named(Model()) == EXPECTED


def test_a_mark_decides_against_the_kind_of_module_too() -> None:
    model = Model()
    mark_matrix(cast(nn.Parameter, model.tokens.weight), True)
    mark_matrix(cast(nn.Parameter, model.hidden.weight))
    marked = {"tokens.weight": True, "hidden.weight": False}
    assert named(model) == {**EXPECTED, **marked}
    mark_matrix(model.hidden.bias, True)  # has one side: no mark makes it a matrix
    assert named(model)["hidden.bias"] is False


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), False), ((3,), False), ((3, 1), False), ((1, 3), False), ((2, 2), True)]
    + [((2, 1, 2), True), ((4, 1, 1, 1), False), ((0, 2), False)],
)
def test_a_tensor_alone_is_judged_by_its_sides(shape: tuple[int, ...], expected: bool) -> None:
    assert may_be_matrix(torch.zeros(shape)) is expected
    assert may_be_matrix(mark_matrix(nn.Parameter(torch.zeros(shape)))) is False


def test_groups_hold_every_parameter_that_is_trained_once() -> None:
    model = Model()
    matrices, others = parameter_groups(model)
    assert matrices["matrices"] is True and others["matrices"] is False
    names = {id(p): name for name, p in model.named_parameters()}
    found = [[names[id(p)] for p in group["params"]] for group in (matrices, others)]  # type: ignore
    assert found[0] == ["conv.weight", "hidden.weight"]
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sorted(found[0] + found[1]) == sorted(trained)


def test_a_named_parameter_is_no_matrix() -> None:
    matrices, _ = parameter_groups(Model(), ["hidden.weight"])
    assert len(matrices["params"]) == 1  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no parameter 'nothing'; it has positions"):
        parameter_groups(Model(), ["nothing"])


def test_an_empty_group_is_left_out() -> None:
    (group,) = parameter_groups(nn.LayerNorm(4))
    assert group["matrices"] is False
    (group,) = parameter_groups(nn.Linear(4, 4, bias=False))
    assert group["matrices"] is True

"""The whole contract of a task is checked before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optforge.api.comparison import compare
from optforge.errors import CompareError, TaskError
from optforge.tasks import Data, Split, Task, check_task, has_metric
from tests.helpers.tiny import Blobs


class Robot(Task):
    """Three float targets [N, 3]; the metric is the default."""

    cache_key = "robot"  # type: ignore[assignment]
    steps, batch_size = 5, 8
    outputs, targets = 3, (3,)

    def data(self) -> Data:
        x = torch.linspace(-1, 1, 90)[:, None].repeat(1, 4)
        y = torch.linspace(0, 1, 90).repeat(*self.targets, 1).movedim(-1, 0).contiguous()
        return Data(*(Split(x[i::3], y[i::3]) for i in range(3)))

    def model(self) -> nn.Module:
        return nn.Linear(4, self.outputs)

    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output - targets).square().mean()


def test_a_regression_has_no_metric_unless_it_gives_one() -> None:
    task = Robot()
    check_task(task)
    part = task.splits.validation
    assert task.metric(torch.zeros(30, 3), part.targets).isnan()
    column = torch.zeros(2000, 1)
    assert task.metric(column, column).isnan()  # and no [2000, 2000] on the way


def test_a_comparison_cannot_choose_by_a_metric_that_is_not_there() -> None:
    assert not has_metric(Robot()) and has_metric(Squeezed()) and has_metric(Blobs())
    few = {"trials": 1, "seeds": 2, "finalists": 1, "again": 0, "extensions": 0}
    with pytest.raises(CompareError, match=r"Robot has none.*give it a metric\(\)"):
        compare([Robot()], ["adamw", "lion"], workers=0, objective="metric", **few)


def test_accuracy_fits_classes_of_any_shape() -> None:
    output = torch.eye(4)
    for targets in (torch.arange(4), torch.arange(4)[:, None]):
        assert Robot().metric(output, targets).item() == 1.0
    assert Robot().metric(output, torch.tensor([0, 0, 2, 0])).item() == 0.5


class Flat(Robot):
    """Outputs [N, 1] against targets [N]: the difference is [N, N]."""

    outputs, targets = 1, ()


class FlatMetric(Flat):
    def loss(self, output: Tensor, targets: Tensor) -> Tensor:
        return (output[:, 0] - targets).square().mean()

    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        return -(output - targets).abs().mean()


class Squeezed(FlatMetric):
    def metric(self, output: Tensor, targets: Tensor) -> Tensor:
        return -(output.squeeze(1) - targets).abs().mean()


def test_outputs_are_not_paired_with_all_targets() -> None:
    with pytest.raises(TaskError, match=r"loss\(\) pairs every output with every target"):
        check_task(Flat())
    with pytest.raises(TaskError, match=r"metric\(\) pairs every output with every target"):
        check_task(FlatMetric())
    check_task(Squeezed())


class BadOnTest(Robot):
    """Two targets on the test split alone."""

    def data(self) -> Data:
        data = super().data()
        return Data(data.train, data.validation, Split(data.test.inputs, data.test.targets[:, :2]))


class NumberMetric(Robot):
    def metric(self, output: Tensor, targets: Tensor) -> Any:
        return 0.5


class NumberLoss(Robot):
    def loss(self, output: Tensor, targets: Tensor) -> Any:
        return 0.5


class Frozen(Robot):
    def model(self) -> nn.Module:
        return super().model().requires_grad_(False)


class Arrays(Robot):
    def data(self) -> Data:
        data = super().data()
        return Data(data.train, data.validation, Split(data.test.inputs, np.zeros(30)))  # type: ignore[arg-type]


class LongWarmup(Robot):
    warmup = 1.5


class FloatSteps(Robot):
    steps = 5.5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BadOnTest, r"loss\(\) on the test split, outputs \[8, 3\] and targets \[8, 2\], failed"),
        (NumberMetric, r"metric\(\) on the train split gave float; it must be the mean"),
        (NumberLoss, r"loss\(\) on the train split gave float; it must be the mean"),
        (Frozen, "depends on no parameter that can be trained"),
        (Arrays, "the test split of task 'Arrays' holds Tensor and ndarray; give torch tensors"),
        (LongWarmup, "warmup of task 'LongWarmup' is 1.5; it is a share"),
        (FloatSteps, "steps of task 'FloatSteps' is 5.5; it must be a whole number"),
    ],
)
def test_one_sentence_names_what_to_change(kind: type[Task], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        check_task(kind())


def test_numbers_of_numpy_are_settings_like_others() -> None:
    class Counted(Robot):
        steps = np.int64(6)  # type: ignore[assignment]
        rate = np.float32(0.5)

    class Plain(Robot):
        name = "Counted"
        steps, rate = 6, 0.5

    one, other = Counted(), Plain()
    assert one.splits and type(one.steps) is int
    stored = [{**task.settings(), "source": ""} for task in (one, other)]
    assert stored[0] == stored[1] and stored[0]["rate"] == 0.5
    assert len(one.hash) == 16

"""The whole contract of a task is checked before anything is trained."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from optforge.api.comparison import compare
from optforge.errors import CompareError, TaskError
from optforge.tasks import Data, Split, Task, check_task, has_metric
from optforge.tasks.splits import raw_values
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


class TextTarget(Robot):
    target = "low"  # type: ignore[assignment]


class FloatSteps(Robot):
    steps = 5.5  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BadOnTest, r"loss\(\) on the test split, outputs \[8, 3\] and targets \[8, 2\], failed"),
        (NumberMetric, r"metric\(\) on the train split gave float; it must be the mean"),
        (NumberLoss, r"loss\(\) on the train split gave float; it must be the mean"),
        (Frozen, "depends on no parameter that can be trained"),
        (Arrays, "targets of the test split of task 'Arrays' are of type ndarray; give torch"),
        (LongWarmup, "warmup of task 'LongWarmup' is 1.5; it is a share"),
        (TextTarget, "target of task 'TextTarget' is 'low'; it must be a number"),
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


def test_settings_in_tuples_are_plain_or_named() -> None:
    """A tuple with an integer of NumPy was "not JSON serializable"."""

    class Sized(Robot):
        sizes = (np.int64(3), (np.float32(0.5), "a"))  # type: ignore[assignment]

    class Odd(Robot):
        sizes = (object(),)

    task = Sized()
    assert len(task.hash) == 16 and task.settings()["sizes"] == [3, (0.5, "a")]
    with pytest.raises(TaskError, match="attribute sizes of task 'Odd' cannot be stored"):
        check_task(Odd())


def test_a_frozen_task_is_left_as_it_is() -> None:
    @dataclass(frozen=True)
    class Fixed(Robot):
        width: int = 3

    check_task(Fixed())


def leaves(*_: object) -> Any:
    raise SystemExit(0)


@pytest.mark.parametrize("method", ["data", "model", "loss", "metric", "augment", "prepare"])
def test_a_method_that_ends_the_process_is_a_sentence(method: str) -> None:
    """A search ended without a word, with exit code 0."""
    task = type("Leaving", (Robot,), {method: leaves})()
    with pytest.raises(TaskError, match=r"Leaving.*failed: SystemExit: 0"):
        check_task(task)


LAYER = nn.Linear(4, 3)
POINTS = torch.ones(9, 4)


def data_of(inputs: Any, targets: Any = POINTS[:, :3]) -> dict[str, Any]:
    return {"data": lambda _: Data(*(Split(inputs, targets) for _ in range(3)))}


ODD: tuple[tuple[dict[str, Any], str], ...] = (
    (data_of(POINTS.to_sparse()), "inputs of the train split.*sparse.*give dense tensors"),
    (data_of(POINTS.to("meta")), "strided on meta; give dense tensors on the processor"),
    (data_of(POINTS.clone().requires_grad_()), "require gradients; detach them"),
    (data_of(POINTS, torch.tensor(1.0)), "targets of the train split.*have no dimension"),
    ({"data": lambda _: Data((1, 2), (1, 2), (1, 2))}, "train split.* is tuple; give optforge"),  # type: ignore[arg-type]
    ({"model": lambda _: LAYER}, "the same parameters twice.*build a new model"),
    ({"model": lambda _: nn.LazyLinear(3)}, "lazy layers without weights; call it once"),
    ({"model": lambda _: nn.Linear}, r"model\(\) and prepare\(\) returned type; return a torch"),
    ({"prepare": lambda *_: None}, r"prepare\(\) returned NoneType"),
    ({"augment": lambda *_: None}, r"augment\(\) returned NoneType; return two tensors"),
    ({"augment": lambda _, x, y, g: (x[:3], y[:2])}, r"loss\(\) on the train.*\[3, 3\].*\[2, 3\]"),
    ({"metric": lambda _, o, t: o.sum() + 1j}, r"metric\(\).*complex64; it must be .* a real"),
    ({"name": 5}, "name of a task of class Robot_ is 5; it must be a text of printable"),
    ({"name": "a\nb"}, "printable characters"),
    ({"name": "n" * 201}, "of 1 to 200 bytes"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), ODD, ids=[said[:30] for _, said in ODD])
def test_what_cannot_be_trained_is_told_before_any_work(changes: Any, said: str) -> None:
    task = type("Robot_", (Robot,), {"cache_key": "odd", **changes})()
    with pytest.raises(TaskError, match=said):
        check_task(task)


def test_data_in_types_that_numpy_lacks_has_a_hash() -> None:
    values = torch.tensor([1.0, -2.0], dtype=torch.bfloat16)
    assert raw_values(values) == struct.pack("<HH", 0x3F80, 0xC000)
    assert raw_values(torch.tensor([1, 2])) == np.array([1, 2]).tobytes()
    assert raw_values(torch.eye(2).t()[:, :1]) == np.array([1, 0], np.float32).tobytes()

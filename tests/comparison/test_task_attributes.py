"""What may be changed of a task: wrong names, kinds and budgets are told in a sentence."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pytest

from optforge.comparison import variants, vary
from optforge.errors import CompareError
from optforge.tasks import Data
from tests.helpers.tiny import Blobs


class Own(Blobs):
    """Attributes of every kind, one of them of the object."""

    scale, deep, kind, sizes, file = 1.0, False, "plain", (8, 8), None

    def __init__(self) -> None:
        self.width = 4

    @property
    def costly(self) -> int:
        raise AssertionError("a property was called")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"steps": 0}, "steps of task 'Own' is 0; it must be a whole number of at least 1"),
        ({"steps": "abc"}, "'abc'; it must be a whole number"),
        ({"steps": 1.5}, "1.5; it must be a whole number"),
        ({"steps": True}, "True; it must be a whole number"),
        ({"steps": datetime.date(2020, 1, 1)}, "it must be a whole number"),
        ({"batch_size": -4}, "batch_size of task 'Own' is -4"),
        ({"samples": "abc"}, "samples of task 'Own' is 'abc'"),
        ({"samples": 640, "batch_size": 0}, "batch_size of task 'Own' is 0"),
        ({"evaluation_period": -1}, "evaluation_period of task 'Own' is -1"),
        ({"evaluation_period": 0}, "at least 1"),
        ({"warmup": 2.0}, "a share of the steps from 0 to 1"),
        ({"target": "abc"}, "a validation loss"),
        ({"loss": 3}, "no plain attribute 'loss' to change; it has batch_size, deep, evaluation_"),
        ({"name": "x"}, "no plain attribute 'name'"),
        ({"splits": 3}, "no plain attribute 'splits'"),
        ({"costly": 3}, "no plain attribute 'costly'"),
        ({"lerning": 3}, "no plain attribute 'lerning'"),
        ({"width": "wide"}, "width of task 'Own' is 4 and was to be 'wide'; give a finite number"),
        ({"scale": float("nan")}, "give a finite number"),
        ({"deep": 1}, "give true or false"),
        ({"kind": 3}, "give a text"),
        ({"sizes": 8}, "give several values"),
        ({"file": datetime.date(2020, 1, 1)}, "file of task 'Own' is None"),
    ],
)
def test_wrong_values_are_told(values: dict[str, Any], says: str) -> None:
    with pytest.raises(CompareError, match=re.escape(says)):
        vary(Own(), values)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 8}, {"width": 0.5}, {"scale": 2}, {"deep": True}, {"kind": "odd"},
        {"sizes": [8, 4]}, {"file": "x.pt"}, {"target": None}, {"evaluation_period": None},
        {"warmup": 0}, {"target": 0.5, "evaluation_period": 5, "steps": 3},
    ],
)  # fmt: skip
def test_right_values_are_taken(values: dict[str, Any]) -> None:
    changed = vary(Own(), values).task
    for name, value in values.items():
        assert getattr(changed, name) == (tuple(value) if isinstance(value, list) else value)


def test_values_of_numpy_are_values() -> None:
    """An integer of NumPy was told to be no whole number."""
    given = {"steps": np.int64(3), "scale": np.float32(0.5), "sizes": [np.int8(8), 4]}
    task = vary(Own(), given).task
    assert (task.steps, task.scale, task.sizes) == (3, 0.5, (8, 4))
    assert [type(x) for x in (task.steps, task.scale, *task.sizes)] == [int, float, int, int]
    swept = variants([Own()], {"batch_size": np.array([16, 32])}, {})
    assert [v.label for v in swept] == ["Own[batch_size=16]", "Own[batch_size=32]"]


@pytest.mark.parametrize("values", [16, "ab", [], {"a": 1}])
def test_an_axis_is_a_list(values: Any) -> None:
    with pytest.raises(CompareError, match="the axis 'batch_size' is .*give a list"):
        variants([Own()], {"batch_size": values}, {})


def test_nothing_is_built_for_a_wrong_value() -> None:
    class Broken(Blobs):
        def data(self) -> Data:
            raise AssertionError

    with pytest.raises(CompareError):
        vary(Broken(), {"steps": 0})

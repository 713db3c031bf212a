"""Small comparisons, and tasks that watch over their test data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from optforge.comparison import Comparison, ComparisonSettings, Recipe, load_recipe, variants
from optforge.tasks import Data, Split, Task
from tests.helpers.tiny import Blobs, blobs

FEW: dict[str, Any] = {"trials": 6, "seeds": 4, "finalists": 2, "again": 1}


def few(*recipes: str | Recipe, task: Task | None = None, **settings: Any) -> Comparison:
    """A comparison that takes a second or two."""
    made = tuple(load_recipe(r) if isinstance(r, str) else r for r in recipes)
    return Comparison(
        variants([task or Blobs()], {}, {}), made, ComparisonSettings(**{**FEW, **settings})
    )


def named(recipe: str, name: str, **changes: Any) -> Recipe:
    """A preset under another name."""
    return replace(load_recipe(recipe), name=name, **changes)


class TouchedError(Exception):
    """Someone looked at test data too early."""


class Watched(Tensor):
    """A tensor that computes nothing while the gate is closed; its shape may be known."""

    open = False
    free = {"__get__", "__len__", "size", "dim", "is_floating_point"}

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if not cls.open and getattr(function, "__name__", "") not in cls.free:
            raise TouchedError(f"{function} on test data")
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


class Guarded(Blobs):
    """Its test data raises when touched before the gate opens."""

    hash = "guarded"  # that of a task reads all its data, whose bytes decide no setting

    def data(self) -> Data:
        data = blobs()
        test = Split(data.test.inputs.as_subclass(Watched), data.test.targets.as_subclass(Watched))
        return Data(data.train, data.validation, test)


class OtherTest(Blobs):
    """The same task with other test data, under the same name and so with the same seeds."""

    name = "Blobs"

    def data(self) -> Data:
        data = blobs()
        generator = torch.Generator().manual_seed(5)
        inputs = torch.randn(data.test.inputs.shape, generator=generator)
        return Data(data.train, data.validation, Split(inputs, data.test.targets.flip(0)))

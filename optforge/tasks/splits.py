"""The data of a task: three splits of inputs and targets, checked by name."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from optforge.errors import TaskError


@dataclass(frozen=True)
class Split:
    """A part of a data set; the first dimension of both tensors counts the examples.

    Args:
        inputs: [N, ...], float32 or int64.
        targets: [N, ...], int64 for classes, float32 for values.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Data:
    """The three disjoint parts: for training, for the search, and for the final verdict."""

    train: Split
    validation: Split
    test: Split


def checked_data(task: str, data: object) -> Data:
    """Return what ``data()`` of a task returned, if it can be used for training.

    Args:
        task: The task's name, for the error.
        data: What was returned.

    Raises:
        TaskError: If it is no data, or a part of it cannot be used; the message names the part.

    Example:
        >>> checked_data("mine", None)
        Traceback (most recent call last):
        optforge.errors.TaskError: data() of task 'mine' returned NoneType; return \
optforge.tasks.Data(train, validation, test)
    """
    if not isinstance(data, Data):
        raise TaskError(
            f"data() of task {task!r} returned {type(data).__name__}; "
            "return optforge.tasks.Data(train, validation, test)"
        )
    for part, split in vars(data).items():
        if not (hasattr(split, "inputs") and hasattr(split, "targets")):
            raise TaskError(
                f"the {part} split of task {task!r} is {type(split).__name__}; "
                "give optforge.tasks.Split(inputs, targets)"
            )
        for what in ("inputs", "targets"):
            if problem := _problem(getattr(split, what)):
                raise TaskError(f"{what} of the {part} split of task {task!r} {problem}")
        if not len(split.inputs) == len(split.targets) > 0:
            raise TaskError(
                f"the {part} split of task {task!r} has {len(split.inputs)} inputs and "
                f"{len(split.targets)} targets; both need the same number, at least 1"
            )
    return data


def _problem(value: object) -> str:
    """Return what is wrong with a part of the data, and what to do; nothing if it can be used."""
    if not isinstance(value, Tensor):
        kind = type(value).__name__
        return f"are of type {kind}; give torch tensors, for example by torch.from_numpy"
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        kind = "quantized" if value.is_quantized else str(value.layout)
        return f"are {kind} on {value.device}; give dense tensors on the processor"
    if value.requires_grad:
        return "require gradients; detach them in data()"
    return "" if value.dim() else "have no dimension; the first one counts the examples"


def raw_values(value: Tensor) -> bytes:
    """Return the bytes of the elements of a tensor, of types that NumPy lacks as well.

    Example:
        >>> raw_values(torch.ones(1, dtype=torch.bfloat16)).hex()
        '803f'
    """
    return value.contiguous().flatten().view(torch.uint8).numpy().tobytes()

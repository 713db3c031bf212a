"""The contract of a task, checked completely before any training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from optforge.errors import USERS_ERRORS, TaskError, one_line
from optforge.tasks.draws import augmented, initial_model
from optforge.tasks.splits import Split
from optforge.tasks.task import Task

T = TypeVar("T")


def check_task(task: Task) -> None:
    """Test data, model, gradient, and loss and metric on a batch of each split.

    Raises:
        TaskError: If the contract is broken; the message names the task and the method to change.
    """
    splits = vars(_attempt(task, "data()", lambda: task.splits))
    model = _attempt(task, "model()", lambda: initial_model(task, 0))
    _check_model(task, model, _attempt(task, "model()", lambda: initial_model(task, 0)))
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global generator
        train = _augmented(task, _first(splits["train"], task.batch_size))
        output = _attempt(task, "the model", lambda: model(train.inputs))
        loss = _checked_loss(task, "train", output, train.targets)
        if not loss.requires_grad:
            raise TaskError(
                f"task {task.name!r}: the loss depends on no parameter that can be trained; "
                "leave requires_grad of at least one True, and detach nothing in model or loss()"
            )
        _attempt(task, "the gradient", loss.backward)
        model.eval()
        for name, split in splits.items():
            part = _first(split, task.batch_size)
            with torch.no_grad():
                result = _attempt(task, f"the model on the {name} split", _call(model, part.inputs))
                _checked_loss(task, name, result, part.targets)
                _check_metric(task, name, result, part.targets)
                _check_pairing(task, result, part.targets)
    _attempt(task, "settings()", lambda: task.hash)


def has_metric(task: Task) -> bool:
    """Return whether a task has a metric: its own, or targets that fit the default."""
    if type(task).metric is not Task.metric:
        return True
    part = _first(task.splits.validation, task.batch_size)
    with torch.no_grad():
        output = initial_model(task, 0).eval()(part.inputs)
    return not bool(task.metric(output, part.targets).isnan())


def _first(split: Split, count: int) -> Split:
    return Split(split.inputs[:count], split.targets[:count])


def _augmented(task: Task, part: Split) -> Split:
    """Return a batch as ``augment`` changes it."""
    batch = _attempt(task, "augment()", lambda: augmented(task, part.inputs, part.targets, 0, 0))
    is_pair = isinstance(batch, tuple) and len(batch) == 2
    if not (is_pair and all(isinstance(value, Tensor) for value in batch)):
        raise TaskError(
            f"task {task.name!r}: augment() returned {type(batch).__name__}; return two tensors, "
            "inputs and targets"
        )
    return Split(*batch)


def _call(model: Callable[[Tensor], Tensor], inputs: Tensor) -> Callable[[], Tensor]:
    return lambda: model(inputs)


def _attempt(task: Task, what: str, call: Callable[[], T]) -> T:
    """Call the user's code; turn an error into a sentence."""
    try:
        return call()
    except TaskError:
        raise
    except USERS_ERRORS as error:
        raise TaskError(f"task {task.name!r}: {what} failed: {one_line(error)}") from error


def _check_model(task: Task, model: object, second: object) -> None:
    """Reject what is no model, has no weights yet, or is not built anew at each call."""
    for built in (model, second):
        if not isinstance(built, nn.Module):
            raise TaskError(
                f"task {task.name!r}: model() and prepare() returned {type(built).__name__}; "
                "return a torch.nn.Module"
            )
    assert isinstance(model, nn.Module) and isinstance(second, nn.Module)
    first, other = (dict(built.named_parameters()) for built in (model, second))
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in first.values()):
        raise TaskError(
            f"task {task.name!r}: the model has lazy layers without weights; call it once on an "
            "example in model(), or give the sizes of its layers"
        )
    if {name: p.shape for name, p in first.items()} != {n: p.shape for n, p in other.items()}:
        raise TaskError(f"task {task.name!r}: model() built other parameters at its second call")
    if any(p.requires_grad and p is other[name] for name, p in first.items()):
        raise TaskError(
            f"task {task.name!r}: model() returned the same parameters twice, so that a training "
            "would begin where another one ended; build a new model at each call"
        )


def _checked_loss(task: Task, name: str, output: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of a batch after checking that it is a mean over it."""
    where = f"loss() on the {name} split"
    loss = _attempt(
        task, f"{where}, {_shapes(output, targets)},", lambda: task.loss(output, targets)
    )
    if not isinstance(loss, Tensor) or loss.dim() != 0 or not loss.is_floating_point():
        raise TaskError(
            f"task {task.name!r}: {where} gave {_kind(loss)}; it must be the mean over the batch, "
            "a floating-point tensor without dimensions"
        )
    return loss


def _check_metric(task: Task, name: str, output: Tensor, targets: Tensor) -> None:
    where = f"metric() on the {name} split"
    metric = _attempt(
        task, f"{where}, {_shapes(output, targets)},", lambda: task.metric(output, targets)
    )
    if not isinstance(metric, Tensor) or metric.dim() != 0 or metric.is_complex():
        raise TaskError(
            f"task {task.name!r}: {where} gave {_kind(metric)}; it must be the mean over the "
            "examples, a real tensor without dimensions, of which higher is better"
        )


def _check_pairing(task: Task, output: Tensor, targets: Tensor) -> None:
    """Reject a loss or metric that broadcasts ``[N]`` against ``[N, 1]`` to ``[N, N]``.

    A mean over all pairs does not depend on the order of the targets; a mean over examples does.
    """
    if not isinstance(output, Tensor) or output.shape == targets.shape:
        return
    if output.numel() != targets.numel() or len(targets) < 2 or not targets.is_floating_point():
        return
    ramp = torch.linspace(0.2, 0.8, output.numel(), dtype=output.dtype).view(output.shape)
    values = torch.linspace(0.3, 0.7, targets.numel(), dtype=targets.dtype).view(targets.shape)
    other = values.roll(len(values) // 2, 0)
    for name, measure in (("loss()", task.loss), ("metric()", task.metric)):
        try:
            value, rolled_value = (float(measure(ramp, t)) for t in (values, other))
        except USERS_ERRORS:  # it asks for more than numbers between 0 and 1, so nothing is learned
            continue
        if abs(value - rolled_value) <= 1e-5 * abs(value):
            raise TaskError(
                f"task {task.name!r}: {name} pairs every output with every target: outputs are "
                f"{list(output.shape)}, targets {list(targets.shape)}, and together they "
                "broadcast; give both the same shape, for example by targets[:, None] in data()"
            )


def _shapes(output: object, targets: Tensor) -> str:
    shape = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
    return f"outputs {shape} and targets {list(targets.shape)}"


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)} and type {value.dtype}"
    return f"{type(value).__name__}"

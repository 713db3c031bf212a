"""The contract of a task, checked completely before any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from optforge.errors import USERS_ERRORS, OptforgeError, TaskError, one_line
from optforge.tasks.draws import augmented, initial_model
from optforge.tasks.splits import Split
from optforge.tasks.task import Task

T = TypeVar("T")
_STEPS = 2  # the second one shows what a model keeps of the first
_ORDERED = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)  # classes and tokens


def check_task(task: Task) -> None:
    """Test data, model, gradient, and loss and metric on a batch of each split.

    The batch holds the least and the largest class and token of the split, and values that are not
    finite, if there are any.

    Raises:
        TaskError: If the contract is broken; the message names the task and the method to change.
    """
    splits = vars(_attempt(task, "data()", lambda: task.splits))
    model = _attempt(task, "model()", lambda: initial_model(task, 0))
    _check_model(task, model, _attempt(task, "model()", lambda: initial_model(task, 1)))
    with torch.random.fork_rng(devices=[]):  # dropout draws from torch's global generator
        train = _augmented(task, _first(splits["train"], task.batch_size))
        for _ in range(_STEPS):
            _check_gradient(task, model, train)
        model.eval()
        for name, split in splits.items():
            part = _telling(split, task.batch_size)
            with torch.no_grad():
                result = _attempt(task, f"the model on the {name} split", _call(model, part.inputs))
                loss = _checked_loss(task, name, result, part.targets)
                _check_numbers(task, name, part, loss)
                _check_metric(task, name, result, part.targets)
                _check_pairing(task, result, part.targets)
    _attempt(task, "settings()", lambda: task.hash)


@contextmanager
def users_code(task: Task, what: str) -> Iterator[None]:
    """Turn what code of the user's raises into a sentence that names the task.

    Args:
        task: The task.
        what: What is done, for the error.

    Raises:
        TaskError: In place of errors that are not optforge's.
    """
    try:
        yield
    except OptforgeError:
        raise
    except USERS_ERRORS as error:
        raise TaskError(f"task {task.name!r}: {what} failed: {one_line(error)}") from error


def has_metric(task: Task) -> bool:
    """Return whether a task has a metric: its own, or targets that fit the default."""
    if type(task).metric is not Task.metric:
        return True
    part = _first(task.splits.validation, task.batch_size)
    with users_code(task, "metric()"), torch.no_grad():
        output = initial_model(task, 0).eval()(part.inputs)
        return not bool(task.metric(output, part.targets).isnan())


def _first(split: Split, count: int) -> Split:
    return Split(split.inputs[:count], split.targets[:count])


def _telling(split: Split, count: int) -> Split:
    """Return the first examples, and those with extreme classes or tokens, or strange numbers."""
    rows = dict.fromkeys(range(min(count, len(split))))
    for values in (split.inputs, split.targets):
        flat = values.reshape(len(values), -1)
        if values.dtype in _ORDERED and flat.numel():
            places = (flat.argmin(), flat.argmax())
            rows |= dict.fromkeys(int(place) // flat.shape[1] for place in places)
        elif values.is_floating_point() and not (finite := flat.isfinite().all(1)).all():
            rows[int(finite.int().argmin())] = None
    chosen = torch.tensor(list(rows))
    return Split(split.inputs[chosen], split.targets[chosen])


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
    with users_code(task, what):
        return call()


def _check_model(task: Task, model: object, second: object) -> None:
    """Reject what is no model, has no weights yet, or is not built anew at each call."""
    for built in (model, second):
        if not isinstance(built, nn.Module):
            raise TaskError(
                f"task {task.name!r}: model() and prepare() returned {type(built).__name__}; "
                "return a torch.nn.Module"
            )
    assert isinstance(model, nn.Module) and isinstance(second, nn.Module)
    first, other = (
        dict((*built.named_parameters(), *built.named_buffers())) for built in (model, second)
    )
    if any(map(is_lazy, (*first.values(), *other.values()))):
        raise TaskError(
            f"task {task.name!r}: the model has lazy layers without weights; call it once on an "
            "example in model(), or give the sizes of its layers"
        )
    if any(p.is_meta for p in (*first.values(), *other.values())):
        raise TaskError(
            f"task {task.name!r}: the model has parameters or buffers on the device meta, which "
            "have no values; build all of it on the processor in model()"
        )
    if {name: p.shape for name, p in first.items()} != {n: p.shape for n, p in other.items()}:
        raise TaskError(
            f"task {task.name!r}: model() built other parameters or buffers at its second call; "
            "their names and shapes must be the same at each"
        )
    if any(p.requires_grad and p is other[name] for name, p in first.items()):
        raise TaskError(
            f"task {task.name!r}: model() returned the same parameters twice, so that a training "
            "would begin where another one ended; build a new model at each call"
        )


def _check_gradient(task: Task, model: nn.Module, train: Split) -> None:
    """Make a training step without an update."""
    output = _attempt(task, "the model", lambda: model(train.inputs))
    loss = _checked_loss(task, "train", output, train.targets)
    if not loss.requires_grad:
        raise TaskError(
            f"task {task.name!r}: the loss depends on no parameter that can be trained; "
            "leave requires_grad of at least one True, and detach nothing in model or loss()"
        )
    _attempt(task, "the gradient", loss.backward)


def _check_numbers(task: Task, name: str, part: Split, loss: Tensor) -> None:
    """Reject NaN or infinite data that make the loss so; a loss may leave them out."""
    for what, values in vars(part).items():
        if values.is_floating_point() and not (values.isfinite().all() or loss.isfinite()):
            raise TaskError(
                f"task {task.name!r}: {what} of the {name} split hold NaN or infinity, which makes "
                f"loss() {loss.item()}; leave such examples out in data(), or mask them in loss()"
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

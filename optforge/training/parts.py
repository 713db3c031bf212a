"""The parts of a model: trained parameters, fixed tensors, and buffers changed by training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from optforge.errors import TaskError
from optforge.tasks import Task

_LOOKS = 8  # batches until a parameter counts as unused; layers may be skipped at random


@dataclass(frozen=True)
class Parts:
    """The tensors of a model, by role.

    A parameter is trained if it requires a gradient and gets one. Frozen and unused parameters stay
    unchanged, as with the optimizers of PyTorch. Tied parameters count once.

    Args:
        trained: Names of the trained parameters, in the order of ``named_parameters``.
        changed: Names of the buffers that a training step changes, as batch normalization does.
    """

    trained: tuple[str, ...]
    changed: tuple[str, ...]


def fixed_tensors(model: nn.Module, trained: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    """Yield the name and value of each buffer and of each parameter that is not trained."""
    for name, parameter in model.named_parameters():
        if name not in trained:
            yield name, parameter.detach()
    yield from model.named_buffers()


def parts_of(task: Task, model: nn.Module, inputs: Tensor, targets: Tensor) -> Parts:
    """Run a training step without an update, and return which tensors it used and changed.

    Args:
        task: The task, which has the loss.
        model: A fresh model in training mode; its buffers are changed.
        inputs: Inputs of a batch, in the form used in training.
        targets: Targets of the batch.

    Raises:
        TaskError: If nothing can be trained, or a parameter is complex.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    used: set[str] = set()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for _ in range(_LOOKS):
            used |= _used(task, task.loss(model(inputs), targets), parameters)
            if len(used) == len(parameters):
                break
    for name in used:
        if parameters[name].is_complex():
            raise TaskError(
                f"task {task.name!r}: parameter {name} is complex, and rules compute with real "
                "numbers; train its real and imaginary part as two parameters"
            )
    changed = [name for name, b in model.named_buffers() if not _same(b, before.get(name))]
    return Parts(tuple(name for name in parameters if name in used), tuple(changed))


def _used(task: Task, loss: Tensor, parameters: dict[str, nn.Parameter]) -> set[str]:
    """Return the names of the parameters that get a gradient."""
    if not parameters or not loss.requires_grad:
        raise TaskError(
            f"task {task.name!r}: the loss depends on no parameter that can be trained; leave "
            "requires_grad of at least one of them True, and detach nothing between it and loss()"
        )
    gradients = gradients_of(loss.sum(), list(parameters.values()))
    return {name for name, g in zip(parameters, gradients, strict=True) if g is not None}


def gradients_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Return the gradient of each parameter, None for those that were not used.

    They are taken by ``backward``, since reentrant checkpoints know nothing else.

    Example:
        >>> weight = nn.Parameter(torch.tensor(2.0))
        >>> gradients_of(weight**2, [weight])
        [tensor(4.)]
    """
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    return [parameter.grad for parameter in parameters]


def _same(tensor: Tensor, other: Tensor | None) -> bool:
    return other is not None and tensor.shape == other.shape and bool(torch.equal(tensor, other))

"""Check that models trained together learn the same as each alone, by a trial step of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from optforge.training.kernel import Kernel, gradient_kernel, measure_kernel
from optforge.training.parts import fixed_tensors, gradients_of
from optforge.training.random_numbers import random_numbers

if TYPE_CHECKING:
    from optforge.training.stack import Stack

_SEEDS = (0, 1)
_TOLERANCE = 2e-3  # relative; sums in another order differ by far less
_ROUNDINGS = 30  # of the narrowest parameter, where that is more


@torch.enable_grad()
def batching_problem(stack: Stack) -> str | None:
    """Return why a task's models cannot be trained together, or None if they can.

    A trial step of two seeds is made both ways: losses, gradients, changed buffers, and loss and
    metric in evaluation must agree. This detects a model that keeps state in Python or assigns a
    new tensor to a buffer; a number that changes from step to step, such as a counter, is state
    also where the first steps do not show it. Dropout is off during the check, because the mask of
    a tensor with another memory layout is another permutation of the same random numbers.

    Args:
        stack: Stack of the task; its model is left unchanged.
    """
    buffers = {name: b.clone() for name, b in stack.model.named_buffers()}
    stack.held(_SEEDS)  # finds all tensors that differ, before kernels are made
    try:
        for seed in _SEEDS:
            together, alone = _together(stack, seed), _alone(stack, seed)
            if not all(_close(stack, a, b) for a, b in zip(together, alone, strict=True)):
                return "a trial step gives other numbers than one model by itself"
        if name := _changing_number(stack):
            return f"the model changes its number {name} in training"
        _train_once(stack)
    except Exception as error:  # vmap raises many types, for many reasons
        return str(error).strip().split("\n")[0] or type(error).__name__
    finally:
        stack.model.train()
        for name, buffer in stack.model.named_buffers():
            buffer.copy_(buffers[name])
    return None


def _together(stack: Stack, seed: int) -> Iterator[Tensor]:
    """Yield the results for the second of two equal rows."""
    seeds = [seed, seed]
    weights, held = stack.initial(seeds), stack.held(seeds)
    kernel: Kernel = gradient_kernel(stack._loss, stack.views, shared=True)
    stack.model.train(not stack.random)
    with random_numbers(seed, 0, stack.random):
        trained = kernel(weights, *stack.batch(seed, 0), *held)
    yield from (value[1] for value in trained)
    stack.model.eval()
    with random_numbers(0, 0, stack.random):
        measured = measure_kernel(stack._measure, stack.views)(weights, *_some(stack), *held)
    yield from (value[1] for value in measured)
    stack.model.train()


def _alone(stack: Stack, seed: int) -> Iterator[Tensor]:
    """Yield the same results for one model."""
    task, model = stack.task, stack.fresh_model(seed)
    parameters = dict(model.named_parameters())
    trained = [parameters[name] for name in stack.parts.trained]
    inputs, targets = stack.batch(seed, 0)
    model.train(not stack.random)
    with random_numbers(seed, 0, stack.random):
        loss = task.loss(model(inputs), targets)
    gradients = gradients_of(loss, trained)
    yield loss.detach()
    filled = [
        torch.zeros_like(p) if g is None else g for p, g in zip(trained, gradients, strict=True)
    ]
    yield torch.cat([g.to_dense().flatten().to(stack.dtype) for g in filled])
    buffers = dict(model.named_buffers())
    yield from (buffers[name] for name in stack.parts.changed)
    fresh = dict(fixed_tensors(stack.fresh_model(seed), stack.parts.trained))
    for name in stack.parts.changed:
        buffers[name].copy_(fresh[name])
    model.eval()
    inputs, targets = _some(stack)
    with torch.no_grad(), random_numbers(0, 0, stack.random):
        output = model(inputs)
        yield task.loss(output, targets)
        yield torch.as_tensor(task.metric(output, targets))


def _changing_number(stack: Stack) -> str:
    """Return the name of a number that the model's modules change after their first step."""
    model, steps = stack.fresh_model(_SEEDS[0]), []
    for _ in range(2):  # the first one may fill caches
        inputs, targets = stack.batch(_SEEDS[0], 0)
        with random_numbers(_SEEDS[0], 0, stack.random):
            stack.task.loss(model(inputs), targets)
        steps.append(_numbers(model))
    return next((name for name, value in steps[1].items() if steps[0].get(name) != value), "")


def _numbers(model: nn.Module) -> dict[str, str]:
    """Return the numbers that are attributes of a model's modules, by name, as texts."""
    return {
        f"{place}.{name}".lstrip("."): repr(value)
        for place, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, int | float)
    }


def _train_once(stack: Stack) -> None:
    """Try each way in which training calls the model."""
    stack.model.train()
    weights, held = stack.initial(_SEEDS), stack.held(_SEEDS)
    inputs, targets = stack.batch(0, 0)
    with random_numbers(0, 0, stack.random):
        gradient_kernel(stack._loss, stack.views, shared=True)(weights, inputs, targets, *held)
    if not stack.random:
        batches = zip(*[stack.batch(seed, 0) for seed in _SEEDS], strict=True)
        by_row = gradient_kernel(stack._loss, stack.views, shared=False)
        by_row(weights, *map(torch.stack, batches), *held)


def _some(stack: Stack) -> tuple[Tensor, Tensor]:
    inputs, targets = stack.split("validation")
    return inputs[: stack.task.batch_size], targets[: stack.task.batch_size]


def _close(stack: Stack, result: Tensor, other: Tensor) -> bool:
    """Return whether two results agree up to rounding; a non-finite one decides nothing."""
    narrowest = max(torch.finfo(p.dtype).eps for p in stack._trained)
    result, other = result.double(), other.double()
    if not bool(other.isfinite().all()):
        return True
    size = max(other.norm().item(), 1e-6)
    return (result - other).norm().item() <= max(_TOLERANCE, _ROUNDINGS * narrowest) * size

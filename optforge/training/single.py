"""Training of one model at a time: with a program, or with any PyTorch optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Layout, Program
from optforge.tasks import Task, augmented, batch_order, initial_model, schedule
from optforge.training.parts import gradients_of
from optforge.training.random_numbers import draws_random_numbers, random_numbers
from optforge.training.stack import Stack
from optforge.training.trainee import Trainee


@dataclass(frozen=True)
class Result:
    """Loss and metric of a run; at a checkpoint, the mean training loss since the last one."""

    loss: float
    metric: float = float("nan")


def train_alone(
    stack: Stack, candidate: Trainee, seed: int, checkpoints: Sequence[int], split: str
) -> Iterator[Result]:
    """Train one model with a rule; yield at each checkpoint and at the end.

    Frozen and unused parameters stay unchanged, as in :class:`Stack`.
    """
    task, model = stack.task, stack.fresh_model(seed)
    named = dict(model.named_parameters())
    parameters = [named[name] for name in stack.parts.trained]
    rule = _Rule(candidate.program, stack.layout, stack.dtype)
    scalars = rule.interpreter.schedule(candidate.values(task))
    averages = [_wide(p, stack).clone() for p in parameters] if candidate.average else []
    total, since, scale = 0.0, 0, stack.scales.get(seed, 1.0)
    for step in range(task.steps):
        inputs, targets = stack.batch(seed, step)
        with random_numbers(seed, step, stack.random):
            loss = task.loss(model(inputs), targets)
        gradients = gradients_of(loss, parameters)
        rule.step(parameters, [_scaled(g, scale) for g in gradients], scalars[step])
        for average, parameter in zip(averages, parameters, strict=False):
            average.lerp_(_wide(parameter, stack), 1 - candidate.average)
        total, since = total + loss.item(), since + 1
        if step + 1 in checkpoints:
            yield Result(total / since)
            total, since = 0.0, 0
    for average, parameter in zip(averages, parameters, strict=False):
        parameter.data.copy_(average)
    yield _measured(task, model, stack.split(split), stack.random)


def _scaled(gradient: Tensor | None, scale: float) -> Tensor | None:
    """Return a gradient with the scale of its seed; unused parameters have none."""
    return gradient if gradient is None or scale == 1.0 else gradient * scale


def _wide(parameter: nn.Parameter, stack: Stack) -> Tensor:
    """Return a parameter in the type of the rows."""
    return parameter.detach().to(stack.dtype)


class _Rule:
    """A program applied to the parameter arrays of one model."""

    def __init__(self, program: Program, layout: Layout, dtype: torch.dtype) -> None:
        self.interpreter = Interpreter(program, state_kinds(program), layout, dtype)
        self.states = self.interpreter.initial_states(1)
        self.dtype = dtype

    @torch.no_grad()
    def step(
        self, parameters: list[nn.Parameter], gradients: Sequence[Tensor | None], lr: list[float]
    ) -> None:
        filled = [
            torch.zeros_like(p) if g is None else g.to_dense()
            for p, g in zip(parameters, gradients, strict=True)
        ]
        update, self.states = self.interpreter.step(
            self._row(parameters), self._row(filled), self.states, lr
        )
        parts = update.squeeze(0).split(list(self.interpreter.layout.sizes))
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.sub_(part.view_as(parameter))

    def _row(self, arrays: Sequence[Tensor]) -> Tensor:
        """Join arrays to one row ``[1, elements]``."""
        return torch.cat([x.flatten().to(self.dtype) for x in arrays]).unsqueeze(0)


def evaluate_model(task: Task, model: nn.Module, split: str, random: bool = False) -> Result:
    """Measure loss and metric of a model on a split of its task.

    Args:
        task: The task.
        model: The model; it is left in training mode.
        split: ``train``, ``validation`` or ``test``.
        random: Whether the loss may draw random numbers, which are then the same at every call.
    """
    part, device = getattr(task.splits, split), next(model.parameters()).device
    return _measured(task, model, (part.inputs.to(device), part.targets.to(device)), random)


def _measured(task: Task, model: nn.Module, data: tuple[Tensor, Tensor], random: bool) -> Result:
    inputs, targets = data
    model.eval()
    with torch.no_grad(), random_numbers(0, 0, random):
        output = model(inputs)
        result = Result(task.loss(output, targets).item(), float(task.metric(output, targets)))
    model.train()
    return result


def train_single(
    task: Task,
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
    seed: int,
    split: str = "validation",
    keep: Callable[[nn.Module], object] | None = None,
) -> Result:
    """Train one model with a PyTorch optimizer and the task's own schedule.

    The learning rate with which the optimizer was built is the peak; each step uses the schedule
    value times this peak.

    Args:
        task: The task to train on.
        make_optimizer: Builds the optimizer, for example ``lambda p: torch.optim.AdamW(p,
            lr=1e-3)``.
        seed: Seed of initialization and data order, as in the population trainer.
        split: The split on which the result is measured.
        keep: Called with the trained model.

    Example:
        >>> from optforge.tasks import load_task
        >>> make = lambda parameters: torch.optim.AdamW(parameters, lr=3e-3)
        >>> train_single(load_task("digits_mlp"), make, seed=0).loss < 1.0
        True
    """
    model = initial_model(task, seed)
    optimizer = make_optimizer(model.parameters())
    peaks = [group["lr"] for group in optimizer.param_groups]
    order, train = batch_order(task, seed), task.splits.train
    random = draws_random_numbers(task)
    for step in range(task.steps):
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * schedule(step, task.steps, task.warmup)
        rows = order[step]
        inputs, targets = augmented(task, train.inputs[rows], train.targets[rows], seed, step)
        with random_numbers(seed, step, random):
            loss = task.loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if keep is not None:
        keep(model)
    return evaluate_model(task, model, split, random)

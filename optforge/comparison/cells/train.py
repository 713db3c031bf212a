"""One cell: train one model with one setting, and measure what the cell requests."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from optforge.comparison.cells.cell import Cell, CellResult
from optforge.comparison.cells.measurements import EXTRAS, PeakMemory, optimizer_bytes
from optforge.comparison.cells.random_state import seeded
from optforge.comparison.cells.variant import Variant
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.schedules import SCHEDULES
from optforge.tasks import augmented, batch_order, initial_model
from optforge.training.random_numbers import random_numbers
from optforge.training.single import evaluate_model

_LOOKS = 20  # how often a run is asked whether it is still finite
_LOOKS_AT_MEMORY = 2  # runs of a recipe on a task in each process; the second one is warm
_TAIL = 10  # the training loss at the end is the mean over one of so many parts
_LOST = 1.0  # a training loss that ends above the first one by so many times its size has diverged


def run_cell(
    variant: Variant,
    recipe: Recipe,
    cell: Cell,
    device: str = "cpu",
    keep: Callable[[nn.Module], object] | None = None,
) -> CellResult:
    """Train one model and measure it; test data is used after the last step or never.

    With the same settings and no schedule in the setting, this equals
    :func:`optforge.training.train_single` bit for bit. The optimizer's own random numbers are
    seeded by the cell. An error after the first step ends the run but not the comparison: the run
    counts as diverged if its numbers were no longer finite, and as without a result otherwise.

    Args:
        variant: The task.
        recipe: The optimizer, schedule and clipping.
        cell: Setting, seed and requested measurements.
        device: Device on which to train.
        keep: Called with the trained model, unless the run ends by an error.

    Example:
        >>> from optforge.comparison import load_recipe, vary
        >>> from optforge.tasks import load_task
        >>> cell = Cell("digits_mlp", "adamw", (("lr", 3e-3),), seed=0)
        >>> run_cell(vary(load_task("digits_mlp"), {}), load_recipe("adamw"), cell).loss < 1.0
        True
    """
    began = time.perf_counter()
    with seeded(cell.seed, device):
        run = _CellRun.begin(variant, recipe, cell, torch.device(device))
        try:
            outcome = _trained(run)
            if keep is not None:
                keep(run.model)
        except Exception as error:
            if not run.steps:  # then the setting or the task is to blame, not how the run went
                raise
            outcome = run.ended_by(error)
    return replace(outcome, seconds=round(time.perf_counter() - began, 4))


def _trained(run: _CellRun) -> CellResult:
    """Train and measure."""
    looks = run.cell.test and _may_look(run.variant, run.recipe)
    memory = PeakMemory(run.device) if looks else None
    run.train()
    peak = round(memory.megabytes(), 2) if memory is not None else math.nan
    size = optimizer_bytes(run.optimizer)
    return replace(run.outcome(), optimizer_bytes=size, peak_mb=peak)


def _may_look(variant: Variant, recipe: Recipe) -> bool:
    """Return whether this run is among the few for which memory is measured.

    To see growth, freed memory is returned to the system, and the run has to request all of it
    again. This takes milliseconds that need not be spent on every seed.
    """
    variant.looks_at_memory[recipe.name] += 1
    return variant.looks_at_memory[recipe.name] <= _LOOKS_AT_MEMORY


@dataclass
class _CellRun:
    """A training run in progress."""

    variant: Variant
    recipe: Recipe
    cell: Cell
    device: torch.device
    model: nn.Module
    optimizer: Optimizer
    random: bool
    losses: list[Tensor] = field(default_factory=list)  # the first one and the last tenth
    last: Tensor | None = None
    steps: int = 0
    curve: list[tuple[float, ...]] = field(default_factory=list)
    seconds: float = 0.0
    broken: bool = False

    @classmethod
    def begin(cls, variant: Variant, recipe: Recipe, cell: Cell, device: torch.device) -> _CellRun:
        model = initial_model(variant.task, cell.seed).to(device)
        optimizer = recipe.make(model, cell.setting, variant.task.steps)
        return cls(variant, recipe, cell, device, model, optimizer, variant.random)

    def train(self) -> None:
        """Train piece by piece, and look at the run after each piece."""
        task, cell = self.variant.task, self.cell
        switch(self.optimizer, "train")
        looking = cell.curve or cell.until is not None
        piece = self.variant.period if looking else max(1, task.steps // _LOOKS)
        advance = self._stepper()
        loss = torch.zeros(())
        for first in range(0, task.steps, piece):
            began = time.perf_counter()
            for step in range(first, min(first + piece, task.steps)):
                loss = advance(step)
                self.steps = step + 1
            last = loss.item()  # waits for the device, so before the clock is read
            self.seconds += time.perf_counter() - began
            if not math.isfinite(last):
                self.broken = True
                return
            if looking and self._look():
                return

    def _look(self) -> bool:
        """Record a point of the curve and return whether the run has reached its target."""
        switch(self.optimizer, "eval")
        validation = evaluate_model(self.variant.task, self.model, "validation", self.random)
        switch(self.optimizer, "train")
        point = (self.steps, validation.loss, validation.metric, round(self.seconds, 4))
        self.curve.append(point)
        return self.cell.until is not None and validation.loss <= self.cell.until

    def _stepper(self) -> Callable[[int], Tensor]:
        """Return the function that makes one step; everything constant is looked up once."""
        task, seed, clip = self.variant.task, self.cell.seed, self.recipe.clip
        model, optimizer, losses, random = self.model, self.optimizer, self.losses, self.random
        decay = SCHEDULES[self.recipe.schedule]
        shape = self.recipe.shape(self.cell.setting, task.warmup)
        groups = optimizer.param_groups
        peaks = [group["lr"] for group in groups]
        order, train = batch_order(task, seed), task.splits.train
        parameters = [p for p in model.parameters() if p.requires_grad]
        device = self.device if self.device.type != "cpu" else None
        tail = task.steps - max(1, task.steps // _TAIL)

        def advance(step: int) -> Tensor:
            share = shape.value(step, task.steps, decay)
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = peak * share
            rows = order[step]
            inputs, targets = augmented(task, train.inputs[rows], train.targets[rows], seed, step)
            if device is not None:
                inputs, targets = inputs.to(device), targets.to(device)
            if random:
                with random_numbers(seed, step, True):
                    loss = task.loss(model(inputs), targets)
            else:
                loss = task.loss(model(inputs), targets)
            self.last = loss
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(parameters, clip)
            optimizer.step()
            if step == 0 or step >= tail:
                losses.append(loss.detach())
            return loss

        return advance

    def outcome(self) -> CellResult:
        """Measure the trained model and return the result of the run."""
        first, *rest = torch.stack(self.losses).tolist()
        train_loss = sum(rest) / len(rest) if rest else math.nan
        lost = bool(rest) and _lost(train_loss, first)
        result = CellResult(
            train_loss=train_loss,
            steps=self.steps,
            curve=tuple(self.curve),
            step_ms=round(1000 * self.seconds / self.steps, 5),
            diverged=self.broken or lost,
        )
        if self.broken:
            return result
        result = self._measured(result)
        return replace(result, diverged=result.diverged or not math.isfinite(result.loss))

    def ended_by(self, error: Exception) -> CellResult:
        """Return the result of a run that an error ended after its first step."""
        if not self._ran_away():
            return CellResult(steps=self.steps, failed=f"{type(error).__name__}: {_in_line(error)}")
        spent = round(1000 * self.seconds / self.steps, 5)
        curve = tuple(self.curve)
        return CellResult(steps=self.steps, curve=curve, step_ms=spent, diverged=True)

    def _ran_away(self) -> bool:
        """Return whether the last loss, a weight or a gradient shows that the run diverged."""
        weights = list(self.model.parameters())
        gradients = [p.grad for p in weights if p.grad is not None]
        last = [] if self.last is None else [self.last]
        if not all(bool(torch.isfinite(value).all()) for value in (*last, *weights, *gradients)):
            return True
        return any(_lost(loss.item(), self.losses[0].item()) for loss in last)

    def _measured(self, result: CellResult) -> CellResult:
        task, cell = self.variant.task, self.cell
        switch(self.optimizer, "eval")
        if self.curve and self.curve[-1][0] == result.steps:
            result = replace(result, loss=self.curve[-1][1], metric=self.curve[-1][2])
        else:
            evaluation = evaluate_model(task, self.model, "validation", self.random)
            result = replace(result, loss=evaluation.loss, metric=evaluation.metric)
        if cell.test:
            evaluation = evaluate_model(task, self.model, "test", self.random)
            result = replace(result, test_loss=evaluation.loss, test_metric=evaluation.metric)
        extras: dict[str, float] = {}
        for name in cell.extras:
            extras |= EXTRAS[name](task, self.model, cell.seed)
        return replace(result, extras=extras)


def _lost(loss: float, first: float) -> bool:
    return not loss <= first + _LOST * abs(first)


def _in_line(error: Exception) -> str:
    return " ".join(f"{error}".split()) or "without a word"


def switch(optimizer: Optimizer, mode: str) -> None:
    """Switch an optimizer to ``train`` or ``eval`` if it has different weights for each.

    Schedule-free optimizers do: gradients are computed at one point, results hold at another.

    Source: Defazio et al., The Road Less Scheduled, 2024.
    """
    change = getattr(optimizer, mode, None)
    if callable(change):
        change()

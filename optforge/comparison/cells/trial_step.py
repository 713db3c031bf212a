"""One step before anything else runs, to reject optimizers that this harness cannot drive."""

from __future__ import annotations

import inspect

from torch import nn
from torch.optim import Optimizer

from optforge.comparison.cells.random_state import seeded
from optforge.comparison.cells.train import switch
from optforge.comparison.cells.variant import Variant
from optforge.comparison.recipes.recipe import Recipe
from optforge.comparison.result import not_positive
from optforge.errors import USERS_ERRORS, CompareError
from optforge.tasks import initial_model
from optforge.training.random_numbers import random_numbers


def check_recipe(variant: Variant, recipe: Recipe, seed: int, device: str = "cpu") -> None:
    """Make one step on one batch, as in every run, and discard it.

    Args:
        variant: The task.
        recipe: The recipe with its tuned dimensions; the middle of its space is tried.
        seed: Seed of the initial weights; one that is used later.
        device: Device on which to train.

    Raises:
        CompareError: If the optimizer cannot be built, needs a closure or second derivatives, its
            step fails, or the loss is not above 0.
    """
    with seeded(seed, device):
        model = initial_model(variant.task, seed).to(device)
        loss = _try(variant, recipe, model, device)
    if loss <= 0:
        raise not_positive(variant.task.name, "the training loss of the first batch", loss)


def _try(variant: Variant, recipe: Recipe, model: nn.Module, device: str) -> float:
    """Build the optimizer and make one step; return the loss before it."""
    try:
        optimizer = recipe.make(model, recipe.space.grid(1)[0], variant.task.steps)
    except USERS_ERRORS as error:
        reason = f"it cannot be made: {_said(error)}"
        raise CompareError(_refusal(recipe, variant, reason)) from error
    if _needs_closure(optimizer):
        raise CompareError(_refusal(recipe, variant, "its step needs a closure"))
    try:
        switch(optimizer, "train")
        loss = _step(variant, model, optimizer, device)
        switch(optimizer, "eval")
    except USERS_ERRORS as error:
        raise CompareError(_refusal(recipe, variant, _reason(error))) from error
    return loss


def _needs_closure(optimizer: Optimizer) -> bool:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _step(variant: Variant, model: nn.Module, optimizer: Optimizer, device: str) -> float:
    task, train = variant.task, variant.task.splits.train
    inputs, targets = (x[: task.batch_size].to(device) for x in (train.inputs, train.targets))
    with random_numbers(0, 0, variant.random):
        loss = task.loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def _said(error: BaseException) -> str:
    said = " ".join(f"{error}".split())
    if isinstance(error, CompareError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _reason(error: BaseException) -> str:
    said = " ".join(f"{error}".split()) or type(error).__name__
    lowered = said.lower()
    if "closure" in lowered:
        return f"its step needs a closure ({said})"
    if "create_graph" in lowered or "does not require grad" in lowered:
        return f"its step needs second derivatives, backward(create_graph=True) ({said})"
    return f"its step fails: {type(error).__name__}: {said}"


def _refusal(recipe: Recipe, variant: Variant, reason: str) -> str:
    return (
        f"{recipe.name} cannot be compared on {variant.task.name}: {reason}; runs here make one "
        "forward and one backward pass a step, so leave it out, or wrap it in a class whose "
        "step() needs neither"
    )

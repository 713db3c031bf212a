"""Losses and gradients of many models of one task at once."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from optforge.language import Layout, layout_of
from optforge.tasks import Task, batch_order, initial_model

_EVALUATION_ELEMENTS = 1 << 22  # bound on inputs times rows of one evaluation call


class Stack:
    """One task's model with its parameters as rows of a matrix.

    Rows are ordered candidate by candidate: row ``k * seeds + s`` is candidate k on seed s.

    Args:
        task: The task; its model is built once and used for every row.
        dtype: Of weights and gradients.
        device: Where everything lives.

    Example:
        >>> from optforge.tasks import load_task
        >>> stack = Stack(load_task("digits_mlp"))
        >>> stack.initial([0, 1]).shape == (2, stack.layout.elements)
        True
    """

    def __init__(
        self, task: Task, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        self.task, self.dtype, self.device = task, dtype, device
        self.model = initial_model(task, 0).to(device=device, dtype=dtype)
        self.names = [name for name, _ in self.model.named_parameters()]
        self.shapes = [tuple(p.shape) for p in self.model.parameters()]
        self.layout: Layout = layout_of(self.shapes, device)
        self._orders: dict[int, Tensor] = {}
        self._initial: dict[int, Tensor] = {}
        self.random = any(
            isinstance(m, (nn.Dropout, nn.Dropout1d, nn.Dropout2d)) and m.p > 0
            for m in self.model.modules()
        )

    def initial(self, seeds: list[int]) -> Tensor:
        """Give initial weights for each seed: ``[seeds, elements]``."""
        for seed in seeds:
            if seed not in self._initial:
                model = initial_model(self.task, seed)
                flat = torch.cat([p.detach().flatten() for p in model.parameters()])
                self._initial[seed] = flat.to(device=self.device, dtype=self.dtype)
        return torch.stack([self._initial[seed] for seed in seeds])

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Give the training batch of one step: inputs and targets."""
        if seed not in self._orders:
            self._orders[seed] = batch_order(self.task, seed).to(self.device)
        indices = self._orders[seed][step]
        inputs, targets = self._split("train")
        return inputs[indices], targets[indices]

    def leaves(self, weights: Tensor) -> list[Tensor]:
        """View rows ``[rows, elements]`` as one leaf tensor per parameter array."""
        rows = weights.shape[0]
        parts = torch.split(weights.detach(), list(self.layout.sizes), dim=1)
        return [
            part.unflatten(1, shape).requires_grad_() if shape else part.view(rows).requires_grad_()
            for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def gradients(
        self, leaves: list[Tensor], seeds: list[int], step: int, out: list[Tensor]
    ) -> Tensor:
        """Compute training losses ``[rows]`` of one step and write gradients into ``out``.

        Args:
            leaves: From :meth:`leaves`.
            seeds: One for each row of a candidate.
            step: Number of the step, from 0.
            out: Tensors of the leaves' shapes.
        """
        losses = self._losses(leaves, seeds, step)
        for target, gradient in zip(
            out, torch.autograd.grad(losses.sum(), leaves, allow_unused=True), strict=True
        ):
            if gradient is None:
                target.zero_()
            else:
                target.copy_(gradient)
        return losses.detach()

    def evaluate(self, weights: Tensor, split: str) -> tuple[Tensor, Tensor]:
        """Compute loss and metric of every row ``[rows]`` on a whole split."""
        inputs, targets = self._split(split)
        chunk = max(1, _EVALUATION_ELEMENTS // max(1, inputs.numel()))
        self.model.eval()
        try:
            with torch.no_grad():
                parts = [
                    self._measure(self.leaves(part), inputs, targets)
                    for part in weights.split(chunk)
                ]
        finally:
            self.model.train()
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    @cached_property
    def batched(self) -> bool:
        """Whether ``vmap`` can batch the model; found out by trying, with a message if not."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        leaves = self.leaves(self.initial([0]).repeat(2, 1))
        inputs, targets = self.batch(0, 0)
        try:
            losses = torch.vmap(self._loss, in_dims=(0, None, None), randomness="same")(
                leaves, inputs, targets
            )
            torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        except Exception as error:  # vmap raises many types, for many reasons
            reason = str(error).strip().split("\n")[0]
            warnings.warn(
                f"task {self.task.name!r} cannot be batched by vmap ({reason}); "
                "its candidates train one at a time, which is slower",
                stacklevel=2,
            )
            return False
        finally:
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        return True

    def _losses(self, leaves: list[Tensor], seeds: list[int], step: int) -> Tensor:
        if len(seeds) == 1 or self.random:
            return self._losses_by_seed(leaves, seeds, step)
        candidates = leaves[0].shape[0] // len(seeds)
        batches = [self.batch(seed, step) for seed in seeds]
        inputs, targets = (
            torch.stack(list(part)).repeat(candidates, *(1 for _ in part[0].shape))
            for part in zip(*batches, strict=True)
        )
        return torch.vmap(self._loss)(leaves, inputs, targets)

    def _losses_by_seed(self, leaves: list[Tensor], seeds: list[int], step: int) -> Tensor:
        loss = torch.vmap(self._loss, in_dims=(0, None, None), randomness="same")
        columns = []
        for number, seed in enumerate(seeds):
            rows = leaves if len(seeds) == 1 else [leaf[number :: len(seeds)] for leaf in leaves]
            inputs, targets = self.batch(seed, step)
            with random_numbers(seed, step, self.random):
                columns.append(loss(rows, inputs, targets))
        return columns[0] if len(columns) == 1 else torch.stack(columns, 1).flatten()

    def _call(self, leaves: list[Tensor], inputs: Tensor) -> Tensor:
        return functional_call(self.model, dict(zip(self.names, leaves, strict=True)), (inputs,))

    def _loss(self, leaves: list[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self.task.loss(self._call(leaves, inputs), targets)

    def _measure(
        self, leaves: list[Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        def one(row: list[Tensor], inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            output = self._call(row, inputs)
            return self.task.loss(output, targets), self.task.metric(output, targets)

        return torch.vmap(one, in_dims=(0, None, None))(leaves, inputs, targets)

    def _split(self, name: str) -> tuple[Tensor, Tensor]:
        if name not in self._splits:
            split = getattr(self.task.splits, name)
            inputs, targets = split.inputs.to(self.device), split.targets.to(self.device)
            if inputs.is_floating_point():
                inputs = inputs.to(self.dtype)
            if targets.is_floating_point():
                targets = targets.to(self.dtype)
            self._splits[name] = inputs, targets
        return self._splits[name]

    @cached_property
    def _splits(self) -> dict[str, tuple[Tensor, Tensor]]:
        return {}


class random_numbers:  # noqa: N801 - reads as a statement
    """Seed torch's random numbers by (seed, step) inside a block; only where a model draws any."""

    def __init__(self, seed: int, step: int, needed: bool) -> None:
        self.needed, self.seed = needed, seed * 1_000_003 + step
        self.saved: Any = None

    def __enter__(self) -> None:
        if self.needed:
            self.saved = torch.get_rng_state()
            torch.manual_seed(self.seed)

    def __exit__(self, *_: object) -> None:
        if self.needed:
            torch.set_rng_state(self.saved)

"""Losses and gradients of many models of one task at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from optforge.language import Layout, hidden_matrices, layout_of
from optforge.tasks import Task, augmented, batch_order, initial_model
from optforge.training.kernel import (
    Kernel,
    captured,
    compiled,
    gradient_kernel,
    measure_kernel,
)
from optforge.training.random_numbers import draws_random_numbers, random_numbers

_COMPILED_FLOPS = 1 << 24  # small, because a call that is not full costs as much as a full one
_CALL_FLOPS = 1 << 27  # an uncompiled call of about this size hides what a call itself costs
_GPU_CALL_FLOPS = 1 << 36


class Stack:
    """One task's model, with parameters of many copies as rows of a matrix.

    Args:
        task: The task; its model is built once and used for every row.
        dtype: Of weights and gradients.
        device: Where everything lives.
        compile: Whether to compile the kernels; it takes seconds to a minute a task, once a
            machine, and makes training about twice as fast.

    Example:
        >>> from optforge.tasks import load_task
        >>> stack = Stack(load_task("digits_mlp"))
        >>> stack.initial([0, 1]).shape == (2, stack.layout.elements)
        True
    """

    def __init__(
        self,
        task: Task,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        compile: bool = False,
    ) -> None:
        self.task, self.dtype, self.device = task, dtype, device
        self.model = initial_model(task, 0).to(device=device, dtype=dtype)
        self.names = [name for name, _ in self.model.named_parameters()]
        self.shapes = [tuple(p.shape) for p in self.model.parameters()]
        self.layout: Layout = layout_of(self.shapes, device, hidden_matrices(self.model))
        self._compile = compile
        self._orders: dict[int, Tensor] = {}
        self._initial: dict[int, Tensor] = {}
        self._splits: dict[str, tuple[Tensor, Tensor]] = {}
        self._gathered: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        self._gathered_step = -1
        self._measures: dict[tuple[int, ...], Kernel] = {}

    @cached_property
    def random(self) -> bool:
        """Whether model or loss draw random numbers in training, as dropout does."""
        return draws_random_numbers(self.task)

    @cached_property
    def compile(self) -> bool:
        """Whether kernels are compiled; those that draw random numbers never are."""
        return self._compile and not self.random

    @property
    def on_gpu(self) -> bool:
        """Whether everything lives on a CUDA device."""
        return torch.device(self.device).type == "cuda"

    @property
    def sums_on(self) -> str:
        """Where float64 sums of losses are kept: a GPU would be waited for in each step."""
        return self.device if self.on_gpu else "cpu"

    @cached_property
    def fixed(self) -> bool:
        """Whether a call takes exactly :attr:`rows` rows, as when compiled or recorded."""
        return self.compile or (self.on_gpu and not self.random)

    @cached_property
    def rows(self) -> int:
        """How many models one call computes at most; a call of a fixed shape, exactly."""
        inputs, targets = self.batch(0, 0)
        quiet = random_numbers(0, 0, self.random)
        with torch.no_grad(), quiet, FlopCounterMode(display=False) as counter:
            self._loss(self.views(self.initial([0])[0]), inputs, targets)
        flops = max(1, counter.get_total_flops())
        if self.on_gpu:
            return max(16, min(512, _GPU_CALL_FLOPS // flops))
        if self.compile:
            return 8 if flops <= _COMPILED_FLOPS // 8 else 4
        return max(16, min(256, _CALL_FLOPS // flops))

    def initial(self, seeds: list[int]) -> Tensor:
        """Return initial weights for each seed: ``[seeds, elements]``."""
        for seed in seeds:
            if seed not in self._initial:
                model = initial_model(self.task, seed)
                flat = torch.cat([p.detach().flatten() for p in model.parameters()])
                self._initial[seed] = flat.to(device=self.device, dtype=self.dtype)
        return torch.stack([self._initial[seed] for seed in seeds])

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Return the training batch of one step, augmented: inputs and targets."""
        if seed not in self._orders:
            self._orders[seed] = batch_order(self.task, seed).to(self.device)
        indices = self._orders[seed][step]
        inputs, targets = self.split("train")
        return augmented(self.task, inputs[indices], targets[indices], seed, step)

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of a whole split, floating-point ones in this dtype."""
        if name not in self._splits:
            part = getattr(self.task.splits, name)
            self._splits[name] = (self._placed(part.inputs), self._placed(part.targets))
        return self._splits[name]

    def views(self, weights: Tensor) -> list[Tensor]:
        """View ``[..., elements]`` as one tensor for each parameter array."""
        parts = torch.split(weights, list(self.layout.sizes), dim=-1)
        lead = weights.shape[:-1]
        return [part.view(*lead, *shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def gradients(self, weights: Tensor, seeds: Sequence[int], step: int) -> tuple[Tensor, Tensor]:
        """Compute training losses and gradients of one step, each row on its seed's batch.

        Args:
            weights: ``[rows, elements]``; exactly :attr:`rows` rows where that is :attr:`fixed`.
            seeds: One for each row: of its batch, and of random numbers that the model draws.
            step: From 0.

        Returns:
            Losses ``[rows]`` and gradients ``[rows, elements]``.
        """
        distinct = list(dict.fromkeys(seeds))
        if len(distinct) == 1 and not self.fixed:
            with random_numbers(distinct[0], step, self.random):
                return self.kernel(weights, *self.batch(distinct[0], step))
        if self.random:
            return self._seed_by_seed(weights, seeds, step)
        return self.kernel_by_row(weights, *self._batch_by_row(tuple(seeds), step))

    def _batch_by_row(self, seeds: tuple[int, ...], step: int) -> tuple[Tensor, Tensor]:
        """Return the batch of each row's seed, cached for the other calls of the same step."""
        if self._gathered_step != step:
            self._gathered.clear()
            self._gathered_step = step
        if seeds not in self._gathered:
            distinct = list(dict.fromkeys(seeds))
            places = torch.tensor([distinct.index(seed) for seed in seeds], device=self.device)
            batches = [self.batch(seed, step) for seed in distinct]
            inputs, targets = (
                torch.stack(part).index_select(0, places) for part in zip(*batches, strict=True)
            )
            self._gathered[seeds] = inputs, targets
        return self._gathered[seeds]

    def _seed_by_seed(
        self, weights: Tensor, seeds: Sequence[int], step: int
    ) -> tuple[Tensor, Tensor]:
        """Let the rows of each seed draw their own random numbers, as they would alone."""
        losses, gradients = weights.new_empty(len(weights)), torch.empty_like(weights)
        for seed in dict.fromkeys(seeds):
            rows = [row for row, other in enumerate(seeds) if other == seed]
            losses[rows], gradients[rows] = self.gradients(weights[rows], [seed], step)
        return losses, gradients

    def evaluate(self, weights: Tensor, split: str) -> tuple[Tensor, Tensor]:
        """Compute loss and metric ``[rows]`` of every row of weights on a whole split."""
        inputs, targets = self.split(split)
        self.model.eval()
        try:
            kernel = self._measure_kernel(split, weights)
            calls = _padded(weights, self.rows) if self.compile else weights.split(self.rows)
            parts = []
            for part in calls:
                with random_numbers(0, 0, self.random):  # a loss may draw noise as well
                    parts.append(kernel(part, inputs, targets))
        finally:
            self.model.train()
        count = len(weights)
        return torch.cat([p[0] for p in parts])[:count], torch.cat([p[1] for p in parts])[:count]

    @cached_property
    def kernel(self) -> Kernel:
        """Gradients of models that see the same batch."""
        return gradient_kernel(self._loss, self.views, shared=True)

    @cached_property
    def kernel_by_row(self) -> Kernel:
        """Gradients of models that see a batch each; compiled if that was asked for."""
        kernel = gradient_kernel(self._loss, self.views, shared=False)
        if not self.fixed:
            return kernel
        inputs, targets = (
            part.expand(self.rows, *part.shape).contiguous() for part in self.batch(0, 0)
        )
        example = self.initial([0] * self.rows), inputs, targets
        if self.compile:
            kernel = compiled(kernel, *example)
        return captured(kernel, *example) if self.on_gpu else kernel

    def warm(self) -> None:
        """Build data and kernels now, so that nothing later waits for them."""
        self.evaluate(self.initial([0]), "validation")
        self.gradients(self.initial([0] * self.rows), [0] * self.rows, 0)

    @cached_property
    def batched(self) -> bool:
        """Whether ``vmap`` can batch the model; found out by trying, with a message if not."""
        buffers = {name: b.clone() for name, b in self.model.named_buffers()}
        try:
            with random_numbers(0, 0, self.random):
                self.kernel(self.initial([0, 0]), *self.batch(0, 0))
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

    def _measure_kernel(self, split: str, weights: Tensor) -> Kernel:
        inputs, targets = self.split(split)
        key = tuple(inputs.shape)
        if key not in self._measures:
            kernel = measure_kernel(self._measure, self.views)
            if self.compile and split == "validation" and not self.on_gpu:
                example = self.initial([0] * self.rows)
                kernel = compiled(kernel, example, inputs, targets)
            self._measures[key] = kernel
        return self._measures[key]

    def _call(self, arrays: list[Tensor], inputs: Tensor) -> Tensor:
        return functional_call(self.model, dict(zip(self.names, arrays, strict=True)), (inputs,))

    def _loss(self, arrays: list[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self.task.loss(self._call(arrays, inputs), targets)

    def _measure(
        self, arrays: list[Tensor], inputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor]:
        output = self._call(arrays, inputs)
        return self.task.loss(output, targets), self.task.metric(output, targets)

    def _placed(self, values: Tensor) -> Tensor:
        floating = values.is_floating_point()
        return values.to(device=self.device, dtype=self.dtype if floating else values.dtype)


def _padded(weights: Tensor, rows: int) -> list[Tensor]:
    """Cut rows into calls of equal size; the last one is filled up by repeating a row."""
    missing = -len(weights) % rows
    if missing:
        weights = torch.cat([weights, weights[:1].expand(missing, -1)])
    return list(weights.split(rows))

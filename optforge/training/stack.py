"""Losses and gradients of many models of one task at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from optforge.tasks import Task, is_shipped
from optforge.training.batch_check import batching_problem
from optforge.training.kernel import (
    Kernel,
    captured,
    compiled,
    gradient_kernel,
    measure_kernel,
)
from optforge.training.random_numbers import draws_random_numbers, random_numbers
from optforge.training.rows import ModelRows

_COMPILED_FLOPS = 1 << 24  # small, because a call that is not full costs as much as a full one
_CALL_FLOPS = 1 << 27  # an uncompiled call of about this size hides what a call itself costs
_GPU_CALL_FLOPS = 1 << 36
_PASSES = 3  # a gradient takes as long as so many forward passes
_MUCH = 0.05  # of a training


class Stack(ModelRows):
    """Losses and gradients of many copies of one task's model, as rows of a matrix.

    Args:
        task: The task, as for :class:`ModelRows`.
        dtype: Type of weights, gradients and floating-point data; None for the task's own types.
        device: Device of all tensors.
        compile: Whether to compile the kernels; it takes seconds to a minute per task, once per
            machine, and makes training about twice as fast.
        batched: Whether models are trained together; None to test whether ``vmap`` can.
        scales: Factors of the gradients that rules see, by seed; 1 for others.

    Example:
        >>> from optforge.tasks import load_task
        >>> stack = Stack(load_task("digits_mlp"))
        >>> stack.initial([0, 1]).shape == (2, stack.layout.elements)
        True
    """

    def __init__(
        self,
        task: Task,
        dtype: torch.dtype | None = None,
        device: str = "cpu",
        compile: bool = False,
        batched: bool | None = None,
        scales: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        super().__init__(task, dtype, device)
        self.scales = scales
        self._compile, self._batched = compile, batched
        self._gathered: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}
        self._gathered_step = -1
        self._measures: dict[tuple[int, ...], Kernel] = {}

    @cached_property
    def random(self) -> bool:
        """Whether the model or loss draws random numbers in training, as dropout does."""
        return draws_random_numbers(self.task)

    @cached_property
    def compile(self) -> bool:
        """Whether kernels are compiled; those that draw numbers or change buffers never are."""
        return self._compile and not self.random and not self.parts.changed

    @property
    def on_gpu(self) -> bool:
        """Whether all tensors are on a CUDA device."""
        return torch.device(self.device).type == "cuda"

    @property
    def sums_on(self) -> str:
        """Device of the float64 sums of losses; a GPU for them would be waited for in each step."""
        return self.device if self.on_gpu else "cpu"

    @cached_property
    def fixed(self) -> bool:
        """Whether a call needs exactly :attr:`rows` rows, as when compiled or recorded."""
        return self.compile or (self.on_gpu and not self.random and not self.parts.changed)

    @cached_property
    def rows(self) -> int:
        """The largest number of models in one call, or the exact number for a fixed shape."""
        flops = max(1, self._training_flops())
        if self.on_gpu:
            return max(16, min(512, _GPU_CALL_FLOPS // flops))
        if self.compile:
            return 8 if flops <= _COMPILED_FLOPS // 8 else 4
        return max(16, min(256, _CALL_FLOPS // flops))

    def _training_flops(self) -> int:
        """Count the arithmetic of a forward pass, as in training whichever mode the model is in."""
        inputs, targets = self.batch(0, 0)
        quiet, was_training = random_numbers(0, 0, self.random), self.model.training
        self.model.train()
        try:
            with torch.no_grad(), quiet, FlopCounterMode(display=False) as counter:
                held = [value[0] for value in self.held([0])]
                self._loss(self.views(self.initial([0])[0]), inputs, targets, *held)
        finally:
            self.model.train(was_training)
        return counter.get_total_flops()

    def gradients(
        self,
        weights: Tensor,
        seeds: Sequence[int],
        step: int,
        held: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Compute training losses and gradients of one step, each row on its seed's batch.

        Args:
            weights: ``[rows, elements]``; exactly :attr:`rows` rows if that is :attr:`fixed`.
            seeds: Seed of each row, for its batch and for random numbers that the model draws.
            step: The step, from 0.
            held: Tensors held by each row, as from :meth:`held`; buffers are changed in place. By
                default their initial values.

        Returns:
            Losses ``[rows]`` and gradients ``[rows, elements]``.
        """
        held = self.held(seeds) if held is None else held
        distinct = list(dict.fromkeys(seeds))
        if len(distinct) == 1 and not self.fixed:
            with random_numbers(distinct[0], step, self.random):
                return _kept(held, self.kernel(weights, *self.batch(distinct[0], step), *held))
        if self.random:
            return self._seed_by_seed(weights, seeds, step, held)
        batch = self._batch_by_row(tuple(seeds), step)
        return _kept(held, self.kernel_by_row(weights, *batch, *held))

    def row_scales(self, seeds: Sequence[int]) -> Tensor | None:
        """Return the factor of the gradient of each row's seed ``[rows, 1]``; None if all are 1."""
        factors = [self.scales.get(seed, 1.0) for seed in seeds]
        if set(factors) <= {1.0}:
            return None
        return torch.tensor(factors, dtype=self.dtype, device=self.device).unsqueeze(1)

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
        self, weights: Tensor, seeds: Sequence[int], step: int, held: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Compute the rows of each seed separately, so that they draw the same numbers as alone."""
        losses, gradients = weights.new_empty(len(weights)), torch.empty_like(weights)
        for seed in dict.fromkeys(seeds):
            rows = [row for row, other in enumerate(seeds) if other == seed]
            held_rows = [value[rows] for value in held]
            losses[rows], gradients[rows] = self.gradients(weights[rows], [seed], step, held_rows)
            for value, part in zip(held, held_rows, strict=True):
                value[rows] = part
        return losses, gradients

    def evaluate(
        self, weights: Tensor, split: str, held: Sequence[Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute loss and metric ``[rows]`` of every row of weights on a whole split."""
        inputs, targets = self.split(split)
        held = self.held([0] * len(weights)) if held is None else held
        self.model.eval()
        try:
            kernel = self._measure_kernel(split)
            parts = []
            for call in zip(*[self._calls(value) for value in (weights, *held)], strict=True):
                with random_numbers(0, 0, self.random):  # a loss may draw noise as well
                    parts.append(kernel(call[0], inputs, targets, *call[1:]))
        finally:
            self.model.train()
        count = len(weights)
        return torch.cat([p[0] for p in parts])[:count], torch.cat([p[1] for p in parts])[:count]

    def _calls(self, rows: Tensor) -> list[Tensor]:
        return _padded(rows, self.rows) if self.compile else list(rows.split(self.rows))

    @cached_property
    def kernel(self) -> Kernel:
        """The gradient kernel of models that see the same batch."""
        return gradient_kernel(self._loss, self.views, shared=True)

    @cached_property
    def kernel_by_row(self) -> Kernel:
        """The gradient kernel of models that each see their own batch; compiled if requested."""
        kernel = gradient_kernel(self._loss, self.views, shared=False)
        if not self.fixed:
            return kernel
        inputs, targets = (
            part.expand(self.rows, *part.shape).contiguous() for part in self.batch(0, 0)
        )
        zeros = [0] * self.rows
        example = self.initial(zeros), inputs, targets, *self.held(zeros)
        if self.compile:
            kernel = compiled(kernel, *example)
        return captured(kernel, *example) if self.on_gpu else kernel

    def forget_kernels(self) -> None:
        """Drop kernels built for other held tensors."""
        self._measures.clear()
        for kernel in ("kernel", "kernel_by_row"):
            self.__dict__.pop(kernel, None)

    def warm(self) -> None:
        """Build data and kernels now, so that nothing waits for them later."""
        self.evaluate(self.initial([0]), "validation")
        self.gradients(self.initial([0] * self.rows), [0] * self.rows, 0)

    @cached_property
    def batched(self) -> bool:
        """Whether models are trained together; determined by a trial, with a message if not."""
        if self._batched is not None:
            return self._batched
        if (problem := batching_problem(self)) is None:
            return True
        warnings.warn(
            f"task {self.task.name!r} cannot be batched by vmap ({problem}); "
            "its candidates train one at a time, which is slower",
            stacklevel=2,
        )
        return False

    def _measure_kernel(self, split: str) -> Kernel:
        inputs, targets = self.split(split)
        key = tuple(inputs.shape)
        if key not in self._measures:
            kernel = measure_kernel(self._measure, self.views)
            if self.compile and split == "validation" and not self.on_gpu and self._is_much(inputs):
                zeros = [0] * self.rows
                example = self.initial(zeros), inputs, targets, *self.held(zeros)
                kernel = compiled(kernel, *example)
            self._measures[key] = kernel
        return self._measures[key]

    def _is_much(self, inputs: Tensor) -> bool:
        """Return whether measuring a split takes a share of a training that pays for compiling.

        Shipped tasks are always compiled, as when their committed results were made.
        """
        passes = _PASSES * self.task.steps * self.task.batch_size
        return is_shipped(self.task) or len(inputs) > _MUCH * passes

    def _loss(
        self, arrays: list[Tensor], inputs: Tensor, targets: Tensor, *held: Tensor
    ) -> Tensor | tuple[Tensor, ...]:
        changed = [value.clone() for value in held[: len(self.parts.changed)]]
        output = self.call(arrays, inputs, [*changed, *held[len(changed) :]])
        loss = self.task.loss(output, targets)
        return (loss, *changed) if changed else loss

    def _measure(
        self, arrays: list[Tensor], inputs: Tensor, targets: Tensor, *held: Tensor
    ) -> tuple[Tensor, Tensor]:
        output = self.call(arrays, inputs, held)
        return self.task.loss(output, targets), self.task.metric(output, targets)


def _kept(held: Sequence[Tensor], results: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Write the tensors that a call changed into the first held ones; return losses, gradients."""
    losses, gradients, *changed = results
    for place, value in zip(held, changed, strict=False):
        place.copy_(value)
    return losses, gradients


def _padded(weights: Tensor, rows: int) -> list[Tensor]:
    """Split rows into calls of equal size; the last one is padded by repeating a row."""
    missing = -len(weights) % rows
    if missing:
        weights = torch.cat([weights, weights[:1].expand(missing, -1)])
    return list(weights.split(rows))

"""Many copies of one model as rows of a matrix, together with the tensors that are not trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

from optforge.language import Layout, hidden_matrices, layout_of
from optforge.tasks import Task, augmented, batch_order, initial_model
from optforge.training.parts import Parts, fixed_tensors, parts_of


class ModelRows:
    """A task's model and batches, with the trained parameters of many copies as rows.

    Frozen and unused parameters and buffers are held separately: shared by all rows, or by row if
    they differ between seeds or change in training.

    Args:
        task: The task; its model is built once and used for every row.
        dtype: Type of weights, gradients and floating-point data; None for the task's own types.
            Rows then have the widest type of a trained parameter, at least float32.
        device: Device of all tensors.
    """

    def __init__(self, task: Task, dtype: torch.dtype | None, device: str) -> None:
        self.task, self.device, self._cast = task, device, dtype
        self.varying: tuple[str, ...] = ()
        self._initial: dict[int, tuple[Tensor, list[Tensor]]] = {}
        self._orders: dict[int, Tensor] = {}
        self._splits: dict[str, tuple[Tensor, Tensor]] = {}

    def fresh_model(self, seed: int) -> nn.Module:
        """Return the untrained model of a seed, on this device and in this dtype."""
        return initial_model(self.task, seed).to(device=self.device, dtype=self._cast)

    @cached_property
    def model(self) -> nn.Module:
        """The model whose parameters are replaced by those of each row."""
        return self.fresh_model(0)

    @cached_property
    def parts(self) -> Parts:
        """The trained tensors of the model, and the buffers that training changes."""
        model_parts = parts_of(self.task, self.fresh_model(0), *self.batch(0, 0))
        self.varying = model_parts.changed
        return model_parts

    @cached_property
    def _trained(self) -> list[nn.Parameter]:
        parameters = dict(self.model.named_parameters())
        return [parameters[name] for name in self.parts.trained]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of each trained parameter."""
        return [tuple(p.shape) for p in self._trained]

    @cached_property
    def layout(self) -> Layout:
        """Where each trained parameter lies in a row."""
        matrices = hidden_matrices(self.model)
        names = [name for name, _ in self.model.named_parameters()]
        roles = dict(zip(names, matrices, strict=True))
        return layout_of(self.shapes, self.device, [roles[name] for name in self.parts.trained])

    @cached_property
    def dtype(self) -> torch.dtype:
        """The type of the rows."""
        widest = self._cast or torch.float32
        for parameter in () if self._cast else self._trained:
            widest = torch.promote_types(widest, parameter.dtype)
        return widest

    @cached_property
    def _narrow(self) -> list[tuple[slice, torch.dtype]]:
        """Parts of a row whose parameters have a narrower type than the row."""
        ends = torch.tensor(self.layout.sizes).cumsum(0).tolist()
        places = zip(ends, self.layout.sizes, self._trained, strict=True)
        return [(slice(e - n, e), p.dtype) for e, n, p in places if p.dtype != self.dtype]

    def round(self, weights: Tensor) -> None:
        """Round weights ``[rows, elements]`` in place to values that their parameters can hold."""
        for place, dtype in self._narrow:
            weights[:, place] = weights[:, place].to(dtype).to(self.dtype)

    def initial(self, seeds: Sequence[int]) -> Tensor:
        """Return initial weights for each seed: ``[seeds, elements]``."""
        return torch.stack([self._state(seed)[0] for seed in seeds])

    def held(self, seeds: Sequence[int]) -> list[Tensor]:
        """Return new copies of the tensors held by row: ``[seeds, ...]`` for each tensor."""
        for seed in seeds:
            self._state(seed)
        states = [self._state(seed)[1] for seed in seeds]
        return [torch.stack(values) for values in zip(*states, strict=True)]

    def _state(self, seed: int) -> tuple[Tensor, list[Tensor]]:
        """Return the weights of a fresh model and those of its fixed tensors that vary."""
        if seed not in self._initial:
            model, trained = self.fresh_model(seed), self.parts.trained
            shared, fixed = (dict(fixed_tensors(m, trained)) for m in (self.model, model))
            self._vary(name for name in fixed if not torch.equal(fixed[name], shared[name]))
            parameters = dict(model.named_parameters())
            parts = [parameters[name].detach().flatten().to(self.dtype) for name in trained]
            held = [fixed[name].clone() for name in self.varying]
            self._initial[seed] = torch.cat(parts), held
        return self._initial[seed]

    def _vary(self, names: Iterable[str]) -> None:
        """Hold further tensors by row, and drop everything built without them."""
        if more := [name for name in names if name not in self.varying]:
            self.varying = (*self.varying, *more)
            self._initial.clear()
            self.forget_kernels()

    def forget_kernels(self) -> None:
        """Drop kernels built for other held tensors."""

    def views(self, weights: Tensor) -> list[Tensor]:
        """Return ``[..., elements]`` as one view for each parameter array."""
        parts = torch.split(weights, list(self.layout.sizes), dim=-1)
        lead = weights.shape[:-1]
        return [part.view((*lead, *shape)) for part, shape in zip(parts, self.shapes, strict=True)]

    def call(self, arrays: list[Tensor], inputs: Tensor, held: Sequence[Tensor]) -> Tensor:
        """Run the model of one row with its weights and held tensors."""
        weights = [a.to(p.dtype) for a, p in zip(arrays, self._trained, strict=True)]
        named = [*zip(self.parts.trained, weights, strict=True)]
        named += zip(self.varying, held, strict=True)
        return functional_call(self.model, dict(named), (inputs,))

    def batch(self, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Return the training batch of one step, augmented: inputs and targets."""
        if seed not in self._orders:
            self._orders[seed] = batch_order(self.task, seed).to(self.device)
        indices = self._orders[seed][step]
        inputs, targets = self.split("train")
        return augmented(self.task, inputs[indices], targets[indices], seed, step)

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of a whole split."""
        if name not in self._splits:
            part = getattr(self.task.splits, name)
            self._splits[name] = (self._placed(part.inputs), self._placed(part.targets))
        return self._splits[name]

    def _placed(self, values: Tensor) -> Tensor:
        cast = self._cast if values.is_floating_point() else None
        return values.to(device=self.device, dtype=cast or values.dtype)

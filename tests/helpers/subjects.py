"""Exported files as subjects of the parity tests (see `tests/helpers/parity.py`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import torch

from optforge.exporters.plan import plan
from optforge.language import Kind, Layout, Program
from tests.helpers.exported import module_of, optimizer_of
from tests.helpers.parity import Array, Scenario, States, parameters_of

Shape = tuple[int, ...]


class ExportedTorch:
    """The optimizer of a file for torch; `save_at` saves and loads it before that step."""

    def __init__(self, program: Program, scenario: Scenario, save_at: int = -1) -> None:
        self.plan, self.save_at, self.count = plan(program), save_at, 0
        self.make = optimizer_of(module_of(program, "torch"))
        self.parameters, self.layout = parameters_of(scenario), scenario.layout
        self.settings = {"total_steps": scenario.steps} if self.plan.progress else {}
        self.matrices = scenario.matrices if self.plan.role else None
        self.optimizer = self._made()
        self.peak = self.optimizer.param_groups[0]["lr"]

    def _made(self) -> Any:
        if self.matrices is None:
            return self.make(self.parameters, **self.settings)
        pairs = zip(self.parameters, self.matrices, strict=True)
        return self.make([{"params": [p], "matrices": m} for p, m in pairs], **self.settings)

    def put(self, weights: Array, states: States, step: int = 0) -> None:
        self.optimizer.state.clear()
        for group in self.optimizer.param_groups:
            group |= {"step": step} if "step" in group else {}
        for parameter, part in zip(self.parameters, self._parts(weights), strict=True):
            parameter.data.copy_(part)
        for state, row in zip(self.plan.states, states, strict=True):
            if state.kind == Kind.SCALAR:
                for group in self.optimizer.param_groups:
                    group[state.wish] = torch.tensor(row[0])
                continue
            values = self._parts(row, state.kind) if state.kind > 1 else torch.tensor(row)
            for parameter, value in zip(self.parameters, values, strict=True):
                self.optimizer.state[parameter][state.wish] = value.clone()

    def _parts(self, row: Array, kind: int = Kind.TREE) -> list[torch.Tensor]:
        parts = torch.split(torch.from_numpy(row.copy()), list(self.layout.sizes_of(kind)))
        shapes = shapes_of(self.layout, [tuple(p.shape) for p in self.parameters], kind)
        return [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]

    def step(self, gradient: Array, schedule: float) -> None:
        if self.count == self.save_at:
            self._save_and_load()
        self.count += 1
        for parameter, part in zip(self.parameters, self._parts(gradient), strict=True):
            parameter.grad = part.clone()
        for group in self.optimizer.param_groups:
            group["lr"] = schedule * self.peak
        self.optimizer.step()
        for parameter, part in zip(self.parameters, self._parts(gradient), strict=True):
            assert torch.equal(parameter.grad, part)  # it is not ours to change

    def _save_and_load(self) -> None:
        file = io.BytesIO()
        torch.save(self.optimizer.state_dict(), file)
        file.seek(0)
        self.optimizer = self._made()
        self.optimizer.load_state_dict(torch.load(file, weights_only=True))

    def get(self) -> tuple[Array, States]:
        weights = torch.cat([p.detach().flatten() for p in self.parameters]).numpy().copy()
        return weights, [self._state(state) for state in self.plan.states]

    def _state(self, state: Any) -> Array:
        if state.kind == Kind.SCALAR:
            values = [torch.as_tensor(self.optimizer.param_groups[0][state.wish])]
        else:
            values = [self.optimizer.state[p][state.wish] for p in self.parameters]
        return torch.cat([v.detach().double().flatten() for v in values]).numpy().copy()


def shapes_of(layout: Layout, shapes: Sequence[Shape], kind: int) -> list[Shape]:
    """Shapes of the arrays in a value of a kind: those of their own, but for hidden matrices."""
    if kind == Kind.TREE:
        return list(shapes)
    both = zip(shapes, layout.shapes_of(kind), layout.matrices, strict=True)
    return [sides if is_matrix else own for own, sides, is_matrix in both]


class ExportedOptax:
    """The transformation of a file for optax, in float64; `jit` compiles the step."""

    def __init__(
        self, program: Program, scenario: Scenario, save_at: int = -1, jit: bool = False
    ) -> None:
        self.plan, self.save_at, self.count = plan(program), save_at, 0
        settings: dict[str, Any] = {"total_steps": scenario.steps} if self.plan.progress else {}
        if self.plan.role and scenario.matrices is not None:
            settings["matrices"] = {f"p{i}": m for i, m in enumerate(scenario.matrices)}
        self.make = partial(module_of(program, "optax").rule, **settings)
        self.shapes, self.layout = scenario.shapes, scenario.layout
        self.params = self._tree(np.zeros(self.layout.elements))
        self.state = self.make().init(self.params)
        self.update = jax.jit(self._update) if jit else self._update

    def _update(self, gradients: Any, state: Any, params: Any, schedule: Any) -> Any:
        if self.plan.product:
            made = self.make(learning_rate=schedule * self.plan.rate_value)
        elif self.plan.schedule:
            made = self.make(schedule=lambda step: schedule)
        else:
            made = self.make()
        updates, state = made.update(gradients, state, params)
        return jax.tree.map(lambda p, u: p + u, params, updates), state

    def _tree(self, row: Array, kind: int = Kind.TREE) -> dict[str, Any]:
        parts = np.split(row, np.cumsum(self.layout.sizes_of(kind))[:-1])
        pairs = enumerate(zip(parts, shapes_of(self.layout, self.shapes, kind), strict=True))
        return {f"p{i}": jax.numpy.asarray(part.reshape(shape)) for i, (part, shape) in pairs}

    def put(self, weights: Array, states: States, step: int = 0) -> None:
        self.params = self._tree(weights)
        fields: dict[str, Any] = {}
        for name, state, row in zip(self.fields, self.plan.states, states, strict=True):
            if state.kind == Kind.SCALAR:
                fields[name] = jax.numpy.asarray(row[0])
            elif state.kind == Kind.ARRAY:
                fields[name] = {f"p{i}": jax.numpy.asarray(v) for i, v in enumerate(row)}
            else:
                fields[name] = self._tree(row, state.kind)
        count = jax.numpy.asarray(step, jax.numpy.int32)
        self.state = self.make().init(self.params)._replace(step=count, **fields)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.state._fields[1:]

    def step(self, gradient: Array, schedule: float) -> None:
        if self.count == self.save_at:
            self._save_and_load()
        self.count += 1
        gradients = self._tree(gradient)
        self.params, self.state = self.update(gradients, self.state, self.params, schedule)

    def _save_and_load(self) -> None:
        leaves, structure = jax.tree.flatten(self.state)
        file = io.BytesIO()
        np.savez(file, *[np.asarray(leaf) for leaf in leaves])
        file.seek(0)
        stored = np.load(file)
        loaded = [jax.numpy.asarray(stored[f"arr_{i}"]) for i in range(len(leaves))]
        self.state = structure.unflatten(loaded)

    def get(self) -> tuple[Array, States]:
        return _row(self.params), [_row(getattr(self.state, name)) for name in self.fields]


def _row(tree: Any) -> Array:
    return np.concatenate(
        [np.ravel(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(tree)]
    )

"""The fused path on the CPU: one call of native code for all parameters of a kind."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from optforge.optim.compiler import compiles
from optforge.optim.forms import (
    Form,
    columns_of,
    form_of,
    has_compiler,
    kernel_function,
    keys_as_tensor,
    keys_of,
    made_up,
    stacked,
    vector_of,
)
from optforge.optim.leaves import Leaf, is_flat
from optforge.optim.native import SAMPLE, Column, Sweep, sweep_of
from optforge.optim.options import Number, Rule
from optforge.optim.rounding import random_key
from optforge.optim.update import Numbers, Values


def native_step(members: Sequence[Leaf], numbers: Numbers, form: Form, sweep: Sweep) -> None:
    """Step leaves of one form.

    Args:
        members: The leaves; blocks of 8 bits are full.
        numbers: Learning rate and the like.
        form: What the kernel is specialised on.
        sweep: From `sweep_for(form)`.
    """
    shared = [vector_of(numbers, form), *_scalers(numbers, form)]
    ends = [tensor.data_ptr() for tensor in shared]
    keys = keys_of(members, form)
    key = 0 if keys is None else keys.data_ptr()
    scales = stacked([leaf.cautious_scale for leaf in members], form) if form.cautious else None
    scale = 0 if scales is None else scales.data_ptr()
    addresses: list[int] = []
    units: list[int] = []
    block = form.rule.block or 1
    for number, leaf in enumerate(members):
        weight, *kept = leaf.values
        addresses += (weight.data_ptr(), leaf.gradient.data_ptr())
        addresses += [value.data_ptr() for value in kept if value is not None]
        if scales is not None:
            addresses.append(scale + number * scales.element_size())
        if keys is not None:
            addresses.append(key + number * keys.element_size())
        addresses += ends
        units.append(leaf.gradient.numel() // block)
    sweep(array("q", addresses), array("q", units))
    # Autograd cannot see what native code writes: it must refuse graphs that keep old weights.
    increment_version([value for leaf in members for value in leaf.values if value is not None])


def plain_step(
    parameters: Sequence[Tensor],
    states: Mapping[Any, dict[str, Any]],
    keys: Sequence[Number],
    numbers: Numbers,
    rule: Rule,
) -> bool:
    """Step parameters that need no leaves, as almost all are: their addresses will do.

    Args:
        parameters: With gradients, all of one group.
        states: Their states.
        keys: Their random keys, where weights are rounded at random.
        numbers: Learning rate and the like.
        rule: What is fixed.

    Returns:
        Whether it was done; if not, nothing was.
    """
    first, momentum = parameters[0], states[parameters[0]]["momentum"]
    if first.device.type != "cpu" or not (first.is_floating_point() and has_compiler()):
        return False
    gradient = first.grad
    assert gradient is not None
    leaf = Leaf(Values(first, momentum), gradient)
    form = form_of(leaf, numbers, rule)
    rows = _plain_rows(parameters, states, form)
    if rows is None or not compiles(sweep_for, form):
        return False
    sweep = sweep_for(form)
    if sweep is None:
        return False
    shared = [vector_of(numbers, form), *_scalers(numbers, form)]
    ends = tuple(tensor.data_ptr() for tensor in shared)
    if form.keyed:
        kept = keys_as_tensor(keys, form)
        first_key = kept.data_ptr()
        rows = [(*row, first_key + 4 * number) for number, row in enumerate(rows)]
    addresses = array("q", [address for row in rows for address in (*row, *ends)])
    sweep(addresses, array("q", [parameter.numel() for parameter in parameters]))
    increment_version([*parameters, *(states[p]["momentum"] for p in parameters)])
    return True


def _plain_rows(
    parameters: Sequence[Tensor], states: Mapping[Any, dict[str, Any]], form: Form
) -> list[tuple[int, ...]] | None:
    """Give the addresses of weight, gradient and momentum of each parameter; None if one differs.

    Plain is: on the CPU, of the form's dtypes, nothing but this in the state, of equal size, and
    flat views are all it takes.
    """
    weight, other, kept = form.weight, form.gradient, form.momentum
    wanted = 2 if form.keyed else 1
    rows = []
    for parameter in parameters:
        state, gradient = states[parameter], parameter.grad
        momentum = state["momentum"]
        assert gradient is not None
        if not (
            len(state) == wanted
            and parameter.dtype is weight
            and gradient.dtype is other
            and momentum.dtype is kept
            and parameter.is_cpu  # whatever the first one is
            and gradient.is_cpu
            and momentum.is_cpu
            and is_flat(parameter, gradient, momentum)
        ):
            return None
        rows.append((parameter.data_ptr(), gradient.data_ptr(), momentum.data_ptr()))
    return rows


def _scalers(numbers: Numbers, form: Form) -> list[Tensor]:
    """Give what a gradient scaler brings, as kernels take it."""
    given = [e for e in (numbers.grad_scale, numbers.found_inf) if e is not None]
    return [e.detach().to(form.device, torch.float32).reshape(()) for e in given]


@cache
def sweep_for(form: Form) -> Sweep | None:
    """Compile the kernel of a form for one parameter, and find out how to call it straight.

    Returns:
        None if the straight call does not give what the usual call gives.
    """
    function = kernel_function(form, 1)
    kernel = torch.compile(function, fullgraph=True, options={"cpp.threads": 1})
    samples = _Samples(form)
    for column in samples.arguments[:5]:
        for tensor in column or []:
            torch._dynamo.mark_dynamic(tensor, 0)
    samples.run(kernel)
    key = (samples.key_column, form.step_of_keys)
    return sweep_of(
        lambda: samples.run(kernel), samples.columns, SAMPLE, elements=form.rule.block or 1, key=key
    )


class _Samples:
    """Made-up arguments of a kernel."""

    def __init__(self, form: Form) -> None:
        self.form, leaf = form, made_up(form, SAMPLE * (form.rule.block or 1))
        leaf.key = random_key(0, 1, 0) if form.keyed else 0
        one = torch.ones(())
        numbers = Numbers(1e-3, 1e-4, 9.0, 0.99, 0.01, one if form.scaled else None)
        self.arguments: list[Any] = [
            *columns_of([leaf], form),
            stacked([leaf.cautious_scale], form) if form.cautious else None,
            keys_of([leaf], form),
            vector_of(numbers, form),
            numbers.grad_scale,
            torch.zeros(()) if form.may_skip else None,
        ]
        generator = torch.Generator().manual_seed(0)
        for column in self.arguments[:5]:
            for tensor in column or []:
                _fill(tensor, generator)

    def run(self, kernel: Callable[..., None]) -> None:
        """Call the kernel as torch.compile has it."""
        kernel(*self.arguments)

    @property
    def columns(self) -> list[Column]:
        """The arguments as columns of the table, in the order of `native_step`."""
        columns = []
        for number, argument in enumerate(self.arguments):
            if argument is None:
                continue
            tensor = argument[0] if isinstance(argument, list) else argument
            size = tensor.numel() * tensor.element_size()
            columns.append(Column(tensor, size // SAMPLE if number < 5 else 0))
        return columns

    @property
    def key_column(self) -> int:
        """The number of the column of random keys, -1 if there is none."""
        keys = self.arguments[6]
        found = (n for n, c in enumerate(self.columns) if keys is not None and c.sample is keys)
        return next(found, -1)


def _fill(tensor: Tensor, generator: torch.Generator) -> None:
    values = torch.randn(tensor.shape, generator=generator)
    if tensor.dtype.is_floating_point:
        tensor.copy_(values)
    else:
        tensor.copy_((values * 30).clamp(-127, 127))

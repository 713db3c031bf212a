"""Running the rules of many candidates with shared calls for matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch

from optforge.language import Interpreter
from optforge.language.interpreter import Product, Steps

Inputs = tuple[Any, Any, Sequence[Any], list[float]]
Result = tuple[Any, list[Any]]
_Waiting = dict[int, tuple[Product, list[Any]]]


def run_together(rules: Sequence[Interpreter], inputs: Sequence[Inputs]) -> list[Result]:
    """Compute one step of several rules of one layout.

    A product of small matrices costs more in calls than in arithmetic. So each rule runs until it
    needs a product, and then all equal products are computed at once, over all candidates, all
    seeds and all arrays of one shape.

    Args:
        rules: Rules of one layout.
        inputs: For each rule, the arguments of :meth:`~optforge.language.Interpreter.step`.

    Returns:
        For each rule its update and next states, the same as when it runs alone.
    """
    results: dict[int, Result] = {}
    running: dict[int, Steps] = {}
    for number, (rule, arguments) in enumerate(zip(rules, inputs, strict=True)):
        if rule.has_products:
            running[number] = rule.steps(*arguments)
        else:
            results[number] = rule.step(*arguments)
    waiting: _Waiting = {}
    for number, steps in list(running.items()):
        _advance(number, steps, None, waiting, results)
    while waiting:
        values = _computed(waiting, [len(arguments[0]) for arguments in inputs])
        waiting = {}
        for number, value in values.items():
            _advance(number, running[number], value, waiting, results)
    return [results[number] for number in range(len(rules))]


def _advance(
    number: int, steps: Steps, value: Any, waiting: _Waiting, results: dict[int, Result]
) -> None:
    """Run a rule until its next product or its end."""
    try:
        waiting[number] = steps.send(value)
    except StopIteration as end:
        results[number] = end.value


def _computed(waiting: _Waiting, rows: Sequence[int]) -> dict[int, Any]:
    """Compute the products that all rules wait for, each kind in one call."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, (product, _) in waiting.items():
        alike.setdefault(product.key, []).append(number)
    values: dict[int, Any] = {}
    for numbers in alike.values():
        counts = [rows[number] for number in numbers]
        columns = zip(*(_whole(waiting[n][1], rows[n]) for n in numbers), strict=True)
        arguments = [_joined(column) for column in columns]
        result, start = waiting[numbers[0]][0].apply(*arguments), 0
        for number, count in zip(numbers, counts, strict=True):
            values[number] = result[start : start + count]
            start += count
    return values


def _whole(arguments: Sequence[Any], rows: int) -> list[Any]:
    """Expand an argument shared by all rows to one value per row."""
    return [
        argument.expand(rows, argument.shape[-1])
        if isinstance(argument, torch.Tensor)
        else numpy.broadcast_to(argument, (rows, argument.shape[-1]))
        for argument in arguments
    ]


def _joined(parts: Sequence[Any]) -> Any:
    return (
        torch.cat(list(parts)) if isinstance(parts[0], torch.Tensor) else numpy.concatenate(parts)
    )

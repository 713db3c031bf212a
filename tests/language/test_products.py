"""Products that `Interpreter.steps` hands out: the same bits as `step`, many programs at once."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.language import Interpreter, Kind, Program, layout_of, parse
from tests.strategies import SHAPING, random_program

LAYOUT = layout_of(((3, 4), (5,), (2, 3, 2), (), (4, 3), (0, 2)), matrices=[True] * 5 + [False])
ENGINES = pytest.mark.parametrize("arrays", [False, True], ids=["torch", "numpy"])


def inputs(arrays: bool, seed: int = 0) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    w, g = (generator.normal(size=(3, LAYOUT.elements)) for _ in range(2))
    return (w, g) if arrays else (torch.tensor(w), torch.tensor(g))


def driven(rule: Interpreter, w: Any, g: Any, states: list[Any], scalars: list[float]) -> Any:
    """One step, whose products are computed here."""
    steps, value = rule.steps(w, g, states, scalars), None
    try:
        while True:
            product, arguments = steps.send(value)
            value = product.apply(*arguments)
    except StopIteration as end:
        return end.value


def ready(program: Program, arrays: bool) -> Interpreter:
    return Interpreter(program, state_kinds(program), LAYOUT, torch.float64, arrays)


@ENGINES
def test_steps_is_step_bit_for_bit(arrays: bool) -> None:
    source, with_products = random.Random(4), 0
    for seed in range(200):
        rule = ready(random_program(source, SHAPING), arrays)
        w, g = inputs(arrays, seed)
        states = others = rule.initial_states(3)
        with np.errstate(all="ignore"):
            for scalars in rule.schedule([1.0, 0.5, 0.25]):
                update, states = rule.step(w, g, states, scalars)
                other, others = driven(rule, w, g, others, scalars)
                for one, two in zip([update, *states], [other, *others], strict=True):
                    assert np.array_equal(np.asarray(one), np.asarray(two), equal_nan=True)
        with_products += rule.has_products
    assert 100 < with_products < 200


@ENGINES
def test_products_of_one_key_can_be_computed_in_one_call(arrays: bool) -> None:
    texts = (
        "u = orthogonalize(g)\n    t = transpose(g)",
        "t = transpose(w)\n    u = orthogonalize(t)\n    u = transpose(u)",
        "u = orthogonalize(w)\n    t = transpose(u)",
        "t = transpose(g)\n    c = matmul(t, g)\n    u = matmul(g, c)",
        "t = transpose(w)\n    c = matmul(t, w)\n    u = matmul(w, c)",
    )
    rules = [ready(parse(f"def train(w, g, lr):\n    {t}\n    return u\n"), arrays) for t in texts]
    w, g = inputs(arrays)
    running = [rule.steps(w, g, [], rule.scalars(1.0)) for rule in rules]
    waiting, results = {n: next(steps) for n, steps in enumerate(running)}, {}
    calls = 0
    while waiting:
        groups = defaultdict(list)
        for number, (product, _) in waiting.items():
            groups[product.key].append(number)
        for numbers in groups.values():
            arguments = zip(*[waiting[n][1] for n in numbers], strict=True)
            joined = [np.concatenate(a) if arrays else torch.cat(a) for a in arguments]
            values = waiting[numbers[0]][0].apply(*joined)
            calls += 1
            for place, number in enumerate(numbers):
                try:
                    waiting[number] = running[number].send(values[3 * place : 3 * place + 3])
                except StopIteration as end:
                    results[number] = end.value[0]
                    del waiting[number]
    assert calls == 4  # of a tree, of a transposed one, and the two products of the last programs
    for number, rule in enumerate(rules):
        update, _ = rule.step(w, g, [], rule.scalars(1.0))
        assert np.asarray(results[number]) == pytest.approx(np.asarray(update), rel=1e-12)


def test_only_what_computes_with_matrices_has_products() -> None:
    for line, has in [
        ("u = orthogonalize(g)", True),
        ("u = row_mean(g)", False),
        ("u = transpose(transpose(g))", False),
        ("u = g * orthogonalize(0.5)", False),  # of a number it is the sign
        ("u = g * orthogonalize(norm(g))", False),
    ]:
        rule = ready(parse(f"def train(w, g, lr):\n    {line}\n    return u\n"), False)
        assert rule.has_products is has, line


def test_a_product_tells_kinds_apart_in_its_key() -> None:
    text = "t = transpose(g)\n    r = matmul(g, t)\n    x = orthogonalize(r)\n    u = matmul(x, g)"
    rule = ready(parse(f"def train(w, g, lr):\n    {text}\n    return u\n"), False)
    steps, value, keys = rule.steps(*inputs(False), [], rule.scalars(1.0)), None, []
    with pytest.raises(StopIteration):
        while True:
            product, arguments = steps.send(value)
            keys.append(product.key)
            value = product.apply(*arguments)
    assert [key[0] for key in keys] == ["matmul", "orthogonalize", "matmul"]
    assert len(set(keys)) == 3 and Kind.ROW_SQUARE == 4

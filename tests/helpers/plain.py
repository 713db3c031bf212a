"""Training as everybody writes it: one torch module, `loss.backward()`, rules on lists of arrays.

Nothing here knows programs; the rules are written anew from their listings.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from optforge.language import Program, load_rule, parse
from optforge.tasks import Task, batch_order, initial_model

Arrays = list[Tensor]
Rule = Callable[[Arrays, Arrays, list[Arrays], float], tuple[Arrays, list[Arrays]]]
GUARD = 1e-8


def mix(x: Arrays, y: Arrays, share: float) -> Arrays:
    return [(1 - share) * a + share * b for a, b in zip(x, y, strict=True)]


def inner(x: Arrays, y: Arrays) -> Tensor:
    return sum(((a * b).sum() for a, b in zip(x, y, strict=True)), torch.zeros(()).double())


def adamw(w: Arrays, g: Arrays, states: list[Arrays], lr: float) -> tuple[Arrays, list[Arrays]]:
    m = mix(g, states[0], 0.9)
    v = mix([x**2 for x in g], states[1], 0.999)
    rate = lr * 0.001
    return [rate * (a / (b.sqrt() + GUARD) + 0.01 * c) for a, b, c in zip(m, v, w, strict=True)], [
        m,
        v,
    ]


def lion(w: Arrays, g: Arrays, states: list[Arrays], lr: float) -> tuple[Arrays, list[Arrays]]:
    (m,) = states
    rate = lr * 0.0001
    update = [rate * (c.sign() + 0.1 * x) for c, x in zip(mix(g, m, 0.9), w, strict=True)]
    return update, [mix(g, m, 0.99)]


def program_4(w: Arrays, g: Arrays, states: list[Arrays], lr: float) -> tuple[Arrays, list[Arrays]]:
    length = inner(g, g).sqrt().item()
    factor = 1.0 if length == 0 else min(1.0, lr / length)
    g = [(x * factor).asin() for x in g]
    m = mix(g, states[1], 0.899)
    v = mix(g, m, 1.109)
    update = [a / (a.abs() + GUARD) + 0.4602 * b for a, b in zip(m, w, strict=True)]
    return [0.0002 * lr * u for u in update], [[u.cosh() for u in update], v]


WHOLE_TREE = """
def train(w, g, m, lr):
    size = norm(g)
    g = clip(g, 0.5)
    m = interp(g, m, 0.9)
    alike = cosine_sim(g, m)
    along = dot(m, w)
    length = global_norm(m)
    each = norm(m)
    update = m / each
    decay = w * along
    update = update + decay
    size = size + 1.0
    update = update / size
    alike = alike + 2.0
    update = update * alike
    update = update / length
    lr = lr * 0.01
    update = update * lr
    return update, m
"""


def whole_tree(
    w: Arrays, g: Arrays, states: list[Arrays], lr: float
) -> tuple[Arrays, list[Arrays]]:
    """What :data:`WHOLE_TREE` says."""
    sizes = [x.norm() + 1 for x in g]
    length = inner(g, g).sqrt()
    g = [x * min(1.0, 0.5 / length.item()) for x in g]
    m = mix(g, states[0], 0.9)
    alike = inner(g, m) / (inner(g, g) * inner(m, m)).sqrt() + 2
    along, total = inner(m, w), inner(m, m).sqrt()
    update = []
    for a, b, size in zip(m, w, sizes, strict=True):
        u = (a / (a.norm() + GUARD) + along * b) / (size + GUARD)
        update.append(0.01 * lr * u * alike / (total + GUARD))
    return update, [m]


RULES: dict[str, tuple[Program, Rule, int]] = {
    "adamw": (load_rule("adamw"), adamw, 2),
    "lion": (load_rule("lion"), lion, 1),
    "program_4": (load_rule("program_4"), program_4, 2),
    "whole_tree": (parse(WHOLE_TREE), whole_tree, 1),
}


def peak_and_cosine(step: int, steps: int) -> float:
    """The schedule for a warm-up of a tenth, written out."""
    rising = max(1, round(0.1 * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 + 0.5 * math.cos(math.pi * (step - rising + 1) / (steps - rising + 1))


@dataclass(frozen=True)
class Ran:
    """Validation loss and metric at the end, and the training loss of every step."""

    loss: float
    metric: float
    training: list[float]


def train(task: Task, rule: Rule, states: int, seed: int, dtype: torch.dtype) -> Ran:
    """Train one model with one rule."""
    model = initial_model(task, seed).to(dtype)
    weights = list(model.parameters())
    memory = [[torch.zeros_like(w) for w in weights] for _ in range(states)]
    order, losses = batch_order(task, seed), []
    for step in range(task.steps):
        rows = order[step]
        inputs = _as(task.splits.train.inputs, dtype)[rows]
        loss = task.loss(model(inputs), _as(task.splits.train.targets, dtype)[rows])
        model.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        with torch.no_grad():
            lr = peak_and_cosine(step, task.steps)
            update, memory = rule([w.clone() for w in weights], gradients, memory, lr)
            for w, u in zip(weights, update, strict=True):
                w -= u
    model.eval()
    with torch.no_grad():
        part = task.splits.validation
        output, targets = model(_as(part.inputs, dtype)), _as(part.targets, dtype)
        return Ran(task.loss(output, targets).item(), task.metric(output, targets).item(), losses)


def _as(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values

"""Children at the step size of their parents."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

from optforge.analysis import state_kinds
from optforge.evolution.genome import recall
from optforge.evolution.rescale import Yardstick, rescaled
from optforge.language import Interpreter, Program, load_rule, parse, rule_names
from optforge.training import Recording, Stack, record
from tests.helpers.tiny import Blobs

ADAMW = load_rule("adamw")


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    found = Yardstick.of(Blobs(), ADAMW, 3)
    assert found is not None
    return found


def changed(old: str, new: str) -> Program:
    assert old in ADAMW.text
    return parse(ADAMW.text.replace(old, new))


def lengths(program: Program, kept: Recording) -> list[float]:
    """Norms of the updates, by the interpreter on float64 tensors."""
    rule = Interpreter(program, state_kinds(program), kept.layout, torch.float64)
    scalars, states, found = rule.schedule(list(kept.lrs)), rule.initial_states(1), []
    for step, (w, g) in enumerate(zip(kept.weights, kept.gradients, strict=True)):
        w, g = torch.from_numpy(w).double(), torch.from_numpy(g).double()
        update, states = rule.step(w, g, states, scalars[step])
        found.append(update.norm().item())
    return found


def test_a_recording_is_what_training_sees() -> None:
    stack = Stack(Blobs())
    whole, part = record(stack, ADAMW, 5, 0, 7), record(stack, ADAMW, 5, 4, 3)
    for kept in ("weights", "gradients", "lrs"):
        for ours, theirs in zip(getattr(part, kept), getattr(whole, kept)[4:], strict=True):
            numpy.testing.assert_array_equal(ours, theirs)
    assert not numpy.array_equal(whole.weights[0], whole.weights[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("sqrt_v = sqrt(v)", "sqrt_v = cbrt(v)"),
        ("update = m / sqrt_v", "update = m * 1.0"),
        ("lr = lr * 0.001", "lr = lr * 0.25"),
    ],
)
def test_a_rescaled_child_moves_as_far_as_its_parent(
    yardstick: Yardstick, old: str, new: str
) -> None:
    child = changed(old, new)
    ratio = yardstick.ratio(recall(ADAMW), recall(child))
    assert ratio is not None
    again = rescaled(child, ratio)
    assert again is not None
    mine, wanted = (math.hypot(*lengths(p, yardstick.recording)[2:]) for p in (again, ADAMW))
    assert mine == pytest.approx(wanted, rel=0.06)  # the ratio has two digits
    assert yardstick.ratio(recall(ADAMW), recall(again)) is None


def test_small_changes_and_hopeless_children_are_left_alone(yardstick: Yardstick) -> None:
    for new in ("lr = lr * 0.0011", "lr = lr * 0.0", "lr = log(-0.0)"):
        child = changed("lr = lr * 0.001", new)
        assert yardstick.ratio(recall(ADAMW), recall(child)) is None


def test_dead_statements_stay_where_they_are() -> None:
    program = changed("    wd = w * 0.01", "    dead = w * 7.0\n    wd = w * 0.01")
    found = rescaled(program, 3.0)
    assert found is not None
    differ = [
        (a.text, b.text)
        for a, b in zip(program.statements, found.statements, strict=True)
        if a != b
    ]
    assert differ == [("lr = lr * 0.001", "lr = lr * 0.003")]


@pytest.mark.parametrize("name", rule_names())
def test_only_the_length_of_a_shipped_rule_changes(name: str, yardstick: Yardstick) -> None:
    program = load_rule(name)
    found = rescaled(program, 2.0)
    if found is None:
        pytest.skip("no single constant scales this rule")
    ours, theirs = (lengths(p, yardstick.recording) for p in (found, program))
    assert ours == pytest.approx([2 * value for value in theirs], rel=1e-5)


def test_a_rule_without_a_rate_is_not_rescaled() -> None:
    assert rescaled(parse("def train(w, g, lr):\n    u = sin(g)\n    return u\n"), 2.0) is None

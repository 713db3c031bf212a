"""Edits of programs: those that change nothing, and those that may."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from optforge.analysis import state_kinds
from optforge.errors import ProgramError
from optforge.language import FUNCTIONS, Interpreter, Program, Statement, layout_of

LAYOUT = layout_of(((2, 3), (0, 2), (), (2,)))
STEPS = 4


def renamed(program: Program, source: random.Random) -> Program:
    """Rename every variable to one of its own, chosen at random."""
    names = [*program.parameters, *(s.target for s in program.statements)]
    old = list(dict.fromkeys(names))
    fresh = source.sample([f"n{i}" for i in range(2 * len(old))], len(old))
    new = dict(zip(old, fresh, strict=True))
    return _translated(program, new)


def _translated(program: Program, new: dict[str, str]) -> Program:
    statements = tuple(
        Statement(
            new[s.target],
            s.function,
            tuple(new[a] if isinstance(a, str) else a for a in s.arguments),
        )
        for s in program.statements
    )
    names = (tuple(new[n] for n in group) for group in (program.parameters, program.outputs))
    parameters, outputs = names
    return Program(parameters, statements, outputs)


def single_assignment(program: Program) -> Program:
    """Name every value anew, so that nothing is shadowed."""
    current = {name: f"p{i}" for i, name in enumerate(program.parameters)}
    parameters, statements = tuple(current.values()), []
    for number, s in enumerate(program.statements):
        arguments = tuple(current[a] if isinstance(a, str) else a for a in s.arguments)
        current[s.target] = f"x{number}"
        statements.append(Statement(f"x{number}", s.function, arguments))
    return Program(parameters, tuple(statements), tuple(current[n] for n in program.outputs))


def reordered(program: Program, source: random.Random) -> Program:
    """Bring the statements into another order in which each value is made before it is read."""
    program = single_assignment(program)
    waiting, ready, order = list(program.statements), set(program.parameters), []
    while waiting:
        able = [s for s in waiting if {a for a in s.arguments if isinstance(a, str)} <= ready]
        chosen = source.choice(able)
        order.append(chosen)
        waiting.remove(chosen)
        ready.add(chosen.target)
    return replace(program, statements=tuple(order))


def states_reordered(program: Program, source: random.Random) -> Program:
    """Hand the states over in another order."""
    order = list(range(len(program.states)))
    source.shuffle(order)
    states = tuple(program.states[i] for i in order)
    outputs = (program.outputs[0], *(program.outputs[1 + i] for i in order))
    return Program((*program.parameters[:2], *states, program.lr), program.statements, outputs)


def with_dead_code(program: Program, source: random.Random) -> Program:
    """Insert statements whose results nothing reads."""
    program = single_assignment(program)
    statements = list(program.statements)
    for number in range(3):
        statements = _with_one_more(program, statements, f"dead{number}", source)
    return replace(program, statements=tuple(statements))


def _with_one_more(
    program: Program, statements: list[Statement], target: str, source: random.Random
) -> list[Statement]:
    """Insert a statement at random, one that accepts the kinds of its arguments."""
    while True:
        place = source.randint(0, len(statements))
        known = [*program.parameters, *(s.target for s in statements[:place])]
        row = FUNCTIONS[source.choice([n for n, f in FUNCTIONS.items() if f.form != "controlled"])]
        arguments = tuple(source.choice([*known, 0.5]) for _ in range(row.arity))
        new = Statement(target, row.name, arguments)
        longer = [*statements[:place], new, *statements[place:]]
        try:
            state_kinds(replace(program, statements=tuple(longer)))
        except ProgramError:  # a tree and a transposed one, for example
            continue
        return longer


def with_dead_state(program: Program, source: random.Random) -> Program:
    """Add a state that lives on itself alone, if there is room for it."""
    if len(program.states) == 4:
        return program
    program = single_assignment(program)
    at = source.randint(0, len(program.states))
    parameters = (*program.parameters[: 2 + at], "idle", *program.parameters[2 + at :])
    outputs = (*program.outputs[: 1 + at], "idle2", *program.outputs[1 + at :])
    idle = Statement("idle2", "interp", (program.gradient, "idle", 0.9))
    return Program(parameters, (idle, *program.statements), outputs)


def commuted(program: Program, source: random.Random) -> Program:
    """Exchange the arguments of about half of the commutative functions."""
    statements = tuple(
        replace(s, arguments=s.arguments[::-1])
        if FUNCTIONS[s.function].commutative and source.random() < 0.5
        else s
        for s in program.statements
    )
    return replace(program, statements=statements)


SAME = (renamed, reordered, states_reordered, with_dead_code, with_dead_state, commuted)


def mutated(program: Program, source: random.Random) -> Program:
    """Make a small change that keeps the program valid but may change what it computes."""
    for _ in range(100):
        child = _changed(program, source)
        try:
            state_kinds(child)
        except ProgramError:
            continue
        return child
    return program


def _changed(program: Program, source: random.Random) -> Program:
    if not program.statements or source.random() < 0.2:
        names = [*program.parameters, *(s.target for s in program.statements)]
        place = source.randrange(len(program.outputs))
        outputs = list(program.outputs)
        outputs[place] = source.choice(names)
        return replace(program, outputs=tuple(outputs))
    number = source.randrange(len(program.statements))
    old, statements = program.statements[number], list(program.statements)
    known = [*program.parameters, *(s.target for s in statements[:number])]
    if source.random() < 0.2:
        del statements[number]
    elif old.arguments and source.random() < 0.7:
        arguments = list(old.arguments)
        place = source.randrange(len(arguments))
        value = arguments[place]
        arguments[place] = source.choice(known) if isinstance(value, str) else value * 1.5 + 0.25
        statements[number] = replace(old, arguments=tuple(arguments))
    else:
        same = [n for n, row in FUNCTIONS.items() if row.arity == len(old.arguments)]
        statements[number] = replace(old, function=source.choice(same))
    return replace(program, statements=tuple(statements))


def run(
    program: Program, lrs: Sequence[float] = (1.0, 0.75, 0.5, 0.25), shift: float = 0.0
) -> torch.Tensor:
    """Updates of a few steps on two rows, float64 ``[steps, rows, elements]``.

    All gradients are shifted by a constant.
    """
    source = torch.Generator().manual_seed(7)
    rule = Interpreter(program, state_kinds(program), LAYOUT, torch.float64)
    weights = torch.randn(2, LAYOUT.elements, generator=source, dtype=torch.float64)
    states, updates = rule.initial_states(2), []
    for scalars in rule.schedule(lrs):
        gradients = torch.randn(2, LAYOUT.elements, generator=source, dtype=torch.float64)
        update, states = rule.step(weights, gradients + shift, states, scalars)
        updates.append(update)
        weights = weights - update
    return torch.stack(updates)


def same_updates(first: Program, second: Program) -> bool:
    """Whether two programs compute the same, bit for bit (zeros of both signs are equal)."""
    a, b = run(first), run(second)
    return bool(((a == b) | (a.isnan() & b.isnan())).all())

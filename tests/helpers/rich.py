"""Random programs of which much is live: all that stays finite flows into the update."""

from __future__ import annotations

import random
from functools import cache

import numpy as np

from optforge.analysis import live_program, probe_updates, state_kinds, variable_kinds
from optforge.errors import ProgramError
from optforge.language import Kind, Program, Statement, round_constant
from tests import strategies


@cache
def rich_program(seed: int, functions: tuple[str, ...] = strategies.ALL) -> Program:
    """Build the valid program of a seed; most hold norms, inner products, states of all kinds."""
    source = random.Random(seed)

    def constant() -> float:
        return round_constant(source.gauss(0, 1)) if source.random() < 0.7 else source.choice(SOME)

    builder = strategies._Builder(source.choice, constant, source.choice(range(5)), functions)
    statements = [Statement("size", "norm", ("weight",))]  # so that one value per array is there
    builder.bounds["size"] = strategies.Bounds(*[int(Kind.ARRAY)] * 3)
    statements += [builder.statement() for _ in range(source.randrange(6, 20))]
    if not any(bounds.high == Kind.SCALAR for bounds in builder.bounds.values()):
        statements.append(Statement("pi", "get_pi", ()))
        builder.bounds["pi"] = strategies.SCALAR
    outputs = builder.outputs(statements)
    program = Program(builder.parameters, tuple(statements), outputs)
    program = _returning_what_it_can(program, source)
    names = sorted(variable_kinds(program)[-1])
    for part in (names[::3], names[1::3], names[2::3]):
        folded = program
        for name in part:
            folded = _folded(folded, name, source)
        program = _better(program, folded)
    return _better(program, _scaled(program, source))


WANTED = (*[Kind.TREE] * 6, *[Kind.ARRAY] * 4, *[Kind.SCALAR] * 2, *list(Kind)[3:])
SOME = (0.9, 0.1, 1.0, -1.0, 0.0, 0.5, 2.0, 3.0)


def _better(old: Program, new: Program) -> Program:
    """The new program if it is finite on the probe."""
    with np.errstate(all="ignore"):
        return new if np.abs(probe_updates(live_program(new))).max() < 1e3 else old


def _returning_what_it_can(program: Program, source: random.Random) -> Program:
    """Try other values as next states and as update until the program is finite on the probe."""
    kinds = variable_kinds(program)[-1]
    names = sorted(kinds)
    of = {kind: [name for name in names if kinds[name] == kind] for kind in Kind}
    for _ in range(12):
        wanted = [source.choice(WANTED) for _ in program.states]
        states = [source.choice(of[kind] or of[Kind.TREE]) for kind in wanted]
        outputs = (source.choice(of[Kind.TREE]), *states)
        try:
            other = Program(program.parameters, program.statements, outputs)
            state_kinds(other)  # also of what is dead now
            with np.errstate(all="ignore"):
                if np.isfinite(probe_updates(live_program(other))).all():
                    return other
        except ProgramError:
            continue
    return program


def _folded(program: Program, name: str, source: random.Random) -> Program:
    """Add the arc tangent of a variable to the update, so that it becomes live.

    Of what has another shape than the update, that of the norm of each array.
    """
    update = program.outputs[0]
    other_shape = variable_kinds(program)[-1][name] > Kind.TREE
    more = (
        *([Statement("folded", "norm", (name,))] if other_shape else []),
        Statement("folded", "arctan", ("folded" if other_shape else name,)),
        Statement("total", "interp", (update, "folded", round_constant(source.random()))),
    )
    outputs = ("total", *program.outputs[1:])
    return Program(program.parameters, (*program.statements, *more), outputs)


def _scaled(program: Program, source: random.Random) -> Program:
    fits = variable_kinds(program)[-1][program.lr] <= Kind.TREE  # its name may be taken again
    rate = source.choice((program.lr if fits else 1.0, 1.0))
    more = (
        Statement("peak", "multiply", (rate, 0.02)),
        Statement("scaled", "multiply", (program.outputs[0], "peak")),
    )
    outputs = ("scaled", *program.outputs[1:])
    return Program(program.parameters, (*program.statements, *more), outputs)

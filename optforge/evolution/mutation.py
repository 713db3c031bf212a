"""Mutations of programs: insert, delete or modify one statement, as the paper has them, and more.

More is a state: an average of a value, or what the value was one step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from optforge.analysis import Liveness, cost, examine, live_program, variable_kinds
from optforge.errors import ProgramError, SearchError
from optforge.language import (
    FUNCTION_SETS,
    FUNCTIONS,
    MAX_STATES,
    Kind,
    Program,
    Statement,
    round_constant,
)

_ATTEMPTS = 1000
_AVERAGES = 0.5  # share of new states that are averages, by what is computed and what is kept
_SHAPED = ("per_array", "lines", "matrix", "transpose", "product")
_OF_ARRAYS = frozenset(
    name
    for name, row in FUNCTIONS.items()
    if row.form in _SHAPED and row.belongs_to != "paper"  # whose draws stay what they were
)
_STATE_BYTES = 4  # of one number, in float32
_LARGEST = 1e10  # constants are kept below, as in the released search space


@dataclass(frozen=True)
class Child:
    """A valid child.

    Args:
        program: The child.
        mutation: In a few words, what was done.
        kinds: Of its states.
        live: What of it can matter.
    """

    program: Program
    mutation: str
    kinds: tuple[int, ...]
    live: Liveness


@dataclass(frozen=True)
class Mutator:
    """Draws one child of a parent program.

    Args:
        insert: Weight of inserting a random statement at a random place.
        delete: Weight of deleting a random statement.
        modify: Weight of changing one argument of a random statement.
        constants_only: Change nothing but constants, for the control that tunes a rule.
        max_statements: No statement is inserted into a program of this length.
        add_state: Weight of adding a state.
        max_state_bytes: Children keep at most so many bytes of state for each parameter.
        new_constant: Share of fresh arguments that are constants from N(0, 1), not variables.
        in_place: Share of insertions that rewrite a variable which is still read, as in
            ``lr = sqrt(lr)``. With targets and arguments drawn evenly from all variables, as in the
            other insertions, one particular such statement comes once in 20,000 programs.
        functions: Sets of functions to insert; each is drawn as often, whatever its size.

    Example:
        >>> from optforge.language import load_rule
        >>> child, what = Mutator().child(load_rule("adamw"), Random(0))
        >>> child != load_rule("adamw"), what.split()[0] in ("insert", "delete", "modify")
        (True, True)

    Source: "Symbolic Discovery of Optimization Algorithms", section 2.2.
    """

    insert: float = 1.0
    delete: float = 1.0
    modify: float = 1.0
    constants_only: bool = False
    max_statements: int = 32
    add_state: float = 0.0
    max_state_bytes: float = 16.0
    new_constant: float = 0.25
    in_place: float = 0.5
    functions: tuple[str, ...] = ("paper",)

    def child(self, parent: Program, random: Random) -> tuple[Program, str]:
        """Draw a valid child; invalid ones are thrown away and the parent is mutated again.

        Args:
            parent: A valid program.
            random: The only source of randomness.

        Returns:
            The child, and in a few words what was done.

        Raises:
            SearchError: If no valid child turns up, for a program without anything to change.
        """
        drawn = self.draw(parent, random)
        return drawn.program, drawn.mutation

    def draw(self, parent: Program, random: Random, kinds: tuple[int, ...] | None = None) -> Child:
        """Draw a valid child as :meth:`child` does, with what checking it has shown.

        Args:
            parent: A valid program.
            random: The only source of randomness.
            kinds: Of the parent's states, if known; that makes checking faster.
        """
        for _ in range(_ATTEMPTS):
            drawn = self._draw(parent, random)
            if drawn is None:
                continue
            try:
                found, live = examine(drawn[0], kinds)
            except ProgramError:
                continue
            if self._fits(drawn[0], found, live):
                return Child(*drawn, found, live)
        raise SearchError(
            "no valid mutation of the program was found; for a search over constants it needs "
            "at least one constant, otherwise give it more --max-statements"
        )

    def _fits(self, child: Program, kinds: Sequence[int], live: Liveness) -> bool:
        """Tell whether the states that matter are within the limit."""
        number = sum(kind >= Kind.TREE and live.states >> n & 1 for n, kind in enumerate(kinds))
        if _STATE_BYTES * number <= self.max_state_bytes:
            return True
        # Hidden matrices may not need all of them.
        roles = any(statement.function == "where_matrix" for statement in child.statements)
        return roles and cost(child).state_bytes <= self.max_state_bytes

    def _draw(self, parent: Program, random: Random) -> tuple[Program, str] | None:
        if self.constants_only:
            return self._modify(parent, random, constants=True)
        full = len(parent.statements) >= self.max_statements
        weights = (0.0 if full else self.insert, self.delete, self.modify)
        state = 0.0 if full else self.add_state
        choice = random.random() * (sum(weights) + state)
        if choice < weights[0]:
            return self._insert(parent, random)
        if choice < weights[0] + weights[1]:
            return self._delete(parent, random)
        if choice >= sum(weights):
            return self._add_state(parent, random)
        return self._modify(parent, random, constants=False)

    def _insert(self, parent: Program, random: Random) -> tuple[Program, str]:
        statements = parent.statements
        place = int(random.random() * (len(statements) + 1))
        known = _defined(parent, place)
        name = self._function(random)
        trees = _trees(parent, place) if name in _OF_ARRAYS else ()
        if trees:  # numbers have no rows and no matrices
            arguments = [_one_of(trees, random) for _ in range(FUNCTIONS[name].arity)]
        else:
            arguments = [self._argument(known, random) for _ in range(FUNCTIONS[name].arity)]
        used = _read_after(parent, place) if random.random() < self.in_place else []
        used = [variable for variable in used if variable in trees] if trees else used
        if used and arguments:
            target = str(_one_of(used, random))
            arguments[int(random.random() * len(arguments))] = target
        else:
            targets = _defined(parent, len(statements))
            number = int(random.random() * (len(targets) + 1))
            target = targets[number] if number < len(targets) else _fresh(targets)
        statement = Statement(target, name, tuple(arguments))
        return _with(parent, statements[:place] + (statement,) + statements[place:]), (
            f"insert {place} {name}"
        )

    def _function(self, random: Random) -> str:
        """Draw a set, then one of its functions, by one random number."""
        place = random.random() * len(self.functions)
        names = FUNCTION_SETS[self.functions[int(place)]]
        return names[int((place % 1) * len(names))]

    def _add_state(self, parent: Program, random: Random) -> tuple[Program, str] | None:
        """Let a value that is still read be mixed with a new state, and all that reads it follow.

        The next state is the mixture, as for an average, or what the value's variable holds at
        the end of the step, which the mixture of the next step then compares with its own.
        States that nothing reads make room.
        """
        if len(parent.states) == MAX_STATES:
            parent = live_program(parent)
        if len(parent.states) == MAX_STATES or not parent.statements:
            return None
        place = int(random.random() * (len(parent.statements) + 1))
        used = _read_after(parent, place)
        known = _defined(parent, len(parent.statements))
        target = used[int(random.random() * len(used))]
        state = _fresh(known)
        mixed = _fresh([*known, state])
        name = "interp" if random.random() < _AVERAGES else self._function(random)
        arguments: list[str | float] = [target, state, _memory(random)]
        if name != "interp":
            there = _defined(parent, place)
            several = [self._argument(there, random) for _ in range(FUNCTIONS[name].arity)]
            if len(several) < 2:
                return None
            arguments = [target, state, *several[2:]]
        averaged = random.random() < _AVERAGES
        statement = Statement(mixed, name, tuple(arguments))
        followed = _renamed(parent, place, target, mixed)
        outputs = followed.outputs + ((mixed if averaged else target),)
        parameters = (*parent.parameters[:-1], state, parent.lr)
        statements = (
            *followed.statements[:place],
            statement,
            *followed.statements[place:],
        )
        return Program(parameters, statements, outputs), f"add state {place} {name}"

    def _delete(self, parent: Program, random: Random) -> tuple[Program, str] | None:
        statements = parent.statements
        if len(statements) < 2:
            return None
        place = int(random.random() * len(statements))
        return _with(parent, statements[:place] + statements[place + 1 :]), f"delete {place}"

    def _modify(
        self, parent: Program, random: Random, constants: bool
    ) -> tuple[Program, str] | None:
        statements = parent.statements
        if not statements:
            return None
        place = int(random.random() * len(statements))
        old = statements[place]
        if not old.arguments:
            return None
        number = int(random.random() * len(old.arguments))
        argument = old.arguments[number]
        if isinstance(argument, float):
            new: str | float = _scaled(argument, random)
        elif constants:
            return None
        else:
            new = self._argument(_defined(parent, place), random)
        if new == argument:
            return None
        arguments = old.arguments[:number] + (new,) + old.arguments[number + 1 :]
        statement = Statement(old.target, old.function, arguments)
        return _with(parent, statements[:place] + (statement,) + statements[place + 1 :]), (
            f"modify {place} argument {number}"
        )

    def _argument(self, known: Sequence[str], random: Random) -> str | float:
        if random.random() < self.new_constant:
            return round_constant(random.gauss(0.0, 1.0))
        return _one_of(known, random)


def _scaled(value: float, random: Random) -> float:
    scaled = value * 2.0 ** random.gauss(0.0, 1.0)
    return round_constant(max(-_LARGEST, min(_LARGEST, scaled)))


def _with(parent: Program, statements: tuple[Statement, ...]) -> Program:
    return Program(parent.parameters, statements, parent.outputs)


def _defined(program: Program, place: int) -> list[str]:
    """List the variables that are defined before a place, each once, in a fixed order."""
    targets = [statement.target for statement in program.statements[:place]]
    return list(dict.fromkeys([*program.parameters, *targets]))


def _read_after(program: Program, place: int) -> list[str]:
    """List the variables whose value at a place can still matter in this step, in a fixed order."""
    used = dict.fromkeys(program.outputs)
    for statement in reversed(program.statements[place:]):
        if statement.target in used:
            del used[statement.target]
            used.update(dict.fromkeys(a for a in statement.arguments if isinstance(a, str)))
    return list(used)


def _one_of(names: Sequence[str], random: Random) -> str | float:
    return names[int(random.random() * len(names))]


def _trees(program: Program, place: int) -> list[str]:
    """List the variables that have a shape before a place, in a fixed order."""
    kinds = variable_kinds(program)[place]
    return [name for name in _defined(program, place) if kinds[name] >= Kind.TREE]


def _memory(random: Random) -> float:
    """Draw the memory of an average: of one to a few hundred steps, evenly on a log scale."""
    return round_constant(1 - 10 ** random.uniform(-2.5, -0.2))


def _renamed(program: Program, place: int, old: str, new: str) -> Program:
    """Let everything from a place on read another variable, until the old one is written again."""
    statements, is_old = list(program.statements), True
    for number in range(place, len(statements)):
        statement = statements[number]
        if is_old and old in statement.arguments:
            arguments = tuple(new if a == old else a for a in statement.arguments)
            statements[number] = Statement(statement.target, statement.function, arguments)
        is_old = is_old and statement.target != old
    outputs = tuple(new if is_old and name == old else name for name in program.outputs)
    return Program(program.parameters, tuple(statements), outputs)


def _fresh(names: Sequence[str]) -> str:
    taken, number = set(names), 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"

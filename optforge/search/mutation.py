"""Mutations of programs, as the paper has them: insert, delete or modify one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from optforge.analysis import Liveness, examine
from optforge.errors import ProgramError, SearchError
from optforge.language import FUNCTION_SETS, FUNCTIONS, Kind, Program, Statement, round_constant

_ATTEMPTS = 1000
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
        max_states: Children keep at most this many trees of state.
        new_constant: Share of fresh arguments that are constants from N(0, 1), not variables.
        in_place: Share of insertions that rewrite a variable which is still read, as in
            ``lr = sqrt(lr)``. With targets and arguments drawn evenly from all variables, as in the
            other insertions, one particular such statement comes once in 20,000 programs.
        functions: Names to insert.

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
    max_states: int = 4
    new_constant: float = 0.25
    in_place: float = 0.5
    functions: tuple[str, ...] = FUNCTION_SETS["paper"]

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
            if found.count(Kind.TREE) <= self.max_states:
                return Child(*drawn, found, live)
        raise SearchError(
            "no valid mutation of the program was found; for a search over constants it needs "
            "at least one constant, otherwise give it more --max-statements"
        )

    def _draw(self, parent: Program, random: Random) -> tuple[Program, str] | None:
        if self.constants_only:
            return self._modify(parent, random, constants=True)
        full = len(parent.statements) >= self.max_statements
        weights = (0.0 if full else self.insert, self.delete, self.modify)
        choice = random.random() * sum(weights)
        if choice < weights[0]:
            return self._insert(parent, random)
        if choice < weights[0] + weights[1]:
            return self._delete(parent, random)
        return self._modify(parent, random, constants=False)

    def _insert(self, parent: Program, random: Random) -> tuple[Program, str]:
        statements = parent.statements
        place = int(random.random() * (len(statements) + 1))
        known = _defined(parent, place)
        name = self.functions[int(random.random() * len(self.functions))]
        arguments = [self._argument(known, random) for _ in range(FUNCTIONS[name].arity)]
        used = _read_after(parent, place) if random.random() < self.in_place else []
        if used and arguments:
            target = used[int(random.random() * len(used))]
            arguments[int(random.random() * len(arguments))] = target
        else:
            targets = _defined(parent, len(statements))
            number = int(random.random() * (len(targets) + 1))
            target = targets[number] if number < len(targets) else _fresh(targets)
        statement = Statement(target, name, tuple(arguments))
        return _with(parent, statements[:place] + (statement,) + statements[place:]), (
            f"insert {place} {name}"
        )

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
        return known[int(random.random() * len(known))]


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


def _fresh(names: Sequence[str]) -> str:
    taken, number = set(names), 1
    while f"v{number}" in taken:
        number += 1
    return f"v{number}"

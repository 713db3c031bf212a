"""Mutations of programs: insert, delete or modify one statement, as the paper has them, and more.

The addition to the paper is a mutation that adds a state: an average of a value, or the value of
the step before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from optforge.analysis import Liveness, cost, examine, live_program
from optforge.errors import ProgramError, SearchError
from optforge.evolution.edits import (
    choice,
    defined_before,
    fresh_name,
    inserted,
    memory_constant,
    on_matrices,
    read_after,
    renamed_from,
    scaled_constant,
    trees_before,
    with_statements,
)
from optforge.evolution.genome import Genome, bear, recall
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
_Mutated = tuple[Program, str]  # with what was done, in a few words


@dataclass(frozen=True)
class Mutator:
    """Draws one child of a parent program.

    Args:
        insert: Weight of inserting a random statement at a random place.
        delete: Weight of deleting a random statement.
        modify: Weight of changing one argument of a random statement.
        constants_only: Whether only constants are changed, for the control that tunes a rule.
        max_statements: Length of a program at which no more statements are inserted.
        add_state: Weight of adding a state.
        max_state_bytes: Largest number of bytes of state that a child may keep per parameter.
        new_constant: Share of new arguments that are constants from N(0, 1) and not variables.
        in_place: Share of insertions that rewrite a variable which is still read, as in ``lr =
            sqrt(lr)``. Other insertions draw targets and arguments uniformly from all variables, so
            that any one such statement would come up once in 20,000 programs.
        on_matrices: Share of those that do so on hidden matrices alone, by ``where_matrix``; all
            other arrays keep the variable.
        functions: Sets of functions to insert; each set is drawn equally often, whatever its size.

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
    on_matrices: float = 0.0
    functions: tuple[str, ...] = ("paper",)

    def child(self, parent: Program, random: Random) -> tuple[Program, str]:
        """Draw a valid child; an invalid one is discarded and the parent mutated again.

        Args:
            parent: A valid program.
            random: Random number generator; the only source of randomness.

        Returns:
            The child, and a few words that describe the mutation.

        Raises:
            SearchError: If no valid child is found because the program has nothing to change.
        """
        child, mutation = self.draw(recall(parent), random)
        return child.program, mutation

    def draw(self, parent: Genome, random: Random) -> tuple[Genome, str]:
        """Draw a valid child as :meth:`child` does; return the genomes of both."""
        for _ in range(_ATTEMPTS):
            drawn = self._draw(parent.program, random)
            if drawn is None:
                continue
            program, mutation = drawn
            try:
                kinds, live = examine(program, parent.kinds)
            except ProgramError:
                continue
            if self._fits(program, kinds, live):
                return bear(parent, program, kinds, live), mutation
        raise SearchError(
            "no valid mutation of the program was found; for a search over constants it needs "
            "at least one constant, otherwise give it more --max-statements"
        )

    def _fits(self, child: Program, kinds: Sequence[int], live: Liveness) -> bool:
        """Return whether the size of the live states is within the limit."""
        number = sum(kind >= Kind.TREE and live.states >> n & 1 for n, kind in enumerate(kinds))
        if _STATE_BYTES * number <= self.max_state_bytes:
            return True
        # Hidden matrices may not need all of them.
        roles = any(statement.function == "where_matrix" for statement in child.statements)
        return roles and cost(child).state_bytes <= self.max_state_bytes

    def _draw(self, parent: Program, random: Random) -> _Mutated | None:
        if self.constants_only:
            return self._modify(parent, random)
        full = len(parent.statements) >= self.max_statements
        weights = (0.0 if full else self.insert, self.delete, self.modify)
        state = 0.0 if full else self.add_state
        drawn = random.random() * (sum(weights) + state)
        if drawn < weights[0]:
            return self._insert(parent, random)
        if drawn < weights[0] + weights[1]:
            return self._delete(parent, random)
        if drawn >= sum(weights):
            return self._add_state(parent, random)
        return self._modify(parent, random)

    def _insert(self, parent: Program, random: Random) -> _Mutated:
        place = int(random.random() * (len(parent.statements) + 1))
        known, name = defined_before(parent, place), self._function(random)
        trees = trees_before(parent, place) if name in _OF_ARRAYS else []
        arguments: list[str | float] = [
            # Numbers have no rows and no matrices.
            choice(trees, random) if trees else self._argument(known, random)
            for _ in range(FUNCTIONS[name].arity)
        ]
        used = read_after(parent, place) if random.random() < self.in_place else []
        used = [variable for variable in used if variable in trees] if trees else used
        if used and arguments:
            target = choice(used, random)
            arguments[int(random.random() * len(arguments))] = target
        else:
            target = _target(parent, random)
        added = (Statement(target, name, tuple(arguments)),)
        if used and self.on_matrices and random.random() < self.on_matrices:
            added = on_matrices(added[0], defined_before(parent, len(parent.statements)))
        changed = with_statements(parent, inserted(parent, place, *added))
        return changed, f"insert {place} {name}" + " on matrices" * (len(added) > 1)

    def _function(self, random: Random) -> str:
        """Draw a set, then one of its functions, using one random number."""
        place = random.random() * len(self.functions)
        names = FUNCTION_SETS[self.functions[int(place)]]
        return names[int((place % 1) * len(names))]

    def _add_state(self, parent: Program, random: Random) -> _Mutated | None:
        """Mix a live value with a new state, and make all later readers use the mixture.

        The next state is either the mixture, as in an average, or the value of the variable at the
        end of the step, which the next step's mixture then compares with its own. States that
        nothing reads are removed to make room.
        """
        if len(parent.states) == MAX_STATES:
            parent = live_program(parent)
        if len(parent.states) == MAX_STATES or not parent.statements:
            return None
        place = int(random.random() * (len(parent.statements) + 1))
        value = choice(read_after(parent, place), random)
        known = defined_before(parent, len(parent.statements))
        state = fresh_name(known)
        mixed = fresh_name([*known, state])
        name = "interp" if random.random() < _AVERAGES else self._function(random)
        arguments = self._mixture(name, value, state, defined_before(parent, place), random)
        if arguments is None:
            return None
        kept = mixed if random.random() < _AVERAGES else value
        followed = renamed_from(parent, place, value, mixed)
        statements = inserted(followed, place, Statement(mixed, name, arguments))
        parameters = (*parent.parameters[:-1], state, parent.lr)
        return Program(
            parameters, statements, (*followed.outputs, kept)
        ), f"add state {place} {name}"

    def _mixture(
        self, name: str, value: str, state: str, known: Sequence[str], random: Random
    ) -> tuple[str | float, ...] | None:
        """Draw the arguments of a function that mixes a value with a state; None if it cannot."""
        memory = memory_constant(random)
        if name == "interp":
            return (value, state, memory)
        drawn = [self._argument(known, random) for _ in range(FUNCTIONS[name].arity)]
        return (value, state, *drawn[2:]) if len(drawn) >= 2 else None

    def _delete(self, parent: Program, random: Random) -> _Mutated | None:
        statements = parent.statements
        if len(statements) < 2:
            return None
        place = int(random.random() * len(statements))
        left = statements[:place] + statements[place + 1 :]
        return with_statements(parent, left), f"delete {place}"

    def _modify(self, parent: Program, random: Random) -> _Mutated | None:
        if not parent.statements:
            return None
        place = int(random.random() * len(parent.statements))
        old = parent.statements[place]
        if not old.arguments:
            return None
        number = int(random.random() * len(old.arguments))
        argument = old.arguments[number]
        if isinstance(argument, float):
            new: str | float = scaled_constant(argument, random)
        elif self.constants_only:
            return None
        else:
            new = self._argument(defined_before(parent, place), random)
        if new == argument:
            return None
        arguments = old.arguments[:number] + (new,) + old.arguments[number + 1 :]
        statements = list(parent.statements)
        statements[place] = Statement(old.target, old.function, arguments)
        return with_statements(parent, statements), f"modify {place} argument {number}"

    def _argument(self, known: Sequence[str], random: Random) -> str | float:
        if random.random() < self.new_constant:
            return round_constant(random.gauss(0.0, 1.0))
        return choice(known, random)


def _target(parent: Program, random: Random) -> str:
    """Draw one of the variables of a program, or a new one."""
    names = defined_before(parent, len(parent.statements))
    number = int(random.random() * (len(names) + 1))
    return names[number] if number < len(names) else fresh_name(names)

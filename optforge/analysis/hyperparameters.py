"""The constants of a program as named hyper-parameters, one of which is the learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from optforge.analysis.degree import Degrees, Place, degrees
from optforge.analysis.kinds import state_kinds
from optforge.analysis.liveness import live_program
from optforge.analysis.roles import Role, roles
from optforge.errors import ProgramError
from optforge.language import Program, Statement

STRUCTURE = (0.0, 1.0, -1.0)  # without a role these belong to the formula, as in count + 1.0


@dataclass(frozen=True)
class HyperParameter:
    """A constant that a user may set.

    Args:
        name: Name by its role: ``lr``, ``beta1``, ``beta2``, ``one_minus_beta1``, ``momentum``,
            ``weight_decay``, ``eps``, otherwise ``constant_1``, ...
        value: Value in the program.
        places: Arguments that read it: (number of the live statement, number of its argument), from
            0.
    """

    name: str
    value: float
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Lifted:
    """A program and its hyper-parameters.

    Args:
        program: The program without dead statements and dead states.
        hyperparameters: Hyper-parameters, ``lr`` first if there is one, then in the order of the
            program.
        scale: ``lr`` if one constant scales the whole update, otherwise None. In that case a
            learning rate multiplies the update from outside; it is 1.0 for the unchanged rule.
    """

    program: Program
    hyperparameters: tuple[HyperParameter, ...]
    scale: str | None

    @property
    def values(self) -> dict[str, float]:
        """Names and values in the rule; ``lr`` is always among them."""
        values = {h.name: h.value for h in self.hyperparameters}
        return values if self.scale else {"lr": 1.0, **values}

    def names(self) -> dict[Place, str]:
        """Return the name of the hyper-parameter that each place reads."""
        return {place: h.name for h in self.hyperparameters for place in h.places}

    def with_values(self, values: Mapping[str, float]) -> Program:
        """Return the program with other values of its hyper-parameters.

        For a program without a scale, an ``lr`` other than 1.0 becomes an additional last
        statement.

        Raises:
            ProgramError: If a name is not among :attr:`values`.

        Example:
            >>> from optforge.language import load_rule
            >>> lift(load_rule("lion")).with_values({"lr": 0.5}).statements[5].text
            'lr = lr * 0.5'
        """
        if unknown := sorted(values.keys() - self.values.keys()):
            raise ProgramError(
                f"unknown hyper-parameter {unknown[0]!r}; this rule has {', '.join(self.values)}"
            )
        names = self.names()
        statements = tuple(
            _with(s, [values.get(names.get((n, i), ""), a) for i, a in enumerate(s.arguments)])
            for n, s in enumerate(self.program.statements)
        )
        parameters, outputs = self.program.parameters, self.program.outputs
        outer = values.get("lr", 1.0)
        if self.scale is None and outer != 1.0:
            target = _fresh(self.program)
            statements += (Statement(target, "multiply", (outputs[0], float(outer))),)
            outputs = (target, *outputs[1:])
        return Program(parameters, statements, outputs)


def _with(statement: Statement, arguments: list[str | float]) -> Statement:
    values = tuple(a if isinstance(a, str) else float(a) for a in arguments)
    return Statement(statement.target, statement.function, values)


def _fresh(program: Program) -> str:
    """Return a name that a program does not use."""
    used = {*program.parameters, *(s.target for s in program.statements)}
    return next(name for n in range(len(used) + 1) if (name := f"scaled{n or ''}") not in used)


def lift(program: Program) -> Lifted:
    r"""Name the constants of a program by their roles and find its learning rate.

    The learning rate is the positive constant c in which the whole update is homogeneous of degree
    one, :math:`u(sc) = s\,u(c)`, states included (``optforge.analysis.degree``). Among several such
    constants, one that no state depends on is preferred, then one that multiplies only the schedule
    (``lr * 0.001``), then the last one. So ``program_8`` has the rate 0.000217..., while its
    ``clip(g, lr)`` reads the schedule, which does not depend on the rate.

    Constants with the same role and value form one hyper-parameter if they belong together: weights
    that average the same states in the same way (``nadam`` has one ``beta1``, read twice), and the
    base of a power that repeats such a weight (bias correction). Equal weights of different states
    stay separate. 0, 1 and -1 without a role are part of the formula and are not lifted.

    Args:
        program: A valid program; its dead code is removed.

    Raises:
        ProgramError: If the program is not valid.

    Example:
        >>> from optforge.language import load_rule
        >>> lifted = lift(load_rule("adamw_bias_correction"))
        >>> lifted.scale, lifted.values
        ('lr', {'lr': 0.001, 'beta1': 0.9, 'beta2': 0.999, 'weight_decay': 0.01})
    """
    state_kinds(program)
    lean = live_program(program)
    constants = {
        (number, i): argument
        for number, statement in enumerate(lean.statements)
        for i, argument in enumerate(statement.arguments)
        if isinstance(argument, float)
    }
    scale = _scale(lean, constants)
    parts = {place: role for place, role in roles(lean).items() if place not in scale}
    named = _named(_joined(parts, constants))
    if scale:
        named.insert(0, HyperParameter("lr", constants[scale[0]], scale))
    return Lifted(lean, tuple(named), "lr" if scale else None)


def _scale(lean: Program, constants: dict[Place, float]) -> tuple[Place, ...]:
    """Return the places of the learning rate: one constant, or equal ones that scale together."""
    positive = {place: value for place, value in constants.items() if value > 0}
    single = [(place,) for place in positive]
    equal = [tuple(p for p in positive if positive[p] == v) for v in sorted({*positive.values()})]
    for groups in (single, [places for places in equal if len(places) > 1]):
        ranked = [
            (_rank(lean, group, scaling), group[-1], group)
            for group in groups
            if (scaling := degrees(lean, group)).update == 1.0
        ]
        if ranked:
            return max(ranked)[2]
    return ()


def _rank(lean: Program, group: tuple[Place, ...], scaling: Degrees) -> tuple[bool, bool]:
    stateless = all(degree == 0.0 for degree in scaling.states)
    return stateless, all(_scales_schedule(lean, number) for number, _ in group)


def _scales_schedule(lean: Program, number: int) -> bool:
    """Return whether a statement multiplies the incoming schedule value by a constant."""
    statement, earlier = lean.statements[number], lean.statements[:number]
    still = lean.lr in statement.arguments and all(s.target != lean.lr for s in earlier)
    return statement.function == "multiply" and still


Group = tuple[Role, float, list[Place]]


def _joined(parts: dict[Place, Role], constants: dict[Place, float]) -> list[Group]:
    """Join the places that read the same hyper-parameter."""
    groups: dict[object, Group] = {}
    powers: list[Place] = []
    for place, role in parts.items():
        value = constants[place]
        if role.name == "power_of_beta":
            powers.append(place)
        elif role.name != "constant" or value not in STRUCTURE:
            key = (role, value) if role.name in ("beta", "one_minus_beta") else place
            groups.setdefault(key, (role, value, []))[2].append(place)
    for place in powers:
        _join_power(place, constants[place], groups)
    return sorted(groups.values(), key=lambda group: group[2][0])


def _join_power(place: Place, value: float, groups: dict[object, Group]) -> None:
    """Join the base of a power to the beta of equal value; of two, to that with fewer bases."""
    betas = [group for group in groups.values() if group[0].name == "beta" and group[1] == value]
    if betas:
        min(betas, key=lambda group: len(group[2]))[2].append(place)
    elif value not in STRUCTURE:
        groups[place] = (Role("constant"), value, [place])


def _named(groups: list[Group]) -> list[HyperParameter]:
    """Number betas together in order; other roles are numbered from the second on."""
    counts: dict[str, int] = {}
    named = []
    for role, value, places in groups:
        stem = "beta" if role.name == "one_minus_beta" else role.name
        counts[stem] = count = counts.get(stem, 0) + 1
        prefix = "one_minus_" if role.name == "one_minus_beta" else ""
        if stem == "constant":
            name = f"constant_{count}"
        else:
            number = str(count) if stem == "beta" or count > 1 else ""
            name = f"{prefix}{stem}{number}"
        named.append(HyperParameter(name, value, tuple(sorted(places))))
    return named

"""The pure update function of a rule as Python text, for any Python target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optforge.exporters.lines import assignment, call, definition, for_each, several
from optforge.exporters.names import Names
from optforge.exporters.passes import ArrayPass, array_passes
from optforge.exporters.plan import Argument, ExportPlan, ExportStep, Value
from optforge.exporters.scope import NEVER, Scope, outer_scope, uses
from optforge.exporters.source import PLAIN, TargetTable
from optforge.language import FUNCTIONS, Kind


@dataclass(frozen=True)
class Body:
    """The pure update function.

    Args:
        parameters: Values that it takes, with their names; values of each array come first.
        lines: Its lines, without indentation.
        helpers: Helpers that it calls.
    """

    parameters: Mapping[Value, str]
    lines: tuple[str, ...]
    helpers: frozenset[str]

    @property
    def imports_math(self) -> bool:
        """Whether the lines use a constant of the module math."""
        return any("math." in line for line in self.lines)


class Writer:
    """Writes the body of a plan with the table of a target.

    Args:
        plan: The rule.
        table: The target's functions.
        rate: Name of the learning rate in the target.
        taken: Names that the file uses for something else.
    """

    def __init__(
        self, plan: ExportPlan, table: TargetTable, rate: str, taken: Iterable[str] = ()
    ) -> None:
        self.plan, self.table, self.rate = plan, table, rate
        self.taken = (*taken, *table.helpers)
        self.helpers: set[str] = set()

    def write(self) -> Body:
        """Write the body."""
        wide = self.plan.tree_wide
        scope = outer_scope(self.plan, self.rate, (*self.taken, "per_array"), wide)
        plan = self.plan
        inputs = (plan.weight, plan.gradient, *plan.stored, plan.role, *plan.numbers)
        inputs += (plan.schedule, plan.rate, plan.step, plan.progress)
        read = {*plan.read, *plan.states, plan.rate}
        parameters = {v: scope.name_of[v] for v in (*inputs, *plan.constants) if v in read and v}
        lines = self._wide(scope) if wide else self._straight(scope)
        return Body(parameters, tuple(lines), frozenset(self.helpers))

    def _straight(self, scope: Scope) -> list[str]:
        lines = []
        for now, step in enumerate(self.plan.steps):
            text = self._application(step, scope)
            lines += assignment(scope.define(step.target, now), text)
        return [*lines, *self._return(scope)]

    def _wide(self, scope: Scope) -> list[str]:
        lines: list[str] = []
        passes = array_passes(self.plan)
        order = [step for part in passes for step in (*part.before, *part.steps)]
        numbers = {step: number for number, step in enumerate(order)}
        fixed = {value: n for value, n in scope.last_use.items() if n == NEVER}
        scope.last_use = uses(order, self.plan.outputs) | fixed
        numbered = sum(bool(part.steps) for part in passes) > 1
        for number, array_pass in enumerate(passes, 1):
            for step in array_pass.before:
                text = self._application(step, scope)
                wish = _listed(step.target)
                lines += assignment(scope.define(step.target, numbers[step], wish), text)
            if array_pass.steps:
                name = f"per_array_{number}" if numbered else "per_array"
                lines += self._pass(array_pass, name, scope, numbers[array_pass.steps[-1]])
        outputs = self.plan.outputs
        returned = passes and passes[-1].gives == outputs and len(outputs) > 1
        return lines if returned else [*lines, *self._return(scope)]

    def _pass(self, array_pass: ArrayPass, name: str, outer: Scope, now: int) -> list[str]:
        """Write a function of one array and its call for all arrays."""
        array = self.table.array
        captured = {value for step in array_pass.steps for value in step.reads}
        captured -= {*array_pass.takes, *(step.target for step in array_pass.steps)}
        inner = Scope(
            Names((*self.taken, *(outer.name_of[value] for value in captured))),
            uses(array_pass.steps, array_pass.gives),
        )
        inner.name_of |= {value: outer.name_of[value] for value in captured}
        inner.fixed = outer.fixed
        takes = [inner.parameter(value, value.wish) for value in array_pass.takes]
        lists = [outer.name_of[value] for value in array_pass.takes]
        body = []
        for position, step in enumerate(array_pass.steps):
            text = self._application(step, inner)
            body += assignment(inner.define(step.target, position), text, indent=4)
        single = len(array_pass.gives) == 1
        results = [inner.name_of[value] for value in array_pass.gives]
        body += call("return ", results, indent=4, bracket=not single)
        result = array if single else f"tuple[{array}, ...]"
        types = ["bool" if value is self.plan.role else array for value in array_pass.takes]
        parameters = [f"{take}: {type_}" for take, type_ in zip(takes, types, strict=True)]
        lines = ["", *definition(name, parameters, result)]
        lines += [f"    {line}" for line in body] + [""]
        self.helpers |= set() if single else {"each_array"}
        if not single and array_pass.gives == self.plan.outputs:
            return [*lines, *call("return each_array", [name, *lists])]
        *begin, targets = several(
            [outer.define(value, now, _listed(value)) for value in array_pass.gives]
        )
        if single and len(takes) == 1:
            return [*lines, f"{targets} = [{name}({takes[0]}) for {takes[0]} in {lists[0]}]"]
        if single:
            return [*lines, *for_each(targets, name, lists, indent=4)]
        return [*lines, *begin, *call(f"{targets} = each_array", [name, *lists])]

    def _return(self, scope: Scope) -> list[str]:
        values = []
        for place, value in enumerate(self.plan.outputs):
            text = scope.name_of[value]
            if value.plain:
                text = self.table.wrap.format(text)
            elif place and self._may_change(value, place):
                text = self._copied(text, value)
            values.append(text)
        return call("return ", values, bracket=len(values) > 1)

    def _may_change(self, value: Value, place: int) -> bool:
        """Return whether a state would share memory with another input that changes in place."""
        return value is not self.plan.states[place - 1] and self.plan.shares_memory(value)

    def _copied(self, text: str, value: Value) -> str:
        if self.table.copy == "{}":
            return text
        if self.plan.tree_wide and value.kind > Kind.SCALAR:
            return f"[{self.table.copy.format('x')} for x in {text}]"
        return self.table.copy.format(text)

    def _application(self, step: ExportStep, scope: Scope) -> str:
        arguments = [_text(a, scope) for a in step.arguments]
        plain = [not isinstance(a, Value) or a.plain for a in step.arguments]
        row = FUNCTIONS[step.function]
        if all(plain) and step.function in PLAIN:
            return PLAIN[step.function].format(**dict(zip("xya", arguments, strict=False)))
        source = self.table.rows[step.function]
        if row.form == "whole" or step.function == "clip":
            return self._over_lists(step, arguments, plain, scope)
        if row.form == "by_role":
            arguments = self._of_one_kind(step, arguments, plain)
        elif all(plain) and not source.takes_floats(plain):
            arguments[0], plain[0] = self.table.wrap.format(_bare(arguments[0])), False
        elif len(arguments) == 1 and all(plain):  # it stands in brackets already
            arguments = [_bare(arguments[0])]
        source = source.variant(plain)
        self.helpers |= {source.helper} - {""}
        role, *like = [scope.name_of[value] for value in step.also] or [""]
        text = source.fill(arguments, role)
        if row.form == "by_role" and all(plain):
            text = self.table.wrap.format(text)
        if row.form == "product" and step.target.kind == Kind.TREE:
            like = [arguments[step.kinds.index(Kind.TREE)]]
        return f"{text}.reshape({like[0]}.shape)" if like else text

    def _of_one_kind(self, step: ExportStep, arguments: list[str], plain: list[bool]) -> list[str]:
        """Write both choices as arrays of one shape."""
        kinds, kind = step.kinds, step.target.kind
        if kind > Kind.ARRAY and min(kinds) != kind:
            other = arguments[kinds.index(kind)]
            self.helpers.add("spread")
            return [
                text if kinds[place] == kind else f"spread({_bare(text)}, {other})"
                for place, text in enumerate(arguments)
            ]
        some = not all(plain)
        return [
            self.table.wrap.format(_bare(text)) if some and is_plain else _bare(text)
            for text, is_plain in zip(arguments, plain, strict=True)
        ]

    def _over_lists(
        self, step: ExportStep, arguments: list[str], plain: list[bool], scope: Scope
    ) -> str:
        """Write a function of lists of arrays; a number is repeated as often as needed."""
        source = self.table.rows[step.function]
        self.helpers.add(source.helper)
        several = [i for i, kind in enumerate(step.kinds) if kind > Kind.SCALAR]
        count = 1 if step.function == "clip" else len(arguments)
        for place in range(count):
            if place not in several:
                number = _bare(arguments[place])
                number = self.table.wrap.format(number) if plain[place] else number
                times = f" * len({arguments[several[0]]})" if several else ""
                arguments[place] = f"[{number}]{times}"
        first = "[0]" if step.function == "clip" and not several else ""
        if step.function == "clip":
            arguments[1] = _bare(arguments[1])
        return source.fill(arguments) + first


def _listed(value: Value) -> str:
    """Return the preferred name for a list of arrays."""
    several = value.kind > Kind.SCALAR and value.wish in ("weight", "gradient")
    return f"{value.wish}s" if several else value.wish


def _text(argument: Argument, scope: Scope) -> str:
    if isinstance(argument, Value):
        return scope.name_of[argument]
    text = repr(argument)
    return f"({text})" if text.startswith("-") else text


def _bare(text: str) -> str:
    return text[1:-1] if text.startswith("(") else text

"""A rule as a file for optax: the pure update function, then a gradient transformation."""

from __future__ import annotations

from optforge.exporters.body import Body, Writer
from optforge.exporters.jax_table import JAX
from optforge.exporters.lines import call, definition, for_each
from optforge.exporters.names import TAKEN
from optforge.exporters.origin import Origin
from optforge.exporters.plan import ExportPlan, Value
from optforge.exporters.words import (
    STEPS,
    describe,
    heading,
    hidden_matrices,
    indented,
    update_function,
)
from optforge.language import Kind
from optforge.language.function import SIDES

RATE = "learning_rate"


def to_optax(plan: ExportPlan, origin: Origin) -> str:
    """Write a rule as a module with an optax ``GradientTransformationExtraArgs``."""
    body = Writer(plan, JAX, RATE, (f"{origin.function}_update",)).write()
    lines = heading(origin, "an optimizer for JAX; this file needs JAX and optax.", "optax")
    lines += ["import math"] if body.imports_math else []
    helpers = {*body.helpers, "at", "like"} | ({"each_array"} if plan.states else set())
    helpers |= {"hidden_matrices"} if plan.role else set()
    helpers |= {"zeros"} if any(state.kind > Kind.TREE for state in plan.states) else set()
    lines += ["from collections.abc import Callable"] if "each_array" in helpers else []
    lines += [] if plan.tree_wide else ["from functools import partial"]
    lines += ["from typing import Any, NamedTuple", "", "import jax", "import jax.numpy as jnp"]
    lines += ["import optax", "from jax import Array", "", "Scalar = float | Array", "", ""]
    for text in JAX.with_needs(helpers, any_lists=plan.role is not None):
        lines += [text.strip("\n"), "", ""]
    lines += [*update_function(plan, body, origin, "Array", "Scalar"), "", ""]
    return "\n".join([*lines, *_Transformation(plan, body, origin).lines()]) + "\n"


class _Transformation:
    """Writes the state and the function that builds the transformation."""

    def __init__(self, plan: ExportPlan, body: Body, origin: Origin) -> None:
        self.plan, self.body, self.origin = plan, body, origin
        function = origin.function
        self.name = f"{function}_rule" if function in {*TAKEN, "step", *JAX.helpers} else function

    def lines(self) -> list[str]:
        return [*self._state(), "", "", *self._factory()]

    def _state(self) -> list[str]:
        lines = [f"class {self.origin.title}State(NamedTuple):"]
        lines += [f'    """State of {self.origin.title}: the number of steps, and the rule\'s."""']
        lines += ["", "    step: jax.typing.ArrayLike"]
        trees = {_field(s): "Array" if s.kind == Kind.SCALAR else "Any" for s in self.plan.states}
        return lines + [f"    {name}: {kind}" for name, kind in trees.items()]

    def _factory(self) -> list[str]:
        plan = self.plan
        parameters = [f"{RATE}: optax.ScalarOrSchedule = {plan.rate_value!r}"]
        parameters += ["schedule: optax.ScalarOrSchedule = 1.0"] if plan.schedule else []
        for value, number in plan.constants.items():
            parameters.append(f"{self.body.parameters[value]}: Scalar = {number!r}")
        parameters += ["*"] if plan.progress or plan.role else []
        parameters += ["total_steps: int"] if plan.progress else []
        parameters += ["matrices: Any = None"] if plan.role else []
        result = "optax.GradientTransformationExtraArgs"
        lines = definition(self.name, parameters, result, indent=0)
        body = [*self._docstring(), ""]
        body += _REFUSE_STEPS.strip("\n").split("\n") + [""] if plan.progress else []
        body += [*self._init(), "", *self._update(), ""]
        return [*lines, *indented([*body, f"return {result}(init, update)"])]

    def _docstring(self) -> list[str]:
        lines = [f'"""{self.origin.title} as an optax gradient transformation.', ""]
        if self.plan.schedule:
            lines += [
                "The rule reads the value of the schedule by itself: give one with peak 1 as",
                "schedule, and the peak as learning_rate.",
                "",
            ]
        lines += hidden_matrices(_HOW) if self.plan.role else []
        lines += ["Args:", f"    {RATE}: Learning rate, or a schedule of it."]
        if self.plan.schedule:
            lines += ["    schedule: Value of the schedule, or the schedule; its peak is 1."]
        for value in self.plan.constants:
            lines.append(f"    {self.body.parameters[value]}: {describe(value.wish)}")
        lines += [f"    total_steps: {STEPS}"] if self.plan.progress else []
        lines += [f"    {line}" for line in _MATRICES] if self.plan.role else []
        return [*lines, '"""']

    def _init(self) -> list[str]:
        zeros = {
            Kind.SCALAR: "jnp.zeros((), dtype)",
            Kind.ARRAY: "jax.tree.map(lambda x: jnp.zeros((), x.dtype), params)",
            Kind.TREE: "jax.tree.map(jnp.zeros_like, params)",
        }
        for kind in (Kind.TRANSPOSED, Kind.ROW_SQUARE, Kind.COLUMN_SQUARE):
            zeros[kind] = f'zeros(params, matrices, "{SIDES[kind]}")'
        arguments = ["step=jnp.zeros((), jnp.int32)"]
        arguments += [f"{_field(s)}={zeros[Kind(s.kind)]}" for s in self.plan.states]
        if not self.plan.stored and not self.plan.numbers:
            lines = ["def init(params: Any) -> " + f"{self.origin.title}State:", "    del params"]
        else:
            lines = [f"def init(params: Any) -> {self.origin.title}State:"]
        if self.plan.numbers:
            lines.append("    dtype = jnp.result_type(jnp.float32, *jax.tree.leaves(params))")
        return [*lines, *indented(call(f"return {self.origin.title}State", arguments, indent=8))]

    def _update(self) -> list[str]:
        plan = self.plan
        parameters = ["updates: Any", "state: Any", "params: Any = None"]
        parameters.append("**extra_args: Any")
        lines = definition("update", parameters, "tuple[Any, Any]", 4)
        if plan.weight in self.body.parameters:
            words = "params are needed: call update(gradients, state, params)"
            body = ["del extra_args", "if params is None:", f'    raise ValueError("{words}")']
        else:
            body = ["del extra_args, params"]
        body += ["gradients = jax.tree.leaves(updates)"]
        body += ["if not gradients:", "    return updates, state"]
        body += [f"rate = at({RATE}, state.step)"]
        if plan.schedule:
            body += ["value = at(schedule, state.step)"]
        if plan.step or plan.progress:
            body += ["dtype = jnp.result_type(jnp.float32, *gradients)"]
            body += ["step = (state.step + 1).astype(dtype)"]
        body += self._wide() if plan.tree_wide else self._each()
        return [*lines, *indented([*body, *self._end()])]

    def _source(self, value: Value) -> str:
        """Return the list from which an input of each array comes; empty for a number."""
        plan = self.plan
        sources = {
            plan.weight: "jax.tree.leaves(params)",
            plan.gradient: "gradients",
            plan.role: "hidden_matrices(matrices, updates)",
            **{state: f"jax.tree.leaves(state.{_field(state)})" for state in plan.stored},
        }
        return sources.get(value, "")

    def _number(self, value: Value) -> str:
        """Return the argument for an input that is one number."""
        plan = self.plan
        numbers = {
            **{plan.rate: "rate", plan.schedule: "value", plan.step: "step"},
            plan.progress: "jnp.minimum(step / total_steps, 1.0)",
            **{state: f"state.{_field(state)}" for state in plan.numbers},
        }
        return numbers.get(value) or self.body.parameters[value]

    def _wide(self) -> list[str]:
        arguments = [self._source(v) or self._number(v) for v in self.body.parameters]
        for place, (value, name) in enumerate(self.body.parameters.items()):
            if value in self.plan.constants:
                arguments[place] = f"{name}={name}"
        return call(f"{self._targets()} = {self.origin.function}_update", arguments, indent=99)

    def _each(self) -> list[str]:
        parameters = self.body.parameters.items()
        fixed = [f"{n}={self._number(v)}" for v, n in parameters if not self._source(v)]
        lists = [self._source(v) for v, _ in parameters if self._source(v)]
        lines = call("rule = partial", [f"{self.origin.function}_update", *fixed], indent=12)
        if self.plan.states:
            return [*lines, *call(f"{self._targets()} = each_array", ["rule", *lists], indent=12)]
        return [*lines, *for_each("steps", "rule", lists, indent=8)]

    def _targets(self) -> str:
        return ", ".join(["steps", *(state.wish for state in self.plan.states)])

    def _end(self) -> list[str]:
        """Write the end, which restores all dtypes and builds trees again."""
        arguments = ["step=optax.safe_increment(state.step)"]
        for state in self.plan.states:
            name, field = state.wish, _field(state)
            if state in self.plan.numbers:
                last = name if self.plan.tree_wide else f"{name}[-1]"
                arguments.append(f"{field}={last}.astype(state.{field}.dtype)")
            else:
                arguments.append(f"{field}=like({name}, state.{field})")
        lines = call(f"state = {self.origin.title}State", arguments, indent=8)
        return [*lines, "return like([-step for step in steps], updates), state"]


_HOW = (
    "An embedding looks the same and must be told apart: mark it in `matrices`, together with "
    "position tables and, as a rule, the output layer. Under `optax.inject_hyperparams`, "
    "name `matrices` among the static arguments."
)
_MATRICES = (
    "matrices: True for each hidden matrix and False for each other array: bools in the",
    "    structure of the parameters or of its first levels, or a function that builds them",
    "    from the parameters; None goes by the shapes alone.",
)

_REFUSE_STEPS = """
if isinstance(total_steps, int) and total_steps < 1:
    raise ValueError(f"total_steps is {total_steps}; it must be at least 1")
"""


def _field(state: Value) -> str:
    """Return the field of a state in the named tuple; tuples have methods count and index."""
    return f"{state.wish}_state" if state.wish in ("count", "index") else state.wish

"""A rule as a file for PyTorch: the pure update function, then an optimizer."""

from __future__ import annotations

from optforge.exporters.body import Body, Writer
from optforge.exporters.lines import call
from optforge.exporters.origin import Origin
from optforge.exporters.plan import ExportPlan, Value
from optforge.exporters.torch_table import TORCH
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


def to_torch(plan: ExportPlan, origin: Origin) -> str:
    """Write a rule as a module with a ``torch.optim.Optimizer``."""
    body = Writer(plan, TORCH, "lr", (f"{origin.function}_update",)).write()
    lines = heading(origin, "an optimizer for PyTorch; this file needs nothing else.", "torch")
    lines += ["from __future__ import annotations", ""]
    lines += ["import difflib", "import math"]
    lines += ["from collections.abc import Callable", "from typing import Any", ""]
    lines += ["import torch", "from torch import Tensor"]
    lines += ["from torch.optim.optimizer import Optimizer, ParamsT", "", ""]
    helpers = body.helpers | ({"is_hidden_matrix"} if plan.role else set())
    helpers |= {"zeros"} if any(state.kind > Kind.TREE for state in plan.states) else set()
    for text in TORCH.with_needs(set(helpers), any_lists=plan.role is not None):
        lines += [text.strip("\n"), "", ""]
    lines += [*update_function(plan, body, origin, "Tensor", "float"), "", ""]
    return "\n".join([*lines, *_Class(plan, body, origin).lines()]) + "\n"


class _Class:
    """Writes the class of the optimizer."""

    def __init__(self, plan: ExportPlan, body: Body, origin: Origin) -> None:
        self.plan, self.body, self.origin = plan, body, origin
        self.hyper = {body.parameters[value]: v for value, v in _hyper(plan, body).items()}

    def lines(self) -> list[str]:
        plan = self.plan
        lines = [f"class {self.origin.title}(Optimizer):", *indented(self._docstring()), ""]
        lines += indented(self._init()) + [""]
        lines += indented(_add_param_group(plan)) + [""]
        step = self._wide_step() if plan.tree_wide else self._step()
        lines += indented([*_STEP.strip("\n").split("\n"), *indented(step)])
        return lines + (["", *indented(self._rule())] if plan.tree_wide else [])

    def _docstring(self) -> list[str]:
        plan = self.plan
        lines = [f'"""{self.origin.title} as a PyTorch optimizer.', ""]
        if plan.schedule:
            lines += [
                "The rule reads the value of the schedule by itself. It is the group's lr over its",
                "peak_lr, which is the lr given here: a scheduler moves the schedule only.",
                "",
            ]
        elif not plan.product:
            lines += [
                "The rule does not read the schedule: its rate is the group's peak_lr, which is",
                "the lr given here, and a scheduler changes nothing.",
                "",
            ]
        if plan.tree_wide:
            lines += [
                "Norms and inner products go over all parameters of the optimizer. Each group's",
                "parameters follow its own values; a step takes one pass for each group.",
                "",
            ]
        lines += hidden_matrices(_HOW) if plan.role else []
        lines += ["Args:", "    params: Parameters, or groups of them."]
        lines += [_LR if plan.product else "    lr: Peak of the learning rate, above 0."]
        lines += [f"    {name}: {describe(name)}" for name in self.hyper if name != "lr"]
        lines += [f"    total_steps: {STEPS}"] if plan.progress else []
        lines += [f"    matrices: {_MATRICES}"] if plan.role else []
        return [*lines, '"""']

    def _init(self) -> list[str]:
        plan = self.plan
        parameters = ["self", "params: ParamsT"]
        parameters += [f"{name}: float = {value!r}" for name, value in self.hyper.items()]
        parameters += ["*"] if plan.progress or plan.role else []
        parameters += ["total_steps: int"] if plan.progress else []
        parameters += ["matrices: bool | None = None"] if plan.role else []
        lines = call("def __init__", parameters, " -> None:", indent=4)
        entries = [f'"{name}": {name}' for name in self.hyper]
        entries += [f'"{state.wish}": 0.0' for state in self.plan.numbers]
        entries += ['"step": 0'] if plan.step or plan.progress else []
        entries += ['"total_steps": total_steps'] if plan.progress else []
        entries += ['"matrices": matrices'] if plan.role else []
        body = ["defaults: dict[str, Any] = {"] + [f"    {entry}," for entry in entries] + ["}"]
        return [*lines, *indented([*body, "super().__init__(params, defaults)"])]

    def _step(self) -> list[str]:
        loop = ["if weight.grad is None:", "    continue", *_REFUSE]
        loop += [f"is_matrix = {_IS_MATRIX}"] if self.plan.role else []
        if self.plan.stored:
            loop += ["state = self.state[weight]", "if not state:"]
            loop += [f"    {line}" for line in self._zeros("state")]
        results = ["update", *(state.wish for state in self.plan.states)]
        arguments = [self._argument(v, name) for v, name in self.body.parameters.items()]
        loop += call(f"{', '.join(results)} = {self.origin.function}_update", arguments, indent=99)
        loop += ["weight.sub_(update)"]
        loop += [f'state["{s.wish}"].copy_({s.wish})' for s in self.plan.stored]
        lines = ["for group in self.param_groups:", *indented(self._count())]
        lines += indented([f'{s.wish} = group["{s.wish}"]' for s in self.plan.numbers])
        lines += [*indented(['for weight in group["params"]:', *indented(loop)])]
        lines += indented([f'group["{s.wish}"] = {s.wish}' for s in self.plan.numbers])
        return [*lines, "return loss"]

    def _count(self) -> list[str]:
        return ['group["step"] += 1'] if self.plan.step or self.plan.progress else []

    def _zeros(self, state: str) -> list[str]:
        zeros = {kind: f'zeros(weight, is_matrix, "{sides}")' for kind, sides in SIDES.items()}
        zeros |= {Kind.ARRAY: "weight.new_zeros(())", Kind.TREE: "torch.zeros_like(weight)"}
        return [f'{state}["{s.wish}"] = {zeros[s.kind]}' for s in self.plan.stored]

    def _argument(self, value: Value, name: str) -> str:
        """Return the argument of the update function for one of its parameters."""
        plan, wide = self.plan, self.plan.tree_wide
        if value is plan.weight:
            return "weights" if wide else "weight"
        if value is plan.role:
            return "matrices" if wide else "is_matrix"
        if value is plan.gradient or value in plan.stored:
            state = "self.state[weight]" if wide else "state"
            text = "weight.grad" if value is plan.gradient else f'{state}["{value.wish}"]'
            return f"[{text} for weight in weights]" if wide else text
        text = self._setting(value)
        return f"{name}={text}" if value in plan.constants else text

    def _setting(self, value: Value) -> str:
        """Return the lookup of a setting in a group."""
        plan = self.plan
        settings = {
            plan.schedule: 'group["lr"] / group["peak_lr"]',
            plan.step: 'group["step"]',
            plan.progress: 'min(1.0, group["step"] / group["total_steps"])',
            plan.rate: 'group["lr"]' if plan.product else 'group["peak_lr"]',
            **{s: f'torch.as_tensor(group["{s.wish}"], dtype=torch.float64)' for s in plan.numbers},
        }
        return settings.get(value) or f'group["{self.body.parameters[value]}"]'

    def _wide_step(self) -> list[str]:
        lines = _WIDE_BEGIN.strip("\n").split("\n")
        if self.plan.role:
            lines += _WIDE_ROLES.strip("\n").split("\n")
        if count := self._count():
            lines += ["for group in groups:", *indented(count)]
        if self.plan.stored:
            shaped = any(s.kind > Kind.TREE for s in self.plan.stored)
            both = "for weight, is_matrix in zip(weights, matrices, strict=True):"
            lines += [both if shaped else "for weight in weights:"]
            lines += ["    if not self.state[weight]:"]
            lines += [f"        {line}" for line in self._zeros("self.state[weight]")]
        extra = ", matrices" if self.plan.role else ""
        lines += [f"results = [self._compute(group, weights{extra}) for group in groups]"]
        names = [state.wish for state in self.plan.states]
        single = not names
        targets = "update" if single else f"({', '.join(['update', *names])})"
        lines += [f"for group, {targets} in zip(groups, results, strict=True):"]
        lines += ['    own = {id(weight) for weight in group["params"]}']
        lines += ["    for number, weight in enumerate(weights):", "        if id(weight) in own:"]
        lines += ["            weight.sub_(update[number])"]
        lines += [
            f'            self.state[weight]["{s.wish}"].copy_({s.wish}[number])'
            for s in self.plan.stored
        ]
        lines += [f'    group["{s.wish}"] = {s.wish}' for s in self.plan.numbers]
        return [*lines, "return loss"]

    def _rule(self) -> list[str]:
        """Write the method that runs the rule over all parameters with the values of one group."""
        arguments = [self._argument(v, name) for v, name in self.body.parameters.items()]
        extra = ", matrices: list[bool]" if self.plan.role else ""
        lines = [f"def _compute(self, group: dict[str, Any], weights: list[Any]{extra}) -> Any:"]
        lines += ['    """Run the rule on all parameters with the values of one group."""']
        return [
            *lines,
            *indented(call(f"return {self.origin.function}_update", arguments, indent=99)),
        ]


def _hyper(plan: ExportPlan, body: Body) -> dict[Value, float]:
    return {plan.rate: plan.rate_value, **plan.constants}


def _add_param_group(plan: ExportPlan) -> list[str]:
    words = ("Add parameters; refuse settings that cannot be meant.", "<", "at least 0", "lr")
    if not plan.product:
        words = (
            "Add parameters; the lr that they have now is their peak.",
            "<=",
            "above 0",
            "peak_lr",
        )
    text = _GROUP.format(**dict(zip(("said", "below", "allowed", "rate"), words, strict=True)))
    lines = text.strip("\n").split("\n")
    if plan.role:
        lines[4] = lines[4].replace("if not", 'if name != "matrices" and not')
        lines += _REFUSE_MATRICES.strip("\n").split("\n")
    if plan.progress:
        lines += _REFUSE_STEPS.strip("\n").split("\n")
    if not plan.product:
        lines.insert(
            2, '    param_group.setdefault("peak_lr", param_group.get("lr", self.defaults["lr"]))'
        )
    return [*lines, "    super().add_param_group(param_group)"]


_LR = "    lr: Learning rate, at least 0; a scheduler may move it."

_REFUSE = [
    "if weight.grad.is_sparse:",
    '    raise RuntimeError("sparse gradients are not supported")',
]

_GROUP = '''
def add_param_group(self, param_group: dict[str, Any]) -> None:
    """{said}"""
    values = {{**self.defaults, **param_group}}
    for name in self.defaults:
        if not math.isfinite(values[name]):
            raise ValueError(f"{{name}} is {{values[name]}}; it must be finite")
    if values["{rate}"] {below} 0:
        raise ValueError(f"{rate} is {{values['{rate}']}}; it must be {allowed}")
    for name in param_group.keys() - self.defaults.keys():
        if close := difflib.get_close_matches(name, self.defaults, 1, 0.85):
            raise ValueError(f"{{name}} is not a setting; did you mean {{close[0]}}?")
'''

_STEP = '''
@torch.no_grad()
def step(self, closure: Callable[[], Any] | None = None) -> Any:
    """Take one step; the closure, if given, computes the loss and the gradients again."""
    loss = None
    if closure is not None:
        with torch.enable_grad():
            loss = closure()
'''

_HOW = (
    "An embedding looks the same and must be told apart: give it in a group with "
    "`matrices` False, together with position tables and, as a rule, the output layer."
)
_MATRICES = "Whether arrays with two sides are hidden matrices; None means yes."
_IS_MATRIX = 'is_hidden_matrix(weight, group["matrices"])'

_REFUSE_MATRICES = """
    if (told := values["matrices"]) not in (True, False, None):
        raise ValueError(f"matrices is {told}; it must be True, False or None")
"""

_REFUSE_STEPS = """
    if (total := values["total_steps"]) < 1:
        raise ValueError(f"total_steps is {total}; it must be at least 1")
"""

_WIDE_ROLES = f"""
matrices = [
    {_IS_MATRIX}
    for group in groups
    for weight in group["params"]
    if weight.grad is not None
]
"""

_WIDE_BEGIN = """
groups = self.param_groups
parameters = [weight for group in groups for weight in group["params"]]
weights = [weight for weight in parameters if weight.grad is not None]
if not weights:
    return loss
if any(weight.grad.is_sparse for weight in weights):
    raise RuntimeError("sparse gradients are not supported")
"""

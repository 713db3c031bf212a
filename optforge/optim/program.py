"""Any rule as an optimizer of `torch.optim`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optforge.language import Program, load_rule
from optforge.optim.program_buckets import buckets_of, check_parameter, numbers_of, share_scalars
from optforge.optim.program_graph import Graph, graph_of
from optforge.optim.program_loading import check_state_dict, load_states, structure_of
from optforge.optim.program_run import run_step
from optforge.optim.program_settings import check_group, defaults_of, peak_of
from optforge.optim.program_stall import StallCheck

Closure = Callable[[], Any]


class ProgramOptimizer(Optimizer):
    r"""Train with any rule: a program, a shipped rule by its name, or a file.

    One step is :math:`w \leftarrow w - \text{update}`, with
    :math:`(\text{update}, \text{states}) = \text{train}(w, g, \text{states}, \text{lr})`.

    **Two rates.** Inside a rule ``lr`` is the value of the schedule, with peak 1; how fast the
    rule learns is a constant of it (0.001 in ``adamw``). ``lr=X`` sets that constant, or a factor
    of the whole update where a rule has none; it is kept as ``peak_lr`` of the group. A torch
    scheduler writes ``group["lr"]`` and so moves the schedule only: the rule is fed
    ``group["schedule"] * group["lr"] / group["peak_lr"]``. For most rules both are the same to the
    update; not for ``program_8``, whose ``clip(g, lr)`` reads the schedule.

    **The whole tree.** ``global_norm``, ``dot``, ``cosine_sim`` and ``clip`` see all parameters of
    the optimizer that have a gradient in this step, in all groups, as the language defines them.
    A scalar is one number for each group, since constants may differ between groups.

    **Numbers.** Each parameter is computed in its own dtype, 16-bit ones in float32, and states are
    kept in that dtype. Scalars and sums over the tree are float64, on the CPU. The new weight is
    rounded once, to the nearest; if most weights of a 16-bit parameter cannot move, a warning
    says so in step 10. Non-finite values spread as the language has it.

    Args:
        params: Parameters or groups, as everywhere in `torch.optim`. A group may set its own
            ``lr``, ``schedule``, ``maximize`` and constants.
        rule: A program, the name of a shipped rule, or the path of a file.
        lr: The rule's learning rate, positive; None leaves the rule's own.
        schedule: Fed to the rule as its ``lr``; change ``group["schedule"]`` to move it by hand.
        foreach: Whether to compute lists of tensors at once (the default) or one after the other.
        fused: Whether to compile the step with ``torch.compile``; without a C++ compiler a
            warning says so once, and foreach runs.
        maximize: Climb instead.
        hyperparameters: Other constants of the rule by name, such as ``beta1``, ``weight_decay``
            or ``eps`` (see `optforge.analysis.lift`); ``betas=(0.9, 0.99)`` sets ``beta1, beta2``.

    Raises:
        OptimizerError: For values that are not allowed, names that the rule has not, and sparse,
            complex or integer parameters.
        ProgramError: If there is no such rule, or it is not a valid program.

    Example:
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
        >>> optimizer = ProgramOptimizer([weight], "lion", lr=0.25, weight_decay=0.0)
        >>> (weight**2).sum().backward()
        >>> optimizer.step()
        >>> weight.data
        tensor([ 0.7500, -1.7500])
    """

    def __init__(
        self,
        params: Any,
        rule: Program | str | Path,
        lr: float | Tensor | None = None,
        *,
        schedule: float = 1.0,
        foreach: bool | None = None,
        fused: bool | None = None,
        maximize: bool = False,
        **hyperparameters: Any,
    ) -> None:
        self.rule = rule if isinstance(rule, Program) else load_rule(rule)
        self.graph: Graph = graph_of(self.rule)
        flags = {"schedule": schedule, "foreach": foreach, "fused": fused, "maximize": maximize}
        defaults = defaults_of(self.graph.lifted, lr, hyperparameters) | flags
        super().__init__(params, defaults | {"fingerprint": structure_of(self.graph.lifted)})
        self._stalls = StallCheck()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; its ``lr`` is the rate of the rule for it, its peak."""
        if isinstance(param_group, dict):
            param_group = dict(param_group)
            param_group.setdefault("peak_lr", peak_of(param_group.get("lr", self.defaults["lr"])))
            check_group(self.graph.lifted, {**self.defaults, **param_group})
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            check_parameter(parameter)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.graph = graph_of(self.rule)
        self._stalls = StallCheck()
        share_scalars(self)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict; states are kept in the dtype that the rule computes in.

        Raises:
            OptimizerError: If it was saved by another rule, or for parameters of other shapes;
                values of hyper-parameters may differ.
        """
        check_state_dict(state_dict, structure_of(self.graph.lifted), self.graph.lifted)
        kinds = dict(zip(self.graph.lifted.program.states, self.graph.kinds, strict=True))
        load_states(self, super().load_state_dict, state_dict, kinds)
        share_scalars(self)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make one step; parameters without a gradient, and their states, stay as they are.

        Args:
            closure: Computes the loss anew, with gradients, and gives it back.

        Returns:
            What the closure gave, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        buckets, numbers, copies = [], {}, {}
        for number, group in enumerate(self.param_groups):
            if active := [p for p in group["params"] if p.grad is not None]:
                numbers[number] = numbers_of(self, group, active)
                buckets += buckets_of(self, number, active)
                copies[number] = self._stalls.before(number, group, active)
        if buckets:
            run_step(self.graph, buckets, numbers)
        for number, old in copies.items():
            self._stalls.after(number, self.param_groups[number], old)
        return loss

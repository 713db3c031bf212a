"""Any rule as an optimizer of `torch.optim`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from optforge.errors import OptimizerError
from optforge.language import Program, load_rule
from optforge.optim.base import BaseOptimizer
from optforge.optim.migration.rule_from_adamw import groups_from_adamw
from optforge.optim.precision.rounding import wide_dtype
from optforge.optim.resolution import StallCheck
from optforge.optim.rules.batches import pieces_of, rule_batches
from optforge.optim.rules.graph import RuleGraph, graph_of
from optforge.optim.rules.loading import check_entry, check_source, structure_of
from optforge.optim.rules.run import run_step, without_autocast
from optforge.optim.rules.settings import checked_settings, defaults_of, peak_of, reads_clock
from optforge.optim.rules.states import check_step, numbers_of, share_scalars, state_shapes
from optforge.optim.settings import FINITE

Closure = Callable[[], Any]


class ProgramOptimizer(BaseOptimizer):
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

    **Hidden matrices.** ``orthogonalize``, ``matmul``, ``transpose`` and ``where_matrix`` tell
    hidden matrices from other arrays; ``matrices`` of a group says which its parameters are. By
    default whatever has two sides is one (dimensions after the first flattened), unless
    `optforge.language.mark_matrix` says otherwise. A parameter does not tell that it belongs to an
    embedding, so with such a rule take the groups of ``parameter_groups(model)`` of
    `optforge.language`. States that an array of its kind never reads are not kept for it. Sharded
    parameters are refused where a rule looks at rows, columns or matrices.

    **The clock.** ``get_step()`` is the number of the steps in which a group had a gradient, kept
    as ``group["step"]``; ``get_progress()`` is its share of ``total_steps``, 1 past the end.

    **Numbers.** Each parameter is computed in its own dtype, 16-bit ones in float32, and states are
    kept in that dtype. Scalars and sums over the tree are float64, on the CPU. The new weight is
    rounded once, to the nearest; if most weights of a 16-bit parameter cannot move, a warning
    says so in step 10. Non-finite values spread as the language has it.

    Args:
        params: Parameters or groups, as everywhere in `torch.optim`. A group may set its own
            ``lr``, ``schedule``, ``maximize``, ``matrices``, ``total_steps`` and constants.
        rule: A program, the name of a shipped rule, or the path of a file.
        lr: The rule's learning rate, positive; None parts the rule's own.
        schedule: Fed to the rule as its ``lr``; change ``group["schedule"]`` to move it by hand.
        foreach: Whether to compute lists of tensors at once (the default) or one after the other.
        fused: Whether to compile the step with ``torch.compile``; without a C++ compiler a
            warning says so once, and foreach runs. What looks at rows or matrices is compiled once
            for each shape; arrays whose memory is not in the order of their dimensions (such as
            channels_last) run as foreach then.
        maximize: Climb instead.
        matrices: Whether parameters are hidden matrices, for rules that ask; None: see above.
        total_steps: Steps of the whole run, for rules that read ``get_progress()``.
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

    # Constants of a rule may be negative, decay as well.
    scheduled = {**BaseOptimizer.scheduled, "weight_decay": FINITE}

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
        matrices: bool | None = None,
        total_steps: int | None = None,
        **hyperparameters: Any,
    ) -> None:
        self.rule = rule if isinstance(rule, Program) else load_rule(rule)
        self.graph: RuleGraph = graph_of(self.rule)
        flags = {"schedule": schedule, "foreach": foreach, "fused": fused, "maximize": maximize}
        flags |= {"matrices": matrices, "total_steps": total_steps}
        defaults = defaults_of(self.graph.lifted, lr, hyperparameters) | flags
        super().__init__(params, defaults | {"fingerprint": structure_of(self.graph.lifted)})
        self._stalls = StallCheck()

    @classmethod
    def from_adamw(
        cls,
        optimizer: Optimizer,
        rule: Program | str | Path,
        *,
        ratio: float | None = None,
        **settings: Any,
    ) -> ProgramOptimizer:
        r"""Build an optimizer that starts from the settings of an AdamW, on the same groups.

        A rule's rate follows from how long its updates are. With :math:`\rho` the root mean square
        of AdamW's updates over that of the rule's, per unit of their rates,

        .. math::
            \eta = \rho\,\eta_{AdamW}, \quad \lambda = \lambda_{AdamW} / \rho, \quad
            \eta \lambda = \eta_{AdamW} \lambda_{AdamW} .

        Both are run on the same made-up noise, AdamW with its betas, the rule with its own
        constants, for arrays of the roles that a group holds: signs and orthogonalised updates get
        about 0.23 of AdamW's rate, a rule like Adam the same. The schedule stays: peaks and rates
        that schedulers left in the groups are scaled, also in mid-schedule, so that schedulers
        which multiply (`LambdaLR`, warm-up, cosine to zero) need no change; what is given in
        absolute rates (``eta_min``) has to be multiplied by ``group["peak_lr"]`` over AdamW's peak.
        Clipping stays as it is. Moments are not taken over. The rate is where its tuning starts:
        try a third of it and three times as much.

        Args:
            optimizer: `torch.optim.AdamW`, or Adam without L2 decay.
            rule: As for the class.
            ratio: Of the rates; None measures it.
            settings: Further keywords of the class, such as ``fused``, ``total_steps``, ``betas``.

        Raises:
            OptimizerError: If it is no AdamW, if its decay is L2, if the length of the rule's
                updates follows that of the gradients, so that no ratio holds (pass one then), or
                if ``lr``, ``weight_decay`` or ``maximize`` is among the settings.

        Example:
            >>> weight = torch.nn.Parameter(torch.ones(2))
            >>> adamw = torch.optim.AdamW([weight], lr=0.001, weight_decay=0.1)
            >>> group = ProgramOptimizer.from_adamw(adamw, "signum").param_groups[0]
            >>> group["lr"], round(group["lr"] * group["weight_decay"], 9)
            (0.00023, 0.0001)
        """
        if taken := sorted({"lr", "weight_decay", "maximize"} & settings.keys()):
            raise OptimizerError(
                f"{', '.join(taken)} of the new optimizer come from AdamW's groups; set them "
                "there, or in the groups of the result"
            )
        program = rule if isinstance(rule, Program) else load_rule(rule)
        probe = cls([torch.zeros(1, dtype=torch.float32, device="cpu")], program, **settings)
        groups = groups_from_adamw(optimizer, probe.graph.lifted, probe.param_groups[0], ratio)
        return cls(groups, program, **settings)

    def checked_group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return a group with plain values; the ``lr`` of a new one is its peak."""
        group = dict(group)
        if "fingerprint" in self.defaults:  # groups of another rule's optimizer bring theirs along
            group["fingerprint"] = self.defaults["fingerprint"]
        if "peak_lr" not in group:
            group["peak_lr"] = peak_of(group["lr"])
        if reads_clock(self.graph):
            group.setdefault("step", 0)
        return {**group, **checked_settings(self.graph, group)}

    def check_source(self, groups: list[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
        """Refuse the state dict of another rule or optimizer."""
        check_source(groups, states, structure_of(self.graph.lifted), self.graph.lifted)

    def check_entry(
        self, entry: Mapping[str, Any], key: Any, parameter: Tensor, group: Mapping[str, Any]
    ) -> None:
        """Refuse a saved state whose tensors cannot be those of a parameter."""
        check_entry(entry, key, parameter, state_shapes(self.graph, parameter, group))

    def loaded_entry(
        self, entry: Mapping[str, Any], parameter: Tensor, group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the state of a parameter, in the dtype that the rule computes in."""
        shapes = state_shapes(self.graph, parameter, group)
        return {
            name: value.to(
                parameter.device,
                value.dtype if shapes[name] is None else wide_dtype(parameter.dtype),
                copy=True,
            )
            for name, value in entry.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "rule": self.rule}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.graph = graph_of(self.rule)
        self._stalls = StallCheck()
        for group in self.param_groups:  # saved before these settings were there
            group.setdefault("matrices", None)
            group.setdefault("total_steps", None)
        share_scalars(self.graph, self.state, self.param_groups)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state dict; values of hyper-parameters may differ from those here.

        Raises:
            OptimizerError: If it was saved by another rule, or for parameters of other shapes. The
                optimizer stays as it was.
        """
        super().load_state_dict(state_dict)
        share_scalars(self.graph, self.state, self.param_groups)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Make one step; parameters without a gradient, and their states, stay as they are.

        Args:
            closure: Computes the loss and its gradients anew, and returns the loss.

        Returns:
            What the closure returns, or None.

        Raises:
            OptimizerError: If gradients or states do not fit; nothing is changed then.
        """
        loss = self.closed(closure)
        self.check_changes()
        active = {
            number: [p for p in group["params"] if p.grad is not None]
            for number, group in enumerate(self.param_groups)
        }
        for number, parameters in active.items():
            group = self.param_groups[number]
            for parameter in parameters:
                self.check_parameter(parameter, group)  # it may have been cast since it was added
            check_step(self.graph, self.state, group, parameters)
        with without_autocast(chain.from_iterable(active.values())):
            copies = self._run(active)
        for number, old in copies.items():
            self._stalls.after(number, self.param_groups[number], old)
        return loss

    def _run(self, active: Mapping[int, list[Tensor]]) -> dict[int, list[Any]]:
        """Run a step of checked parameters by group; return copies of weights to look at."""
        pieces, numbers, copies = {}, {}, {}
        for number, parameters in active.items():
            if parameters:
                group = self.param_groups[number]
                numbers[number] = numbers_of(self.graph, self.state, group, parameters)
                pieces[number] = pieces_of(self.graph, self.state, group, parameters)
                copies[number] = self._stalls.before(number, group, parameters)
        batches = (rule_batches(pieces[n], self.param_groups[n], n) for n in pieces)
        if numbers:
            run_step(self.graph, chain.from_iterable(batches), numbers)
        for piece in chain.from_iterable(chain.from_iterable(p.values() for p in pieces.values())):
            piece.write_back()
        return copies

"""The steps of `Lion`: everything is checked first, then a path runs over each group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from optforge.errors import OptimizerError
from optforge.optim.base import REAL, BaseOptimizer
from optforge.optim.lion_settings import (
    check_key,
    checked_settings,
    has_no_values,
    options_of,
    reference_lr,
    stays_on_device,
    warn_of_strong_decay,
)
from optforge.optim.precision.rounding import random_key
from optforge.optim.resolution import ResolutionCheck
from optforge.optim.settings import Number
from optforge.optim.state import (
    check_entry,
    check_source,
    complete,
    initial_state,
    placed,
    uses_stochastic_rounding,
)
from optforge.optim.steps.batches import WITHOUT_LIMIT
from optforge.optim.steps.cautious import set_cautious_scales
from optforge.optim.steps.foreach import plain_foreach
from optforge.optim.steps.layout import is_distributed
from optforge.optim.steps.member import Member, members_of
from optforge.optim.steps.nonfinite import any_found, found_nonfinite, raise_nonfinite
from optforge.optim.steps.paths import (
    FEW_ON_CPU,
    differentiable_step,
    foreach_step,
    fused_step,
    loop_step,
)
from optforge.optim.steps.piece import LISTS, Piece
from optforge.optim.steps.update import Step, numbers_of

Path = Callable[[Sequence[Piece], Step], None]


class LionSteps(BaseOptimizer):
    """The steps and states of `Lion`, around its formula.

    Args:
        formula: One step of `optforge.optim.lion.lion`, or of a variant with the same arguments.
    """

    formula: Callable[..., Any]
    dtypes = (*REAL, torch.complex128, torch.complex64)

    @property
    def _step_supports_amp_scaling(self) -> bool:
        """Return whether the step unscales gradients itself, as torch's fused ones do."""
        return any(bool(group["fused"]) for group in self.param_groups)

    def _forget(self) -> None:
        """Forget what was checked, so that the next step checks everything."""
        self._resolution = ResolutionCheck()
        # Dtype and options for which the state of a parameter is complete, and its size then.
        self._completed: dict[int, tuple[torch.dtype, tuple[Any, ...], int]] = {}  # by id

    def checked_group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return a group with plain values, and with the peak rate of independent decay."""
        for key in group:
            check_key(key)
        checked = {**group, **checked_settings(group)}
        warn_of_strong_decay(checked)
        return checked

    def check_parameter(self, parameter: Tensor, group: Mapping[str, Any]) -> None:
        """Refuse parameters of a dtype that has no step."""
        super().check_parameter(parameter, group)
        if parameter.is_complex() and group["momentum_dtype"] in (torch.bfloat16, "8bit"):
            raise OptimizerError(
                f"momentum_dtype={group['momentum_dtype']!r} with a complex parameter; complex "
                "momentum is kept in complex64 or complex128, so leave momentum_dtype=None"
            )

    def check_source(self, groups: list[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
        """Refuse the state dict of another optimizer."""
        check_source(groups, states)

    def check_entry(
        self, entry: Mapping[str, Any], key: Any, parameter: Tensor, group: Mapping[str, Any]
    ) -> None:
        """Refuse a saved state whose tensors cannot be those of a parameter."""
        check_entry(entry, key, parameter)

    def loaded_entry(
        self, entry: Mapping[str, Any], parameter: Tensor, group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the state of a parameter from a saved one, each tensor in its own dtype."""
        state = {name: placed(value, name, parameter) for name, value in entry.items()}
        complete(state, parameter, group)
        self._completed[id(parameter)] = parameter.dtype, _state_options(group), len(state)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._forget()
        for group in self.param_groups:  # saved before some settings were there
            for key, value in self.defaults.items():
                group.setdefault(key, value)
            if group["reference_lr"] is None:
                group["reference_lr"] = reference_lr(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Make one step for all parameters that have a gradient.

        Args:
            closure: Computes the loss and its gradients anew; run with gradients enabled.

        Returns:
            What the closure returns, else None.

        Raises:
            OptimizerError: If gradients or states do not fit; nothing is changed then.
        """
        loss = self.closed(closure)
        self.check_changes()
        live = [self._live(group) for group in self.param_groups]
        with torch.no_grad():
            skip = self._found(live)
            if isinstance(skip, bool) and skip:
                return loss
            for group, members in zip(self.param_groups, live, strict=True):
                self._prepare(group, members)
        numbers_before = 0
        mask = skip if isinstance(skip, Tensor) else None
        for group, members in zip(self.param_groups, live, strict=True):
            if members:
                self._step_group(group, members, numbers_before, mask)
            numbers_before += len(group["params"])
        return loss

    def _live(self, group: Mapping[str, Any]) -> list[Member]:
        """Return the parameters that have a gradient, checked."""
        present = [
            (number, parameter, self.state.get(parameter) or {})
            for number, parameter in enumerate(group["params"])
            if parameter.grad is not None and parameter.grad.numel()
        ]
        members = members_of(present)
        for member in members:
            if not member.is_dense:
                member.check()
                self.check_parameter(member.parameter, group)  # it may have been cast
        return members

    def _prepare(self, group: Mapping[str, Any], members: list[Member]) -> None:
        """Make states, and complete those of parameters that were cast or got other options."""
        is_traced, options = torch.compiler.is_compiling(), _state_options(group)
        for place, (number, parameter, state, *_) in enumerate(members):
            known = None if is_traced else self._completed.get(id(parameter))
            if not state:
                self.state[parameter] = state = initial_state(parameter, group)
            elif is_traced or known == (parameter.dtype, options, len(state)):
                continue
            else:
                complete(state, parameter, group, was=known[0] if known else None)
            (members[place],) = members_of([(number, parameter, state)])
            if not is_traced:
                self._completed[id(parameter)] = parameter.dtype, options, len(state)
        if members and not stays_on_device(group):
            self._resolution(group, [member.parameter for member in members])

    def _found(self, live: Sequence[Sequence[Member]]) -> bool | Tensor:
        """Return whether the whole step must do nothing; a tensor where the host must not ask."""
        scaler = self._scaler("found_inf")
        flags = [] if scaler is None else [scaler]
        for group, members in zip(self.param_groups, live, strict=True):
            if group["nonfinite"] in ("skip_step", "raise") and members:
                flag = found_nonfinite([m.parameter for m in members], stays_on_device(group))
                if flag is None:
                    continue
                # An overflow of the scaler's factor is ordinary: the step is skipped, whatever
                # the policy.
                if group["nonfinite"] == "raise":
                    overflow = scaler is not None and bool(scaler)
                    if not overflow and bool(flag):
                        raise_nonfinite(group, members)
                flags.append(flag)
        return any_found(flags, any(map(stays_on_device, self.param_groups)))

    def _step_group(
        self,
        group: dict[str, Any],
        members: Sequence[Member],
        numbers_before: int,
        found_inf: Tensor | None,
    ) -> None:
        numbers = numbers_of(group, self._scaler("grad_scale"), found_inf)
        step = Step(numbers, options_of(group, type(self).formula))
        if group["differentiable"]:
            differentiable_step(members, step)
            return
        path = path_of(group)
        with torch.no_grad():
            if path is not loop_step:
                size = FEW_ON_CPU if path is fused_step else WITHOUT_LIMIT
                members = plain_foreach(members, step, size)
            if not members:
                return
            parameters = [member.parameter for member in members]
            keys = self._keys(group, members, numbers_before)
            pieces = [m.piece(key) for m, key in zip(members, keys, strict=True)]
            if group["cautious"]:
                set_cautious_scales(parameters, pieces, step)
            # Ranks with nothing of a sharded parameter have only helped to add up.
            pieces = [piece for piece in pieces if piece.count]
            path(pieces, step)
            for piece in pieces:
                piece.write_back()
            # Of distributed parameters the step has seen only the part that lives here.
            if distributed := [p for p in parameters if is_distributed(p)]:
                increment_version(distributed)

    def _keys(
        self, group: Mapping[str, Any], members: Sequence[Member], numbers_before: int
    ) -> list[Number]:
        """Count a step of each parameter that rounding needs a random key for; return the keys."""
        keys: list[Number] = [0] * len(members)
        rounded = [
            place
            for place, (_, parameter, state, *_) in enumerate(members)
            if "step" in state and uses_stochastic_rounding(parameter, group)
        ]
        if rounded:
            counts = [members[place].state["step"] for place in rounded]
            LISTS._foreach_add_(counts, 1)
            steps = counts if stays_on_device(group) else torch.stack(counts).tolist()
            for place, step in zip(rounded, steps, strict=True):
                number = numbers_before + members[place].number
                keys[place] = random_key(group["seed"], step, number)
        return keys

    def _scaler(self, name: str) -> Tensor | None:
        """Return what a gradient scaler has left here, without dimensions."""
        value: Tensor | None = getattr(self, name, None)
        return None if value is None else value.reshape(())


def _state_options(group: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the options that the states of a group depend on."""
    return group["rounding"], group["momentum_dtype"], group["capturable"]


def path_of(group: Mapping[str, Any]) -> Path:
    """Choose how a group's step runs."""
    if torch.compiler.is_compiling() or has_no_values(group):
        return loop_step
    if group["foreach"] is False and not group["fused"]:
        return loop_step
    return fused_step if group["fused"] else foreach_step

"""What `Lion` and `ProgramOptimizer` share: whatever is given or loaded is checked first.

A refusal leaves the optimizer as it was: groups and states are checked before anything changes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import is_
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from optforge.errors import OptimizerError
from optforge.optim.saved import StateDict, check_keys, parts_of
from optforge.optim.settings import BETAS, COUNT, FINITE, RATE

REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class BaseOptimizer(Optimizer):
    """An optimizer whose groups and states are checked before they are taken over.

    Args:
        dtypes: Of the parameters that it can step.
        scheduled: What schedulers write between steps, and its numbers; whether one is allowed
            hangs on no other setting.
    """

    dtypes: ClassVar[Sequence[torch.dtype]] = REAL
    scheduled: ClassVar[Mapping[str, Any]] = {
        "lr": RATE, "betas": BETAS, "weight_decay": RATE, "schedule": FINITE, "step": COUNT,
    }  # fmt: skip

    @abstractmethod
    def checked_group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return a group with plain values.

        Args:
            group: With all settings; ``params`` may be anything.

        Raises:
            OptimizerError: Says the setting, the value received and what is allowed.
        """

    def check_parameter(self, parameter: Tensor, group: Mapping[str, Any]) -> None:
        """Refuse parameters that the optimizer cannot step.

        Raises:
            OptimizerError: Names the dtype and what is allowed.
        """
        if parameter.dtype not in self.dtypes:
            allowed = ", ".join(sorted(map(str, self.dtypes)))
            pairs = "; give complex weights as pairs of real ones (torch.view_as_real)"
            raise OptimizerError(
                f"a parameter of dtype {parameter.dtype}; allowed are {allowed}"
                f"{pairs if parameter.is_complex() else ''}"
            )
        if torch.compiler.is_compiling() or is_lazy(parameter):
            return
        if parameter.is_conj() or parameter.is_neg():
            raise OptimizerError(
                "a parameter that is a conjugate or negative view (as `z.conj()`, `z.mH` and "
                "`z.conj().imag` are) cannot be stepped in place; build it from "
                "`.resolve_conj().resolve_neg()`"
            )
        if _is_expanded(parameter):
            raise OptimizerError(
                f"a parameter of shape {tuple(parameter.shape)} whose elements share memory (by "
                "`expand`) cannot be stepped in place; give it memory of its own by `.clone()`"
            )

    @abstractmethod
    def check_source(self, groups: list[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
        """Refuse the state dict of another optimizer; groups without parameters are left out."""

    @abstractmethod
    def check_entry(
        self, entry: Mapping[str, Any], key: Any, parameter: Tensor, group: Mapping[str, Any]
    ) -> None:
        """Refuse a saved state that cannot be the one of a parameter."""

    @abstractmethod
    def loaded_entry(
        self, entry: Mapping[str, Any], parameter: Tensor, group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the state of a parameter from a checked one, sharing nothing with it."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group; what it does not set comes from the constructor's arguments.

        Args:
            param_group: ``params``, and any of the constructor's keywords.

        Raises:
            OptimizerError: As the constructor. The optimizer stays as it was.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"a param group must be a dict, got {type(param_group).__name__}")
        super().add_param_group(self.checked_group({**self.defaults, **param_group}))
        try:
            parameters = self.param_groups[-1]["params"]
            for parameter in parameters:
                self.check_parameter(parameter, self.param_groups[-1])
            if len(set(map(id, parameters))) < len(parameters):
                raise OptimizerError(
                    "a parameter is in the group twice; list it once, tied weights as well"
                )
        except OptimizerError:
            self.param_groups.pop()
            raise
        self._remember(len(self.param_groups) - 1)

    def check_changes(self) -> None:
        """Check the settings that were set by hand, or by a scheduler, since the last step.

        Raises:
            OptimizerError: As the constructor. The groups stay as they were set.
        """
        if torch.compiler.is_compiling():
            return
        known = self.__dict__.setdefault("_known", {})
        checked: dict[int, Mapping[str, Any]] = {}
        for number, group in enumerate(self.param_groups):
            seen = known.get(number, {})
            if len(seen) == len(group) and all(map(is_, seen.values(), group.values())):
                continue
            scheduled = self._scheduled(group, seen)
            checked[number] = self._plain(group, seen) if scheduled is None else scheduled
        for number, plain in checked.items():
            self.param_groups[number].update(plain)
            known[number] = dict(self.param_groups[number])

    def _remember(self, first: int = 0) -> None:
        """Record the settings of the groups from a number on as checked."""
        known = self.__dict__.setdefault("_known", {})
        known.update((n, dict(g)) for n, g in enumerate(self.param_groups) if n >= first)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.pop("_known", None)

    def _scheduled(
        self, group: Mapping[str, Any], seen: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the changes of a group, checked, if all are such as schedulers make."""
        if group.keys() != seen.keys():
            return None
        changed = [key for key, value in group.items() if value is not seen[key]]
        if not set(changed) <= set(self.scheduled):
            return None
        plain = {
            key: self.scheduled[key].plain(key, group[key])
            for key in changed  # do not wait for a device
            if not (isinstance(group[key], Tensor) and not group[key].is_cpu)
        }
        return {key: value for key, value in plain.items() if not _has_tensor(group[key])}

    def _plain(self, group: Mapping[str, Any], seen: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a group as plain values, all checked."""
        for key in self.defaults.keys() & seen.keys():
            if key not in group:
                raise OptimizerError(
                    f"the setting {key!r} is missing in a param group; set group[{key!r}] again, "
                    f"for instance to {self.defaults[key]!r}"
                )
        return {
            key: value
            for key, value in self.checked_group(group).items()
            if key != "params" and not _has_tensor(value)  # a tensor may be graph input
        }

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state dict; tensors keep their dtypes, which the base class would change.

        Args:
            state_dict: From `state_dict()` of an optimizer of the same kind.

        Raises:
            OptimizerError: If it comes from another optimizer, or if settings or tensors are not
                allowed. The optimizer stays as it was.
        """
        if not isinstance(state_dict, Mapping):
            parts_of(state_dict)
        entries: list[Callable[[], dict[Tensor, dict[str, Any]]]] = []

        def check(_: Optimizer, state_dict: StateDict) -> StateDict | None:
            checked = self._checked(state_dict)  # after the user's own hooks
            if checked is not None:
                entries.append(lambda: self._entries(checked))
                state_dict, known = checked, {key for key, *_ in self._members(checked)}
                states = state_dict["state"].items()
                kept = {key: value for key, value in states if key not in known}
                return {**state_dict, "state": kept}
            return None

        def restore(_: Optimizer) -> None:  # before the user's own hooks, which are then looked at
            with torch.inference_mode(False):
                self.state.update(entries[-1]())
            self._remember()

        handles = [
            self.register_load_state_dict_pre_hook(check),
            self.register_load_state_dict_post_hook(restore, prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()

    def _checked(self, state_dict: StateDict) -> StateDict | None:
        """Return a state dict with plain settings; None if only the base class can refuse it."""
        groups, states = parts_of(state_dict)
        sizes = [len(group["params"]) for group in groups]
        if sizes != [len(group["params"]) for group in self.param_groups]:
            return None
        self.check_source([group for group in groups if group["params"]], states)
        check_keys(groups, states)
        # Distributed checkpoints hold no settings of groups without parameters; theirs stay.
        merged = [
            self.checked_group({**current, **group})
            for current, group in zip(self.param_groups, groups, strict=True)
        ]
        checked = {**state_dict, "param_groups": merged}
        for key, parameter, group in self._members(checked):
            self.check_parameter(parameter, group)
            self.check_entry(states.get(key) or {}, key, parameter, group)
        return checked

    def _entries(self, checked: StateDict) -> dict[Tensor, dict[str, Any]]:
        states = checked["state"]
        return {
            parameter: self.loaded_entry(states[key], parameter, group)
            for key, parameter, group in self._members(checked)
            if states.get(key)
        }

    def _members(self, state_dict: StateDict) -> Iterator[tuple[Any, Tensor, Mapping[str, Any]]]:
        """Yield the key of each saved parameter, the parameter in its place and its saved group."""
        for saved, current in zip(state_dict["param_groups"], self.param_groups, strict=True):
            for key, parameter in zip(saved["params"], current["params"], strict=True):
                yield key, parameter, saved

    def closed(self, closure: Callable[[], Any] | None) -> Any:
        """Return what a closure returns, run with gradients enabled; None without one."""
        if closure is None:
            return None
        with torch.enable_grad():
            return closure()


def _is_expanded(parameter: Tensor) -> bool:
    if parameter.layout is not torch.strided or 0 not in parameter.stride():
        return False
    sides = zip(parameter.shape, parameter.stride(), strict=True)
    return any(size > 1 and not stride for size, stride in sides)


def _has_tensor(value: Any) -> bool:
    return any(
        isinstance(v, Tensor) for v in (value if isinstance(value, tuple | list) else [value])
    )

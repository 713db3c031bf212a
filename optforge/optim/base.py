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
from torch.optim import Optimizer

from optforge.errors import OptimizerError
from optforge.optim.settings import BETAS, COUNT, FINITE, RATE

StateDict = dict[str, Any]
REAL = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

# Group keys that only these have, to call a foreign state dict by its name.
_MARKS: Mapping[str, tuple[str, ...]] = {
    "optforge's ProgramOptimizer": ("fingerprint", "peak_lr"),
    "optforge's Lion": ("decay_mode", "momentum_dtype"),
    "torch's SGD": ("dampening", "nesterov"),
    "torch's RMSprop": ("alpha", "centered"),
    "torch's Adagrad": ("lr_decay", "initial_accumulator_value"),
    "torch's Adam or AdamW": ("amsgrad", "betas"),
    "an optimizer like Adam": ("eps", "betas"),
    "another Lion": ("betas", "weight_decay"),
}


def name_of_source(group: Mapping[str, Any]) -> str:
    """Return what kind of optimizer a saved group comes from, as far as its keys show it.

    Example:
        >>> name_of_source(torch.optim.SGD([torch.zeros(1)]).param_groups[0])
        "torch's SGD"
    """
    return next(
        (name for name, keys in _MARKS.items() if set(keys) <= set(group)), "an unknown optimizer"
    )


def parts_of(state_dict: Any) -> tuple[list[Mapping[str, Any]], Mapping[Any, Any]]:
    """Return the groups and the states of a state dict.

    Raises:
        OptimizerError: If it is none.
    """
    try:
        groups, states = list(state_dict["param_groups"]), state_dict["state"]
        if not isinstance(states, Mapping) or not all("params" in group for group in groups):
            raise TypeError(states)
        return groups, states
    except (KeyError, TypeError):
        got = list(state_dict) if isinstance(state_dict, Mapping) else type(state_dict).__name__
        raise OptimizerError(
            f"a state dict has 'state' and 'param_groups', as `optimizer.state_dict()` returns "
            f"them, got {got}. Is the optimizer one part of a larger checkpoint?"
        ) from None


def check_keys(groups: Sequence[Mapping[str, Any]], states: Mapping[Any, Any]) -> None:
    """Refuse states that belong to no parameter of the saved groups; they would be lost silently.

    Raises:
        OptimizerError: Names some of the keys, and what groups have in their place.
    """
    known = {key for group in groups for key in group["params"]}
    strays = [key for key, entry in states.items() if entry and key not in known]
    if strays:
        raise OptimizerError(
            f"the state dict has states for {strays[:3]!r}, and its groups have "
            f"{list(known)[:3]!r} as params, so nothing says whose they are; JSON, for one, makes "
            "strings of numbers: make the keys of 'state' those of 'params' again"
        )


# What schedulers write between steps; whether one is allowed hangs on no other setting.
_SCHEDULED = {"lr": RATE, "betas": BETAS, "weight_decay": RATE, "schedule": FINITE, "step": COUNT}


class BaseOptimizer(Optimizer):
    """An optimizer whose groups and states are checked before they are taken over.

    Args:
        dtypes: Of the parameters that it can step.
    """

    dtypes: ClassVar[Sequence[torch.dtype]] = REAL

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
        is_view = not torch.compiler.is_compiling() and (parameter.is_conj() or parameter.is_neg())
        if is_view:
            raise OptimizerError(
                "a parameter that is a conjugate or negative view (as `z.conj()`, `z.mH` and "
                "`z.conj().imag` are) cannot be stepped in place; build it from "
                "`.resolve_conj().resolve_neg()`"
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
            for parameter in self.param_groups[-1]["params"]:
                self.check_parameter(parameter, self.param_groups[-1])
        except OptimizerError:
            self.param_groups.pop()
            raise
        self._remember()

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
            checked[number] = {} if self._is_scheduled(group, seen) else self._plain(group, seen)
        for number, plain in checked.items():
            self.param_groups[number].update(plain)
            known[number] = dict(self.param_groups[number])

    def _remember(self) -> None:
        """Record the settings of all groups as checked."""
        self.__dict__["_known"] = dict(enumerate(map(dict, self.param_groups)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.pop("_known", None)

    @staticmethod
    def _is_scheduled(group: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
        """Check the changes of a group one by one, if all are such as schedulers make."""
        if group.keys() != seen.keys():
            return False
        changed = [key for key, value in group.items() if value is not seen[key]]
        if not set(changed) <= set(_SCHEDULED):
            return False
        for key in changed:
            if not (isinstance(group[key], Tensor) and not group[key].is_cpu):  # do not wait for it
                _SCHEDULED[key].plain(key, group[key])
        return True

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
            if key != "params" and not _has_tensor(group.get(key))  # a tensor may be graph input
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

        def restore(_: Optimizer) -> None:
            self.state.update(entries[-1]())

        handles = [
            self.register_load_state_dict_pre_hook(check),
            self.register_load_state_dict_post_hook(restore, prepend=True),
        ]
        try:
            super().load_state_dict(state_dict)
        finally:
            for handle in handles:
                handle.remove()
        self._remember()

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


def _has_tensor(value: Any) -> bool:
    return any(
        isinstance(v, Tensor) for v in (value if isinstance(value, tuple | list) else [value])
    )

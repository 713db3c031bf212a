"""Saved states of other Lions, and of AdamW, become ours; ours become google's."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from optforge.errors import OptimizerError
from optforge.optim.lion_settings import reference_lr
from optforge.optim.lion_steps import LionSteps
from optforge.optim.migration.sources import (
    COMMON,
    SOURCES,
    Entry,
    Group,
    SavedOptimizer,
    picked,
    unwrapped,
)
from optforge.optim.saved import check_keys, parts_of
from optforge.optim.state import initial_state, momentum_of, write_momentum
from optforge.optim.steps.layout import local

StateDict = dict[str, Any]

_NAMES = ("params", "param_names")


def convert_state_dict(
    state_dict: Mapping[str, Any], lion: torch.optim.Optimizer, source: str | None = None
) -> StateDict:
    r"""Translate another optimizer's `state_dict()` for `lion.load_state_dict`.

    The momentum is taken over, in the precision that `lion` keeps (8-bit momentum of bitsandbytes
    is dequantised: code book value times the scale of its block). From another Lion the rates,
    betas, weight decay and, where it has them, `maximize` and `cautious` are taken over too;
    everything else keeps what `lion` was built with. The `reference_lr` of independent decay is
    their `max_lr` or `initial_lr`, where a scheduler left one, else their `lr`. From
    AdamW only the first moment is taken: its rates would be ten times too high, so build `lion`
    from `lion_from_adamw`. Elements of the momentum that are not finite, as other Lions keep them
    after one NaN gradient, become 0, with a warning.

    Args:
        state_dict: Saved by one of `SOURCES`. Keys of its state may be numbers or names.
        lion: The `Lion` that will load the result, over the same parameters in the same groups.
        source: A name in `SOURCES`; None recognises it by its keys. Google's, lion-pytorch's and
            any other with the same keys are one format.

    Returns:
        A new state dict, with tensors of its own.

    Raises:
        OptimizerError: If the source is unknown or not the one named, if the groups or shapes do
            not match `lion`, or if a setting has no counterpart (timm's corrected weight decay,
            coupled or fixed decay of pytorch_optimizer).

    Example:
        >>> from optforge.optim.lion import Lion
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.ones(2)
        >>> adamw = torch.optim.AdamW([weight])
        >>> adamw.step()
        >>> lion = Lion([weight])
        >>> lion.load_state_dict(convert_state_dict(adamw.state_dict(), lion))
        >>> lion.state[weight]["momentum"]
        tensor([0.1000, 0.1000])
    """
    _check_lion(lion)
    groups, state = parts_of(state_dict)
    check_keys(groups, state)
    _check_groups(groups, lion)
    chosen = _chosen(groups, state, source)
    translated = [
        {**mine, **_settings(chosen, mine, theirs), **picked(theirs, _NAMES)}
        for mine, theirs in zip(lion.state_dict()["param_groups"], groups, strict=True)
    ]
    entries, poisoned = {}, 0
    for key, parameter, group in _members(translated, state, lion):
        momentum, count = _without_poison(chosen.momentum(unwrapped(state[key])))
        entries[key] = _entry(momentum, key, parameter, group)
        poisoned += count
    if poisoned:
        warnings.warn(
            f"{poisoned} elements of the saved momentum were infinite or NaN, which would freeze "
            "their weights or move them on for ever; they begin again at 0",
            stacklevel=2,
        )
    return {"state": entries, "param_groups": translated}


def _check_lion(lion: object) -> None:
    if not isinstance(lion, LionSteps):
        raise OptimizerError(f"lion must be an optforge.optim.Lion, got {type(lion).__name__}")


def _without_poison(momentum: Tensor) -> tuple[Tensor, int]:
    """Set to 0 elements that are not finite, and count them; on each rank its own."""
    finite = momentum.isfinite()
    count = int((~local(finite)).sum())
    return (torch.where(finite, momentum, 0.0) if count else momentum), count


def google_state_dict(lion: torch.optim.Optimizer) -> StateDict:
    """Return Lion's state as google/automl's Lion saves it; lion-pytorch and timm load it too.

    Args:
        lion: A `Lion` with `decay_mode="lr"`, not cautious and not maximizing. Of a sharded one
            with 8-bit momentum each rank gets its own part; convert what was gathered instead.

    Returns:
        A state dict with `exp_avg` (8-bit momentum dequantised to float32) and the groups' `lr`,
        `betas`, `weight_decay` and rates of schedulers. What only we have (compensation, seeds,
        policies) stays behind.

    Raises:
        OptimizerError: If a group does what google's Lion cannot do.

    Example:
        >>> from optforge.optim.lion import Lion
        >>> weight = torch.nn.Parameter(torch.ones(2))
        >>> weight.grad = torch.ones(2)
        >>> lion = Lion([weight])
        >>> lion.step()
        >>> google_state_dict(lion)["state"][0]
        {'exp_avg': tensor([0.0100, 0.0100])}
    """
    _check_lion(lion)
    saved = lion.state_dict()
    for group in saved["param_groups"]:
        _check_google(group)
    return {
        "state": {
            key: {"exp_avg": momentum_of(saved["state"][key], parameter.shape)}
            for key, parameter, _ in _members(saved["param_groups"], saved["state"], lion)
        },
        "param_groups": [picked(group, COMMON + _NAMES) for group in saved["param_groups"]],
    }


def _settings(chosen: SavedOptimizer, mine: Group, theirs: Group) -> dict[str, Any]:
    """Return what their group says, and their peak rate where their rates are taken over."""
    settings = chosen.settings(theirs) if theirs["params"] else {}
    if "lr" in settings:
        settings["reference_lr"] = reference_lr(theirs) or mine["reference_lr"]
    return settings


def _check_google(group: Group) -> None:
    wanted = {"decay_mode": "lr", "cautious": False, "maximize": False}
    if not group["weight_decay"]:
        del wanted["decay_mode"]
    for name, value in wanted.items():
        if group[name] != value:
            raise OptimizerError(
                f"{name}={group[name]!r}, but google's Lion has nothing but {name}={value!r}"
            )


def _check_groups(groups: Sequence[Group], lion: torch.optim.Optimizer) -> None:
    theirs = [len(group["params"]) for group in groups]
    ours = [len(group["params"]) for group in lion.param_groups]
    if theirs != ours:
        raise OptimizerError(
            f"the saved param groups have {theirs} parameters, Lion's have {ours}; build Lion over "
            "the same parameters in the same groups"
        )


def _chosen(
    groups: Sequence[Group], state: Mapping[Any, Entry], name: str | None
) -> SavedOptimizer:
    if name is not None and name not in SOURCES:
        raise OptimizerError(f"unknown source {name!r}; allowed are {', '.join(SOURCES)}")
    entry = next((saved for saved in state.values() if saved), None)
    if entry is None:
        raise OptimizerError(
            "the state is empty, so there is nothing to take over; was it saved before a step?"
        )
    # A group without parameters may lack its settings, in distributed checkpoints.
    group = next((saved for saved in groups if saved["params"]), {})
    fitting = [source for source in SOURCES.values() if source.recognises(group, entry)]
    alike = fitting and name and SOURCES[name].entry_keys == fitting[0].entry_keys
    if name is not None and not alike:
        raise OptimizerError(f"this is not a state of {name!r}: {_seen(group, entry)}")
    if not fitting:
        raise OptimizerError(
            f"not recognised: {_seen(group, entry)}; known are {', '.join(SOURCES)}"
        )
    return fitting[0] if name is None else SOURCES[name]


def _seen(group: Group, entry: Entry) -> str:
    return f"its state has {sorted(unwrapped(entry))}, its groups have {sorted(group)}"


def _members(
    groups: list[Any], state: Mapping[Any, Entry], lion: torch.optim.Optimizer
) -> Iterator[tuple[Any, Tensor, Group]]:
    """Return the key of each saved entry, with Lion's parameter in the same place and its group."""
    for group, ours in zip(groups, lion.param_groups, strict=True):
        for key, parameter in zip(group["params"], ours["params"], strict=True):
            if state.get(key):  # parameters that never had a gradient have none
                yield key, parameter, group


def _entry(momentum: Tensor, key: Any, parameter: Tensor, group: Group) -> dict[str, Any]:
    """Build Lion's state of a parameter around a momentum, in the precision its group wants."""
    if momentum.shape != parameter.shape:
        raise OptimizerError(
            f"the momentum of parameter {key!r} has shape {tuple(momentum.shape)}, Lion's "
            f"parameter there has {tuple(parameter.shape)}; build Lion over the same parameters "
            "in the same order"
        )
    entry = initial_state(parameter, group)
    write_momentum(entry, momentum, parameter)
    return entry
